"""Geometry in DuckDB's SQL."""

from __future__ import annotations

import math
from abc import abstractmethod

from sqlglot import exp
from typing_extensions import override

from astrolabe.adql import sql
from astrolabe.adql.constants import constant_value
from astrolabe.adql.emit_values import ValueEmitter, is_nan_possible
from astrolabe.adql.sql import Term
from astrolabe.adql.tree import (
    Call,
    Circle,
    ColumnRef,
    Expr,
    GeometryColumn,
    Kind,
    Point,
)
from astrolabe.core.errors import AdqlUnsupportedError, InternalError

__all__ = ["TOLERANCE_RAD", "GeometryEmitter"]

TOLERANCE_RAD = 1e-13
"""Points so close to a border count as on it, that is inside: some 0.02 microarcseconds."""

_TOLERANCE_DEG = math.degrees(TOLERANCE_RAD)
_FLIPPED = {"<": False, "<=": False, ">": True, ">=": True}


class GeometryEmitter(ValueEmitter):
    """Emits geometries and what is asked of them."""

    @abstractmethod
    def compared(self, left: Expr, operator: str, right: Expr) -> exp.Expression:
        """Emit a comparison in which NaN counts as NULL."""

    @override
    def geometry_value(self, expr: Expr) -> exp.Expression:
        match expr:
            case Point(_, lon, lat):
                return exp.Array(expressions=[self.double(lon), self.double(lat)])
            case Circle(_, center, radius):
                lon_term, lat_term = self.coordinates(center)
                return exp.Array(
                    expressions=[sql.to_sql(lon_term), sql.to_sql(lat_term), self.double(radius)]
                )
            case Call(_, "DISTANCE", (one, two)):
                return self.distance(one, two)
        raise AdqlUnsupportedError("This geometry cannot be computed yet")

    # --- points ----------------------------------------------------------------------------------

    def coordinates(self, point: Expr) -> tuple[Term, Term]:
        """Return longitude and latitude of a point in degrees."""
        match point:
            case Point(_, lon, lat):
                return self._term(lon), self._term(lat)
            case GeometryColumn():
                node = self.value(point)
                return _element(node, 1), _element(node, 2)
        raise InternalError(f"{type(point).__name__} is no point")

    def _term(self, expr: Expr) -> Term:
        value = constant_value(expr)
        return self.double(expr) if value is None else value

    def _haversines(self, one: Expr, two: Expr) -> tuple[Term, Term]:
        """Return sin²(d/2) and cos²(d/2) of the distance d of two points.

        Both are sums of squares, so that small distances are exact to the last digits in the
        first and distances near 180 degrees in the second.
        """
        lon1, lat1 = self.coordinates(one)
        lon2, lat2 = self.coordinates(two)
        half_lon = sql.radians(sql.divide(sql.subtract(lon1, lon2), 2.0))
        minus = sql.radians(sql.divide(sql.subtract(lat1, lat2), 2.0))
        plus = sql.radians(sql.divide(sql.add(lat1, lat2), 2.0))
        cosines = sql.multiply(sql.cosine(sql.radians(lat1)), sql.cosine(sql.radians(lat2)))
        near = sql.add(
            sql.square(sql.sine(minus)), sql.multiply(cosines, sql.square(sql.sine(half_lon)))
        )
        far = sql.add(
            sql.square(sql.sine(plus)), sql.multiply(cosines, sql.square(sql.cosine(half_lon)))
        )
        return near, far

    def distance(self, one: Expr, two: Expr) -> exp.Expression:
        """Return the distance of two points in degrees."""
        near, far = self._haversines(one, two)
        angle = sql.arctan2(sql.square_root(near), sql.square_root(far))
        if not isinstance(angle, exp.Expression):
            return sql.number(math.degrees(2 * angle))
        return sql.function("degrees", sql.multiply(2.0, angle))

    def distance_condition(self, call: Call, operator: str, limit: Expr) -> exp.Expression:
        """Emit ``DISTANCE(a, b) operator limit``."""
        one, two = call.args
        radius = constant_value(limit)
        if operator in ("=", "<>") or radius is None:
            return self.compared(call, operator, limit)
        return self.within(one, two, radius, operator)

    def within(self, one: Expr, two: Expr, radius_deg: float, operator: str) -> exp.Expression:
        """Emit ``distance operator radius`` for a constant radius.

        The border belongs to the circle, whether it is asked with < or <=.
        """
        outside = _FLIPPED[operator]
        if radius_deg < 0 or (radius_deg == 0 and operator in ("<", ">=")):
            return exp.Boolean(this=outside)
        near, far = self._haversines(one, two)
        half = math.radians(min(radius_deg, 180.0)) / 2 + TOLERANCE_RAD / 2
        if radius_deg <= 90:
            node = sql.compare(near, operator, math.sin(half) ** 2)
            guard = near
        else:
            mirrored = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}[operator]
            limit = math.cos(min(half, math.pi / 2)) ** 2
            node = sql.compare(far, mirrored, limit if half < math.pi / 2 else -1.0)
            guard = far
        if ("<" in operator) == (radius_deg > 90):
            return sql.all_of([node, self.is_number(sql.to_sql(guard))])
        return node

    # --- regions ---------------------------------------------------------------------------------

    def predicate(self, call: Call, *, negated: bool) -> exp.Expression:
        """Emit CONTAINS or INTERSECTS as a condition, or its negation."""
        first, second = call.args
        if first.kind == Kind.POINT and isinstance(second, Circle):
            radius = constant_value(second.radius)
            if radius is not None:
                return self.within(first, second.center, radius, ">" if negated else "<=")
        raise AdqlUnsupportedError("This geometry cannot be compared yet")


def _element(node: exp.Expression, index: int) -> exp.Expression:
    return exp.Bracket(this=node, expressions=[sql.integer(index)])


_ = (ColumnRef, is_nan_possible)
