"""Rows of VOTable's BINARY and BINARY2 (VOTable 1.4, sections 5.3 and 5.4)."""

from __future__ import annotations

import binascii
import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pybase64

from astrolabe.tables.arrow import AnyArray, buffer, fixed_list_array
from astrolabe.tables.arrow import compute as pc
from astrolabe.tables.model import Datatype
from astrolabe.tables.readers.base import Refusal
from astrolabe.tables.readers.decode import (
    fixed_lists,
    lists,
    scalars,
    text_cells,
    trimmed_bytes,
)
from astrolabe.tables.readers.votable_header import VOTableField, VOTableHeader

__all__ = ["binary_batches", "stream_bytes"]

Bytes = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

_CHUNK = 1024 * 1024
_MAX_ROW = 1024 * 1024 * 1024
_START_TAG = re.compile(rb"""<(?:[^>"']|"[^"]*"|'[^']*')*>""")
_WHITE = b" \t\r\n"
_COUNT = struct.Struct(">i")
_ELEMENT: dict[Datatype, str] = {
    Datatype.BOOLEAN: "u1",
    Datatype.BIT: "u1",
    Datatype.UNSIGNED_BYTE: "u1",
    Datatype.SHORT: ">i2",
    Datatype.INT: ">i4",
    Datatype.LONG: ">i8",
    Datatype.CHAR: "S1",
    Datatype.UNICODE_CHAR: ">u2",
    Datatype.FLOAT: ">f4",
    Datatype.DOUBLE: ">f8",
    Datatype.FLOAT_COMPLEX: ">f4",
    Datatype.DOUBLE_COMPLEX: ">f8",
}
_COMPLEX = (Datatype.FLOAT_COMPLEX, Datatype.DOUBLE_COMPLEX)


def stream_bytes(path: Path, header: VOTableHeader, refuse: Refusal) -> Iterator[bytes]:
    """Yield the bytes inside the STREAM element, decoded from base64."""
    if header.stream.get("href"):
        raise refuse("keeps its rows at another address (STREAM href), which is never fetched")
    encoding = header.stream.get("encoding", "none")
    if encoding != "base64":
        raise refuse(f"has a STREAM with the encoding {encoding!r}; only base64 can be read")
    with path.open("rb") as file:
        file.seek(header.offset)
        yield from _decoded(file, refuse)


def _decoded(file: BinaryIO, refuse: Refusal) -> Iterator[bytes]:
    chunk = file.read(_CHUNK)
    tag = _START_TAG.match(chunk)
    if tag is None:
        raise refuse("its STREAM element is broken")
    if tag.group().endswith(b"/>"):
        return
    chunk = chunk[tag.end() :]
    rest = b""
    while True:
        text, end, _ = chunk.partition(b"<")
        text = rest + text.translate(None, _WHITE)
        whole = len(text) if end else len(text) - len(text) % 4
        rest = text[whole:]
        try:
            data = pybase64.b64decode(text[:whole], validate=True)
        except (binascii.Error, ValueError) as exc:
            raise refuse(f"its STREAM is not base64: {exc}") from exc
        if data:
            yield data
        if end:
            return
        chunk = file.read(_CHUNK)
        if not chunk:
            raise refuse("ends in the middle of its STREAM: the file is cut off")


def binary_batches(
    data: Iterator[bytes],
    fields: Sequence[VOTableField],
    *,
    null_mask: bool,
    refuse: Refusal,
    max_rows: int,
) -> Iterator[list[AnyArray]]:
    """Yield the columns of at most `max_rows` rows at a time.

    Parameters
    ----------
    data
        The decoded bytes of the STREAM, in pieces of any size.
    fields
        The FIELDs.
    null_mask
        True for BINARY2.
    refuse
        Makes the error where the bytes are broken.
    max_rows
        Rows at a time.

    Columns with the xtype of a timestamp come as text.
    """
    layout = _Layout(fields, null_mask=null_mask, refuse=refuse)
    buffer = b""
    done = 0
    for piece in data:
        buffer = buffer + piece if buffer else piece
        position = 0
        while True:
            block = layout.scan(buffer, position, max_rows)
            if block.rows:
                yield layout.columns(buffer, block)
                done += block.rows
            if block.rows < max_rows:
                buffer = buffer[block.end :]
                break
            position = block.end
        if len(buffer) > _MAX_ROW:
            raise refuse(f"row {done + 1} is longer than 1 GB: its STREAM is broken")
    if buffer:
        raise refuse(f"ends in the middle of row {done + 1}: its STREAM is cut off or broken")


