"""Many polygons at once against one point, circle or polygon, or each against one of its own.

The polygons of a column of footprints are judged with a few calls of NumPy, by the rules of
:mod:`astrolabe.adql.duckdb_regions`: a polygon fits in a hemisphere, outside is where the opposite
of its corners' mean lies, the even-odd rule says what is inside, and what is closer to a border
than a tolerance is on it, that is inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from astrolabe.sky.cover import BORDER_TOLERANCE_RAD
from astrolabe.sky.vectors import FloatArray, arc_length_rad, normalized, unit_vectors

__all__ = ["Polygons"]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Radius = float | FloatArray

_TANGENT: Final = 0.4142
_REACH_SLACK_RAD: Final = 1e-7
_CHUNK: Final = 1 << 20  # pairs of sides at once: some tens of MB


@dataclass(frozen=True, slots=True, eq=False)
class Polygons:
    """Polygons, each with one corner or more (sound ones have three).

    Parameters
    ----------
    corners : (m, 3)
        Unit vectors of the corners, one polygon after the other.
    counts : (n,)
        Corners of each polygon.
    """

    corners: FloatArray
    counts: Ints

    @classmethod
    def of_degrees(cls, flat_deg: FloatArray, counts: Ints) -> Polygons:
        """Make polygons of numbers as columns hold them.

        Parameters
        ----------
        flat_deg : (2 m,)
            Longitude and latitude of each corner (ICRS, degrees).
        counts : (n,)
            Corners of each polygon.
        """
        return cls(unit_vectors(flat_deg[0::2], flat_deg[1::2]), counts)

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def starts(self) -> Ints:
        """Number of each polygon's first corner (n,)."""
        return np.asarray(np.cumsum(self.counts) - self.counts, dtype=np.int64)

    def taken(self, chosen: Ints) -> Polygons:
        """Return some of the polygons, by their numbers."""
        counts = self.counts[chosen]
        first = np.repeat(self.starts[chosen] - (np.cumsum(counts) - counts), counts)
        return Polygons(self.corners[first + np.arange(len(first))], counts)

    # --- what is asked ---------------------------------------------------------------------------

    # A point (3,) or circle is the same for all polygons; points (n, 3) are one for each, and so
    # are radii (n,).

    @property
    def reaches(self) -> tuple[FloatArray, FloatArray]:
        """A circle around each polygon: its first corner (n, 3), and a radius (n,) in radians."""
        first = self.corners[self.starts]
        cosine = (self.corners * np.repeat(first, self.counts, axis=0)).sum(axis=1)
        least = np.minimum.reduceat(cosine, self.starts)
        return first, np.arccos(np.clip(least, -1.0, 1.0)) + _REACH_SLACK_RAD

    def near(self, center: FloatArray, radius_rad: Radius) -> Bools:
        """Tell which polygons (n,) may have something in common with a circle; a quick test."""
        first, reach = self.reaches
        return np.asarray(
            arc_length_rad(first, center) <= reach + radius_rad + BORDER_TOLERANCE_RAD, np.bool_
        )

    def hold(self, point: FloatArray) -> Bools:
        """Tell which polygons (n,) hold a point."""
        return _Sides.of(self).inside(point)

    def meet_circle(self, center: FloatArray, radius_rad: Radius) -> Bools:
        """Tell which polygons (n,) have something in common with a circle."""
        sides = _Sides.of(self)
        near = sides.border_rad(center) <= radius_rad + BORDER_TOLERANCE_RAD
        return np.asarray(near | sides.inside(center), dtype=np.bool_)

    def hold_circle(self, center: FloatArray, radius_rad: Radius) -> Bools:
        """Tell which polygons (n,) hold all of a circle."""
        sides = _Sides.of(self)
        deep = sides.border_rad(center) >= radius_rad - BORDER_TOLERANCE_RAD
        return np.asarray(sides.inside(center) & deep, dtype=np.bool_)

    def in_circle(self, center: FloatArray, radius_rad: Radius) -> Bools:
        """Tell which polygons (n,) lie in a circle.

        They do where the rest of the sky, a circle too, misses them.
        """
        sides = _Sides.of(self)
        rest = np.pi - radius_rad - BORDER_TOLERANCE_RAD
        clear = np.where(sides.inside(-center), 0.0, sides.border_rad(-center)) >= rest
        whole = np.asarray(radius_rad) >= np.pi
        return np.asarray((clear & (np.asarray(radius_rad) >= 0.0)) | whole, dtype=np.bool_)

    def meet(self, other: FloatArray) -> Bools:
        """Tell which polygons (n,) have something in common with one of these corners (k, 3)."""
        own, its = _Sides.of(self), _Sides.of(Polygons(other, np.array([len(other)])))
        found = self._any(its.inside_each(self.corners)) | own.cross(its)
        for corner in other:
            found |= own.inside(corner)
        return found

    def hold_polygon(self, other: FloatArray) -> Bools:
        """Tell which polygons (n,) hold all of one of these corners (k, 3)."""
        own, its = _Sides.of(self), _Sides.of(Polygons(other, np.array([len(other)])))
        found = ~own.cross(its)
        for corner in other:
            found &= own.inside(corner)
        return found

    def in_polygon(self, other: FloatArray) -> Bools:
        """Tell which polygons (n,) lie in one of these corners (k, 3)."""
        own, its = _Sides.of(self), _Sides.of(Polygons(other, np.array([len(other)])))
        return ~self._any(~its.inside_each(self.corners)) & ~own.cross(its)

    def _any(self, of_corners: Bools) -> Bools:
        return np.asarray(np.logical_or.reduceat(of_corners, self.starts), dtype=np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class _Sides:
    """The sides (m, 3) of polygons: from a to b, with unit normal n.

    `after` and `before` point along a side: what lies beside it has both not behind it.
    """

    polygons: Polygons
    a: FloatArray
    b: FloatArray
    n: FloatArray
    after: FloatArray
    before: FloatArray
    reference: FloatArray
    """A place (n, 3) outside of each polygon."""

    @classmethod
    def of(cls, polygons: Polygons) -> _Sides:
        a, starts = polygons.corners, polygons.starts
        following = np.arange(1, len(a) + 1)
        following[starts + polygons.counts - 1] = starts
        b = a[following]
        # (a - b) x (a + b) is 2 a x b, but keeps its digits for short sides.
        n = normalized(np.cross(a - b, a + b))
        mean = normalized(np.add.reduceat(a, starts, axis=0))
        other = np.where(np.abs(mean[:, 2:]) < 0.7, [[0.36, 0.48, 0.8]], [[1.0, 0.0, 0.0]])
        tangent = normalized(np.cross(mean, other))
        reference = normalized(_TANGENT * tangent - mean)
        return cls(polygons, a, b, n, np.cross(n, a), np.cross(b, n), reference)

    def _repeated(self, of_polygon: FloatArray) -> FloatArray:
        return np.asarray(np.repeat(of_polygon, self.polygons.counts, axis=0), dtype=np.float64)

    def inside(self, point: FloatArray) -> Bools:
        """Tell which polygons (n,) hold a point, by the crossings of a way to it."""
        m = np.cross(self.reference, point)
        crossed, on_side = self._crossed(
            self._of_side(point),
            self._repeated(m),
            self._repeated(np.cross(m, self.reference)),
            self._repeated(np.cross(point, m)),
        )
        starts = self.polygons.starts
        odd = np.add.reduceat(crossed.astype(np.int64), starts) % 2 == 1
        return np.asarray(odd | np.logical_or.reduceat(on_side, starts), dtype=np.bool_)

    def _of_side(self, point: FloatArray) -> FloatArray:
        """Return the point that each side is asked for, or the one that all are."""
        return point if point.ndim == 1 else self._repeated(point)

    def inside_each(self, points: FloatArray) -> Bools:
        """Tell which points (p, 3) the only polygon of these sides holds."""
        found = np.empty(len(points), dtype=np.bool_)
        step = max(1, _CHUNK // len(self.a))
        for start in range(0, len(points), step):
            point = points[start : start + step, np.newaxis]
            m = np.cross(self.reference[0], point)
            crossed, on_side = self._crossed(
                point, m, np.cross(m, self.reference[0]), np.cross(point, m)
            )
            odd = crossed.sum(axis=1) % 2 == 1
            found[start : start + step] = odd | on_side.any(axis=1)
        return found

    def _crossed(
        self, point: FloatArray, m: FloatArray, g: FloatArray, h: FloatArray
    ) -> tuple[Bools, Bools]:
        """Tell which sides the way from the reference to a point crosses, and which it lies on.

        The way lies in the plane of normal m, between what g and h bound.
        """
        t = BORDER_TOLERANCE_RAD
        across_a, across_b = _dot(m, self.a), _dot(m, self.b)
        past, before = (
            np.abs(across_b) * _dot(bound, self.a) + np.abs(across_a) * _dot(bound, self.b) >= 0.0
            for bound in (g, h)
        )
        crossed = ((across_a >= 0.0) != (across_b >= 0.0)) & past & before
        on_side = (
            (np.abs(_dot(self.n, point)) <= t)
            & (_dot(self.after, point) >= -t)
            & (_dot(self.before, point) >= -t)
        )
        return crossed, on_side

    def border_rad(self, point: FloatArray) -> FloatArray:
        """Return the distance (n,) of a point from each polygon's border."""
        point = self._of_side(point)
        ends = np.minimum(arc_length_rad(self.a, point), arc_length_rad(self.b, point))
        height = np.abs(np.arcsin(np.clip(_dot(self.n, point), -1.0, 1.0)))
        beside = (_dot(self.after, point) >= 0.0) & (_dot(self.before, point) >= 0.0)
        each = np.where(beside, height, ends)
        return np.asarray(np.minimum.reduceat(each, self.polygons.starts), dtype=np.float64)

    def cross(self, other: _Sides) -> Bools:
        """Tell which polygons (n,) have a side that properly crosses one of another polygon."""
        found = np.zeros(len(self.a), dtype=np.bool_)
        step = max(1, _CHUNK // len(other.a))
        toward_other = other.a + other.b
        for start in range(0, len(self.a), step):
            part = slice(start, start + step)
            a, b, n = (v[part, np.newaxis] for v in (self.a, self.b, self.n))
            # The planes meet in two opposite places; both sides must have the same one.
            place = np.cross(n, other.n)
            same = np.sign(_dot(place, a + b)) == np.sign(_dot(place, toward_other))
            split = _split(_dot(other.n, a), _dot(other.n, b))
            split &= _split(_dot(n, other.a), _dot(n, other.b))
            found[part] = (split & same).any(axis=1)
        return np.asarray(np.logical_or.reduceat(found, self.polygons.starts), dtype=np.bool_)


def _split(one: FloatArray, two: FloatArray) -> Bools:
    """Tell where two heights lie on different sides of a plane, and not on it."""
    t = BORDER_TOLERANCE_RAD
    return np.asarray((np.minimum(one, two) < -t) & (np.maximum(one, two) > t), dtype=np.bool_)


def _dot(one: FloatArray, two: FloatArray) -> FloatArray:
    return np.asarray((one * two).sum(axis=-1), dtype=np.float64)
