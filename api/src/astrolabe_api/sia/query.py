"""The query of ``ivoa.ObsCore`` that an image search becomes.

Null metadata never satisfy a constraint (SIA 2.0, section 2.1), which is what ADQL does of itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np
import pyarrow as pa

from astrolabe.catalogs.uploads import UPLOAD_SCHEMA, UploadedTable
from astrolabe.core.errors import BadParameterError, UploadInvalidError
from astrolabe.images.model import ImageKey, ImageRecord, parse_image_did
from astrolabe.images.obscore.columns import OBSCORE
from astrolabe.images.obscore.search import footprint_condition
from astrolabe.images.soda.positions import POSITIONS_TABLE, Positions
from astrolabe.tables.model import Column, Datatype, TableMeta
from astrolabe_api.sia.requests import Interval, SiaRequest

__all__ = ["searched_positions", "sia_query"]

FindImages = Callable[[Iterable[ImageKey]], Mapping[tuple[str, str], ImageRecord]]

_OVERLAPPED: Final = {"BAND": ("em_min", "em_max"), "TIME": ("t_min", "t_max")}
_COMPARED: Final = {
    "FOV": "s_fov",
    "SPATRES": "s_resolution",
    "SPECRP": "em_res_power",
    "EXPTIME": "t_exptime",
    "TIMERES": "t_resolution",
}
_TEXTS: Final = {
    "COLLECTION": "obs_collection",
    "FACILITY": "facility_name",
    "INSTRUMENT": "instrument_name",
    "DPTYPE": "dataproduct_type",
    "TARGET": "target_name",
    "FORMAT": "access_format",
}
_NEVER: Final = "1 = 0"
_NEAR_DEG: Final = 1e-6
_POSITIONS: Final = (
    Column(name="ra", datatype=Datatype.DOUBLE, unit="deg"),
    Column(name="dec", datatype=Datatype.DOUBLE, unit="deg"),
    Column(name="radius", datatype=Datatype.DOUBLE, unit="deg"),
)
_AT_POSITIONS: Final = (
    f"EXISTS (SELECT p.ra FROM {UPLOAD_SCHEMA}.{POSITIONS_TABLE} AS p WHERE"  # noqa: S608 - ours
    f" INTERSECTS(CIRCLE(p.ra, p.dec, p.radius), {OBSCORE.adql_name}.s_region) = 1)"
)
_MOST_RADIUS_DEG: Final = 180.0


def sia_query(asked: SiaRequest, *, authority: str, find: FindImages) -> str:
    """Return the search as ADQL.

    Parameters
    ----------
    asked
        The search.
    authority
        Of the platform's identifiers.
    find
        Finds images that the caller may see: where they are lets the planner pass over the rest.
    """
    # Numbers are floats that repr() writes with all their digits, texts are quoted by `_quoted`,
    # and the names are ours: nothing that a user sent can become anything but a literal.
    conditions = [_any(footprint_condition(region) for region in asked.regions)]
    if asked.uploads:
        conditions.append(_AT_POSITIONS)
    for name, values in asked.intervals.items():
        if name in _OVERLAPPED:
            low, high = _OVERLAPPED[name]
            conditions.append(_any(_between(high, low, value) for value in values))
        else:
            column = _COMPARED[name]
            conditions.append(_any(_between(column, column, value) for value in values))
    for name, texts in asked.texts.items():
        if name == "POL":
            # Written as /I/Q/ (ObsCore 1.1, section 4.19).
            conditions.append(_any(f"pol_states LIKE {_quoted(f'%/{p}/%')}" for p in texts))
        else:
            conditions.append(f"{_TEXTS[name]} IN ({', '.join(map(_quoted, texts))})")
    if asked.calib:
        conditions.append(f"calib_level IN ({', '.join(map(str, asked.calib))})")
    if asked.released:
        conditions.append(_any(_released(*value) for value in asked.released))
    if asked.ids:
        conditions.append(_identified(asked.ids, authority, find))
    wanted = [condition for condition in conditions if condition]
    where = f" WHERE {' AND '.join(wanted)}" if wanted else ""
    return f"SELECT * FROM {OBSCORE.adql_name}{where}"  # noqa: S608 - see above


def searched_positions(positions: Positions) -> UploadedTable:
    """Return the circles of a table of positions as the table that the query of a search reads.

    Radii are those of the table, else half of its sizes, else 0. A row without a position finds
    nothing.

    Raises
    ------
    UploadInvalidError
        Raised if a radius is not one of a circle.
    """
    radius = np.zeros(len(positions))
    if positions.size_deg is not None:
        radius = np.where(np.isfinite(positions.size_deg), positions.size_deg / 2.0, radius)
    if positions.radius_deg is not None:
        radius = np.where(np.isfinite(positions.radius_deg), positions.radius_deg, radius)
    wrong = np.flatnonzero((radius < 0.0) | (radius > _MOST_RADIUS_DEG))
    if len(wrong):
        row = int(wrong[0])
        raise UploadInvalidError(
            f"Row {row + 1} of the table of positions has the radius {radius[row]:g}; radii are "
            "degrees from 0 to 180."
        )
    values = (positions.ra_deg, positions.dec_deg, radius)
    names = [column.name for column in _POSITIONS]
    meta = TableMeta(
        schema=UPLOAD_SCHEMA, name=POSITIONS_TABLE, columns=_POSITIONS, row_count=len(positions)
    )
    return UploadedTable(meta=meta, data=pa.table(dict(zip(names, values, strict=True))))


def _any(conditions: Iterable[str]) -> str:
    made = list(conditions)
    return f"({' OR '.join(made)})" if made else ""


def _between(not_below: str, not_above: str, value: Interval) -> str:
    """Say that what lies between two columns has something in common with an interval."""
    low, high = value
    parts = [f"{not_below} >= {low!r}"] if math.isfinite(low) else []
    parts += [f"{not_above} <= {high!r}"] if math.isfinite(high) else []
    if not parts:
        parts = [f"{not_below} IS NOT NULL"]
    return f"({' AND '.join(parts)})"


def _released(low: str | None, high: str | None) -> str:
    parts = [] if low is None else [f"obs_release_date >= {_quoted(low)}"]
    parts += [] if high is None else [f"obs_release_date <= {_quoted(high)}"]
    return f"({' AND '.join(parts or ['obs_release_date IS NOT NULL'])})"


def _identified(ids: tuple[str, ...], authority: str, find: FindImages) -> str:
    """Return the condition for identifiers, which are compared without regard to case."""
    keys = []
    for text in ids:
        try:
            keys.append(parse_image_did(text, authority=authority))
        except BadParameterError:
            continue  # somebody else's: there is no such image here
    found = find(keys)
    conditions = []
    for record in found.values():
        condition = f"obs_publisher_did = {_quoted(record.key.did(authority))}"
        ra, dec = record.obscore.get("s_ra"), record.obscore.get("s_dec")
        if ra is not None and dec is not None:
            near = f"CIRCLE({float(ra)!r}, {float(dec)!r}, {_NEAR_DEG!r})"
            condition = f"({condition} AND CONTAINS(POINT(s_ra, s_dec), {near}) = 1)"
        conditions.append(condition)
    return _any(conditions) or _NEVER


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
