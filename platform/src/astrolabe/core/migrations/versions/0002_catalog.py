"""The catalog: schemas, tables, their versions, and the leases of writers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from astrolabe.core.database import UtcDateTime

__all__ = ["branch_labels", "depends_on", "down_revision", "revision", "upgrade"]

revision = "0002_catalog"
down_revision: str | None = "0001_jobs"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Create the catalog's tables."""
    op.create_table(
        "catalog_state",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("tables_location", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_catalog_state"),
    )
    op.create_table(
        "catalog_schema",
        sa.Column("schema_key", sa.String(128), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("description", sa.Text, nullable=True),
        sa.Column("utype", sa.Text, nullable=True),
        sa.Column("schema_index", sa.Integer, nullable=True),
        sa.PrimaryKeyConstraint("schema_key", name="pk_catalog_schema"),
    )
    op.create_table(
        "catalog_table",
        sa.Column("table_key", sa.String(257), nullable=False),
        sa.Column("schema_key", sa.String(128), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("last_version", sa.Integer, nullable=False),
        sa.Column("current_version", sa.Integer, nullable=True),
        sa.PrimaryKeyConstraint("table_key", name="pk_catalog_table"),
        sa.ForeignKeyConstraint(
            ["schema_key"],
            ["catalog_schema.schema_key"],
            name="fk_catalog_table_schema_key_catalog_schema",
        ),
    )
    op.create_index("ix_catalog_table_schema_key", "catalog_table", ["schema_key"])
    op.create_table(
        "catalog_version",
        sa.Column("table_key", sa.String(257), nullable=False),
        sa.Column("version", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("folder", sa.Text, nullable=False),
        sa.Column("catalog_path", sa.Text, nullable=True),
        sa.Column("index_path", sa.Text, nullable=True),
        sa.Column("positions_sorted", sa.Boolean, nullable=False),
        sa.Column("snapshot_id", sa.BigInteger, nullable=True),
        sa.Column("row_count", sa.BigInteger, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("meta", sa.Text, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("release", sa.String(128), nullable=True),
        sa.Column("created_at", UtcDateTime, nullable=False),
        sa.Column("retired_at", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("table_key", "version", name="pk_catalog_version"),
        sa.ForeignKeyConstraint(
            ["table_key"],
            ["catalog_table.table_key"],
            name="fk_catalog_version_table_key_catalog_table",
        ),
    )
    op.create_table(
        "catalog_lock",
        sa.Column("name", sa.String(300), nullable=False),
        sa.Column("token", sa.String(64), nullable=False),
        sa.Column("owner", sa.Text, nullable=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("process_start", sa.Text, nullable=False),
        sa.Column("acquired_at", UtcDateTime, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_catalog_lock"),
    )
