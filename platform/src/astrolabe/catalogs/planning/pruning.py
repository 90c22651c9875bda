"""From ranges of cells and ids to the files and row groups that can hold them.

Everything is a few calls of NumPy on the partition index; nothing here loops over partitions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from astrolabe.catalogs.model import PartitionIndex
from astrolabe.sky.ranges import Ranges, overlaps_ranges

__all__ = ["Selection", "prune"]

_Int64s = npt.NDArray[np.int64]
_LARGEST = np.iinfo(np.int64).max
_FEW_RANGES = 4


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """Row groups of a table.

    Parameters
    ----------
    files : (f,)
        Numbers of the files that hold them, rising.
    groups : (g,)
        Numbers of the row groups in the whole table, rising.
    rows, size_bytes
        Rows and compressed bytes (of all columns) in them.
    """

    files: _Int64s
    groups: _Int64s
    rows: int
    size_bytes: int


def prune(index: PartitionIndex, *, cells: Ranges | None, ids: Ranges | None) -> Selection:
    """Return the row groups that can hold a row.

    Parameters
    ----------
    index
        The table's partition index.
    cells : (n, 2) or None
        Half-open ranges of ``_healpix_29``, one of which holds every row that matters; `None` for
        anywhere, and for tables that are not sorted by position.
    ids : (m, 2) or None
        Half-open ranges of the main id likewise (one that ends at the largest integer holds that
        too); `None` for any.
    """
    low, high = index.group_id_min, index.group_id_max
    if cells is None:
        if ids is None or low is None or high is None:
            return _selected(index, np.arange(len(index.group_rows)), np.arange(len(index.paths)))
        groups = np.flatnonzero(_may_hold(low, high, ids))
    else:
        files = _overlapping_files(index, cells)
        groups = _expand(index.first_group[files], index.first_group[files + 1])
        first, last = index.group_healpix_min[groups], index.group_healpix_max[groups]
        groups = groups[overlaps_ranges(first, last, cells)]
        if ids is not None and low is not None and high is not None:
            groups = groups[_may_hold(low[groups], high[groups], ids)]
    file_of_group = np.searchsorted(index.first_group, groups, side="right") - 1
    return _selected(index, groups, _distinct(file_of_group))


def _selected(index: PartitionIndex, groups: _Int64s, files: _Int64s) -> Selection:
    rows, size = index.group_rows[groups].sum(), index.group_bytes[groups].sum()
    return Selection(files, groups, int(rows), int(size))


def _overlapping_files(index: PartitionIndex, cells: Ranges) -> _Int64s:
    """Return the numbers of the files whose rows' cells meet the ranges."""
    first, last = index.healpix_min, index.healpix_max
    if not (_is_rising(first) and _is_rising(last)):
        # Files of one pixel that came one after the other overlap.
        return np.flatnonzero(overlaps_ranges(first, last, cells))
    low = np.searchsorted(last, cells[:, 0], side="left")
    high = np.searchsorted(first, cells[:, 1], side="left")
    return _distinct(_expand(low, high))


def _may_hold(low: _Int64s, high: _Int64s, ids: Ranges) -> npt.NDArray[np.bool_]:
    """Tell which intervals ``low..high``, both included, meet the ids."""
    if len(ids) <= _FEW_RANGES:
        found = np.zeros(len(low), dtype=np.bool_)
        for start, end in ids.tolist():
            found |= (high >= start) & ((low < end) if end < _LARGEST else True)
        return found
    found = overlaps_ranges(low, high, ids)
    if ids[-1, 1] == _LARGEST:
        found |= high == _LARGEST
    return found


def _is_rising(values: _Int64s) -> bool:
    return bool((values[1:] >= values[:-1]).all())


def _expand(start: _Int64s, end: _Int64s) -> _Int64s:
    """Return all integers of the half-open ranges, one range after the other."""
    count = np.maximum(end - start, 0)
    total = int(count.sum())
    before = np.cumsum(count) - count
    return np.repeat(start - before, count) + np.arange(total)


def _distinct(rising: _Int64s) -> _Int64s:
    """Return each of the values once; equal values stand together."""
    if not rising.size:
        return rising
    return rising[np.concatenate(([True], rising[1:] != rising[:-1]))]
