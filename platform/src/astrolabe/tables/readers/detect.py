"""Finding the form of a file by looking into it; its name is only a last hint."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from astrolabe.core.errors import ImportRefusedError

__all__ = ["SOURCE_FORMATS", "detect_format", "is_gzip"]

SOURCE_FORMATS: tuple[str, ...] = ("parquet", "hats", "fits", "votable", "csv", "tsv", "ecsv")
"""The forms that can be read."""

_HATS_FILES = ("collection.properties", "hats.properties", "properties")
_FOREIGN = {
    b"\x89HDF": "HDF5",
    b"PK\x03\x04": "a ZIP archive",
    b"ARROW1": "an Arrow file",
    b"Obj\x01": "Avro",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
    b"SQLite format 3": "an SQLite database",
    b"\x93NUMPY": "a NumPy array",
    b"{": "JSON",
    b"[": "JSON",
}


def is_gzip(path: Path) -> bool:
    """Whether the file is compressed with gzip."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def detect_format(path: Path) -> str:
    """Return the form of `path`.

    Raises
    ------
    ImportRefusedError
        Raised if the file is empty, cannot be opened or has a form that cannot be read.
    """
    if path.is_dir():
        return "hats" if any((path / name).is_file() for name in _HATS_FILES) else "parquet"
    try:
        if is_gzip(path):
            with gzip.open(path, "rb") as file:
                start = file.read(4096)
        else:
            with path.open("rb") as file:
                start = file.read(4096)
    except (OSError, EOFError, zlib.error) as exc:
        raise ImportRefusedError(f"{path}: cannot be read: {exc}") from exc
    if not start:
        raise ImportRefusedError(f"{path}: is empty")
    return _form(start, path)


def _form(start: bytes, path: Path) -> str:
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith(b"SIMPLE  ="):
        return "fits"
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        # UTF-16, which only XML is likely to be in.
        start = start[: len(start) // 2 * 2].decode("utf-16", "replace").encode()
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"# %ECSV"):
        return "ecsv"
    if text.startswith((b"<?xml", b"<VOTABLE", b"<!--", b"<!DOCTYPE")) or b":VOTABLE" in text[:200]:
        return "votable"
    for magic, name in _FOREIGN.items():
        if start.startswith(magic):
            raise ImportRefusedError(
                f"{path}: is {name}, which cannot be read; convert it to Parquet, FITS, CSV or "
                "VOTable"
            )
    if text.startswith(b"<"):
        raise ImportRefusedError(f"{path}: is HTML or XML, but no VOTable")
    if b"\0" in start:
        raise ImportRefusedError(
            f"{path}: is binary of no known form; known are {', '.join(SOURCE_FORMATS)}"
        )
    return "csv"
