"""One table's write lease: the folder in progress and its publication."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import structlog

from astrolabe.catalogs.cleaning import reset_iceberg
from astrolabe.catalogs.collection import (
    remove_collection_properties,
    remove_folder,
    sync_files,
    version_folder_name,
    write_collection_properties,
)
from astrolabe.catalogs.iceberg import IcebergTables, iceberg_arrow_schema
from astrolabe.catalogs.index_file import INDEX_FILE_NAME, write_index
from astrolabe.catalogs.locks import Lease
from astrolabe.catalogs.model import TableVersion
from astrolabe.catalogs.names import check_columns, check_spelling
from astrolabe.catalogs.publishing import StagedVersion, WriteMode
from astrolabe.catalogs.versions import (
    VersionRow,
    describe_schema,
    find_table_row,
    insert_version,
    living_schema_name,
    raise_generation,
    table_key,
)
from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import ConflictError, ImportRefusedError, InternalError
from astrolabe.core.storage import full_disk_is_storage_full
from astrolabe.tables.model import SchemaMeta, TableMeta

__all__ = ["TableWrite"]

_LOG = structlog.get_logger(__name__)


class TableWrite:
    """The right to write one table; see `catalogs.publishing.WriteLease`.

    Parameters
    ----------
    schema, table
        Raw names, as the catalog has them.
    mode
        What was asked for.
    version
        Number of the version to write.
    version_before, current
        The version that readers see now, `None` for a new table.
    lease
        Held already.
    database, tables_root, iceberg
        Where versions are recorded and kept.
    schema_description
        Set with the publication, if given.
    durable
        Whether to wait until files are on the disk.
    """

    def __init__(
        self,
        schema: str,
        table: str,
        *,
        mode: WriteMode,
        version: int,
        version_before: int | None,
        current: TableVersion | None,
        lease: Lease,
        database: Database,
        tables_root: Path,
        iceberg: IcebergTables,
        schema_description: str | None = None,
        durable: bool = True,
    ) -> None:
        self.schema = schema
        self.table = table
        self.mode = mode
        self.version = version
        self.current = current
        self.published = False
        self._version_before = version_before
        self._lease = lease
        self._database = database
        self._root = tables_root
        self._iceberg = iceberg
        self._schema_description = schema_description
        self._durable = durable
        self._iceberg_touched = False
        self._collection = tables_root / schema / table
        self.staging_root = self._collection / version_folder_name(version)

    @contextmanager
    def staging(self) -> Iterator[None]:
        """Keep the folder in progress; at the end nothing of it stays unless it was published."""
        self.staging_root.mkdir(parents=True)
        try:
            yield
        finally:
            if not self.published:
                self._undo()

    def check(self) -> None:
        """Make sure that the lease is still ours.

        Raises
        ------
        ConflictError
            Raised if another writer took over.
        """
        self._lease.check()

    def publish(self, staged: StagedVersion) -> TableVersion:
        """Make `staged` the current version in one transaction, and return it.

        Raises
        ------
        ConflictError
            Raised if the lease was lost.
        ImportRefusedError
            Raised if the files are not what `staged` says.
        StorageFullError
            Raised if there is no room for the index or for Iceberg's metadata.
        """
        if self.published:
            raise InternalError(f"Version {self.version} is published already.")
        meta = replace(staged.meta, row_count=int(staged.index.rows.sum()))
        self.check()
        files = self._verify(staged, meta)
        index_path = self.staging_root / INDEX_FILE_NAME
        with full_disk_is_storage_full(f"the index of {meta.qualified_name}"):
            write_index(staged.index, index_path)
            if self._durable:
                beside = [
                    path
                    for root in (*staged.id_indexes.values(), *staged.sidecars)
                    for path in root.rglob("*")
                    if path.is_file()
                ]
                sync_files([*files, *beside, index_path], self._collection)
        row = self._row(staged, files, index_path)
        if files:
            columns = iceberg_arrow_schema(meta, with_healpix=staged.positions_sorted)
            self._iceberg_touched = True
            with full_disk_is_storage_full(f"Iceberg's metadata of {meta.qualified_name}"):
                snapshot = self._iceberg.publish(meta, columns=columns, files=files)
            row = replace(row, snapshot_id=snapshot)
        self._commit(row, meta)
        self._name_current(row, staged)
        return TableVersion(
            meta=meta,
            version=self.version,
            snapshot_id=row.snapshot_id,
            root=str(staged.catalog_root),
            index=staged.index,
            positions_sorted=staged.positions_sorted,
        )

    def _verify(self, staged: StagedVersion, meta: TableMeta) -> list[Path]:
        """Return the absolute paths of all data files."""
        if (meta.schema, meta.name) != (self.schema, self.table):
            raise InternalError(
                f"The lease is for {self.schema}.{self.table}, not for {meta.qualified_name}."
            )
        check_columns(meta)
        beside = (*staged.id_indexes.values(), *staged.sidecars)
        roots = [staged.catalog_root, staged.margin_root, *beside]
        for root in roots:
            if root is not None and not root.is_relative_to(self.staging_root):
                raise InternalError(f"{root} is not inside the folder {self.staging_root}.")
        files: list[Path] = []
        for name, size in zip(staged.index.paths, staged.index.size_bytes.tolist(), strict=True):
            relative = PurePosixPath(name)
            if relative.is_absolute() or ".." in relative.parts:
                raise InternalError(f"The data file {name} is not inside the catalog's folder.")
            path = staged.catalog_root / relative
            if not path.is_file() or path.stat().st_size != size:
                raise ImportRefusedError(
                    f"The data file {path} is missing or has not the size of {size} bytes that it "
                    "was written with; nothing was published."
                )
            files.append(path)
        return files

    def _row(self, staged: StagedVersion, files: list[Path], index_path: Path) -> VersionRow:
        details: dict[str, Any] = {"properties": dict(staged.properties)}
        if staged.margin_root is not None:
            margin = staged.margin_root.relative_to(self.staging_root).as_posix()
            details["margin"] = {"path": margin, "arcsec": staged.margin_arcsec}
        if staged.id_indexes:
            details["id_indexes"] = {
                column: path.relative_to(self.staging_root).as_posix()
                for column, path in staged.id_indexes.items()
            }
        return VersionRow(
            table_key=table_key(self.schema, self.table),
            version=self.version,
            folder=self.staging_root.relative_to(self._root).as_posix(),
            catalog_path=staged.catalog_root.relative_to(self._root).as_posix() if files else None,
            index_path=index_path.relative_to(self._root).as_posix(),
            positions_sorted=staged.positions_sorted,
            snapshot_id=None,
            row_count=int(staged.index.rows.sum()),
            size_bytes=int(staged.index.size_bytes.sum()),
            release=None,
            created_at=utc_now(),
            retired_at=None,
            details=details,
        )

    def _commit(self, row: VersionRow, meta: TableMeta) -> None:
        """Make the version visible: the only moment that readers can notice."""
        with self._database.write() as connection:
            raise_generation(connection)
            self._lease.confirm(connection)
            found = find_table_row(connection, self.schema, self.table)
            if found is None or found.current_version != self._version_before:
                raise ConflictError(
                    f"{meta.qualified_name} was dropped or changed while this version was written; "
                    "nothing was published. Run it again."
                )
            known = living_schema_name(connection, self.schema) or self.schema
            check_spelling(self.schema, self.table, known, self.table)
            described = SchemaMeta(name=self.schema, description=self._schema_description)
            describe_schema(connection, described)
            insert_version(connection, row, meta)
        self.published = True

    def _name_current(self, row: VersionRow, staged: StagedVersion) -> None:
        """Let HATS readers follow; the publication stands even if this does not work."""
        try:
            if row.catalog_path is not None and staged.positions_sorted:
                catalog = staged.catalog_root.relative_to(self._collection)
                write_collection_properties(
                    self._collection, catalog_path=catalog, details=row.details
                )
            else:
                remove_collection_properties(self._collection)
        except OSError as exc:
            _LOG.warning("collection.properties not written", table=row.table_key, error=str(exc))

    def _undo(self) -> None:
        try:
            if self._iceberg_touched:
                self.check()  # another writer's snapshot is not ours to undo
                before = None if self.current is None else self.current.snapshot_id
                reset_iceberg(self._iceberg, self.schema, self.table, before)
            if self.staging_root.exists():
                remove_folder(self.staging_root)
        except Exception as exc:  # noqa: BLE001 - the first error must reach the caller
            # The folder stays without a row; the next writer does this again.
            _LOG.warning("write not undone", folder=str(self.staging_root), error=str(exc))
