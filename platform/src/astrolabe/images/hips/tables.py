"""Density and coverage of tables, from the counts that were taken when they were written."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from mocpy import MOC

from astrolabe.catalogs.count_map import COUNT_ORDER, CountMap
from astrolabe.catalogs.view import TableEntry
from astrolabe.core.errors import NotFoundError
from astrolabe.images.hips.coverage import moc_of_cells
from astrolabe.images.hips.density import DensityMap
from astrolabe.images.obscore.columns import OBSCORE_NAME, OBSCORE_SCHEMA

__all__ = ["TableCoverage", "TableCoverages", "has_coverage"]

_KEPT: Final = 32
_ROWS_OF_THEIR_OWN_RIGHTS: Final = (OBSCORE_SCHEMA.lower(), OBSCORE_NAME.lower())


@dataclass(frozen=True, eq=False)
class TableCoverage:
    """Where the rows of one version of a table are.

    Parameters
    ----------
    counts
        Rows by cell.
    """

    counts: CountMap

    @cached_property
    def density(self) -> DensityMap:
        """The table as a HiPS."""
        return DensityMap(self.counts)

    @cached_property
    def moc(self) -> MOC:
        """The cells that have rows, of order 10."""
        return moc_of_cells(COUNT_ORDER, self.counts.cells)


class TableCoverages:
    """The coverages of tables, the ones last asked for in memory.  Safe to use from many threads.

    It asks nobody for rights: what it is given is what the caller may read.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, TableCoverage] = OrderedDict()

    def of(self, entry: TableEntry) -> TableCoverage:
        """Return the coverage of a table.

        Raises
        ------
        NotFoundError
            Raised if it has no positions, or none that may be shown to who sees only some rows.
        """
        name = entry.meta.adql_name
        if not has_coverage(entry):
            raise NotFoundError(
                f"There is no coverage of {name}: its rows have no positions, or rights of their "
                "own."
            )
        with self._lock:
            found = self._kept.get(entry.root)
            if found is not None:
                self._kept.move_to_end(entry.root)
                return found
        counts = CountMap() if entry.row.row_count == 0 else CountMap.read(Path(entry.root))
        if counts is None:
            raise NotFoundError(
                f"There is no coverage of {name}: it was imported before there was one. The "
                f"operator makes it by `astrolabe table coverage {entry.meta.qualified_name}`."
            )
        made = TableCoverage(counts)
        with self._lock:
            self._kept[entry.root] = made
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return made


def has_coverage(entry: TableEntry) -> bool:
    """Whether a table's rows have places, and whoever may read the table may read all of them."""
    meta = entry.meta
    if (meta.schema.lower(), meta.name.lower()) == _ROWS_OF_THEIR_OWN_RIGHTS:
        return False
    return meta.ra_column is not None and entry.row.positions_sorted
