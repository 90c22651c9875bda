"""Counts rows by place in tables that were written before that was done while writing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.parquet as pq

from astrolabe.catalogs.count_map import COUNT_ORDER, CountMap
from astrolabe.catalogs.locks import Lease, acquire
from astrolabe.catalogs.versions import find_table_row, table_lock
from astrolabe.catalogs.view import TableEntry
from astrolabe.core.database import Database
from astrolabe.core.errors import ConflictError, InternalError
from astrolabe.core.ids import new_request_id
from astrolabe.core.storage import full_disk_is_storage_full
from astrolabe.tables.model import HEALPIX_COLUMN

__all__ = ["add_counts", "can_be_counted"]

_ROWS_AT_ONCE: Final = 1_000_000
_ALT_ORDERS: Final = "hats_skymap_alt_orders"
_BUSY: Final = (
    "Somebody else is writing {table} ({{holder}}). Wait until that is done and try again."
)


def can_be_counted(entry: TableEntry) -> bool:
    """Whether a table has rows, and these have places."""
    return entry.row.row_count > 0 and entry.row.positions_sorted


def add_counts(database: Database, entry: TableEntry, *, busy: str, lease_seconds: float) -> bool:
    """Write the map of counts of a table's current version; tell whether it was missing.

    Memory does not grow with the table.  The version's rows stay as they are, so queries that run
    notice nothing.

    Parameters
    ----------
    busy, lease_seconds
        Of the lease on the table, as in `catalogs.locks.acquire`.

    Raises
    ------
    ConflictError
        Raised if the table is being written, or was replaced or dropped meanwhile.
    InternalError
        Raised if the files do not hold the rows that they should.
    StorageFullError
        Raised if there is no room.
    """
    catalog, row, name = Path(entry.root), entry.row, entry.meta.qualified_name
    if CountMap.read(catalog) is not None:
        return False
    with database.write() as connection:
        lease = acquire(
            database,
            connection,
            table_lock(row.table_key),
            seconds=lease_seconds,
            busy=busy,
        )
    building = catalog.parent / f".counts-{new_request_id()}"
    with lease, full_disk_is_storage_full(f"the counts of {name}"):
        building.mkdir()
        try:
            counts = _counted(catalog, entry, lease)
            found = int(counts.counts.sum())
            if found != row.row_count:
                raise InternalError(
                    f"The files of {name} hold {found:,} rows, but it was written with "
                    f"{row.row_count:,}."
                )
            counts.write(building)
            _name_orders(catalog, building)
            with database.write() as connection:
                lease.confirm(connection)
                current = find_table_row(connection, entry.meta.schema, entry.meta.name)
                if current is None or current.current_version != row.version:
                    raise ConflictError(f"{name} was replaced or dropped meanwhile.")
                _put_in_place(building, catalog)
        finally:
            for left in building.iterdir():
                left.unlink()
            building.rmdir()
    return True


def _counted(catalog: Path, entry: TableEntry, lease: Lease) -> CountMap:
    counts = CountMap()
    for path in entry.load_index().paths:
        lease.check()
        with pq.ParquetFile(catalog / path) as file:
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=[HEALPIX_COLUMN]):
                counts.add(np.asarray(batch.column(0).to_numpy(), dtype=np.int64))
    return counts


def _name_orders(catalog: Path, building: Path) -> None:
    """Let HATS readers know of the map, where a version has maps at all."""
    for name in ("hats.properties", "properties"):
        try:
            lines = (catalog / name).read_text("utf-8").splitlines()
        except FileNotFoundError:
            continue
        if any(line.startswith("hats_skymap_order=") for line in lines):
            kept = [line for line in lines if not line.startswith(f"{_ALT_ORDERS}=")]
            text = "\n".join([*kept, f"{_ALT_ORDERS}={COUNT_ORDER}"]) + "\n"
            (building / name).write_text(text, "utf-8")


def _put_in_place(building: Path, catalog: Path) -> None:
    """Move files to a version; each is there whole or not at all, and the map comes last."""
    names = sorted(path.name for path in building.iterdir())
    for name in sorted(names, key=lambda name: name.startswith("skymap")):
        with (building / name).open("rb+") as file:
            os.fsync(file.fileno())
        (building / name).replace(catalog / name)
