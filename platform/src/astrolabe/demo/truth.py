"""What is really on the simulated sky.

Number counts are power laws (galaxies 0.35 dex a magnitude, faint high-latitude stars 0.17),
colours follow a one-parameter stellar locus and two galaxy populations; all numbers are round
values close to those of real surveys, chosen for teaching and testing, not for science.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from astrolabe.demo.sphere import cap_points

__all__ = [
    "BANDS",
    "CENTER_DEC_DEG",
    "CENTER_RA_DEG",
    "RADIUS_DEG",
    "Asteroids",
    "Kind",
    "Truth",
    "make_asteroids",
    "make_truth",
]

Floats = npt.NDArray[np.float64]

BANDS = "ugrizy"
CENTER_RA_DEG = 150.1
CENTER_DEC_DEG = 2.2
RADIUS_DEG = 2.821
"""Radius of the survey's cap: 25 square degrees."""

_BRIGHT, _FAINT = 14.0, 22.4
_STAR_FRACTION = 0.27


class Kind(IntEnum):
    """What an object is."""

    STAR = 0
    GALAXY = 1
    RR_LYRAE = 2
    ECLIPSING_BINARY = 3
    LONG_PERIOD = 4
    ACTIVE_NUCLEUS = 5
    SUPERNOVA = 6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    """All objects that do not move, n of them.

    Parameters
    ----------
    object_id : (n,) int64
    ra_deg, dec_deg : (n,)
        ICRS.
    kind : (n,) int8
        See `Kind`.
    mag : (n, 6)
        Mean AB magnitudes in `BANDS` (total light).
    radius_arcsec : (n,)
        Half-light radius, 0 for point sources.
    axis_ratio, angle_deg : (n,)
        Shape on the sky; position angle east of north.
    redshift : (n,)
        0 for stars.
    period_day, amplitude_mag, phase : (n,)
        Of the variation; for supernovae `phase` is the MJD (TAI) of the peak and `period_day` the
        time scale of the decline.
    parent : (n,) int64
        Row of the brighter object that this one is blended with, -1 for none.
    """

    object_id: npt.NDArray[np.int64]
    ra_deg: Floats
    dec_deg: Floats
    kind: npt.NDArray[np.int8]
    mag: Floats
    radius_arcsec: Floats
    axis_ratio: Floats
    angle_deg: Floats
    redshift: Floats
    period_day: Floats
    amplitude_mag: Floats
    phase: Floats
    parent: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.object_id)

    def magnitude_at(self, rows: npt.NDArray[np.int64], band: int, mjd: float) -> Floats:
        """Return the magnitude of `rows` in band number `band` at one time (MJD, TAI)."""
        mag: Floats = self.mag[rows, band].copy()
        kind = self.kind[rows]
        varies = kind > Kind.GALAXY
        if varies.any():
            some = rows[varies]
            mag[varies] += _variation(
                kind[varies],
                mjd,
                self.period_day[some],
                self.amplitude_mag[some] * _AMPLITUDE_OF_BAND[band],
                self.phase[some],
            )
        return mag


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asteroids:
    """Moving objects, m of them, on short straight arcs around the time they are in the field.

    Parameters
    ----------
    ra_deg, dec_deg : (m,)
        ICRS position at `epoch_mjd`.
    rate_ra_deg_day, rate_dec_deg_day : (m,)
        Motion; the RA rate includes cos(Dec).
    epoch_mjd : (m,)
        TAI.
    mag_r : (m,)
    """

    ra_deg: Floats
    dec_deg: Floats
    rate_ra_deg_day: Floats
    rate_dec_deg_day: Floats
    epoch_mjd: Floats
    mag_r: Floats


_AMPLITUDE_OF_BAND = np.array([1.2, 1.15, 0.85, 0.65, 0.55, 0.5])


