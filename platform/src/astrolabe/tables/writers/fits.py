"""The writer of FITS binary tables (FITS 4.0, section 7.3).

The header of a FITS table needs the number of rows, the widths of texts and the size of the heap,
so that rows wait in a temporary file until the last one is known.
"""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from astropy.io import fits
from typing_extensions import override

from astrolabe.core.errors import AdqlTypeError, BadParameterError, StorageFullError
from astrolabe.tables.arrow import AnyArray
from astrolabe.tables.arrow import compute as pc
from astrolabe.tables.cells import (
    INTEGER_SENTINELS,
    flat_values,
    is_complex,
    list_lengths,
    plain,
    timestamp_text,
)
from astrolabe.tables.conform import result_schema
from astrolabe.tables.model import Column, Datatype, ResultHeader
from astrolabe.tables.writers.base import TableWriter

__all__ = ["FitsWriter"]

_BLOCK = 2880
_MAX_COLUMNS = 999
_CODES: dict[Datatype, tuple[str, str]] = {
    Datatype.BOOLEAN: ("L", "u1"),
    Datatype.BIT: ("L", "u1"),
    Datatype.UNSIGNED_BYTE: ("B", "u1"),
    Datatype.SHORT: ("I", ">i2"),
    Datatype.INT: ("J", ">i4"),
    Datatype.LONG: ("K", ">i8"),
    Datatype.CHAR: ("A", "u1"),
    Datatype.UNICODE_CHAR: ("A", "u1"),
    Datatype.FLOAT: ("E", ">f4"),
    Datatype.DOUBLE: ("D", ">f8"),
    Datatype.FLOAT_COMPLEX: ("C", ">f4"),
    Datatype.DOUBLE_COMPLEX: ("M", ">f8"),
}


