"""Which rows of a row group a scan may give to a query, before any condition of the query's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from astrolabe.catalogs.engine import FileScan
from astrolabe.catalogs.engines.row_groups import RowGroupReader
from astrolabe.sky.ranges import in_ranges
from astrolabe.tables.arrow import compute as pc
from astrolabe.tables.model import HEALPIX_COLUMN

__all__ = ["chosen_rows", "read_scan"]


def chosen_rows(
    reader: RowGroupReader, scan: FileScan, path: str, group: int
) -> npt.NDArray[np.bool_] | None:
    """Return which rows (n,) of a row group a scan holds; `None` for all of them.

    Parameters
    ----------
    reader
        Reads the columns that this is told by.
    scan
        Says which rows may be seen, and which can matter.
    path, group
        The row group.
    """
    chosen: npt.NDArray[np.bool_] | None = None
    if scan.row_filter is not None:
        name = scan.row_filter.column
        values = reader.read_group(path, group, [name])[name]
        allowed = pa.array(sorted(scan.row_filter.values), pa.string())
        found: Any = pc.is_in(values, value_set=allowed)
        chosen = np.asarray(found.to_numpy(), dtype=np.bool_)
    if scan.costly and scan.healpix_ranges is not None:
        cells = reader.read_group(path, group, [HEALPIX_COLUMN])[HEALPIX_COLUMN]
        near = in_ranges(cells.to_numpy(), scan.healpix_ranges)
        chosen = near if chosen is None else chosen & near
    return chosen


def read_scan(reader: RowGroupReader, scan: FileScan, columns: list[str]) -> pa.Table:
    """Read the rows of a scan whose row groups are listed."""
    groups = scan.groups or ()
    if scan.row_filter is None and not scan.costly:
        return reader.read(scan.paths, groups, columns)
    parts = []
    for path, numbers in zip(scan.paths, groups, strict=True):
        for number in numbers:
            chosen = chosen_rows(reader, scan, path, number)
            if chosen is not None and not chosen.any():
                continue
            rows = pa.table(reader.read_group(path, number, columns))
            parts.append(rows if chosen is None or chosen.all() else rows.filter(pa.array(chosen)))
    if not parts:
        return reader.read(scan.paths, [()] * len(scan.paths), columns)
    return pa.concat_tables(parts)
