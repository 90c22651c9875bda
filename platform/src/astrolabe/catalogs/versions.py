"""Reading and writing the catalog's rows; every function works inside the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import Connection, Row, Table, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from astrolabe.catalogs.collection import version_folder_name
from astrolabe.catalogs.metadata import table_meta_from_json, table_meta_to_json
from astrolabe.catalogs.schema import SCHEMAS, STATE, TABLES, VERSIONS
from astrolabe.core.clock import utc_now
from astrolabe.tables.model import SchemaMeta, TableMeta

__all__ = [
    "TableRow",
    "VersionRow",
    "all_versions",
    "current_versions",
    "describe_schema",
    "ensure_rows",
    "find_table_row",
    "hold_still",
    "insert_state",
    "insert_version",
    "known_table_keys",
    "living_schema_name",
    "next_version",
    "raise_generation",
    "read_generation",
    "read_metas",
    "retire_current",
    "schema_key",
    "table_key",
    "table_lock",
]

_LIGHT = tuple(column for column in VERSIONS.c if column.name != "meta")
_FEW = 500  # values in one IN list; SQLite takes at most 32,766 parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRow:
    """One version as it is stored, without its columns; paths are relative to the tables' root."""

    table_key: str
    version: int
    folder: str
    catalog_path: str | None
    index_path: str | None
    positions_sorted: bool
    snapshot_id: int | None
    row_count: int
    size_bytes: int
    release: str | None
    created_at: datetime
    retired_at: datetime | None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def collection(self) -> str:
        """The table's folder."""
        return str(PurePosixPath(self.folder).parent)

    @classmethod
    def empty(cls, schema: str, name: str, version: int, *, created_at: datetime) -> VersionRow:
        """Make the first version of a table without rows; it has no files."""
        return cls(
            table_key=table_key(schema, name),
            version=version,
            folder=f"{schema}/{name}/{version_folder_name(version)}",
            catalog_path=None,
            index_path=None,
            positions_sorted=False,
            snapshot_id=None,
            row_count=0,
            size_bytes=0,
            release=None,
            created_at=created_at,
            retired_at=None,
        )

    @classmethod
    def read(cls, row: Row[Any]) -> VersionRow:
        """Make one from a row of ``catalog_version``."""
        values = {name: getattr(row, name) for name in cls.__slots__ if name != "details"}
        return cls(**values, details=json.loads(row.details))


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A table that exists, or did."""

    table_key: str
    schema_name: str
    name: str
    last_version: int
    current_version: int | None


def schema_key(schema: str) -> str:
    """Return the key under which names that differ only in case meet."""
    return schema.lower()


def table_key(schema: str, name: str) -> str:
    """Return the key under which names that differ only in case meet."""
    return f"{schema}.{name}".lower()


def table_lock(key: str) -> str:
    """Return the name of the lock that guards the writing of a table."""
    return f"table {key}"


def hold_still(connection: Connection) -> None:
    """Let every statement of this reading transaction see the same moment; call it first."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))


def read_generation(connection: Connection) -> int:
    """Return the catalog's generation; 0 before the first publication."""
    return connection.scalar(select(STATE.c.generation).where(STATE.c.id == 1)) or 0


def insert_state(connection: Connection) -> None:
    """Make the row that holds the generation, unless it is there."""
    _insert_if_absent(connection, STATE, {"id": 1, "generation": 0})


def raise_generation(connection: Connection) -> int:
    """Raise the generation by one and return it.

    Call it first in a publishing transaction: others then wait until this one has ended, and what
    it reads afterwards cannot change under it.
    """
    insert_state(connection)
    connection.execute(
        update(STATE).where(STATE.c.id == 1).values(generation=STATE.c.generation + 1)
    )
    return read_generation(connection)


def find_table_row(connection: Connection, schema: str, name: str) -> TableRow | None:
    """Return the row of a table whose names are these in any case."""
    row = connection.execute(
        select(TABLES, SCHEMAS.c.name.label("schema_name"))
        .join(SCHEMAS, SCHEMAS.c.schema_key == TABLES.c.schema_key)
        .where(TABLES.c.table_key == table_key(schema, name))
    ).first()
    if row is None:
        return None
    return TableRow(
        table_key=row.table_key,
        schema_name=row.schema_name,
        name=row.name,
        last_version=row.last_version,
        current_version=row.current_version,
    )


def known_table_keys(connection: Connection) -> frozenset[str]:
    """Return the key of every table that somebody ever began to write."""
    return frozenset(connection.scalars(select(TABLES.c.table_key)))


