"""What requests to DataLink ask for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from astrolabe.core.errors import BadParameterError
from astrolabe.tables.formats import OutputFormat, resolve_format
from astrolabe_api.common.params import Parameters
from astrolabe_api.datalink.of_rows import NEIGHBOURS_DEG

__all__ = [
    "ConeRequest",
    "Detail",
    "LightCurveRequest",
    "LinksRequest",
    "read_cone",
    "read_light_curve",
    "read_links",
]

_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\Z")
_INFINITE: Final = {"-inf": float("-inf"), "+inf": float("inf"), "inf": float("inf")}
_VOTABLE: Final = frozenset(
    {"votable", "votable/td", "application/x-votable+xml", "text/xml", "xml"}
)
_MOST_CURVES: Final = 1000


class Detail(StrEnum):
    """How many columns are wanted."""

    FULL = "full"
    PRINCIPAL = "principal"
    MINIMAL = "minimal"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinksRequest:
    """Identifiers whose links are wanted.

    Parameters
    ----------
    ids
        Each once, in the order given.
    overflow
        Whether there were more than are answered.
    """

    ids: tuple[str, ...]
    overflow: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LightCurveRequest:
    """Light curves that are wanted.

    Parameters
    ----------
    ids
        Of the rows: identifiers or bare ids.
    table
        The table of measurements, or that of the rows; `None` where the identifiers tell.
    id_column, band_column
        Columns of the table of measurements; `None` for those that it declares.
    bands
        Names of filter bands; all if empty.
    time_mjd
        Ends of an interval, both included.
    detail
        How many columns.
    maxrec
        Rows to give at most, `None` for the default.
    output
        The form of the answer.
    """

    ids: tuple[str, ...]
    table: str | None
    id_column: str | None
    band_column: str | None
    bands: tuple[str, ...]
    time_mjd: tuple[float, float] | None
    detail: Detail
    maxrec: int | None
    output: OutputFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class ConeRequest:
    """Rows around a position.

    Parameters
    ----------
    table
        Name of the table; `None` where the identifier tells.
    row_id
        The row to search around: identifier or bare id.
    centre_deg
        ICRS position to search around; `None` where there is a row.
    radius_deg
        Radius, 0 to 180.
    ra_column, dec_column
        Columns of the position; `None` for the table's own.
    detail, maxrec, output
        As in `LightCurveRequest`.
    """

    table: str | None
    row_id: str | None
    centre_deg: tuple[float, float] | None
    radius_deg: float
    ra_column: str | None
    dec_column: str | None
    detail: Detail
    maxrec: int | None
    output: OutputFormat


def read_links(given: Parameters, *, most: int) -> LinksRequest:
    """Read a request for links; without an identifier it is one for the service's description.

    Parameters
    ----------
    most
        Identifiers to answer.

    Raises
    ------
    BadParameterError
        Raised if RESPONSEFORMAT is no VOTable.
    """
    wanted = given.response_format()
    if wanted is not None and wanted.partition(";")[0].strip().lower() not in _VOTABLE:
        raise BadParameterError(
            f"Links are given as a VOTable only, not as {wanted[:100]!r}; leave RESPONSEFORMAT out."
        )
    ids = tuple(dict.fromkeys(text for v in given.values("ID") if (text := v.strip())))
    if given.integer("MAXREC") == 0:
        ids = ()
    return LinksRequest(ids=ids[:most], overflow=len(ids) > most)


def read_light_curve(given: Parameters) -> LightCurveRequest:
    """Read a request for light curves.

    Raises
    ------
    BadParameterError
        Raised if ID is missing or a parameter does not fit.
    """
    ids = tuple(dict.fromkeys(text for v in given.values("ID") if (text := v.strip())))
    if not ids:
        raise BadParameterError("The parameter ID is missing: the id of a row.")
    if len(ids) > _MOST_CURVES:
        raise BadParameterError(
            f"{len(ids)} light curves are too many for one request, which gives up to "
            f"{_MOST_CURVES}; send them as an upload with a query."
        )
    if given.single("JOIN_TIME_COLUMN") is not None:
        raise BadParameterError(
            "JOIN_TIME_COLUMN is not offered: tables of measurements have their times here; for "
            "other tables join them in a query."
        )
    bands = (
        part.strip() for value in given.values("BAND") for part in value.split(",") if part.strip()
    )
    return LightCurveRequest(
        ids=ids,
        table=given.single("TABLE"),
        id_column=given.single("ID_COLUMN"),
        band_column=given.single("BAND_COLUMN"),
        bands=tuple(band for band in dict.fromkeys(bands) if band.lower() != "all"),
        time_mjd=_interval(given, "TIME"),
        detail=_detail(given),
        maxrec=_maxrec(given),
        output=resolve_format(given.response_format()),
    )


def read_cone(given: Parameters) -> ConeRequest:
    """Read a request for the rows around a row or a position.

    Raises
    ------
    BadParameterError
        Raised if the position is missing or a parameter does not fit.
    """
    row_id = given.single("ID")
    centre = None if row_id is not None else _centre(given)
    radius = _number(given, ("SR", "RADIUS"), 0.0, 180.0)
    return ConeRequest(
        table=given.single("TABLE"),
        row_id=None if row_id is None else row_id.strip(),
        centre_deg=centre,
        radius_deg=NEIGHBOURS_DEG if radius is None else radius,
        ra_column=given.single("RA_COL"),
        dec_column=given.single("DEC_COL"),
        detail=_detail(given),
        maxrec=_maxrec(given),
        output=resolve_format(given.response_format()),
    )


def _centre(given: Parameters) -> tuple[float, float]:
    ra = _number(given, ("RA", "RA_VAL"), 0.0, 360.0)
    dec = _number(given, ("DEC", "DEC_VAL"), -90.0, 90.0)
    if ra is None or dec is None:
        raise BadParameterError(
            "Give the row to search around by ID, or a position by RA and DEC (ICRS, degrees)."
        )
    return ra, dec


def _number(given: Parameters, names: tuple[str, ...], low: float, high: float) -> float | None:
    for name in names:
        text = given.single(name)
        if text is None:
            continue
        if not _NUMBER.match(text.strip()) or not low <= float(text) <= high:
            raise BadParameterError(
                f"{name} must be a number of degrees between {low:g} and {high:g}, not "
                f"{text[:100]!r}."
            )
        return float(text)
    return None


def _interval(given: Parameters, name: str) -> tuple[float, float] | None:
    text = given.single(name)
    if text is None:
        return None
    parts = text.split()
    ends = [
        _INFINITE.get(part.lower(), float(part) if _NUMBER.match(part) else None) for part in parts
    ]
    low, high = ends[0] if ends else None, ends[-1] if ends else None
    if not 1 <= len(parts) <= 2 or low is None or high is None or low > high:
        raise BadParameterError(
            f"{name} must be an interval of MJD such as '60000 60100', not {text[:100]!r}."
        )
    return low, high


def _detail(given: Parameters) -> Detail:
    text = given.single("DETAIL")
    if text is None:
        return Detail.FULL
    try:
        return Detail(text.strip().lower())
    except ValueError as exc:
        raise BadParameterError(
            f"DETAIL must be one of {', '.join(Detail)}, not {text[:100]!r}."
        ) from exc


def _maxrec(given: Parameters) -> int | None:
    value = given.integer("MAXREC")
    if value is not None and value < 0:
        raise BadParameterError(f"MAXREC must be 0 or more, not {value}.")
    return value
