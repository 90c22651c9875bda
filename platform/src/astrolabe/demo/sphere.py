"""Small spherical helpers of the simulation (ICRS, degrees)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["cap_points", "separation_deg", "tangent_plane_deg", "tangent_plane_sky"]

Floats = npt.NDArray[np.float64]


def cap_points(
    rng: np.random.Generator, count: int, ra_deg: float, dec_deg: float, radius_deg: float
) -> tuple[Floats, Floats]:
    """Draw points evenly over a cap.

    Returns
    -------
    ra_deg, dec_deg : (count,)
        Right ascension in [0, 360).
    """
    z = rng.uniform(np.cos(np.radians(radius_deg)), 1.0, count)
    angle = rng.uniform(0.0, 2 * np.pi, count)
    distance = np.arccos(z)
    lat = np.radians(dec_deg)
    sin_dec = np.sin(lat) * z + np.cos(lat) * np.sin(distance) * np.cos(angle)
    dec = np.arcsin(np.clip(sin_dec, -1, 1))
    ra = np.radians(ra_deg) + np.arctan2(
        np.sin(angle) * np.sin(distance) * np.cos(lat), z - np.sin(lat) * sin_dec
    )
    return np.mod(np.degrees(ra), 360.0), np.degrees(dec)


def separation_deg(ra_deg: Floats, dec_deg: Floats, ra0_deg: float, dec0_deg: float) -> Floats:
    """Return the angles (degrees) to one point, by the haversine formula."""
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    ra0, dec0 = np.radians(ra0_deg), np.radians(dec0_deg)
    chord = np.sin((dec - dec0) / 2) ** 2 + np.cos(dec) * np.cos(dec0) * np.sin((ra - ra0) / 2) ** 2
    separation: Floats = np.degrees(2 * np.arcsin(np.sqrt(np.clip(chord, 0, 1))))
    return separation


def tangent_plane_deg(
    ra_deg: Floats, dec_deg: Floats, ra0_deg: float, dec0_deg: float
) -> tuple[Floats, Floats]:
    """Return gnomonic coordinates (degrees; east, north) around one point."""
    ra, dec = np.radians(ra_deg - ra0_deg), np.radians(dec_deg)
    dec0 = np.radians(dec0_deg)
    cosine = np.sin(dec0) * np.sin(dec) + np.cos(dec0) * np.cos(dec) * np.cos(ra)
    east = np.cos(dec) * np.sin(ra) / cosine
    north = (np.cos(dec0) * np.sin(dec) - np.sin(dec0) * np.cos(dec) * np.cos(ra)) / cosine
    return np.degrees(east), np.degrees(north)


def tangent_plane_sky(
    east_deg: Floats, north_deg: Floats, ra0_deg: float, dec0_deg: float
) -> tuple[Floats, Floats]:
    """Return the positions of gnomonic coordinates: the inverse of `tangent_plane_deg`."""
    east, north = np.radians(east_deg), np.radians(north_deg)
    sine, cosine = np.sin(np.radians(dec0_deg)), np.cos(np.radians(dec0_deg))
    towards = cosine - north * sine
    ra = np.arctan2(east, towards)
    dec = np.arctan2(sine + north * cosine, np.hypot(east, towards))
    return np.mod(np.degrees(ra) + ra0_deg, 360.0), np.degrees(dec)
