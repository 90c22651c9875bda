"""Geometry of any kind, row by row, as DuckDB's SQL text.

This is the general way, for geometries that depend on columns or are not points: slower than the
forms of :mod:`astrolabe.adql.emit_geometry`, but it needs no extension.  A point is a list
``[lon, lat]`` in degrees, a circle ``[lon, lat, radius]``, a polygon the flat list of its
vertices; vectors are lists of three.

A computation is a chain of steps.  Each step is a ``list_transform`` of a list with one structure,
the state, that adds fields to it.  Steps stand inside each other as arguments, never in a lambda's
body: DuckDB's time to plan a query doubles with every lambda in a lambda.

A polygon that depends on a row must fit in a hemisphere: outside is where the opposite of its
vertices' mean lies.
"""

from __future__ import annotations

from astrolabe.adql.tree import Kind

__all__ = ["RegionSql"]

_AREA_OF_STERADIAN = "3282.806350011744e0"  # square degrees
_TANGENT = "0.4142e0"
_AXES = (1, 2, 3)
_BORDER = 1_000_000  # counts more than all crossings
# Stand-ins where there are no numbers or no need for them: the list functions refuse NULL.
_SOME = {
    Kind.POINT: "[0e0, 0e0]",
    Kind.CIRCLE: "[0e0, 0e0, 0e0]",
    Kind.POLYGON: "[0e0, 0e0, 1e0, 0e0, 0e0, 1e0]",
}
_TRIANGLE = "[[1e0, 0e0, 0e0], [0e0, 1e0, 0e0], [0e0, 0e0, 1e0]]"


def _dot(a: str, b: str) -> str:
    return f"list_inner_product({a}, {b})"


def _cross(a: str, b: str) -> str:
    return (
        f"[{a}[2] * {b}[3] - {a}[3] * {b}[2], {a}[3] * {b}[1] - {a}[1] * {b}[3],"
        f" {a}[1] * {b}[2] - {a}[2] * {b}[1]]"
    )


def _combined(a: str, sign: str, b: str) -> str:
    return f"[{', '.join(f'{a}[{i}] {sign} {b}[{i}]' for i in _AXES)}]"


def _unit(a: str) -> str:
    length = f"sqrt({_dot(a, a)})"
    return f"[{', '.join(f'{a}[{i}] / {length}' for i in _AXES)}]"


def _vector(lon: str, lat: str) -> str:
    return (
        f"[cos(radians({lat})) * cos(radians({lon})),"
        f" cos(radians({lat})) * sin(radians({lon})), sin(radians({lat}))]"
    )


def _angle(a: str, b: str) -> str:
    """Angle of two unit vectors in radians, exact at any size."""
    opposite = f"[{', '.join(f'-{b}[{i}]' for i in _AXES)}]"
    return f"(2 * atan2(list_distance({a}, {b}), list_distance({a}, {opposite})))"


def _total(vectors: str) -> str:
    """Sum of a list of vectors."""
    parts = (f"list_sum(list_transform({vectors}, lambda e: e[{i}]))" for i in _AXES)
    return f"[{', '.join(parts)}]"


def _whole(flat: str) -> str:
    """Whether a list has neither NULL nor NaN nor infinity in it; false for no list."""
    bad = f"list_filter({flat}, lambda e: e IS NULL OR NOT isfinite(e))"
    return f"coalesce(len({flat}) > 0 AND len({bad}) = 0, false)"


def _holds(answers: str, answer: str) -> str:
    return f"list_contains({answers}, {answer})"


class _Chain:
    """A chain of steps; ``s`` is the state in each expression."""

    def __init__(self, **fields: str) -> None:
        self._text = f"[{{{', '.join(f'{k!r}: {v}' for k, v in fields.items())}}}]"
        self._names = list(fields)

    def add(self, **fields: str) -> None:
        """Add fields to the state, or replace them."""
        kept = [f"{name!r}: s.{name}" for name in self._names if name not in fields]
        new = [f"{name!r}: {value}" for name, value in fields.items()]
        self._text = f"list_transform({self._text}, lambda s: {{{', '.join(kept + new)}}})"
        self._names = [name for name in self._names if name not in fields] + list(fields)

    def end(self, result: str) -> str:
        """Return the SQL of `result`."""
        return f"list_transform({self._text}, lambda s: {result})[1]"


