"""From a region to the cells of the rows whose shapes can meet it."""

from __future__ import annotations

import math

import numpy as np

from astrolabe.catalogs.model import FootprintIndex
from astrolabe.sky.places import Places
from astrolabe.sky.ranges import ALL_SKY, NO_RANGES, Ranges, normalize_ranges, union_ranges
from astrolabe.sky.regions import Circle, Region, Widened
from astrolabe.sky.vectors import arc_length_rad

__all__ = ["footprint_cells"]

_MOST_DEG = 180.0
_FEW_BOUNDS = 4.0


def footprint_cells(index: FootprintIndex, region: Region) -> Ranges:
    """Return where the rows are whose shapes can have a point in common with a region.

    Parameters
    ----------
    index
        How far the shapes reach.
    region
        Any part of the sky.

    Returns
    -------
    (n, 2)
        Half-open ranges of cells at order 29.
    """
    near = _widened(region, index.bound_deg).ranges() if index.bound_deg < _MOST_DEG else ALL_SKY
    return union_ranges(near, _stray_cells(index, region))


def _stray_cells(index: FootprintIndex, region: Region) -> Ranges:
    strays = index.load_strays()
    if strays is None:
        return NO_RANGES
    cap = region.bounding_cap()
    cells = strays.cells
    if cap is not None:
        # Compared with the circle around the region: there are few strays, so that a simple
        # test which keeps a few too many is quicker than a cover of the region for each distance.
        reach = cap.radius_rad + np.radians(strays.bound_deg)
        cells = cells[arc_length_rad(strays.centers, cap.center) <= reach]
    return normalize_ranges(np.stack((cells, cells + 1), axis=1))


def _widened(region: Region, by_deg: float) -> Region:
    if isinstance(region, Places):
        return region.widened(by_deg)
    if isinstance(region, Circle) and region.radius_deg + by_deg <= _MOST_DEG:
        return Circle(region.ra_deg, region.dec_deg, region.radius_deg + by_deg)
    cap = region.bounding_cap()
    if cap is not None and np.degrees(cap.radius_rad) <= _FEW_BOUNDS * by_deg:
        # What is added matters more than the shape, and a circle is covered much quicker.
        x, y, z = cap.center.tolist()
        lon, lat = math.degrees(math.atan2(y, x)), math.degrees(math.atan2(z, math.hypot(x, y)))
        size = math.degrees(cap.radius_rad) * (1.0 + 1e-12) + by_deg
        return Circle(lon, lat, min(size, _MOST_DEG))
    return Widened(region, by_deg)