class FitsWriter(TableWriter):
    """Writes an empty primary HDU and one binary table; the first bytes come with the last row.

    Nulls are ``TNULL`` (the smallest value of the type) for integers, NaN for floating-point
    numbers, empty texts, and zero bytes among booleans.  Characters that are not ASCII, which FITS
    does not have, become question marks.  Arrays of varying size are in the heap.  The keyword
    ``QSTATUS`` is ``OK`` or ``OVERFLOW``.
    """

    def __init__(self, header: ResultHeader) -> None:
        super().__init__(header)
        if len(header.columns) > _MAX_COLUMNS:
            raise BadParameterError(
                f"FITS holds at most {_MAX_COLUMNS} columns, not {len(header.columns)}; "
                "ask for another format or select fewer columns."
            )
        self._spool: Any = None
        self._ipc: Any = None
        self._fields = [_Field(column) for column in header.columns]
        self._rows = 0

    @override
    def start(self) -> Iterator[bytes]:
        self._spool = tempfile.TemporaryFile(prefix="astrolabe-")  # noqa: SIM115 - `close` does
        self._ipc = pa.ipc.new_stream(self._spool, result_schema(self.header.columns))
        yield from ()

    @override
    def write(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        for field, array in zip(self._fields, batch.columns, strict=True):
            field.look(array)
        self._rows += batch.num_rows
        try:
            self._ipc.write_batch(batch)
        except OSError as exc:
            if exc.errno == errno.ENOSPC:
                raise StorageFullError("There is no room left to prepare the FITS file.") from exc
            raise
        yield from ()

    @override
    def finish(self, *, overflow: bool) -> Iterator[bytes]:
        self._ipc.close()
        yield fits.PrimaryHDU().header.tostring().encode("ascii")
        yield self._header(overflow=overflow)
        size = 0
        for batch in self._batches():
            data = self._table(batch)
            size += len(data)
            yield data
        for field_index, field in enumerate(self._fields):
            if field.variable:
                for batch in self._batches():
                    data = field.heap(batch.column(field_index))
                    size += len(data)
                    yield data
        yield b"\0" * (-size % _BLOCK)

    @override
    def close(self) -> None:
        if self._spool is not None:
            self._spool.close()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        if self._spool is not None:
            self._spool.seek(0)
            yield from pa.ipc.open_stream(self._spool)

    def _header(self, *, overflow: bool) -> bytes:
        heap = 0
        for field in self._fields:
            field.place = heap
            heap += field.heap_bytes
        cards = fits.Header()
        cards["XTENSION"] = ("BINTABLE", "binary table extension")
        cards["BITPIX"] = 8
        cards["NAXIS"] = 2
        cards["NAXIS1"] = sum(field.width for field in self._fields)
        cards["NAXIS2"] = self._rows
        cards["PCOUNT"] = heap
        cards["GCOUNT"] = 1
        cards["TFIELDS"] = len(self._fields)
        cards["EXTNAME"] = _ascii(self.header.table_name)
        cards["QSTATUS"] = ("OVERFLOW" if overflow else "OK", "OVERFLOW if rows were left out")
        system = self.header.coordinate_system
        if system is not None:
            cards["RADESYS"] = _ascii(system.system.upper())
            if system.epoch is not None:
                cards["EPOCHPOS"] = (system.epoch, "[yr] Julian epoch of the positions")
        for index, field in enumerate(self._fields, start=1):
            for key, value in field.cards().items():
                cards[f"{key}{index}"] = value
        for info in self.header.infos:
            cards.add_comment(_ascii(f"{info.name} = {info.value}"))
        return str(cards.tostring()).encode("ascii")

    def _table(self, batch: pa.RecordBatch) -> bytes:
        parts = [
            field.encode(array) for field, array in zip(self._fields, batch.columns, strict=True)
        ]
        layout = np.dtype([(f"f{i}", p.dtype, p.shape[1:]) for i, p in enumerate(parts)])
        table = np.empty(batch.num_rows, layout)
        for i, part in enumerate(parts):
            table[f"f{i}"] = part
        return table.tobytes()


class _Field:
    """One column: what was seen of it, and how it is encoded."""

    def __init__(self, column: Column) -> None:
        self._column = column
        self._code, self._kind = _CODES[column.datatype]
        self._parts = 2 if is_complex(column) else 1
        self._text = 1
        self._nulls = False
        self._fixed = 1
        self.place = 0
        self._elements = 0
        arraysize = "" if column.is_string else column.arraysize or ""
        self.variable = "*" in arraysize
        if arraysize and not self.variable:
            for size in arraysize.split("x"):
                self._fixed *= int(size)

    @property
    def width(self) -> int:
        """Bytes of the field in a row."""
        if self._column.is_string:
            return self._text
        if self.variable:
            return 16
        return self._item() * self._fixed

    @property
    def heap_bytes(self) -> int:
        """Bytes of all its cells in the heap."""
        return self._elements * self._item()

    def look(self, array: AnyArray) -> None:
        """Note what the header will need to know of `array`."""
        if self._column.is_string:
            longest = pc.max(pc.binary_length(self._texts(array))).as_py()
            self._text = max(self._text, longest or 0)
            return
        values = array if not self._column.is_array else flat_values(array)
        # A null cell of varying size is an empty one.
        cells_null = array.null_count > 0 and not self.variable
        self._nulls = self._nulls or cells_null or values.null_count > 0
        if self.variable:
            self._elements += int(list_lengths(array).sum())

    def cards(self) -> dict[str, Any]:
        """Return the keywords of the column, without its number."""
        column = self._column
        code, _ = self._stored()
        if column.is_string:
            form = f"{self._text}A"
        elif self.variable:
            form = f"1Q{code}"
        else:
            form = f"{self._fixed}{code}"
        found: dict[str, Any] = {"TTYPE": _ascii(column.name), "TFORM": form}
        null = self._sentinel()
        if null is not None and self._nulls:
            found["TNULL"] = null
        if not column.is_string and "x" in (column.arraysize or "") and not self.variable:
            found["TDIM"] = "(" + ",".join((column.arraysize or "").split("x")) + ")"
        texts = {
            "TUNIT": column.unit,
            "TUCD": column.ucd,
            "TUTYP": column.utype,
            "TXTYP": column.xtype,
            "TDESC": column.description,
        }
        found |= {key: _ascii(value) for key, value in texts.items() if value is not None}
        return found

    def encode(self, array: AnyArray) -> npt.NDArray[Any]:
        """Return the field of each row."""
        if self._column.is_string:
            return self._padded(array)
        if self.variable:
            lengths = list_lengths(array)
            sizes = lengths * self._item()
            starts = self.place + np.cumsum(sizes) - sizes
            self.place += int(sizes.sum())
            return np.stack([lengths, starts], axis=1).astype(">i8")
        count = self._fixed * self._parts
        if not (self._column.is_array or is_complex(self._column)):
            return self._values(array)
        if not array.null_count:
            return self._values(flat_values(array)).reshape(len(array), count)
        _, kind = self._stored()
        cells = np.empty((len(array), count), kind)
        cells[:] = self._null_value()
        valid = array.is_valid().to_numpy(zero_copy_only=False)
        cells[valid] = self._values(flat_values(array.drop_null())).reshape(-1, count)
        return cells

    def heap(self, array: AnyArray) -> bytes:
        """Return the elements of all cells, as they lie in the heap."""
        return self._values(flat_values(array)).tobytes()

    def _stored(self) -> tuple[str, str]:
        # No byte is free to stand for null, so that bytes with nulls are 16-bit integers.
        if self._code == "B" and self._nulls:
            return "I", ">i2"
        return self._code, self._kind

    def _item(self) -> int:
        return np.dtype(self._stored()[1]).itemsize * self._parts

    def _sentinel(self) -> int | None:
        if self._code == "B":
            return INTEGER_SENTINELS[Datatype.SHORT] if self._nulls else None
        return INTEGER_SENTINELS.get(self._column.datatype)

    def _null_value(self) -> float:
        if self._kind.startswith(">f"):
            return float("nan")
        return 0 if self._code == "L" else self._sentinel() or 0

    def _values(self, array: AnyArray) -> npt.NDArray[Any]:
        _, kind = self._stored()
        if self._code == "L":
            values = np.where(plain(array, fill=False), ord("T"), ord("F")).astype(np.uint8)
            if array.null_count:
                values[array.is_null().to_numpy(zero_copy_only=False)] = 0
            return values
        if kind.startswith(">f"):
            return plain(array, np.nan).astype(kind, copy=False)
        sentinel = self._sentinel()
        if self._nulls and sentinel is not None:
            if pc.min(array).as_py() == sentinel:
                raise AdqlTypeError(
                    f"Column {self._column.name!r} holds {sentinel}, which stands for null in "
                    "FITS; ask for VOTable or Parquet."
                )
            if array.type == pa.uint8():
                array = array.cast(pa.int16())
        return plain(array, sentinel or 0).astype(kind, copy=False)

    def _texts(self, array: AnyArray) -> AnyArray:
        if self._column.is_timestamp:
            array = timestamp_text(array, self._column.arraysize)
        elif not pc.all(pc.string_is_ascii(array), min_count=0).as_py():
            array = pc.replace_substring_regex(array, "[^\\x00-\\x7f]", "?")
        return array

    def _padded(self, array: AnyArray) -> npt.NDArray[Any]:
        cells = pc.fill_null(self._texts(array), "").to_pylist()
        padded = np.array([cell.encode("ascii") for cell in cells], f"S{self._text}")
        return padded.view(np.uint8).reshape(len(cells), self._text)


def _ascii(text: str) -> str:
    """Return `text` in the characters that a FITS header may hold."""
    printable = (c if " " <= c <= "~" else " " if c.isspace() else "?" for c in text)
    return "".join(printable)
