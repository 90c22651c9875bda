"""Geometry in DuckDB's SQL.

What nearly every query asks, whether a point lies in a circle, box or polygon that is the same for
all rows, becomes plain arithmetic with constants.  Everything else goes to
:mod:`astrolabe.adql.duckdb_regions`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from typing_extensions import override

from astrolabe.adql import sql
from astrolabe.adql.comparisons import MIRRORED
from astrolabe.adql.constants import constant_value
from astrolabe.adql.duckdb_regions import RegionSql
from astrolabe.adql.emit_polygons import TOLERANCE_RAD, PolygonEmitter
from astrolabe.adql.spherical import (
    SphericalPolygon,
    Vector,
    box_corners,
    is_range_box,
    unit_vector,
)
from astrolabe.adql.sql import Term
from astrolabe.adql.tree import Box, Call, Circle, Expr, GeometryColumn, Kind, Point, Polygon
from astrolabe.core.errors import AdqlUnsupportedError, InternalError

__all__ = ["GeometryEmitter", "circle_limits"]

_TOLERANCE_DEG = math.degrees(TOLERANCE_RAD)
_INWARD = frozenset(["<", "<="])
_PREFILTER_DEG = 60.0
_DIALECT = DuckDB()


class GeometryEmitter(PolygonEmitter):
    """Emits geometries and what is asked of them."""

    def __init__(self) -> None:
        self._regions = RegionSql(TOLERANCE_RAD)

    @abstractmethod
    def compared(self, left: Expr, operator: str, right: Expr) -> exp.Expression:
        """Emit a comparison in which NaN counts as NULL."""

    # --- values ----------------------------------------------------------------------------------

    @override
    def geometry_value(self, expr: Expr) -> exp.Expression:
        match expr:
            case Point() | Circle() | Polygon():
                return exp.Array(expressions=[sql.to_sql(term) for term in self._numbers(expr)])
            case Box():
                return self._box_value(expr)
            case GeometryColumn(_, reference):
                node = sql.column(reference.source, reference.column.name)
                return sql.cast(node, "DOUBLE[]")
            case Call():
                return self._geometry_call(expr)
            case _:
                raise InternalError(f"{type(expr).__name__} is no geometry")

    def _geometry_call(self, call: Call) -> exp.Expression:  # noqa: PLR0911 - one return a case
        first = call.args[0]
        match call.name:
            case "DISTANCE":
                return self.distance(first, call.args[1])
            case "CONTAINS" | "INTERSECTS":
                yes = exp.If(this=self.predicate(call, negated=False), true=sql.integer(1))
                no = exp.If(this=self.predicate(call, negated=True), true=sql.integer(0))
                return exp.Case(ifs=[yes, no])
            case "COORD1":
                return sql.to_sql(self.coordinates(first)[0])
            case "COORD2":
                return sql.to_sql(self.coordinates(first)[1])
            case "COORDSYS":
                shown = exp.Not(this=exp.Is(this=self.value(first), expression=exp.Null()))
                return exp.Case(ifs=[exp.If(this=shown, true=sql.string("ICRS"))])
            case "AREA":
                return self._area(first)
            case "CENTROID":
                return self._centroid(first)
            case _:
                raise InternalError(f"The function {call.name} cannot be emitted")

    def _numbers(self, expr: Expr) -> list[Term]:
        """Return the numbers that make up a point, circle or polygon in a result."""
        match expr:
            case Circle(_, center, radius):
                return [*self.coordinates(center), self.term(radius)]
            case Polygon(_, vertices):
                return [term for vertex in vertices for term in self.coordinates(vertex)]
            case _:
                pass
        return list(self.coordinates(expr))

    def _box_value(self, box: Box) -> exp.Expression:
        """Emit a box as the polygon of its corners."""
        (lon, lat), width, height = self._box_terms(box)
        if not any(isinstance(term, exp.Expression) for term in (lon, lat, width, height)):
            numbers = [float(x) for c in box_corners(lon, lat, width, height) for x in c]  # type: ignore[arg-type]  # all floats, as just tested
            return exp.Array(expressions=[sql.number(x) for x in numbers])
        half_width, half_height = sql.divide(width, 2.0), sql.divide(height, 2.0)
        south = sql.function("greatest", sql.subtract(lat, half_height), -90.0)
        north = sql.function("least", sql.add(lat, half_height), 90.0)
        west, east = (
            sql.function("mod", sql.add(sql.function("mod", edge, 360.0), 360.0), 360.0)
            for edge in (sql.subtract(lon, half_width), sql.add(lon, half_width))
        )
        return exp.Array(expressions=[west, south, west, north, east, north, east, south])

    def _area(self, region: Expr) -> exp.Expression:
        if isinstance(region, Box):
            (_, lat), width, height = self._box_terms(region)
            half = sql.divide(height, 2.0)
            south = sql.function("greatest", sql.subtract(lat, half), -90.0)
            north = sql.function("least", sql.add(lat, half), 90.0)
            span = sql.subtract(sql.sine(sql.radians(north)), sql.sine(sql.radians(south)))
            size = sql.multiply(sql.multiply(span, width), 180 / math.pi)
            polygon = _raw(self._regions.area(Kind.POLYGON, _text(self.value(region))))
            return self._box_case(region, sql.to_sql(size), polygon)
        return _raw(self._regions.area(region.kind, _text(self.value(region))))

    def _centroid(self, geometry: Expr) -> exp.Expression:
        if geometry.kind != Kind.POLYGON:
            return exp.Array(expressions=[sql.to_sql(t) for t in self.coordinates(geometry)])
        polygon = _raw(self._regions.centroid(_text(self.value(geometry))))
        if isinstance(geometry, Box):
            center = self.coordinates(geometry.center)
            middle = exp.Array(expressions=[sql.to_sql(term) for term in center])
            return self._box_case(geometry, middle, polygon)
        return polygon

    def _box_terms(self, box: Box) -> tuple[tuple[Term, Term], Term, Term]:
        return self.coordinates(box.center), self.term(box.width), self.term(box.height)

    def distance(self, one: Expr, two: Expr) -> exp.Expression:
        """Emit the distance of two points in degrees."""
        pair = self.coordinates(one), self.coordinates(two)
        near, far = _haversine(*pair), _haversine(*pair, opposite=True)
        angle = sql.arctan2(sql.square_root(near), sql.square_root(far))
        if not isinstance(angle, exp.Expression):
            return sql.number(math.degrees(2 * angle))
        return sql.function("degrees", sql.multiply(2.0, angle))

    def distance_condition(self, call: Call, operator: str, limit: Expr) -> exp.Expression:
        """Emit ``DISTANCE(a, b) operator limit``."""
        one, two = call.args
        radius = constant_value(limit)
        if operator in ("=", "<>"):
            return self.compared(call, operator, limit)
        if radius is not None:
            return self._within(self.coordinates(one), self.coordinates(two), radius, operator)
        return self._within_any(self.distance(one, two), self.term(limit), operator)

    def _within_any(self, distance: exp.Expression, radius: Term, operator: str) -> exp.Expression:
        """Emit ``distance operator radius`` for a radius that depends on the row."""
        node = sql.compare(distance, operator, sql.add(radius, _TOLERANCE_DEG))
        greater = sql.to_sql(radius) if operator in _INWARD else distance
        return sql.all_of([node, self.is_number(greater)])

    def _within(
        self, one: tuple[Term, Term], two: tuple[Term, Term], radius_deg: float, operator: str
    ) -> exp.Expression:
        """Emit ``distance operator radius`` for a constant radius.

        The border belongs to the circle, whether it is asked for with < or <=.
        """
        inward = operator in _INWARD
        half = math.radians(radius_deg) / 2 + TOLERANCE_RAD / 2
        if radius_deg > 90:
            far = _haversine(one, two, opposite=True)
            limit = math.cos(half) ** 2 if half < math.pi / 2 else -1.0
            node = sql.compare(far, MIRRORED[operator], limit)
            return sql.all_of([node, self.is_number(sql.to_sql(far))]) if inward else node
        near = _haversine(one, two)
        if radius_deg < 0 or (radius_deg == 0 and operator in ("<", ">=")):
            # Never, or always where there are positions.
            shown = sql.compare(near, "<" if inward else ">=", 0.0)
            return shown if inward else sql.all_of([shown, self.is_number(sql.to_sql(near))])
        node = sql.compare(near, operator, circle_limits(radius_deg)[0])
        if not inward:
            return sql.all_of([node, self.is_number(sql.to_sql(near))])
        band = self._latitude_band(one[1], two[1], radius_deg)
        return sql.all_of([*band, node])

    @staticmethod
    def _latitude_band(lat1: Term, lat2: Term, radius_deg: float) -> list[exp.Expression]:
        """Emit what follows for the latitudes.

        It spares sines, can be pushed down to files, and makes a join of two tables on their
        distance a range join.
        """
        if radius_deg > _PREFILTER_DEG:
            return []
        if not isinstance(lat1, exp.Expression):
            lat1, lat2 = lat2, lat1
        if not isinstance(lat1, exp.Expression):
            return []
        reach = circle_limits(radius_deg)[1]
        return [
            sql.compare(lat1, ">=", sql.subtract(lat2, reach)),
            sql.compare(lat1, "<=", sql.add(lat2, reach)),
        ]

    # --- regions ---------------------------------------------------------------------------------

    def predicate(self, call: Call, *, negated: bool) -> exp.Expression:
        """Emit CONTAINS or INTERSECTS as a condition, or its negation.

        Both are NULL, neither true nor false, where a coordinate is NULL or NaN.
        """
        first, second = call.args
        if call.name == "INTERSECTS" and first.kind != Kind.POINT and second.kind == Kind.POINT:
            first, second = second, first
        if first.kind == Kind.POINT:
            node = self._point_in(first, second, negated=negated)
            if node is not None:
                return node
        return self._general(call.name, first, second, negated=negated)

    def _point_in(  # noqa: PLR0911 - one return a case
        self, point: Expr, region: Expr, *, negated: bool
    ) -> exp.Expression | None:
        """Emit whether a point lies in a region by arithmetic, where there is a form for it."""
        if region.kind == Kind.POINT:
            pair = self.coordinates(point), self.coordinates(region)
            return self._within(*pair, 0.0, ">" if negated else "<=")
        if isinstance(region, Circle):
            operator = ">" if negated else "<="
            place, center = self.coordinates(point), self.coordinates(region.center)
            radius = constant_value(region.radius)
            if radius is not None:
                return self._within(place, center, radius, operator)
            return self._within_any(
                self.distance(point, region.center), self.term(region.radius), operator
            )
        if isinstance(region, Polygon):
            vertices = [self.constant_vector(vertex) for vertex in region.vertices]
            if any(vertex is None for vertex in vertices):
                return None
            known = tuple(vertex for vertex in vertices if vertex is not None)
            return self.in_polygon(point, SphericalPolygon(known), negated=negated)
        if isinstance(region, Box):
            return self._in_box(point, region, negated=negated)
        return None

    # --- boxes -----------------------------------------------------------------------------------

    def _in_box(self, point: Expr, box: Box, *, negated: bool) -> exp.Expression:
        (lon, lat), width, height = self._box_terms(box)
        terms = (lon, lat, width, height)
        if not any(isinstance(term, exp.Expression) for term in terms):
            numbers = [float(term) for term in terms if not isinstance(term, exp.Expression)]
            if not is_range_box(*numbers[1:]):
                corners = tuple(unit_vector(*corner) for corner in box_corners(*numbers))
                if _is_flat(corners):
                    return self._in_range(point, box, negated=negated)
                return self.in_polygon(point, SphericalPolygon(corners), negated=negated)
            return self._in_range(point, box, negated=negated)
        ranged = self._in_range(point, box, negated=negated)
        polygon = self._lists("CONTAINS", point, box, negated=negated)
        return sql.any_of(
            [
                sql.all_of([self._is_range(box), ranged]),
                sql.all_of([sql.negate_condition(self._is_range(box)), polygon]),
            ]
        )

    def _is_range(self, box: Box) -> exp.Expression:
        """Emit whether a box is a range of longitudes and latitudes."""
        (_, lat), width, height = self._box_terms(box)
        top = sql.add(sql.absolute(lat), sql.divide(height, 2.0))
        return sql.any_of([sql.compare(width, ">=", 180.0), sql.compare(top, ">=", 90.0)])

    def _in_range(self, point: Expr, box: Box, *, negated: bool) -> exp.Expression:
        """Emit whether a point is in a range of longitudes and latitudes, borders included."""
        lon, lat = self.coordinates(point)
        (lon0, lat0), width, height = self._box_terms(box)
        turn = sql.subtract(lon, lon0)
        turns = sql.divide(turn, 360.0)
        whole = sql.function("round", turns) if isinstance(turns, exp.Expression) else round(turns)
        offset = sql.absolute(sql.subtract(turn, sql.multiply(360.0, whole)))
        off_lon = sql.subtract(offset, sql.divide(width, 2.0))
        off_lat = sql.subtract(sql.absolute(sql.subtract(lat, lat0)), sql.divide(height, 2.0))
        at_pole = sql.subtract(90.0, sql.absolute(lat))
        limit = _TOLERANCE_DEG
        finite = [self.is_number(sql.to_sql(sql.add(off_lon, off_lat)))]
        if negated:
            outside_lon = sql.all_of(
                [sql.compare(off_lon, ">", limit), sql.compare(at_pole, ">", limit)]
            )
            return sql.all_of(
                [*finite, sql.any_of([outside_lon, sql.compare(off_lat, ">", limit)])]
            )
        inside_lon = sql.any_of(
            [sql.compare(off_lon, "<=", limit), sql.compare(at_pole, "<=", limit)]
        )
        return sql.all_of([*finite, inside_lon, sql.compare(off_lat, "<=", limit)])

    def _box_case(
        self, box: Box, ranged: exp.Expression, polygon: exp.Expression
    ) -> exp.Expression:
        return exp.Case(ifs=[exp.If(this=self._is_range(box), true=ranged)], default=polygon)

    # --- everything else -------------------------------------------------------------------------

    def _general(self, name: str, first: Expr, second: Expr, *, negated: bool) -> exp.Expression:
        for region in (first, second):
            if isinstance(region, Box):
                _, width, height = self._box_terms(region)
                lat = self.coordinates(region.center)[1]
                known = [t for t in (lat, width, height) if not isinstance(t, exp.Expression)]
                if len(known) == 3 and is_range_box(*known):
                    raise AdqlUnsupportedError(
                        f"{name} of a box that reaches a pole or is 180 degrees wide is offered"
                        " for points only; use a smaller box or a circle"
                    )
        node = self._lists(name, first, second, negated=negated)
        boxes = [region for region in (first, second) if isinstance(region, Box)]
        if not boxes:
            return node
        small = [sql.negate_condition(self._is_range(box)) for box in boxes]
        return sql.all_of([*small, node])

    def _lists(self, name: str, first: Expr, second: Expr, *, negated: bool) -> exp.Expression:
        """Emit a predicate of two geometries given as lists."""
        regions = self._regions
        ask = regions.contains if name == "CONTAINS" else regions.intersects

        one, two = _text(self.value(first)), _text(self.value(second))
        node = _raw(ask(first.kind, one, second.kind, two))
        return exp.Not(this=node) if negated else node


def circle_limits(radius_deg: float) -> tuple[float, float]:
    """Return where a circle of at most 90 degrees ends.

    Parameters
    ----------
    radius_deg
        Its radius (deg), more than 0.

    Returns
    -------
    (float, float)
        sin²(d/2) of the largest distance d that belongs to it, and how far from its centre's
        latitude the latitudes in it can be (deg).
    """
    half = math.radians(radius_deg) / 2 + TOLERANCE_RAD / 2
    return math.sin(half) ** 2, radius_deg + 2 * _TOLERANCE_DEG


def _raw(text: str) -> exp.Expression:
    """Return SQL text of our own as a node."""
    return exp.Var(this=text)


def _haversine(one: tuple[Term, Term], two: tuple[Term, Term], *, opposite: bool = False) -> Term:
    """Return sin²(d/2) of the distance d of two points, or cos²(d/2) if `opposite`.

    Both are sums of squares, so that small distances are exact to the last digits in the first and
    distances near 180 degrees in the second.  It is text at once, not nodes: nearly every query
    has it, and printing nodes takes longer than all else.
    """
    numbers = [*one, *two]
    known = [term for term in numbers if not isinstance(term, exp.Expression)]
    if len(known) == 4:
        lon1, lat1, lon2, lat2 = (math.radians(value) for value in known)
        sign, second = (1, math.cos) if opposite else (-1, math.sin)
        height, across = math.sin((lat1 + sign * lat2) / 2), second((lon1 - lon2) / 2)
        return height**2 + math.cos(lat1) * math.cos(lat2) * across**2
    lon1_text, lat1_text, lon2_text, lat2_text = (_text(sql.to_sql(term)) for term in numbers)
    height_text = f"sin(radians(({lat1_text} {'+' if opposite else '-'} {lat2_text}) / 2e0))"
    across_text = f"{'cos' if opposite else 'sin'}(radians(({lon1_text} - {lon2_text}) / 2e0))"
    cosines = " * ".join(
        _text(sql.to_sql(sql.cosine(sql.radians(lat)))) for lat in (one[1], two[1])
    )
    return _raw(f"({height_text} * {height_text} + {cosines} * {across_text} * {across_text})")


def _text(node: exp.Expression) -> str:
    if isinstance(node, exp.Column):
        return ".".join('"' + part.name.replace('"', '""') + '"' for part in node.parts)
    if isinstance(node, exp.Literal) and not node.is_string:
        return str(node.this)
    return _DIALECT.generate(node, copy=False)


def _is_flat(corners: Sequence[Vector]) -> bool:
    """Whether a box has no width or no height, so that its corners make no polygon."""
    return any(math.dist(a, b) <= TOLERANCE_RAD for i, a in enumerate(corners) for b in corners[:i])
