"""The writer of CSV and TSV."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.csv as pa_csv
from typing_extensions import override

from astrolabe.tables.arrow import AnyArray
from astrolabe.tables.arrow import compute as pc
from astrolabe.tables.cells import is_complex, list_text, timestamp_text
from astrolabe.tables.model import Column, ResultHeader
from astrolabe.tables.writers.base import TableWriter
from astrolabe.tables.writers.parallel import text_of_batch

__all__ = ["DelimitedWriter"]


class DelimitedWriter(TableWriter):
    r"""Writes one line of names and one line a row, UTF-8, lines ended by ``\n``.

    Text is always in double quotes (RFC 4180), so that an empty text and null differ; null and
    NaN are empty.  Timestamps are as in VOTable, arrays are their elements with spaces between.
    The form has no place for OVERFLOW or an error.

    Parameters
    ----------
    header
        Of the result.
    delimiter
        One character.
    """

    def __init__(self, header: ResultHeader, *, delimiter: str) -> None:
        super().__init__(header)
        self._delimiter = delimiter
        self._options = pa_csv.WriteOptions(
            include_header=False, delimiter=delimiter, quoting_style="needed"
        )

    @override
    def start(self) -> Iterator[bytes]:
        names = (self._quoted(column.name) for column in self.header.columns)
        yield (self._delimiter.join(names) + "\n").encode()

    @override
    def write(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        return text_of_batch(batch, self._lines)

    @override
    def finish(self, *, overflow: bool) -> Iterator[bytes]:
        yield from ()

    def prepare(self, array: AnyArray, column: Column) -> AnyArray:
        """Return the cells of a column as what Arrow's CSV writer makes the right text of."""
        if column.is_timestamp:
            return timestamp_text(array, column.arraysize)
        if column.is_array or is_complex(column):
            return list_text(array, column, null="NaN")
        if pa.types.is_floating(array.type) and pc.any(pc.is_nan(array), min_count=0).as_py():
            return pc.if_else(pc.is_nan(array), None, array)
        return array

    def _lines(self, batch: pa.RecordBatch) -> bytes:
        arrays = [
            self.prepare(array, column)
            for array, column in zip(batch.columns, self.header.columns, strict=True)
        ]
        names = [str(index) for index in range(len(arrays))]
        sink = pa.BufferOutputStream()
        pa_csv.write_csv(pa.RecordBatch.from_arrays(arrays, names), sink, self._options)
        return sink.getvalue().to_pybytes()

    def _quoted(self, name: str) -> str:
        if any(character in name for character in (self._delimiter, '"', "\n", "\r")):
            return '"' + name.replace('"', '""') + '"'
        return name
