"""TAP_SCHEMA as Arrow tables, made of a catalog view (TAP 1.1, section 4).

Names stand there as a query must write them, in double quotes where ADQL needs those.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from astrolabe.catalogs.model import CatalogView
from astrolabe.catalogs.per_view import PerView
from astrolabe.catalogs.tap_schema_model import TAP_SCHEMA, TAP_SCHEMA_NAME
from astrolabe.tables.model import (
    Column,
    ForeignKey,
    SchemaMeta,
    TableMeta,
    arrow_type,
    quote_name,
)

__all__ = [
    "TAP_SCHEMA",
    "TAP_SCHEMA_NAME",
    "TapSchema",
    "TapSchemaCache",
    "tap_schema_tables",
    "visible_keys",
]

_Rows = Iterator[tuple[object, ...]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TapSchema:
    """TAP_SCHEMA of one view of the catalog.

    Parameters
    ----------
    schema
        Its own description: the same for every view.
    data
        The rows of each of its tables, by raw table name.
    """

    schema: SchemaMeta
    data: dict[str, pa.Table]


class TapSchemaCache(PerView[TapSchema]):
    """Makes TAP_SCHEMA once for each view; treat what it gives as read-only."""

    def __init__(self) -> None:
        super().__init__(_tap_schema)


def _tap_schema(view: CatalogView) -> TapSchema:
    tables = tap_schema_tables(view)
    return TapSchema(schema=TAP_SCHEMA, data={meta.name: rows for meta, rows in tables.values()})


def tap_schema_tables(view: CatalogView) -> dict[str, tuple[TableMeta, pa.Table]]:
    """Return TAP_SCHEMA's five tables for `view`, by name (``tap_schema.columns`` and so on)."""
    schemas = (*view.schemas, TAP_SCHEMA)
    keys = list(_unique_keys(schemas))
    rows: dict[str, _Rows] = {
        "schemas": _schema_rows(schemas),
        "tables": _table_rows(schemas),
        "columns": _column_rows(schemas),
        "keys": (
            (key_id, _adql(key.from_table), _adql(key.target_table), key.description, key.utype)
            for key_id, key in keys
        ),
        "key_columns": (
            (key_id, quote_name(source), quote_name(target))
            for key_id, key in keys
            for source, target in key.columns
        ),
    }
    return {
        meta.qualified_name: (meta, _arrow(meta, rows[meta.name])) for meta in TAP_SCHEMA.tables
    }


def visible_keys(schemas: tuple[SchemaMeta, ...]) -> Iterator[ForeignKey]:
    """Yield the keys of all tables whose target table and columns are there too.

    A key may be declared before its target is imported, or outlive it.
    """
    columns = {
        table.qualified_name: {column.name for column in table.columns}
        for schema in schemas
        for table in schema.tables
    }
    for schema in schemas:
        for table in schema.tables:
            for key in table.keys:
                own, other = columns[table.qualified_name], columns.get(key.target_table)
                if other is not None and all(s in own and t in other for s, t in key.columns):
                    yield key


def _unique_keys(schemas: tuple[SchemaMeta, ...]) -> Iterator[tuple[str, ForeignKey]]:
    """Yield keys with identifiers that no other table's key has."""
    used: set[str] = set()
    for key in visible_keys(schemas):
        key_id = wanted = f"{key.from_table}.{key.key_id}"
        number = 1
        while key_id in used:
            number += 1
            key_id = f"{wanted}_{number}"
        used.add(key_id)
        yield key_id, key


def _schema_rows(schemas: tuple[SchemaMeta, ...]) -> _Rows:
    for place, schema in enumerate(schemas, start=1):
        yield quote_name(schema.name), schema.utype, schema.description, place


def _table_rows(schemas: tuple[SchemaMeta, ...]) -> _Rows:
    for schema in schemas:
        for place, table in enumerate(schema.tables, start=1):
            yield (
                quote_name(schema.name),
                table.adql_name,
                table.table_type,
                table.utype,
                table.description,
                place,
            )


def _column_rows(schemas: tuple[SchemaMeta, ...]) -> _Rows:
    for schema in schemas:
        for table in schema.tables:
            table_name = table.adql_name
            for place, column in enumerate(table.columns, start=1):
                yield (
                    table_name,
                    quote_name(column.name),
                    column.datatype.value,
                    column.arraysize,
                    column.xtype,
                    _size(column),
                    column.description,
                    column.utype,
                    column.unit,
                    column.ucd,
                    int(column.indexed),
                    int(column.principal),
                    int(column.std),
                    place,
                )


def _size(column: Column) -> int | None:
    """Return the deprecated ``size``: the length in an arraysize ``n`` or ``n*``."""
    digits = (column.arraysize or "").removesuffix("*")
    return int(digits) if digits.isdigit() else None


def _adql(qualified_name: str) -> str:
    schema, _, table = qualified_name.partition(".")
    return f"{quote_name(schema)}.{quote_name(table)}"


def _arrow(meta: TableMeta, rows: _Rows) -> pa.Table:
    values = list(zip(*rows, strict=True)) or [()] * len(meta.columns)
    return pa.table(
        [
            pa.array(column, arrow_type(described))
            for column, described in zip(values, meta.columns, strict=True)
        ],
        names=[column.name for column in meta.columns],
    )
