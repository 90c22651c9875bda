"""Geometry of any kind, row by row, as DuckDB's SQL text.

This is the general way, for geometries that depend on columns or are not points: slower than the
forms of :mod:`astrolabe.adql.emit_geometry`, but it needs no extension.  A point is a list
``[lon, lat]`` in degrees, a circle ``[lon, lat, radius]``, a polygon the flat list of its
vertices; vectors are lists of three.  A value is bound to a name by
``list_transform([value], lambda name: ...)[1]``.

A polygon that depends on a row must fit in a hemisphere: outside is where the opposite of its
vertices' mean lies.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from astrolabe.adql.tree import Kind

__all__ = ["RegionSql"]

_AREA_OF_STERADIAN = "3282.806350011744e0"  # square degrees
_TANGENT = "0.4142e0"
_AXES = (1, 2, 3)

Body = Callable[[str], str]


def _dot(a: str, b: str) -> str:
    return f"({a}[1] * {b}[1] + {a}[2] * {b}[2] + {a}[3] * {b}[3])"


def _cross(a: str, b: str) -> str:
    return (
        f"[{a}[2] * {b}[3] - {a}[3] * {b}[2], {a}[3] * {b}[1] - {a}[1] * {b}[3],"
        f" {a}[1] * {b}[2] - {a}[2] * {b}[1]]"
    )


def _sum(a: str, b: str) -> str:
    return f"[{a}[1] + {b}[1], {a}[2] + {b}[2], {a}[3] + {b}[3]]"


def _difference(a: str, b: str) -> str:
    return f"[{a}[1] - {b}[1], {a}[2] - {b}[2], {a}[3] - {b}[3]]"


def _vector(lon: str, lat: str) -> str:
    return (
        f"[cos(radians({lat})) * cos(radians({lon})),"
        f" cos(radians({lat})) * sin(radians({lon})), sin(radians({lat}))]"
    )


class RegionSql:
    """Writes predicates and measures of geometries.

    Parameters
    ----------
    tolerance_rad
        Distance within which a point counts as on a border.
    """

    def __init__(self, tolerance_rad: float) -> None:
        self._tolerance = repr(tolerance_rad)
        self._names = count()

    # --- binding ---------------------------------------------------------------------------------

    def _name(self) -> str:
        return f"v{next(self._names)}"

    def let(self, value: str, body: Body) -> str:
        """Bind `value` to a name for `body`."""
        name = self._name()
        return f"list_transform([{value}], lambda {name}: {body(name)})[1]"

    def _each(self, values: str, body: Body) -> str:
        name = self._name()
        return f"list_transform({values}, lambda {name}: {body(name)})"

    def _any(self, values: str, body: Body) -> str:
        return f"list_contains({self._each(values, body)}, true)"

    def is_whole(self, flat: str) -> str:
        """Return the condition that a list has neither NULL nor NaN nor infinity in it."""
        name = self._name()
        bad = f"list_filter({flat}, lambda {name}: {name} IS NULL OR NOT isfinite({name}))"
        return f"(len({flat}) > 0 AND len({bad}) = 0)"

    # --- vectors ---------------------------------------------------------------------------------

    def _unit(self, value: str) -> str:
        def divided(x: str) -> str:
            length = f"sqrt({_dot(x, x)})"
            return f"[{x}[1] / {length}, {x}[2] / {length}, {x}[3] / {length}]"

        return self.let(value, divided)

    def _angle(self, a: str, b: str) -> str:
        """Angle of two unit vectors in radians, exact at any size."""

        def length(x: str) -> str:
            return f"sqrt({_dot(x, x)})"

        minus, plus = self.let(_difference(a, b), length), self.let(_sum(a, b), length)
        return f"(2 * atan2({minus}, {plus}))"

    def _center(self, geometry: str, body: Body) -> str:
        """Bind the vector of a point or of a circle's centre."""
        return self.let(_vector(f"{geometry}[1]", f"{geometry}[2]"), body)

    def _angle_between(self, a: str, b: str) -> str:
        """Angle of two points or circles' centres in radians."""
        return self._center(a, lambda p: self._center(b, lambda q: self._angle(p, q)))

    def _mean(self, vectors: str) -> str:
        """Sum of vectors."""
        parts = []
        for axis in _AXES:
            name = self._name()
            parts.append(f"list_sum(list_transform({vectors}, lambda {name}: {name}[{axis}]))")
        return f"[{', '.join(parts)}]"

    # --- polygons --------------------------------------------------------------------------------

    def _vectors(self, flat: str) -> str:
        return self._each(
            f"range(1, len({flat}), 2)", lambda i: _vector(f"{flat}[{i}]", f"{flat}[{i} + 1]")
        )

    def _normal(self, a: str, b: str) -> str:
        """Return the unit normal of the side from a to b, exact for short sides too."""
        product = self.let(
            _difference(b, a), lambda x: self.let(_sum(b, a), lambda y: _cross(x, y))
        )
        return self._unit(product)

    def _sides(self, vectors: str) -> str:
        """List of structures ``{a, b, n}``: ends and normal of each side."""

        def side(i: str) -> str:
            a, b = f"{vectors}[{i}]", f"{vectors}[{i} % len({vectors}) + 1]"
            return f"{{'a': {a}, 'b': {b}, 'n': {self._normal(a, b)}}}"

        return self._each(f"range(1, len({vectors}) + 1)", side)

    def _polygon(self, flat: str, body: Callable[[str, str], str]) -> str:
        """Bind a polygon's vectors and sides."""
        return self.let(
            self._vectors(flat),
            lambda vectors: self.let(self._sides(vectors), lambda sides: body(vectors, sides)),
        )

    def _reference(self, vectors: str) -> str:
        """Return a point outside: near the opposite of the vertices' mean, but not there."""

        def shifted(mean: str) -> str:
            other = f"(CASE WHEN abs({mean}[3]) < 0.7 THEN [0.36e0, 0.48e0, 0.8e0]"
            other += " ELSE [1e0, 0e0, 0e0] END)"
            return self.let(
                self._unit(_cross(mean, other)),
                lambda t: f"[{', '.join(f'{_TANGENT} * {t}[{i}] - {mean}[{i}]' for i in _AXES)}]",
            )

        return self._unit(self.let(self._unit(self._mean(vectors)), shifted))

    def _on_side(self, p: str, side: str) -> str:
        t = self._tolerance
        after = _dot(f"({_cross(f'{side}.a', p)})", f"{side}.n")
        before = _dot(f"({_cross(p, f'{side}.b')})", f"{side}.n")
        return f"(abs({_dot(f'{side}.n', p)}) <= {t} AND {after} >= -{t} AND {before} >= -{t})"

    def _crossing(self, p: str, q: str, side: str) -> str:
        """1 if the way from q to p crosses a side, else 0."""

        def at_place(m: str, ta: str, tb: str) -> str:
            place = ", ".join(
                f"{side}.a[{i}] * abs({tb}) + {side}.b[{i}] * abs({ta})" for i in _AXES
            )

            def between(at: str) -> str:
                from_q = _dot(f"({_cross(q, at)})", m)
                to_p = _dot(f"({_cross(at, p)})", m)
                return f"CASE WHEN {from_q} >= 0 AND {to_p} >= 0 THEN 1 ELSE 0 END"

            return self.let(f"[{place}]", between)

        def crossing(m: str) -> str:
            ta, tb = _dot(m, f"{side}.a"), _dot(m, f"{side}.b")
            found = at_place(m, ta, tb)
            return f"CASE WHEN ({ta} >= 0) <> ({tb} >= 0) THEN {found} ELSE 0 END"

        return self.let(_cross(q, p), crossing)

    def inside(self, p: str, sides: str, reference: str, *, reference_inside: bool = False) -> str:
        """Return the condition that the vector p is in the polygon of these sides.

        `reference` is a vector of which it is known whether it is inside.
        """
        crossings = self._each(sides, lambda side: self._crossing(p, reference, side))
        parity = 0 if reference_inside else 1
        border = self._any(sides, lambda side: self._on_side(p, side))
        return f"({border} OR list_sum({crossings}) % 2 = {parity})"

    def _in_polygon(self, p: str, vectors: str, sides: str) -> str:
        return self.let(self._reference(vectors), lambda q: self.inside(p, sides, q))

    def _all_inside(self, points: str, vectors: str, sides: str) -> str:
        """List of whether each of some vectors is in the polygon."""
        return self.let(
            self._reference(vectors),
            lambda q: self._each(points, lambda p: self.inside(p, sides, q)),
        )

    def _side_distance(self, p: str, side: str) -> str:
        """Distance of p from a side in radians."""
        after = _dot(f"({_cross(f'{side}.n', f'{side}.a')})", p)
        before = _dot(f"({_cross(f'{side}.b', f'{side}.n')})", p)
        height = f"abs(asin(greatest(-1e0, least(1e0, {_dot(f'{side}.n', p)}))))"
        ends = f"least({self._angle(p, f'{side}.a')}, {self._angle(p, f'{side}.b')})"
        return f"(CASE WHEN {after} >= 0 AND {before} >= 0 THEN {height} ELSE {ends} END)"

    def _distance_to_sides(self, p: str, sides: str) -> str:
        return f"list_min({self._each(sides, lambda side: self._side_distance(p, side))})"

    def _distance_to_polygon(self, p: str, flat: str) -> str:
        """Distance of a vector from a polygon in radians, 0 inside."""
        return self._polygon(
            flat,
            lambda vectors, sides: (
                f"(CASE WHEN {self._in_polygon(p, vectors, sides)} THEN 0e0"
                f" ELSE {self._distance_to_sides(p, sides)} END)"
            ),
        )

    def _sides_cross(self, one: str, two: str) -> str:
        """Whether a side of one polygon properly crosses one of the other."""
        t = self._tolerance

        def split(normal: str, a: str, b: str) -> str:
            ends = f"{_dot(normal, a)}, {_dot(normal, b)}"
            return f"least({ends}) < -{t} AND greatest({ends}) > {t}"

        def crossing(s: str, r: str) -> str:
            def same_side(x: str) -> str:
                first = _dot(x, f"({_sum(f'{s}.a', f'{s}.b')})")
                second = _dot(x, f"({_sum(f'{r}.a', f'{r}.b')})")
                return f"sign({first}) = sign({second})"

            place = self.let(_cross(f"{s}.n", f"{r}.n"), same_side)
            return (
                f"({split(f'{s}.n', f'{r}.a', f'{r}.b')}"
                f" AND {split(f'{r}.n', f'{s}.a', f'{s}.b')} AND {place})"
            )

        return self._any(one, lambda s: self._any(two, lambda r: crossing(s, r)))

    # --- what is asked ---------------------------------------------------------------------------

    def contains(self, first: Kind, a: str, second: Kind, b: str) -> str:
        """Return the condition that geometry `a` lies in geometry `b`.

        Both are names of lists that are whole by `is_whole`.
        """
        if second == Kind.POINT:
            return (
                f"({self._angle_between(a, b)} <= {self._tolerance})"
                if first == Kind.POINT
                else "false"
            )
        if second == Kind.CIRCLE:
            return self._contained_in_circle(first, a, b)
        if first == Kind.POLYGON:
            return self._polygon_in_polygon(a, b)

        def in_polygon(p: str, vectors: str, sides: str) -> str:
            inside = self._in_polygon(p, vectors, sides)
            if first == Kind.POINT:
                return inside
            far = self._distance_to_sides(p, sides)
            return f"({inside} AND {far} >= radians({a}[3]) - {self._tolerance})"

        return self._center(
            a, lambda p: self._polygon(b, lambda vectors, sides: in_polygon(p, vectors, sides))
        )

    def _contained_in_circle(self, first: Kind, a: str, b: str) -> str:
        t = self._tolerance
        if first == Kind.POLYGON:
            # The circle holds the polygon when the rest of the sky, a circle too, misses it.
            missed = self.let(
                _vector(f"({b}[1] + 180)", f"(-{b}[2])"),
                lambda p: f"{self._distance_to_polygon(p, a)} >= radians(180 - {b}[3]) - {t}",
            )
            return f"({b}[3] >= 180 OR ({b}[3] >= 0 AND {missed}))"
        reach = f" + radians({a}[3])" if first == Kind.CIRCLE else ""
        return f"({b}[3] >= 180 OR {self._angle_between(a, b)}{reach} <= radians({b}[3]) + {t})"

    def intersects(self, first: Kind, a: str, second: Kind, b: str) -> str:
        """Return the condition that two geometries have a point in common.

        Both are names of lists that are whole by `is_whole`.
        """
        t = self._tolerance
        if first == Kind.POINT:
            return self.contains(first, a, second, b)
        if second == Kind.POINT or (first == Kind.POLYGON and second == Kind.CIRCLE):
            return self.intersects(second, b, first, a)
        if second == Kind.CIRCLE:
            return f"({self._angle_between(a, b)} <= radians({a}[3]) + radians({b}[3]) + {t})"
        if first == Kind.CIRCLE:
            return self._center(
                a, lambda p: f"({self._distance_to_polygon(p, b)} <= radians({a}[3]) + {t})"
            )

        def together(v: str, s: str, w: str, z: str) -> str:
            return (
                f"(list_contains({self._all_inside(v, w, z)}, true)"
                f" OR list_contains({self._all_inside(w, v, s)}, true)"
                f" OR {self._sides_cross(s, z)})"
            )

        return self._polygon(a, lambda v, s: self._polygon(b, lambda w, z: together(v, s, w, z)))

    def near(self, first: Kind, a: str, second: Kind, b: str) -> str:
        """Return a condition that holds for all pairs that have a point in common.

        It is much cheaper than the exact ones: each geometry is taken for a circle around its
        centre or first vertex.  A region that fits in a hemisphere is nowhere farther from a
        vertex than at another vertex.
        """
        one, two = self._reach(first, a), self._reach(second, b)
        return f"({self._angle_between(a, b)} <= {one} + {two} + {self._tolerance})"

    def _reach(self, kind: Kind, a: str) -> str:
        if kind == Kind.POINT:
            return "0e0"
        if kind == Kind.CIRCLE:
            return f"radians({a}[3])"
        return self.let(
            self._vectors(a),
            lambda v: f"list_max({self._each(v, lambda w: self._angle(f'{v}[1]', w))})",
        )

    def _polygon_in_polygon(self, a: str, b: str) -> str:
        def inside(v: str, s: str, w: str, z: str) -> str:
            return (
                f"(NOT list_contains({self._all_inside(v, w, z)}, false)"
                f" AND NOT {self._sides_cross(s, z)})"
            )

        return self._polygon(a, lambda v, s: self._polygon(b, lambda w, z: inside(v, s, w, z)))

    def area(self, kind: Kind, a: str) -> str:
        """Return the area in square degrees."""
        if kind == Kind.CIRCLE:
            half = f"sin(radians({a}[3]) / 2)"
            return f"({_AREA_OF_STERADIAN} * 4 * pi() * {half} * {half})"
        total = self.let(self._vectors(a), self._excess)
        return self.let(
            total, lambda x: f"({_AREA_OF_STERADIAN} * least(abs({x}), 4 * pi() - abs({x})))"
        )

    def _excess(self, vectors: str) -> str:
        """Signed area in steradians, by triangles from the first vertex."""
        first = f"{vectors}[1]"

        def triangle(i: str) -> str:
            a, b = f"{vectors}[{i}]", f"{vectors}[{i} + 1]"
            one, two = f"({_difference(a, first)})", f"({_difference(b, first)})"
            volume = _dot(first, f"({_cross(one, two)})")
            below = f"1 + {_dot(first, a)} + {_dot(a, b)} + {_dot(b, first)}"
            return f"2 * atan2({volume}, {below})"

        return f"list_sum({self._each(f'range(2, len({vectors}))', triangle)})"

    def centroid(self, a: str) -> str:
        """Return the centroid of a polygon as a point."""

        def moment(vectors: str, sides: str) -> str:
            # The integral of the position over the area is half the sum of arc times normal.
            def part(side: str) -> str:
                arc = self._angle(f"{side}.a", f"{side}.b")
                return self.let(
                    arc, lambda g: f"[{', '.join(f'{side}.n[{i}] * {g}' for i in _AXES)}]"
                )

            def turned(x: str) -> str:
                toward = self.let(self._mean(vectors), lambda m: _dot(x, m))
                back = f"[-{x}[1], -{x}[2], -{x}[3]]"
                return f"CASE WHEN {toward} < 0 THEN {back} ELSE {x} END"

            return self.let(self.let(self._each(sides, part), self._mean), turned)

        def position(x: str) -> str:
            lon = f"degrees(atan2({x}[2], {x}[1]))"
            lat = f"degrees(atan2({x}[3], sqrt({x}[1] * {x}[1] + {x}[2] * {x}[2])))"
            return f"[CASE WHEN {lon} < 0 THEN {lon} + 360 ELSE {lon} END, {lat}]"

        return self.let(self._polygon(a, moment), position)
