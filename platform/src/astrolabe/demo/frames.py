"""Drawing what the simulated telescope saw: one frame of pixels with its mask and variance.

Noise is drawn so that a point source fitted in a frame has just the uncertainty that the tables
give it; variable sources have the brightness of the frame's time in visits, their mean in coadds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag
from typing import Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.wcs import WCS

from astrolabe.demo.camera import (
    COADD_ARCSEC,
    DETECTOR_PIXELS,
    PATCH_MARGIN,
    PATCH_PIXELS,
    PIXEL_ARCSEC,
    coadd_wcs_cards,
    detector_wcs_cards,
)
from astrolabe.demo.drawing import PaintedSources, paint
from astrolabe.demo.light import GaussianMix, de_vaucouleurs, exponential, point_spread
from astrolabe.demo.measure import coadd_depth, flux_njy, moving_objects
from astrolabe.demo.sphere import separation_deg
from astrolabe.demo.survey import SEED, Survey
from astrolabe.demo.truth import Kind, Truth

__all__ = ["Frame", "MaskBit", "coadd_noise_njy", "draw_coadd", "draw_visit", "wcs_of"]

Floats = npt.NDArray[np.float64]
Image = npt.NDArray[np.float32]
Cards = dict[str, str | int | float]


class MaskBit(IntFlag):
    """What a bit of a mask means."""

    BAD = 1
    SAT = 2
    CR = 4
    EDGE = 8
    DETECTED = 16


_SATURATION_NJY: Final = 5.0e4
"""Brightest pixel of a visit."""
_VISIT_GAIN, _COADD_GAIN = 6.0, 1.5
"""Variance (nJy^2) for each nJy of a source's light, as in the errors of the tables."""
_EDGE_PIXELS: Final = 8
_COSMIC_RAYS: Final = 25
_NUCLEUS_SHARE: Final = 0.4
"""Share of an active galaxy's mean light that comes from its nucleus."""
_LEAST_SIGMA: Final = 0.03
"""Light is painted down to this share of the noise in a pixel."""
_PIXEL_VARIANCE: Final = 1 / 12
_RED_G_I: Final = 1.5
"""Galaxies redder than this are drawn as bulges, others as disks (AB mag, g - i)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One frame, and what its header says.

    Parameters
    ----------
    image : (height, width) float32
        Background-subtracted, nJy a pixel; NaN where there is none.
    mask : (height, width) int16
        See `MaskBit`.
    variance : (height, width) float32
        nJy^2 a pixel.
    sky_variance
        That of the empty sky.
    wcs_cards
        Where it lies.
    seeing_arcsec
        Full width at half maximum of point sources.
    """

    image: Image
    mask: npt.NDArray[np.int16]
    variance: Image
    sky_variance: float
    wcs_cards: Cards
    seeing_arcsec: float


def wcs_of(cards: Cards) -> WCS:
    """Return the WCS of header cards."""
    header = fits.Header()
    header.update(cards)
    return WCS(header)


def draw_coadd(survey: Survey, patch: int, band: int, *, side: int | None = None) -> Frame:
    """Draw one patch of the central tract in one band.

    Parameters
    ----------
    side
        Draw only so many pixels around the middle, for tests; the whole patch by default.
    """
    cards, size = _middle(coadd_wcs_cards(patch), PATCH_PIXELS + 2 * PATCH_MARGIN, side)
    seeing, spread, sky = _coadd_quality(survey, band)
    wcs = wcs_of(cards)
    rows = _near(survey.truth.ra_deg, survey.truth.dec_deg, wcs, size)
    model = np.zeros((size, size), np.float32)
    flux = flux_njy(survey.truth.mag[rows, band])
    _paint_truth(model, survey.truth, rows, flux, flux, wcs, spread, sky)
    rng = np.random.default_rng((SEED, 21, patch, band))
    image, variance = _expose(model, sky, _COADD_GAIN, rng)
    mask = _detected(model, sky)
    # A pixel here is as large as 6.25 of a visit: what was too bright there.
    too_bright = model > _SATURATION_NJY * (COADD_ARCSEC / PIXEL_ARCSEC) ** 2
    mask[too_bright] |= MaskBit.SAT
    return Frame(
        image=image,
        mask=mask,
        variance=variance,
        sky_variance=sky,
        wcs_cards=cards,
        seeing_arcsec=seeing,
    )


def coadd_noise_njy(survey: Survey, band: int) -> float:
    """Return the standard deviation of the empty sky in a pixel of the coadds (nJy)."""
    return float(np.sqrt(_coadd_quality(survey, band)[2]))


