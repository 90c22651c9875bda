"""What readers of the catalog see: a view of all tables, pinned at one generation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from astrolabe.tables.model import SchemaMeta, TableMeta

__all__ = ["CatalogView", "PartitionIndex", "TableVersion"]


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
    """

    meta: TableMeta
    version: int
    snapshot_id: int | None
    root: str
    index: PartitionIndex
    release: str | None = None
    positions_sorted: bool = True


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
