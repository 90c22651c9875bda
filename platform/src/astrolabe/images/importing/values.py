"""The values of an image's ObsCore columns, from its headers and its WCS."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from astrolabe.core.clock import format_utc
from astrolabe.images.fits.index import PlaneIndex
from astrolabe.images.importing.expressions import (
    MJD_ZERO,
    Headers,
    Value,
    ValueProblemError,
    date_and_time,
)
from astrolabe.images.importing.filters import find_band
from astrolabe.images.importing.mapping import HeaderMapping
from astrolabe.images.importing.placing import place_values
from astrolabe.images.obscore.columns import OBSCORE
from astrolabe.tables.model import Column, Datatype

__all__ = ["obscore_values"]

_COLUMNS: Final[Mapping[str, Column]] = {column.name: column for column in OBSCORE.columns}
_DAY_SECONDS: Final = 86_400.0
_LONGEST_EXPOSURE: Final = 1e9

_UCDS_OF_UNITS: Final = (
    (re.compile(r"\b(adu|dn|counts?|ct|electrons?|photons?)\b|\be-"), "phot.count"),
    (re.compile(r"beam|\bsr\b|arcsec"), "phot.flux.density.sb"),
    (re.compile(r"jy\b|\berg|nmgy|maggy|maggies"), "phot.flux.density"),
    (re.compile(r"\bmag\b"), "phot.mag"),
)


def obscore_values(
    plane: PlaneIndex, headers: Headers, mapping: HeaderMapping
) -> tuple[dict[str, Any], list[str]]:
    """Return what is known of an image, without nulls, and what its importer should know.

    Parameters
    ----------
    plane
        The science plane.
    headers
        Where values are looked up.
    mapping
        How.

    Raises
    ------
    ValueProblemError
        Raised if a value that the collection's mapping asks for does not fit its column.
    """
    values, problem = place_values(plane)
    notes = [] if problem is None else [problem]
    values.update(_from_band(headers, mapping, has_spectrum="em_min" in values))
    for name, expression in mapping.columns.items():
        asked = name in mapping.explicit
        try:
            value = expression.evaluate(headers)
            fitted = None if value is None else _fitted(name, value)
        except ValueProblemError as exc:
            if asked:
                raise ValueProblemError(f"{name}: {exc}") from exc
            notes.append(f"{name} left out: {exc}")
            continue
        if fitted is not None:
            values[name] = fitted
        elif asked:
            values.pop(name, None)
    _complete(values)
    return values, notes


def _from_band(headers: Headers, mapping: HeaderMapping, *, has_spectrum: bool) -> dict[str, Any]:
    """Return the band and its wavelengths, unless the image has a spectral axis."""
    name = mapping.band.evaluate(headers)
    if name is None:
        return {}
    instrument = " ".join(
        str(headers.get(keyword) or "") for keyword in ("INSTRUME", "TELESCOP", "DETECTOR")
    )
    band = find_band(str(name), instrument=instrument, own=mapping.bands)
    if band is None:
        return {"band": str(name)}
    if has_spectrum:
        return {"band": band.name}
    return {
        "band": band.name,
        "em_min": band.em_min,
        "em_max": band.em_max,
        "em_res_power": (band.em_min + band.em_max) / 2 / max(band.em_max - band.em_min, 1e-30),
    }


def _fitted(name: str, value: Value) -> Value | None:
    """Return a value as its column holds it."""
    try:
        return _as_column(_COLUMNS[name], value)
    except ValueError as exc:
        raise ValueProblemError(f"{str(value)[:60]!r} does not fit: {exc}") from exc


def _as_column(column: Column, value: Value) -> Value | None:
    if column.is_timestamp:
        return format_utc(MJD_ZERO + timedelta(days=date_and_time(value)))
    if column.is_string:
        return _text(value)
    number = math.nan if isinstance(value, bool) else float(value)
    if not math.isfinite(number):
        return None
    if column.datatype is Datatype.DOUBLE:
        return _checked(column.name, number)
    if number != int(number):
        raise ValueError("is not a whole number")
    return int(_checked(column.name, number))


def _text(value: Value) -> str | None:
    text = str(value)
    if isinstance(value, float) and value == int(value):
        text = str(int(value))
    return text.strip() or None


def _checked(name: str, number: float) -> float:
    limits = _LIMITS.get(name)
    if limits is not None and not limits[0] <= number <= limits[1]:
        raise ValueError(f"it must be from {limits[0]:g} to {limits[1]:g}")
    return number


_LIMITS: Final[Mapping[str, tuple[float, float]]] = {
    "calib_level": (0, 4),
    "s_ra": (0.0, 360.0),
    "s_dec": (-90.0, 90.0),
    "s_fov": (0.0, 360.0),
    "s_resolution": (0.0, 1e6),
    "s_pixel_scale": (0.0, 1e6),
    "t_min": (-1e6, 1e6),
    "t_max": (-1e6, 1e6),
    "t_exptime": (0.0, _LONGEST_EXPOSURE),
    "em_min": (0.0, 1e9),
    "em_max": (0.0, 1e9),
}


def _complete(values: dict[str, Any]) -> None:
    """Add what follows from other values."""
    t_min, t_max = values.get("t_min"), values.get("t_max")
    seconds = values.get("t_exptime")
    if t_min is not None and t_max is None:
        values["t_max"] = t_min + (seconds or 0.0) / _DAY_SECONDS
    elif t_min is not None and t_max is not None and t_max < t_min:
        # Headers that disagree: the start is what observatories write first.
        values["t_max"] = t_min + (seconds or 0.0) / _DAY_SECONDS
    if values.get("em_min") is not None:
        values.setdefault("em_ucd", "em.wl")
    unit = str(values.get("o_unit", "")).lower()
    ucd = next((ucd for pattern, ucd in _UCDS_OF_UNITS if pattern.search(unit)), None)
    if ucd is not None:
        values.setdefault("o_ucd", ucd)
    values.setdefault("dataproduct_type", "image")
    values.setdefault("calib_level", 2 if "s_ra" in values else 1)
    values.setdefault("t_xel", 1)
    values.setdefault("em_xel", 1)
