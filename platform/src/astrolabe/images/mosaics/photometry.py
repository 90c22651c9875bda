"""What the pixels of an image are worth in flux, and how several images come to one scale.

An image says it by its unit (nJy, MJy/sr, nanomaggy) or by a zero point: the magnitude of a source
of one unit.  Both are the same statement, since a flux density in AB magnitudes is
``m = 31.4 - 2.5 log10(f / nJy)``; everything here is kept as zero points.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from astropy import units

from astrolabe.core.errors import BadParameterError
from astrolabe.images.fits.cards import FitsHeader
from astrolabe.images.mosaics.request import FLUX_UNITS

__all__ = ["FluxScale", "FluxScaling", "read_flux_scale", "scale_fluxes"]

_AB: Final = "AB"
_NJY_ZERO_POINT: Final = 31.4
"""AB magnitude of 1 nJy: zero is 10^(-48.6 / 2.5) erg/s/cm2/Hz, as Oke & Gunn (1983) define it."""
_NANOMAGGY_ZERO_POINT: Final = 22.5
_OUTPUT_ZERO_POINTS: Final = {
    "njy": 31.4,
    "ujy": 23.9,
    "mjy": 16.4,
    "jy": 8.9,
    "nanomaggy": _NANOMAGGY_ZERO_POINT,
}
_MAGGIES: Final = {
    "nanomaggy": _NANOMAGGY_ZERO_POINT,
    "nanomaggies": _NANOMAGGY_ZERO_POINT,
    "nmgy": _NANOMAGGY_ZERO_POINT,
    "maggy": 0.0,
    "maggies": 0.0,
    "mgy": 0.0,
}
_ZERO_POINTS: Final = (
    "MAGZERO",
    "MAGZPT",
    "MAGZP",
    "MAGZEROP",
    "ZEROPT",
    "ZEROPNT",
    "PHOTZP",
    "ZPAVE",
    "ZPT",
    "ZP",
)
"""Keywords of zero points, those of DES, ZTF, LSST, Pan-STARRS and amateurs' pipelines."""
_SYSTEMS: Final = ("MAGSYS", "PHOTSYS", "ZPSYS")
_SURFACE: Final = re.compile(r"arcsec|arcmin|\bsr\b|beam|\bdeg", re.IGNORECASE)
_MAGNITUDE: Final = re.compile(r"\bmag\b", re.IGNORECASE)
_SAME_MAG: Final = 1e-6
_CONTRADICTION_MAG: Final = 0.01
_FAINTEST, _BRIGHTEST = -50.0, 100.0
_JY: Final = units.Unit("Jy")
_ARCSEC2: Final = units.Unit("arcsec2")


@dataclass(frozen=True, slots=True)
class FluxScale:
    """What one unit of an image's pixels is.

    Parameters
    ----------
    unit
        As the image says it; may be empty.
    zero_point
        Magnitude of one unit, of a square arcsecond where `surface` is that; `None` if unknown.
    system
        Of the magnitudes, AB for fluxes.
    surface
        What values are divided by: nothing (they are of a pixel), ``arcsec2``, ``beam``, or
        another word of the unit.
    """

    unit: str
    zero_point: float | None
    system: str = _AB
    surface: str = ""

    def agrees(self, other: FluxScale) -> bool:
        """Whether values of both can be combined as they are."""
        if self.surface != other.surface or self.unit.casefold() != other.unit.casefold():
            return False
        if self.zero_point is None or other.zero_point is None:
            return self.zero_point is other.zero_point
        return self.system == other.system and (abs(self.zero_point - other.zero_point) < _SAME_MAG)


@dataclass(frozen=True, slots=True)
class FluxScaling:
    """The scale of a mosaic.

    Parameters
    ----------
    output
        What one unit of its pixels is.
    factors
        By which the pixels of each image are multiplied, in the order of the images; variances by
        the square.
    """

    output: FluxScale
    factors: tuple[float, ...]


