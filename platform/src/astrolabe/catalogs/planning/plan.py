"""From a checked query to the plan that an engine runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from astrolabe.adql.tree import CheckedQuery, TableSource
from astrolabe.catalogs.engine import ArrowScan, FileScan, QueryPlan, Scan
from astrolabe.catalogs.model import CatalogView, PartitionIndex, TableVersion
from astrolabe.catalogs.planning.pruning import Selection, prune
from astrolabe.catalogs.planning.restrictions import ANYTHING, NOTHING, Restriction
from astrolabe.catalogs.planning.sources import restrictions
from astrolabe.core.errors import UnknownTableError
from astrolabe.sky.ranges import limit_ranges
from astrolabe.tables.model import Column, Datatype

__all__ = ["plan_query", "scan_table"]

_MAX_LISTED_GROUPS = 4096
_MAX_SCAN_RANGES = 64

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

    Returns
    -------
    QueryPlan
        Scans hold at least every row that can matter; the engine applies every condition itself.

    Raises
    ------
    UnknownTableError
        Raised if a table is neither in memory nor in the view.
    """
    known = restrictions(checked)
    scans: dict[str, Scan] = {}
    for source in checked.tables:
        data = memory_tables.get(source.key)
        if data is not None:
            scans[source.key] = ArrowScan(data=data)
            continue
        restriction = NOTHING if row_limit == 0 else known.get(source.key, ANYTHING)
        version = _version(source, view)
        scans[source.key] = scan_table(version, restriction, checked.used_columns[source.key])
    return QueryPlan(query=checked, scans=scans, row_limit=row_limit)


def scan_table(
    version: TableVersion, restriction: Restriction, used_columns: frozenset[str]
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
    """
    region = restriction.region if version.positions_sorted else None
    cells = None if region is None else region.ranges()
    selection = prune(version.index, cells=cells, ids=restriction.ids)
    root = version.root.rstrip("/")
    paths = version.index.paths
    return FileScan(
        paths=tuple(f"{root}/{paths[file]}" for file in selection.files.tolist()),
        healpix_ranges=None if cells is None else limit_ranges(cells, _MAX_SCAN_RANGES),
        groups=_listed_groups(version.index, selection),
        estimated_rows=selection.rows,
        estimated_bytes=round(
            selection.size_bytes * _share_of_bytes(version.meta.columns, used_columns)
        ),
    )


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
    starts = index.first_group[selection.files]
    cuts = np.searchsorted(selection.groups, index.first_group[selection.files + 1])
    listed = []
    begin = 0
    for start, end in zip(starts.tolist(), cuts.tolist(), strict=True):
        listed.append(tuple((selection.groups[begin:end] - start).tolist()))
        begin = end
    return tuple(listed)


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
