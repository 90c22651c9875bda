"""TAP_SCHEMA's own tables: their columns and keys (TAP 1.1, section 4), as it describes itself."""

from __future__ import annotations

from astrolabe.tables.model import Column, Datatype, ForeignKey, SchemaMeta, TableMeta

__all__ = ["TAP_SCHEMA", "TAP_SCHEMA_NAME"]

TAP_SCHEMA_NAME = "tap_schema"


def _text(name: str, description: str, *, required: bool = False) -> Column:
    return Column(
        name=name,
        datatype=Datatype.CHAR,
        arraysize="*",
        description=description,
        principal=True,
        std=True,
        nullable=not required,
    )


def _prose(name: str, description: str) -> Column:
    # People write their names and their units in any alphabet.
    return Column(
        name=name,
        datatype=Datatype.UNICODE_CHAR,
        arraysize="*",
        description=description,
        principal=True,
        std=True,
    )


def _number(name: str, description: str, *, required: bool = False) -> Column:
    return Column(
        name=name,
        datatype=Datatype.INT,
        description=description,
        principal=True,
        std=True,
        nullable=not required,
    )


def _table(
    index: int,
    name: str,
    description: str,
    columns: tuple[Column, ...],
    *keys: tuple[str, str, str],
) -> TableMeta:
    own = f"{TAP_SCHEMA_NAME}.{name}"
    return TableMeta(
        schema=TAP_SCHEMA_NAME,
        name=name,
        description=description,
        columns=columns,
        keys=tuple(
            ForeignKey(
                key_id=f"{column}_fk",
                from_table=own,
                target_table=f"{TAP_SCHEMA_NAME}.{target}",
                columns=((column, target_column),),
            )
            for column, target, target_column in keys
        ),
        table_index=index,
    )


_SCHEMAS = _table(
    1,
    "schemas",
    "Schemas of this service",
    (
        _text("schema_name", "Name of the schema, as a query must write it", required=True),
        _text("utype", "UTYPE, where the schema follows a data model"),
        _prose("description", "What the schema holds"),
        _number("schema_index", "Place of the schema in lists"),
    ),
)
_TABLES = _table(
    2,
    "tables",
    "Tables of this service",
    (
        _text("schema_name", "The schema that the table belongs to", required=True),
        _text("table_name", "Full name of the table, as a query must write it", required=True),
        _text("table_type", "table or view", required=True),
        _text("utype", "UTYPE, where the table follows a data model"),
        _prose("description", "What the table holds"),
        _number("table_index", "Place of the table in lists"),
    ),
    ("schema_name", "schemas", "schema_name"),
)
_COLUMNS = _table(
    3,
    "columns",
    "Columns of the tables of this service",
    (
        _text("table_name", "The table that the column belongs to", required=True),
        _text("column_name", "Name of the column, as a query must write it", required=True),
        _text("datatype", "VOTable datatype", required=True),
        _text("arraysize", "VOTable arraysize; null for a scalar"),
        _text("xtype", "What the value means beyond its datatype (DALI xtype)"),
        _number("size", "Length, where arraysize names one; null otherwise (deprecated)"),
        _prose("description", "What the column holds"),
        _text("utype", "UTYPE, where the column follows a data model"),
        _text("unit", "Unit in VOUnit syntax"),
        _text("ucd", "Unified content descriptor"),
        _number("indexed", "1 if conditions on the column are fast", required=True),
        _number("principal", "1 if the column belongs to the main ones", required=True),
        _number("std", "1 if a standard defines the column", required=True),
        _number("column_index", "Place of the column in its table"),
    ),
    ("table_name", "tables", "table_name"),
)
_KEYS = _table(
    4,
    "keys",
    "Foreign keys between the tables of this service",
    (
        _text("key_id", "Identifier of the key", required=True),
        _text("from_table", "The table that refers", required=True),
        _text("target_table", "The table that is referred to", required=True),
        _prose("description", "What the key means"),
        _text("utype", "UTYPE of the key"),
    ),
    ("from_table", "tables", "table_name"),
    ("target_table", "tables", "table_name"),
)
_KEY_COLUMNS = _table(
    5,
    "key_columns",
    "Columns of the foreign keys of this service",
    (
        _text("key_id", "The key that the pair belongs to", required=True),
        _text("from_column", "The column that refers", required=True),
        _text("target_column", "The column that is referred to", required=True),
    ),
    ("key_id", "keys", "key_id"),
)

TAP_SCHEMA = SchemaMeta(
    name=TAP_SCHEMA_NAME,
    description="Metadata of all schemas, tables, columns and keys of this service",
    tables=(_SCHEMAS, _TABLES, _COLUMNS, _KEYS, _KEY_COLUMNS),
)
"""The schema that describes all others and itself."""
