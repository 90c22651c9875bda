"""Rows of VOTable's TABLEDATA (VOTable 1.4, section 5.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from astrolabe.tables.arrow import AnyArray, AnyType, fixed_list_array
from astrolabe.tables.arrow import compute as pc
from astrolabe.tables.model import Column, Datatype, arrow_type
from astrolabe.tables.readers.base import Refusal, first_line
from astrolabe.tables.readers.decode import fixed_lists, lists
from astrolabe.tables.readers.votable_header import VOTableField, VOTableHeader
from astrolabe.tables.readers.votable_rows import tabledata_rows

__all__ = ["tabledata_batches"]

_TRUE = ("T", "TRUE", "1")
_FALSE = ("F", "FALSE", "0")
_UNKNOWN = ("", "?", "\0", "NULL")
_NUMBERS: dict[Datatype, AnyType] = {
    Datatype.UNSIGNED_BYTE: pa.uint8(),
    Datatype.SHORT: pa.int16(),
    Datatype.INT: pa.int32(),
    Datatype.LONG: pa.int64(),
    Datatype.FLOAT: pa.float32(),
    Datatype.DOUBLE: pa.float64(),
    Datatype.FLOAT_COMPLEX: pa.float32(),
    Datatype.DOUBLE_COMPLEX: pa.float64(),
}
_HEXADECIMAL = re.compile(r"[+-]?0[xX][0-9a-fA-F]+\Z")


def tabledata_batches(
    path: Path, header: VOTableHeader, refuse: Refusal, max_rows: int
) -> Iterator[list[AnyArray]]:
    """Yield the columns of at most `max_rows` rows at a time.

    Columns with the xtype of a timestamp come as text.
    """
    fields = header.fields
    rows: list[list[str | None]] = []
    first_row = 1
    for more in tabledata_rows(path, header, refuse):
        rows += more
        while len(rows) >= max_rows:
            yield _columns(rows[:max_rows], fields, refuse, first_row)
            first_row += max_rows
            rows = rows[max_rows:]
    if rows:
        yield _columns(rows, fields, refuse, first_row)


def _columns(
    rows: list[list[str | None]],
    fields: Sequence[VOTableField],
    refuse: Refusal,
    first_row: int,
) -> list[AnyArray]:
    arrays = []
    for field, texts in zip(fields, zip(*rows, strict=True), strict=True):
        column = field.column
        try:
            arrays.append(_column(pa.array(texts, pa.string()), field))
        except (pa.ArrowInvalid, ValueError) as exc:
            last_row = first_row + len(rows) - 1
            raise refuse(
                f"column {column.name!r} has a value that is no {column.datatype}, in rows "
                f"{first_row} to {last_row}: {first_line(exc)}"
            ) from exc
    return arrays


def _column(texts: AnyArray, field: VOTableField) -> AnyArray:
    column = field.column
    if column.is_string:
        # An empty cell is null (VOTable 1.3 and later); an empty text cannot be told from it.
        return pc.if_else(pc.equal(texts, ""), None, texts)
    if column.datatype is Datatype.BIT and column.is_array:
        return _bits(texts, column)
    if column.is_array or column.datatype in (Datatype.FLOAT_COMPLEX, Datatype.DOUBLE_COMPLEX):
        return _arrays(texts, field)
    return _elements(pc.utf8_trim_whitespace(texts), field)


def _elements(words: AnyArray, field: VOTableField) -> AnyArray:
    if field.column.datatype in (Datatype.BOOLEAN, Datatype.BIT):
        return _booleans(words)
    kind = _NUMBERS[field.column.datatype]
    void = pc.is_in(words, pa.array(["", "null", "NULL", (field.null or "").strip()]))
    words = pc.if_else(void, None, pc.utf8_ltrim(words, "+"))
    if pa.types.is_integer(kind):
        words = _decimal(words)
    values = words.cast(kind)
    if field.null is not None and pa.types.is_floating(kind):
        values = pc.if_else(pc.equal(values, pa.scalar(float(field.null), kind)), None, values)
    return values


def _decimal(words: AnyArray) -> AnyArray:
    """Write hexadecimal integers as decimal ones."""
    if not pc.any(pc.match_substring_regex(words, "0[xX]"), min_count=0).as_py():
        return words
    return pa.array(
        [
            str(int(word, 16)) if word is not None and _HEXADECIMAL.match(word) else word
            for word in words.to_pylist()
        ],
        pa.string(),
    )


def _booleans(words: AnyArray) -> AnyArray:
    upper = pc.utf8_upper(words)
    true = pc.is_in(upper, pa.array(_TRUE))
    false = pc.is_in(upper, pa.array(_FALSE))
    unknown = pc.or_(pc.is_in(upper, pa.array(_UNKNOWN)), upper.is_null())
    known = pc.or_(pc.or_(true, false), unknown)
    if not pc.all(known, min_count=0).as_py():
        raise ValueError(f"{upper.filter(pc.invert(known))[0].as_py()!r}")
    return pc.if_else(unknown, None, true)


def _bits(texts: AnyArray, column: Column) -> AnyArray:
    cells = [
        None if text is None else [c == "1" for c in text if c in "01"]
        for text in texts.to_pylist()
    ]
    cells = [cell or None for cell in cells] if column.arraysize != "*" else cells
    return pa.array(cells, arrow_type(column))


def _arrays(texts: AnyArray, field: VOTableField) -> AnyArray:
    column = field.column
    words = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(texts))
    blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(texts), ""), True)
    missing = np.asarray(blank.to_numpy(zero_copy_only=False), bool)
    words = words.filter(pc.invert(blank))
    counts = np.zeros(len(texts), np.int64)
    counts[~missing] = pc.list_value_length(words).to_numpy(zero_copy_only=False)
    values = _elements(words.flatten(), field)
    kind: AnyType = arrow_type(column)
    if pa.types.is_fixed_size_list(kind):
        return _fixed_arrays(values, counts, missing, kind)
    if pa.types.is_fixed_size_list(kind.value_type):
        pairs = fixed_list_array(values, 2)
        return lists(pairs, counts // 2, missing)
    return lists(values, counts, missing)


def _fixed_arrays(
    values: AnyArray,
    counts: np.ndarray[tuple[int], np.dtype[np.int64]],
    missing: np.ndarray[tuple[int], np.dtype[np.bool_]],
    kind: AnyType,
) -> AnyArray:
    size = kind.list_size
    nested = pa.types.is_fixed_size_list(kind.value_type)
    words = size * kind.value_type.list_size if nested else size
    wrong = counts[~missing & (counts != words)]
    if len(wrong):
        raise ValueError(f"an array has {wrong[0]} elements instead of {words}")
    plain = values.to_numpy(zero_copy_only=False) if values.null_count == 0 else None
    if plain is None:
        filled = pc.fill_null(values, pa.scalar(False if pa.types.is_boolean(values.type) else 0))
        plain = filled.to_numpy(zero_copy_only=False)
    cells = np.zeros((len(counts), words), plain.dtype)
    cells[~missing] = plain.reshape(-1, words)
    void = np.zeros(cells.shape, bool)
    void[~missing] = values.is_null().to_numpy(zero_copy_only=False).reshape(-1, words)
    flat = fixed_lists(cells, void, missing)
    if not nested:
        return flat
    pairs = fixed_list_array(flat.values, 2)
    return fixed_list_array(pairs, size, mask=pa.array(missing))