def living_schema_name(connection: Connection, schema: str) -> str | None:
    """Return how a schema is spelt that has tables now, `None` if it has none."""
    return connection.scalar(
        select(SCHEMAS.c.name)
        .join(TABLES, TABLES.c.schema_key == SCHEMAS.c.schema_key)
        .where(SCHEMAS.c.schema_key == schema_key(schema), TABLES.c.current_version.is_not(None))
        .limit(1)
    )


def ensure_rows(connection: Connection, schema: str, name: str) -> None:
    """Make the rows of a schema and a table; nobody sees them without a current version."""
    key = schema_key(schema)
    _insert_if_absent(connection, SCHEMAS, {"schema_key": key, "name": schema})
    _insert_if_absent(
        connection,
        TABLES,
        {
            "table_key": table_key(schema, name),
            "schema_key": key,
            "name": name,
            "last_version": 0,
        },
    )


def describe_schema(connection: Connection, schema: SchemaMeta) -> None:
    """Store what `schema` says of itself; what it does not say stays as it was."""
    told = {
        "description": schema.description,
        "utype": schema.utype,
        "schema_index": schema.schema_index,
    }
    news = {column: value for column, value in told.items() if value is not None}
    connection.execute(
        update(SCHEMAS)
        .where(SCHEMAS.c.schema_key == schema_key(schema.name))
        .values(name=schema.name, **news)
    )


def next_version(connection: Connection, key: str) -> int:
    """Take the next version number of a table; it is never given out again."""
    connection.execute(
        update(TABLES)
        .where(TABLES.c.table_key == key)
        .values(last_version=TABLES.c.last_version + 1)
    )
    return int(
        connection.scalars(select(TABLES.c.last_version).where(TABLES.c.table_key == key)).one()
    )


def insert_version(connection: Connection, row: VersionRow, meta: TableMeta) -> None:
    """Store a version and make it the current one; the one before is retired."""
    retire_current(connection, row.table_key)
    values = {name: getattr(row, name) for name in row.__slots__}
    values["details"] = json.dumps(dict(row.details), ensure_ascii=False)
    connection.execute(insert(VERSIONS).values(**values, meta=table_meta_to_json(meta)))
    connection.execute(
        update(TABLES)
        .where(TABLES.c.table_key == row.table_key)
        .values(name=meta.name, current_version=row.version)
    )


def retire_current(connection: Connection, key: str) -> None:
    """Let nobody see a table any more from this transaction on."""
    connection.execute(
        update(VERSIONS)
        .where(VERSIONS.c.table_key == key, VERSIONS.c.retired_at.is_(None))
        .values(retired_at=utc_now())
    )
    connection.execute(update(TABLES).where(TABLES.c.table_key == key).values(current_version=None))


def all_versions(connection: Connection, key: str | None = None) -> list[VersionRow]:
    """Return every version of all tables, or of one, retired ones too, oldest first."""
    query = select(*_LIGHT).order_by(VERSIONS.c.table_key, VERSIONS.c.version)
    if key is not None:
        query = query.where(VERSIONS.c.table_key == key)
    return [VersionRow.read(row) for row in connection.execute(query)]


def current_versions(connection: Connection) -> list[VersionRow]:
    """Return the version of each table that is seen."""
    query = select(*_LIGHT).where(VERSIONS.c.retired_at.is_(None))
    return [VersionRow.read(row) for row in connection.execute(query)]


def read_metas(
    connection: Connection, versions: Sequence[VersionRow]
) -> dict[tuple[str, int], TableMeta]:
    """Return the metadata of these versions by (table key, version)."""
    metas: dict[tuple[str, int], TableMeta] = {}
    for start in range(0, len(versions), _FEW):
        few = versions[start : start + _FEW]
        wanted = {(row.table_key, row.version) for row in few}
        query = select(VERSIONS.c.table_key, VERSIONS.c.version, VERSIONS.c.meta).where(
            VERSIONS.c.table_key.in_([row.table_key for row in few]),
            VERSIONS.c.version.in_(sorted({row.version for row in few})),
        )
        for row in connection.execute(query):
            if (row.table_key, row.version) in wanted:
                metas[row.table_key, row.version] = table_meta_from_json(row.meta)
    return metas


def _insert_if_absent(connection: Connection, table: Table, values: dict[str, Any]) -> None:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(dialect.insert(table).values(**values).on_conflict_do_nothing())
