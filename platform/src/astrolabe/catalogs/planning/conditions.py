"""From one condition to what it says of the rows of each table.

The question is always: if this condition is TRUE (or, under NOT, FALSE), where can the rows lie?
A form that is not understood says nothing, so that the engine reads more, never less.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from astrolabe.adql.comparisons import MIRRORED, OPPOSITE
from astrolabe.adql.tree import (
    And,
    Between,
    Call,
    ColumnRef,
    Comparison,
    Expr,
    InList,
    Kind,
    Literal,
    Not,
    Or,
    TableSource,
    walk,
)
from astrolabe.catalogs.planning.folding import (
    NULL,
    UNKNOWN,
    Linear,
    Value,
    compare,
    fold,
    linear,
)
from astrolabe.catalogs.planning.geometry import Geometry
from astrolabe.catalogs.planning.restrictions import (
    FREE,
    IMPOSSIBLE,
    Bounds,
    Interval,
    Restriction,
)
from astrolabe.sky.ranges import NO_RANGES, Ranges, normalize_ranges
from astrolabe.tables.model import TableMeta

__all__ = ["Conditions", "key_columns"]

_INTEGERS = frozenset([Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT])
_INT64 = np.iinfo(np.int64)
_EXACT_INTEGERS = 2.0**53
_PREDICATES = ("CONTAINS", "INTERSECTS")
_MAX_PREDICATES = 4


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """Judges conditions.

    Parameters
    ----------
    tables
        The tables by `TableSource` key.
    geometry
        Understands positions and shapes, and follows columns of subqueries to their tables.
    """

    tables: Mapping[str, TableSource]
    geometry: Geometry

    def bounds(  # noqa: PLR0911 - one a kind of condition
        self, condition: Expr, *, wanted: bool = True
    ) -> Bounds:
        """Return what is known if `condition` is TRUE or, with `wanted` false, FALSE."""
        match condition:
            case And(_, terms) | Or(_, terms):
                found = (self.bounds(term, wanted=wanted) for term in terms)
                every = isinstance(condition, And) == wanted
                return Bounds.all_of(found) if every else Bounds.any_of(found)
            case Not(_, operand):
                return self.bounds(operand, wanted=not wanted)
            case Comparison(_, operator, left, right):
                return self._comparison(operator if wanted else OPPOSITE[operator], left, right)
            case Between(_, operand, low, high, negated):
                return self._between(operand, low, high, inside=wanted != negated)
            case InList(_, operand, items, negated):
                return self._in_list(operand, items, inside=wanted != negated)
            case Literal(_, value) if isinstance(value, bool):
                return FREE if value == wanted else IMPOSSIBLE
        return FREE

    def _between(self, operand: Expr, low: Expr, high: Expr, *, inside: bool) -> Bounds:
        if inside:
            ends = (self._comparison(">=", operand, low), self._comparison("<=", operand, high))
            return Bounds.all_of(ends)
        return Bounds.any_of(
            (self._comparison("<", operand, low), self._comparison(">", operand, high))
        )

    def _in_list(self, operand: Expr, items: Sequence[Expr], *, inside: bool) -> Bounds:
        if not inside:
            return Bounds.all_of(self._comparison("<>", operand, item) for item in items)
        leaf = self._resolved(operand)
        if isinstance(leaf, ColumnRef) and self._is_key(leaf):
            # Lists of ids are long; they are taken as a whole.
            values = [fold(item) for item in items]
            if all(isinstance(v, int) and _INT64.min <= v < _INT64.max for v in values):
                start = np.array(values, dtype=np.int64)
                ids = normalize_ranges(np.stack((start, start + 1), axis=1))
                return self._key_bounds(leaf, ids)
        return Bounds.any_of(self._comparison("=", operand, item) for item in items)

    # --- comparisons -----------------------------------------------------------------------------

    def _comparison(self, operator: str, left: Expr, right: Expr) -> Bounds:
        left, right = self._resolved(left), self._resolved(right)
        value = compare(operator, fold(left), fold(right))
        if value is not UNKNOWN:
            return FREE if value is True else IMPOSSIBLE
        predicates = self._predicates(left, right)
        if predicates:
            return self._predicate_comparison(operator, left, right, predicates)
        for one, op, other in ((left, operator, right), (right, MIRRORED[operator], left)):
            constant = fold(other)
            if constant is UNKNOWN:
                continue
            if constant is NULL:
                return IMPOSSIBLE
            function = linear(one, self._is_leaf)
            if function is not None and isinstance(constant, int | float):
                return self._leaf_comparison(function, op, constant)
        return FREE

    def _predicates(self, *sides: Expr) -> tuple[Call, ...]:
        """Return the geometry predicates in an expression, most often one or none."""
        found = {
            node: None
            for side in sides
            for node in walk(side)
            if isinstance(node, Call) and node.name in _PREDICATES
        }
        return tuple(found)

    def _predicate_comparison(
        self, operator: str, left: Expr, right: Expr, predicates: tuple[Call, ...]
    ) -> Bounds:
        """Try each combination of 1 and 0: it does not matter how a comparison is written."""
        if len(predicates) > _MAX_PREDICATES:
            return FREE
        inside = [self.geometry.predicate(predicate) for predicate in predicates]
        alternatives = []
        for values in itertools.product((1, 0), repeat=len(predicates)):
            known: dict[Expr, Value] = dict(zip(predicates, values, strict=True))
            holds = compare(operator, fold(left, known), fold(right, known))
            if holds is UNKNOWN:
                return FREE
            if holds is True:
                terms = (bounds for bounds, value in zip(inside, values, strict=True) if value == 1)
                alternatives.append(Bounds.all_of(terms))
        return Bounds.any_of(alternatives)

    def _leaf_comparison(self, function: Linear, operator: str, constant: float) -> Bounds:
        if operator == "<>":
            return FREE
        leaf = function.leaf
        if isinstance(leaf, ColumnRef) and self._is_key(leaf):
            if not function.is_plain:
                return FREE
            ids = _id_ranges(operator, constant)
            return FREE if ids is None else self._key_bounds(leaf, ids)
        if not math.isfinite(constant):
            return FREE
        value = function.solve(float(constant))
        if function.slope < 0:
            operator = MIRRORED[operator]
        # Rounding of the arithmetic, and of columns that hold 32-bit floats.
        pad = 0.0 if function.is_plain else 1e-12 * (abs(value) + abs(function.offset) + 1.0)
        if leaf.kind == Kind.REAL:
            pad += 2e-7 * (abs(value) + 1.0)
        interval = (
            -math.inf if operator in ("<", "<=") else value - pad,
            math.inf if operator in (">", ">=") else value + pad,
        )
        return self._leaf_interval(leaf, interval)

    def _leaf_interval(self, leaf: Expr, interval: Interval) -> Bounds:
        if isinstance(leaf, Call):  # DISTANCE
            return self.geometry.distance_at_most(leaf, interval[1])
        if not isinstance(leaf, ColumnRef):
            return FREE
        table = self.tables[leaf.source].table
        if leaf.column.name == table.ra_column:
            return Bounds({leaf.source: Restriction(lon=interval)})
        return Bounds({leaf.source: Restriction(lat=interval)})

    def _resolved(self, expr: Expr) -> Expr:
        return self.geometry.resolved(expr)

    def _is_leaf(self, expr: Expr) -> bool:
        """Tell whether `expr` (resolved) is something whose value says where rows are."""
        if isinstance(expr, ColumnRef):
            source = self.tables.get(expr.source)
            return source is not None and (
                expr.column.name in (source.table.ra_column, source.table.dec_column)
                or self._is_key(expr)
            )
        return isinstance(expr, Call) and expr.name == "DISTANCE"

    def _is_key(self, column: ColumnRef) -> bool:
        source = self.tables.get(column.source)
        return (
            source is not None
            and column.kind in _INTEGERS
            and column.column.name in key_columns(source.table)
        )

    def _key_bounds(self, column: ColumnRef, values: Ranges) -> Bounds:
        name = column.column.name
        if name == self.tables[column.source].table.id_column:
            return Bounds({column.source: Restriction(ids=values)})
        return Bounds({column.source: Restriction(keys={name: values})})


def key_columns(table: TableMeta) -> frozenset[str]:
    """Return the columns by whose values rows may be found: the main id, and keys to others."""
    own = () if table.id_column is None else (table.id_column,)
    return frozenset((*own, *(k.columns[0][0] for k in table.keys if len(k.columns) == 1)))


def _id_ranges(operator: str, constant: float) -> Ranges | None:
    """Return the 64-bit integers for which ``id operator constant`` can hold; `None` for all."""
    if isinstance(constant, int):
        low = high = constant
    elif math.isfinite(constant) and abs(constant) < _EXACT_INTEGERS:
        low, high = math.ceil(constant), math.floor(constant)
    else:
        # An id is rounded when it is compared with such a float: several may be equal to it.
        return None
    if operator == "=":
        start, end = low, high
    elif operator in ("<", "<="):
        start, end = _INT64.min, high - (operator == "<" and low == high)
    else:
        start, end = low + (operator == ">" and low == high), _INT64.max
    start, end = max(start, int(_INT64.min)), min(end, int(_INT64.max))
    if start > end:
        return NO_RANGES
    if end == _INT64.max:
        # A half-open range cannot hold the largest integer; `prune` counts it as held by a range
        # that ends there, which an equality with it cannot be written as.
        return None if start == _INT64.max else np.array([[start, end]], dtype=np.int64)
    return np.array([[start, end + 1]], dtype=np.int64)
