"""Whether a point lies in a polygon that is the same for all rows, as DuckDB's SQL.

It becomes arithmetic with constants: a polygon is cut into convex parts where it can be, and a
point is in such a part where it is on the inner side of all its sides.
"""

from __future__ import annotations

import math

from sqlglot import exp

from astrolabe.adql import sql
from astrolabe.adql.constants import constant_value
from astrolabe.adql.convex_parts import convex_parts
from astrolabe.adql.emit_values import ValueEmitter
from astrolabe.adql.spherical import SphericalPolygon, Vector, between_normals, unit_vector
from astrolabe.adql.sql import Term
from astrolabe.adql.tree import Circle, Expr, Point

__all__ = ["TOLERANCE_RAD", "PolygonEmitter", "element"]

TOLERANCE_RAD = 1e-13
"""Points so close to a border count as on it, that is inside: some 0.02 microarcseconds."""


class PolygonEmitter(ValueEmitter):
    """Emits points in constant polygons."""

    def coordinates(self, point: Expr) -> tuple[Term, Term]:
        """Return longitude and latitude of a point, or of a circle's centre, in degrees."""
        match point:
            case Point(_, lon, lat):
                return self.term(lon), self.term(lat)
            case Circle(_, center, _):
                return self.coordinates(center)
            case _:
                pass
        node = sql.parenthesis(self.value(point))
        return element(node, 1), element(node, 2)

    def term(self, expr: Expr) -> Term:
        """Return a number that is the same for all rows, or the SQL of one that is not."""
        value = constant_value(expr)
        return self.double(expr) if value is None else value

    def constant_vector(self, point: Expr) -> Vector | None:
        """Return the unit vector of a point that is the same for all rows, else `None`."""
        lon, lat = self.coordinates(point)
        if isinstance(lon, exp.Expression) or isinstance(lat, exp.Expression):
            return None
        return unit_vector(lon, lat)

    def _vector_terms(self, point: Expr) -> tuple[Term, Term, Term]:
        lon, lat = self.coordinates(point)
        a, d = sql.radians(lon), sql.radians(lat)
        cos_lat = sql.cosine(d)
        return sql.multiply(cos_lat, sql.cosine(a)), sql.multiply(cos_lat, sql.sine(a)), sql.sine(d)

    def in_polygon(
        self, point: Expr, polygon: SphericalPolygon, *, negated: bool
    ) -> exp.Expression:
        """Emit whether a point lies in a polygon, or its negation."""
        normals = polygon.inward_normals()
        if normals is None:
            return self._in_any_polygon(point, polygon, negated=negated)
        return self._in_convex(point, normals, negated=negated)

    def _in_convex(
        self, point: Expr, normals: tuple[Vector, ...], *, negated: bool
    ) -> exp.Expression:
        heights = [self._height(point, normal) for normal in normals]
        if negated:
            return sql.any_of([sql.compare(h, "<", -TOLERANCE_RAD) for h in heights])
        # NaN would be larger than the limit: no height exceeds 1.
        finite = sql.compare(heights[0], "<=", 2.0)
        return sql.all_of([finite, *(sql.compare(h, ">=", -TOLERANCE_RAD) for h in heights)])

    def _height(self, point: Expr, vector: Vector) -> Term:
        """Return the scalar product of a point with a constant vector.

        With the vector in cylindrical coordinates it takes three sines and cosines, not five.
        """
        lon, lat = self.coordinates(point)
        if not isinstance(lon, exp.Expression) and not isinstance(lat, exp.Expression):
            return sql.dot(vector, unit_vector(lon, lat))
        x, y, z = vector
        turned = sql.radians(sql.subtract(lon, math.degrees(math.atan2(y, x))))
        flat = sql.multiply(
            math.hypot(x, y), sql.multiply(sql.cosine(sql.radians(lat)), sql.cosine(turned))
        )
        return sql.add(flat, sql.multiply(z, sql.sine(sql.radians(lat))))

    def _in_any_polygon(
        self, point: Expr, polygon: SphericalPolygon, *, negated: bool
    ) -> exp.Expression:
        """Emit whether a point is in a polygon that is not convex: in one of its convex parts.

        If it cannot be cut into such, by the crossing test: how often the way from a known point
        crosses the sides.  In a frame with the known point as pole the way is a meridian: a side
        crosses it where its ends lie on different sides of the meridian's plane, on the point's
        half of it, above the point.
        """
        parts = convex_parts(polygon)
        if parts is not None:
            tests = [
                self._in_convex(point, part.inward_normals() or (), negated=negated)
                for part in parts
            ]
            return sql.all_of(tests) if negated else sql.any_of(tests)
        turned, reference_inside = polygon.around_reference()
        x, y, z = (sql.dot(axis, self._vector_terms(point)) for axis in turned.frame)
        test = _crossing_test((x, y, z), turned.polygon, reference_inside=reference_inside)
        # NaN would be larger than the limit: no height exceeds 1.
        finite = sql.compare(z, "<=", 2.0)
        cap = polygon.cap()
        if cap is None:
            return sql.all_of([finite, sql.compare(test, "=" if negated else ">", 0.0)])
        toward = sql.dot(cap.pole, self._vector_terms(point))
        if negated:
            away = sql.compare(toward, "<", cap.cosine)
            return sql.all_of([finite, sql.any_of([away, sql.compare(test, "=", 0.0)])])
        near = sql.compare(toward, ">=", cap.cosine)
        return sql.all_of([finite, near, sql.compare(test, ">", 0.0)])


