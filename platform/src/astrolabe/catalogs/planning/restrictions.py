"""What a condition says of the rows of one table: where they lie and which ids they have."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from astrolabe.sky.ranges import NO_RANGES, Ranges, intersect_ranges, union_ranges
from astrolabe.sky.regions import Intersection, Nothing, Region, Union, Zone

__all__ = ["ANYTHING", "FREE", "IMPOSSIBLE", "NOTHING", "Bounds", "Interval", "Restriction"]

Interval = tuple[float, float]
"""Both ends included; infinite where open."""

_ALL: Interval = (-math.inf, math.inf)


@dataclass(frozen=True, slots=True, eq=False)
class Restriction:
    """Rows outside of this cannot match; everything in it must hold together.

    Parameters
    ----------
    lon, lat
        The position's right ascension (in [0, 360]) and declination are within (degrees, ICRS).
    regions
        The position is in each of them.
    ids : (n, 2) or None
        Half-open ranges, one of which holds the main id; `None` for any id.
    keys
        The same for other integer columns that rows may be found by, by raw name.
    cells : (n, 2) or None
        Half-open ranges of ``_healpix_29``, one of which holds the row; `None` for any.
    footprints
        Raw names of columns of shapes, each with a region that the row's shape meets.
    """

    lon: Interval = _ALL
    lat: Interval = _ALL
    regions: tuple[Region, ...] = ()
    ids: Ranges | None = None
    keys: Mapping[str, Ranges] = field(default_factory=dict)
    cells: Ranges | None = None
    footprints: tuple[tuple[str, Region], ...] = ()

    @property
    def region(self) -> Region | None:
        """Where the rows lie; `None` for anywhere, positions unknown included."""
        parts = list(self.regions)
        if (self.lon, self.lat) != (_ALL, _ALL):
            parts.insert(0, _zone(self.lon, self.lat))
        parts = list(dict.fromkeys(parts))
        if not parts:
            return None
        return parts[0] if len(parts) == 1 else Intersection(parts)

    def met_with(self, other: Restriction) -> Restriction:
        """Return what holds if both hold."""
        keys = dict(self.keys)
        for name, values in other.keys.items():
            keys[name] = intersect_ranges(keys[name], values) if name in keys else values
        return Restriction(
            (max(self.lon[0], other.lon[0]), min(self.lon[1], other.lon[1])),
            (max(self.lat[0], other.lat[0]), min(self.lat[1], other.lat[1])),
            self.regions + other.regions,
            _both(self.ids, other.ids),
            keys,
            _both(self.cells, other.cells),
            tuple(dict.fromkeys(self.footprints + other.footprints)),
        )


ANYTHING = Restriction()
"""Every row may match."""

NOTHING = Restriction(regions=(Nothing(),), ids=NO_RANGES)
"""No row can match."""


def _both(first: Ranges | None, second: Ranges | None) -> Ranges | None:
    if first is None or second is None:
        return second if first is None else first
    return intersect_ranges(first, second)


def _zone(lon: Interval, lat: Interval) -> Region:
    west, east = max(lon[0], 0.0), min(lon[1], 360.0)
    low, high = max(lat[0], -90.0), min(lat[1], 90.0)
    if west > east or low > high:
        return Nothing()
    return Zone(west, east - west, low, high)


def _joined(alternatives: Sequence[Restriction]) -> Restriction:
    """Return what holds if any of the alternatives holds."""
    if len(alternatives) == 1:
        return alternatives[0]
    regions = [alternative.region for alternative in alternatives]
    known = list(dict.fromkeys(region for region in regions if region is not None))
    ids = [alternative.ids for alternative in alternatives if alternative.ids is not None]
    names = set(alternatives[0].keys).intersection(*(other.keys for other in alternatives[1:]))
    anywhere = None in regions
    return Restriction(
        regions=() if anywhere else (known[0] if len(known) == 1 else Union(known),),
        ids=union_ranges(*ids) if len(ids) == len(alternatives) else None,
        keys={name: union_ranges(*(other.keys[name] for other in alternatives)) for name in names},
        footprints=_joined_footprints(alternatives),
    )


def _joined_footprints(alternatives: Sequence[Restriction]) -> tuple[tuple[str, Region], ...]:
    """Return the columns whose shapes meet one region or another in every alternative.

    Of several regions that a shape meets one is taken: it need not meet what they have in common.
    """
    ones = [dict(reversed(alternative.footprints)) for alternative in alternatives]
    columns = [column for column in ones[0] if all(column in other for other in ones)]
    found = []
    for column in columns:
        known = list(dict.fromkeys(one[column] for one in ones))
        found.append((column, known[0] if len(known) == 1 else Union(known)))
    return tuple(found)


@dataclass(frozen=True, slots=True, eq=False)
class Bounds:
    """What a condition says of each table (by `TableSource` key), if it is to hold.

    Parameters
    ----------
    tables
        The restriction of each table; tables that are not named may have any row.
    possible
        Whether the condition can hold at all.
    """

    tables: Mapping[str, Restriction] = field(default_factory=dict)
    possible: bool = True

    @classmethod
    def all_of(cls, terms: Iterable[Bounds]) -> Bounds:
        """Return what holds if all of `terms` hold."""
        tables: dict[str, Restriction] = {}
        for term in terms:
            if not term.possible:
                return IMPOSSIBLE
            for key, restriction in term.tables.items():
                found = tables.get(key)
                tables[key] = restriction if found is None else found.met_with(restriction)
        return Bounds(tables)

    @classmethod
    def any_of(cls, terms: Iterable[Bounds]) -> Bounds:
        """Return what holds if any of `terms` holds."""
        possible = [term for term in terms if term.possible]
        if not possible:
            return IMPOSSIBLE
        keys = set(possible[0].tables).intersection(*(term.tables for term in possible[1:]))
        return Bounds({key: _joined([term.tables[key] for term in possible]) for key in keys})


FREE = Bounds()
"""The condition says nothing of any row."""

IMPOSSIBLE = Bounds(possible=False)
"""The condition never holds."""
