"""Published versions as snapshots of Iceberg tables, over the very same Parquet files.

Readers of this platform never follow Iceberg's own pointer: a version is visible because the
control database says so, and the snapshot is only recorded with it.  A snapshot that a crash left
between the two is therefore harmless, and the next writer sets Iceberg back.

PyIceberg takes seconds to import and only writers need it, so it is imported at its first use.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError, ProgrammingError

from astrolabe.catalogs.collection import ICEBERG_FOLDER
from astrolabe.core.errors import BadParameterError, ImportRefusedError
from astrolabe.tables.model import HEALPIX_COLUMN, TableMeta, storage_type

if TYPE_CHECKING:
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.table import Table

__all__ = ["IcebergTables", "iceberg_arrow_schema"]

_PROPERTIES = {
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "2",
}
_WIDENED = frozenset({(pa.int32(), pa.int64()), (pa.float32(), pa.float64())})


def iceberg_arrow_schema(meta: TableMeta, *, with_healpix: bool) -> pa.Schema:
    """Return the Arrow schema of a version's files: `storage_type` of each column.

    Parameters
    ----------
    meta
        The table.
    with_healpix
        Whether the files begin with ``_healpix_29``.
    """
    fields: list[pa.Field[Any]] = []
    if with_healpix:
        fields.append(pa.field(HEALPIX_COLUMN, pa.int64()))
    fields += [pa.field(column.name, storage_type(column)) for column in meta.columns]
    return pa.schema(fields)


class IcebergTables:
    """PyIceberg's SQL catalog: one Iceberg table a catalog table, one name space a schema.

    Parameters
    ----------
    url
        SQLAlchemy URL of the catalog: a SQLite file of its own or a PostgreSQL database.
    warehouse
        The tables' folder; a table's own metadata is in ``{schema}/{table}/_iceberg`` below it.
    name
        Name of the catalog inside that database; other engines ask for it by this name.
    """

    def __init__(self, url: str, *, warehouse: Path, name: str = "astrolabe") -> None:
        self._url = make_url(url)
        self._warehouse = warehouse.absolute()
        self._name = name
        self._lock = threading.Lock()
        self._opened: SqlCatalog | None = None

    def publish(self, meta: TableMeta, *, columns: pa.Schema, files: Sequence[Path]) -> int:
        """Make `files` the whole contents of a table in one commit; return its snapshot.

        Parameters
        ----------
        meta
            Gives the names.
        columns
            Arrow schema of the files.
        files
            Absolute paths, at least one; they are registered as they are.

        Raises
        ------
        ImportRefusedError
            Raised if the files hold what Iceberg cannot describe.
        """
        # Imported here because it takes seconds, see the module's text.
        from pyiceberg.exceptions import NoSuchTableError  # noqa: PLC0415
        from pyiceberg.expressions import AlwaysTrue  # noqa: PLC0415

        catalog = self._catalog()
        identifier = (meta.schema, meta.name)
        catalog.create_namespace_if_not_exists(meta.schema)
        try:
            table = catalog.load_table(identifier)
        except NoSuchTableError:
            location = self._warehouse / meta.schema / meta.name / ICEBERG_FOLDER
            table = catalog.create_table(
                identifier, schema=columns, location=_uri(location), properties=_PROPERTIES
            )
        try:
            with table.transaction() as transaction:
                if _data_files(table):
                    transaction.delete(AlwaysTrue())
                gone, changed = _schema_changes(table, columns)
                if gone:
                    with transaction.update_schema(allow_incompatible_changes=True) as update:
                        for name in gone:
                            update.delete_column((name,))
                if changed:
                    with transaction.update_schema() as update:
                        update.union_by_name(columns)
                transaction.add_files([_uri(f) for f in files], check_duplicate_files=False)
        except (ValueError, TypeError, NotImplementedError) as exc:
            raise ImportRefusedError(
                f"The files of {meta.qualified_name} cannot be registered with Iceberg: {exc}"
            ) from exc
        snapshot = table.current_snapshot()
        if snapshot is None:
            raise ImportRefusedError(f"Iceberg made no snapshot of {meta.qualified_name}.")
        return snapshot.snapshot_id

    def current_snapshot(self, schema: str, name: str) -> int | None:
        """Return the snapshot that Iceberg calls current, `None` if there is none."""
        table = self._find(schema, name)
        snapshot = None if table is None else table.current_snapshot()
        return None if snapshot is None else snapshot.snapshot_id

    def set_current(self, schema: str, name: str, snapshot_id: int | None) -> None:
        """Set Iceberg's pointer back to what the control database says; `None` drops the table."""
        table = self._find(schema, name)
        if table is None:
            return
        if snapshot_id is None:
            self.drop(schema, name)
        elif self.current_snapshot(schema, name) != snapshot_id:
            table.manage_snapshots().set_current_snapshot(snapshot_id=snapshot_id).commit()

    def keep_only(self, schema: str, name: str, snapshot_ids: Iterable[int]) -> None:
        """Forget all snapshots but these (and the current one) and remove what only they used."""
        table = self._find(schema, name)
        if table is None:
            return
        keep = set(snapshot_ids)
        current = table.current_snapshot()
        if current is not None:
            keep.add(current.snapshot_id)
        gone = [s.snapshot_id for s in table.snapshots() if s.snapshot_id not in keep]
        if gone:
            table.maintenance.expire_snapshots().by_ids(gone).commit()
        _remove_unused_metadata(table)

    def drop(self, schema: str, name: str) -> None:
        """Forget a table; its files stay."""
        from pyiceberg.exceptions import NoSuchTableError  # noqa: PLC0415 - slow to import

        try:
            self._catalog().drop_table((schema, name))
        except NoSuchTableError:
            return

    def table_names(self) -> list[tuple[str, str]]:
        """Return (schema, name) of every table that Iceberg knows."""
        catalog = self._catalog()
        return [
            (str(identifier[0]), str(identifier[-1]))
            for space in catalog.list_namespaces()
            for identifier in catalog.list_tables(space)
        ]

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            if self._opened is not None:
                self._opened.engine.dispose()
                self._opened = None

    def _find(self, schema: str, name: str) -> Table | None:
        from pyiceberg.exceptions import NoSuchTableError  # noqa: PLC0415 - slow to import

        try:
            return self._catalog().load_table((schema, name))
        except NoSuchTableError:
            return None

    def _catalog(self) -> SqlCatalog:
        with self._lock:
            if self._opened is None:
                self._opened = _open(self._url, self._name)
            return self._opened


