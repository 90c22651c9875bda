"""The grid of pixels of a mosaic: from a region, or from a header that the caller gives."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from astrolabe.core.errors import BadParameterError, ImageInvalidError, TooLargeError
from astrolabe.images.fits.cards import CardValue, FitsHeader, format_card
from astrolabe.images.regions import SkyRegion, outline_points
from astrolabe.images.wcs import ImageWcs
from astrolabe.images.wcs_cards import is_wcs_keyword
from astrolabe.sky.regions import Circle, Polygon
from astrolabe.sky.vectors import FloatArray, unit_vectors

__all__ = ["OutputGrid", "grid_of_header", "grid_of_region", "region_of_grid"]

_MILLION: Final = 1_000_000
_WIDEST_DEG: Final = 60.0
_STRUCTURAL: Final = re.compile(r"(SIMPLE|XTENSION|BITPIX|NAXIS\d*)\Z")
_LINES: Final = 200
_MOST_PIXELS_ON_SIDE: Final = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class OutputGrid:
    """A grid of pixels.

    Parameters
    ----------
    wcs
        Where its pixels are.
    shape
        Pixels along y and x.
    header
        The cards of its WCS.
    """

    wcs: ImageWcs
    shape: tuple[int, int]
    header: FitsHeader

    @property
    def pixels(self) -> int:
        """All of them."""
        return self.shape[0] * self.shape[1]


def grid_of_region(
    region: SkyRegion, *, scale_arcsec: float, projection: str, most_mpix: float
) -> OutputGrid:
    """Return the grid around a region: north up, east to the left, the region's middle at CRVAL.

    Raises
    ------
    BadParameterError
        Raised if the region is too wide for one projection.
    TooLargeError
        Raised if it has too many pixels.
    """
    ra, dec = _outline(region, scale_arcsec)
    points = unit_vectors(ra, dec)
    middle = points.mean(axis=0) if not isinstance(region, Circle) else None
    if isinstance(region, Circle):
        ra0, dec0 = region.ra_deg % 360.0, region.dec_deg
    else:
        assert middle is not None  # noqa: S101 - set just above
        ra0 = math.degrees(math.atan2(middle[1], middle[0])) % 360.0
        dec0 = math.degrees(math.atan2(middle[2], math.hypot(middle[0], middle[1])))
    centre = unit_vectors(np.array([ra0]), np.array([dec0]))[0]
    chord = float(np.linalg.norm(points - centre, axis=1).max())
    if math.degrees(2 * math.asin(min(1.0, chord / 2))) > _WIDEST_DEG / 2:
        raise BadParameterError(
            f"A mosaic covers a region of up to {_WIDEST_DEG:g} degrees; for more make a HiPS."
        )
    scale = scale_arcsec / 3600.0
    cards: dict[str, CardValue] = {
        "CTYPE1": f"RA---{projection}",
        "CTYPE2": f"DEC--{projection}",
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        "CRVAL1": ra0,
        "CRVAL2": dec0,
        "CRPIX1": 1.0,
        "CRPIX2": 1.0,
        "CDELT1": -scale,
        "CDELT2": scale,
        "RADESYS": "ICRS",
    }
    x, y = _wcs(cards, (1, 1)).to_pixel(ra, dec)
    left, low = math.floor(np.nanmin(x) + 0.5), math.floor(np.nanmin(y) + 0.5)
    right, high = math.ceil(np.nanmax(x) - 0.5), math.ceil(np.nanmax(y) - 0.5)
    shape = (max(high - low + 1, 1), max(right - left + 1, 1))
    _check_size(shape, most_mpix)
    cards |= {"CRPIX1": 1.0 - left, "CRPIX2": 1.0 - low}
    return OutputGrid(_wcs(cards, shape), shape, _header(cards))


def grid_of_header(text: str, *, most_mpix: float) -> OutputGrid:
    """Return the grid that the cards of a FITS header mean.

    Parameters
    ----------
    text
        Cards of 80 characters after each other, or one a line.

    Raises
    ------
    BadParameterError
        Raised if they are no WCS of two axes on the sky, or say no size.
    TooLargeError
        Raised if it has too many pixels.
    """
    lines = text.splitlines() if "\n" in text else re.findall(r"(?s).{1,80}", text)
    if len(lines) > _LINES:
        raise BadParameterError(f"WCS has more than {_LINES} cards.")
    if not text.isascii() or any(len(line.rstrip()) > 80 for line in lines):
        raise BadParameterError("WCS: a FITS card has up to 80 ASCII characters.")
    header = FitsHeader(line.rstrip()[:80].ljust(80) for line in lines if line.strip())
    try:
        size = [header.number(name, 0.0) for name in ("NAXIS1", "NAXIS2")]
        if not all(1 <= n <= _MOST_PIXELS_ON_SIDE and n == int(n) for n in size):
            raise BadParameterError("WCS must say the size of the mosaic by NAXIS1 and NAXIS2.")
        shape = (int(size[1]), int(size[0]))
        _check_size(shape, most_mpix)
        own = FitsHeader(
            card
            for keyword, card in zip(header, header.cards, strict=True)
            if is_wcs_keyword(keyword) and not _STRUCTURAL.match(keyword)
        )
        wcs = ImageWcs.from_header(own, shape)
    except ImageInvalidError as exc:
        raise BadParameterError(f"WCS: {exc.message}") from exc
    if wcs is None or not wcs.has_sky:
        reason = "it names no axes (CTYPEn)" if wcs is None else wcs.no_sky_reason
        raise BadParameterError(f"WCS has no place on the sky: {reason}.")
    if wcs.wcs.naxis != 2:
        raise BadParameterError("WCS must have two axes.")
    return OutputGrid(wcs, shape, own)


def region_of_grid(grid: OutputGrid) -> Polygon:
    """Return the polygon that a grid covers."""
    outline = grid.wcs.footprint()
    return Polygon(outline[:, 0].tolist(), outline[:, 1].tolist())


def _outline(region: SkyRegion, scale_arcsec: float) -> tuple[FloatArray, FloatArray]:
    step = max(scale_arcsec / 3600.0, 1e-4)
    ra, dec = outline_points(region, step)
    if not len(ra):
        raise BadParameterError("A mosaic of the whole sky is a HiPS, not one image.")
    known = np.isfinite(ra)
    return ra[known], dec[known]


def _check_size(shape: tuple[int, int], most_mpix: float) -> None:
    if shape[0] * shape[1] > most_mpix * _MILLION:
        raise TooLargeError(
            f"The mosaic would have {shape[1]} x {shape[0]} pixels; at most {most_mpix:g} million "
            "are made (setting images.mosaic_mpix). Ask for a smaller region or a larger SCALE."
        )


def _wcs(cards: dict[str, CardValue], shape: tuple[int, int]) -> ImageWcs:
    wcs = ImageWcs.from_header(_header(cards), shape)
    if wcs is None:
        raise BadParameterError("The grid has no place on the sky.")
    return wcs


def _header(cards: dict[str, CardValue]) -> FitsHeader:
    return FitsHeader(format_card(keyword, value) for keyword, value in cards.items())