class RegionSql:
    """Writes predicates and measures of geometries.

    Parameters
    ----------
    tolerance_rad
        Distance within which a point counts as on a border.
    """

    def __init__(self, tolerance_rad: float) -> None:
        self._tolerance = repr(tolerance_rad)

    # --- what is asked ---------------------------------------------------------------------------

    def contains(self, first: Kind, a: str, second: Kind, b: str) -> str:
        """Return the condition that geometry `a` lies in geometry `b`, NULL without numbers."""
        return self._asked("contains", first, a, second, b)

    def intersects(self, first: Kind, a: str, second: Kind, b: str) -> str:
        """Return the condition that two geometries have a common point, NULL without numbers."""
        if second == Kind.POINT or (first == Kind.POLYGON and second == Kind.CIRCLE):
            first, a, second, b = second, b, first, a
        return self._asked("intersects", first, a, second, b)

    def area(self, kind: Kind, a: str) -> str:
        """Return the area in square degrees, NULL without numbers."""
        chain = _Chain(a=a)
        chain.add(known=_whole("s.a"))
        chain.add(a=f"CASE WHEN s.known THEN s.a ELSE {_SOME[kind]} END")
        if kind == Kind.CIRCLE:
            half = "sin(radians(s.a[3]) / 2)"
            size = f"{_AREA_OF_STERADIAN} * 4 * pi() * {half} * {half}"
            return chain.end(f"CASE WHEN s.known THEN {size} END")
        self._add_vectors(chain, "a", "v")
        # Signed area by triangles from the first vertex.
        one, two = (_combined(f"s.v[{i}]", "-", "s.v[1]") for i in ("e", "e + 1"))
        chain.add(
            d=f"list_transform(range(2, len(s.v)), lambda e: {{'i': e, 'x': {one}, 'y': {two}}})"
        )
        below = " + ".join(
            [
                "1",
                _dot("s.v[1]", "s.v[e.i]"),
                _dot("s.v[e.i]", "s.v[e.i + 1]"),
                _dot("s.v[e.i + 1]", "s.v[1]"),
            ]
        )
        volume = _dot("s.v[1]", f"({_cross('e.x', 'e.y')})")
        chain.add(x=f"abs(list_sum(list_transform(s.d, lambda e: 2 * atan2({volume}, {below}))))")
        size = f"{_AREA_OF_STERADIAN} * least(s.x, 4 * pi() - s.x)"
        return chain.end(f"CASE WHEN s.known THEN {size} END")

    def centroid(self, a: str) -> str:
        """Return the centroid of a polygon as a point, NULL without numbers."""
        chain = _Chain(a=a)
        chain.add(known=_whole("s.a"))
        chain.add(a=f"CASE WHEN s.known THEN s.a ELSE {_SOME[Kind.POLYGON]} END")
        self._add_vectors(chain, "a", "v")
        self._add_sides(chain, "v", "z")
        # The integral of the position over the area is half the sum of arc times normal.
        arcs = ", ".join(f"e.n[{i}] * {_angle('e.a', 'e.b')}" for i in _AXES)
        chain.add(m=_total("s.v"), g=f"list_transform(s.z, lambda e: [{arcs}])")
        chain.add(x=_total("s.g"))
        chain.add(k=f"CASE WHEN {_dot('s.x', 's.m')} < 0 THEN -1 ELSE 1 END")
        lon = "degrees(atan2(s.k * s.x[2], s.k * s.x[1]))"
        lat = "degrees(atan2(s.k * s.x[3], sqrt(s.x[1] ** 2 + s.x[2] ** 2)))"
        point = f"[CASE WHEN {lon} < 0 THEN {lon} + 360 ELSE {lon} END, {lat}]"
        return chain.end(f"CASE WHEN s.known THEN {point} END")

    # --- predicates ------------------------------------------------------------------------------

    def _asked(self, question: str, first: Kind, a: str, second: Kind, b: str) -> str:
        chain = _Chain(a=a, b=b)
        chain.add(known=f"{_whole('s.a')} AND {_whole('s.b')}")
        chain.add(
            **{
                name: f"CASE WHEN s.known THEN s.{name} ELSE {_SOME[kind]} END"
                for kind, name in ((first, "a"), (second, "b"))
            }
        )
        # First a circle around each: nearly all pairs are too far from each other for more.
        for kind, name, vectors in ((first, "a", "v"), (second, "b", "o")):
            if kind == Kind.POLYGON:
                self._add_vectors(chain, name, vectors)
            else:
                center = _vector(f"s.{name}[1]", f"s.{name}[2]")
                chain.add(**{vectors: f"[{center}]"})
        chain.add(p="s.v[1]", q="s.o[1]")
        chain.add(i=self._reach(first, "a", "v"), j=self._reach(second, "b", "o"))
        chain.add(d=_angle("s.p", "s.q"))
        chain.add(near=f"s.d <= s.i + s.j + {self._tolerance}")
        chain.add(
            **{
                vectors: f"CASE WHEN s.near THEN s.{vectors} ELSE {_TRIANGLE} END"
                for kind, vectors in ((first, "v"), (second, "o"))
                if kind == Kind.POLYGON
            }
        )
        answer = (
            self._containment(chain, first, second)
            if question == "contains"
            else self._meeting(chain, first, second)
        )
        return chain.end(
            f"CASE WHEN s.known THEN (CASE WHEN s.near THEN {answer} ELSE false END) END"
        )

    @staticmethod
    def _reach(kind: Kind, name: str, vectors: str) -> str:
        """Return the radius of a circle around the centre or first vertex that holds all.

        A region that fits in a hemisphere is nowhere farther from a vertex than at another one.
        """
        if kind == Kind.POINT:
            return "0e0"
        if kind == Kind.CIRCLE:
            return f"radians(s.{name}[3])"
        v = f"s.{vectors}"
        nearest = f"list_min(list_transform({v}, lambda e: {_dot('e', v + '[1]')}))"
        return f"(acos(greatest(-1e0, least(1e0, {nearest}))) + 1e-7)"

    def _containment(self, chain: _Chain, first: Kind, second: Kind) -> str:
        t = self._tolerance
        if second == Kind.POINT:
            return f"s.d <= {t}" if first == Kind.POINT else "false"
        if second == Kind.CIRCLE:
            if first != Kind.POLYGON:
                reach = " + s.i" if first == Kind.CIRCLE else ""
                return f"(s.b[3] >= 180 OR s.d{reach} <= s.j + {t})"
            # The circle holds the polygon when the rest of the sky, a circle too, misses it.
            opposite = ", ".join(f"-s.q[{i}]" for i in _AXES)
            chain.add(p=f"[{opposite}]")
            self._add_distance(chain, "v")
            rest = f"s.distance >= radians(180 - s.b[3]) - {t}"
            return f"(s.b[3] >= 180 OR (s.b[3] >= 0 AND {rest}))"
        if first == Kind.POLYGON:
            self._add_two_polygons(chain)
            return f"(NOT {_holds('s.ab', 'false')} AND NOT {self._sides_cross()})"
        self._add_distance(chain, "o")
        if first == Kind.POINT:
            return "s.inside"
        return f"(s.inside AND s.border >= s.i - {t})"

    def _meeting(self, chain: _Chain, first: Kind, second: Kind) -> str:
        t = self._tolerance
        if first == Kind.POINT:
            return self._containment(chain, first, second)
        if second == Kind.CIRCLE:
            return f"(s.d <= s.i + s.j + {t})"
        if first == Kind.CIRCLE:
            self._add_distance(chain, "o")
            return f"(s.distance <= s.i + {t})"
        self._add_two_polygons(chain)
        return f"({_holds('s.ab', 'true')} OR {_holds('s.ba', 'true')} OR {self._sides_cross()})"

    # --- polygons --------------------------------------------------------------------------------

    @staticmethod
    def _add_vectors(chain: _Chain, flat: str, name: str) -> None:
        vertex = _vector(f"s.{flat}[e]", f"s.{flat}[e + 1]")
        chain.add(**{name: f"list_transform(range(1, len(s.{flat}), 2), lambda e: {vertex})"})

    @staticmethod
    def _add_sides(chain: _Chain, vectors: str, name: str) -> None:
        """Add the sides: their ends a and b, normal n, and the normals before a and after b."""
        v = f"s.{vectors}"
        ends = f"'a': {v}[e], 'b': {v}[e % len({v}) + 1]"
        chain.add(**{name: f"list_transform(range(1, len({v}) + 1), lambda e: {{{ends}}})"})
        for new in (
            # (a - b) x (a + b) is 2 a x b, but keeps its digits for short sides.
            f"'x': {_combined('e.a', '-', 'e.b')}, 'y': {_combined('e.a', '+', 'e.b')}",
            f"'x': {_cross('e.x', 'e.y')}",
            f"'n': {_unit('e.x')}",
            f"'n': e.n, 'u': {_cross('e.n', 'e.a')}, 'w': {_cross('e.b', 'e.n')}",
        ):
            fields = f"{{'a': e.a, 'b': e.b, {new}}}"
            chain.add(**{name: f"list_transform(s.{name}, lambda e: {fields})"})

    @staticmethod
    def _add_reference(chain: _Chain, vectors: str, name: str) -> None:
        """Add a vector outside: near the opposite of the vertices' mean, but not there."""
        chain.add(**{name: _total(f"s.{vectors}")})
        chain.add(**{name: _unit(f"s.{name}")})
        other = f"(CASE WHEN abs(s.{name}[3]) < 0.7 THEN [0.36e0, 0.48e0, 0.8e0]"
        other += " ELSE [1e0, 0e0, 0e0] END)"
        chain.add(tangent=_cross(f"s.{name}", other))
        chain.add(tangent=_unit("s.tangent"))
        away = ", ".join(f"{_TANGENT} * s.tangent[{i}] - s.{name}[{i}]" for i in _AXES)
        chain.add(**{name: f"[{away}]"})
        chain.add(**{name: _unit(f"s.{name}")})

    def _add_distance(self, chain: _Chain, vectors: str) -> None:
        """Add what is between the vector p and a polygon: inside, border, distance."""
        self._add_sides(chain, vectors, "z")
        self._add_reference(chain, vectors, "r")
        chain.add(m=_cross("s.r", "s.p"))
        chain.add(g=_cross("s.m", "s.r"), h=_cross("s.p", "s.m"))
        count = self._side_count("s", "e")
        chain.add(count=f"list_sum(list_transform(s.z, lambda e: {count}))")
        ends = f"least({_angle('s.p', 'e.a')}, {_angle('s.p', 'e.b')})"
        height = f"abs(asin(greatest(-1e0, least(1e0, {_dot('e.n', 's.p')}))))"
        beside = f"{_dot('e.u', 's.p')} >= 0 AND {_dot('e.w', 's.p')} >= 0"
        each = f"CASE WHEN {beside} THEN {height} ELSE {ends} END"
        chain.add(
            inside=f"(s.count >= {_BORDER} OR s.count % 2 = 1)",
            border=f"list_min(list_transform(s.z, lambda e: {each}))",
        )
        chain.add(distance="CASE WHEN s.inside THEN 0e0 ELSE s.border END")

    def _side_count(self, point: str, side: str) -> str:
        """Return 1 if the way from the reference to a point crosses a side, more on the side.

        The way lies in the plane of normal m; a side crosses it where its ends lie on different
        sides of the plane, and the crossing between the way's ends.
        """
        t = self._tolerance
        ta, tb = _dot(f"{point}.m", f"{side}.a"), _dot(f"{point}.m", f"{side}.b")
        past, before = (
            f"abs({tb}) * {_dot(bound, f'{side}.a')} + abs({ta}) * {_dot(bound, f'{side}.b')} >= 0"
            for bound in (f"{point}.g", f"{point}.h")
        )
        hit = f"({ta} >= 0) <> ({tb} >= 0) AND {past} AND {before}"
        p = f"{point}.p"
        on_side = (
            f"abs({_dot(f'{side}.n', p)}) <= {t} AND {_dot(f'{side}.u', p)} >= -{t}"
            f" AND {_dot(f'{side}.w', p)} >= -{t}"
        )
        return f"CASE WHEN {on_side} THEN {_BORDER} WHEN {hit} THEN 1 ELSE 0 END"

    def _add_inside(
        self, chain: _Chain, points: str, sides: str, reference: str, name: str
    ) -> None:
        """Add the list of whether each vector of `points` is in a polygon."""
        r = f"s.{reference}"
        bounds = f"'g': {_cross('e.m', r)}, 'h': {_cross('e.p', 'e.m')}"
        with_bounds = f"{{'p': e.p, 'm': e.m, {bounds}}}"
        counts = f"list_transform(s.{sides}, lambda f: {self._side_count('e', 'f')})"
        for fields in (
            f"list_transform({points}, lambda e: {{'p': e, 'm': {_cross(r, 'e')}}})",
            f"list_transform(s.{name}, lambda e: {with_bounds})",
            f"list_transform(s.{name}, lambda e: list_sum({counts}))",
            f"list_transform(s.{name}, lambda e: e >= {_BORDER} OR e % 2 = 1)",
        ):
            chain.add(**{name: fields})

    def _add_two_polygons(self, chain: _Chain) -> None:
        """Add the sides y and z of polygons a and b, and which vertices are in the other."""
        self._add_sides(chain, "v", "y")
        self._add_sides(chain, "o", "z")
        self._add_reference(chain, "v", "r")
        self._add_inside(chain, "s.o", "y", "r", "ba")
        self._add_reference(chain, "o", "r")
        self._add_inside(chain, "s.v", "z", "r", "ab")

    def _sides_cross(self) -> str:
        """Return the condition that a side of y properly crosses one of z."""
        t = self._tolerance

        def split(normal: str, side: str) -> str:
            ends = f"{_dot(normal, f'{side}.a')}, {_dot(normal, f'{side}.b')}"
            return f"least({ends}) < -{t} AND greatest({ends}) > {t}"

        # The planes meet in two opposite places; both sides must have the same one.
        place = f"({_cross('e.n', 'f.n')})"
        toward = (
            f"sign({_dot(place, '(' + _combined(side + '.a', '+', side + '.b') + ')')})"
            for side in ("e", "f")
        )
        same = " = ".join(toward)
        crossing = f"{split('e.n', 'f')} AND {split('f.n', 'e')} AND {same}"
        inner = f"list_contains(list_transform(s.z, lambda f: {crossing}), true)"
        return f"list_contains(list_transform(s.y, lambda e: {inner}), true)"
