"""The writer of VOTables in their three forms."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pybase64
from typing_extensions import override

from astrolabe.tables.model import Info, ResultHeader
from astrolabe.tables.writers.base import TableWriter
from astrolabe.tables.writers.binary import RowEncoder, declared_datatypes, declared_nulls
from astrolabe.tables.writers.parallel import OrderedText
from astrolabe.tables.writers.tabledata import tabledata_nulls, tabledata_rows
from astrolabe.tables.writers.votable_document import (
    Serialization,
    closing,
    info_element,
    opening,
    query_error,
)

__all__ = ["VOTableWriter"]

_ROWS_AT_ONCE = 65_536


class VOTableWriter(TableWriter):
    """Writes a VOTable 1.4 with one RESOURCE of type results and one TABLE.

    Parameters
    ----------
    header
        Of the result.
    serialization
        The form of the rows.
    """

    def __init__(self, header: ResultHeader, serialization: Serialization) -> None:
        super().__init__(header)
        self._serialization = serialization
        self._encoder: RowEncoder | None = None
        self._text = OrderedText(lambda rows: tabledata_rows(rows, header.columns))
        if serialization is not Serialization.TABLEDATA:
            null_mask = serialization is Serialization.BINARY2
            self._encoder = RowEncoder(header.columns, null_mask=null_mask)
        # Bytes that do not yet fill a group of three, so that base64 is padded only at the end.
        self._rest = b""

    @override
    def start(self) -> Iterator[bytes]:
        columns = self.header.columns
        name = self._serialization
        if name is Serialization.TABLEDATA:
            text = opening(self.header, {}, tabledata_nulls(columns)) + "<DATA>\n<TABLEDATA>\n"
        else:
            null_mask = name is Serialization.BINARY2
            text = opening(
                self.header,
                declared_datatypes(columns, null_mask=null_mask),
                declared_nulls(columns, null_mask=null_mask),
            )
            text += f'<DATA>\n<{name}>\n<STREAM encoding="base64">\n'
        yield text.encode()

    @override
    def write(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        if self._encoder is None:
            yield from self._text.put(batch)
            return
        for first in range(0, batch.num_rows, _ROWS_AT_ONCE):
            data = self._encoder.encode(batch.slice(first, _ROWS_AT_ONCE))
            if self._rest:
                data = self._rest + data
            whole = len(data) - len(data) % 3
            self._rest = data[whole:]
            if whole:
                yield pybase64.b64encode(memoryview(data)[:whole]) + b"\n"

    @override
    def finish(self, *, overflow: bool) -> Iterator[bytes]:
        yield from self._text.drain()
        trailer = info_element(Info("QUERY_STATUS", "OVERFLOW")) if overflow else ""
        yield self._ending(trailer)

    @override
    def fail(self, message: str) -> Iterator[bytes]:
        self._text.close()
        yield self._ending(query_error(message))

    @override
    def close(self) -> None:
        self._text.close()

    def _ending(self, trailer: str) -> bytes:
        name = self._serialization
        if name is Serialization.TABLEDATA:
            return ("</TABLEDATA>\n</DATA>\n" + closing(self.header, trailer)).encode()
        rest = pybase64.b64encode(self._rest)
        return rest + f"\n</STREAM>\n</{name}>\n</DATA>\n{closing(self.header, trailer)}".encode()