def _crossing_test(
    point: tuple[Term, Term, Term], polygon: SphericalPolygon, *, reference_inside: bool
) -> exp.Expression:
    """Return a number that is 0 for a point outside a polygon around the reference pole.

    It is arithmetic without AND, OR or CASE: DuckDB computes parts that repeat, here all sines and
    cosines, only once, but not inside those three.
    """
    x, y, z = point
    plane = sql.add(sql.square(x), sql.square(y))
    across = [sql.dot((v[1], -v[0]), (x, y)) for v in polygon.vertices]
    along = [sql.dot((v[0], v[1]), (x, y)) for v in polygon.vertices]
    crossings: list[Term] = []
    border: list[Term] = []
    sides = polygon.sides()
    for i, ((a, b), n) in enumerate(zip(sides, polygon.normals(), strict=True)):
        j = (i + 1) % len(sides)
        ta, tb = sql.absolute(across[i]), sql.absolute(across[j])
        split = sql.compare(
            sql.compare(across[i], ">=", 0.0), "<>", sql.compare(across[j], ">=", 0.0)
        )
        near = sql.add(sql.multiply(along[i], tb), sql.multiply(along[j], ta))
        height = sql.add(sql.multiply(a[2], tb), sql.multiply(b[2], ta))
        above = sql.compare(sql.multiply(height, plane), ">=", sql.multiply(z, near))
        crossings.append(sql.product_of([split, sql.compare(near, ">=", 0.0), above]))
        after, before = between_normals(a, b, n)
        border.append(
            sql.product_of(
                [
                    sql.compare(sql.absolute(sql.dot(n, point)), "<=", TOLERANCE_RAD),
                    sql.compare(sql.dot(after, point), ">=", -TOLERANCE_RAD),
                    sql.compare(sql.dot(before, point), ">=", -TOLERANCE_RAD),
                ]
            )
        )
    total = sql.balanced_sum(crossings)
    if reference_inside:
        total = exp.Add(this=total, expression=sql.integer(1))
    odd = exp.Mod(this=sql.parenthesis(total), expression=sql.integer(2))
    return exp.Add(this=odd, expression=sql.parenthesis(sql.balanced_sum(border)))


def element(node: exp.Expression, index: int) -> exp.Expression:
    """Return an element of a list, from 1."""
    return exp.Bracket(this=node, expressions=[sql.integer(index)], offset=1)
