"""The checked query: a typed tree in which every name is resolved.

The checker builds it, the planner reads regions and keys from it, the emitters write an engine's
SQL from it.  Nothing in it is text of the user's query: names are those of the metadata, literals
are values.  Later parts of ADQL 2.1 (sets, WITH, CAST, IN_UNIT, UDFs) add node classes here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Literal as OneOf

from astrolabe.tables.model import Column, TableMeta

__all__ = [
    "Aggregate",
    "And",
    "Between",
    "Binary",
    "Box",
    "Call",
    "CheckedQuery",
    "Circle",
    "ColumnRef",
    "Comparison",
    "Exists",
    "Expr",
    "GeometryColumn",
    "InList",
    "InSubquery",
    "IsNull",
    "Join",
    "Kind",
    "Like",
    "Literal",
    "Negate",
    "Node",
    "Not",
    "Or",
    "OrderItem",
    "Point",
    "Polygon",
    "Relation",
    "ScalarSubquery",
    "Select",
    "SelectItem",
    "SubquerySource",
    "TableSource",
    "field_names",
    "walk",
]


class Kind(StrEnum):
    """The type of an expression, as far as ADQL's rules need it (ADQL 2.1, section 3)."""

    BOOLEAN = "boolean"
    SMALLINT = "smallint"
    INTEGER = "integer"
    BIGINT = "bigint"
    REAL = "real"
    DOUBLE = "double"
    STRING = "string"
    TIMESTAMP = "timestamp"
    POINT = "point"
    CIRCLE = "circle"
    POLYGON = "polygon"
    ARRAY = "array"
    NULL = "null"


@dataclass(frozen=True, slots=True)
class Node:
    """Base of everything in the tree."""


@dataclass(frozen=True, slots=True)
class Expr(Node):
    """A value expression or a condition; `kind` is its type."""

    kind: Kind


# --- values -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Literal(Expr):
    """A constant; exact integers are `int`, every other number is `float`."""

    value: int | float | str | bool | None


@dataclass(frozen=True, slots=True)
class ColumnRef(Expr):
    """A column of the relation `source` (the key of a `TableSource` or `SubquerySource`)."""

    source: str
    column: Column


@dataclass(frozen=True, slots=True)
class Negate(Expr):
    """Unary minus."""

    operand: Expr


@dataclass(frozen=True, slots=True)
class Binary(Expr):
    """Arithmetic or string concatenation."""

    operator: OneOf["+", "-", "*", "/", "||"]
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Call(Expr):
    """A function by its ADQL name in capitals.

    Besides ADQL's numeric functions these geometry functions stay calls: ``CONTAINS`` and
    ``INTERSECTS`` (kind INTEGER, 1 or 0; arguments are geometries), ``DISTANCE`` (kind DOUBLE,
    degrees; always two arguments of kind POINT, the four-argument form is rewritten), ``AREA``,
    ``CENTROID``, ``COORD1``, ``COORD2``, ``COORDSYS``.
    """

    name: str
    args: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Aggregate(Expr):
    """COUNT, SUM, AVG, MIN or MAX; `operand` is `None` for ``COUNT(*)``."""

    name: str
    operand: Expr | None
    distinct: bool = False


@dataclass(frozen=True, slots=True)
class ScalarSubquery(Expr):
    """A subquery used as one value."""

    query: Select


# --- geometries (ICRS, degrees) -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Point(Expr):
    """POINT(lon, lat)."""

    lon: Expr
    lat: Expr


@dataclass(frozen=True, slots=True)
class Circle(Expr):
    """CIRCLE(centre, radius); `center` is of kind POINT (a `Point` or a `GeometryColumn`)."""

    center: Expr
    radius: Expr


@dataclass(frozen=True, slots=True)
class Polygon(Expr):
    """POLYGON of three or more vertices, each of kind POINT."""

    vertices: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Box(Expr):
    """BOX(centre, width, height): kind POLYGON (ADQL 2.1, section 4.2.10).

    Its sides lie along the great circles as that section says: a box is the polygon of its
    corners at ``lon ± width/2, lat ± height/2``.
    """

    center: Expr
    width: Expr
    height: Expr


