"""Collections of images, and the images."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from astrolabe.core.database import UtcDateTime

__all__ = ["branch_labels", "depends_on", "down_revision", "revision", "upgrade"]

revision = "0006_images"
down_revision: str | None = "0005_rights"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Create the tables of images."""
    op.create_table(
        "image_collection",
        sa.Column("collection_key", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("documentation", sa.Text, nullable=True),
        sa.Column("release", sa.String(64), nullable=True),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("collection_key", name="pk_image_collection"),
    )
    op.create_table(
        "image",
        sa.Column("collection_key", sa.String(64), nullable=False),
        sa.Column("image_key", sa.String(200), nullable=False),
        sa.Column("image_id", sa.String(200), nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("md5", sa.String(32), nullable=True),
        sa.Column("signature", sa.String(200), nullable=False),
        sa.Column("media_type", sa.String(100), nullable=False),
        sa.Column("index_path", sa.Text, nullable=False),
        sa.Column("planes", sa.JSON, nullable=False),
        sa.Column("progenitors", sa.JSON, nullable=False),
        sa.Column("released", UtcDateTime, nullable=True),
        sa.Column("obscore", sa.JSON, nullable=False),
        sa.Column("imported", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("collection_key", "image_key", name="pk_image"),
    )
    op.create_index("ix_image_uri", "image", ["collection_key", "uri"])
