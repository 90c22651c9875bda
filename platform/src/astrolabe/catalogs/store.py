"""The catalog store: versions of tables become visible, are seen, and go.

Publication is one transaction of the control database, after Iceberg has its snapshot; whatever a
crash leaves before it is removed by the table's next writer, whatever it leaves after it is put
right by the next writer or by `vacuum`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from astrolabe.catalogs.cleaning import (
    DEFAULT_RETENTION_SECONDS,
    VacuumReport,
    remove_leftovers,
    vacuum,
)
from astrolabe.catalogs.collection import remove_collection_properties
from astrolabe.catalogs.counting import add_counts, can_be_counted
from astrolabe.catalogs.iceberg import IcebergTables
from astrolabe.catalogs.index_file import IndexCache
from astrolabe.catalogs.locks import LEASE_SECONDS, acquire, holder_of
from astrolabe.catalogs.names import check_columns, check_spelling, check_table_name
from astrolabe.catalogs.publishing import WriteMode
from astrolabe.catalogs.relocation import relocate_if_moved
from astrolabe.catalogs.table_write import TableWrite
from astrolabe.catalogs.versions import (
    VersionRow,
    describe_schema,
    ensure_rows,
    find_table_row,
    insert_version,
    living_schema_name,
    next_version,
    raise_generation,
    read_generation,
    retire_current,
    table_key,
    table_lock,
)
from astrolabe.catalogs.view import StoredView, load_view
from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import ConflictError, NotFoundError
from astrolabe.tables.model import SchemaMeta, TableMeta

__all__ = ["CatalogStore", "StoredTable"]

_LOG = structlog.get_logger(__name__)
_BUSY = "Somebody else is writing {table} ({{holder}}). Wait until that is done and try again."


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTable:
    """Where the current version of a table is.

    Parameters
    ----------
    meta
        Columns and description.
    row
        What the control database says of the version.
    collection_root
        The table's folder: a HATS collection, unless the table is empty.
    catalog_root
        The current HATS catalog in it, `None` for an empty table.
    """

    meta: TableMeta
    row: VersionRow
    collection_root: Path
    catalog_root: Path | None


class CatalogStore:
    """All tables of the platform.  Safe to use from many threads and processes.

    Parameters
    ----------
    database
        The control database.
    tables_root
        Folder of all tables.
    iceberg
        Where versions are registered as Iceberg snapshots.
    index_cache_bytes
        Memory for partition indexes (bytes).
    check_seconds
        How often `view` looks at the generation at most (s).
    lease_seconds
        How long a writer may be silent before another may take over (s).
    durable
        Whether publication waits until files are on the disk; only tests want to do without.
    """

    def __init__(
        self,
        database: Database,
        *,
        tables_root: Path,
        iceberg: IcebergTables,
        index_cache_bytes: int = 256 * 1024 * 1024,
        check_seconds: float = 1.0,
        lease_seconds: float = LEASE_SECONDS,
        durable: bool = True,
    ) -> None:
        self._database = database
        self._root = tables_root.absolute()
        self._iceberg = iceberg
        self._indexes = IndexCache(index_cache_bytes)
        self._check_seconds = check_seconds
        self._lease_seconds = lease_seconds
        self._durable = durable
        self._refresh = threading.Lock()
        self._view: StoredView | None = None
        self._checked = 0.0

    @property
    def tables_root(self) -> Path:
        """Folder of all tables, absolute."""
        return self._root

    # --- seeing ---------------------------------------------------------------------------------

    def view(self, *, fresh: bool = False) -> StoredView:
        """Return all tables as they are now, or were a second ago.

        Parameters
        ----------
        fresh
            Look at the control database even if that was done just now.

        Notes
        -----
        While one thread looks, others get the last view at once.  While the control database
        does not answer, the last view stays.
        """
        view = self._view
        if view is not None and not fresh:
            if time.monotonic() < self._checked + self._check_seconds:
                return view
            if not self._refresh.acquire(blocking=False):
                return view
        else:
            self._refresh.acquire()
        try:
            return self._look(fresh=fresh)
        finally:
            self._refresh.release()

    def _look(self, *, fresh: bool) -> StoredView:
        view = self._view
        recent = time.monotonic() < self._checked + self._check_seconds
        if view is not None and recent and not fresh:
            return view  # another thread looked while this one waited
        try:
            with self._database.read() as connection:
                generation = read_generation(connection)
            if view is None or view.generation != generation:
                view = load_view(self._database, self._root, indexes=self._indexes, previous=view)
        except OperationalError as exc:
            if view is None or fresh:
                raise
            _LOG.warning("catalog not refreshed", error=str(exc))
        self._view = view
        self._checked = time.monotonic()
        return view

    def find(self, schema: str, name: str) -> StoredTable:
        """Return where the table of these names is.

        Raises
        ------
        NotFoundError
            Raised if there is none.
        """
        entry = self.view(fresh=True).entries.get((schema, name))
        if entry is None:
            raise NotFoundError(
                f"There is no table {schema}.{name}; `astrolabe table list` shows all."
            )
        row = entry.row
        root = None if row.catalog_path is None else self._root / row.catalog_path
        return StoredTable(
            meta=entry.meta,
            row=row,
            collection_root=self._root / row.collection,
            catalog_root=root,
        )

    # --- writing --------------------------------------------------------------------------------

    @contextmanager
    def begin_write(
        self,
        schema: str,
        name: str,
        *,
        mode: WriteMode = "create",
        owner: str | None = None,
        schema_description: str | None = None,
        reserved: bool = False,
    ) -> Iterator[TableWrite]:
        """Take the lease on one table; see `catalogs.publishing.TablePublisher`.

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
        check_table_name(schema, name, reserved=reserved)
        self.relocate_if_moved()
        key = table_key(schema, name)
        with self._database.write() as connection:
            lease = acquire(
                self._database,
                connection,
                table_lock(key),
                owner=owner,
                seconds=self._lease_seconds,
                busy=_BUSY.format(table=f"{schema}.{name}"),
            )
            before = _check_mode(connection, schema, name, mode)
            ensure_rows(connection, schema, name)
            version = next_version(connection, key)
        with lease:
            collection = self._root / schema / name
            remove_leftovers(self._database, collection, key=key, iceberg=self._iceberg)
            current = None if before is None else self.view(fresh=True).table(schema, name)
            write = TableWrite(
                schema,
                name,
                mode=mode,
                version=version,
                version_before=before,
                current=current,
                lease=lease,
                database=self._database,
                tables_root=self._root,
                iceberg=self._iceberg,
                schema_description=schema_description,
                durable=self._durable,
            )
            with write.staging():
                yield write
        if write.published:
            self.view(fresh=True)

    def create_tables(self, schema: SchemaMeta) -> None:
        """Make the tables of `schema` without rows, all of them in one transaction or none.

        Raises
        ------
        BadParameterError, ImportRefusedError
            Raised if a name is malformed or reserved, or if two columns cannot be told apart.
        ConflictError
            Raised if one of the tables exists or is being written.
        """
        for table in schema.tables:
            check_table_name(schema.name, table.name)
            check_columns(table)
        with self._database.write() as connection:
            raise_generation(connection)
            for table in schema.tables:
                key = table_key(schema.name, table.name)
                _check_idle(connection, key, table)
                _check_mode(connection, schema.name, table.name, "create")
                ensure_rows(connection, schema.name, table.name)
                version = next_version(connection, key)
                empty = VersionRow.empty(schema.name, table.name, version, created_at=utc_now())
                insert_version(connection, empty, replace(table, row_count=0))
            describe_schema(connection, schema)
        self.view(fresh=True)

    def drop(self, tables: Sequence[tuple[str, str]]) -> None:
        """Let nobody see these (schema, table) any more; all of them in one transaction or none.

        Running queries read on; the files go with `vacuum`.

        Raises
        ------
        NotFoundError
            Raised if there is no such table.
        ConflictError
            Raised if one is being written or belongs to a release.
        """
        found = [self.find(schema, name) for schema, name in tables]
        with self._database.write() as connection:
            raise_generation(connection)
            for table in found:
                _check_idle(connection, table.row.table_key, table.meta)
                if table.row.release is not None:
                    raise ConflictError(
                        f"{table.meta.qualified_name} belongs to the release "
                        f"{table.row.release}, which never changes."
                    )
                retire_current(connection, table.row.table_key)
        for table in found:
            remove_collection_properties(table.collection_root)
        self.view(fresh=True)

    # --- keeping in order -----------------------------------------------------------------------

    def vacuum(
        self, *, retention_seconds: float = DEFAULT_RETENTION_SECONDS, dry_run: bool = False
    ) -> VacuumReport:
        """Remove what nobody can see any more.

        That is: versions retired for longer than `retention_seconds` and in no release, folders
        that dead writers left, and Iceberg's record of both.

        Parameters
        ----------
        retention_seconds
            How long a retired version stays for the queries that read it (s); longer than any
            query may run.
        dry_run
            Only report.
        """
        return vacuum(
            self._database,
            self._root,
            iceberg=self._iceberg,
            retention_seconds=retention_seconds,
            dry_run=dry_run,
        )

    def add_counts(self, schema: str, name: str) -> bool | None:
        """Count a table's rows by place where no import has done so; `None` if they have no place.

        Safe to call again.  Returns whether the counts were missing.

        Raises
        ------
        NotFoundError
            Raised if there is no such table.
        ConflictError, InternalError, StorageFullError
            Raised as by `catalogs.counting.add_counts`.
        """
        self.find(schema, name)
        entry = self.view().entries[schema, name]
        if not can_be_counted(entry):
            return None
        return add_counts(
            self._database,
            entry,
            busy=_BUSY.format(table=f"{schema}.{name}"),
            lease_seconds=self._lease_seconds,
        )

    def relocate_if_moved(self) -> int:
        """Register all snapshots anew if the tables' folder was moved; return how many.

        Everything of our own is relative to the tables' folder; only Iceberg keeps absolute
        locations.  Costs one look-up where nothing was moved.
        """
        moved = relocate_if_moved(
            self._database, self._root, iceberg=self._iceberg, seconds=self._lease_seconds
        )
        if moved:
            self.view(fresh=True)
        return moved


def _check_mode(connection: Connection, schema: str, name: str, mode: WriteMode) -> int | None:
    """Return the number of the version to replace, `None` for a new table."""
    known_schema = living_schema_name(connection, schema)
    row = find_table_row(connection, schema, name)
    exists = row is not None and row.current_version is not None
    known_name = row.name if row is not None and exists else name
    check_spelling(schema, name, known_schema or schema, known_name)
    if mode == "create" and exists:
        raise ConflictError(
            f"The table {schema}.{name} exists already; use --mode replace to put new rows in the "
            "place of all its rows, or --mode append to add to them."
        )
    if mode != "create" and not exists:
        raise NotFoundError(
            f"There is no table {schema}.{name} to {mode}; leave --mode away to create it."
        )
    return None if row is None else row.current_version


def _check_idle(connection: Connection, key: str, table: TableMeta) -> None:
    holder = holder_of(connection, table_lock(key))
    if holder is not None and not holder.is_gone:
        message = _BUSY.format(table=table.qualified_name)
        raise ConflictError(message.format(holder=holder.describe()))