class _Part:
    """Where one FIELD lies: in the fixed group `group`, or as the variable part after it."""

    __slots__ = ("field", "group", "offset", "size", "unit", "variable")

    def __init__(self, field: VOTableField, group: int, offset: int) -> None:
        column = field.column
        self.field = field
        self.group = group
        self.offset = offset
        arraysize = column.arraysize
        self.variable = arraysize is not None and arraysize.endswith("*")
        self.unit = np.dtype(_ELEMENT[column.datatype]).itemsize * (
            2 if column.datatype in _COMPLEX else 1
        )
        count = 1
        for part in (arraysize or "1").split("x"):
            count *= 1 if "*" in part else int(part)
        self.size = (count + 7) // 8 if column.datatype is Datatype.BIT else count * self.unit


class _Block:
    """Rows found in a buffer: where each variable part of each row begins and how long it is."""

    __slots__ = ("counts", "end", "rows", "starts")

    def __init__(self, rows: int, end: int, starts: Ints, counts: Ints) -> None:
        self.rows = rows
        self.end = end
        self.starts = starts
        self.counts = counts


class _Layout:
    def __init__(self, fields: Sequence[VOTableField], *, null_mask: bool, refuse: Refusal) -> None:
        self._refuse = refuse
        self._mask = (len(fields) + 7) // 8 if null_mask else 0
        self._parts: list[_Part] = []
        self._variable: list[_Part] = []
        self._widths = [self._mask]
        for field in fields:
            part = _Part(field, len(self._widths) - 1, self._widths[-1])
            self._parts.append(part)
            if part.variable:
                self._variable.append(part)
                self._widths.append(0)
            else:
                self._widths[-1] += part.size
        if not any(self._widths) and not self._variable:
            raise refuse("its rows have no bytes")

    def scan(self, buffer: bytes, start: int, max_rows: int) -> _Block:
        """Find at most `max_rows` whole rows from `start` on."""
        if not self._variable:
            width = self._widths[0]
            rows = min(max_rows, (len(buffer) - start) // width)
            starts = np.empty((rows, 1), np.int64)
            starts[:, 0] = start + np.arange(rows) * width
            return _Block(rows, start + rows * width, starts, np.empty((rows, 0), np.int64))
        return self._scan_variable(buffer, start, max_rows)

    def _scan_variable(self, buffer: bytes, start: int, max_rows: int) -> _Block:
        steps = [
            (width, part.unit, part.field.column.datatype is Datatype.BIT)
            for width, part in zip(self._widths, self._variable, strict=False)
        ]
        tail = self._widths[-1]
        size = len(buffer)
        starts: list[int] = []
        counts: list[int] = []
        read = _COUNT.unpack_from
        position, rows = start, 0
        while rows < max_rows:
            here = position
            row_starts, row_counts = [here], []
            for width, unit, bits in steps:
                here += width
                if here + 4 > size:
                    break
                (count,) = read(buffer, here)
                if count < 0:
                    raise self._refuse("an array has a negative length: its STREAM is broken")
                here += 4
                row_counts.append(count)
                here += (count + 7) // 8 if bits else count * unit
                row_starts.append(here)
            if len(row_counts) < len(steps) or here + tail > size:
                break
            starts += row_starts
            counts += row_counts
            position = here + tail
            rows += 1
        return _Block(
            rows,
            position,
            np.array(starts, np.int64).reshape(rows, len(steps) + 1),
            np.array(counts, np.int64).reshape(rows, len(steps)),
        )

    def columns(self, buffer: bytes, block: _Block) -> list[AnyArray]:
        data = np.frombuffer(buffer, np.uint8)
        groups = [
            self._group(data, block, index) if width else None
            for index, width in enumerate(self._widths)
        ]
        missing: Bools | None = None
        first = groups[0]
        if self._mask and first is not None:
            missing = np.unpackbits(first[:, : self._mask], axis=1).astype(bool)
        arrays = []
        seen = 0
        for index, part in enumerate(self._parts):
            void = None if missing is None else missing[:, index]
            if part.variable:
                counts = block.counts[:, seen]
                ends = block.starts[:, seen + 1]
                seen += 1
                arrays.append(_variable(data, part, counts, ends, void))
            else:
                group = groups[part.group]
                if group is None:
                    raise self._refuse("its layout is broken")
                raw = np.ascontiguousarray(group[:, part.offset : part.offset + part.size])
                arrays.append(_fixed(raw, part, void))
        return arrays

    def _group(self, data: Bytes, block: _Block, index: int) -> Bytes:
        """Return the bytes of a group of fixed fields, (rows, bytes)."""
        width = self._widths[index]
        starts = block.starts[:, index]
        if not self._variable:
            first = int(starts[0])
            return data[first : first + block.rows * width].reshape(block.rows, width)
        gathered = _gathered(data, starts, starts + width)
        return np.frombuffer(gathered.buffers()[2], np.uint8).reshape(block.rows, width)


def _gathered(data: Bytes, starts: Ints, ends: Ints) -> AnyArray:
    """Return the bytes between `starts` and `ends`, which lie one after another, as cells."""
    offsets = np.empty(2 * len(starts), np.int64)
    offsets[0::2] = starts
    offsets[1::2] = ends
    everything = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(offsets) - 1, [None, buffer(offsets), buffer(data)]
    )
    return everything.take(np.arange(0, len(offsets) - 1, 2))


