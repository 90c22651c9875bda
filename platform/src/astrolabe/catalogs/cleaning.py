"""Removing what nobody can see: retired versions and what dead writers left.

A version's row goes before its folder, so that whatever a crash leaves is a folder without a row,
which is a dead writer's leftover to the next one who looks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import structlog
from sqlalchemy import delete

from astrolabe.catalogs.collection import (
    ICEBERG_FOLDER,
    remove_collection_properties,
    remove_folder,
    version_folders,
    write_collection_properties,
)
from astrolabe.catalogs.iceberg import IcebergTables
from astrolabe.catalogs.locks import acquire
from astrolabe.catalogs.schema import VERSIONS
from astrolabe.catalogs.versions import (
    VersionRow,
    all_versions,
    known_table_keys,
    table_key,
    table_lock,
)
from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import ConflictError

__all__ = [
    "DEFAULT_RETENTION_SECONDS",
    "RemovedFolder",
    "VacuumReport",
    "remove_leftovers",
    "reset_iceberg",
    "vacuum",
]

DEFAULT_RETENTION_SECONDS = 5 * 3600.0
"""Longer than the longest query may run by default (4 h)."""

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedFolder:
    """One version's folder that went, or would go.

    Parameters
    ----------
    name
        ``schema.table``, as the folders are called.
    version
        Number of the version.
    path
        The folder.
    reason
        Why, in a few words.
    freed_bytes
        Room that this makes; 0 in a dry run.
    """

    name: str
    version: int
    path: Path
    reason: str
    freed_bytes: int = 0


@dataclass(slots=True)
class VacuumReport:
    """What `vacuum` did.

    Parameters
    ----------
    removed
        Folders that went.
    kept
        Retired versions that stay for now, with the reason.
    busy
        Tables that were being written and therefore left alone.
    """

    removed: list[RemovedFolder] = field(default_factory=list)
    kept: list[tuple[VersionRow, str]] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)


def reset_iceberg(iceberg: IcebergTables, schema: str, name: str, snapshot_id: int | None) -> None:
    """Set Iceberg's pointer to what the control database says; `None`: forget the table."""
    if iceberg.current_snapshot(schema, name) != snapshot_id:
        iceberg.set_current(schema, name, snapshot_id)


def remove_leftovers(
    database: Database, collection: Path, *, key: str, iceberg: IcebergTables
) -> list[RemovedFolder]:
    """Remove the folders of a table's dead writers; the caller holds the table's lease.

    Parameters
    ----------
    collection
        The table's folder.
    key
        The table's key.
    """
    with database.read() as connection:
        rows = all_versions(connection, key)
    known = {Path(row.folder).name for row in rows}
    leftovers = [(v, path) for v, path in version_folders(collection) if path.name not in known]
    if not leftovers:
        return []
    schema, name = collection.parent.name, collection.name
    current = next((row.snapshot_id for row in rows if row.retired_at is None), None)
    reset_iceberg(iceberg, schema, name, current)
    removed = []
    for version, path in leftovers:
        freed = remove_folder(path)
        _LOG.info("removed the folder of a dead writer", folder=str(path), freed_bytes=freed)
        removed.append(
            RemovedFolder(
                name=f"{schema}.{name}",
                version=version,
                path=path,
                reason="left by a writer that died",
                freed_bytes=freed,
            )
        )
    return removed


def vacuum(
    database: Database,
    tables_root: Path,
    *,
    iceberg: IcebergTables,
    retention_seconds: float,
    dry_run: bool = False,
) -> VacuumReport:
    """Remove retired versions, dead writers' folders and Iceberg's record of both.

    Parameters
    ----------
    retention_seconds
        How long a retired version stays (s).
    dry_run
        Only report.
    """
    report = VacuumReport()
    with database.read() as connection:
        rows = all_versions(connection)
        known = known_table_keys(connection)
    keys = {row.table_key: row.collection for row in rows if row.retired_at is not None}
    for folder in _collections(tables_root):
        key = table_key(folder.parent.name, folder.name)
        # A writer's row is there before its folder; a folder without one is not ours to judge.
        if key in known:
            keys[key] = folder.relative_to(tables_root).as_posix()
    for key, collection in sorted(keys.items()):
        try:
            with database.write() as connection:
                lease = acquire(
                    database, connection, table_lock(key), owner="vacuum", busy="{holder}"
                )
        except ConflictError:
            report.busy.append(collection.replace("/", "."))
            continue
        with lease:
            cleaner = _Cleaner(database, tables_root, iceberg, retention_seconds, dry_run=dry_run)
            cleaner.clean(key, tables_root / collection, report)
    return report


