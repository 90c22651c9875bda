"""Looking values up in the indexes of a version: the only part of planning that reads files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa

from astrolabe.catalogs.model import INDEX_FIRST_CELL, INDEX_SPAN, KeyIndex, PartitionIndex
from astrolabe.catalogs.planning.pruning import Selection, prune
from astrolabe.sky.ranges import NO_RANGES, Ranges, in_ranges, normalize_ranges

__all__ = ["KeyLookup", "RowGroups", "groups_by_file"]

_MOST_GROUPS = 256
_LARGEST = np.iinfo(np.int64).max


class RowGroups(Protocol):
    """Reads row groups of Parquet files, with a cache."""

    def read(
        self, paths: Sequence[str], groups: Sequence[Sequence[int]], columns: Sequence[str]
    ) -> pa.Table:
        """Read `columns` of the row groups ``groups[i]`` of ``paths[i]`` (one path or more)."""


class KeyLookup:
    """Finds the cells of values.

    Parameters
    ----------
    row_groups
        Reads the indexes; `None` where they are not to be read, so that nothing is ever known.
    """

    def __init__(self, row_groups: RowGroups | None) -> None:
        self._row_groups = row_groups

    def cells(self, index: KeyIndex | None, values: Ranges) -> Ranges | None:
        """Return where the rows of some values lie.

        Parameters
        ----------
        index
            Where to look; `None` for an index without entries.
        values : (n, 2)
            Half-open ranges of values; one that ends at the largest integer holds that, too.

        Returns
        -------
        (m, 2) or None
            Half-open ranges of ``_healpix_29`` that hold every such row; `None` if looking them
            up would take too long.
        """
        if index is None or not len(values):
            return NO_RANGES
        if self._row_groups is None:
            return None
        part = index.load()
        selection = prune(part, cells=None, ids=values)
        if not selection.groups.size:
            return NO_RANGES
        if selection.groups.size > _MOST_GROUPS:
            return None
        rows = self._row_groups.read(
            [f"{index.root}/{part.paths[file]}" for file in selection.files.tolist()],
            groups_by_file(part, selection),
            [index.column, INDEX_FIRST_CELL, INDEX_SPAN],
        )
        keys = rows.column(index.column).to_numpy()
        chosen = in_ranges(keys, values)
        if values[-1, 1] == _LARGEST:
            chosen |= keys == _LARGEST
        first = rows.column(INDEX_FIRST_CELL).to_numpy()[chosen]
        span = rows.column(INDEX_SPAN).to_numpy()[chosen]
        return normalize_ranges(np.stack((first, first + span + 1), axis=1))


def groups_by_file(index: PartitionIndex, selection: Selection) -> tuple[tuple[int, ...], ...]:
    """Return, for each file of a selection, the numbers of its row groups within the file."""
    starts = index.first_group[selection.files]
    cuts = np.searchsorted(selection.groups, index.first_group[selection.files + 1])
    listed = []
    begin = 0
    for start, end in zip(starts.tolist(), cuts.tolist(), strict=True):
        listed.append(tuple((selection.groups[begin:end] - start).tolist()))
        begin = end
    return tuple(listed)