def make_truth(rng: np.random.Generator, count: int, *, first_mjd: float, days: float) -> Truth:
    """Draw `count` objects.

    Parameters
    ----------
    first_mjd, days
        Time span of the survey (MJD, TAI), in which supernovae peak.
    """
    ra, dec = cap_points(rng, count, CENTER_RA_DEG, CENTER_DEC_DEG, RADIUS_DEG)
    is_star = rng.random(count) < _STAR_FRACTION
    i_mag = np.where(is_star, _power_law(rng, count, 0.17), _power_law(rng, count, 0.35))
    redshift = np.where(is_star, 0.0, _redshifts(rng, i_mag))
    mag = np.where(
        is_star[:, None],
        i_mag[:, None] + _star_colors(rng, count),
        i_mag[:, None] + _galaxy_colors(rng, redshift),
    )
    radius = np.where(is_star, 0.0, _galaxy_radii(rng, i_mag))
    kind, period, amplitude, phase = _variability(rng, is_star, first_mjd, days)
    parent = _blend(rng, ra, dec, i_mag)
    # Ids grow with position on the sky, as in a survey that numbers by tract and patch.
    order = np.lexsort((ra, np.floor(dec * 10)))
    patch = np.floor((dec[order] + 90) * 10).astype(np.int64)
    object_id = (1 << 60) + (patch << 40) + np.arange(count, dtype=np.int64) * 16
    rank = np.empty(count, dtype=np.int64)
    rank[order] = np.arange(count)
    new_parent = np.where(parent >= 0, rank[np.maximum(parent, 0)], -1)
    return Truth(
        object_id=object_id,
        ra_deg=ra[order],
        dec_deg=dec[order],
        kind=kind[order],
        mag=mag[order],
        radius_arcsec=radius[order],
        axis_ratio=np.where(is_star, 1.0, rng.uniform(0.3, 1.0, count))[order],
        angle_deg=np.where(is_star, 0.0, rng.uniform(0.0, 180.0, count))[order],
        redshift=redshift[order],
        period_day=period[order],
        amplitude_mag=amplitude[order],
        phase=phase[order],
        parent=new_parent[order],
    )


def make_asteroids(
    rng: np.random.Generator, count: int, *, first_mjd: float, days: float
) -> Asteroids:
    """Draw main-belt asteroids; they drift along the ecliptic, here inclined 23 deg to Dec."""
    ra, dec = cap_points(rng, count, CENTER_RA_DEG, CENTER_DEC_DEG, RADIUS_DEG)
    rate = rng.normal(-0.21, 0.03, count)
    angle = np.radians(rng.normal(-21.0, 4.0, count))
    return Asteroids(
        ra_deg=ra,
        dec_deg=dec,
        rate_ra_deg_day=rate * np.cos(angle),
        rate_dec_deg_day=rate * np.sin(angle),
        epoch_mjd=rng.uniform(first_mjd, first_mjd + days, count),
        mag_r=22.5 - rng.exponential(1.2, count),
    )


def _power_law(rng: np.random.Generator, count: int, slope: float) -> Floats:
    """Draw magnitudes with counts growing as 10**(slope * m)."""
    low, high = 10 ** (slope * _BRIGHT), 10 ** (slope * _FAINT)
    return np.log10(rng.uniform(low, high, count)) / slope


def _star_colors(rng: np.random.Generator, count: int) -> Floats:
    """Draw colours relative to i along the stellar locus, blue turn-off to red dwarfs."""
    blue = rng.normal(0.55, 0.25, count)
    red = rng.normal(2.3, 0.45, count)
    g_i = np.clip(np.where(rng.random(count) < 0.45, blue, red), -0.4, 3.4)
    r_i = np.where(g_i < 1.6, 0.25 * g_i, 0.4 + 1.05 * (g_i - 1.6) * 0.95)
    u_g = np.clip(0.8 + 0.95 * g_i, 0.6, 2.8)
    i_z = 0.5 * r_i
    z_y = 0.28 * r_i
    zero = np.zeros(count)
    colors = np.stack([u_g + g_i, g_i, r_i, zero, -i_z, -(i_z + z_y)], axis=1)
    return colors + rng.normal(0.0, 0.015, colors.shape)


def _redshifts(rng: np.random.Generator, i_mag: Floats) -> Floats:
    median = 0.08 * 10 ** (0.11 * (i_mag - 17.0))
    return np.clip(median * rng.lognormal(0.0, 0.4, len(i_mag)), 0.005, 3.0)


def _galaxy_colors(rng: np.random.Generator, redshift: Floats) -> Floats:
    count = len(redshift)
    is_red = rng.random(count) < 0.35
    z = np.minimum(redshift, 1.2)
    g_r = np.where(is_red, 0.75 + 1.6 * np.minimum(z, 0.4), 0.42 + 0.6 * np.minimum(z, 0.5))
    r_i = np.where(is_red, 0.36 + 0.75 * np.maximum(z - 0.35, 0), 0.2 + 0.35 * z)
    u_g = np.where(is_red, 1.7, 0.95) + 0.2 * z
    i_z = 0.6 * r_i
    z_y = 0.4 * r_i
    zero = np.zeros(count)
    colors = np.stack([u_g + g_r + r_i, g_r + r_i, r_i, zero, -i_z, -(i_z + z_y)], axis=1)
    return colors + rng.normal(0.0, 0.07, colors.shape)