def _collections(tables_root: Path) -> list[Path]:
    return [
        table
        for schema in (tables_root.iterdir() if tables_root.is_dir() else ())
        if schema.is_dir()
        for table in schema.iterdir()
        if table.is_dir()
    ]


class _Cleaner:
    """Cleans one table whose lease is held."""

    def __init__(
        self,
        database: Database,
        tables_root: Path,
        iceberg: IcebergTables,
        retention_seconds: float,
        *,
        dry_run: bool,
    ) -> None:
        self._database = database
        self._root = tables_root
        self._iceberg = iceberg
        self._before = utc_now() - timedelta(seconds=retention_seconds)
        self._dry_run = dry_run

    def clean(self, key: str, collection: Path, report: VacuumReport) -> None:
        with self._database.read() as connection:
            rows = all_versions(connection, key)
        gone = [row for row in rows if self._may_go(row, report)]
        if self._dry_run:
            known = {Path(row.folder).name for row in rows}
            report.removed += [self._removed(row, 0) for row in gone if row.catalog_path]
            report.removed += [
                RemovedFolder(
                    name=f"{collection.parent.name}.{collection.name}",
                    version=version,
                    path=path,
                    reason="left by a writer that died",
                )
                for version, path in version_folders(collection)
                if path.name not in known
            ]
            return
        report.removed += remove_leftovers(
            self._database, collection, key=key, iceberg=self._iceberg
        )
        for row in gone:
            self._delete_row(row)
        stay = [row for row in rows if row not in gone]
        self._tidy_iceberg(collection, stay)
        for row in gone:
            folder = self._root / row.folder
            freed = remove_folder(folder) if folder.is_dir() else 0
            if row.catalog_path is not None or freed:
                report.removed.append(self._removed(row, freed))
        self._tidy_collection(collection, stay)

    def _may_go(self, row: VersionRow, report: VacuumReport) -> bool:
        if row.retired_at is None:
            return False
        if row.release is not None:
            report.kept.append((row, f"in release {row.release}"))
            return False
        if row.retired_at > self._before:
            report.kept.append((row, "queries may still read it"))
            return False
        return True

    def _removed(self, row: VersionRow, freed: int) -> RemovedFolder:
        return RemovedFolder(
            name=row.collection.replace("/", "."),
            version=row.version,
            path=self._root / row.folder,
            reason="replaced or dropped",
            freed_bytes=freed,
        )

    def _delete_row(self, row: VersionRow) -> None:
        with self._database.write() as connection:
            connection.execute(
                delete(VERSIONS).where(
                    VERSIONS.c.table_key == row.table_key, VERSIONS.c.version == row.version
                )
            )

    def _tidy_iceberg(self, collection: Path, stay: list[VersionRow]) -> None:
        """Leave Iceberg with the snapshots of the versions that stay."""
        if not (collection / ICEBERG_FOLDER).is_dir():
            return
        schema, name = collection.parent.name, collection.name
        snapshots = [row.snapshot_id for row in stay if row.snapshot_id is not None]
        if not snapshots:
            self._iceberg.drop(schema, name)
            remove_folder(collection / ICEBERG_FOLDER)
            return
        current = next((row.snapshot_id for row in stay if row.retired_at is None), None)
        if current is not None:
            reset_iceberg(self._iceberg, schema, name, current)
        self._iceberg.keep_only(schema, name, snapshots)

    def _tidy_collection(self, collection: Path, stay: list[VersionRow]) -> None:
        """Name the current version for HATS readers, or remove the table's empty folders."""
        current = next((row for row in stay if row.retired_at is None), None)
        if current is not None and current.catalog_path is not None and current.positions_sorted:
            catalog = (self._root / current.catalog_path).relative_to(
                self._root / current.collection
            )
            write_collection_properties(
                self._root / current.collection, catalog_path=catalog, details=current.details
            )
        else:
            remove_collection_properties(collection)
        for folder in (collection, collection.parent):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
