"""When and where the simulated telescope looked, and how well it saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from astrolabe.demo.sphere import cap_points
from astrolabe.demo.truth import BANDS, CENTER_DEC_DEG, CENTER_RA_DEG, RADIUS_DEG

__all__ = ["DAYS", "FIRST_MJD", "Visits", "make_visits"]

Floats = npt.NDArray[np.float64]

FIRST_MJD = 60676.0
"""First night, MJD (TAI): 2025-01-01."""
DAYS = 540.0
_DEPTH = np.array([21.65, 23.0, 22.9, 22.6, 22.0, 21.2])
"""Typical 5-sigma depth of a point source in each band (AB mag)."""
_BAND_SHARE = np.array([0.06, 0.14, 0.26, 0.26, 0.18, 0.10])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Visits:
    """All visits, in time order, v of them.

    Parameters
    ----------
    visit : (v,) int64
        Date of the night and a number in it, as LSST builds visit ids.
    band : (v,)
        Number of the band in `BANDS`.
    mid_mjd : (v,)
        Middle of the exposure (MJD, TAI).
    ra_deg, dec_deg, rotation_deg : (v,)
        ICRS pointing and rotation of the camera.
    airmass, seeing_arcsec, depth_mag, sky_njy : (v,)
        Airmass; full width of the point-spread function; 5-sigma depth (AB); sky background in
        nJy per square arcsecond.
    altitude_deg, azimuth_deg : (v,)
    """

    visit: npt.NDArray[np.int64]
    band: npt.NDArray[np.int64]
    mid_mjd: Floats
    ra_deg: Floats
    dec_deg: Floats
    rotation_deg: Floats
    airmass: Floats
    seeing_arcsec: Floats
    depth_mag: Floats
    sky_njy: Floats
    altitude_deg: Floats
    azimuth_deg: Floats

    exposure_s: float = 30.0

    def __len__(self) -> int:
        return len(self.visit)

    def pointing(self, number: int) -> tuple[float, float, float]:
        """Return right ascension, declination and rotation (degrees) of one visit."""
        return (
            float(self.ra_deg[number]),
            float(self.dec_deg[number]),
            float(self.rotation_deg[number]),
        )


def make_visits(rng: np.random.Generator, count: int) -> Visits:
    """Draw `count` visits: nights in the season, ten or so visits a night."""
    per_night = 8
    nights = np.sort(rng.choice(int(DAYS), size=-(-count // per_night), replace=False))
    night = np.repeat(nights, per_night)[:count]
    number = np.tile(np.arange(per_night), len(nights))[:count]
    mid = FIRST_MJD + night + 0.15 + 0.018 * number + rng.uniform(0, 0.004, count)
    band = rng.choice(len(BANDS), size=count, p=_BAND_SHARE)
    ra, dec = cap_points(rng, count, CENTER_RA_DEG, CENTER_DEC_DEG, RADIUS_DEG - 0.15)
    airmass = 1.0 + np.abs(rng.normal(0.15, 0.18, count))
    seeing = np.clip(rng.lognormal(np.log(0.95), 0.18, count), 0.6, 2.2) * airmass**0.6
    depth = _DEPTH[band] - 2.5 * np.log10(seeing / 0.95) - 0.25 * (airmass - 1)
    depth = depth + rng.normal(0, 0.08, count)
    altitude = np.degrees(np.arcsin(1 / airmass))
    date = np.datetime64("1858-11-17") + np.floor(mid).astype("timedelta64[D]")
    day = np.char.replace(date.astype("datetime64[D]").astype(str), "-", "").astype(np.int64)
    return Visits(
        visit=day * 100_000 + number + 1,
        band=band.astype(np.int64),
        mid_mjd=mid,
        ra_deg=ra,
        dec_deg=dec,
        rotation_deg=rng.uniform(0, 360, count),
        airmass=airmass,
        seeing_arcsec=seeing,
        depth_mag=depth,
        sky_njy=10 ** ((31.4 - (21.0 - 0.25 * band)) / 2.5) * airmass,
        altitude_deg=altitude,
        azimuth_deg=rng.uniform(0, 360, count),
    )
