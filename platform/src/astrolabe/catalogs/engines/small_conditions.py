"""Conditions over the columns of one row group, evaluated with NumPy.

What most small queries ask (a cone, a box, a polygon, an id, a few cuts) takes a database longer to
plan than NumPy to answer.  Everything else is left to the engine that knows all of ADQL: the
compiler refuses what it is not sure to answer in exactly the same way.

As in :mod:`astrolabe.adql.emit_conditions`, NOT is pushed inward to the comparisons, where it is
exact for three-valued logic, so that each condition only says where it is true; NaN counts as
NULL.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from astrolabe.adql.comparisons import MIRRORED, OPPOSITE
from astrolabe.adql.constants import constant_value
from astrolabe.adql.emit_conditions import predicate_sense
from astrolabe.adql.emit_geometry import circle_limits
from astrolabe.adql.kinds import FLOATS, INTEGERS
from astrolabe.adql.tree import (
    And,
    Between,
    Binary,
    Call,
    Circle,
    ColumnRef,
    Comparison,
    Expr,
    GeometryColumn,
    InList,
    IsNull,
    Kind,
    Literal,
    Negate,
    Not,
    Or,
    Point,
)
from astrolabe.catalogs.engines.small_shapes import ShapeTest, shape_test
from astrolabe.catalogs.planning.geometry import constant_region
from astrolabe.sky.regions import Circle as CircleRegion
from astrolabe.sky.regions import Region
from astrolabe.tables.arrow import compute as pc

__all__ = ["Condition", "NotSmallError", "Rows", "compile_condition"]

_Bools = npt.NDArray[np.bool_]
_Numbers = npt.NDArray[Any]

_INT64 = np.iinfo(np.int64)
_EXACT_REAL = 1 << 24
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}
_DTYPES = {Kind.REAL: np.float32, Kind.DOUBLE: np.float64}


class NotSmallError(Exception):
    """Raised when a query is more than this module knows; never seen by a user."""


@dataclass(slots=True)
class Rows:
    """The rows of one row group.

    Parameters
    ----------
    columns
        Its column chunks by name.
    count
        How many rows there are.
    """

    columns: dict[str, pa.ChunkedArray[Any]]
    count: int
    _numbers: dict[str, tuple[_Numbers, _Bools | None]] = field(default_factory=dict)

    def numbers(self, name: str) -> tuple[_Numbers, _Bools | None]:
        """Return the (n,) values of a column of numbers, and which of them are not NULL.

        The second is `None` where all are; values under a NULL mean nothing.
        """
        known = self._numbers.get(name)
        if known is None:
            array = self.columns[name]
            if array.null_count:
                valid = array.is_valid().to_numpy()
                known = pc.fill_null(array, 0).to_numpy(), np.asarray(valid)
            else:
                known = array.to_numpy(), None
            self._numbers[name] = known
        return known


Condition = Callable[[Rows], _Bools]
"""Tells for which rows, (n,), a condition is true."""

_Value = Callable[[Rows], tuple[Any, _Bools | None]]


def compile_condition(expr: Expr) -> tuple[Condition, frozenset[str]]:
    """Return what evaluates a condition, and the raw names of the columns that it reads.

    Raises
    ------
    NotSmallError
        Raised if the condition has anything that is not known here.
    """
    compiler = _Compiler()
    condition = compiler.condition(expr, negated=False)
    if not compiler.names:
        raise NotSmallError  # it says nothing of rows
    return condition, frozenset(compiler.names)


class _Compiler:
    def __init__(self) -> None:
        self.names: set[str] = set()

    # --- conditions ------------------------------------------------------------------------------

    def condition(self, expr: Expr, *, negated: bool) -> Condition:  # noqa: PLR0911 - one return a case
        match expr:
            case And(_, terms) | Or(_, terms):
                parts = [self.condition(term, negated=negated) for term in terms]
                together = isinstance(expr, And) is not negated
                return _all_of(parts) if together else _any_of(parts)
            case Not(_, operand):
                return self.condition(operand, negated=not negated)
            case Comparison():
                return self._comparison(expr, negated=negated)
            case Between(_, operand, low, high, inner):
                if inner is not negated:
                    outside = self._compared(operand, "<", low), self._compared(operand, ">", high)
                    return _any_of(list(outside))
                within = self._compared(operand, ">=", low), self._compared(operand, "<=", high)
                return _all_of(list(within))
            case InList():
                return self._in_list(expr, negated=expr.negated is not negated)
            case IsNull(_, ColumnRef() as column, inner):
                return self._is_null(column, negated=inner is not negated)
            case _:
                raise NotSmallError

    def _comparison(self, expr: Comparison, *, negated: bool) -> Condition:
        sign = OPPOSITE[expr.operator] if negated else expr.operator
        for left, right, shown in (
            (expr.left, expr.right, sign),
            (expr.right, expr.left, MIRRORED[sign]),
        ):
            if isinstance(left, Call) and left.name in ("CONTAINS", "INTERSECTS"):
                sense = predicate_sense(shown, right)
                if sense is None:
                    raise NotSmallError
                return self._predicate(left, negated=not sense)
            if isinstance(left, Call) and left.name == "DISTANCE":
                return self._distance(left, shown, right)
        return self._compared(expr.left, sign, expr.right)

    def _compared(self, left: Expr, sign: str, right: Expr) -> Condition:
        if Kind.STRING in (left.kind, right.kind):
            return self._text_compared(left, sign, right)
        _refuse_unlike(left, right)
        one, two, compare = self._value(left), self._value(right), _COMPARE[sign]
        unequal = sign == "<>"

        def holds(rows: Rows) -> _Bools:
            (a, a_valid), (b, b_valid) = one(rows), two(rows)
            found = np.asarray(compare(a, b))
            for valid in (a_valid, b_valid):
                if valid is not None:
                    found = found & valid
            if unequal:
                # Every other comparison with NaN is false by itself.
                for values in (a, b):
                    if values.dtype.kind == "f":
                        found = found & ~np.isnan(values)
            return np.broadcast_to(found, rows.count)

        return holds

    def _text_compared(self, left: Expr, sign: str, right: Expr) -> Condition:
        if isinstance(left, Literal):
            left, right, sign = right, left, MIRRORED[sign]
        if not (isinstance(left, ColumnRef) and isinstance(right, Literal)):
            raise NotSmallError
        if sign not in ("=", "<>") or not isinstance(right.value, str):
            raise NotSmallError
        name, text = self._named(left), right.value
        wanted = pa.scalar(text)
        compare: Callable[[Any, Any], Any] = pc.equal if sign == "=" else pc.not_equal

        def holds(rows: Rows) -> _Bools:
            found = compare(rows.columns[name], wanted)
            return np.asarray(pc.fill_null(found, False).to_numpy())

        return holds

    def _in_list(self, expr: InList, *, negated: bool) -> Condition:
        column = expr.operand
        if isinstance(column, ColumnRef) and column.kind == Kind.STRING:
            return self._in_texts(column, expr.items, negated=negated)
        if not isinstance(column, ColumnRef) or column.kind not in INTEGERS:
            raise NotSmallError
        values = [item.value for item in expr.items if isinstance(item, Literal)]
        whole = [v for v in values if isinstance(v, int) and _INT64.min <= v <= _INT64.max]
        if len(whole) != len(expr.items):
            raise NotSmallError
        name, wanted = self._named(column), np.array(whole, dtype=np.int64)

        def holds(rows: Rows) -> _Bools:
            present, valid = rows.numbers(name)
            found = np.isin(present, wanted, invert=negated)
            return found if valid is None else found & valid

        return holds

    def _in_texts(self, column: ColumnRef, items: tuple[Expr, ...], *, negated: bool) -> Condition:
        texts = [item.value for item in items if isinstance(item, Literal)]
        if len(texts) != len(items) or not all(isinstance(text, str) for text in texts):
            raise NotSmallError
        name, wanted = self._named(column), pa.array(texts, pa.string())

        def holds(rows: Rows) -> _Bools:
            values = rows.columns[name]
            found = np.asarray(pc.is_in(values, value_set=wanted).to_numpy(), dtype=np.bool_)
            return ~found & values.is_valid().to_numpy() if negated else found

        return holds

    def _is_null(self, column: ColumnRef, *, negated: bool) -> Condition:
        name = self._named(column)
        is_float = column.kind in FLOATS

        def holds(rows: Rows) -> _Bools:
            missing = rows.columns[name].is_null(nan_is_null=is_float).to_numpy()
            return ~missing if negated else missing

        return holds

    # --- values ----------------------------------------------------------------------------------

    def _value(self, expr: Expr) -> _Value:
        match expr:
            case Literal():
                constant = _constant(expr)
                return lambda _rows: (constant, None)
            case ColumnRef() if expr.kind in INTEGERS or expr.kind in FLOATS:
                name = self._named(expr)
                return lambda rows: rows.numbers(name)
            case Negate(kind, operand) if kind in FLOATS:
                inner = self._cast(operand, kind)
                return lambda rows: _negative(*inner(rows))
            case Binary(kind, sign, left, right) if sign in _ARITHMETIC and kind in FLOATS:
                one, two, step = self._cast(left, kind), self._cast(right, kind), _ARITHMETIC[sign]
                return lambda rows: _combined(step, one(rows), two(rows))
            case _:
                raise NotSmallError

    def _cast(self, expr: Expr, kind: Kind) -> _Value:
        value, dtype = self._value(expr), _DTYPES[kind]

        def cast(rows: Rows) -> tuple[Any, _Bools | None]:
            values, valid = value(rows)
            return values.astype(dtype, copy=False), valid

        return cast

    def _named(self, column: ColumnRef) -> str:
        self.names.add(column.column.name)
        return column.column.name

    # --- geometry --------------------------------------------------------------------------------

    def _predicate(self, call: Call, *, negated: bool) -> Condition:
        shaped = shape_test(call)
        if shaped is not None:
            return self._of_shapes(*shaped, negated=negated)
        first, second = call.args
        if call.name == "INTERSECTS" and first.kind != Kind.POINT:
            first, second = second, first
        if isinstance(second, Circle):
            radius = constant_value(second.radius)
            return self._near(first, second.center, radius, ">" if negated else "<=")
        region = constant_region(second)
        # Of a box without width or height the planner's region is more than the box.
        if region is None or isinstance(region, CircleRegion):
            raise NotSmallError
        return self._in_region(first, region, negated=negated)

    def _of_shapes(self, column: GeometryColumn, test: ShapeTest, *, negated: bool) -> Condition:
        name = self._named(column.reference)

        def holds(rows: Rows) -> _Bools:
            found, known = test(rows.columns[name])
            return known & ~found if negated else found

        return holds

    def _distance(self, call: Call, sign: str, limit: Expr) -> Condition:
        if sign in ("=", "<>"):
            raise NotSmallError
        one, two = call.args
        return self._near(one, two, constant_value(limit), sign)

    def _near(self, one: Expr, two: Expr, radius_deg: float | None, sign: str) -> Condition:
        """Compile ``DISTANCE(one, two) sign radius`` for a place that is constant."""
        if self._constant_place(one) is not None:
            one, two = two, one
        place = self._constant_place(two)
        if place is None or radius_deg is None or not 0.0 < radius_deg <= 90.0:
            raise NotSmallError
        lon, lat = self._position(one)
        limit, reach = circle_limits(radius_deg)
        inward = sign in ("<", "<=")
        compare = _COMPARE[sign]

        def among(ra: _Numbers, dec: _Numbers) -> _Bools:
            return np.asarray(compare(_haversine(ra, dec, *place), limit))

        if not inward:
            return _of_positions(lon, lat, among)
        return _of_positions(lon, lat, among, band=(place[1] - reach, place[1] + reach))

    def _in_region(self, point: Expr, region: Region, *, negated: bool) -> Condition:
        lon, lat = self._position(point)
        band = None
        cap = region.bounding_cap()
        if not negated and cap is not None:
            # A little more than the cap: its own rounding must not cost a point on the border.
            middle = math.degrees(math.asin(max(-1.0, min(1.0, float(cap.center[2])))))
            reach = math.degrees(cap.radius_rad) * (1 + 1e-9) + 1e-6
            band = middle - reach, middle + reach

        def among(ra: _Numbers, dec: _Numbers) -> _Bools:
            inside = region.contains(ra, dec)
            return ~inside if negated else inside

        return _of_positions(lon, lat, among, band=band)

    def _position(self, point: Expr) -> tuple[str, str]:
        if not isinstance(point, Point):
            raise NotSmallError
        lon, lat = point.lon, point.lat
        if not (isinstance(lon, ColumnRef) and isinstance(lat, ColumnRef)):
            raise NotSmallError
        # In 32 bits the engines round differently.
        if lon.kind != Kind.DOUBLE or lat.kind != Kind.DOUBLE:
            raise NotSmallError
        return self._named(lon), self._named(lat)

    @staticmethod
    def _constant_place(point: Expr) -> tuple[float, float] | None:
        if not isinstance(point, Point):
            return None
        lon, lat = constant_value(point.lon), constant_value(point.lat)
        return None if lon is None or lat is None else (lon, lat)


def _all_of(parts: list[Condition]) -> Condition:
    return lambda rows: reduce(operator.and_, (part(rows) for part in parts))


def _any_of(parts: list[Condition]) -> Condition:
    return lambda rows: reduce(operator.or_, (part(rows) for part in parts))


def _of_positions(
    lon: str,
    lat: str,
    among: Callable[[_Numbers, _Numbers], _Bools],
    *,
    band: tuple[float, float] | None = None,
) -> Condition:
    """Ask `among` of the positions that are there and, where a `band` is given, in it.

    `band` is the range of latitudes outside of which the answer is no: two comparisons spare most
    of the sines.
    """

    def holds(rows: Rows) -> _Bools:
        (ra, ra_valid), (dec, dec_valid) = rows.numbers(lon), rows.numbers(lat)
        if band is None:
            wanted = ~(np.isnan(ra) | np.isnan(dec))
        else:
            wanted = (dec >= band[0]) & (dec <= band[1]) & ~np.isnan(ra)
        for valid in (ra_valid, dec_valid):
            if valid is not None:
                wanted &= valid
        chosen = np.flatnonzero(wanted)
        # A longitude may be infinite: its sine is NaN, and the position nowhere.
        with np.errstate(invalid="ignore"):
            wanted[chosen] = among(ra[chosen], dec[chosen])
        return wanted

    return holds


def _haversine(ra_deg: _Numbers, dec_deg: _Numbers, lon0: float, lat0: float) -> _Numbers:
    """Return sin²(d/2) of the distances d to a place, exact to the last digits where d is small."""
    height = np.sin(np.radians((dec_deg - lat0) / 2))
    across = np.sin(np.radians((ra_deg - lon0) / 2))
    cosines = np.cos(np.radians(dec_deg)) * math.cos(math.radians(lat0))
    return np.asarray(height * height + cosines * across * across)


def _constant(literal: Literal) -> np.generic:
    """Return a number in the type in which the engines compare it."""
    value = literal.value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotSmallError
    if isinstance(value, float):
        return np.float64(value)
    if not _INT64.min <= value <= _INT64.max:
        raise NotSmallError
    return np.int64(value)


def _refuse_unlike(left: Expr, right: Expr) -> None:
    """Refuse 32-bit numbers beside integers, unless both are exact in either type."""
    for one, other in ((left, right), (right, left)):
        if one.kind == Kind.REAL and other.kind in INTEGERS:
            value = other.value if isinstance(other, Literal) else None
            if not isinstance(value, int) or abs(value) > _EXACT_REAL:
                raise NotSmallError


def _negative(values: Any, valid: _Bools | None) -> tuple[Any, _Bools | None]:  # noqa: ANN401 - array or scalar
    return -values, valid


def _combined(
    step: Callable[[Any, Any], Any],
    one: tuple[Any, _Bools | None],
    two: tuple[Any, _Bools | None],
) -> tuple[Any, _Bools | None]:
    (a, a_valid), (b, b_valid) = one, two
    if a_valid is None or b_valid is None:
        valid = b_valid if a_valid is None else a_valid
    else:
        valid = a_valid & b_valid
    # Infinities are what IEEE 754 says they are, in every engine.
    with np.errstate(all="ignore"):
        return step(a, b), valid
