"""The reader of VOTables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from astrolabe.tables.arrow import AnyArray
from astrolabe.tables.model import Column
from astrolabe.tables.readers.base import Refusal, batch_of, sliced, unique_names
from astrolabe.tables.readers.decode import timestamps
from astrolabe.tables.readers.detect import is_gzip
from astrolabe.tables.readers.fits import FitsSource
from astrolabe.tables.readers.temporary import gunzipped, temporary_file
from astrolabe.tables.readers.votable_binary import binary_batches, stream_bytes
from astrolabe.tables.readers.votable_header import VOTableHeader, read_header
from astrolabe.tables.readers.votable_tabledata import tabledata_batches
from astrolabe.tables.source import SourceMeta

__all__ = ["VOTableSource"]

_FIXED_LENGTH = re.compile(r"\d+\Z")
_SHORTEST_TIMESTAMP = 19
_SCAN_ROWS = 65_536


class VOTableSource:
    """The first TABLE of a VOTable 1.0 to 1.5, in any serialization.

    A column with the xtype of a timestamp holds timestamps if every value is one (DALI's form, to
    the microsecond); otherwise it stays text and loses the xtype.  Empty cells of TABLEDATA and
    empty strings of BINARY are null.

    Parameters
    ----------
    path
        Of the file, which may be compressed with gzip.
    refuse
        Makes the error that tells what is wrong with it.
    max_bytes
        The most bytes that a compressed file may hold, if bounded.

    Raises
    ------
    AstrolabeError
        Raised as `refuse` makes it if the file is broken, is no VOTable, or declares entities.
    """

    def __init__(self, path: Path, refuse: Refusal, *, max_bytes: int | None = None) -> None:
        self._refuse = refuse
        self._path = path
        if is_gzip(path):
            content = gunzipped(path, refuse, limit=max_bytes)
            self._path = temporary_file(self, content, ".vot")
        with self._path.open("rb") as file:
            self._header = read_header(file, refuse)
        unique_names([f.column.name for f in self._header.fields], refuse)
        self._fits = self._fits_source() if self._header.form == "FITS" else None
        self._meta = _source_meta(self._header)
        self._settle_timestamps()

    @property
    def meta(self) -> SourceMeta:
        """The declared columns and table metadata."""
        return self._meta

    def batches(self, *, max_rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order."""
        columns = self._meta.columns
        for arrays in self._raw(max_rows):
            ready = [
                _as_timestamps(array, column, self._refuse)
                for array, column in zip(arrays, columns, strict=True)
            ]
            yield from sliced(batch_of(ready, columns, self._refuse), max_rows)

    def _raw(self, max_rows: int) -> Iterator[list[AnyArray]]:
        header = self._header
        if self._fits is not None:
            for batch in self._fits.batches(max_rows=max_rows):
                yield list(batch.columns)
        elif header.form == "TABLEDATA":
            yield from tabledata_batches(self._path, header, self._refuse, max_rows)
        elif header.form in ("BINARY", "BINARY2"):
            yield from binary_batches(
                stream_bytes(self._path, header, self._refuse),
                header.fields,
                null_mask=header.form == "BINARY2",
                refuse=self._refuse,
                max_rows=max_rows,
            )

    def _fits_source(self) -> FitsSource:
        data = stream_bytes(self._path, self._header, self._refuse)
        path = temporary_file(self, data, ".fits")
        source = FitsSource(path, self._refuse, hdu=self._header.extension)
        if len(source.meta.columns) != len(self._header.fields):
            raise self._refuse("its FIELDs are not the columns of its FITS table")
        return source

    def _settle_timestamps(self) -> None:
        """Look through all rows whether columns with the xtype of timestamps hold nothing else."""
        columns = list(self._meta.columns)
        open_places = {i for i, column in enumerate(columns) if column.is_timestamp}
        if not open_places:
            return
        rows = 0
        failed: set[int] = set()
        for arrays in self._raw(_SCAN_ROWS):
            rows += len(arrays[0])
            failed |= {i for i in open_places - failed if timestamps(arrays[i]) is None}
        for place in open_places:
            column = columns[place]
            columns[place] = (
                replace(column, xtype=None) if place in failed else _long_enough(column)
            )
        notes = tuple(
            f"column {columns[place].name!r} is kept as text: not all of it are timestamps"
            for place in sorted(failed)
        )
        self._meta = replace(
            self._meta, columns=tuple(columns), row_count=rows, notes=self._meta.notes + notes
        )


def _source_meta(header: VOTableHeader) -> SourceMeta:
    return SourceMeta(
        columns=tuple(field.column for field in header.fields),
        name=header.name,
        description=header.description,
        coordinate_system=header.coordinate_system,
        row_count=0 if header.form is None else None,
    )


def _long_enough(column: Column) -> Column:
    """Dates without a time get one when they are written, which a short field has no room for."""
    size = column.arraysize
    if size is None or (_FIXED_LENGTH.match(size) and int(size) < _SHORTEST_TIMESTAMP):
        return replace(column, arraysize="*")
    return column


def _as_timestamps(array: AnyArray, column: Column, refuse: Refusal) -> AnyArray:
    if not column.is_timestamp:
        return array
    parsed = timestamps(array)
    if parsed is None:
        raise refuse(f"column {column.name!r} has a value that is no timestamp")
    return parsed