def read_flux_scale(
    unit: str | None,
    header: FitsHeader,
    primary: FitsHeader | None,
    *,
    name: str,
    is_trusted: bool = True,
) -> FluxScale:
    """Return what an image's unit and headers say of the flux of its pixels.

    Parameters
    ----------
    unit
        What the collection says; the header's BUNIT where it says nothing.
    header
        Of the science plane.
    primary
        Of the file, for what the plane's own header leaves out.
    name
        Of the image, for messages.
    is_trusted
        Whether a contradiction is an error; else the unit counts.

    Raises
    ------
    BadParameterError
        Raised if values are magnitudes, or if unit and zero point contradict each other.
    """
    headers = [header] if primary is None else [header, primary]
    text = (unit or _first_text(headers, ("BUNIT",)) or "").strip()
    if _MAGNITUDE.search(text):
        raise BadParameterError(f"{name}: values in {text!r} cannot be averaged.")
    by_unit, surface = _of_unit(text)
    by_keyword = _of_keywords(headers)
    system = (_first_text(headers, _SYSTEMS) or _AB).strip().upper()
    if by_unit is None:
        return FluxScale(text, by_keyword, system if by_keyword is not None else _AB, surface)
    if (
        is_trusted
        and by_keyword is not None
        and system == _AB
        and not surface
        and abs(by_keyword - by_unit) > _CONTRADICTION_MAG
    ):
        raise BadParameterError(
            f"{name}: the unit {text!r} means a zero point of {by_unit:.4f}, and the header says "
            f"{by_keyword:.4f}. Give SCALE_FLUX=NONE to combine pixels as they are."
        )
    return FluxScale(text, by_unit, _AB, surface)


def scale_fluxes(
    scales: Sequence[FluxScale], asked: str | None, *, names: Sequence[str]
) -> FluxScaling:
    """Return how images come to one scale.

    Parameters
    ----------
    scales
        Of the images.
    asked
        As in `MosaicRequest.scale_flux`.
    names
        Of the images, for messages.

    Raises
    ------
    BadParameterError
        Raised if the images cannot come to one scale.
    """
    first = scales[0]
    unlike = next((i for i, scale in enumerate(scales) if not scale.agrees(first)), None)
    same = tuple(1.0 for _ in scales)
    if asked == "NONE":
        if unlike is None:
            return FluxScaling(first, same)
        shared = {scale.unit for scale in scales}
        surfaces = {scale.surface for scale in scales}
        if len(surfaces) > 1:
            raise BadParameterError(
                f"Some values are of {_area(first)}, others not: they cannot be combined."
            )
        unit = shared.pop() if len(shared) == 1 else ""
        return FluxScaling(FluxScale(unit, None, surface=surfaces.pop()), same)
    if unlike is None and asked in {None, "NATIVE"}:
        return FluxScaling(first, same)
    if asked == "NATIVE":
        raise BadParameterError(
            f"SCALE_FLUX=NATIVE: {names[0]} has {_described(first)} and {names[unlike or 0]} has "
            f"{_described(scales[unlike or 0])}; give a unit such as nJy, or NONE to combine "
            "pixels as they are."
        )
    output = _output(asked, scales)
    return FluxScaling(
        output,
        tuple(_factor(s, output, n) for s, n in zip(scales, names, strict=True)),
    )


def _output(asked: str | None, scales: Sequence[FluxScale]) -> FluxScale:
    """Return the scale that is asked for."""
    surface = next((scale.surface for scale in scales if scale.surface), "")
    if asked is None or asked in FLUX_UNITS:
        key = asked or "njy"
        unit, zero_point = FLUX_UNITS[key], _OUTPUT_ZERO_POINTS[key]
        return FluxScale(f"{unit}/{surface}" if surface else unit, zero_point, _AB, surface)
    zero_point = float(asked)
    system = next((scale.system for scale in scales if scale.zero_point is not None), _AB)
    return FluxScale("", zero_point, system, surface)