def draw_visit(survey: Survey, number: int, detector: int, *, side: int | None = None) -> Frame:
    """Draw one detector of one visit.

    Parameters
    ----------
    number
        Row of the visit in `Survey.visits`.
    side
        Draw only so many pixels around the middle, for tests; the whole detector by default.
    """
    visits, truth = survey.visits, survey.truth
    pointing = visits.pointing(number)
    cards, size = _middle(detector_wcs_cards(detector, pointing), DETECTOR_PIXELS, side)
    seeing, band = float(visits.seeing_arcsec[number]), int(visits.band[number])
    spread = point_spread().scaled(seeing / PIXEL_ARCSEC).widened(_PIXEL_VARIANCE)
    sky = (float(flux_njy(visits.depth_mag[number])) / 5) ** 2 / spread.noise_area
    wcs = wcs_of(cards)
    model = np.zeros((size, size), np.float32)
    rows = _near(truth.ra_deg, truth.dec_deg, wcs, size)
    mean = flux_njy(truth.mag[rows, band])
    now = flux_njy(truth.magnitude_at(rows, band, float(visits.mid_mjd[number])))
    _paint_truth(model, truth, rows, mean, now, wcs, spread, sky)
    ra, dec, flux = moving_objects(survey.asteroids, visits, number)
    near = _near(ra, dec, wcs, size)
    _paint_points(model, ra[near], dec[near], flux[near], wcs, spread, sky)
    rng = np.random.default_rng((SEED, 22, number, detector))
    image, variance = _expose(model, sky, _VISIT_GAIN, rng)
    mask = _detected(model, sky)
    _add_cosmic_rays(image, mask, sky, rng)
    _saturate(image, mask)
    _spoil_columns(image, mask, detector)
    for edge in (np.s_[:_EDGE_PIXELS], np.s_[-_EDGE_PIXELS:]):
        mask[edge] |= MaskBit.EDGE
        mask[:, edge] |= MaskBit.EDGE
    return Frame(
        image=image,
        mask=mask,
        variance=variance,
        sky_variance=sky,
        wcs_cards=cards,
        seeing_arcsec=seeing,
    )


def _coadd_quality(survey: Survey, band: int) -> tuple[float, GaussianMix, float]:
    """Return seeing (arcsec), point-spread function and sky variance of the coadds of a band."""
    visits = survey.visits
    of_band = visits.band == band
    seeing = float(np.median(visits.seeing_arcsec[of_band])) if of_band.any() else 1.0
    spread = point_spread().scaled(seeing / COADD_ARCSEC).widened(_PIXEL_VARIANCE)
    noise = float(flux_njy(coadd_depth(visits)[band])) / 5
    return seeing, spread, noise**2 / spread.noise_area


def _middle(cards: Cards, full: int, side: int | None) -> tuple[Cards, int]:
    """Return cards and size of the square of `side` pixels in the middle."""
    if side is None or side >= full:
        return cards, full
    cut = (full - side) // 2
    shifted: Cards = {
        name: float(cards[name]) - cut  # both are numbers: pixels
        for name in ("CRPIX1", "CRPIX2")
    }
    return cards | shifted, side


def _near(ra_deg: Floats, dec_deg: Floats, wcs: WCS, size: int) -> npt.NDArray[np.int64]:
    """Return the rows whose light may reach the frame."""
    middle = wcs.all_pix2world([[(size - 1) / 2] * 2, [0, 0]], 0)
    reach = separation_deg(middle[1:, 0], middle[1:, 1], middle[0, 0], middle[0, 1])[0] + 30 / 3600
    close = np.flatnonzero(np.abs(dec_deg - middle[0, 1]) <= reach)
    away = separation_deg(ra_deg[close], dec_deg[close], middle[0, 0], middle[0, 1])
    rows: npt.NDArray[np.int64] = close[away <= reach]
    return rows


def _paint_truth(
    model: Image,
    truth: Truth,
    rows: npt.NDArray[np.int64],
    mean: Floats,
    now: Floats,
    wcs: WCS,
    spread: GaussianMix,
    sky: float,
) -> None:
    """Paint stars and galaxies; what varies in a galaxy is a point at its centre."""
    kind = truth.kind[rows]
    is_point = truth.radius_arcsec[rows] == 0
    host = np.where(kind == Kind.ACTIVE_NUCLEUS, 1 - _NUCLEUS_SHARE, 1.0) * mean
    points = is_point | (now != host)
    some = rows[points]
    flux = np.where(is_point, now, now - host)[points]
    _paint_points(model, truth.ra_deg[some], truth.dec_deg[some], flux, wcs, spread, sky)
    is_bulge = truth.mag[rows, 1] - truth.mag[rows, 3] > _RED_G_I
    for profile, chosen in (
        (de_vaucouleurs(), ~is_point & is_bulge),
        (exponential(), ~is_point & ~is_bulge),
    ):
        sources = _ellipses(truth, rows[chosen], host[chosen], wcs)
        paint(model, sources, profile=profile, spread=spread, least=_LEAST_SIGMA * np.sqrt(sky))


