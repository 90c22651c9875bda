"""Opening files as tables: finding them, finding their form."""

from __future__ import annotations

import glob
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from astrolabe.core.errors import (
    BadParameterError,
    ImportRefusedError,
    TooLargeError,
    UploadInvalidError,
)
from astrolabe.tables.readers.base import (
    ConcatenatedSource,
    Refusal,
    refuse_import,
    refuse_upload,
)
from astrolabe.tables.readers.detect import SOURCE_FORMATS, detect_format
from astrolabe.tables.readers.ecsv import EcsvSource
from astrolabe.tables.readers.fits import FitsSource
from astrolabe.tables.readers.hats import HatsSource
from astrolabe.tables.readers.parquet import ParquetSource
from astrolabe.tables.readers.text import TextSource
from astrolabe.tables.readers.votable import VOTableSource
from astrolabe.tables.source import SourceMeta, TableSource

__all__ = ["SOURCE_FORMATS", "open_source", "open_upload"]

_MAX_UNPACKED_UPLOAD = 4 * 1024**3
_DELIMITERS = {"csv": None, "tsv": "\t"}


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
    asked = _known(format)
    found = _expanded([paths] if isinstance(paths, str | Path) else list(paths))
    form = asked or detect_format(found[0])
    if asked is None:
        for path in found[1:]:
            other = detect_format(path)
            if other != form:
                raise ImportRefusedError(f"{path}: is {other}, but {found[0]} is {form}")
    return _open(found, form, as_string, hdu)


def open_upload(
    path: str | Path,
    *,
    format: str | None = None,  # noqa: A002 - as in `open_source`
    max_rows: int | None = None,
    name: str = "the uploaded table",
) -> TableSource:
    """Open a file that came with a query.

    Parameters
    ----------
    path
        Where the file was put.
    format
        One of `SOURCE_FORMATS` without ``hats``; found by looking into the file if not given.
    max_rows
        The most rows that it may have.
    name
        What messages call it.

    Raises
    ------
    BadParameterError
        Raised if `format` is not known.
    UploadInvalidError
        Raised, here or while reading, if the file is broken or could harm.
    TooLargeError
        Raised, here or while reading, if it has more than `max_rows` rows.
    """
    file = Path(path)
    refuse = refuse_upload(name)
    asked = _known(format)
    try:
        form = asked or detect_format(file)
        source = _open_one(file, form, refuse, (), None, max_bytes=_MAX_UNPACKED_UPLOAD)
    except ImportRefusedError as exc:
        raise _as_upload(exc, file, name) from exc
    return _Upload(source, file, name, max_rows)


class _Upload:
    """A source with a bound on its rows whose errors are those of an upload."""

    def __init__(self, source: TableSource, path: Path, name: str, max_rows: int | None) -> None:
        self._source = source
        self._path = path
        self._name = name
        self._limit = max_rows
        self._check(source.meta.row_count or 0)

    @property
    def meta(self) -> SourceMeta:
        return self._source.meta

    def batches(self, *, max_rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        rows = 0
        try:
            for batch in self._source.batches(max_rows=max_rows):
                rows += batch.num_rows
                self._check(rows)
                yield batch
        except ImportRefusedError as exc:
            raise _as_upload(exc, self._path, self._name) from exc

    def _check(self, rows: int) -> None:
        if self._limit is not None and rows > self._limit:
            raise TooLargeError(
                f"{self._name} has more than the {self._limit} rows that may be uploaded."
            )


def _as_upload(exc: ImportRefusedError, path: Path, name: str) -> UploadInvalidError:
    return UploadInvalidError(exc.message.replace(str(path), name))


def _known(form: str | None) -> str | None:
    if form is None:
        return None
    asked = form.strip().lower()
    if asked not in SOURCE_FORMATS:
        raise BadParameterError(
            f"The format {form!r} is not known; known are {', '.join(SOURCE_FORMATS)}."
        )
    return asked


def _open(
    paths: list[Path], form: str, as_string: Collection[str], hdu: int | str | None
) -> TableSource:
    if form == "parquet":
        files: list[Path] = []
        for path in paths:
            files += _parquet_files(path) if path.is_dir() else [path]
        return ParquetSource(files, as_string=as_string)
    if form in _DELIMITERS:
        return TextSource(paths, delimiter=_DELIMITERS[form], as_string=as_string)
    sources = [_open_one(path, form, refuse_import(path), as_string, hdu) for path in paths]
    if len(sources) == 1:
        return sources[0]
    return ConcatenatedSource(sources, [str(path) for path in paths])


def _open_one(
    path: Path,
    form: str,
    refuse: Refusal,
    as_string: Collection[str],
    hdu: int | str | None,
    *,
    max_bytes: int | None = None,
) -> TableSource:
    openers: dict[str, Callable[[], TableSource]] = {
        "hats": lambda: HatsSource(path, as_string=as_string),
        "fits": lambda: FitsSource(path, refuse, hdu=hdu, as_string=as_string, max_bytes=max_bytes),
        "votable": lambda: VOTableSource(path, refuse, max_bytes=max_bytes),
        "ecsv": lambda: EcsvSource(path, refuse),
        "parquet": lambda: ParquetSource([path], as_string=as_string),
        "csv": lambda: TextSource([path], as_string=as_string),
        "tsv": lambda: TextSource([path], delimiter="\t", as_string=as_string),
    }
    return openers[form]()


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
