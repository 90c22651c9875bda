"""Where the pixels of the simulated camera and of the coadds lie on the sky.

The camera's round field is paved with square detectors, 10 x 10 but for the corners that no light
reaches.  Its optics stretch the field a little with the distance from the axis, which the images
say by SIP polynomials (Shupe et al. 2005, ASPC 347, 491) around the axis, and `pixels_of` here by
the same formula: tables and images agree.

Coadds are made on tracts of one square degree in the plane that touches the sphere at the survey's
centre, each of 4 x 4 patches.  Only the central tract has images.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from astrolabe.demo.sphere import tangent_plane_deg, tangent_plane_sky
from astrolabe.demo.truth import CENTER_DEC_DEG, CENTER_RA_DEG

__all__ = [
    "CENTRAL_TRACT",
    "COADD_ARCSEC",
    "DETECTORS_ON_SIDE",
    "DETECTOR_PIXELS",
    "FIELD_RADIUS_DEG",
    "PATCHES_ON_SIDE",
    "PATCH_MARGIN",
    "PATCH_PIXELS",
    "PIXEL_ARCSEC",
    "coadd_wcs_cards",
    "detector_of",
    "detector_sky",
    "detector_wcs_cards",
    "detector_xy",
    "patch_of",
    "tract_of",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Cards = dict[str, str | int | float]

FIELD_RADIUS_DEG: Final = 0.53
"""Radius of the camera's round field."""
PIXEL_ARCSEC: Final = 0.2
DETECTOR_PIXELS: Final = 2048
DETECTORS_ON_SIDE: Final = 10
_DISTORTION: Final = 0.004 / (FIELD_RADIUS_DEG * 3600 / PIXEL_ARCSEC) ** 2
"""Relative stretch per squared pixel from the axis: 0.4 % at the edge of the field, 38 pixels."""

COADD_ARCSEC: Final = 0.5
_TRACT_PIXELS: Final = 7200
PATCHES_ON_SIDE: Final = 4
PATCH_PIXELS: Final = _TRACT_PIXELS // PATCHES_ON_SIDE
PATCH_MARGIN: Final = 40
"""Pixels by which the image of a patch reaches over its border on each side."""
_TRACTS_ON_SIDE: Final = 7
CENTRAL_TRACT: Final = _TRACTS_ON_SIDE**2 // 2


def detector_xy(
    ra_deg: Floats, dec_deg: Floats, pointing: tuple[float, float, float]
) -> tuple[Ints, Floats, Floats]:
    """Return the detector under each position, and the pixel there.

    Parameters
    ----------
    ra_deg, dec_deg : (n,)
        ICRS.
    pointing
        ICRS right ascension, declination, and rotation of the camera (degrees, east of north).

    Returns
    -------
    detector : (n,) int64
        Row times 10 plus column in the camera.
    x, y : (n,)
        Column and row on the detector, 0 at the centre of the first pixel.
    """
    u, v = _focal_plane(ra_deg, dec_deg, pointing)
    half = DETECTORS_ON_SIDE // 2
    column = np.clip(np.floor(u / DETECTOR_PIXELS), -half, half - 1)
    row = np.clip(np.floor(v / DETECTOR_PIXELS), -half, half - 1)
    number = (row + half) * DETECTORS_ON_SIDE + column + half
    return (
        number.astype(np.int64),
        u - column * DETECTOR_PIXELS - 0.5,
        v - row * DETECTOR_PIXELS - 0.5,
    )


def detector_of(
    ra_deg: Floats, dec_deg: Floats, pointing: tuple[float, float, float]
) -> npt.NDArray[np.int64]:
    """Return the detector under each position; see `detector_xy`."""
    return detector_xy(ra_deg, dec_deg, pointing)[0]


def detector_sky(
    detector: Ints, x: Floats, y: Floats, pointing: tuple[float, float, float]
) -> tuple[Floats, Floats]:
    """Return ICRS positions (degrees) of pixels: the inverse of `detector_xy`."""
    row, column = np.divmod(detector, DETECTORS_ON_SIDE)
    half = DETECTORS_ON_SIDE // 2
    u = x + 0.5 + (column - half) * DETECTOR_PIXELS
    v = y + 0.5 + (row - half) * DETECTOR_PIXELS
    stretch = (1 + _DISTORTION * (u**2 + v**2)) * PIXEL_ARCSEC / 3600
    sine, cosine = np.sin(np.radians(pointing[2])), np.cos(np.radians(pointing[2]))
    return tangent_plane_sky(
        (-cosine * u + sine * v) * stretch,
        (sine * u + cosine * v) * stretch,
        pointing[0],
        pointing[1],
    )


