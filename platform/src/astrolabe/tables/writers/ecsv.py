"""The writer of ECSV (Enhanced CSV 1.0)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import yaml
from typing_extensions import override

from astrolabe.tables.arrow import AnyArray
from astrolabe.tables.arrow import compute as pc
from astrolabe.tables.cells import is_complex
from astrolabe.tables.model import Column, Datatype, ResultHeader
from astrolabe.tables.writers.delimited import DelimitedWriter
from astrolabe.tables.writers.json_rows import json_cells

__all__ = ["EcsvWriter"]

_NAMES: dict[Datatype, str] = {
    Datatype.BOOLEAN: "bool",
    Datatype.BIT: "bool",
    Datatype.UNSIGNED_BYTE: "uint8",
    Datatype.SHORT: "int16",
    Datatype.INT: "int32",
    Datatype.LONG: "int64",
    Datatype.CHAR: "string",
    Datatype.UNICODE_CHAR: "string",
    Datatype.FLOAT: "float32",
    Datatype.DOUBLE: "float64",
    Datatype.FLOAT_COMPLEX: "float32",
    Datatype.DOUBLE_COMPLEX: "float64",
}


class EcsvWriter(DelimitedWriter):
    """Writes comma-separated rows below a YAML header with types, units and descriptions.

    UCD, utype and xtype of a column are in its ``meta``, the query and its like in the table's.
    Arrays are JSON, complex numbers arrays of two.  There is no place for OVERFLOW or an error.
    """

    def __init__(self, header: ResultHeader) -> None:
        super().__init__(header, delimiter=",")

    @override
    def start(self) -> Iterator[bytes]:
        document: dict[str, Any] = {
            "datatype": [_described(column) for column in self.header.columns],
            "delimiter": ",",
            "meta": {info.name: info.value for info in self.header.infos},
            "schema": "astropy-2.0",
        }
        text = yaml.safe_dump(
            document, sort_keys=False, allow_unicode=True, width=2**20, default_flow_style=None
        )
        lines = ["%ECSV 1.0", "---", *text.splitlines()]
        yield "".join(f"# {line}\n" for line in lines).encode()
        yield from super().start()

    @override
    def prepare(self, array: AnyArray, column: Column) -> AnyArray:
        if column.is_array or is_complex(column):
            return json_cells(array, column)
        if pa.types.is_boolean(array.type):
            # Quotes around a word mean nothing in ECSV.
            return pc.if_else(array, "True", "False")
        if pa.types.is_floating(array.type):
            # NaN is a number here; only null is empty.
            return array
        return super().prepare(array, column)


def _described(column: Column) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": column.name}
    if column.unit is not None:
        entry["unit"] = column.unit
    entry["datatype"] = _NAMES[column.datatype]
    sizes = [] if column.is_string else (column.arraysize or "").split("x")[::-1]
    sizes = ["null" if "*" in size else size for size in sizes if size]
    if is_complex(column):
        sizes.append("2")
    if sizes:
        # A size that varies is read as a list of numbers when it is the only one.
        flat = ["null"] if "null" in sizes else sizes
        entry["datatype"], entry["subtype"] = (
            "string",
            f"{_NAMES[column.datatype]}[{','.join(flat)}]",
        )
    if column.description is not None:
        entry["description"] = column.description
    meta = {
        key: getattr(column, key)
        for key in ("ucd", "utype", "xtype")
        if getattr(column, key) is not None
    }
    if meta:
        entry["meta"] = meta
    return entry