def _factor(scale: FluxScale, output: FluxScale, name: str) -> float:
    if scale.zero_point is None:
        raise BadParameterError(
            f"{name} has {_described(scale)}, so its pixels cannot come to one flux scale with "
            "others. Leave it out, or give SCALE_FLUX=NONE to combine pixels as they are."
        )
    if scale.surface != output.surface:
        raise BadParameterError(
            f"{name} has values of {_area(scale)}, others of {_area(output)}: they cannot be "
            "combined."
        )
    if scale.system != output.system:
        raise BadParameterError(
            f"{name} has a zero point in {scale.system} magnitudes, which is no {output.system} "
            "flux. Give SCALE_FLUX=a zero point if all images are of one system, or NONE to "
            "combine pixels as they are."
        )
    if output.zero_point is None:
        return 1.0
    return float(10.0 ** (0.4 * (output.zero_point - scale.zero_point)))


def _described(scale: FluxScale) -> str:
    unit = f"the unit {scale.unit!r}" if scale.unit else "no unit"
    if scale.zero_point is None:
        return f"{unit} and no zero point"
    return f"{unit}, zero point {scale.zero_point:.4f} ({scale.system})"


def _area(scale: FluxScale) -> str:
    return f"a {scale.surface}" if scale.surface else "a pixel"


def _of_unit(text: str) -> tuple[float | None, str]:
    """Return the zero point that a unit means, `None` if it is no flux, and what it divides by."""
    word = text.lower().replace(" ", "")
    for name, zero_point in _MAGGIES.items():
        if word == name or re.fullmatch(rf"{name}(/pix(el)?|\*pix(el)?-1)", word):
            return zero_point, ""
        if re.fullmatch(rf"{name}/arcsec(\*\*|\^)?2", word):
            return zero_point, "arcsec2"
    found = _SURFACE.search(text)
    surface = found[0].lower().replace("arcsec", "arcsec2") if found else ""
    with warnings.catch_warnings():
        # Headers write units in many ways that no standard knows; those say nothing here.
        warnings.simplefilter("ignore")
        try:
            unit = units.Unit(text, parse_strict="silent") if text else None
        except (ValueError, TypeError):
            unit = None
    if unit is None:
        return None, surface
    for divisor, kind in (
        (units.dimensionless_unscaled, ""),
        (units.Unit("pix"), ""),
        (_ARCSEC2, "arcsec2"),
        (units.Unit("beam"), "beam"),
    ):
        base = _JY / divisor
        if unit.is_equivalent(base):
            njy = float(unit.to(base)) * 1e9
            return (_NJY_ZERO_POINT - 2.5 * math.log10(njy) if njy > 0 else None), kind
    return None, surface


def _of_keywords(headers: Sequence[FitsHeader]) -> float | None:
    """Return the zero point that headers name; the plane's own comes first."""
    for header in headers:
        for keyword in _ZERO_POINTS:
            value = _number(header, keyword)
            if value is not None and _FAINTEST < value < _BRIGHTEST:
                return value
        brightest = _number(header, "FLUXMAG0")  # units of a source of magnitude 0
        if brightest is not None and brightest > 0:
            return 2.5 * math.log10(brightest)
        janskys = _number(header, "PHOTFNU")  # Jy of one unit
        if janskys is not None and janskys > 0:
            return _NJY_ZERO_POINT - 2.5 * math.log10(janskys * 1e9)
    return None


def _number(header: FitsHeader, keyword: str) -> float | None:
    value = header.get(keyword)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def _first_text(headers: Sequence[FitsHeader], keywords: Sequence[str]) -> str | None:
    for header in headers:
        for keyword in keywords:
            value = header.get(keyword)
            if isinstance(value, str) and value.strip():
                return value
    return None
