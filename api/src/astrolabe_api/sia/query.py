"""The query of ``ivoa.ObsCore`` that an image search becomes.

Null metadata never satisfy a constraint (SIA 2.0, section 2.1), which is what ADQL does of itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from astrolabe.core.errors import BadParameterError
from astrolabe.images.model import ImageKey, ImageRecord, parse_image_did
from astrolabe.images.obscore.columns import OBSCORE
from astrolabe.images.obscore.search import footprint_condition
from astrolabe_api.sia.requests import Interval, SiaRequest

__all__ = ["sia_query"]

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
