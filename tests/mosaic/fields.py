"""Images of a smooth sky that everything about a mosaic can be computed of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.wcs import WCS

from astrolabe.images.model import ImageRecord, PlaneKind
from tests.support.images import make_record

RA, DEC = 150.0, 2.0
PLANES = {PlaneKind.IMAGE: 1, PlaneKind.MASK: 2, PlaneKind.VARIANCE: 3}


def brightness(ra_deg: npt.NDArray[np.float64], dec_deg: npt.NDArray[np.float64]) -> Any:
    """Return the light of the sky a square arcsecond: waves some arcminutes long."""
    x, y = (ra_deg - RA) * 60, (dec_deg - DEC) * 60
    return 50.0 + 10.0 * np.sin(1.3 * x) * np.cos(0.9 * y + 0.4)


def sky_header(
    *,
    scale_arcsec: float = 2.0,
    angle_deg: float = 0.0,
    dra: float = 0.0,
    ddec: float = 0.0,
    size: int = 120,
    sip: float = 0.0,
) -> fits.Header:
    """Return a WCS around the common place; `sip` is a quadratic distortion."""
    scale, angle = scale_arcsec / 3600, np.radians(angle_deg)
    suffix = "-SIP" if sip else ""
    header = fits.Header()
    header.update(
        {
            "CTYPE1": f"RA---TAN{suffix}",
            "CTYPE2": f"DEC--TAN{suffix}",
            "CRVAL1": RA + dra,
            "CRVAL2": DEC + ddec,
            "CRPIX1": size / 2,
            "CRPIX2": size / 2,
            "CD1_1": -scale * np.cos(angle),
            "CD1_2": scale * np.sin(angle),
            "CD2_1": scale * np.sin(angle),
            "CD2_2": scale * np.cos(angle),
            "RADESYS": "ICRS",
        }
    )
    if sip:
        header.update({"A_ORDER": 2, "B_ORDER": 2, "A_2_0": sip, "B_0_2": sip})
    return header


def pixel_sky(header: fits.Header, size: int) -> tuple[Any, Any]:
    """Return the position of every pixel."""
    y, x = np.mgrid[:size, :size]
    ra, dec = WCS(header).all_pix2world(x.ravel(), y.ravel(), 0)
    return ra.reshape(size, size), dec.reshape(size, size)


def pixel_areas(header: fits.Header, size: int) -> Any:
    """Return the square arcseconds of every pixel, by differences on the sky."""
    y, x = np.mgrid[:size, :size]

    def at(dx: float, dy: float) -> tuple[Any, Any]:
        ra, dec = WCS(header).all_pix2world((x + dx).ravel(), (y + dy).ravel(), 0)
        return ra * np.cos(np.radians(dec)) * 3600, dec * 3600

    (e1, n1), (e2, n2) = at(0.5, 0.0), at(-0.5, 0.0)
    (e3, n3), (e4, n4) = at(0.0, 0.5), at(0.0, -0.5)
    ra, dec = WCS(header).all_pix2world(x.ravel(), y.ravel(), 0)
    del ra, dec
    area = np.abs((e1 - e2) * (n3 - n4) - (e3 - e4) * (n1 - n2))
    return area.reshape(size, size)


def write_field(
    path: Path,
    folder: Path,
    *,
    offset: float = 0.0,
    variance: float = 1.0,
    unit: str = "nJy",
    spots: tuple[tuple[int, int, int], ...] = (),
    planes: bool = True,
    size: int = 120,
    **wcs: float,
) -> ImageRecord:
    """Write an image of the sky; return its record.

    Parameters
    ----------
    offset
        Added to every pixel.
    spots
        Pixels (row, column) that are spoiled, with their bits of the mask.
    planes
        Whether there are a mask and a variance.
    """
    header = sky_header(size=size, **wcs)
    header["BUNIT"] = unit
    ra, dec = pixel_sky(header, size)
    value = brightness(ra, dec) + offset
    if "arcsec" not in unit and "sr" not in unit:
        value = value * pixel_areas(header, size)
    mask = np.zeros((size, size), np.int16)
    for row, column, bits in spots:
        value[row, column] += 1e4
        mask[row, column] = bits
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus.append(fits.ImageHDU(value.astype(np.float32), header, name="IMAGE"))
    if planes:
        mask_header = header.copy()
        mask_header["MP_BAD"], mask_header["MP_SAT"], mask_header["MP_CR"] = 0, 1, 2
        hdus.append(fits.ImageHDU(mask, mask_header, name="MASK"))
        noise = np.full((size, size), variance, np.float32)
        hdus.append(fits.ImageHDU(noise, header, name="VARIANCE"))
    hdus.writeto(path)
    return _record(path, folder, header, unit, planes=planes, size=size)


def write_stars(
    path: Path,
    folder: Path,
    stars: Mapping[tuple[float, float], float],
    *,
    zero_point: float,
    unit: str = "",
    cards: Mapping[str, Any] | None = None,
    level: float = 0.0,
    sigma_njy: float = 10.0,
    size: int = 120,
    **wcs: float,
) -> ImageRecord:
    """Write an image of round stars without noise on an empty sky; return its record.

    Parameters
    ----------
    stars
        Magnitude by position (deg).
    zero_point
        Magnitude of one unit of a pixel.
    cards
        Of the primary header: those that say the zero point.
    level
        Added to every pixel, in the image's unit for a square arcsecond.
    sigma_njy
        What the variances say of each pixel.
    """
    header = sky_header(size=size, **wcs)
    scale = wcs.get("scale_arcsec", 2.0)
    y, x = np.mgrid[:size, :size]
    value = np.full((size, size), level * scale**2)
    for (ra, dec), magnitude in stars.items():
        x0, y0 = (float(n) for n in WCS(header).all_world2pix(ra, dec, 0))
        width = 5.0 / scale  # the same on the sky in all images
        shape = np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * width**2)) / (2 * np.pi * width**2)
        value += 10 ** (0.4 * (zero_point - magnitude)) * shape
    if unit:
        header["BUNIT"] = unit
    hdus = fits.HDUList([fits.PrimaryHDU()])
    hdus[0].header.update(cards or {})
    hdus.append(fits.ImageHDU(value.astype(np.float32), header, name="IMAGE"))
    hdus.append(fits.ImageHDU(np.zeros((size, size), np.int16), header, name="MASK"))
    noise = (sigma_njy * 10 ** (0.4 * (zero_point - 31.4))) ** 2
    hdus.append(fits.ImageHDU(np.full((size, size), noise, np.float32), header, name="VARIANCE"))
    hdus.writeto(path)
    return _record(path, folder, header, unit, planes=True, size=size)


def _record(
    path: Path, folder: Path, header: fits.Header, unit: str, *, planes: bool, size: int
) -> ImageRecord:
    corners = WCS(header).all_pix2world(
        [[-0.5, -0.5], [size - 0.5, -0.5], [size - 0.5, size - 0.5], [-0.5, size - 0.5]], 0
    )
    scale = 3600 * float(np.hypot(header["CD1_1"], header["CD2_1"]))
    return make_record(
        path,
        folder,
        planes=PLANES if planes else {PlaneKind.IMAGE: 1},
        obscore={
            "dataproduct_type": "image",
            "calib_level": 2,
            "o_unit": unit or None,
            "s_region": [float(n) for n in corners.ravel()],
            "s_ra": float(corners[:, 0].mean()),
            "s_dec": float(corners[:, 1].mean()),
            "s_pixel_scale": scale,
            "s_xel1": size,
            "s_xel2": size,
            "band": "r",
            "t_min": 60000.0,
            "t_max": 60000.5,
            "t_exptime": 30.0,
        },
    )
