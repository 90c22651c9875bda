"""The smallest box of pixels that holds all of a region that lies on an image."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from astrolabe.images.regions import SkyRegion, outline_points
from astrolabe.images.wcs import ImageWcs
from astrolabe.sky.regions import Circle, Polygon
from astrolabe.sky.vectors import FloatArray

__all__ = ["sky_box"]

_SAGITTA_PX: Final = 0.02  # how far an outline's chords may lie inside it
_POLYGON_STEP_PX: Final = 64.0  # great circles are all but straight over so many pixels
_ZONE_STEP_PX: Final = 8.0
_ROUNDING_PX: Final = 1e-6
_GRID: Final = 33
# Zenithal projections have no seam and take a great circle to a line without a break: what an
# outline encloses on the sky it encloses on the image.
_ZENITHAL: Final = frozenset({"TAN", "SIN", "TPV", "TNX", "ZPN", "ZPX", "ARC", "STG", "ZEA", "DSS"})


def sky_box(wcs: ImageWcs, region: SkyRegion) -> tuple[int, int, int, int] | None:
    """Return the pixels of the sky's axes that hold the part of a region on the image.

    Parameters
    ----------
    wcs
        Of an image with a position.
    region
        ICRS.

    Returns
    -------
    x_first, x_stop, y_first, y_stop
        A pixel belongs to it if the region touches its square; the box of a region that a seam of
        the projection divides reaches from seam to seam.  `None` if nothing of the region lies on
        the image.
    """
    height, width = wcs.sky_shape
    ra, dec = outline_points(region, _step_deg(region, wcs.pixel_scale_arcsec / 3600.0))
    x, y = _to_pixel(wcs, ra, dec)
    inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
    parts = [np.column_stack((x, y))[inside]]
    zenithal = wcs.projection in _ZENITHAL
    if not (zenithal and inside.all() and len(x)):
        parts.append(_clipped(x, y, width, height))
        parts.append(_in_region(wcs, region, width, height, corners_only=zenithal))
    points = np.concatenate(parts)
    if not len(points):
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    first = np.floor(low + 0.5 + _ROUNDING_PX).astype(int)
    stop = np.maximum(np.ceil(high + 0.5 - _ROUNDING_PX).astype(int), first + 1)
    x_first, y_first = np.clip(first, 0, (width - 1, height - 1)).tolist()
    x_stop, y_stop = np.clip(stop, 1, (width, height)).tolist()
    return x_first, x_stop, y_first, y_stop


def _step_deg(region: SkyRegion, scale_deg: float) -> float:
    """Return a distance of points on the outline that keeps its chords close to it."""
    if not math.isfinite(scale_deg) or scale_deg <= 0.0:
        return 0.1
    if isinstance(region, Circle):
        radius_px = math.degrees(math.sin(math.radians(region.radius_deg))) / scale_deg
        return scale_deg * max(math.sqrt(8.0 * _SAGITTA_PX * radius_px), 0.25)
    return scale_deg * (_POLYGON_STEP_PX if isinstance(region, Polygon) else _ZONE_STEP_PX)


def _to_pixel(wcs: ImageWcs, ra: FloatArray, dec: FloatArray) -> tuple[FloatArray, FloatArray]:
    x, y = np.full(ra.shape, np.nan), np.full(ra.shape, np.nan)
    good = np.isfinite(ra)
    if good.any():
        x[good], y[good] = wcs.to_pixel(ra[good], dec[good])
    return x, y


def _clipped(x: FloatArray, y: FloatArray, width: int, height: int) -> npt.NDArray[np.float64]:
    """Return where an outline enters and leaves the image (n, 2)."""
    x0, y0, dx, dy = x[:-1], y[:-1], np.diff(x), np.diff(y)
    # A step as long as half the image goes from one side of a seam to the other.
    good = np.isfinite(dx) & np.isfinite(dy)
    good &= (np.abs(dx) < 0.5 * width + 64) & (np.abs(dy) < 0.5 * height + 64)
    x0, y0, dx, dy = x0[good], y0[good], dx[good], dy[good]
    enter, leave = np.zeros(len(x0)), np.ones(len(x0))
    outside = np.zeros(len(x0), dtype=bool)
    for step, gap in (
        (-dx, x0 + 0.5),
        (dx, width - 0.5 - x0),
        (-dy, y0 + 0.5),
        (dy, height - 0.5 - y0),
    ):
        with np.errstate(all="ignore"):
            share = gap / step
        enter = np.where(step < 0.0, np.maximum(enter, share), enter)
        leave = np.where(step > 0.0, np.minimum(leave, share), leave)
        outside |= (step == 0.0) & (gap < 0.0)
    crossing = ~outside & (enter <= leave)
    parts = [
        np.column_stack((x0 + share * dx, y0 + share * dy))[crossing] for share in (enter, leave)
    ]
    return np.concatenate(parts)


def _in_region(
    wcs: ImageWcs, region: SkyRegion, width: int, height: int, *, corners_only: bool
) -> npt.NDArray[np.float64]:
    """Return which of the image's corners, or of a grid over it, lie in a region (n, 2)."""
    count = 2 if corners_only else _GRID
    columns = np.linspace(-0.5, width - 0.5, count)
    rows = np.linspace(-0.5, height - 0.5, count)
    x, y = (axis.ravel() for axis in np.meshgrid(columns, rows))
    ra, dec = wcs.to_sky(x, y)
    good = np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90.0)
    if corners_only and not good.all():
        return _in_region(wcs, region, width, height, corners_only=False)
    inside = np.zeros(len(x), dtype=np.bool_)
    if good.any():
        inside[good] = region.contains(ra[good], dec[good])
    found = np.column_stack((x, y))[inside]
    if good.all():
        return found
    # Somewhere between such a point and its neighbour without sky the sky ends: all of the way
    # is taken.
    lone = inside & _beside(~good.reshape(count, count)).ravel()
    step = np.array([columns[1] - columns[0], rows[1] - rows[0]])
    edge = np.column_stack((x, y))[lone]
    limits = [width - 0.5, height - 0.5]
    return np.concatenate([found, np.maximum(edge - step, -0.5), np.minimum(edge + step, limits)])


def _beside(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which cells have one of the mask beside them, or are one."""
    wide = np.pad(mask, 1)
    around = [wide[1:-1, :-2], wide[1:-1, 2:], wide[:-2, 1:-1], wide[2:, 1:-1], mask]
    return np.asarray(np.logical_or.reduce(around), dtype=np.bool_)
