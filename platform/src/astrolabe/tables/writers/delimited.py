"""The writer of CSV and TSV."""

from __future__ import annotations

import io
from collections.abc import Iterator

import polars as pl
import pyarrow as pa
from typing_extensions import override

from astrolabe.tables.arrow import AnyArray
from astrolabe.tables.arrow import compute as pc
from astrolabe.tables.cells import is_complex, list_text, timestamp_text
from astrolabe.tables.model import Column, ResultHeader
from astrolabe.tables.writers.base import TableWriter
from astrolabe.tables.writers.parallel import OrderedText

__all__ = ["DelimitedWriter"]


class DelimitedWriter(TableWriter):
    r"""Writes one line of names and one line a row, UTF-8, lines ended by ``\n``.

    Text is in double quotes where it must be (RFC 4180) and where it is empty, so that an empty
    text and null differ; null and NaN are nothing at all.  Timestamps are as in VOTable, arrays
    are their elements with spaces between.
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
        self._text = OrderedText(self._lines)

    @override
    def start(self) -> Iterator[bytes]:
        names = (self._quoted(column.name) for column in self.header.columns)
        yield (self._delimiter.join(names) + "\n").encode()

    @override
    def write(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        return self._text.put(batch)

    @override
    def finish(self, *, overflow: bool) -> Iterator[bytes]:
        return self._text.drain()

    @override
    def close(self) -> None:
        self._text.close()

    def prepare(self, array: AnyArray, column: Column) -> AnyArray:
        """Return the cells of a column as what the writer of lines makes the right text of."""
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
        frame = pl.DataFrame(pa.Table.from_arrays(arrays, [str(i) for i in range(len(arrays))]))
        # Shortest exact digits, three times as fast as Arrow's own writer.
        sink = io.BytesIO()
        frame.write_csv(sink, include_header=False, separator=self._delimiter)
        return sink.getvalue()

    def _quoted(self, name: str) -> str:
        if any(character in name for character in (self._delimiter, '"', "\n", "\r")):
            return '"' + name.replace('"', '""') + '"'
        return name
