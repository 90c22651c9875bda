"""Polygons on the sphere.

Sides are the shorter arcs of great circles, vertices go either way round, and the interior is the
smaller of the two parts into which the border divides the sky.  Where the border crosses itself
the even-odd rule says what is inside.

A polygon that fits into less than a hemisphere is judged in the gnomonic projection, where great
circles are straight lines.  For larger ones the crossings of an arc towards a reference point are
counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from astrolabe.core.errors import BadParameterError
from astrolabe.sky.cover import BORDER, BORDER_TOLERANCE_RAD, INSIDE, OUTSIDE, Cap, Cells, Region
from astrolabe.sky.healpix import cell_centers, valid_positions
from astrolabe.sky.vectors import FloatArray, arc_length_rad, normalized, unit_vectors

__all__ = ["Polygon"]

BoolArray = npt.NDArray[np.bool_]

_SAME_POINT_RAD = 1e-15
_ANTIPODAL_RAD = 1e-9
_HEMISPHERE_RAD = np.deg2rad(89.0)
_CHUNK = 262_144  # (points x sides) at once: a few tens of MB


class Polygon(Region):
    """A spherical polygon.

    Parameters
    ----------
    ra_deg, dec_deg : (m,)
        ICRS vertices in degrees, three or more, in order along the border, either way round.  The
        last side goes back to the first vertex.

    Raises
    ------
    BadParameterError
        Raised if there are fewer than three vertices, if two that follow each other are the same
        or opposite points, if all lie on one great circle, or if both parts are equally large.
    """

    def __init__(self, ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike) -> None:
        ra = np.atleast_1d(np.asarray(ra_deg, dtype=np.float64))
        dec = np.atleast_1d(np.asarray(dec_deg, dtype=np.float64))
        if ra.shape != dec.shape or ra.ndim != 1 or ra.size < 3:
            raise BadParameterError(
                f"A polygon needs three or more vertices, each a longitude and a latitude;"
                f" given were {ra.size} and {dec.size}."
            )
        if not valid_positions(ra, dec).all():
            raise BadParameterError(
                "A polygon's vertices must be finite, with latitudes from -90 to 90 degrees."
            )
        self.ra_deg, self.dec_deg = ra, dec
        self._sides = _Sides.between(unit_vectors(ra, dec))
        self._judge: _Gnomonic | _Parity = _Gnomonic.around(self._sides.start) or _Parity.around(
            self._sides
        )

    @override
    def __repr__(self) -> str:
        vertices = zip(self.ra_deg.tolist(), self.dec_deg.tolist(), strict=True)
        return f"Polygon({', '.join(f'{ra} {dec}' for ra, dec in vertices)})"

    @override
    def contains(self, ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike) -> BoolArray:
        points = unit_vectors(np.atleast_1d(ra_deg), np.atleast_1d(dec_deg))
        inside = np.empty(len(points), dtype=np.bool_)
        step = max(1, _CHUNK // len(self.ra_deg))
        for start in range(0, len(points), step):
            part = slice(start, start + step)
            inside[part] = self._judge.inside(points[part])
            on_border = self._sides.distance_rad(points[part]) <= BORDER_TOLERANCE_RAD
            inside[part] |= on_border
        return inside

    @override
    def bounding_cap(self) -> Cap | None:
        return self._judge.cap if isinstance(self._judge, _Gnomonic) else None

    @override
    def classify(self, cells: Cells) -> npt.NDArray[np.int8]:
        clear = self._sides.distance_rad(cells.centers) > cells.radius_rad
        place = np.full(len(cells.centers), BORDER, dtype=np.int8)
        place[clear] = np.where(self._judge.inside(cells.centers[clear]), INSIDE, OUTSIDE)
        return place


@dataclass(frozen=True, slots=True, eq=False)
class _Sides:
    """The sides: from `start` to `end` (m, 3), with unit `normal` (m, 3) to their planes.

    Both `after_start` and `before_end` (m, 3) point along the side: a position beside it has both
    behind and before it.
    """

    start: FloatArray
    end: FloatArray
    normal: FloatArray
    after_start: FloatArray
    before_end: FloatArray

    @classmethod
    def between(cls, vertices: FloatArray) -> _Sides:
        end = np.roll(vertices, -1, axis=0)
        length = arc_length_rad(vertices, end)
        if (length < _SAME_POINT_RAD).any():
            raise BadParameterError(
                "A polygon's vertices that follow each other must be different points; do not"
                " repeat the first vertex at the end."
            )
        if (length > np.pi - _ANTIPODAL_RAD).any():
            raise BadParameterError(
                "Two vertices of the polygon that follow each other are opposite points of the"
                " sky: add a vertex between them to say which way the side goes."
            )
        # The difference of the ends is exact where the ends are close; their product is not.
        normal = normalized(np.cross(vertices, end - vertices))
        if np.abs(vertices @ normal[0]).max() < _SAME_POINT_RAD:
            raise BadParameterError(
                "All vertices of the polygon lie on one great circle: it has no interior."
            )
        return cls(vertices, end, normal, np.cross(normal, vertices), np.cross(end, normal))

    def distance_rad(self, points: FloatArray) -> FloatArray:
        """Return the distance (n,) of points (n, 3) from the nearest side."""
        # By differences: a product of nearly equal unit vectors has no digits left.
        to_start = points[:, np.newaxis] - self.start
        chord = np.sqrt((to_start * to_start).sum(axis=2).min(axis=1))
        to_vertex = 2.0 * np.arcsin(np.minimum(chord / 2.0, 1.0))
        beside = (points @ self.after_start.T >= 0.0) & (points @ self.before_end.T >= 0.0)
        off_plane = np.abs(points @ self.normal.T)
        nearest = np.where(beside, off_plane, 1.0).min(axis=1)
        to_side = np.arcsin(np.minimum(nearest, 1.0))
        return np.asarray(np.minimum(to_vertex, to_side), dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Gnomonic:
    """Judges positions for a polygon inside `cap`; `axes` (2, 3) span its tangent plane."""

    cap: Cap
    axes: FloatArray
    x: FloatArray
    y: FloatArray

    @classmethod
    def around(cls, vertices: FloatArray) -> _Gnomonic | None:
        total = vertices.sum(axis=0)
        if np.linalg.norm(total) < 1e-3:
            return None
        center = normalized(total)
        radius = float(arc_length_rad(vertices, center).max())
        if radius > _HEMISPHERE_RAD:
            return None
        # Any axis serves that is not close to the centre.
        aside = np.eye(3)[np.argmin(np.abs(center))]
        first = normalized(np.cross(center, aside))
        axes = np.stack((first, np.cross(center, first)))
        x, y = _project(vertices, center, axes)
        return cls(Cap(center, radius), axes, x, y)

    def inside(self, points: FloatArray) -> BoolArray:
        odd = np.zeros(len(points), dtype=np.bool_)
        ahead = points @ self.cap.center > np.cos(_HEMISPHERE_RAD) / 2.0
        x, y = _project(points[ahead], self.cap.center, self.axes)
        crossed = np.zeros(len(x), dtype=np.bool_)
        for x1, y1, x2, y2 in zip(
            self.x, self.y, np.roll(self.x, -1), np.roll(self.y, -1), strict=True
        ):
            # The half-open rule counts a vertex at the height of a point once.
            straddles = (y1 > y) != (y2 > y)
            if y1 != y2:
                crossed ^= straddles & (x < x1 + (y - y1) * ((x2 - x1) / (y2 - y1)))
        odd[ahead] = crossed
        return odd


@dataclass(frozen=True, slots=True, eq=False)
class _Parity:
    """Judges positions for any polygon by the crossings on the way to a reference point.

    Two references are kept, since the way is not defined for a position opposite to one.
    """

    sides: _Sides
    references: tuple[FloatArray, FloatArray]
    reference_inside: tuple[bool, bool]

    @classmethod
    def around(cls, sides: _Sides) -> _Parity:
        # Of a few hundred places, the two furthest from all sides (and not on one axis).
        places = cell_centers(2, np.arange(12 * 16))
        ranked = places[np.argsort(-sides.distance_rad(places))]
        first = ranked[0]
        second = next(place for place in ranked[1:] if abs(float(place @ first)) < 0.9)
        outside = cls(sides, (first, second), (False, False))
        differs = bool(outside._differs(second[np.newaxis], first)[0])
        trial = cls(sides, (first, second), (False, differs))
        if _is_the_smaller(trial):
            return trial
        return cls(sides, (first, second), (True, not differs))

    def inside(self, points: FloatArray) -> BoolArray:
        first, second = self.references
        result = self._differs(points, first) ^ self.reference_inside[0]
        near_axis = np.abs(points @ first) > 0.99
        if near_axis.any():
            result[near_axis] = self._differs(points[near_axis], second) ^ self.reference_inside[1]
        return result

    def _differs(self, points: FloatArray, reference: FloatArray) -> BoolArray:
        """Tell whether the arc from each point to the reference crosses the border oddly often."""
        across = np.cross(reference, points)
        height = points @ reference
        away = points - height[:, np.newaxis] * reference
        odd = np.zeros(len(points), dtype=np.bool_)
        for start, end in zip(self.sides.start, self.sides.end, strict=True):
            s1, s2 = across @ start, across @ end
            crossing = np.abs(s2)[:, np.newaxis] * start + np.abs(s1)[:, np.newaxis] * end
            before = crossing @ reference > height * np.linalg.norm(crossing, axis=1)
            odd ^= ((s1 >= 0.0) != (s2 >= 0.0)) & (np.sum(crossing * away, axis=1) > 0.0) & before
        return odd


def _project(
    points: FloatArray, center: FloatArray, axes: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return gnomonic coordinates; by differences from the centre, exact for tiny polygons."""
    depth = points @ center
    offset = points - center
    return (offset @ axes[0]) / depth, (offset @ axes[1]) / depth


def _is_the_smaller(trial: _Parity) -> bool:
    """Tell whether the part that a trial calls its interior is the smaller one.

    The area follows from the sides unless the border crosses itself; then, and to know that, the
    share of 3072 equal cells is counted.
    """
    counted = float(trial.inside(cell_centers(4, np.arange(12 * 256))).mean())
    reference = trial.references[0]
    start, end = trial.sides.start, trial.sides.end
    volume = np.cross(start, end) @ reference
    base = 1.0 + start @ reference + end @ reference + np.sum(start * end, axis=1)
    share = abs(float(np.sum(2.0 * np.arctan2(volume, base)))) / (4.0 * np.pi)
    if abs(share - counted) > 0.03:
        share = counted
    if abs(share - 0.5) < 1e-9:
        raise BadParameterError(
            "The polygon's border divides the sky into two equal parts, neither is the smaller:"
            " move a vertex to say which one is meant."
        )
    return share < 0.5
