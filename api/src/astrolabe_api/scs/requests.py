"""What a cone search asks for (Simple Cone Search 1.03, section 2.1, and 1.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import IntEnum

from astrolabe.core.errors import BadParameterError
from astrolabe.tables.formats import OutputFormat, resolve_format
from astrolabe_api.common.params import Parameters

__all__ = ["MAX_RADIUS_DEG", "ConeRequest", "Verbosity", "read_cone_request"]

MAX_RADIUS_DEG = 180.0
"""The largest search radius: the whole sky."""

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\Z")
_SEXAGESIMAL = re.compile(r"[0-9]+([: ]|[hd])[0-9]")


class Verbosity(IntEnum):
    """How many columns are wanted."""

    MAIN = 1
    PRINCIPAL = 2
    ALL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ConeRequest:
    """A cone and how the answer is to be given.

    Parameters
    ----------
    ra_deg, dec_deg
        ICRS position of the centre, 0 to 360 and -90 to 90; finite.
    radius_deg
        Radius, 0 to 180; with 0 the table is only described.
    verbosity
        How many columns are wanted.
    maxrec
        Rows to give at most, `None` for the default.
    output
        The form of the answer.
    """

    ra_deg: float
    dec_deg: float
    radius_deg: float
    verbosity: Verbosity = Verbosity.PRINCIPAL
    maxrec: int | None = None
    output: OutputFormat


def read_cone_request(given: Parameters) -> ConeRequest:
    """Read a cone search from its parameters; unknown ones are ignored.

    Raises
    ------
    BadParameterError
        Raised if RA, DEC or SR is missing, or a parameter does not fit.
    """
    return ConeRequest(
        ra_deg=_degrees(given, "RA", 0.0, 360.0),
        dec_deg=_degrees(given, "DEC", -90.0, 90.0),
        radius_deg=_degrees(given, "SR", 0.0, MAX_RADIUS_DEG),
        verbosity=_verbosity(given.integer("VERB")),
        maxrec=_maxrec(given.integer("MAXREC")),
        output=_output(given.response_format()),
    )


def _degrees(given: Parameters, name: str, low: float, high: float) -> float:
    text = given.single(name)
    if text is None:
        raise BadParameterError(
            f"The parameter {name} is missing: a cone search needs RA, DEC and SR in decimal "
            "degrees (ICRS)."
        )
    stripped = text.strip()
    # Python's own float() would also take nan, inf and 1_0.
    if not _NUMBER.match(stripped):
        hint = "; convert sexagesimal positions" if _SEXAGESIMAL.search(stripped) else ""
        raise BadParameterError(
            f"{name} must be a number of decimal degrees, not {stripped[:100]!r}{hint}."
        )
    value = float(stripped)
    if not low <= value <= high:
        raise BadParameterError(
            f"{name} must be between {low:g} and {high:g} degrees, not {stripped[:100]}."
        )
    return value


def _verbosity(value: int | None) -> Verbosity:
    if value is None:
        return Verbosity.PRINCIPAL
    try:
        return Verbosity(value)
    except ValueError as exc:
        raise BadParameterError(
            f"VERB must be 1 (identifier and position), 2 (the main columns) or 3 (all columns), "
            f"not {value}."
        ) from exc


def _maxrec(value: int | None) -> int | None:
    if value is not None and value < 0:
        raise BadParameterError(f"MAXREC must be 0 or more, not {value}.")
    return value


def _output(wanted: str | None) -> OutputFormat:
    """Return the form of the answer: a VOTable has its rows as text unless told otherwise.

    Clients made for cone search read no other kind, and ``text/xml`` is a media type that every
    version of the standard allows.
    """
    output = resolve_format(wanted)
    default = resolve_format(None)
    if output.name != default.name or (wanted is not None and _names_encoding(wanted)):
        return output
    mime = "text/xml" if wanted is None else output.mime
    return replace(resolve_format("votable/td"), mime=mime, gzip=output.gzip)


def _names_encoding(wanted: str) -> bool:
    return "b2" in wanted.lower() or "serialization" in wanted.lower()
