"""Many places at once as one region: all that is near any of them."""

from __future__ import annotations

import math
from hashlib import sha256
from typing import Final

import numpy as np
import numpy.typing as npt
from mocpy import MOC
from mocpy.mocpy import from_small_cones
from typing_extensions import override

from astrolabe.sky.cover import BORDER, BORDER_TOLERANCE_RAD, INSIDE, OUTSIDE, Cap, Cells, Region
from astrolabe.sky.healpix import order_for_size
from astrolabe.sky.near import Caps, SortedPoints, near_pairs
from astrolabe.sky.ranges import ALL_SKY, NO_RANGES, Ranges, limit_ranges, normalize_ranges
from astrolabe.sky.vectors import FloatArray, unit_vectors

__all__ = ["Places"]

_SLACK_DEG: Final = 1e-7
_LARGE_DEG: Final = 60.0
_MOST_RANGES: Final = 1 << 16
_FINE_PLACES: Final = 2_000
_CHUNK: Final = 1 << 20
_MAX_CAP_RAD: Final = math.radians(89.0)


class Places(Region):
    """Everything within some distance of any of many places.

    Parameters
    ----------
    centers : (n, 3)
        Unit vectors.
    radius_deg : (n,)
        How far each reaches, 0 or more (degrees).
    """

    def __init__(self, centers: FloatArray, radius_deg: FloatArray) -> None:
        self.centers = centers
        self.radius_deg = radius_deg
        self._caps = Caps(centers, np.radians(radius_deg))

    @override
    def __repr__(self) -> str:
        content = sha256(self.centers.tobytes() + self.radius_deg.tobytes()).hexdigest()
        return f"Places({len(self.radius_deg)}, {content})"

    @override
    def contains(self, ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        points = unit_vectors(np.atleast_1d(ra_deg), np.atleast_1d(dec_deg))
        found = np.zeros(len(points), dtype=np.bool_)
        caps = Caps(self.centers, self._caps.radius_rad + BORDER_TOLERANCE_RAD)
        for _, of_point in near_pairs(caps, SortedPoints.of(points)):
            found[of_point] = True
        return found

    @override
    def bounding_cap(self) -> Cap | None:
        cap = self._caps.around()
        return cap if cap is not None and cap.radius_rad < _MAX_CAP_RAD else None

    @override
    def classify(self, cells: Cells) -> npt.NDArray[np.int8]:
        place = np.full(len(cells.centers), OUTSIDE, dtype=np.int8)
        step = max(1, _CHUNK // max(1, len(self.radius_deg)))
        for start in range(0, len(cells.centers), step):
            part = slice(start, start + step)
            chord = np.linalg.norm(
                cells.centers[part, np.newaxis] - self.centers[np.newaxis], axis=-1
            )
            beyond = 2.0 * np.arcsin(np.clip(chord / 2.0, 0.0, 1.0)) - self._caps.radius_rad
            least = beyond.min(axis=1, initial=np.inf)
            place[part][least <= cells.radius_rad] = BORDER
            place[part][least <= -cells.radius_rad] = INSIDE
        return place

    def widened(self, by_deg: float) -> Places:
        """Return what is within a distance (degrees) of these places."""
        return Places(self.centers, self.radius_deg + by_deg)

    @override
    def ranges(self, *, border_cells: int = 96, max_ranges: int = _MOST_RANGES) -> Ranges:
        if not len(self.radius_deg):
            return NO_RANGES
        if (self.radius_deg > _LARGE_DEG).any():
            return ALL_SKY
        x, y, z = self.centers.T
        # What is a little less than 0 becomes 360, which is too much, unless it is taken twice.
        lon = np.degrees(np.arctan2(y, x)) % 360.0 % 360.0
        lat = np.degrees(np.arctan2(z, np.hypot(x, y)))
        size = self.radius_deg + _SLACK_DEG
        # Places of about one size are covered by cells of a fitting size: coarser ones for very
        # many, which leave little of the sky out anyway.
        coarseness = max(0.5, math.sqrt(len(size) / _FINE_PLACES) / 2.0)
        octave = np.ceil(np.log2(size)).astype(np.int64)
        found = [NO_RANGES]
        for each in np.unique(octave).tolist():
            chosen = octave == each
            moc = MOC(
                from_small_cones(
                    lon[chosen],
                    lat[chosen],
                    size[chosen],
                    np.uint8(order_for_size(2.0**each * coarseness)),
                    np.uint8(2),
                    1,
                )
            )
            found.append(np.asarray(moc.to_depth29_ranges, dtype=np.uint64).astype(np.int64))
        return limit_ranges(normalize_ranges(np.concatenate(found)), max_ranges)
