"""Regions of the sky: shapes, and what is in all or any of several.

All are ICRS, in degrees, with their border inside.  `Region.contains` judges positions,
`Region.ranges` gives cells of order 29 that hold every position of the region.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from astrolabe.core.errors import BadParameterError
from astrolabe.sky.cover import (
    BORDER,
    BORDER_TOLERANCE_RAD,
    INSIDE,
    OUTSIDE,
    Cap,
    Cells,
    Region,
    cone_ranges,
)
from astrolabe.sky.polygons import Polygon
from astrolabe.sky.ranges import ALL_SKY, NO_RANGES, Ranges, limit_ranges
from astrolabe.sky.vectors import arc_length_rad, normalized, unit_vectors

__all__ = [
    "Box",
    "Circle",
    "Everything",
    "Intersection",
    "Nothing",
    "Polygon",
    "Region",
    "Union",
    "Widened",
    "Zone",
]

BoolArray = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int8]

_TOLERANCE_DEG = math.degrees(BORDER_TOLERANCE_RAD)
_ANTIPODE_DEG = 1e-6  # a hole so small around the antipode is not worth its cells
_MAX_CAP_RAD = math.radians(89.0)


class Everything(Region):
    """The whole sky."""

    @override
    def contains(self, ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike) -> BoolArray:
        return np.ones(np.atleast_1d(ra_deg).shape, dtype=np.bool_)

    @override
    def bounding_cap(self) -> Cap | None:
        return None

    @override
    def classify(self, cells: Cells) -> Places:
        return np.full(len(cells.centers), INSIDE, dtype=np.int8)

    @override
    def ranges(self, *, border_cells: int = 96, max_ranges: int = 256) -> Ranges:
        return ALL_SKY

    @override
    def __repr__(self) -> str:
        return "Everything()"


class Nothing(Region):
    """No part of the sky."""

    @override
    def contains(self, ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike) -> BoolArray:
        return np.zeros(np.atleast_1d(ra_deg).shape, dtype=np.bool_)

    @override
    def bounding_cap(self) -> Cap | None:
        return Cap(np.array([1.0, 0.0, 0.0]), 0.0)

    @override
    def classify(self, cells: Cells) -> Places:
        return np.full(len(cells.centers), OUTSIDE, dtype=np.int8)

    @override
    def ranges(self, *, border_cells: int = 96, max_ranges: int = 256) -> Ranges:
        return NO_RANGES

    @override
    def __repr__(self) -> str:
        return "Nothing()"


class Circle(Region):
    """All positions within a distance of a centre.

    Parameters
    ----------
    ra_deg, dec_deg
        ICRS centre.
    radius_deg
        0 to 180; a circle of radius 0 is its centre.

    Raises
    ------
    BadParameterError
        Raised if the centre is not on the sky or the radius out of its range.
    """

    def __init__(self, ra_deg: float, dec_deg: float, radius_deg: float) -> None:
        _check_center(ra_deg, dec_deg)
        if not 0.0 <= radius_deg <= 180.0:
            raise BadParameterError(
                f"A circle's radius must be from 0 to 180 degrees, not {radius_deg}."
            )
        self.ra_deg, self.dec_deg, self.radius_deg = ra_deg, dec_deg, radius_deg
        self._cap = Cap(unit_vectors(ra_deg, dec_deg), math.radians(radius_deg))

    @override
    def __repr__(self) -> str:
        return f"Circle({self.ra_deg}, {self.dec_deg}, {self.radius_deg})"

    @override
    def contains(self, ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike) -> BoolArray:
        points = unit_vectors(np.atleast_1d(ra_deg), np.atleast_1d(dec_deg))
        distance = arc_length_rad(points, self._cap.center)
        return np.asarray(distance <= self._cap.radius_rad + BORDER_TOLERANCE_RAD, dtype=np.bool_)

    @override
    def bounding_cap(self) -> Cap | None:
        return self._cap if self._cap.radius_rad < _MAX_CAP_RAD else None

    @override
    def classify(self, cells: Cells) -> Places:
        distance = arc_length_rad(cells.centers, self._cap.center)
        return _places(
            inside=distance < self._cap.radius_rad - cells.radius_rad,
            outside=distance > self._cap.radius_rad + cells.radius_rad,
        )

    @override
    def ranges(self, *, border_cells: int = 96, max_ranges: int = 256) -> Ranges:
        if self.radius_deg >= 180.0 - _ANTIPODE_DEG:
            return ALL_SKY
        if self.bounding_cap() is None:
            return super().ranges(border_cells=border_cells, max_ranges=max_ranges)
        return limit_ranges(cone_ranges(self._cap), max_ranges)


class Zone(Region):
    """What lies between two meridians and two parallels.

    Parameters
    ----------
    lon_min_deg
        The western meridian.
    lon_width_deg
        From there eastwards, 0 to 360 degrees.
    lat_min_deg, lat_max_deg
        The parallels, -90 to 90; the first not above the second.

    Raises
    ------
    BadParameterError
        Raised if an angle is out of its range.
    """

    def __init__(
        self, lon_min_deg: float, lon_width_deg: float, lat_min_deg: float, lat_max_deg: float
    ) -> None:
        if not (math.isfinite(lon_min_deg) and 0.0 <= lon_width_deg <= 360.0):
            raise BadParameterError(
                f"A zone starts at a finite longitude and is 0 to 360 degrees wide, not"
                f" {lon_min_deg} and {lon_width_deg}."
            )
        if not -90.0 <= lat_min_deg <= lat_max_deg <= 90.0:
            raise BadParameterError(
                f"A zone's latitudes must rise and be from -90 to 90 degrees, not"
                f" {lat_min_deg} and {lat_max_deg}."
            )
        self.lon_min_deg, self.lon_width_deg = lon_min_deg, lon_width_deg
        self.lat_min_deg, self.lat_max_deg = lat_min_deg, lat_max_deg

    @override
    def __repr__(self) -> str:
        return (
            f"Zone({self.lon_min_deg}, {self.lon_width_deg},"
            f" {self.lat_min_deg}, {self.lat_max_deg})"
        )

    @override
    def contains(self, ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike) -> BoolArray:
        ra, dec = np.atleast_1d(ra_deg), np.atleast_1d(dec_deg)
        east = np.mod(np.asarray(ra, dtype=np.float64) - self.lon_min_deg, 360.0)
        in_lon = (east <= self.lon_width_deg + _TOLERANCE_DEG) | (east >= 360.0 - _TOLERANCE_DEG)
        in_lat = (dec >= self.lat_min_deg - _TOLERANCE_DEG) & (
            dec <= self.lat_max_deg + _TOLERANCE_DEG
        )
        return np.asarray(in_lon & in_lat, dtype=np.bool_)

    @override
    def bounding_cap(self) -> Cap | None:
        if self.lon_width_deg > 90.0:
            return None
        middle = self.lon_min_deg + self.lon_width_deg / 2.0
        center = unit_vectors(middle, (self.lat_min_deg + self.lat_max_deg) / 2.0)
        # Up to 90 degrees aside, distance grows towards both ends of a meridian: a corner is
        # what lies furthest.
        lon = middle + np.array([-0.5, -0.5, 0.5, 0.5]) * self.lon_width_deg
        lat = np.array([self.lat_min_deg, self.lat_max_deg] * 2)
        radius = float(arc_length_rad(unit_vectors(lon, lat), center).max())
        return Cap(center, radius) if radius < _MAX_CAP_RAD else None

    @override
    def classify(self, cells: Cells) -> Places:
        x, y, z = cells.centers.T
        lat = np.arctan2(z, np.hypot(x, y))
        lon = np.rad2deg(np.arctan2(y, x))
        reach_deg = math.degrees(cells.radius_rad)
        # Half the width, in longitude, of the cap around a cell; a cap that holds a pole has all.
        polar = np.abs(lat) + cells.radius_rad >= math.pi / 2.0
        ratio = np.sin(cells.radius_rad) / np.maximum(np.cos(lat), 1e-300)
        half = np.where(polar, 180.0, np.rad2deg(np.arcsin(np.clip(ratio, 0.0, 1.0))))
        half = half + _TOLERANCE_DEG
        middle = self.lon_min_deg + self.lon_width_deg / 2.0
        aside = np.abs(np.mod(lon - middle + 180.0, 360.0) - 180.0)
        lat_deg = np.rad2deg(lat)
        outside = (
            (aside - half > self.lon_width_deg / 2.0)
            | (lat_deg + reach_deg < self.lat_min_deg)
            | (lat_deg - reach_deg > self.lat_max_deg)
        )
        in_lon = (aside + half < self.lon_width_deg / 2.0) | (self.lon_width_deg >= 360.0)
        in_lat = ((lat_deg - reach_deg > self.lat_min_deg) | (self.lat_min_deg <= -90.0)) & (
            (lat_deg + reach_deg < self.lat_max_deg) | (self.lat_max_deg >= 90.0)
        )
        return _places(inside=in_lon & in_lat, outside=outside)


class Box(Region):
    """ADQL's BOX (ADQL 2.1, section 4.2.10): a polygon of four corners, or a zone.

    Parameters
    ----------
    ra_deg, dec_deg
        ICRS centre.
    width_deg, height_deg
        Extent in longitude and latitude, both above 0.

    Raises
    ------
    BadParameterError
        Raised if the centre is not on the sky or an extent not above 0.

    Notes
    -----
    The corners lie at ``ra ± width/2, dec ± height/2`` and the sides are great circles.  A box of
    180 degrees or more in width, or one that reaches a pole, has no such sides: it is the range of
    longitudes and latitudes, so that ``BOX(0, 0, 360, 180)`` is the whole sky.
    """

    def __init__(self, ra_deg: float, dec_deg: float, width_deg: float, height_deg: float) -> None:
        _check_center(ra_deg, dec_deg)
        if not (0.0 < width_deg < math.inf and 0.0 < height_deg < math.inf):
            raise BadParameterError(
                f"A box's width and height must be above 0 degrees, not {width_deg} and"
                f" {height_deg}."
            )
        self.ra_deg, self.dec_deg = ra_deg, dec_deg
        self.width_deg, self.height_deg = width_deg, height_deg
        west, east = ra_deg - width_deg / 2.0, ra_deg + width_deg / 2.0
        low, high = dec_deg - height_deg / 2.0, dec_deg + height_deg / 2.0
        self.shape: Zone | Polygon
        """The zone or polygon that the box is."""
        if width_deg >= 180.0 or low <= -90.0 or high >= 90.0:
            self.shape = Zone(west, min(width_deg, 360.0), max(low, -90.0), min(high, 90.0))
        else:
            self.shape = Polygon([west, east, east, west], [low, low, high, high])

    @override
    def __repr__(self) -> str:
        return f"Box({self.ra_deg}, {self.dec_deg}, {self.width_deg}, {self.height_deg})"

    @override
    def contains(self, ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike) -> BoolArray:
        return self.shape.contains(ra_deg, dec_deg)

    @override
    def bounding_cap(self) -> Cap | None:
        return self.shape.bounding_cap()

    @override
    def classify(self, cells: Cells) -> Places:
        return self.shape.classify(cells)


class _Several(Region):
    """Base of what is made of several regions."""

    def __init__(self, parts: Sequence[Region]) -> None:
        if not parts:
            raise BadParameterError(f"{type(self).__name__} needs one region or more.")
        self.parts = tuple(parts)

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.parts))})"


class Intersection(_Several):
    """What is in all of several regions (one or more)."""

    @override
    def contains(self, ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike) -> BoolArray:
        parts = [part.contains(ra_deg, dec_deg) for part in self.parts]
        return np.asarray(np.logical_and.reduce(parts), dtype=np.bool_)

    @override
    def bounding_cap(self) -> Cap | None:
        caps = [cap for part in self.parts if (cap := part.bounding_cap()) is not None]
        return min(caps, key=lambda cap: cap.radius_rad, default=None)

    @override
    def classify(self, cells: Cells) -> Places:
        parts = [part.classify(cells) for part in self.parts]
        return np.asarray(np.minimum.reduce(parts), dtype=np.int8)


class Union(_Several):
    """What is in any of several regions (one or more)."""

    @override
    def contains(self, ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike) -> BoolArray:
        parts = [part.contains(ra_deg, dec_deg) for part in self.parts]
        return np.asarray(np.logical_or.reduce(parts), dtype=np.bool_)

    @override
    def bounding_cap(self) -> Cap | None:
        caps = [part.bounding_cap() for part in self.parts]
        known = [cap for cap in caps if cap is not None]
        if len(known) < len(caps):
            return None
        center = normalized(np.sum([cap.center for cap in known], axis=0))
        radius = max(float(arc_length_rad(cap.center, center)) + cap.radius_rad for cap in known)
        return Cap(center, radius) if radius < _MAX_CAP_RAD else None

    @override
    def classify(self, cells: Cells) -> Places:
        parts = [part.classify(cells) for part in self.parts]
        return np.asarray(np.maximum.reduce(parts), dtype=np.int8)


class Widened(Region):
    """What is within a distance of a region; a little more belongs to it where that is simpler.

    Parameters
    ----------
    part
        The region.
    by_deg
        The distance in degrees, 0 or more.
    """

    def __init__(self, part: Region, by_deg: float) -> None:
        if not by_deg >= 0.0:
            raise BadParameterError(f"A region cannot be widened by {by_deg} degrees.")
        self.part, self.by_deg = part, by_deg
        self._by_rad = math.radians(by_deg)

    @override
    def __repr__(self) -> str:
        return f"Widened({self.part!r}, {self.by_deg})"

    @override
    def contains(self, ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike) -> BoolArray:
        points = unit_vectors(np.atleast_1d(ra_deg), np.atleast_1d(dec_deg))
        around = Cells(points, self._by_rad + BORDER_TOLERANCE_RAD)
        near = self.part.classify(around) != OUTSIDE
        return np.asarray(near | self.part.contains(ra_deg, dec_deg), dtype=np.bool_)

    @override
    def bounding_cap(self) -> Cap | None:
        cap = self.part.bounding_cap()
        if cap is None or cap.radius_rad + self._by_rad >= _MAX_CAP_RAD:
            return None
        return Cap(cap.center, cap.radius_rad + self._by_rad)

    @override
    def classify(self, cells: Cells) -> Places:
        near = self.part.classify(Cells(cells.centers, cells.radius_rad + self._by_rad))
        return _places(inside=self.part.classify(cells) == INSIDE, outside=near == OUTSIDE)


def _places(*, inside: BoolArray, outside: BoolArray) -> Places:
    """Return `INSIDE`, `OUTSIDE` and else `BORDER`."""
    place = np.full(len(inside), BORDER, dtype=np.int8)
    place[inside] = INSIDE
    place[outside] = OUTSIDE
    return place


def _check_center(ra_deg: float, dec_deg: float) -> None:
    if not (math.isfinite(ra_deg) and -90.0 <= dec_deg <= 90.0):
        raise BadParameterError(
            f"A centre needs a finite longitude and a latitude from -90 to 90 degrees, not"
            f" {ra_deg} and {dec_deg}."
        )
