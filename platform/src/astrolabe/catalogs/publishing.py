"""The contract between what writes a version's files and the store that makes it visible.

A writer asks the store for a lease on one table, writes its files below the lease's folder and
hands over a `StagedVersion`.  Until `WriteLease.publish` has returned, readers see what was there
before; a writer that dies leaves a folder without a row, which the next writer removes.

A table is a HATS collection: ``{tables_root}/{schema}/{table}/`` with ``collection.properties``
and one immutable folder ``vNNNN`` for each version.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from astrolabe.catalogs.model import CatalogView, PartitionIndex, TableVersion
from astrolabe.tables.model import TableMeta

__all__ = ["StagedVersion", "TablePublisher", "WriteLease", "WriteMode"]

WriteMode = Literal["create", "replace", "append"]
"""``create`` needs that the table does not exist; the other two that it does."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StagedVersion:
    """A complete version that nobody sees yet.

    Parameters
    ----------
    meta
        Columns, description and keys; its schema and name are those of the lease.  The row count
        is set by the store from `index`.
    catalog_root
        Absolute path of the HATS catalog folder (the one with ``dataset/``), below the lease's
        `staging_root`; by custom ``staging_root / table``.
    index
        Where the rows lie.  Its `paths` are relative to `catalog_root` and are all the version's
        data files; files hold the columns of `meta` in `storage_type`, nothing that Iceberg lacks,
        and ``_healpix_29`` if `positions_sorted`.
    positions_sorted
        Whether files are sorted and partitioned by ``_healpix_29``.
    margin_root, margin_arcsec
        Absolute path of the margin catalog and its width, if one was written.
    id_indexes
        For each indexed column the absolute path of its HATS index catalog.
    sidecars
        Absolute paths of other folders that readers of the platform need.
    properties
        Anything else that readers need with the version (JSON values only).
    """

    meta: TableMeta
    catalog_root: Path
    index: PartitionIndex
    positions_sorted: bool = True
    margin_root: Path | None = None
    margin_arcsec: float | None = None
    id_indexes: Mapping[str, Path] = field(default_factory=dict)
    sidecars: tuple[Path, ...] = ()
    properties: Mapping[str, object] = field(default_factory=dict)


class WriteLease(Protocol):
    """The right to write one table, kept alive by a heartbeat until the context ends."""

    @property
    def schema(self) -> str:
        """Raw name of the schema, spelt as the catalog has it."""

    @property
    def table(self) -> str:
        """Raw name of the table, spelt as the catalog has it."""

    @property
    def mode(self) -> WriteMode:
        """What was asked for."""

    @property
    def version(self) -> int:
        """Number of the version that `publish` will make visible."""

    @property
    def staging_root(self) -> Path:
        """Absolute path of this version's folder ``vNNNN``: exists, empty, seen by nobody.

        It is the final place: nothing is moved at publication.  Unless published, it is removed
        when the context ends, by whatever way.
        """

    @property
    def current(self) -> TableVersion | None:
        """The version that readers see now, `None` for a new table."""

    def check(self) -> None:
        """Make sure that the lease is still ours; cheap, to be called between long steps.

        Raises
        ------
        ConflictError
            Raised if another writer took over, which happens when this process was stopped for
            longer than a lease lasts.
        """

    def publish(self, staged: StagedVersion) -> TableVersion:
        """Make `staged` the current version in one transaction, and return it.

        Raises
        ------
        ConflictError
            Raised if the lease was lost.
        ImportRefusedError
            Raised if the files are not what `staged` says.
        """


class TablePublisher(Protocol):
    """What an importer needs of the store."""

    def view(self, *, fresh: bool = False) -> CatalogView:
        """Return all tables as they are now; `fresh` looks even if that was done just now."""

    def begin_write(
        self,
        schema: str,
        name: str,
        *,
        mode: WriteMode = "create",
        owner: str | None = None,
        schema_description: str | None = None,
        reserved: bool = False,
    ) -> AbstractContextManager[WriteLease]:
        """Take the lease on one table.

        Parameters
        ----------
        schema, name
            Regular identifiers ``[A-Za-z][A-Za-z0-9_]*``.
        owner
            Who writes, for the message that another writer gets.
        schema_description
            Description of the schema where this publication makes it.
        reserved
            Whether the schema may be one that standards define: such tables are the platform's own.

        Raises
        ------
        BadParameterError
            Raised if a name is malformed or reserved.
        ConflictError
            Raised if another writer holds the lease, if `mode` is ``create`` and the table exists,
            or if a name differs from an existing one only in case.
        NotFoundError
            Raised if `mode` needs a table that does not exist.
        """
