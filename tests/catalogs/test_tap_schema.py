"""TAP_SCHEMA describes every table and itself, as clients want it (TAP 1.1, section 4)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from astrolabe.catalogs.index_file import empty_index
from astrolabe.catalogs.tap_schema import TAP_SCHEMA, TapSchemaCache, tap_schema_tables
from astrolabe.catalogs.versions import VersionRow
from astrolabe.catalogs.view import StoredView, TableEntry
from astrolabe.core.clock import utc_now
from astrolabe.tables.model import (
    Column,
    Datatype,
    ForeignKey,
    SchemaMeta,
    TableMeta,
    arrow_type,
)

_COLUMNS = (
    Column(
        name="objectId",
        datatype=Datatype.LONG,
        ucd="meta.id;meta.main",
        principal=True,
        indexed=True,
        description="Größe µ",
    ),
    Column(name="size", datatype=Datatype.FLOAT, unit="arcsec"),
    Column(name="_RAJ2000", datatype=Datatype.DOUBLE, unit="deg"),
    Column(name="band", datatype=Datatype.CHAR, arraysize="8*"),
    Column(name="matrix", datatype=Datatype.DOUBLE, arraysize="2x3"),
    Column(name="when", datatype=Datatype.CHAR, arraysize="*", xtype="timestamp"),
    Column(name="vector", datatype=Datatype.FLOAT, arraysize="3", utype="a:b"),
)


def _key(key_id: str, source: str, target: str, *pairs: tuple[str, str]) -> ForeignKey:
    return ForeignKey(key_id=key_id, from_table=source, target_table=target, columns=pairs)


def _view(*schemas: SchemaMeta) -> StoredView:
    entries = {
        (table.schema, table.name): TableEntry(
            meta=table,
            row=VersionRow.empty(table.schema, table.name, 1, created_at=utc_now()),
            root="",
            load_index=empty_index,
        )
        for schema in schemas
        for table in schema.tables
    }
    return StoredView(7, schemas, entries)


@pytest.fixture
def view() -> StoredView:
    object_table = TableMeta(schema="dr1", name="Object", columns=_COLUMNS, table_index=1)
    source = TableMeta(
        schema="dr1",
        name="position",
        columns=(*_COLUMNS[:2], Column(name="sourceId", datatype=Datatype.LONG)),
        keys=(
            _key("to_object", "dr1.position", "dr1.Object", ("objectId", "objectId")),
            _key("to_object", "dr1.position", "dr1.Object", ("size", "size")),
            _key("dangling", "dr1.position", "dr1.Nothing", ("objectId", "objectId")),
            _key("no_column", "dr1.position", "dr1.Object", ("objectId", "nothing")),
        ),
    )
    return _view(SchemaMeta(name="dr1", description="One", tables=(object_table, source)))


def _query(view: StoredView, sql: str) -> list[tuple[Any, ...]]:
    connection = duckdb.connect()
    for meta, rows in tap_schema_tables(view).values():
        connection.register(f"ts_{meta.name}", rows)
    return connection.sql(sql).fetchall()


def test_names_stand_as_a_query_must_write_them(view: StoredView) -> None:
    assert _query(view, "FROM ts_schemas") == [
        ("dr1", None, "One", 1),
        ("tap_schema", None, TAP_SCHEMA.description, 2),
    ]
    names = _query(view, "SELECT schema_name, table_name, table_type FROM ts_tables LIMIT 2")
    assert names == [("dr1", "dr1.Object", "table"), ("dr1", 'dr1."position"', "table")]
    columns = _query(
        view,
        "SELECT column_name FROM ts_columns WHERE table_name = 'dr1.Object' ORDER BY column_index",
    )
    assert [name for (name,) in columns] == [
        "objectId",
        '"size"',
        '"_RAJ2000"',
        "band",
        "matrix",
        '"when"',
        "vector",
    ]


def test_columns_have_votable_types_and_flags(view: StoredView) -> None:
    rows = _query(
        view,
        'SELECT datatype, arraysize, xtype, "size", unit, ucd, utype, description, indexed, '
        "principal, std FROM ts_columns WHERE table_name = 'dr1.Object' ORDER BY column_index",
    )
    first = ("long", None, None, None, None, "meta.id;meta.main", None, "Größe µ", 1, 1, 0)
    assert rows[0] == first
    assert rows[1][:5] == ("float", None, None, None, "arcsec")
    assert rows[3][:4] == ("char", "8*", None, 8)
    assert rows[4][:4] == ("double", "2x3", None, None)
    assert rows[5][:4] == ("char", "*", "timestamp", None)
    assert rows[6][:4] == ("float", "3", None, 3)
    assert rows[6][6] == "a:b"


def test_keys_join_into_columns_and_dangling_ones_are_left_out(view: StoredView) -> None:
    joined = _query(
        view,
        "SELECT k.key_id, k.from_table, k.target_table, c.from_column, c.target_column, a.datatype "
        "FROM ts_keys k JOIN ts_key_columns c USING (key_id) "
        "JOIN ts_columns a ON a.table_name = k.from_table AND a.column_name = c.from_column "
        "JOIN ts_columns b ON b.table_name = k.target_table AND b.column_name = c.target_column "
        "WHERE k.from_table LIKE 'dr1.%' ORDER BY 1",
    )
    assert joined == [
        ("dr1.position.to_object", 'dr1."position"', "dr1.Object", "objectId", "objectId", "long"),
        ("dr1.position.to_object_2", 'dr1."position"', "dr1.Object", '"size"', '"size"', "float"),
    ]


def test_it_describes_itself(view: StoredView) -> None:
    tables = tap_schema_tables(view)
    assert list(tables) == [
        f"tap_schema.{name}" for name in ("schemas", "tables", "columns", "keys", "key_columns")
    ]
    for name, (meta, rows) in tables.items():
        assert rows.schema == pa.schema([(c.name, arrow_type(c)) for c in meta.columns])
        declared = _query(
            view, f"SELECT column_name, std FROM ts_columns WHERE table_name = '{name}'"
        )
        assert [n.strip('"') for n, _ in declared] == rows.column_names
        assert {std for _, std in declared} == {1}
        for column in meta.columns:
            assert column.nullable or rows[column.name].null_count == 0
    keys = _query(
        view,
        "SELECT from_table, from_column, target_table, target_column FROM ts_keys "
        "JOIN ts_key_columns USING (key_id) WHERE from_table LIKE 'tap_schema%'",
    )
    assert sorted(keys) == [
        ("tap_schema.columns", "table_name", "tap_schema.tables", "table_name"),
        ("tap_schema.key_columns", "key_id", "tap_schema.keys", "key_id"),
        ("tap_schema.keys", "from_table", "tap_schema.tables", "table_name"),
        ("tap_schema.keys", "target_table", "tap_schema.tables", "table_name"),
        ("tap_schema.tables", "schema_name", "tap_schema.schemas", "schema_name"),
    ]


def test_it_is_made_once_for_a_view(view: StoredView) -> None:
    cache = TapSchemaCache()
    made = cache.of(view)
    assert cache.of(view) is made
    assert made.schema is TAP_SCHEMA
    assert set(made.data) == {t.name for t in TAP_SCHEMA.tables}
    other = _view()
    assert cache.of(other) is not made
    assert cache.of(other).data["schemas"].num_rows == 1


def test_twelve_thousand_columns_are_described() -> None:
    columns = tuple(
        replace(_COLUMNS[i % 7], name=f"column_{i}", description="What it is, in some words")
        for i in range(600)
    )
    tables = tuple(TableMeta(schema="big", name=f"t{i}", columns=columns) for i in range(20))
    view = _view(SchemaMeta(name="big", tables=tables))
    made = tap_schema_tables(view)
    assert made["tap_schema.columns"][1].num_rows > 12_000
