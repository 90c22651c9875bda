"""From a region to the cells that cover it.

The sky is divided as HEALPix divides it: a cell that lies wholly inside is taken, one wholly
outside is dropped, one on the border is divided again, until the border has enough cells.  A cell
is judged by the cap around it, with a margin: what comes out may hold too much, never too little.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from mocpy import MOC
from mocpy.mocpy import from_cone
from typing_extensions import override

from astrolabe.sky.healpix import (
    MAX_ORDER,
    IntArray,
    cell_centers,
    cell_radius_rad,
    cell_range,
    order_for_size,
)
from astrolabe.sky.ranges import ALL_SKY, Ranges, limit_ranges, normalize_ranges
from astrolabe.sky.vectors import FloatArray

__all__ = [
    "BORDER",
    "BORDER_TOLERANCE_RAD",
    "INSIDE",
    "OUTSIDE",
    "Cap",
    "Cells",
    "Region",
    "cone_ranges",
]

BORDER_TOLERANCE_RAD = 1e-13
"""A position this close to a region's border is on it, and so inside.

Degrees become unit vectors with errors of a few 1e-16; 1e-13 rad is 2e-8 arcsec.
"""

_SLACK_RAD = 1e-9
# 0.2 mas by which covers are wider than regions: far more than any rounding (here, in an engine's
# arithmetic, or in the index of a position), far less than any partition.

INSIDE, BORDER, OUTSIDE = 1, 0, -1

_BORDER_CELLS = 96
_MAX_RANGES = 256


@dataclass(frozen=True, slots=True, eq=False)
class Cap:
    """A circle on the sky around something: centre (3,) as unit vector, radius in radians."""

    center: FloatArray
    radius_rad: float


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Cells of one order, each known by the cap around it.

    Parameters
    ----------
    centers : (n, 3)
        Unit vectors.
    radius_rad
        Within this distance of its centre lies all of a cell, and a little more.
    """

    centers: FloatArray
    radius_rad: float


class Region(ABC):
    """A part of the sky, ICRS, its border included; equal if made the same way."""

    @override
    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and repr(self) == repr(other)

    @override
    def __hash__(self) -> int:
        return hash(repr(self))

    @abstractmethod
    @override
    def __repr__(self) -> str:
        """Return the call that makes it; every number in full."""

    @abstractmethod
    def contains(self, ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Tell which positions are in the region or on its border.

        Parameters
        ----------
        ra_deg, dec_deg : (n,)
            ICRS positions in degrees, on the sky.
        """

    @abstractmethod
    def bounding_cap(self) -> Cap | None:
        """Return a cap (of less than 90 degrees) around the region; `None` if none is known."""

    @abstractmethod
    def classify(self, cells: Cells) -> npt.NDArray[np.int8]:
        """Tell of each cell whether it is `INSIDE`, `OUTSIDE`, or perhaps on the `BORDER`."""

    def ranges(self, *, border_cells: int = _BORDER_CELLS, max_ranges: int = _MAX_RANGES) -> Ranges:
        """Return cells of order 29 that hold all of the region.

        Parameters
        ----------
        border_cells
            The border is refined until it has at least as many cells (or order 29 is reached).
        max_ranges
            Ranges to give at most; the smallest gaps are closed to keep it.

        Returns
        -------
        (n, 2)
            Sorted half-open ranges of order-29 NESTED cells: a superset, in which every position
            of the region and of its border lies.
        """
        order, pixel = self._first_cells()
        found: list[IntArray] = []
        while pixel.size:
            radius = cell_radius_rad(order) * 1.01 + _SLACK_RAD
            place = self.classify(Cells(cell_centers(order, pixel), radius))
            found.append(cell_range(order, pixel[place == INSIDE]))
            pixel = pixel[place == BORDER]
            if order == MAX_ORDER or pixel.size >= border_cells:
                found.append(cell_range(order, pixel))
                break
            pixel = (pixel[:, np.newaxis] * 4 + np.arange(4)).ravel()
            order += 1
        if not found:
            return normalize_ranges([])
        return limit_ranges(normalize_ranges(np.concatenate(found)), max_ranges)

    def _first_cells(self) -> tuple[int, IntArray]:
        """Return a few cells about as large as the region, that hold all of it."""
        cap = self.bounding_cap()
        if cap is None or cap.radius_rad > 0.5:
            return 0, np.arange(12, dtype=np.int64)
        order = order_for_size(float(np.rad2deg(cap.radius_rad + _SLACK_RAD)) * 2.0)
        covering = cone_ranges(cap, order)
        shift = 2 * (MAX_ORDER - order)
        first, last = covering[:, 0] >> shift, covering[:, 1] >> shift
        pixels = [
            np.arange(start, end, dtype=np.int64) for start, end in zip(first, last, strict=True)
        ]
        return order, np.concatenate(pixels)


def cone_ranges(cap: Cap, order: int | None = None) -> Ranges:
    """Return the cells that hold all of a cone, by mocpy.

    Parameters
    ----------
    cap
        The cone.
    order
        Order of the cells; by default fine enough for a smooth border of this cone.
    """
    radius_deg = float(np.rad2deg(cap.radius_rad + _SLACK_RAD))
    if radius_deg >= 179.0:
        return ALL_SKY
    x, y, z = cap.center.tolist()
    lon = np.rad2deg(np.arctan2(y, x))
    # mocpy's own core: with quantities the call takes five times as long, a tenth of a whole query.
    moc = MOC(
        from_cone(
            # What is a little less than 0 becomes 360, which is too much, unless it is taken twice.
            lon % 360.0 % 360.0,
            np.rad2deg(np.arctan2(z, np.hypot(x, y))),
            np.float64(radius_deg),
            np.uint8(order_for_size(radius_deg / 8.0) if order is None else order),
            delta_depth=np.uint8(2),
        )
    )
    return np.asarray(moc.to_depth29_ranges, dtype=np.uint64).astype(np.int64)
