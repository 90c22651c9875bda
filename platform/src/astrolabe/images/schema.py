"""The tables of images in the control database."""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, BigInteger, Column, Index, String, Table, Text

from astrolabe.core.database import METADATA, UtcDateTime

__all__ = ["IMAGE", "IMAGE_COLLECTION"]

IMAGE_COLLECTION: Final = Table(
    "image_collection",
    METADATA,
    # In lower case, as it is looked up; `name` is as it was given.
    Column("collection_key", String(64), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("documentation", Text),
    Column("release", String(64)),
    Column("created", UtcDateTime, nullable=False),
)

IMAGE: Final = Table(
    "image",
    METADATA,
    Column("collection_key", String(64), primary_key=True),
    Column("image_key", String(200), primary_key=True),
    Column("image_id", String(200), nullable=False),
    Column("uri", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("md5", String(32)),
    Column("signature", String(200), nullable=False),
    Column("media_type", String(100), nullable=False),
    Column("index_path", Text, nullable=False),
    Column("planes", JSON, nullable=False),
    Column("progenitors", JSON, nullable=False),
    Column("released", UtcDateTime),
    Column("obscore", JSON, nullable=False),
    Column("imported", UtcDateTime, nullable=False),
    Index("ix_image_uri", "collection_key", "uri"),
)
"""The source of everything that `ivoa.ObsCore` holds."""
