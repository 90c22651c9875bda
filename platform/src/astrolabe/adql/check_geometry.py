"""Checks the geometry functions in all their argument forms (ADQL 2.1, section 4)."""

from __future__ import annotations

import math
from collections.abc import Callable

from sqlglot import exp

from astrolabe.adql.check_context import CheckContext
from astrolabe.adql.constants import constant_value
from astrolabe.adql.kinds import GEOMETRIES, NUMBERS, describe
from astrolabe.adql.spherical import Vector, polygon_problem, unit_vector
from astrolabe.adql.tree import Aggregate, Box, Call, Circle, Expr, Kind, Point, Polygon
from astrolabe.core.errors import AdqlSyntaxError

__all__ = ["check_call"]

_FRAMES = frozenset(["ECLIPTIC", "FK4", "FK5", "GALACTIC", "ICRS", "UNKNOWNFRAME"])
_OUR_FRAMES = frozenset(["ICRS", "UNKNOWNFRAME"])
_REFERENCES = frozenset(
    ["BARYCENTER", "GEOCENTER", "HELIOCENTER", "LSR", "TOPOCENTER", "RELOCATABLE", "UNKNOWNREFPOS"]
)
_FLAVOURS = frozenset(["CARTESIAN2", "CARTESIAN3", "SPHERICAL2"])
_REGIONS = frozenset([Kind.CIRCLE, Kind.POLYGON])
_SAME_PLACE_RAD = 1e-13

ValueChecker = Callable[[exp.Expr], Expr]


def check_call(context: CheckContext, name: str, node: exp.Expr, check_value: ValueChecker) -> Expr:
    """Check one call of a geometry function.

    Parameters
    ----------
    context
        Of the whole query.
    name
        In capitals.
    node
        The call.
    check_value
        Checks an argument.

    Raises
    ------
    AdqlSyntaxError
        Raised if the number of arguments is wrong.
    AdqlTypeError
        Raised if an argument's type or value is wrong.
    AdqlUnsupportedError
        Raised for a coordinate system other than ICRS.
    """
    return _Geometry(context, name, node, check_value).check()