@dataclass(frozen=True, slots=True)
class GeometryColumn(Expr):
    """A column with xtype point, circle or polygon used as a geometry."""

    reference: ColumnRef


# --- conditions (kind BOOLEAN) ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Comparison(Expr):
    """A comparison; ``!=`` is written ``<>``."""

    operator: OneOf["=", "<>", "<", "<=", ">", ">="]
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class And(Expr):
    """All of `terms`; nested ANDs are flattened."""

    terms: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Or(Expr):
    """Any of `terms`; nested ORs are flattened."""

    terms: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Not(Expr):
    """Logical negation."""

    operand: Expr


@dataclass(frozen=True, slots=True)
class Between(Expr):
    """``operand [NOT] BETWEEN low AND high``."""

    operand: Expr
    low: Expr
    high: Expr
    negated: bool = False


@dataclass(frozen=True, slots=True)
class InList(Expr):
    """``operand [NOT] IN (items)``."""

    operand: Expr
    items: tuple[Expr, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class InSubquery(Expr):
    """``operand [NOT] IN (query)``."""

    operand: Expr
    query: Select
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Exists(Expr):
    """``EXISTS (query)``."""

    query: Select


@dataclass(frozen=True, slots=True)
class Like(Expr):
    """``operand [NOT] LIKE pattern``, case-sensitive unless `ignore_case` (ILIKE)."""

    operand: Expr
    pattern: Expr
    negated: bool = False
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class IsNull(Expr):
    """``operand IS [NOT] NULL``."""

    operand: Expr
    negated: bool = False


# --- relations ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Relation(Node):
    """Something in a FROM clause."""


@dataclass(frozen=True, slots=True)
class TableSource(Relation):
    """One occurrence of a table; `key` (``t0``, ``t1``, ...) is unique in the whole query."""

    key: str
    table: TableMeta


@dataclass(frozen=True, slots=True)
class SubquerySource(Relation):
    """A subquery in FROM; `key` is unique in the whole query."""

    key: str
    query: Select


@dataclass(frozen=True, slots=True)
class Join(Relation):
    """A join.  Comma joins are ``cross``; NATURAL and USING are rewritten to `condition`."""

    how: OneOf["inner", "left", "right", "full", "cross"]
    left: Relation
    right: Relation
    condition: Expr | None


# --- queries ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SelectItem(Node):
    """One output column: what it is computed from and how it is described."""

    expr: Expr
    column: Column


@dataclass(frozen=True, slots=True)
class OrderItem(Node):
    """One ORDER BY term; an output column's number is already replaced by its expression."""

    expr: Expr
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Select(Node):
    """One SELECT.  `top` is `None` without TOP; `source` is `None` without FROM."""

    items: tuple[SelectItem, ...]
    source: Relation | None
    where: Expr | None = None
    group_by: tuple[Expr, ...] = ()
    having: Expr | None = None
    order_by: tuple[OrderItem, ...] = ()
    distinct: bool = False
    top: int | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True)
class CheckedQuery:
    """A query that is known to be right.

    Parameters
    ----------
    text
        The user's text.
    root
        The tree.
    columns
        The result's columns with unit, UCD, xtype and description; names are unique.
    tables
        Every occurrence of a table in the whole query, subqueries included, in text order.
    used_columns
        For each key of `tables`, the raw names of its columns that the query reads.
    """

    text: str
    root: Select
    columns: tuple[Column, ...]
    tables: tuple[TableSource, ...]
    used_columns: dict[str, frozenset[str]]


_FIELD_NAMES: dict[type[Node], tuple[str, ...]] = {}


def field_names(kind: type[Node]) -> tuple[str, ...]:
    """Return the names of the parts of a class of nodes, found once a class."""
    names = _FIELD_NAMES.get(kind)
    if names is None:
        names = _FIELD_NAMES[kind] = tuple(item.name for item in fields(kind))
    return names


def walk(node: Node) -> Iterator[Node]:
    """Yield `node` and everything below it, subqueries included, in no promised order."""
    stack: list[Node] = [node]
    while stack:
        current = stack.pop()
        yield current
        for name in field_names(type(current)):
            value = getattr(current, name)
            if isinstance(value, Node):
                stack.append(value)
            elif isinstance(value, tuple):
                stack.extend(part for part in value if isinstance(part, Node))
