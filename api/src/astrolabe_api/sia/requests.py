"""What an image search asks for (SIA 2.0, section 2.1)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeVar

from astrolabe.core.errors import BadParameterError
from astrolabe.images.regions import SkyRegion, parse_interval, parse_pos
from astrolabe.tables.formats import OutputFormat, resolve_format
from astrolabe_api.common.params import Parameters

__all__ = ["SiaRequest", "read_sia_request"]

_MOST_VALUES: Final = 100
_POL_STATES: Final = frozenset(  # ObsCore 1.1, section 4.19
    (
        "I",
        "Q",
        "U",
        "V",
        "RR",
        "LL",
        "RL",
        "LR",
        "XX",
        "YY",
        "XY",
        "YX",
        "POLI",
        "POLA",
    )
)
_TIMESTAMP: Final = re.compile(
    r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?Z?\Z"  # DALI 1.1, section 3.3.3
)

Interval = tuple[float, float]
_Value = TypeVar("_Value")

_INTERVALS: Final = {
    "BAND": ("m", "pos"),
    "TIME": ("d", "any"),
    "FOV": ("deg", "pos"),
    "SPATRES": ("arcsec", "pos"),
    "SPECRP": ("", "pos"),
    "EXPTIME": ("s", "pos"),
    "TIMERES": ("s", "pos"),
}
_TEXTS: Final = ("COLLECTION", "FACILITY", "INSTRUMENT", "DPTYPE", "TARGET", "FORMAT")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiaRequest:
    """An image search: values of one field are alternatives, all fields must hold.

    Parameters
    ----------
    regions
        POS.
    intervals
        By name of the parameter: both ends included, infinite where open; BAND in metres, TIME in
        days (MJD), FOV in degrees, SPATRES in arcseconds, EXPTIME and TIMERES in seconds.
    texts
        By name of the parameter: COLLECTION FACILITY INSTRUMENT DPTYPE TARGET FORMAT, and POL.
    calib
        CALIB: calibration levels.
    ids
        ID: identifiers of images.
    released
        RELEASEDATE (SIA 2.1): timestamps, `None` where open.
    uploads
        UPLOAD: a table of positions.
    files
        Multipart files by the name of their part.
    maxrec
        Rows to give at most, `None` for the default.
    output
        The form of the answer.
    """

    regions: tuple[SkyRegion, ...] = ()
    intervals: dict[str, tuple[Interval, ...]] = field(default_factory=dict)
    texts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    calib: tuple[int, ...] = ()
    ids: tuple[str, ...] = ()
    released: tuple[tuple[str | None, str | None], ...] = ()
    uploads: tuple[str, ...] = ()
    files: dict[str, Path] = field(default_factory=dict)
    maxrec: int | None = None
    output: OutputFormat


def read_sia_request(given: Parameters) -> SiaRequest:
    """Read an image search from its parameters; unknown ones are ignored.

    Raises
    ------
    BadParameterError
        Raised if a parameter does not fit.
    """
    intervals = {
        name: _each(given, name, _interval_of(name)) for name in _INTERVALS if given.values(name)
    }
    texts = {name: _each(given, name, _text_of(name)) for name in _TEXTS if given.values(name)}
    if given.values("POL"):
        texts["POL"] = _each(given, "POL", _pol)
    maxrec = given.integer("MAXREC")
    if maxrec is not None and maxrec < 0:
        raise BadParameterError(f"MAXREC must be 0 or more, not {maxrec}.")
    return SiaRequest(
        regions=_each(given, "POS", parse_pos),
        intervals={name: values for name, values in intervals.items() if values},
        texts={name: values for name, values in texts.items() if values},
        calib=_each(given, "CALIB", _calib),
        ids=_each(given, "ID", _text_of("ID")),
        released=_each(given, "RELEASEDATE", _time_interval),
        uploads=tuple(value for value in given.values("UPLOAD") if value.strip()),
        files=given.files,
        maxrec=maxrec,
        output=_output(given.single("RESPONSEFORMAT")),
    )


def _each(given: Parameters, name: str, read: Callable[[str], _Value]) -> tuple[_Value, ...]:
    """Read every value of a parameter; empty ones count as not sent."""
    values = dict.fromkeys(v.strip() for v in given.values(name) if v.strip())
    if len(values) > _MOST_VALUES:
        raise BadParameterError(
            f"{name} was given {len(values)} times; {_MOST_VALUES} values are the limit. Query "
            "ivoa.ObsCore over TAP with an uploaded table for more, or send a table of positions "
            "as UPLOAD=positions,param:part."
        )
    return tuple(read(value) for value in values)


def _interval_of(name: str) -> Callable[[str], Interval]:
    unit, kind = _INTERVALS[name]

    def read(text: str) -> Interval:
        low, high = parse_interval(text, name=name, unit=unit)
        if kind == "pos" and high < 0.0:
            raise BadParameterError(f"{name} cannot be negative, as {text[:100]!r} is.")
        return low, high

    return read


def _text_of(name: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if len(text) > 1000 or any(ord(c) < 32 for c in text):
            raise BadParameterError(
                f"{name} must be at most 1000 characters without control characters."
            )
        return text

    return read


def _pol(text: str) -> str:
    state = text.upper()
    if state not in _POL_STATES:
        raise BadParameterError(
            f"POL must be one of {', '.join(sorted(_POL_STATES))}, not {text[:100]!r}; repeat it "
            "for several."
        )
    return state


def _calib(text: str) -> int:
    if text not in {"0", "1", "2", "3", "4"}:
        raise BadParameterError(f"CALIB must be a whole number from 0 to 4, not {text[:100]!r}.")
    return int(text)


def _time_interval(text: str) -> tuple[str | None, str | None]:
    parts = text.split()
    if len(parts) not in {1, 2}:
        raise BadParameterError(
            f"RELEASEDATE must be one or two timestamps such as 2026-01-01T00:00:00, not "
            f"{text[:100]!r}."
        )
    low, high = parts[0], parts[-1]
    return (
        None if low.lower() == "-inf" else _timestamp(low),
        None if high.lower().lstrip("+") == "inf" else _timestamp(high),
    )


def _timestamp(text: str) -> str:
    if _TIMESTAMP.match(text) is None:
        raise BadParameterError(
            f"RELEASEDATE must be a timestamp such as 2026-01-01T00:00:00, not {text[:100]!r}."
        )
    return text.removesuffix("Z")


def _output(wanted: str | None) -> OutputFormat:
    """Return the form of the answer: a VOTable with its rows as text unless told otherwise."""
    output = resolve_format(wanted)
    if output.name != resolve_format(None).name or (wanted is not None and "b2" in wanted.lower()):
        return output
    return replace(resolve_format("votable/td"), mime=output.mime, gzip=output.gzip)