class _Geometry:
    def __init__(
        self, context: CheckContext, name: str, node: exp.Expr, check_value: ValueChecker
    ) -> None:
        self._context = context
        self._name = name
        self._node = node
        nodes = list(node.expressions)
        if name in ("POINT", "CIRCLE", "BOX", "POLYGON") and nodes:
            nodes = self._without_frame(nodes)
        self._nodes = nodes
        self._args = [check_value(argument) for argument in nodes]

    def _without_frame(self, nodes: list[exp.Expr]) -> list[exp.Expr]:
        """Take off the deprecated first argument, a coordinate system."""
        first = nodes[0]
        if isinstance(first, exp.DPipe):
            self._context.type_error("A coordinate system is one string in quotes", first)
        if isinstance(first, exp.Null) and len(nodes) % 2 == (0 if self._name == "CIRCLE" else 1):
            # NULL for the coordinate system, where the number of arguments shows that it is one.
            return nodes[1:]
        if not (isinstance(first, exp.Literal) and first.args.get("is_string")):
            return nodes
        text = str(first.this)
        words = text.upper().split()
        known = [_FRAMES, _REFERENCES, _FLAVOURS]
        for word in words:
            while known and word not in known[0]:
                known.pop(0)
            if not known:
                self._context.type_error(
                    f"{text!r} is no coordinate system; write 'ICRS', or leave it out", first
                )
            known.pop(0)
        frame = words[0] if words and words[0] in _FRAMES else "ICRS"
        if frame not in _OUR_FRAMES and not self._context.syntax_only:
            self._context.unsupported(
                f"Positions are ICRS here; {frame} is not converted, give ICRS coordinates", first
            )
        return nodes[1:]

    def check(self) -> Expr:  # noqa: PLR0911 - one return a case
        """Check the call."""
        match self._name:
            case "POINT":
                self._count(2)
                return self._point(0)
            case "CIRCLE":
                return self._circle()
            case "BOX":
                return self._box()
            case "POLYGON":
                return self._polygon()
            case "CONTAINS" | "INTERSECTS":
                return self._predicate()
            case "DISTANCE":
                return self._distance()
            case "AREA":
                self._count(1)
                return Call(Kind.DOUBLE, "AREA", (self._geometry(0, _REGIONS),))
            case "CENTROID":
                self._count(1)
                return Call(Kind.POINT, "CENTROID", (self._geometry(0, GEOMETRIES),))
            case "COORD1" | "COORD2":
                self._count(1)
                return Call(Kind.DOUBLE, self._name, (self._geometry(0, frozenset([Kind.POINT])),))
            case _:
                pass
        self._count(1)
        return Call(Kind.STRING, "COORDSYS", (self._geometry(0, GEOMETRIES),))

    # --- arguments -------------------------------------------------------------------------------

    def _count(self, *allowed: int) -> None:
        if len(self._args) not in allowed:
            wanted = " or ".join(str(n) for n in allowed)
            raise AdqlSyntaxError(
                f"{self._name} takes {wanted} argument{'' if wanted == '1' else 's'}"
                f" (and may begin with 'ICRS'), not {len(self._args)}"
                if self._name in ("POINT", "CIRCLE", "BOX")
                else f"{self._name} takes {wanted} argument{'' if wanted == '1' else 's'},"
                f" not {len(self._args)}",
                position=self._context.where(self._node),
            )

    def _number(self, index: int) -> Expr:
        value = self._args[index]
        if value.kind not in NUMBERS and value.kind != Kind.NULL:
            self._context.type_error(
                f"{self._name} needs a number here, not {describe(value.kind)}",
                self._nodes[index],
            )
        return value

    def _constant(self, value: Expr) -> float | None:
        """Return a constant whose value must be checked."""
        return None if self._context.syntax_only else constant_value(value)

    def _geometry(self, index: int, kinds: frozenset[Kind]) -> Expr:
        value = self._args[index]
        unknown = self._context.syntax_only and value.kind == Kind.NULL
        unfit = value.kind not in kinds and not unknown
        if unfit or isinstance(value, Aggregate):
            wanted = " or ".join(sorted(describe(kind) for kind in kinds))
            self._context.type_error(
                f"{self._name} needs {wanted} here, not {describe(value.kind)}",
                self._nodes[index],
            )
        return value

    def _point(self, index: int) -> Expr:
        lon, lat = self._number(index), self._number(index + 1)
        constant = self._constant(lat)
        if constant is not None and not -90 <= constant <= 90:
            self._context.type_error(
                f"A latitude lies between -90 and 90 degrees, not at {constant:g}",
                self._nodes[index + 1],
            )
        return Point(Kind.POINT, lon, lat)

    def _center(self, form: int) -> Expr:
        """Return the centre: a point or, with `form` arguments in all, two coordinates."""
        if len(self._args) == form:
            return self._point(0)
        return self._geometry(0, frozenset([Kind.POINT]))

    # --- geometries ------------------------------------------------------------------------------

    def _circle(self) -> Expr:
        self._count(2, 3)
        radius = self._number(-1)
        constant = self._constant(radius)
        if constant is not None and not 0 <= constant <= 180:
            self._context.type_error(
                f"A radius lies between 0 and 180 degrees, not at {constant:g}", self._nodes[-1]
            )
        return Circle(Kind.CIRCLE, self._center(3), radius)

    def _box(self) -> Expr:
        self._count(3, 4)
        width, height = self._number(-2), self._number(-1)
        for index, size, most in ((-2, width, 360), (-1, height, 180)):
            constant = self._constant(size)
            if constant is not None and not 0 <= constant <= most:
                self._context.type_error(
                    f"A box's {'width' if index == -2 else 'height'} lies between 0 and {most}"
                    f" degrees, not at {constant:g}",
                    self._nodes[index],
                )
        return Box(Kind.POLYGON, self._center(4), width, height)

    def _polygon(self) -> Expr:
        if self._args and self._args[0].kind == Kind.POINT:
            vertices = tuple(
                self._geometry(index, frozenset([Kind.POINT])) for index in range(len(self._args))
            )
        else:
            if len(self._args) % 2:
                raise AdqlSyntaxError(
                    f"POLYGON needs pairs of coordinates, not {len(self._args)} numbers",
                    position=self._context.where(self._node),
                )
            vertices = tuple(self._point(index) for index in range(0, len(self._args), 2))
        if len(vertices) < 3:
            raise AdqlSyntaxError(
                f"POLYGON needs at least 3 vertices, not {len(vertices)}",
                position=self._context.where(self._node),
            )
        return Polygon(Kind.POLYGON, self._checked_vertices(vertices))

    def _checked_vertices(self, vertices: tuple[Expr, ...]) -> tuple[Expr, ...]:
        """Refuse constant vertices that make no polygon; a repeated last one is left out."""
        if self._context.syntax_only:
            return vertices
        places = [constant_vector(vertex) for vertex in vertices]
        first, last = places[0], places[-1]
        if len(vertices) > 3 and first and last and math.dist(first, last) <= _SAME_PLACE_RAD:
            vertices, places = vertices[:-1], places[:-1]
        known = [place for place in places if place is not None]
        if len(known) == len(places):
            problem = polygon_problem(known)
            if problem is not None:
                self._context.type_error(problem, self._node)
        return vertices

    # --- functions of geometries -----------------------------------------------------------------

    def _predicate(self) -> Expr:
        self._count(2)
        first = self._geometry(0, GEOMETRIES)
        second = self._geometry(1, GEOMETRIES)
        return Call(Kind.INTEGER, self._name, (first, second))

    def _distance(self) -> Expr:
        self._count(2, 4)
        points: tuple[Expr, Expr]
        if len(self._args) == 4:
            points = (self._point(0), self._point(2))
        else:
            point = frozenset([Kind.POINT])
            points = (self._geometry(0, point), self._geometry(1, point))
        return Call(Kind.DOUBLE, "DISTANCE", points)


def constant_vector(point: Expr) -> Vector | None:
    """Return the unit vector of a constant POINT, `None` if it depends on a row."""
    if not isinstance(point, Point):
        return None
    lon, lat = constant_value(point.lon), constant_value(point.lat)
    return None if lon is None or lat is None else unit_vector(lon, lat)
