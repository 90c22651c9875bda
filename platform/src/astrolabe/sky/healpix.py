"""HEALPix in the one form used here: NESTED, ICRS, cells named by order 29.

Everything is NumPy in, NumPy out.  The index of a position is computed by cdshealpix, exactly as
HATS and LSDB do, so that the column ``_healpix_29`` of every reader agrees to the last bit.
"""

from __future__ import annotations

import functools
import math

import cdshealpix
import numpy as np
import numpy.typing as npt
from astropy import units
from astropy.coordinates import Latitude, Longitude

from astrolabe.core.errors import BadParameterError
from astrolabe.sky.vectors import FloatArray

__all__ = [
    "CELLS_29",
    "MAX_ORDER",
    "cell_centers",
    "cell_radius_rad",
    "cell_range",
    "healpix_29",
    "order_for_size",
    "parent",
    "points_in_cells",
    "valid_positions",
]

MAX_ORDER = 29
"""The finest order; its cells are about 0.4 milliarcseconds wide."""

CELLS_29 = 12 << (2 * MAX_ORDER)
"""Number of cells of order 29 on the sky: every index is in ``[0, CELLS_29)``."""

IntArray = npt.NDArray[np.int64]

# Ring (in units of a face's side) of each base face's southern corner, and its longitude in units
# of 45 degrees (Gorski et al. 2005, figure 5).
_FACE_RING = np.array([2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4], dtype=np.float64)
_FACE_LON = np.array([1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7], dtype=np.float64)
_WIDTH_ORDER_0_DEG = 58.632302