def _open(url: URL, name: str) -> SqlCatalog:
    from pyiceberg.catalog.sql import SqlCatalog  # noqa: PLC0415 - slow to import

    if url.get_backend_name() == "sqlite":
        if url.database:
            # The mode is a property of the file; PyIceberg itself would leave the default, in
            # which a reader stops a writer.
            with closing(sqlite3.connect(url.database, timeout=10)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
        url = url.update_query_dict({"timeout": "10"})
    text = url.render_as_string(hide_password=False)
    try:
        return SqlCatalog(name, uri=text, pool_pre_ping="true")
    except (OperationalError, ProgrammingError):
        # Another process made the catalog's tables at the same moment.
        return SqlCatalog(name, uri=text, pool_pre_ping="true")


def _uri(path: Path) -> str:
    # PyIceberg takes locations apart as URLs without decoding them, so nothing may be escaped.
    text = str(path)
    if any(mark in text for mark in "#?;%"):
        raise BadParameterError(
            f"The tables' folder {text} has one of the characters # ? ; % in its path, which "
            "Iceberg cannot store; use another folder."
        )
    return f"file://{text}"


def _data_files(table: Table) -> int:
    snapshot = table.current_snapshot()
    if snapshot is None or snapshot.summary is None:
        return 0
    return int(snapshot.summary["total-data-files"] or 0)


def _schema_changes(table: Table, columns: pa.Schema) -> tuple[list[str], bool]:
    """Return the columns that must go first, and whether columns must then be added or widened.

    A column whose type Iceberg can widen stays the same column, so that old snapshots still read
    their values under its name.
    """
    from pyiceberg.io.pyarrow import schema_to_pyarrow  # noqa: PLC0415 - slow to import

    present = schema_to_pyarrow(table.schema(), include_field_ids=False)
    wanted = {field.name: _plain(field.type) for field in columns}
    have = {field.name: _plain(field.type) for field in present}
    same = {name for name, kind in have.items() if wanted.get(name) == kind}
    widened = {n for n, kind in have.items() if (kind, wanted.get(n)) in _WIDENED}
    gone = [name for name in have if name not in same | widened]
    return gone, len(same) < len(wanted)


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return the type without what Iceberg and Arrow only spell differently."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(pa.field("element", _plain(kind.value_type)))
    if pa.types.is_large_string(kind):
        return pa.string()
    return pa.large_binary() if pa.types.is_binary(kind) else kind


def _remove_unused_metadata(table: Table) -> None:
    used = {table.metadata_location}
    used |= {entry.metadata_file for entry in table.metadata.metadata_log}
    for snapshot in table.snapshots():
        used.add(snapshot.manifest_list)
        used |= {manifest.manifest_path for manifest in snapshot.manifests(table.io)}
    names = {location.rpartition("/")[2] for location in used}
    folder = Path(table.location().removeprefix("file://")) / "metadata"
    for file in folder.iterdir() if folder.is_dir() else ():
        if file.name not in names:
            file.unlink(missing_ok=True)