def detector_wcs_cards(detector: int, pointing: tuple[float, float, float]) -> Cards:
    """Return the WCS of a detector's image: TAN with SIP, both ways, around the camera's axis."""
    ra_deg, dec_deg, rotation_deg = pointing
    row, column = divmod(detector, DETECTORS_ON_SIDE)
    half = DETECTORS_ON_SIDE // 2
    scale = PIXEL_ARCSEC / 3600
    sine, cosine = np.sin(np.radians(rotation_deg)), np.cos(np.radians(rotation_deg))
    cards: Cards = {
        "CTYPE1": "RA---TAN-SIP",
        "CTYPE2": "DEC--TAN-SIP",
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        "CRPIX1": 0.5 - (column - half) * DETECTOR_PIXELS,
        "CRPIX2": 0.5 - (row - half) * DETECTOR_PIXELS,
        "CRVAL1": ra_deg,
        "CRVAL2": dec_deg,
        "CD1_1": -scale * cosine,
        "CD1_2": scale * sine,
        "CD2_1": scale * sine,
        "CD2_2": scale * cosine,
        "RADESYS": "ICRS",
    }
    # u -> u (1 + k r^2), and back by the series of its inverse up to the seventh order.
    k = _DISTORTION
    return (
        cards | _radial("A", "B", {1: k}) | _radial("AP", "BP", {1: -k, 2: 3 * k**2, 3: -12 * k**3})
    )


def coadd_wcs_cards(patch: int) -> Cards:
    """Return the WCS of a patch of the central tract; all patches share one grid of pixels."""
    row, column = divmod(patch, PATCHES_ON_SIDE)
    scale = COADD_ARCSEC / 3600
    return {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        "CRPIX1": _TRACT_PIXELS / 2 + 0.5 - column * PATCH_PIXELS + PATCH_MARGIN,
        "CRPIX2": _TRACT_PIXELS / 2 + 0.5 - row * PATCH_PIXELS + PATCH_MARGIN,
        "CRVAL1": CENTER_RA_DEG,
        "CRVAL2": CENTER_DEC_DEG,
        "CD1_1": -scale,
        "CD1_2": 0.0,
        "CD2_1": 0.0,
        "CD2_2": scale,
        "RADESYS": "ICRS",
    }


def tract_of(ra_deg: Floats, dec_deg: Floats) -> Ints:
    """Return the tract of each position: rows of 7 from the south, columns from the east."""
    column, row = _tract_plane(ra_deg, dec_deg)
    tract: Ints = (np.floor(row) * _TRACTS_ON_SIDE + np.floor(column)).astype(np.int64)
    return tract


def patch_of(ra_deg: Floats, dec_deg: Floats) -> Ints:
    """Return the patch of each position in its tract: rows of 4, counted as the tracts."""
    column, row = _tract_plane(ra_deg, dec_deg)
    patch: Ints = (
        np.floor(np.mod(row, 1) * PATCHES_ON_SIDE) * PATCHES_ON_SIDE
        + np.floor(np.mod(column, 1) * PATCHES_ON_SIDE)
    ).astype(np.int64)
    return patch


def _tract_plane(ra_deg: Floats, dec_deg: Floats) -> tuple[Floats, Floats]:
    """Return column and row in tracts, as real numbers."""
    east, north = tangent_plane_deg(ra_deg, dec_deg, CENTER_RA_DEG, CENTER_DEC_DEG)
    return _TRACTS_ON_SIDE / 2 - east, _TRACTS_ON_SIDE / 2 + north


def _focal_plane(
    ra_deg: Floats, dec_deg: Floats, pointing: tuple[float, float, float]
) -> tuple[Floats, Floats]:
    """Return the pixels between each position and the camera's axis."""
    east, north = tangent_plane_deg(ra_deg, dec_deg, pointing[0], pointing[1])
    sine, cosine = np.sin(np.radians(pointing[2])), np.cos(np.radians(pointing[2]))
    scale = PIXEL_ARCSEC / 3600
    ideal_u = (-cosine * east + sine * north) / scale
    ideal_v = (sine * east + cosine * north) / scale
    # Solve r (1 + k r^2) = R: three steps of Newton leave nothing at so small a distortion.
    ideal = np.hypot(ideal_u, ideal_v)
    radius = ideal
    for _ in range(3):
        cube = radius**3 * _DISTORTION
        radius = radius - (radius + cube - ideal) / (1 + 3 * _DISTORTION * radius**2)
    shrink = np.divide(radius, ideal, out=np.ones_like(ideal), where=ideal > 0)
    return ideal_u * shrink, ideal_v * shrink


def _radial(u_name: str, v_name: str, terms: dict[int, float]) -> Cards:
    """Return the SIP cards of u (sum of terms[n] r^(2n)), and of v likewise."""
    order = 2 * max(terms) + 1
    cards: Cards = {f"{u_name}_ORDER": order, f"{v_name}_ORDER": order}
    for power, value in terms.items():
        factor = 1
        for index in range(power + 1):
            u, v = 2 * (power - index), 2 * index
            cards[f"{u_name}_{u + 1}_{v}"] = value * factor
            cards[f"{v_name}_{u}_{v + 1}"] = value * factor
            factor = factor * (power - index) // (index + 1)
    return cards
