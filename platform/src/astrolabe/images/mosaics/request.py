"""What a request for a mosaic asks for."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from astrolabe.core.errors import BadParameterError
from astrolabe.images.model import ImageKey, check_collection_name, parse_image_did
from astrolabe.images.regions import SkyRegion, parse_interval, parse_pos
from astrolabe.images.soda.given import Given, read_number

__all__ = [
    "FLUX_UNITS",
    "PROJECTIONS",
    "Combine",
    "MosaicRequest",
    "Resampling",
    "read_mosaic_request",
]

PROJECTIONS: Final = ("TAN", "SIN", "ARC", "STG", "ZEA")
"""Zenithal ones, which are good around one place; any other by the parameter WCS."""
_BAND_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.+-]{0,31}\Z")
_FINEST_ARCSEC, _COARSEST_ARCSEC = 1e-3, 3600.0
_LONGEST_WCS: Final = 20_000
_MOST_BITS: Final = 1 << 31
FLUX_UNITS: Final = {unit.lower(): unit for unit in ("nJy", "uJy", "mJy", "Jy", "nanomaggy")}
"""Units of flux that a mosaic can have, by what they are in small letters."""
_BRIGHTEST_ZERO_POINT, _FAINTEST_ZERO_POINT = -50.0, 100.0


class Combine(StrEnum):
    """How the values of several images in a pixel become one."""

    WEIGHTED = "weighted"
    MEAN = "mean"
    MEDIAN = "median"
    SUM = "sum"


class Resampling(StrEnum):
    """How a value between pixels is found; the names are those of `reproject`."""

    NEAREST = "nearest-neighbor"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"


@dataclass(frozen=True, slots=True, kw_only=True)
class MosaicRequest:
    """One mosaic.

    Parameters
    ----------
    keys
        ID: the images, instead of a collection.
    collection
        COLLECTION: where images of the region are looked for.
    region
        POS, CIRCLE or POLYGON: what the mosaic covers; `None` where a WCS says it.
    label
        The region in the words of the request.
    band
        BAND as a name: images of it.
    wavelengths
        BAND as an interval: images that meet it (m).
    time
        TIME: images that meet it (MJD, UTC).
    scale_arcsec
        SCALE: side of a pixel; `None` for that of the finest image.
    projection
        PROJECTION: one of `PROJECTIONS`.
    wcs_text
        WCS: cards of a FITS header that say the grid, with NAXIS1 and NAXIS2.
    combine
        COMBINE; `None` for weighted means where all images have variances, else plain ones.
    resampling
        RESAMPLING.
    mask_bits
        MASKBITS: pixels whose mask has one of these bits are left out; `None` for those that the
        header of the mask names as without good data.
    scale_flux
        SCALE_FLUX: ``NONE``, ``NATIVE``, a unit of flux in any case or a zero point (mag); `None`
        for the images' own scale if they agree, else nJy.
    match_background
        BACKGROUND: whether a constant is taken from each image so that they agree where they
        overlap.
    """

    keys: tuple[ImageKey, ...]
    collection: str | None
    region: SkyRegion | None
    label: str
    band: str | None
    wavelengths: tuple[float, float] | None
    time: tuple[float, float] | None
    scale_arcsec: float | None
    projection: str
    wcs_text: str | None
    combine: Combine | None
    resampling: Resampling
    mask_bits: int | None
    scale_flux: str | None = None
    match_background: bool = False


def read_mosaic_request(pairs: Iterable[tuple[str, str]], *, authority: str) -> MosaicRequest:
    """Read a request from its parameters; unknown ones are ignored.

    Raises
    ------
    BadParameterError
        Raised if a parameter is missing or does not fit.
    """
    given = Given(pairs)
    keys = {key.folded: key for key in (_key(text, authority) for text in given.values("ID"))}
    collection = given.single("COLLECTION")
    if bool(keys) == bool(collection):
        raise BadParameterError(
            "Give either COLLECTION, whose images of the region are taken, or ID once for each "
            "image (obs_publisher_did in ivoa.ObsCore)."
        )
    label, region = _region(given)
    wcs_text = given.single("WCS")
    if wcs_text is not None and len(wcs_text) > _LONGEST_WCS:
        raise BadParameterError(f"WCS has more than {_LONGEST_WCS} characters.")
    if (region is None) == (wcs_text is None):
        raise BadParameterError(
            "Give the region by one of POS, CIRCLE and POLYGON (ICRS degrees), or the grid by WCS "
            "(cards of a FITS header with NAXIS1 and NAXIS2), not both."
        )
    if wcs_text is not None and (given.single("SCALE") or given.single("PROJECTION")):
        raise BadParameterError("WCS says scale and projection itself: leave out the parameters.")
    band, wavelengths = _band(given.single("BAND"))
    time = given.single("TIME")
    return MosaicRequest(
        keys=tuple(keys.values()),
        collection=None if collection is None else check_collection_name(collection),
        region=region,
        label=label or "WCS",
        band=band,
        wavelengths=wavelengths,
        time=None if time is None else parse_interval(time, name="TIME", unit="d"),
        scale_arcsec=_scale(given.single("SCALE")),
        projection=_one_of("PROJECTION", given.single("PROJECTION"), PROJECTIONS) or "TAN",
        wcs_text=wcs_text,
        combine=_combine(given.single("COMBINE")),
        resampling=_resampling(given.single("RESAMPLING")),
        mask_bits=_bits(given.single("MASKBITS")),
        scale_flux=_scale_flux(given.single("SCALE_FLUX")),
        match_background=_one_of("BACKGROUND", given.single("BACKGROUND"), ("NONE", "MATCH"))
        == "MATCH",
    )


def _key(text: str, authority: str) -> ImageKey:
    try:
        return parse_image_did(text, authority=authority)
    except BadParameterError as exc:
        raise BadParameterError(f"ID: {exc.message}") from exc


def _region(given: Given) -> tuple[str, SkyRegion | None]:
    found = [(f"POS={value}", value) for value in given.values("POS")]
    for shape in ("CIRCLE", "POLYGON"):
        found += [(f"{shape}={value}", f"{shape} {value}") for value in given.values(shape)]
    if len(found) > 1:
        raise BadParameterError("A mosaic covers one region: give one of POS, CIRCLE and POLYGON.")
    return (found[0][0][:200], parse_pos(found[0][1])) if found else ("", None)


def _band(text: str | None) -> tuple[str | None, tuple[float, float] | None]:
    if text is None:
        return None, None
    if _BAND_NAME.match(text) and text.lower().lstrip("+-") not in {"inf", "nan"}:
        return text, None
    return None, parse_interval(text, name="BAND", unit="m")


def _scale(text: str | None) -> float | None:
    if text is None:
        return None
    scale = read_number("SCALE", text)
    if not _FINEST_ARCSEC <= scale <= _COARSEST_ARCSEC:
        raise BadParameterError(
            f"SCALE is the side of a pixel in arcseconds, {_FINEST_ARCSEC:g} to "
            f"{_COARSEST_ARCSEC:g}, not {text[:40]}."
        )
    return scale


def _combine(text: str | None) -> Combine | None:
    name = _one_of("COMBINE", text, tuple(part.value.upper() for part in Combine))
    return None if name is None else Combine(name.lower())


def _resampling(text: str | None) -> Resampling:
    name = _one_of("RESAMPLING", text, tuple(part.name for part in Resampling))
    return Resampling.BILINEAR if name is None else Resampling[name]


def _scale_flux(text: str | None) -> str | None:
    if text is None or text.upper() in {"NONE", "NATIVE"}:
        return None if text is None else text.upper()
    if text.lower() in FLUX_UNITS:
        return text.lower()
    try:
        zero_point = read_number("SCALE_FLUX", text)
    except BadParameterError:
        zero_point = math.inf
    if not _BRIGHTEST_ZERO_POINT <= zero_point <= _FAINTEST_ZERO_POINT:
        raise BadParameterError(
            f"SCALE_FLUX is NONE, NATIVE, one of {', '.join(FLUX_UNITS.values())}, or a zero point "
            f"from {_BRIGHTEST_ZERO_POINT:g} to {_FAINTEST_ZERO_POINT:g} mag, not {text[:100]!r}."
        )
    return text


def _one_of(name: str, text: str | None, known: tuple[str, ...]) -> str | None:
    if text is None or text.upper() in known:
        return None if text is None else text.upper()
    raise BadParameterError(f"{name} is one of {', '.join(known)}, not {text[:100]!r}.")


def _bits(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text) < _MOST_BITS):
        raise BadParameterError(
            "MASKBITS is the sum of the bits that exclude a pixel, a whole number from 0 to "
            f"{_MOST_BITS - 1}, not {text[:40]!r}."
        )
    return int(text)
