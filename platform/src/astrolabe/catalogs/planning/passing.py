"""What is known of one table, handed on to the tables that it is joined with.

Values pass through any equality of integer columns.  Places pass between a child table and its
director, widened by the distance that children keep, with the strays that keep it not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from astrolabe.catalogs.model import DirectorLink, TableVersion
from astrolabe.catalogs.planning.conditions import key_columns
from astrolabe.catalogs.planning.lookups import KeyLookup
from astrolabe.catalogs.planning.pruning import prune
from astrolabe.catalogs.planning.restrictions import ANYTHING, Restriction
from astrolabe.catalogs.planning.sources import Known
from astrolabe.sky.cover import Cap, cone_ranges
from astrolabe.sky.healpix import MAX_ORDER, cell_centers, cell_radius_rad
from astrolabe.sky.ranges import (
    NO_RANGES,
    Ranges,
    intersect_ranges,
    normalize_ranges,
    union_ranges,
)
from astrolabe.sky.regions import Circle, Region, Widened

__all__ = ["passed_on", "widened_cells"]

_MOST_CELLS = 32
_MOST_MEMORY_VALUES = 100_000
_FEW_GROUPS = 16


def passed_on(
    known: Known,
    versions: Mapping[str, TableVersion],
    memory_tables: Mapping[str, pa.Table],
    lookup: KeyLookup,
) -> dict[str, Restriction]:
    """Return what is known of each table, by its own conditions and by those of others.

    Parameters
    ----------
    known
        What the query says.
    versions
        By `TableSource` key, the tables of the catalog.
    memory_tables
        By `TableSource` key, the tables whose rows are in memory.
    lookup
        Finds values in indexes.
    """
    found = dict(known.restrictions)
    _pass_values(found, known, versions, memory_tables)
    for key in list(found):
        if key in versions:
            found[key] = _looked_up(found[key], versions[key], lookup)
    _pass_places(found, known, versions, lookup)
    return found


# --- values --------------------------------------------------------------------------------------


def _pass_values(
    found: dict[str, Restriction],
    known: Known,
    versions: Mapping[str, TableVersion],
    memory_tables: Mapping[str, pa.Table],
) -> None:
    for (key, column), partners in known.partners.items():
        version = versions.get(key)
        if version is None or column not in key_columns(version.meta):
            continue
        for partner, name in partners:
            if partner in memory_tables:
                values = _values_in_memory(memory_tables[partner], name)
            else:
                restriction = known.restrictions.get(partner, ANYTHING)
                own = name == versions[partner].meta.id_column
                values = restriction.ids if own else restriction.keys.get(name)
            if values is not None:
                is_id = column == version.meta.id_column
                more = Restriction(ids=values) if is_id else Restriction(keys={column: values})
                found[key] = found.get(key, ANYTHING).met_with(more)


def _values_in_memory(table: pa.Table, column: str) -> Ranges | None:
    """Return the values of an integer column, unless they are very many."""
    if len(table) > _MOST_MEMORY_VALUES or not pa.types.is_integer(table.column(column).type):
        return None
    values = np.asarray(pc.drop_null(table.column(column)).cast(pa.int64()).to_numpy())
    if (values == np.iinfo(np.int64).max).any():
        return None
    return normalize_ranges(np.stack((values, values + 1), axis=1))


def _looked_up(restriction: Restriction, version: TableVersion, lookup: KeyLookup) -> Restriction:
    """Return a restriction with the cells of the values that it names."""
    if not version.positions_sorted:
        return restriction
    values = dict(restriction.keys)
    if restriction.ids is not None and version.meta.id_column is not None:
        values[version.meta.id_column] = restriction.ids
    for column, wanted in values.items():
        cells = None
        if column in version.key_indexes:
            cells = lookup.cells(version.key_indexes[column], wanted)
        elif column == version.meta.id_column:
            cells = _cells_by_limits(version, wanted)
        if cells is not None:
            restriction = restriction.met_with(Restriction(cells=cells))
    return restriction


def _cells_by_limits(version: TableVersion, ids: Ranges) -> Ranges | None:
    """Return the cells of the few row groups that can hold the ids, `None` if they are many."""
    index = version.index
    if index.group_id_min is None:
        return None
    groups = prune(index, cells=None, ids=ids).groups
    if groups.size > _FEW_GROUPS:
        return None
    limits = (index.group_healpix_min[groups], index.group_healpix_max[groups] + 1)
    return normalize_ranges(np.stack(limits, axis=1))


# --- places --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """Rows lie in the region and in the cells (where known), or else in the extra cells."""

    region: Region | None
    cells: Ranges | None
    extra: Ranges

    @property
    def ranges(self) -> Ranges:
        """All of it as ranges of cells."""
        parts = [] if self.region is None else [self.region.ranges()]
        if self.cells is not None:
            parts.append(self.cells)
        main = intersect_ranges(*parts) if len(parts) == 2 else parts[0]
        return union_ranges(main, self.extra)


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """From one table of the query to another."""

    target: str
    link: DirectorLink
    to_child: bool


def _pass_places(
    found: dict[str, Restriction],
    known: Known,
    versions: Mapping[str, TableVersion],
    lookup: KeyLookup,
) -> None:
    steps: dict[str, list[_Step]] = {}
    for start, step in _steps(known, versions):
        steps.setdefault(start, []).append(step)
    arrived: dict[str, Restriction] = {}
    for origin in steps:
        restriction = found.get(origin, ANYTHING)
        place = _Place(restriction.region, restriction.cells, NO_RANGES)
        if place.region is None and place.cells is None:
            continue
        places: dict[str, _Place | None] = {origin: place}
        todo = [origin]
        for start in todo:
            here = places[start]
            for step in steps.get(start, ()) if here is not None else ():
                if here is None or step.target in places:
                    continue
                there = _stepped(here, step, lookup)
                places[step.target] = there
                if there is not None:
                    todo.append(step.target)
                    more = Restriction(cells=there.ranges)
                    arrived[step.target] = arrived.get(step.target, ANYTHING).met_with(more)
    for key, restriction in arrived.items():
        found[key] = found.get(key, ANYTHING).met_with(restriction)


def _steps(known: Known, versions: Mapping[str, TableVersion]) -> Iterator[tuple[str, _Step]]:
    """Yield each (start, step) by which a place can pass."""
    for (key, column), partners in known.partners.items():
        for partner, name in partners:
            target, start = versions.get(key), versions.get(partner)
            if target is None or start is None:
                continue
            for link in target.links:
                if _is_of(link, start) and (link.key, link.director_key) == (column, name):
                    yield partner, _Step(key, link, to_child=True)
            for link in start.links:
                if _is_of(link, target) and (link.key, link.director_key) == (name, column):
                    yield partner, _Step(key, link, to_child=False)


def _is_of(link: DirectorLink, director: TableVersion) -> bool:
    """Tell whether a link is to this version: another may have its rows elsewhere."""
    return link.table == director.meta.qualified_name and link.version == director.version


def _stepped(place: _Place, step: _Step, lookup: KeyLookup) -> _Place | None:
    """Return where the rows are that belong to rows of a place; `None` for anywhere."""
    bound = step.link.bound_deg
    region = None if place.region is None else _widened(place.region, bound)
    cells = None if place.cells is None else widened_cells(place.cells, bound)
    extra = widened_cells(place.extra, bound)
    strays = lookup.cells(
        step.link.strays if step.to_child else step.link.stray_directors, place.ranges
    )
    if (region is None and cells is None) or extra is None or strays is None:
        return None
    return _Place(region, cells, union_ranges(extra, strays))


def _widened(region: Region, by_deg: float) -> Region:
    if isinstance(region, Circle) and region.radius_deg + by_deg <= 180.0:
        return Circle(region.ra_deg, region.dec_deg, region.radius_deg + by_deg)
    return Widened(region, by_deg)


def widened_cells(cells: Ranges, by_deg: float) -> Ranges | None:
    """Return the cells within a distance (degrees) of a few ranges; `None` for too many ranges."""
    if len(cells) > _MOST_CELLS:
        return None
    found = [NO_RANGES]
    for start, end in cells.tolist():
        depth = ((start ^ (end - 1)).bit_length() + 1) // 2
        if depth > MAX_ORDER:
            return None  # from one face of HEALPix to another
        order, pixel = MAX_ORDER - depth, start >> (2 * depth)
        center = cell_centers(order, np.array([pixel]))[0]
        radius = cell_radius_rad(order) * 1.01 + np.radians(by_deg)
        found.append(cone_ranges(Cap(center, float(radius))))
    return union_ranges(*found)
