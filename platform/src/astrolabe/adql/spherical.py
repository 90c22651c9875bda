"""Polygons with constant vertices on the sphere: whether they are sound, or convex, what is in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "Cap",
    "SphericalPolygon",
    "TurnedPolygon",
    "Vector",
    "between_normals",
    "box_corners",
    "is_range_box",
    "polygon_problem",
    "unit_vector",
]

Vector: TypeAlias = tuple[float, float, float]

_SAME_RAD = 1e-13
_PERCEPTRON_ROUNDS = 2000
_STEP_RAD = 1e-6


def unit_vector(lon_deg: float, lat_deg: float) -> Vector:
    """Return the unit vector (ICRS) of a position in degrees."""
    lon, lat = math.radians(lon_deg), math.radians(lat_deg)
    return math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)


def is_range_box(lat_deg: float, width_deg: float, height_deg: float) -> bool:
    """Whether a box is a range of longitudes and latitudes, not a polygon.

    Great circles through its corners say nothing sensible when it is a hemisphere wide or reaches
    over a pole.
    """
    return width_deg >= 180 or abs(lat_deg) + height_deg / 2 >= 90


def box_corners(
    lon_deg: float, lat_deg: float, width_deg: float, height_deg: float
) -> tuple[tuple[float, float], ...]:
    """Return the corners of a box in degrees, counter-clockwise as seen from inside the sphere."""
    west, east = (lon_deg - width_deg / 2) % 360, (lon_deg + width_deg / 2) % 360
    south, north = max(lat_deg - height_deg / 2, -90), min(lat_deg + height_deg / 2, 90)
    return (west, south), (west, north), (east, north), (east, south)


def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _cross(a: Vector, b: Vector) -> Vector:
    return (
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    )


def _plus(a: Vector, b: Vector, factor: float = 1.0) -> Vector:
    return a[0] + factor * b[0], a[1] + factor * b[1], a[2] + factor * b[2]


def _normal(a: Vector) -> Vector:
    length = math.hypot(*a)
    return a[0] / length, a[1] / length, a[2] / length


def _edge_normal(a: Vector, b: Vector) -> Vector:
    """Return the unit normal of the plane through a and b, left of the way from a to b.

    ``(a - b) x (a + b)`` is twice ``a x b`` but keeps its digits when a and b are close.
    """
    return _normal(_cross(_plus(a, b, -1.0), _plus(b, a)))


def polygon_problem(vertices: Sequence[Vector]) -> str | None:
    """Return what is wrong with a polygon of these vertices, `None` if it is sound."""
    count = len(vertices)
    for index, one in enumerate(vertices):
        for two in vertices[:index]:
            if math.dist(one, two) <= _SAME_RAD:
                return "A polygon's vertices must differ"
        following = vertices[(index + 1) % count]
        if math.hypot(*_plus(one, following)) <= _SAME_RAD:
            return "Two neighbouring vertices lie opposite on the sky: no side between is shortest"
    normals = [_edge_normal(v, vertices[(i + 1) % count]) for i, v in enumerate(vertices)]
    flat = all(abs(_dot(normals[0], v)) <= _SAME_RAD for v in vertices)
    if flat and any(_dot(normals[0], n) < 0 for n in normals):
        return "The polygon's vertices lie on one great circle: it has no area"
    return None


@dataclass(frozen=True, slots=True)
class SphericalPolygon:
    """A polygon whose sides are great circles; inside is the smaller side, or the odd one.

    Parameters
    ----------
    vertices
        Unit vectors, sound by `polygon_problem`.
    """

    vertices: tuple[Vector, ...]

    def normals(self) -> tuple[Vector, ...]:
        """Return the unit normals of the sides, left of the way round."""
        return tuple(_edge_normal(a, b) for a, b in self.sides())

    def sides(self) -> tuple[tuple[Vector, Vector], ...]:
        """Return the sides as pairs of vertices."""
        following = self.vertices[1:] + self.vertices[:1]
        return tuple(zip(self.vertices, following, strict=True))

    def inward_normals(self) -> tuple[Vector, ...] | None:
        """Return the sides' normals that point inside if the polygon is convex, else `None`.

        A point is then inside exactly where no normal's scalar product with it is negative.
        """
        normals = self.normals()
        for sign in (1.0, -1.0):
            turned = tuple((sign * n[0], sign * n[1], sign * n[2]) for n in normals)
            if all(_dot(n, v) >= -1e-15 for n in turned for v in self.vertices):
                return turned
        return None

    def reference(self) -> tuple[Vector, bool]:
        """Return a point well off the sides, and whether it is inside."""
        pole = self._hemisphere()
        if pole is not None:
            # Outside, and not opposite to the polygon's middle, where ways to it are undefined.
            tangent = _normal(_cross(pole, (0.36, 0.48, 0.8) if abs(pole[2]) < 0.7 else (1, 0, 0)))
            return _normal(_plus((-pole[0], -pole[1], -pole[2]), tangent, 0.4142)), False
        return self._reference_by_area()

    def around_reference(self) -> tuple[TurnedPolygon, bool]:
        """Return the polygon in a frame whose pole is `reference`, and whether that is inside."""
        pole, inside = self.reference()
        _, first, second = Cap(pole, 0.0).frame()
        frame = (first, second, pole)
        turned = tuple(
            (_dot(frame[0], v), _dot(frame[1], v), _dot(frame[2], v)) for v in self.vertices
        )
        return TurnedPolygon(frame, SphericalPolygon(turned)), inside

    def cap(self) -> Cap | None:
        """Return a circle around the polygon, `None` if it fits in no hemisphere."""
        pole = self._hemisphere()
        if pole is None:
            return None
        # Within a hemisphere nothing of the polygon is farther than its farthest vertex.
        return Cap(pole, min(_dot(pole, v) for v in self.vertices) - 1e-12)

    def _hemisphere(self) -> Vector | None:
        """Return the pole of a hemisphere that holds all vertices, `None` if there is none."""
        pole: Vector = (0.0, 0.0, 0.0)
        for vertex in self.vertices:
            pole = _plus(pole, vertex)
        for _ in range(_PERCEPTRON_ROUNDS):
            worst = min(self.vertices, key=lambda v: _dot(pole, v))
            if _dot(pole, worst) > 1e-9 * math.hypot(*pole):
                return _normal(pole)
            pole = _plus(pole, worst)
        return None

    def _reference_by_area(self) -> tuple[Vector, bool]:
        """Place the reference of a polygon larger than a hemisphere."""
        a, b = self.sides()[0]
        left = _normal(_plus(_normal(_plus(a, b)), _edge_normal(a, b), _STEP_RAD))
        left_inside = self._left_area() <= 2 * math.pi
        candidates = [
            _normal(v) for v in ((0.31, 0.53, 0.79), (-0.71, 0.19, 0.67), (0.47, -0.83, -0.29))
        ]
        point = max(candidates, key=lambda v: min(abs(_dot(n, v)) for n in self.normals()))
        crossings = sum(_crosses(point, left, one, two) for one, two in self.sides())
        return point, left_inside if crossings % 2 == 0 else not left_inside

    def _left_area(self) -> float:
        """Return the area left of the way round in steradians."""
        first = self.vertices[0]
        total = 0.0
        for a, b in self.sides()[1:-1]:
            volume = _dot(first, _cross(_plus(a, first, -1.0), _plus(b, first, -1.0)))
            total += 2 * math.atan2(volume, 1 + _dot(first, a) + _dot(a, b) + _dot(b, first))
        return total % (4 * math.pi)


@dataclass(frozen=True, slots=True)
class Cap:
    """A circle on the sphere: its pole and the cosine of its radius."""

    pole: Vector
    cosine: float

    def frame(self) -> tuple[Vector, Vector, Vector]:
        """Return the pole and two unit vectors that make a right-handed frame with it."""
        pole = self.pole
        east = _normal(_cross(pole, (1.0, 0.0, 0.0) if abs(pole[0]) < 0.7 else (0.0, 1.0, 0.0)))
        return pole, east, _cross(pole, east)


@dataclass(frozen=True, slots=True)
class TurnedPolygon:
    """A polygon in another frame, given by its three axes."""

    frame: tuple[Vector, Vector, Vector]
    polygon: SphericalPolygon


def between_normals(a: Vector, b: Vector, normal: Vector) -> tuple[Vector, Vector]:
    """Return two vectors whose scalar products with a point are positive beside the side's length.

    The point is then past `a` and before `b` on the side's great circle.
    """
    return _cross(normal, a), _cross(b, normal)


def _crosses(p: Vector, q: Vector, a: Vector, b: Vector) -> bool:
    """Whether the way from p to q crosses the side from a to b."""
    m = _cross(q, p)
    ta, tb = _dot(m, a), _dot(m, b)
    if (ta >= 0) == (tb >= 0):
        return False
    at = _plus((a[0] * abs(tb), a[1] * abs(tb), a[2] * abs(tb)), b, abs(ta))
    return _dot(_cross(q, at), m) >= 0 and _dot(_cross(at, p), m) >= 0
