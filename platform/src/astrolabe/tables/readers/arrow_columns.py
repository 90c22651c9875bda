"""Declared columns from Arrow's types and from the metadata that Parquet files carry."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from astrolabe.tables.arrow import AnyArray, AnyField, AnyType, fixed_list_array, list_array
from astrolabe.tables.model import HEALPIX_COLUMN, Column, Datatype

__all__ = ["ArrowColumns", "columns_of_schema", "flattened"]

_SCALARS: tuple[tuple[pa.DataType, Datatype], ...] = (
    (pa.bool_(), Datatype.BOOLEAN),
    (pa.int8(), Datatype.SHORT),
    (pa.uint8(), Datatype.UNSIGNED_BYTE),
    (pa.int16(), Datatype.SHORT),
    (pa.uint16(), Datatype.INT),
    (pa.int32(), Datatype.INT),
    (pa.uint32(), Datatype.LONG),
    (pa.int64(), Datatype.LONG),
    (pa.uint64(), Datatype.LONG),
    (pa.float16(), Datatype.FLOAT),
    (pa.float32(), Datatype.FLOAT),
    (pa.float64(), Datatype.DOUBLE),
)
_INTEGERS = (Datatype.UNSIGNED_BYTE, Datatype.SHORT, Datatype.INT, Datatype.LONG)
_TEXTS = {
    "unit": ("unit", "units"),
    "ucd": ("ucd",),
    "utype": ("utype",),
    "xtype": ("xtype",),
    "description": ("description", "doc"),
}


@dataclass(frozen=True, slots=True)
class ArrowColumns:
    """The columns of an Arrow schema that a table can hold.

    Parameters
    ----------
    columns
        Declared columns.
    notes
        A sentence for each column that was left out.
    """

    columns: tuple[Column, ...]
    notes: tuple[str, ...]


def columns_of_schema(
    schema: pa.Schema,
    *,
    declared: Mapping[str, Column],
    as_string: Collection[str] = (),
    internal: Collection[str] = (),
) -> ArrowColumns:
    """Return the declared columns of `schema`.

    Parameters
    ----------
    schema
        Of a file.
    declared
        What the file's own metadata says of a column, by name.  Its datatype counts where the
        file's type can hold it (``short`` in an int32 column).
    as_string
        Names of columns to be read as text.
    internal
        Names of columns that belong to the file's layout and not to the table.
    """
    columns, notes = [], []
    for field in schema:
        if field.name in internal:
            continue
        if field.name == HEALPIX_COLUMN or field.name.startswith("__index_level_"):
            notes.append(
                f"column {field.name!r} was left out: it is an index of the file, not data"
            )
            continue
        if field.name in as_string:
            column: Column | None = Column(name=field.name, datatype=Datatype.CHAR, arraysize="*")
        else:
            column = _column(field.name, field.type)
        if column is None:
            notes.append(f"column {field.name!r} was left out: no table can hold {field.type}")
            continue
        texts = _field_texts(field)
        column = replace(column, nullable=field.nullable, **texts)
        said = declared.get(field.name)
        columns.append(column if said is None else _merged(column, said))
    return ArrowColumns(tuple(columns), tuple(notes))


def flattened(array: AnyArray) -> AnyArray:
    """Return nested lists of fixed inner size as lists of plain elements."""
    while _is_list(array.type) and pa.types.is_fixed_size_list(array.type.value_type):
        inner = array.type.value_type.list_size
        outer = array.type.list_size if pa.types.is_fixed_size_list(array.type) else None
        if outer is not None:
            mask = array.is_null() if array.null_count else None
            array = fixed_list_array(_all_values(array).values, outer * inner, mask=mask)
        else:
            offsets = np.asarray(array.offsets, np.int32)
            values = array.values.flatten() if array.values.null_count == 0 else None
            if values is None:
                raise pa.ArrowInvalid("an array lacks one of its rows")
            start = int(offsets[0])
            array = list_array(
                pa.array((offsets - start) * inner),
                values.slice(start * inner),
                mask=array.is_null() if array.null_count else None,
            )
    return array


def _all_values(array: AnyArray) -> AnyArray:
    size = array.type.list_size
    return array.values.slice(array.offset * size, len(array) * size)


def _is_list(kind: AnyType) -> bool:
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _column(name: str, kind: AnyType) -> Column | None:
    if isinstance(kind, pa.BaseExtensionType):
        return _column(name, kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _column(name, kind.value_type)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return Column(name=name, datatype=Datatype.CHAR, arraysize="*", xtype="timestamp")
    if _is_list(kind):
        return _array_column(name, kind)
    datatype = _scalar(kind)
    if datatype is None:
        return None
    return Column(
        name=name, datatype=datatype, arraysize="*" if datatype is Datatype.CHAR else None
    )


def _scalar(kind: AnyType) -> Datatype | None:
    for arrow, datatype in _SCALARS:
        if kind == arrow:
            return datatype
    if pa.types.is_decimal(kind):
        # Other decimals have no exact type in a VOTable.
        return Datatype.LONG if kind.scale == 0 else Datatype.DOUBLE
    textual = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_fixed_size_binary,
        pa.types.is_null,
        pa.types.is_time,
    )
    return Datatype.CHAR if any(test(kind) for test in textual) else None


def _array_column(name: str, kind: AnyType) -> Column | None:
    sizes: list[str] = []
    while _is_list(kind):
        fixed = pa.types.is_fixed_size_list(kind)
        if sizes and not fixed:
            return None
        sizes.append(str(kind.list_size) if fixed else "*")
        kind = kind.value_type
    datatype = _scalar(kind)
    if datatype in (None, Datatype.CHAR):
        return None
    return Column(name=name, datatype=datatype, arraysize="x".join(reversed(sizes)))


def _field_texts(field: AnyField) -> dict[str, Any]:
    found = {}
    metadata = field.metadata or {}
    for key, names in _TEXTS.items():
        for name in names:
            value = metadata.get(name.encode(), b"").decode(errors="replace").strip()
            if value:
                found[key] = value
                break
    return found


def _merged(column: Column, said: Column) -> Column:
    """Return `column` with what the file's metadata says of it."""
    texts = {
        key: getattr(said, key) or getattr(column, key)
        for key in (*_TEXTS, "precision")
        if key != "xtype"
    }
    if column.is_timestamp:
        return replace(column, **texts, xtype=column.xtype)
    both_integers = column.datatype in _INTEGERS and said.datatype in _INTEGERS
    both_text = column.is_string and said.is_string and not said.is_timestamp
    both_bits = {column.datatype, said.datatype} <= {Datatype.BOOLEAN, Datatype.BIT}
    if both_text:
        # A declared length is not trusted: the file may hold longer texts.
        return replace(column, **texts, datatype=said.datatype, xtype=said.xtype)
    if column.datatype is said.datatype or both_integers or both_bits:
        return replace(
            column,
            **texts,
            datatype=said.datatype,
            arraysize=(said.arraysize if column.is_array else None) or column.arraysize,
            xtype=said.xtype,
        )
    return replace(column, **texts)
