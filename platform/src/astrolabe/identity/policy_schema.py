"""The tables of rights and quotas in the control database."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, String, Table, Text

from astrolabe.core.database import METADATA, UtcDateTime

__all__ = [
    "ACCESS_RULE",
    "POLICY_STATE",
    "QUOTA_METER",
    "QUOTA_RULE",
    "QUOTA_SLOT",
    "QUOTA_STORAGE",
]

POLICY_STATE: Final = Table(
    "policy_state",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("generation", BigInteger, nullable=False),
)
"""One row (id 1): the generation that every change of a rule of access or a quota raises."""

ACCESS_RULE: Final = Table(
    "access_rule",
    METADATA,
    Column("kind", String(16), primary_key=True),
    # Of schemas and tables in lower case, as the catalog finds them.
    Column("name", String(400), primary_key=True),
    Column("access", String(16), nullable=False),
    Column("group_name", String(64)),
    Column("owner", String(64)),
    Column("embargo_until", UtcDateTime),
    Column("listed", Boolean, nullable=False),
    Column("changed_by", String(64)),
    Column("changed_at", UtcDateTime, nullable=False),
)

QUOTA_RULE: Final = Table(
    "quota_rule",
    METADATA,
    Column("subject_kind", String(16), primary_key=True),
    # Empty where the kind needs no name.
    Column("subject", String(64), primary_key=True),
    Column("quota", String(64), primary_key=True),
    Column("value", Float(53)),  # null: no limit
    Column("ends", UtcDateTime),
    Column("changed_by", String(64)),
    Column("changed_at", UtcDateTime, nullable=False),
)

QUOTA_METER: Final = Table(
    "quota_meter",
    METADATA,
    Column("subject", String(100), primary_key=True),
    Column("resource", String(64), primary_key=True),
    # JSON object: number of a slot of time -> how much of it was used or is leased.
    Column("counts", Text, nullable=False),
    # Seconds since 1970 (UTC) from which on the row says nothing any more.
    Column("stale_after", Float(53), nullable=False),
)

QUOTA_SLOT: Final = Table(
    "quota_slot",
    METADATA,
    Column("subject", String(100), primary_key=True),
    Column("resource", String(64), primary_key=True),
    # The process; empty for the row that serves as the lock of (subject, resource).
    Column("holder", String(128), primary_key=True),
    Column("held", Integer, nullable=False),
    Column("expires", Float(53), nullable=False),  # seconds since 1970, UTC
)

QUOTA_STORAGE: Final = Table(
    "quota_storage",
    METADATA,
    Column("subject", String(100), primary_key=True),
    Column("used_bytes", BigInteger, nullable=False),
)
