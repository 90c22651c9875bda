"""The tables of people: names, users, groups, tokens, and what was done with them."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
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

__all__ = [
    "AUDIT",
    "GROUP",
    "INVITATION",
    "LOGIN_ATTEMPT",
    "LOGIN_LINK",
    "MEMBER",
    "NAME",
    "OPENID_ACCOUNT",
    "PENDING",
    "SERIAL",
    "TOKEN",
    "TOKEN_CHANGE",
    "USER",
]

SERIAL: Final = BigInteger().with_variant(Integer, "sqlite")
"""Type of a key that counts up: SQLite does so for INTEGER only."""

NAME: Final = Table(
    "identity_name",
    METADATA,
    Column("name", String(31), primary_key=True),
    # user or group
    Column("kind", String(8), nullable=False),
    # The uid or gid.
    Column("number", Integer, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    # When what bore the name was deleted; the row stays, so that nobody gets the name again.
    Column("retired", UtcDateTime),
    UniqueConstraint("number"),
)
"""Every name that a user or a group has or ever had."""

USER: Final = Table(
    "identity_user",
    METADATA,
    Column("username", String(31), ForeignKey("identity_name.name"), primary_key=True),
    # active, disabled or deleted
    Column("status", String(16), nullable=False),
    Column("full_name", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("password_hash", Text),
    Column("created", UtcDateTime, nullable=False),
    Column("last_login", UtcDateTime),
)
"""One row an account, also of those that were deleted."""

OPENID_ACCOUNT: Final = Table(
    "identity_openid_account",
    METADATA,
    Column("issuer", String(512), primary_key=True),
    Column("subject", String(256), primary_key=True),
    Column("username", String(31), ForeignKey("identity_user.username"), nullable=False),
    Index("ix_identity_openid_account_username", "username"),
)
"""Which account a provider's user has."""

PENDING: Final = Table(
    "identity_pending",
    METADATA,
    Column("pending_id", String(32), primary_key=True),
    Column("issuer", String(512), nullable=False),
    Column("subject", String(256), nullable=False),
    # naming or waiting
    Column("state", String(16), nullable=False),
    Column("requested_name", String(31)),
    Column("full_name", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("suggested_name", String(31)),
    Column("uid", Integer),
    Column("claim_groups", JSON, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    UniqueConstraint("issuer", "subject", name="uq_identity_pending_issuer"),
    UniqueConstraint("requested_name"),
)
"""First logins from a provider that are no accounts yet."""

GROUP: Final = Table(
    "identity_group",
    METADATA,
    Column("group_name", String(31), ForeignKey("identity_name.name"), primary_key=True),
    Column("description", Text, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("created_by", String(31)),
    # Whether its members come from a provider's claims.
    Column("from_claims", Boolean, nullable=False),
)
"""One row a group that exists."""

MEMBER: Final = Table(
    "identity_member",
    METADATA,
    Column(
        "group_name",
        String(31),
        ForeignKey("identity_group.group_name", ondelete="CASCADE"),
        primary_key=True,
    ),
    # A user, or a group nested in this one.
    Column("member", String(31), ForeignKey("identity_name.name"), primary_key=True),
    # owner, admin or member
    Column("role", String(8), nullable=False),
    # Memberships from claims come and go with them.
    Column("from_claims", Boolean, nullable=False),
    Column("added", UtcDateTime, nullable=False),
    Column("added_by", String(31)),
    Index("ix_identity_member_member", "member"),
)
"""Who is in which group."""

INVITATION: Final = Table(
    "identity_invitation",
    METADATA,
    Column("invitation_id", String(32), primary_key=True),
    Column(
        "group_name",
        String(31),
        ForeignKey("identity_group.group_name", ondelete="CASCADE"),
        nullable=False,
    ),
    Column("username", String(31), ForeignKey("identity_user.username"), nullable=False),
    Column("role", String(8), nullable=False),
    Column("invited_by", String(31), nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("expires", UtcDateTime, nullable=False),
    UniqueConstraint("group_name", "username", name="uq_identity_invitation_group_name"),
    Index("ix_identity_invitation_username", "username"),
)
"""Invitations that wait for an answer."""

TOKEN: Final = Table(
    "identity_token",
    METADATA,
    Column("token_key", String(22), primary_key=True),
    # SHA-256 of the secret, in hexadecimal.
    Column("secret_hash", String(64), nullable=False),
    # session, user, lab, service or oidc
    Column("kind", String(8), nullable=False),
    Column("username", String(31), ForeignKey("identity_user.username"), nullable=False),
    Column("name", String(100)),
    Column("scopes", JSON, nullable=False),
    Column("parent", String(22), ForeignKey("identity_token.token_key")),
    Column("created", UtcDateTime, nullable=False),
    Column("created_address", String(64)),
    Column("expires", UtcDateTime, nullable=False),
    Column("authenticated", UtcDateTime),
    Column("revoked", UtcDateTime),
    Column("last_used", UtcDateTime),
    Column("last_address", String(64)),
    Index("ix_identity_token_username", "username", "created"),
    Index("ix_identity_token_parent", "parent"),
    Index("ix_identity_token_expires", "expires"),
)
"""Every token, for a year after its end."""

TOKEN_CHANGE: Final = Table(
    "identity_token_change",
    METADATA,
    Column("change_id", SERIAL, primary_key=True, autoincrement=True),
    Column("token_key", String(22), nullable=False),
    Column("username", String(31), nullable=False),
    Column("time", UtcDateTime, nullable=False),
    Column("actor", String(64), nullable=False),
    # create, rename, revoke
    Column("action", String(16), nullable=False),
    Column("address", String(64)),
    Column("detail", JSON, nullable=False),
    Index("ix_identity_token_change_token_key", "token_key", "change_id"),
    Index("ix_identity_token_change_username", "username", "change_id"),
    Index("ix_identity_token_change_time", "time"),
)
"""The history of every token."""

LOGIN_LINK: Final = Table(
    "identity_login_link",
    METADATA,
    # SHA-256 of the link's secret, in hexadecimal.
    Column("link_hash", String(64), primary_key=True),
    Column("username", String(31), ForeignKey("identity_user.username"), nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("expires", UtcDateTime, nullable=False),
    Index("ix_identity_login_link_username", "username"),
)
"""Login links that nobody has used yet."""

LOGIN_ATTEMPT: Final = Table(
    "identity_login_attempt",
    METADATA,
    # account:NAME or address:ADDRESS
    Column("subject", String(100), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_attempt", UtcDateTime, nullable=False),
    Column("blocked_until", UtcDateTime),
    Index("ix_identity_login_attempt_last_attempt", "last_attempt"),
)
"""How often a login failed lately."""

AUDIT: Final = Table(
    "identity_audit",
    METADATA,
    Column("entry_id", SERIAL, primary_key=True, autoincrement=True),
    Column("time", UtcDateTime, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", String(300), nullable=False),
    Column("detail", JSON, nullable=False),
    Column("address", String(64)),
    Index("ix_identity_audit_actor", "actor", "entry_id"),
    Index("ix_identity_audit_target", "target", "entry_id"),
    Index("ix_identity_audit_action", "action", "entry_id"),
    Index("ix_identity_audit_time", "time"),
)
"""What was done to people, groups, rights and quotas; rows are added and aged out only."""
