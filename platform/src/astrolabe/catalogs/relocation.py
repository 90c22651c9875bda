"""A tables' folder that was moved: Iceberg's absolute locations are written anew."""

from __future__ import annotations

import time
from pathlib import Path

import structlog
from sqlalchemy import Connection, select, update

from astrolabe.catalogs.collection import ICEBERG_FOLDER, remove_folder
from astrolabe.catalogs.iceberg import IcebergTables, iceberg_arrow_schema
from astrolabe.catalogs.index_file import read_index
from astrolabe.catalogs.locks import acquire
from astrolabe.catalogs.schema import STATE, VERSIONS
from astrolabe.catalogs.versions import (
    VersionRow,
    all_versions,
    insert_state,
    raise_generation,
    read_metas,
)
from astrolabe.core.database import Database
from astrolabe.core.errors import ConflictError
from astrolabe.tables.model import TableMeta

__all__ = ["relocate_if_moved"]

_LOG = structlog.get_logger(__name__)
_LOCK = "relocation"
_WAIT_SECONDS = 300.0


def relocate_if_moved(
    database: Database, tables_root: Path, *, iceberg: IcebergTables, seconds: float
) -> int:
    """Register every version anew if the tables' folder is not where it was.

    Old versions come first, so that Iceberg's history has the order of ours.  The new location is
    stored last: after a crash everything is done again.

    Parameters
    ----------
    database
        The control database.
    tables_root
        Where the tables' folder is now, absolute.
    iceberg
        The Iceberg tables.
    seconds
        Length of a lease (s).

    Returns
    -------
    int
        Number of versions registered anew.

    Raises
    ------
    ConflictError
        Raised if another process has been at it for very long.
    """
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        with database.read() as connection:
            location = _location(connection)
        if location == str(tables_root):
            return 0
        try:
            with database.write() as connection:
                lease = acquire(
                    database,
                    connection,
                    _LOCK,
                    seconds=seconds,
                    busy="The tables' folder was moved and is being registered anew by {holder}.",
                )
        except ConflictError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
            continue
        with lease:
            return _relocate(database, tables_root, iceberg)


def _location(connection: Connection) -> str | None:
    return connection.scalar(select(STATE.c.tables_location).where(STATE.c.id == 1))


def _relocate(database: Database, tables_root: Path, iceberg: IcebergTables) -> int:
    with database.read() as connection:
        location = _location(connection)
        rows = [row for row in all_versions(connection) if row.snapshot_id is not None]
        metas = read_metas(connection, rows)
    if location == str(tables_root):
        return 0  # another process did it while this one waited for the lock
    snapshots: dict[tuple[str, int], int] = {}
    if location is not None:
        _LOG.info("tables' folder was moved", before=location, now=str(tables_root))
        for schema, name in iceberg.table_names():
            iceberg.drop(schema, name)
        for collection in sorted({row.collection for row in rows}):
            folder = tables_root / collection / ICEBERG_FOLDER
            if folder.is_dir():
                remove_folder(folder)
        # The current version last: Iceberg's own pointer then stands on it.
        for row in sorted(rows, key=lambda r: (r.table_key, r.retired_at is None, r.version)):
            key = (row.table_key, row.version)
            snapshots[key] = _register(tables_root, row, metas[key], iceberg)
    with database.write() as connection:
        insert_state(connection)
        for (table_key, version), snapshot in snapshots.items():
            connection.execute(
                update(VERSIONS)
                .where(VERSIONS.c.table_key == table_key, VERSIONS.c.version == version)
                .values(snapshot_id=snapshot)
            )
        connection.execute(
            update(STATE).where(STATE.c.id == 1).values(tables_location=str(tables_root))
        )
        if snapshots:
            raise_generation(connection)
    return len(snapshots)


def _register(root: Path, row: VersionRow, meta: TableMeta, iceberg: IcebergTables) -> int:
    if row.index_path is None or row.catalog_path is None:
        raise ConflictError(
            f"Version {row.version} of {row.table_key} has a snapshot but no files."
        )
    paths = read_index(root / row.index_path).paths
    return iceberg.publish(
        meta,
        columns=iceberg_arrow_schema(meta, with_healpix=row.positions_sorted),
        files=[root / row.catalog_path / path for path in paths],
    )
