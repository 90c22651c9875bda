"""Opening files as tables: finding them, finding their form."""

from __future__ import annotations

import glob
from collections.abc import Collection, Sequence
from pathlib import Path

from astrolabe.core.errors import BadParameterError, ImportRefusedError
from astrolabe.tables.readers.detect import SOURCE_FORMATS, detect_format
from astrolabe.tables.readers.parquet import ParquetSource
from astrolabe.tables.source import TableSource

__all__ = ["SOURCE_FORMATS", "open_source"]


def open_source(
    paths: str | Path | Sequence[str | Path],
    *,
    format: str | None = None,  # noqa: A002 - the word of the command line
    as_string: Collection[str] = (),
    hdu: int | str | None = None,
) -> TableSource:
    """Open files, a folder or a pattern as one table.

    Parameters
    ----------
    paths
        One or more files, folders or patterns (``*``, ``**``).  A folder is a HATS catalog or
        collection, or holds Parquet files.  Several files must have the same columns.
    format
        One of `SOURCE_FORMATS`; found by looking into the file if not given.
    as_string
        Names of columns to be read as text whatever they look like.
    hdu
        Number or name of the FITS extension, if not the first table.

    Raises
    ------
    BadParameterError
        Raised if `format` is not known.
    ImportRefusedError
        Raised if a file is missing, broken or of another form; the message names it.
    """
    if format is not None:
        format = format.strip().lower()  # noqa: A001 - the same word, normalised
        if format not in SOURCE_FORMATS:
            raise BadParameterError(
                f"The format {format!r} is not known; known are {', '.join(SOURCE_FORMATS)}."
            )
    found = _expanded([paths] if isinstance(paths, str | Path) else list(paths))
    form = format or detect_format(found[0])
    if format is None:
        for path in found[1:]:
            other = detect_format(path)
            if other != form:
                raise ImportRefusedError(f"{path}: is {other}, but {found[0]} is {form}")
    return _open(found, form, as_string, hdu)


def _open(
    paths: list[Path], form: str, as_string: Collection[str], hdu: int | str | None
) -> TableSource:
    _ = hdu
    match form:
        case "parquet":
            files: list[Path] = []
            for path in paths:
                files += _parquet_files(path) if path.is_dir() else [path]
            return ParquetSource(files, as_string=as_string)
        case _:
            raise ImportRefusedError(f"{paths[0]}: {form} cannot be read")


def _expanded(paths: list[str | Path]) -> list[Path]:
    found: list[Path] = []
    for given in paths:
        path = Path(given)
        if path.exists():
            found.append(path)
            continue
        matches = sorted(glob.glob(str(given), recursive=True))  # noqa: PTH207 - absolute patterns
        if not matches:
            raise ImportRefusedError(f"{given}: there is no such file")
        found += [Path(match) for match in matches]
    if not found:
        raise ImportRefusedError("there is no file to read")
    return found


def _parquet_files(folder: Path) -> list[Path]:
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.suffix in (".parquet", ".parq", ".pq")
        and not path.name.startswith(("_", "."))
    ]
    if not files:
        raise ImportRefusedError(f"{folder}: holds no Parquet file")
    return files
