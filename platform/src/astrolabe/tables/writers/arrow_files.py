"""The writers of Arrow streams and Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from typing_extensions import override

from astrolabe.tables.conform import result_schema
from astrolabe.tables.model import Column, ResultHeader
from astrolabe.tables.writers.base import TableWriter
from astrolabe.tables.writers.drain import Drain
from astrolabe.tables.writers.votable_document import closing, opening

__all__ = ["ArrowWriter", "ParquetWriter"]

_TEXTS = ("unit", "ucd", "utype", "xtype", "description")
_ROW_GROUP_ROWS = 131_072


def _described_schema(header: ResultHeader) -> pa.Schema:
    """Return the Arrow schema with what is known of columns as metadata of its fields."""
    schema = result_schema(header.columns)
    fields = [
        field.with_metadata(_field_metadata(column))
        for field, column in zip(schema, header.columns, strict=True)
    ]
    return pa.schema(fields)


def _field_metadata(column: Column) -> dict[bytes | str, bytes | str]:
    found: dict[bytes | str, bytes | str] = {"datatype": str(column.datatype)}
    if column.arraysize is not None:
        found["arraysize"] = column.arraysize
    found |= {key: getattr(column, key) for key in _TEXTS if getattr(column, key) is not None}
    return found


class ArrowWriter(TableWriter):
    """Writes an Arrow IPC stream; units and the like are metadata of its fields."""

    def __init__(self, header: ResultHeader) -> None:
        super().__init__(header)
        self._drain = Drain()
        infos = {info.name: info.value for info in header.infos}
        self._schema = _described_schema(header).with_metadata(infos)
        self._writer: Any = None

    @override
    def start(self) -> Iterator[bytes]:
        self._writer = pa.ipc.new_stream(self._drain, self._schema)
        yield self._drain.take()

    @override
    def write(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        self._writer.write_batch(batch.cast(self._schema))
        yield self._drain.take()

    @override
    def finish(self, *, overflow: bool) -> Iterator[bytes]:
        self._writer.close()
        yield self._drain.take()


class ParquetWriter(TableWriter):
    """Writes a Parquet file with the metadata of VOParquet (IVOA note 1.0).

    The overflow of a result is told by the QUERY_STATUS in that metadata's VOTable, which Parquet
    keeps at the end of the file.
    """

    def __init__(self, header: ResultHeader) -> None:
        super().__init__(header)
        self._drain: Any = Drain()
        self._schema = _described_schema(header)
        self._writer: Any = None
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0

    @override
    def start(self) -> Iterator[bytes]:
        self._writer = pq.ParquetWriter(self._drain, self._schema, compression="zstd")
        yield self._drain.take()

    @override
    def write(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        self._waiting.append(batch.cast(self._schema))
        self._rows += batch.num_rows
        if self._rows >= _ROW_GROUP_ROWS:
            self._write_group()
            yield self._drain.take()

    @override
    def finish(self, *, overflow: bool) -> Iterator[bytes]:
        self._write_group()
        trailer = '<INFO name="QUERY_STATUS" value="OVERFLOW"/>\n' if overflow else ""
        self._writer.add_key_value_metadata(
            {
                "IVOA.VOTable-Parquet.version": "1.0",
                "IVOA.VOTable-Parquet.content": opening(self.header, {}, {})
                + closing(self.header, trailer),
            }
        )
        self._writer.close()
        self._writer = None
        yield self._drain.take()

    @override
    def close(self) -> None:
        self._waiting.clear()

    def _write_group(self) -> None:
        if self._rows:
            table = pa.Table.from_batches(self._waiting, self._schema)
            self._writer.write_table(table, row_group_size=_ROW_GROUP_ROWS)
        self._waiting.clear()
        self._rows = 0
