"""Cells of VOTable's TABLEDATA, whole batches at a time (VOTable 1.4, section 5.1)."""

from __future__ import annotations

import pyarrow as pa

from astrolabe.core.errors import AdqlTypeError
from astrolabe.tables.arrow import AnyArray
from astrolabe.tables.arrow import compute as pc
from astrolabe.tables.cells import (
    INTEGER_SENTINELS,
    flat_values,
    is_complex,
    joined_rows,
    list_text,
    number_text,
    timestamp_text,
)
from astrolabe.tables.model import Column, Datatype

__all__ = ["tabledata_nulls", "tabledata_rows"]

_SPECIAL = "[&<>\r\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\ufffe\uffff]"
_NOT_XML = "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\ufffe\uffff]"
_REFERENCES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#13;"))


def tabledata_nulls(columns: tuple[Column, ...]) -> dict[str, int]:
    """Return the values that stand for null elements of arrays; a null cell is an empty one."""
    return {
        c.name: INTEGER_SENTINELS[c.datatype]
        for c in columns
        if c.is_array and c.datatype in INTEGER_SENTINELS
    }


def tabledata_rows(batch: pa.RecordBatch, columns: tuple[Column, ...]) -> bytes:
    """Return the rows of `batch` as TR elements, one a line."""
    if batch.num_rows == 0:
        return b""
    cells = [_cells(array, c) for c, array in zip(columns, batch.columns, strict=True)]
    return joined_rows(cells, "</TD><TD>", "<TR><TD>", "</TD></TR>\n")


def _cells(array: AnyArray, column: Column) -> AnyArray:
    """Return the text of each cell; null for an empty one."""
    if column.is_timestamp:
        return timestamp_text(array, column.arraysize)
    if column.is_string:
        return _escaped(array)
    if column.is_array or is_complex(column):
        return _arrays(array, column)
    if pa.types.is_boolean(array.type):
        one, zero = ("1", "0") if column.datatype is Datatype.BIT else ("T", "F")
        return pc.if_else(array, one, zero)
    return number_text(array)


def _arrays(array: AnyArray, column: Column) -> AnyArray:
    """Return array cells; a null one of fixed size is all nulls, as its elements are counted."""
    null = _null_element(array, column)
    text = list_text(array, column, null=null)
    if array.null_count and null and not (column.arraysize or "").endswith("*"):
        size = 2 if is_complex(column) else 1
        for part in (column.arraysize or "1").split("x"):
            size *= int(part)
        text = pc.fill_null(text, " ".join([null] * size))
    return text


def _null_element(array: AnyArray, column: Column) -> str:
    elements = flat_values(array)
    if pa.types.is_floating(elements.type):
        return "NaN"
    if column.datatype is Datatype.BOOLEAN:
        return "?"
    sentinel = INTEGER_SENTINELS.get(column.datatype)
    if sentinel is None:
        if elements.null_count:
            raise AdqlTypeError(
                f"Column {column.name!r} has a null among the {column.datatype} values of an "
                "array, which a VOTable cannot tell; ask for CSV."
            )
        return ""
    if pc.min(elements).as_py() == sentinel:
        raise AdqlTypeError(
            f"Column {column.name!r} holds {sentinel}, which stands for null in this form; "
            "ask for CSV."
        )
    return str(sentinel)


def _escaped(array: AnyArray) -> AnyArray:
    """Escape what XML reads as its own; what it cannot hold becomes U+FFFD."""
    if not pc.any(pc.match_substring_regex(array, _SPECIAL), min_count=0).as_py():
        return array
    for character, reference in _REFERENCES:
        array = pc.replace_substring(array, character, reference)
    return pc.replace_substring_regex(array, _NOT_XML, "\N{REPLACEMENT CHARACTER}")
