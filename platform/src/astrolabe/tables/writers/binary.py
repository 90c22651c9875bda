"""Cells of VOTable's BINARY and BINARY2, whole batches at a time (VOTable 1.4, section 5.3).

A row is laid out as groups of fields of fixed size, each but the last followed by one field of
variable size.  A group is one NumPy structured array for all rows of a batch; Arrow joins groups
and variable fields row by row.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from astrolabe.core.errors import AdqlTypeError
from astrolabe.tables.arrow import AnyArray, buffer
from astrolabe.tables.arrow import compute as pc
from astrolabe.tables.cells import (
    INTEGER_SENTINELS,
    flat_values,
    is_complex,
    list_lengths,
    plain,
    timestamp_text,
)
from astrolabe.tables.model import Column, Datatype

__all__ = ["RowEncoder", "declared_datatypes", "declared_nulls"]

Array = npt.NDArray[Any]

_ELEMENT: dict[Datatype, np.dtype[Any]] = {
    Datatype.BOOLEAN: np.dtype("u1"),
    Datatype.UNSIGNED_BYTE: np.dtype("u1"),
    Datatype.SHORT: np.dtype(">i2"),
    Datatype.INT: np.dtype(">i4"),
    Datatype.LONG: np.dtype(">i8"),
    Datatype.FLOAT: np.dtype(">f4"),
    Datatype.DOUBLE: np.dtype(">f8"),
    Datatype.FLOAT_COMPLEX: np.dtype(">f4"),
    Datatype.DOUBLE_COMPLEX: np.dtype(">f8"),
}
_COUNT = np.dtype(">i4")
_TRUE, _FALSE, _UNKNOWN = b"TF?"


def declared_datatypes(columns: tuple[Column, ...], *, null_mask: bool) -> dict[str, str]:
    """Return the datatypes to declare where they are not the columns' own.

    Without a null mask no value of ``unsignedByte`` is free to stand for null, so that columns
    which may hold nulls are written as ``short``.
    """
    if null_mask:
        return {}
    return {c.name: Datatype.SHORT.value for c in columns if _needs_short(c)}


def declared_nulls(columns: tuple[Column, ...], *, null_mask: bool) -> dict[str, int]:
    """Return the values that stand for null, by name of the column.

    With a null mask only elements of arrays need one.
    """
    nulls = {}
    for column in columns:
        datatype = column.datatype
        if not null_mask and _needs_short(column):
            datatype = Datatype.SHORT
        wanted = column.nullable if not null_mask else column.is_array
        if wanted and datatype in INTEGER_SENTINELS:
            nulls[column.name] = INTEGER_SENTINELS[datatype]
    return nulls


def _needs_short(column: Column) -> bool:
    # A null array of variable size is an empty one, which needs no value.
    variable = column.arraysize is not None and column.arraysize.endswith("*")
    return column.datatype is Datatype.UNSIGNED_BYTE and column.nullable and not variable


class RowEncoder:
    """Turns record batches into the bytes of BINARY or BINARY2.

    Parameters
    ----------
    columns
        The result's columns.
    null_mask
        True for BINARY2, where each row begins with one bit a column.
    """

    def __init__(self, columns: tuple[Column, ...], *, null_mask: bool) -> None:
        self._null_mask = null_mask
        datatypes = declared_datatypes(columns, null_mask=null_mask)
        self._fields = [
            _FieldEncoder(c, Datatype(datatypes.get(c.name, c.datatype)), null_mask=null_mask)
            for c in columns
        ]

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """Return the rows of `batch`.

        Raises
        ------
        AdqlTypeError
            Raised if a value cannot be written without changing it.
        """
        if batch.num_rows == 0:
            return b""
        groups: list[list[Array]] = [[]]
        variable: list[AnyArray] = []
        if self._null_mask:
            groups[0].append(_mask(batch))
        for field, array in zip(self._fields, batch.columns, strict=True):
            encoded = field.encode(array)
            if isinstance(encoded, tuple):
                counts, cells = encoded
                groups[-1].append(counts)
                variable.append(cells)
                groups.append([])
            else:
                groups[-1].append(encoded)
        packed = [_pack(group, batch.num_rows) for group in groups]
        if not variable:
            return packed[0].tobytes()
        return _join(packed, variable)


def _mask(batch: pa.RecordBatch) -> Array:
    """Return the null mask, (rows, bytes), the first column in the highest bit."""
    if not any(array.null_count for array in batch.columns):
        return np.zeros((batch.num_rows, (batch.num_columns + 7) // 8), np.uint8)
    bits = np.zeros((batch.num_rows, batch.num_columns), bool)
    for index, array in enumerate(batch.columns):
        if array.null_count:
            bits[:, index] = array.is_null().to_numpy(zero_copy_only=False)
    return np.packbits(bits, axis=1)


def _pack(fields: list[Array], rows: int) -> Array:
    """Return fields of fixed size side by side as one structured array."""
    layout = np.dtype(
        [(f"f{i}", f.dtype.newbyteorder(">"), f.shape[1:]) for i, f in enumerate(fields)]
    )
    packed = np.empty(rows, layout)
    for i, field in enumerate(fields):
        packed[f"f{i}"] = field
    return packed


def _join(groups: list[Array], variable: list[AnyArray]) -> bytes:
    pieces = []
    for index, group in enumerate(groups):
        if group.dtype.itemsize:
            pieces.append(_as_binary(group, group.dtype.itemsize))
        if index < len(variable):
            pieces.append(variable[index])
    joined = pc.binary_join_element_wise(
        *(piece.cast(pa.large_binary()) for piece in pieces),
        pa.scalar(b"", pa.large_binary()),
        null_handling="replace",
        null_replacement=b"",
    )
    offsets = np.frombuffer(joined.buffers()[1], np.int64)
    return memoryview(joined.buffers()[2])[: offsets[len(joined)]].tobytes()


def _as_binary(rows: Array, size: int) -> AnyArray:
    offsets = np.arange(len(rows) + 1, dtype=np.int64) * size
    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(rows), [None, buffer(offsets), buffer(rows)]
    )


class _FieldEncoder:
    """Encodes one column.

    The result is an array of shape (rows, ...) for a field of fixed size, or counts and the bytes
    of the cells for one of variable size.
    """

    def __init__(self, column: Column, datatype: Datatype, *, null_mask: bool) -> None:
        self._column = column
        self._datatype = datatype
        self._null_mask = null_mask
        self._parts = 2 if is_complex(column) else 1
        arraysize = column.arraysize
        self._variable = arraysize is not None and arraysize.endswith("*")
        self._size = 1
        for part in (arraysize or "1").split("x"):
            if "*" not in part:
                self._size *= int(part)

    def encode(self, array: AnyArray) -> Array | tuple[Array, AnyArray]:
        if self._column.is_string:
            return self._encode_string(array)
        if self._datatype is Datatype.BIT:
            return self._encode_bits(array)
        if self._column.is_array:
            return self._encode_array(array)
        if is_complex(self._column):
            return self._fixed(array, self._parts)
        return self._elements(array, whole_cells=True)

    def _elements(self, array: AnyArray, *, whole_cells: bool) -> Array:
        """Return plain elements in the declared type, nulls told as the form can.

        `whole_cells` says that a null here is a null cell, which BINARY2 has in its mask.
        """
        target = _ELEMENT[self._datatype]
        if self._datatype is Datatype.BOOLEAN:
            values = np.where(plain(array, fill=False), np.uint8(_TRUE), np.uint8(_FALSE))
            if array.null_count:
                values[array.is_null().to_numpy(zero_copy_only=False)] = _UNKNOWN
            return values
        if target.kind == "f":
            return plain(array, np.nan)
        if whole_cells and self._null_mask:
            return plain(array, 0)
        return self._with_sentinel(array)

    def _with_sentinel(self, array: AnyArray) -> Array:
        sentinel = INTEGER_SENTINELS.get(self._datatype)
        if sentinel is None:
            if array.null_count:
                raise AdqlTypeError(
                    f"Column {self._column.name!r} has a null among the {self._datatype} values "
                    "of an array, which a VOTable cannot tell; ask for CSV."
                )
            return plain(array, 0)
        if self._column.nullable:
            least = pc.min(array).as_py()
            if least == sentinel:
                raise AdqlTypeError(
                    f"Column {self._column.name!r} holds {sentinel}, which stands for null in "
                    "this form; ask for VOTable BINARY2 or CSV."
                )
        if array.type.bit_width < _ELEMENT[self._datatype].itemsize * 8:
            array = array.cast(pa.int16())
        return plain(array, sentinel)

    def _fixed(self, array: AnyArray, size: int) -> Array:
        """Return cells of `size` elements each; a null cell is all nulls."""
        if array.null_count == 0:
            values = self._elements(flat_values(array), whole_cells=False)
            self._check_total(len(values), len(array) * size)
            return self._typed(values).reshape(len(array), size)
        present = array.drop_null()
        values = self._elements(flat_values(present), whole_cells=False)
        self._check_total(len(values), len(present) * size)
        out = np.zeros((len(array), size), _ELEMENT[self._datatype])
        out[array.is_null().to_numpy(zero_copy_only=False)] = self._null_element()
        out[array.is_valid().to_numpy(zero_copy_only=False)] = values.reshape(-1, size)
        return out

    def _null_element(self) -> float:
        if _ELEMENT[self._datatype].kind == "f":
            return float("nan")
        if self._datatype is Datatype.BOOLEAN:
            return _UNKNOWN
        return INTEGER_SENTINELS.get(self._datatype, 0)

    def _typed(self, values: Array) -> Array:
        return values.astype(_ELEMENT[self._datatype], copy=False)

    def _check_total(self, found: int, expected: int) -> None:
        if found != expected:
            raise AdqlTypeError(
                f"An array of column {self._column.name!r} does not have the "
                f"{self._column.arraysize} elements that the column declares."
            )

    def _encode_array(self, array: AnyArray) -> Array | tuple[Array, AnyArray]:
        if not self._variable:
            return self._fixed(array, self._size * self._parts)
        lengths = list_lengths(array)
        values = self._typed(self._elements(flat_values(array), whole_cells=False))
        self._check_total(len(values), int(lengths.sum()) * self._parts)
        if np.any(lengths % self._size if "x" in (self._column.arraysize or "") else 0):
            self._check_total(-1, 0)
        item = values.dtype.itemsize * self._parts
        return lengths.astype(_COUNT), _cells(values, lengths * item)

    def _encode_bits(self, array: AnyArray) -> Array | tuple[Array, AnyArray]:
        """Return bits, eight to a byte, the first one highest; a scalar takes a byte."""
        if array.null_count and not (self._null_mask or self._variable):
            raise AdqlTypeError(
                f"Column {self._column.name!r} has a null among its bits, which this form cannot "
                "tell; ask for VOTable BINARY2 or CSV."
            )
        if not self._column.is_array:
            # Some readers look at the highest bit, some at the fourth: with all set both agree.
            return np.where(plain(array, fill=False), np.uint8(0xFF), np.uint8(0))
        flat = flat_values(array)
        if flat.null_count:
            self._with_sentinel(flat)
        bits = plain(flat, fill=False)
        lengths = list_lengths(array)
        if not self._variable:
            out = np.zeros((len(array), self._size), bool)
            self._check_total(len(bits), int((lengths > 0).sum()) * self._size)
            out[lengths > 0] = bits.reshape(-1, self._size)
            return np.packbits(out, axis=1)
        starts = np.concatenate(([0], np.cumsum(lengths)))
        packed = [np.packbits(bits[a:b]).tobytes() for a, b in pairwise(starts)]
        return lengths.astype(_COUNT), pa.array(packed, pa.large_binary())

    def _encode_string(self, array: AnyArray) -> Array | tuple[Array, AnyArray]:
        if self._column.is_timestamp:
            array = timestamp_text(array, self._column.arraysize)
        if self._datatype is Datatype.UNICODE_CHAR:
            cells, width = _utf16(array), 2
        else:
            cells, width = array.cast(pa.binary()).cast(pa.large_binary()), 1
        lengths = np.asarray(
            pc.fill_null(pc.binary_length(cells), 0).to_numpy(zero_copy_only=False), np.int64
        )
        if self._variable:
            return (lengths // width).astype(_COUNT), cells
        size = self._size * width
        if len(lengths) and lengths.max() > size:
            raise AdqlTypeError(
                f"Column {self._column.name!r} holds a text of {lengths.max() // width} "
                f"characters (bytes in UTF-8) where {self._size} were declared; ask for TABLEDATA "
                "or CSV."
            )
        return _padded(cells, lengths, size)


def _cells(values: Array, sizes: npt.NDArray[np.int64]) -> AnyArray:
    """Return the bytes of `values` cut into cells of `sizes` bytes."""
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
    data = buffer(np.ascontiguousarray(values).view(np.uint8))
    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(sizes), [None, buffer(offsets), data]
    )


def _utf16(array: AnyArray) -> AnyArray:
    """Return strings as big-endian UTF-16; outside of the basic plane as surrogate pairs."""
    texts = array.to_pylist()
    return pa.array(
        [None if text is None else text.encode("utf-16-be") for text in texts], pa.large_binary()
    )


def _padded(cells: AnyArray, lengths: npt.NDArray[np.int64], size: int) -> Array:
    """Return cells of at most `size` bytes, padded with zero bytes, (rows,) of fixed size."""
    out = np.zeros(len(cells) * size, np.uint8)
    data = np.frombuffer(b"".join(cells.drop_null().to_pylist()), np.uint8)
    starts = np.arange(len(cells)) * size
    ends = np.cumsum(lengths)
    places = np.repeat(starts - (ends - lengths), lengths) + np.arange(len(data))
    out[places] = data
    return out.reshape(len(cells), size)
