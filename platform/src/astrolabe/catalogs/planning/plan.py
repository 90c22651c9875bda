"""From a checked query to the plan that an engine runs."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from astrolabe.adql.tree import CheckedQuery, TableSource
from astrolabe.catalogs.engine import ArrowScan, FileScan, QueryPlan, Scan
from astrolabe.catalogs.model import CatalogView, PartitionIndex, TableVersion
from astrolabe.catalogs.planning.footprints import footprint_cells
from astrolabe.catalogs.planning.lookups import KeyLookup, RowGroups, groups_by_file
from astrolabe.catalogs.planning.pairing import PlannedPair
from astrolabe.catalogs.planning.passing import passed_on
from astrolabe.catalogs.planning.pruning import Selection, prune
from astrolabe.catalogs.planning.restrictions import ANYTHING, NOTHING, Restriction
from astrolabe.catalogs.planning.sources import Known, known_of
from astrolabe.core.errors import UnknownTableError
from astrolabe.sky.ranges import intersect_ranges, limit_ranges
from astrolabe.tables.model import Column, Datatype

__all__ = ["plan_query", "scan_table"]

_MAX_LISTED_GROUPS = 4096
_MAX_SCAN_RANGES = 64
_MAX_FINE_RANGES = 1 << 16

_STRING_BYTES = 12.0
_ARRAY_ELEMENTS = 16.0
_INDEX_BYTES = 8.0
_WIDTH_BYTES = {
    Datatype.BOOLEAN: 0.5,
    Datatype.BIT: 0.5,
    Datatype.UNSIGNED_BYTE: 1.0,
    Datatype.SHORT: 2.0,
    Datatype.INT: 3.0,
    Datatype.LONG: 6.0,
    Datatype.FLOAT: 4.0,
    Datatype.DOUBLE: 8.0,
    Datatype.FLOAT_COMPLEX: 8.0,
    Datatype.DOUBLE_COMPLEX: 16.0,
}


def plan_query(
    checked: CheckedQuery,
    view: CatalogView,
    memory_tables: Mapping[str, pa.Table],
    *,
    row_limit: int | None,
    row_groups: RowGroups | None = None,
    pairs: Mapping[str, PlannedPair] | None = None,
) -> QueryPlan:
    """Say where each table's rows are, as narrowly as the conditions allow.

    Parameters
    ----------
    checked
        The query.
    view
        The catalog as it was when the query was checked.
    memory_tables
        By `TableSource` key, tables whose rows are in memory: uploads and TAP_SCHEMA.
    row_limit
        Rows that the engine is to give at most; `None` for all.
    row_groups
        Reads the indexes of keys; without it ids are found by the partition index only.
    pairs
        By `TableSource` key, tables whose rows are given with those that they make pairs with.

    Returns
    -------
    QueryPlan
        Scans hold at least every row that can matter; the engine applies every condition itself.

    Raises
    ------
    UnknownTableError
        Raised if a table is neither in memory nor in the view.
    """
    versions = {
        source.key: _version(source, view)
        for source in checked.tables
        if source.key not in memory_tables
    }
    known: Mapping[str, Restriction] = {}
    if row_limit != 0:
        said = _with_pairs(known_of(checked), pairs or {})
        known = passed_on(said, versions, memory_tables, KeyLookup(row_groups))
    scans: dict[str, Scan] = {}
    for source in checked.tables:
        pair = (pairs or {}).get(source.key)
        if source.key in memory_tables:
            rows = ArrowScan(data=memory_tables[source.key])
            scans[source.key] = rows if pair is None else pair.scan(rows)
            continue
        restriction = NOTHING if row_limit == 0 else known.get(source.key, ANYTHING)
        used = checked.used_columns[source.key]
        if pair is not None:
            version = versions[source.key]
            scan = scan_table(version, restriction, used | pair.mine.columns, fine=True)
            scans[source.key] = pair.scan(scan)
            continue
        scans[source.key] = scan_table(versions[source.key], restriction, used)
    return QueryPlan(query=checked, scans=scans, row_limit=row_limit)


def scan_table(
    version: TableVersion,
    restriction: Restriction,
    used_columns: frozenset[str],
    *,
    fine: bool = False,
) -> FileScan:
    """Return the scan of one table's files and row groups that a restriction leaves.

    Parameters
    ----------
    version
        The table.
    restriction
        What is known of the rows that matter.
    used_columns
        Raw names of the columns to be read, for the estimate of bytes.
    fine
        Whether each row costs so much that all ranges and row groups are listed.
    """
    cells = None
    if version.positions_sorted:
        region, cells = restriction.region, restriction.cells
        if region is not None:
            within = region.ranges()
            cells = within if cells is None else intersect_ranges(within, cells)
        for column, met in restriction.footprints:
            index = version.footprints.get(column)
            if index is not None:
                near = footprint_cells(index, met)
                cells = near if cells is None else intersect_ranges(near, cells)
    selection = prune(version.index, cells=cells, ids=restriction.ids)
    root = version.root.rstrip("/")
    paths = version.index.paths
    return FileScan(
        paths=tuple(f"{root}/{paths[file]}" for file in selection.files.tolist()),
        healpix_ranges=None
        if cells is None
        else limit_ranges(cells, _MAX_FINE_RANGES if fine else _MAX_SCAN_RANGES),
        costly=bool(restriction.footprints) or fine,
        row_filter=version.row_filter,
        groups=groups_by_file(version.index, selection)
        if fine
        else _listed_groups(version.index, selection),
        estimated_rows=selection.rows,
        estimated_bytes=round(
            selection.size_bytes * _share_of_bytes(version.meta.columns, used_columns)
        ),
    )


def _with_pairs(known: Known, pairs: Mapping[str, PlannedPair]) -> Known:
    """Return what is known of rows, with where those lie that make pairs."""
    restrictions = dict(known.restrictions)
    for key, pair in pairs.items():
        restrictions[key] = restrictions.get(key, ANYTHING).met_with(pair.restriction)
    return Known(restrictions, known.partners)


def _version(source: TableSource, view: CatalogView) -> TableVersion:
    version = view.table(source.table.schema, source.table.name)
    if version is None:
        raise UnknownTableError(f"There is no table {source.table.adql_name} any more.")
    return version


def _listed_groups(
    index: PartitionIndex, selection: Selection
) -> tuple[tuple[int, ...], ...] | None:
    """Return the numbers of the row groups within each file, `None` if they are too many."""
    if selection.groups.size > _MAX_LISTED_GROUPS:
        return None
    return groups_by_file(index, selection)


def _share_of_bytes(columns: tuple[Column, ...], used: frozenset[str]) -> float:
    """Return about which part of a row group's bytes the used columns have.

    The index knows the bytes of whole row groups only; widths by type are near enough to choose
    between two ways of reading.
    """
    widths = {column.name: _width_bytes(column) for column in columns}
    read = sum(width for name, width in widths.items() if name in used)
    return read / (sum(widths.values()) + _INDEX_BYTES)


def _width_bytes(column: Column) -> float:
    if column.is_timestamp:
        return _WIDTH_BYTES[Datatype.LONG]
    if column.is_string:
        return _STRING_BYTES
    return _WIDTH_BYTES[column.datatype] * (_ARRAY_ELEMENTS if column.is_array else 1.0)
