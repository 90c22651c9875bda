"""Which of many circles hold which of many points, without looking at every pair.

Points are sorted by their height above the equator: those in a circle lie between two heights.
What belongs to a small part of the sky is first cut down to that part, on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from astrolabe.sky.cover import Cap
from astrolabe.sky.vectors import FloatArray, arc_length_rad, normalized

__all__ = ["Caps", "SortedPoints", "near_pairs"]

Ints = npt.NDArray[np.int64]

_SLACK: Final = 1e-9  # more than any rounding of heights and chords
_MOST_PAIRS: Final = 1 << 18
_LOCAL_RAD: Final = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Caps:
    """Circles on the sky.

    Parameters
    ----------
    centers : (n, 3)
        Unit vectors.
    radius_rad : (n,)
        Radii; a negative one holds nothing, one of more than pi everything.
    """

    centers: FloatArray
    radius_rad: FloatArray

    def __len__(self) -> int:
        return len(self.radius_rad)

    def around(self) -> Cap | None:
        """Return a circle that holds all of them; `None` for none or for most of the sky."""
        if not len(self):
            return None
        center = normalized(self.centers.sum(axis=0))
        reach = float((arc_length_rad(self.centers, center) + self.radius_rad).max())
        return Cap(center, reach) if 0.0 <= reach < _LOCAL_RAD else None

    def meeting(self, cap: Cap) -> Ints:
        """Return the numbers of those that have something in common with a circle."""
        apart = arc_length_rad(self.centers, cap.center)
        return np.flatnonzero(apart <= self.radius_rad + (cap.radius_rad + _SLACK))


@dataclass(frozen=True, slots=True, eq=False)
class SortedPoints:
    """Points by rising height; `numbers` (n,) are those that they had before."""

    vectors: FloatArray
    numbers: Ints

    @classmethod
    def of(cls, vectors: FloatArray) -> SortedPoints:
        """Sort unit vectors (n, 3)."""
        order = np.argsort(vectors[:, 2], kind="stable")
        return cls(vectors[order], order)

    def __len__(self) -> int:
        return len(self.numbers)

    def within(self, cap: Cap) -> SortedPoints:
        """Return the points in a circle, and perhaps a few around it."""
        low, high = _heights(cap.center[np.newaxis], np.array([cap.radius_rad]))
        part = slice(
            int(np.searchsorted(self.vectors[:, 2], low[0], side="left")),
            int(np.searchsorted(self.vectors[:, 2], high[0], side="right")),
        )
        near = arc_length_rad(self.vectors[part], cap.center) <= cap.radius_rad + _SLACK
        return SortedPoints(self.vectors[part][near], self.numbers[part][near])


def near_pairs(caps: Caps, points: SortedPoints) -> Iterator[tuple[Ints, Ints]]:
    """Yield every circle with each point in it, in pieces of bounded size.

    Parameters
    ----------
    caps
        The circles.
    points
        The points.

    Yields
    ------
    cap, point : (k,)
        Number of a circle, and number of a point that it holds or nearly holds.
    """
    if not len(caps) or not len(points):
        return
    # A few circles that are much larger than the others would make the part of the sky that
    # matters to all much larger, too.
    usual = caps.radius_rad <= 4.0 * float(np.median(caps.radius_rad)) + _SLACK
    for chosen in (np.flatnonzero(usual), np.flatnonzero(~usual)):
        some = Caps(caps.centers[chosen], caps.radius_rad[chosen])
        cap = some.around()
        near = points if cap is None else points.within(cap)
        for of_cap, of_point in _pairs(some, near):
            yield chosen[of_cap], near.numbers[of_point]


def _pairs(caps: Caps, points: SortedPoints) -> Iterator[tuple[Ints, Ints]]:
    """Yield places of circles and points that are near each other."""
    low, high = _heights(caps.centers, caps.radius_rad)
    z = points.vectors[:, 2]
    first = np.searchsorted(z, low, side="left")
    count = np.maximum(np.searchsorted(z, high, side="right") - first, 0)
    # The largest chord that belongs to each radius, squared.
    half = np.sin(np.clip(caps.radius_rad / 2.0, 0.0, np.pi / 2.0))
    most = np.where(caps.radius_rad < -_SLACK, -1.0, (2.0 * half + _SLACK) ** 2)
    ends = np.cumsum(count)
    begin = 0
    while begin < len(caps):
        done = int(ends[begin - 1]) if begin else 0
        # At least one circle at a time, however many points it has.
        end = max(begin + 1, int(np.searchsorted(ends, done + _MOST_PAIRS, side="right")))
        here = count[begin:end]
        of_cap = np.repeat(np.arange(begin, end), here)
        offset = np.arange(len(of_cap)) - np.repeat(np.cumsum(here) - here, here)
        of_point = np.repeat(first[begin:end], here) + offset
        apart = points.vectors[of_point] - caps.centers[of_cap]
        held = (apart * apart).sum(axis=1) <= most[of_cap]
        if held.any():
            yield of_cap[held], of_point[held]
        begin = end


def _heights(centers: FloatArray, radius_rad: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the heights (n,) between which circles lie."""
    lat = np.arcsin(np.clip(centers[:, 2], -1.0, 1.0))
    radius = np.maximum(radius_rad, 0.0)
    south = np.maximum(lat - radius, -np.pi / 2.0)
    north = np.minimum(lat + radius, np.pi / 2.0)
    return np.sin(south) - _SLACK, np.sin(north) + _SLACK
