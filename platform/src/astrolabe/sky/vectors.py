"""Positions as unit vectors: the form in which all of the geometry is computed.

Differences of unit vectors keep their precision at tiny separations, where the angle's cosine has
none left, and nothing here knows of poles or of the 0/360 line.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["FloatArray", "arc_length_rad", "normalized", "separation_deg", "unit_vectors"]

FloatArray = npt.NDArray[np.float64]


def unit_vectors(ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike) -> FloatArray:
    """Return ICRS unit vectors.

    Parameters
    ----------
    ra_deg, dec_deg : (...,)
        ICRS positions in degrees; any finite longitude.

    Returns
    -------
    (..., 3)
        x towards (0, 0), y towards (90, 0), z towards the north pole.
    """
    lon = np.deg2rad(np.asarray(ra_deg, dtype=np.float64))
    lat = np.deg2rad(np.asarray(dec_deg, dtype=np.float64))
    cos_lat = np.cos(lat)
    return np.stack((cos_lat * np.cos(lon), cos_lat * np.sin(lon), np.sin(lat)), axis=-1)


def normalized(vectors: FloatArray) -> FloatArray:
    """Return vectors (..., 3) scaled to length 1; those of length 0 stay as they are."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0.0, length, 1.0), dtype=np.float64)


def arc_length_rad(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the angle between unit vectors (..., 3), accurate at every separation."""
    chord = np.linalg.norm(first - second, axis=-1)
    supplement = np.linalg.norm(first + second, axis=-1)
    return np.asarray(2.0 * np.arctan2(chord, supplement), dtype=np.float64)


def separation_deg(
    ra1_deg: npt.ArrayLike, dec1_deg: npt.ArrayLike, ra2_deg: npt.ArrayLike, dec2_deg: npt.ArrayLike
) -> FloatArray:
    """Return the angular separation in degrees between ICRS positions in degrees.

    Examples
    --------
    >>> float(separation_deg(359.5, 0.0, 0.5, 0.0).round(12))
    1.0
    """
    first, second = unit_vectors(ra1_deg, dec1_deg), unit_vectors(ra2_deg, dec2_deg)
    return np.asarray(np.rad2deg(arc_length_rad(first, second)), dtype=np.float64)
