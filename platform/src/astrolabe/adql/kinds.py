"""Kinds of values: how VOTable types map to them and what arithmetic makes of them."""

from __future__ import annotations

from astrolabe.adql.tree import Aggregate, Binary, Call, ColumnRef, Expr, Kind, Negate
from astrolabe.tables.model import Column, Datatype

__all__ = [
    "FLOATS",
    "GEOMETRIES",
    "INTEGERS",
    "NUMBERS",
    "arithmetic_kind",
    "column_of_kind",
    "describe",
    "kind_of",
    "unit_of",
]

INTEGERS = frozenset([Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT])
FLOATS = frozenset([Kind.REAL, Kind.DOUBLE])
NUMBERS = INTEGERS | FLOATS
GEOMETRIES = frozenset([Kind.POINT, Kind.CIRCLE, Kind.POLYGON])

_KIND_OF_DATATYPE: dict[Datatype, Kind] = {
    Datatype.BOOLEAN: Kind.BOOLEAN,
    Datatype.BIT: Kind.BOOLEAN,
    Datatype.UNSIGNED_BYTE: Kind.SMALLINT,
    Datatype.SHORT: Kind.SMALLINT,
    Datatype.INT: Kind.INTEGER,
    Datatype.LONG: Kind.BIGINT,
    Datatype.FLOAT: Kind.REAL,
    Datatype.DOUBLE: Kind.DOUBLE,
    Datatype.CHAR: Kind.STRING,
    Datatype.UNICODE_CHAR: Kind.STRING,
    Datatype.FLOAT_COMPLEX: Kind.ARRAY,
    Datatype.DOUBLE_COMPLEX: Kind.ARRAY,
}
_KIND_OF_XTYPE: dict[str, Kind] = {
    "point": Kind.POINT,
    "circle": Kind.CIRCLE,
    "polygon": Kind.POLYGON,
}
_COLUMN_OF_KIND: dict[Kind, tuple[Datatype, str | None, str | None]] = {
    Kind.BOOLEAN: (Datatype.BOOLEAN, None, None),
    Kind.SMALLINT: (Datatype.SHORT, None, None),
    Kind.INTEGER: (Datatype.INT, None, None),
    Kind.BIGINT: (Datatype.LONG, None, None),
    Kind.REAL: (Datatype.FLOAT, None, None),
    Kind.DOUBLE: (Datatype.DOUBLE, None, None),
    Kind.STRING: (Datatype.CHAR, "*", None),
    Kind.TIMESTAMP: (Datatype.CHAR, "*", "timestamp"),
    Kind.POINT: (Datatype.DOUBLE, "2", "point"),
    Kind.CIRCLE: (Datatype.DOUBLE, "3", "circle"),
    Kind.POLYGON: (Datatype.DOUBLE, "*", "polygon"),
    Kind.ARRAY: (Datatype.DOUBLE, "*", None),
    Kind.NULL: (Datatype.CHAR, "*", None),
}
_NAMES: dict[Kind, str] = {
    Kind.BOOLEAN: "a boolean",
    Kind.SMALLINT: "a number",
    Kind.INTEGER: "a number",
    Kind.BIGINT: "a number",
    Kind.REAL: "a number",
    Kind.DOUBLE: "a number",
    Kind.STRING: "a string",
    Kind.TIMESTAMP: "a timestamp",
    Kind.POINT: "a point",
    Kind.CIRCLE: "a circle",
    Kind.POLYGON: "a polygon",
    Kind.ARRAY: "an array",
    Kind.NULL: "NULL",
}

_KEEPS_UNIT = frozenset(["ABS", "CEILING", "FLOOR", "ROUND", "TRUNCATE", "COALESCE"])
_UNIT_OF_CALL = {
    "DISTANCE": "deg",
    "COORD1": "deg",
    "COORD2": "deg",
    "CENTROID": "deg",
    "AREA": "deg2",
    "DEGREES": "deg",
    "RADIANS": "rad",
    "ACOS": "rad",
    "ASIN": "rad",
    "ATAN": "rad",
    "ATAN2": "rad",
}


def kind_of(column: Column) -> Kind:
    """Return the kind of the values of `column`."""
    if column.is_timestamp:
        return Kind.TIMESTAMP
    if column.is_array:
        if column.datatype in (Datatype.DOUBLE, Datatype.FLOAT):
            return _KIND_OF_XTYPE.get(column.xtype or "", Kind.ARRAY)
        return Kind.ARRAY
    return _KIND_OF_DATATYPE[column.datatype]


def column_of_kind(name: str, kind: Kind) -> Column:
    """Return a bare column that holds values of `kind`."""
    datatype, arraysize, xtype = _COLUMN_OF_KIND[kind]
    unit = "deg" if kind in GEOMETRIES else None
    return Column(name=name, datatype=datatype, arraysize=arraysize, xtype=xtype, unit=unit)


def describe(kind: Kind) -> str:
    """Return the kind in words, for messages."""
    return _NAMES[kind]


def arithmetic_kind(left: Kind, right: Kind) -> Kind:
    """Return the kind of ``left + right`` and the like, for numbers.

    Integers stay integers (BIGINT if one is); two REAL stay REAL; everything else is DOUBLE.
    """
    kinds = {left, right} - {Kind.NULL}
    if not kinds:
        return Kind.NULL
    if kinds <= INTEGERS:
        return Kind.BIGINT if Kind.BIGINT in kinds else Kind.INTEGER
    return Kind.REAL if kinds == {Kind.REAL} else Kind.DOUBLE


def unit_of(expr: Expr) -> str | None:
    """Return the unit that the values of `expr` certainly have, `None` if that is unknown."""
    if isinstance(expr, ColumnRef):
        return expr.column.unit
    if isinstance(expr, Negate):
        return unit_of(expr.operand)
    if isinstance(expr, Binary) and expr.operator in ("+", "-"):
        left, right = unit_of(expr.left), unit_of(expr.right)
        return left if left == right else None
    if isinstance(expr, Aggregate) and expr.operand is not None and expr.name != "COUNT":
        return unit_of(expr.operand)
    if isinstance(expr, Call):
        return _UNIT_OF_CALL.get(expr.name) or (
            unit_of(expr.args[0]) if expr.name in _KEEPS_UNIT and expr.args else None
        )
    return None
