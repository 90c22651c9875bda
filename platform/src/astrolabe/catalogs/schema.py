"""The catalog's tables in the control database.

A row of ``catalog_table`` outlives the table: its counter makes sure that no version's folder name
is ever used twice, so that whoever caches by path can never read another version's bytes.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
)

from astrolabe.core.database import METADATA, UtcDateTime

__all__ = ["LOCKS", "SCHEMAS", "STATE", "TABLES", "VERSIONS"]

STATE = Table(
    "catalog_state",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("generation", BigInteger, nullable=False),
    # Where the tables' folder was when Iceberg's absolute locations were written.
    Column("tables_location", Text),
)
"""One row (id 1): the generation that every published change raises."""

SCHEMAS = Table(
    "catalog_schema",
    METADATA,
    Column("schema_key", String(128), primary_key=True),  # the name in lower case
    Column("name", String(128), nullable=False),
    Column("description", Text),
    Column("utype", Text),
    Column("schema_index", Integer),
)

TABLES = Table(
    "catalog_table",
    METADATA,
    Column("table_key", String(257), primary_key=True),  # schema.table in lower case
    Column("schema_key", String(128), ForeignKey("catalog_schema.schema_key"), nullable=False),
    Column("name", String(128), nullable=False),
    Column("last_version", Integer, nullable=False),  # the last number given to a writer
    Column("current_version", Integer),  # null: nobody sees the table
    Index("ix_catalog_table_schema_key", "schema_key"),
)

VERSIONS = Table(
    "catalog_version",
    METADATA,
    Column("table_key", String(257), ForeignKey("catalog_table.table_key"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    # All paths are relative to the tables' folder, so that a home can be moved.
    Column("folder", Text, nullable=False),
    Column("catalog_path", Text),  # null: an empty table, which has no files
    Column("index_path", Text),
    Column("positions_sorted", Boolean, nullable=False),
    Column("snapshot_id", BigInteger),
    Column("row_count", BigInteger, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("meta", Text, nullable=False),  # JSON, see catalogs/metadata.py
    Column("details", Text, nullable=False),  # JSON: margin, id indexes, the writer's properties
    Column("release", String(128)),
    Column("created_at", UtcDateTime, nullable=False),
    Column("retired_at", UtcDateTime),  # null: current
)

LOCKS = Table(
    "catalog_lock",
    METADATA,
    Column("name", String(300), primary_key=True),
    Column("token", String(64), nullable=False),
    Column("owner", Text),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_start", Text, nullable=False),
    Column("acquired_at", UtcDateTime, nullable=False),
    Column("expires_at", Float, nullable=False),  # seconds since 1970, UTC
)
"""Held leases; a lease past its time, or of a process that is gone, may be taken over."""