def _galaxy_radii(rng: np.random.Generator, i_mag: Floats) -> Floats:
    median = 0.7 * 10 ** (-0.13 * (i_mag - 21.0))
    return np.clip(median * rng.lognormal(0.0, 0.35, len(i_mag)), 0.15, 20.0)


def _variability(
    rng: np.random.Generator, is_star: npt.NDArray[np.bool_], first_mjd: float, days: float
) -> tuple[npt.NDArray[np.int8], Floats, Floats, Floats]:
    """Make 1.5 % of the stars and 1 % of the galaxies vary."""
    count = len(is_star)
    kind = np.where(is_star, Kind.STAR, Kind.GALAXY).astype(np.int8)
    period, amplitude, phase = np.zeros(count), np.zeros(count), rng.random(count)
    draw = rng.random(count)
    for chosen, new, periods, amplitudes in (
        (is_star & (draw < 0.002), Kind.RR_LYRAE, (0.35, 0.75), (0.4, 1.0)),
        (
            is_star & (draw >= 0.002) & (draw < 0.009),
            Kind.ECLIPSING_BINARY,
            (0.3, 8.0),
            (0.1, 0.8),
        ),
        (is_star & (draw >= 0.009) & (draw < 0.015), Kind.LONG_PERIOD, (60.0, 450.0), (0.1, 1.5)),
        (~is_star & (draw < 0.009), Kind.ACTIVE_NUCLEUS, (80.0, 600.0), (0.05, 0.4)),
        (~is_star & (draw >= 0.009) & (draw < 0.01), Kind.SUPERNOVA, (18.0, 35.0), (0.5, 3.0)),
    ):
        number = int(chosen.sum())
        kind[chosen] = new
        period[chosen] = rng.uniform(*periods, number)
        amplitude[chosen] = rng.uniform(*amplitudes, number)
    peaks = kind == Kind.SUPERNOVA
    phase[peaks] = rng.uniform(first_mjd, first_mjd + days, int(peaks.sum()))
    return kind, period, amplitude, phase


def _variation(
    kind: npt.NDArray[np.int8], mjd: float, period: Floats, amplitude: Floats, phase: Floats
) -> Floats:
    turn = np.mod(mjd / np.maximum(period, 1e-3) + phase, 1.0)
    saw_tooth = np.where(turn < 0.15, -0.5 + turn / 0.15, 0.5 - (turn - 0.15) / 0.85) * -1.0
    near_eclipse = np.minimum(np.abs(turn - 0.5), np.minimum(turn, 1 - turn) * 1.6)
    eclipse = np.exp(-((near_eclipse / 0.045) ** 2))
    wave = np.sin(2 * np.pi * turn)
    flicker = (wave + 0.6 * np.sin(5.3 * np.pi * turn + phase * 40) + 0.3 * np.sin(37 * turn)) / 1.9
    since_peak = mjd - phase
    light = np.where(
        since_peak < 0,
        np.exp(-((since_peak / 8.0) ** 2)),
        np.exp(-np.maximum(since_peak, 0) / np.maximum(period, 1e-3)),
    )
    supernova = -2.5 * np.log10(1.0 + amplitude * light)
    return np.select(
        [
            kind == Kind.RR_LYRAE,
            kind == Kind.ECLIPSING_BINARY,
            kind == Kind.LONG_PERIOD,
            kind == Kind.ACTIVE_NUCLEUS,
            kind == Kind.SUPERNOVA,
        ],
        [
            amplitude * saw_tooth,
            amplitude * eclipse,
            0.5 * amplitude * wave,
            amplitude * flicker,
            supernova,
        ],
        0.0,
    )


def _blend(
    rng: np.random.Generator, ra: Floats, dec: Floats, i_mag: Floats
) -> npt.NDArray[np.int64]:
    """Move 4 % of the faint objects close to a brighter one (in place) and say to which."""
    count = len(ra)
    parent = np.full(count, -1, dtype=np.int64)
    bright = np.flatnonzero(i_mag < 20.5)
    faint = np.flatnonzero(i_mag > 20.5)
    if len(bright) == 0 or len(faint) == 0:
        return parent
    moved = rng.choice(faint, size=int(0.04 * len(faint)), replace=False)
    to = rng.choice(bright, size=len(moved))
    distance, angle = (
        rng.uniform(0.8, 3.5, len(moved)) / 3600,
        rng.uniform(0, 2 * np.pi, len(moved)),
    )
    dec[moved] = dec[to] + distance * np.cos(angle)
    ra[moved] = ra[to] + distance * np.sin(angle) / np.cos(np.radians(dec[to]))
    parent[moved] = to
    return parent