def _fixed(raw: Bytes, part: _Part, void: Bools | None) -> AnyArray:
    """Return the column of a field of fixed size from its bytes, (rows, bytes)."""
    column = part.field.column
    if column.is_string:
        return _fixed_strings(raw, column.datatype, void)
    if column.datatype is Datatype.BIT:
        if not column.is_array:
            return scalars(raw[:, 0] != 0, void)
        bits = np.unpackbits(raw, axis=1)[:, : _count(column.arraysize)].astype(bool)
        return fixed_lists(bits, None, void)
    values = raw.view(_ELEMENT[column.datatype])
    values, element_void = _known(values, part.field)
    if column.datatype in _COMPLEX:
        return _fixed_complex(values, void, array=column.is_array)
    if column.is_array:
        return fixed_lists(values, element_void, void)
    if element_void is not None:
        flat = element_void[:, 0]
        void = flat if void is None else void | flat
    return scalars(values[:, 0], void)


def _fixed_complex(values: npt.NDArray[Any], void: Bools | None, *, array: bool) -> AnyArray:
    if not array:
        return fixed_lists(values, None, void)
    pairs = fixed_list_array(scalars(values.reshape(-1), None), 2)
    mask = None if void is None else pa.array(void)
    return fixed_list_array(pairs, values.shape[1] // 2, mask=mask)


def _known(values: npt.NDArray[Any], field: VOTableField) -> tuple[npt.NDArray[Any], Bools | None]:
    """Return values as they are meant and where they stand for null."""
    if field.column.datatype is Datatype.BOOLEAN:
        true = np.isin(values, np.frombuffer(b"Tt1", np.uint8))
        false = np.isin(values, np.frombuffer(b"Ff0", np.uint8))
        return true, ~(true | false)
    if field.null is None:
        return values, None
    try:
        null = int(field.null, 0) if values.dtype.kind in "iu" else float(field.null)
    except ValueError:
        return values, None
    return values, np.asarray(values == null)


def _fixed_strings(raw: Bytes, datatype: Datatype, void: Bools | None) -> AnyArray:
    if datatype is Datatype.UNICODE_CHAR:
        texts = [bytes(cell).decode("utf-16-be", "replace").split("\0", 1)[0] for cell in raw]
        return _nulled(pa.array(texts, pa.string()), void)
    cells = trimmed_bytes(raw.view(f"S{raw.shape[1]}")[:, 0].tolist())
    return _nulled(text_cells(pa.array(cells, pa.binary())), void)


def _nulled(texts: AnyArray, void: Bools | None) -> AnyArray:
    """Return strings with nulls: by the mask, or, in BINARY, where they are empty."""
    if void is None:
        void = np.asarray(pc.equal(texts, "").to_numpy(zero_copy_only=False), bool)
    if not void.any():
        return texts
    return pc.if_else(pa.array(void), None, texts)


def _variable(data: Bytes, part: _Part, counts: Ints, ends: Ints, void: Bools | None) -> AnyArray:
    """Return the column of a field of variable size; a cell ends at `ends`."""
    column = part.field.column
    bits = column.datatype is Datatype.BIT
    sizes = (counts + 7) // 8 if bits else counts * part.unit
    cells = _gathered(data, ends - sizes, ends)
    if column.is_string:
        return _variable_strings(cells, column.datatype, void)
    raw = np.frombuffer(cells.buffers()[2] or b"", np.uint8)[: int(sizes.sum())]
    before = np.cumsum(sizes) - sizes
    if bits:
        unpacked = [
            np.unpackbits(raw[a : a + size])[:count]
            for a, size, count in zip(before, sizes, counts, strict=True)
        ]
        flat = np.concatenate([np.empty(0, np.uint8), *unpacked]).astype(bool)
        return lists(scalars(flat, None), counts, void)
    values, element_void = _known(raw.view(_ELEMENT[column.datatype]), part.field)
    elements = scalars(values, element_void)
    if column.datatype in _COMPLEX:
        elements = fixed_list_array(elements, 2)
    return lists(elements, counts, void)


def _variable_strings(cells: AnyArray, datatype: Datatype, void: Bools | None) -> AnyArray:
    if datatype is Datatype.UNICODE_CHAR:
        texts = [cell.decode("utf-16-be", "replace") for cell in cells.to_pylist()]
        return _nulled(pa.array(texts, pa.string()), void)
    if pc.any(pc.match_substring(cells, b"\0"), min_count=0).as_py():
        cells = pa.array(trimmed_bytes(cells.to_pylist()), pa.binary())
    return _nulled(text_cells(cells), void)


def _count(arraysize: str | None) -> int:
    count = 1
    for part in (arraysize or "1").split("x"):
        count *= int(part)
    return count
