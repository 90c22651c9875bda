"""What readers of the catalog see: a view of all tables, pinned at one generation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from astrolabe.tables.model import SchemaMeta, TableMeta

__all__ = [
    "INDEX_FIRST_CELL",
    "INDEX_SPAN",
    "STRAY_BOUND",
    "STRAY_KEY",
    "CatalogView",
    "DirectorLink",
    "FootprintIndex",
    "KeyIndex",
    "PartitionIndex",
    "RowFilter",
    "StrayFootprints",
    "TableVersion",
]

INDEX_FIRST_CELL = "_healpix_29"
INDEX_SPAN = "_healpix_29_span"
"""Columns of a key index: the first cell of an entry's rows, and how far the last one lies on."""

STRAY_KEY = "cell"
"""Key of the indexes of strays: the cell of a stray or of its director's row."""


STRAY_BOUND = "bound_deg"
"""Column of the lists of stray footprints: how far each reaches from its row's position."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PartitionIndex:
    """Where the rows of one snapshot lie: one entry a file, and row groups below it.

    Files are sorted by `pixel_start`; so are row groups within and across files.

    Parameters
    ----------
    paths
        Of the files, relative to the version's root.
    order, pixel : (f,)
        The HEALPix pixel (NESTED) of each file.
    rows, size_bytes : (f,)
        Rows and bytes of each file.
    healpix_min, healpix_max : (f,)
        Smallest and largest ``_healpix_29`` in each file, both included.
    first_group : (f + 1,)
        Row groups of file i are entries ``first_group[i]:first_group[i + 1]`` below.
    group_rows, group_bytes : (g,)
        Rows and compressed bytes of each row group.
    group_healpix_min, group_healpix_max : (g,)
        Smallest and largest ``_healpix_29`` in each row group, both included.
    group_id_min, group_id_max : (g,)
        Smallest and largest value of the main id (int64), `None` where there is no integer id.
    """

    paths: tuple[str, ...]
    order: npt.NDArray[np.uint8]
    pixel: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    size_bytes: npt.NDArray[np.int64]
    healpix_min: npt.NDArray[np.int64]
    healpix_max: npt.NDArray[np.int64]
    first_group: npt.NDArray[np.int64]
    group_rows: npt.NDArray[np.int64]
    group_bytes: npt.NDArray[np.int64]
    group_healpix_min: npt.NDArray[np.int64]
    group_healpix_max: npt.NDArray[np.int64]
    group_id_min: npt.NDArray[np.int64] | None = None
    group_id_max: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeyIndex:
    """Where the rows of each value of an integer column lie: entries sorted by that column.

    Its files are Parquet with the column `column`, `INDEX_FIRST_CELL` and `INDEX_SPAN`; a
    value may have several entries, one for each place where its rows are.

    Parameters
    ----------
    column
        Name of the column in the files.
    root
        Absolute path of the folder that the paths of the partition index are relative to.
    load
        Gives the partition index of the files, whose ids are the values.
    """

    column: str
    root: str
    load: Callable[[], PartitionIndex]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DirectorLink:
    """How far rows lie from the rows of another table that they belong to.

    It is true for one version of the director only.

    Parameters
    ----------
    table, version
        Qualified raw name of the director, and the version that was looked at.
    key, director_key
        The columns that are equal where rows belong together.
    bound_deg
        Each row lies within this distance (degrees) of its director's row, but for the strays.
    strays, stray_directors
        For the cell of a director's row the cells of its strays, and for the cell of a stray that
        of its director's row; `None` where there are no strays.
    """

    table: str
    version: int
    key: str
    director_key: str
    bound_deg: float
    strays: KeyIndex | None = None
    stray_directors: KeyIndex | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StrayFootprints:
    """Shapes that reach further from their rows' positions than nearly all others.

    Parameters
    ----------
    cells : (n,)
        Cells of the rows at order 29.
    centers : (n, 3)
        Their centres as unit vectors.
    bound_deg : (n,)
        How far each reaches at most (degrees); 180 where that is not known.
    """

    cells: npt.NDArray[np.int64]
    centers: npt.NDArray[np.float64]
    bound_deg: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FootprintIndex:
    """How far the shapes in a column reach from the positions of their rows.

    Parameters
    ----------
    bound_deg
        Each shape lies within this distance (degrees) of its row's position, but for the strays.
    load_strays
        Gives the strays.
    """

    bound_deg: float
    load_strays: Callable[[], StrayFootprints | None]


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Which rows of a table a caller may see: those with one of some values in a text column."""

    column: str
    values: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TableVersion:
    """One immutable version of a table.

    Parameters
    ----------
    meta
        Its columns and description.
    version
        Number of the version, from 1.
    snapshot_id
        Iceberg snapshot, `None` for an empty table that has none.
    root
        Absolute path of the HATS catalog folder of this version (the one with ``dataset/``).
    release
        Name of the release that the version belongs to, if any.
    index
        Its partition index.
    positions_sorted
        Whether files are sorted by ``_healpix_29`` (false for tables without positions).
    key_indexes
        By raw column name, where the rows of a value lie.
    links
        The tables whose children its rows are.
    footprints
        By raw column name, how far the shapes in it reach.
    row_filter
        The only rows that may be read, `None` for all.
    """

    meta: TableMeta
    version: int
    snapshot_id: int | None
    root: str
    index: PartitionIndex
    release: str | None = None
    positions_sorted: bool = True
    key_indexes: Mapping[str, KeyIndex] = field(default_factory=dict)
    links: tuple[DirectorLink, ...] = ()
    footprints: Mapping[str, FootprintIndex] = field(default_factory=dict)
    row_filter: RowFilter | None = None


class CatalogView(Protocol):
    """All tables as they were at one generation; immutable, cheap to keep."""

    @property
    def generation(self) -> int:
        """The catalog's generation; grows with every published change."""

    @property
    def schemas(self) -> tuple[SchemaMeta, ...]:
        """Every schema but TAP_SCHEMA, in display order."""

    def table(self, schema: str, name: str) -> TableVersion | None:
        """Return the current version of the table of exactly these raw names."""