def valid_positions(ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Tell which positions lie on the sky.

    Parameters
    ----------
    ra_deg, dec_deg : (n,)
        ICRS positions in degrees.

    Returns
    -------
    (n,)
        True where both are finite and the declination is in [-90, 90]; any finite right ascension
        is a direction on the sky, so its range is not judged here.
    """
    ra = np.asarray(ra_deg, dtype=np.float64)
    dec = np.asarray(dec_deg, dtype=np.float64)
    return np.asarray(np.isfinite(ra) & (np.abs(dec) <= 90.0), dtype=np.bool_)


def healpix_29(ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike) -> IntArray:
    """Return the order-29 NESTED cells of positions: the values of ``_healpix_29``.

    Parameters
    ----------
    ra_deg, dec_deg : (n,)
        ICRS positions in degrees.  Right ascensions outside [0, 360) are wrapped.

    Returns
    -------
    (n,)
        Cell of each position.

    Raises
    ------
    BadParameterError
        Raised if a position is not on the sky (see `valid_positions`, by which a caller can leave
        such rows out first) or the lengths differ.

    Examples
    --------
    >>> healpix_29([0.0, 45.0], [0.0, 89.0])
    array([1369094286720630784,  288174027238540236])
    """
    ra = np.atleast_1d(np.asarray(ra_deg, dtype=np.float64))
    dec = np.atleast_1d(np.asarray(dec_deg, dtype=np.float64))
    if ra.shape != dec.shape or ra.ndim != 1:
        raise BadParameterError(
            f"Positions need as many right ascensions as declinations in one dimension,"
            f" not shapes {ra.shape} and {dec.shape}."
        )
    bad = np.flatnonzero(~valid_positions(ra, dec))
    if bad.size:
        first = int(bad[0])
        raise BadParameterError(
            f"{bad.size} of {ra.size} positions are not on the sky, the first at index {first}:"
            f" right ascension {ra[first]}, declination {dec[first]} degrees."
        )
    if not ra.size:
        return np.empty(0, dtype=np.int64)
    # One thread: imports and servers already run as many workers as there are cores.
    cells = cdshealpix.nested.lonlat_to_healpix(
        Longitude(ra, units.deg), Latitude(dec, units.deg), MAX_ORDER, num_threads=1
    )
    return np.asarray(cells, dtype=np.uint64).view(np.int64)


def cell_range(order: npt.ArrayLike, pixel: npt.ArrayLike) -> IntArray:
    """Return the order-29 cells of coarser cells.

    Parameters
    ----------
    order, pixel : (n,)
        NESTED cells of orders 0 to 29.

    Returns
    -------
    (n, 2)
        Half-open range of each.

    Examples
    --------
    >>> cell_range([0, 29], [1, 7])
    array([[288230376151711744, 576460752303423488],
           [                 7,                  8]])
    """
    orders = np.atleast_1d(np.asarray(order)).astype(np.int64)
    pixels = np.atleast_1d(np.asarray(pixel)).astype(np.int64)
    shift = 2 * (MAX_ORDER - orders)
    return np.stack(np.broadcast_arrays(pixels << shift, (pixels + 1) << shift), axis=-1)


def parent(
    pixel: npt.ArrayLike, order: npt.ArrayLike, *, from_order: int = MAX_ORDER
) -> npt.NDArray[np.int64]:
    """Return the cell of `order` that holds each NESTED cell of the finer `from_order`.

    Parameters
    ----------
    pixel : (n,)
        Cells of `from_order`; by default values of ``_healpix_29``.
    order
        The coarser order, one or (n,).
    from_order
        Order of `pixel`.
    """
    shift = 2 * (from_order - np.asarray(order, dtype=np.int64))
    return np.asarray(np.asarray(pixel, dtype=np.int64) >> shift, dtype=np.int64)


def cell_centers(order: int, pixel: npt.ArrayLike) -> FloatArray:
    """Return the centres of NESTED cells of one order as unit vectors.

    Parameters
    ----------
    order
        Order of the cells, 0 to 29.
    pixel : (n,)
        The cells.

    Returns
    -------
    (n, 3)
        ICRS unit vectors (Gorski et al. 2005, section 5).
    """
    return points_in_cells(order, pixel, 0.5, 0.5)


def points_in_cells(
    order: int, pixel: npt.ArrayLike, x_share: npt.ArrayLike, y_share: npt.ArrayLike
) -> FloatArray:
    """Return points of NESTED cells of one order as unit vectors.

    Parameters
    ----------
    order
        Order of the cells, 0 to 29.
    pixel, x_share, y_share : broadcast to (...)
        The cells, and where in each from 0 to 1: from its southern corner along the side to the
        north-east (the even bits of finer cells) and along the one to the north-west (the odd
        bits).

    Returns
    -------
    (..., 3)
        ICRS unit vectors (Gorski et al. 2005, section 5).
    """
    cells = np.asarray(pixel, dtype=np.int64)
    face = cells >> (2 * order)
    inside = cells & ((1 << (2 * order)) - 1)
    side = float(1 << order)
    x = (_even_bits(inside) + np.asarray(x_share, dtype=np.float64)) / side
    y = (_even_bits(inside >> 1) + np.asarray(y_share, dtype=np.float64)) / side
    face, x, y = np.broadcast_arrays(face, x, y)
    ring = _FACE_RING[face] - x - y
    north, south = ring < 1.0, ring > 3.0
    width = np.where(north, ring, np.where(south, 4.0 - ring, 1.0))
    drop = width * width / 3.0
    z = np.where(north, 1.0 - drop, np.where(south, drop - 1.0, (2.0 - ring) * 2.0 / 3.0))
    # In the caps 1 - z*z would lose the digits that matter near the poles.
    sin_theta = np.sqrt(np.where(north | south, drop * (2.0 - drop), 1.0 - z * z))
    # At a pole itself every longitude is as good as another.
    safe = np.where(width > 0.0, width, 1.0)
    lon = (math.pi / 4.0) * (_FACE_LON[face] * safe + x - y) / safe
    return np.stack((sin_theta * np.cos(lon), sin_theta * np.sin(lon), z), axis=-1)


@functools.cache
def cell_radius_rad(order: int) -> float:
    """Return the largest distance, over all cells of an order, from a centre to a corner."""
    side = float(1 << order)
    # The cells that reach furthest are those whose centre lies on the border of the polar cap.
    lon, z_center = math.pi / (4.0 * side), 2.0 / 3.0
    z_corner = 1.0 - (1.0 - 1.0 / side) ** 2 / 3.0
    sin_center = math.sqrt(1.0 - z_center * z_center)
    sin_corner = math.sqrt(1.0 - z_corner * z_corner)
    across = (sin_center * math.cos(lon) - sin_corner, sin_center * math.sin(lon))
    return 2.0 * math.asin(math.hypot(*across, z_center - z_corner) / 2.0)


def order_for_size(size_deg: float) -> int:
    """Return the coarsest order whose cells are on average no wider than `size_deg` (0 to 29)."""
    if size_deg <= 0.0:
        return MAX_ORDER
    return min(MAX_ORDER, max(0, math.ceil(math.log2(_WIDTH_ORDER_0_DEG / size_deg))))


def _even_bits(values: IntArray) -> IntArray:
    """Return the even bits of each value, pushed together."""
    bits = values & 0x5555555555555555
    for shift, mask in (
        (1, 0x3333333333333333),
        (2, 0x0F0F0F0F0F0F0F0F),
        (4, 0x00FF00FF00FF00FF),
        (8, 0x0000FFFF0000FFFF),
        (16, 0x00000000FFFFFFFF),
    ):
        bits = (bits | (bits >> shift)) & mask
    return bits
