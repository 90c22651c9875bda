"""The tables of OpenID Connect in the control database."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from astrolabe.core.database import METADATA, UtcDateTime

__all__ = ["CLIENT", "CODE", "CONSENT", "GRANT", "ISSUED", "KEY"]

KEY: Final = Table(
    "openid_key",
    METADATA,
    Column("kid", String(64), primary_key=True),
    Column("algorithm", String(16), nullable=False),
    # Counts the keys of an algorithm; two processes that make the next one at once collide here.
    Column("number", Integer, nullable=False),
    Column("public", JSON, nullable=False),
    # The whole key as JWE, encrypted with a key that is not in the database.
    Column("private", Text, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("use_from", UtcDateTime, nullable=False),
    UniqueConstraint("algorithm", "number"),
)
"""Keys that sign ID tokens."""

CLIENT: Final = Table(
    "openid_client",
    METADATA,
    Column("client_id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    # None: a public client, which cannot keep a secret.
    Column("secret_hash", String(64)),
    Column("redirect_uris", JSON, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("consent", String(16), nullable=False),
    Column("algorithm", String(16), nullable=False),
    Column("pkce_required", Boolean, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("created_by", String(64), nullable=False),
)
"""Clients that administrators registered; those of the settings are not here."""

CONSENT: Final = Table(
    "openid_consent",
    METADATA,
    Column("username", String(64), primary_key=True),
    Column("client_id", String(64), primary_key=True),
    Column("scopes", JSON, nullable=False),
    Column("granted", UtcDateTime, nullable=False),
)
"""What users have agreed to tell which client."""

GRANT: Final = Table(
    "openid_grant",
    METADATA,
    Column("grant_id", String(32), primary_key=True),
    Column("client_id", String(64), nullable=False),
    Column("username", String(64), nullable=False),
    Column("session_key", String(64), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("authenticated", UtcDateTime, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("expires", UtcDateTime, nullable=False),
    Column("revoked", UtcDateTime),
    Index("ix_openid_grant_expires", "expires"),
    Index("ix_openid_grant_username", "username", "client_id"),
)
"""One login at a client, from its code to its last refresh; ended as a whole."""

CODE: Final = Table(
    "openid_code",
    METADATA,
    Column("code_key", String(32), primary_key=True),
    Column("secret_hash", String(64), nullable=False),
    Column(
        "grant_id",
        String(32),
        ForeignKey("openid_grant.grant_id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("redirect_uri", Text, nullable=False),
    Column("nonce", Text),
    Column("challenge", String(128)),
    Column("expires", UtcDateTime, nullable=False),
    Column("used", UtcDateTime),
    Index("ix_openid_code_grant_id", "grant_id"),
)
"""Authorization codes, each good for one use."""

ISSUED: Final = Table(
    "openid_issued",
    METADATA,
    Column("token_key", String(64), primary_key=True),
    Column(
        "grant_id",
        String(32),
        ForeignKey("openid_grant.grant_id", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("refresh_key", String(32), unique=True),
    Column("refresh_hash", String(64)),
    Column("created", UtcDateTime, nullable=False),
    # When the refresh token was used; once more means that somebody has stolen it.
    Column("refreshed", UtcDateTime),
    Index("ix_openid_issued_grant_id", "grant_id"),
)
"""Access tokens, each with the refresh token that was given out beside it."""