def _paint_points(
    model: Image,
    ra_deg: Floats,
    dec_deg: Floats,
    flux: Floats,
    wcs: WCS,
    spread: GaussianMix,
    sky: float,
) -> None:
    x, y = _pixels(wcs, ra_deg, dec_deg)
    none = np.zeros(len(x))
    sources = PaintedSources(x=x, y=y, flux=flux, xx=none, xy=none, yy=none)
    paint(model, sources, profile=None, spread=spread, least=_LEAST_SIGMA * np.sqrt(sky))


def _pixels(wcs: WCS, ra_deg: Floats, dec_deg: Floats) -> tuple[Floats, Floats]:
    if len(ra_deg) == 0:  # astropy's inversion of a distortion needs one point at least
        return np.empty(0), np.empty(0)
    x, y = wcs.all_world2pix(ra_deg, dec_deg, 0, tolerance=1e-7)
    return x, y


def _ellipses(truth: Truth, rows: npt.NDArray[np.int64], flux: Floats, wcs: WCS) -> PaintedSources:
    """Return galaxies with their shapes turned from the sky to the pixels."""
    ra, dec = truth.ra_deg[rows], truth.dec_deg[rows]
    x, y = _pixels(wcs, ra, dec)
    second = 1 / 3600
    east_x, east_y = _pixels(wcs, ra + second / np.cos(np.radians(dec)), dec)
    north_x, north_y = _pixels(wcs, ra, dec + second)
    angle = np.radians(truth.angle_deg[rows])
    major = truth.radius_arcsec[rows]
    minor = major * truth.axis_ratio[rows]
    # The ends of both half axes, in pixels.
    u_x = major * (np.sin(angle) * (east_x - x) + np.cos(angle) * (north_x - x))
    u_y = major * (np.sin(angle) * (east_y - y) + np.cos(angle) * (north_y - y))
    v_x = minor * (np.cos(angle) * (east_x - x) - np.sin(angle) * (north_x - x))
    v_y = minor * (np.cos(angle) * (east_y - y) - np.sin(angle) * (north_y - y))
    return PaintedSources(
        x=x, y=y, flux=flux, xx=u_x**2 + v_x**2, xy=u_x * u_y + v_x * v_y, yy=u_y**2 + v_y**2
    )


def _expose(model: Image, sky: float, gain: float, rng: np.random.Generator) -> tuple[Image, Image]:
    variance = (sky + gain * np.maximum(model, 0)).astype(np.float32)
    noise = rng.standard_normal(model.shape, dtype=np.float32)
    return model + noise * np.sqrt(variance), variance


def _detected(model: Image, sky: float) -> npt.NDArray[np.int16]:
    return np.where(model > np.sqrt(sky), MaskBit.DETECTED, 0).astype(np.int16)


def _add_cosmic_rays(
    image: Image, mask: npt.NDArray[np.int16], sky: float, rng: np.random.Generator
) -> None:
    """Add straight tracks, one pixel wide, as many on an area as on a whole detector."""
    height, width = image.shape
    count = rng.poisson(_COSMIC_RAYS * image.size / DETECTOR_PIXELS**2)
    length = 2.0 + rng.exponential(10.0, count)
    angle = rng.uniform(0, 2 * np.pi, count)
    charge = np.sqrt(sky) * (10 + rng.exponential(40.0, count))
    x0, y0 = rng.uniform(0, width, count), rng.uniform(0, height, count)
    steps = np.arange(0.0, 60.0, 0.5)
    x = np.floor(x0[:, None] + steps * np.cos(angle)[:, None]).astype(np.int64)
    y = np.floor(y0[:, None] + steps * np.sin(angle)[:, None]).astype(np.int64)
    hit = (steps < length[:, None]) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    # Two steps may fall into one pixel: it is hit once.
    pixels, first = np.unique((y * width + x)[hit], return_index=True)
    light = np.broadcast_to(charge[:, None], hit.shape)[hit][first]
    image.reshape(-1)[pixels] += light.astype(np.float32)
    mask.reshape(-1)[pixels] |= MaskBit.CR


def _saturate(image: Image, mask: npt.NDArray[np.int16]) -> None:
    """Clip what is too bright; the charge beyond runs over along the columns."""
    excess = np.maximum(image - _SATURATION_NJY, 0)
    height = image.shape[0]
    for column in np.flatnonzero(excess.any(axis=0)):
        rows = np.flatnonzero(excess[:, column])
        # Stars one above the other are separate runs of pixels.
        for run in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1):
            spill = int(np.ceil(excess[run, column].sum() / _SATURATION_NJY / 2))
            first, last = max(run[0] - spill, 0), min(run[-1] + spill + 1, height)
            image[first:last, column] = _SATURATION_NJY
            mask[first:last, column] |= MaskBit.SAT


def _spoil_columns(image: Image, mask: npt.NDArray[np.int16], detector: int) -> None:
    """Take out the two columns that are bad on this detector in every visit."""
    rng = np.random.default_rng((SEED, 23, detector))
    columns = rng.choice(image.shape[1], size=2, replace=False)
    mask[:, columns] |= MaskBit.BAD
    image[:, columns] = np.nan
