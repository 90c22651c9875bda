"""Users, groups, tokens and what was done with them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from astrolabe.core.database import UtcDateTime

__all__ = ["branch_labels", "depends_on", "down_revision", "revision", "upgrade"]

revision = "0003_people"
down_revision: str | None = "0002_catalog"
branch_labels: str | None = None
depends_on: str | None = None

# SQLite counts up for INTEGER only.
_SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Create the tables."""
    _create_users()
    _create_groups()
    _create_tokens()
    _create_records()


def _create_users() -> None:
    """Create names and accounts."""
    op.create_table(
        "identity_name",
        sa.Column("name", sa.String(31), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("retired", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_identity_name"),
        sa.UniqueConstraint("number", name="uq_identity_name_number"),
    )
    op.create_table(
        "identity_user",
        sa.Column("username", sa.String(31), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("full_name", sa.Text, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("password_hash", sa.Text, nullable=True),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("last_login", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("username", name="pk_identity_user"),
        sa.ForeignKeyConstraint(
            ["username"], ["identity_name.name"], name="fk_identity_user_username_identity_name"
        ),
    )
    op.create_table(
        "identity_openid_account",
        sa.Column("issuer", sa.String(512), nullable=False),
        sa.Column("subject", sa.String(256), nullable=False),
        sa.Column("username", sa.String(31), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "subject", name="pk_identity_openid_account"),
        sa.ForeignKeyConstraint(
            ["username"],
            ["identity_user.username"],
            name="fk_identity_openid_account_username_identity_user",
        ),
    )
    op.create_index("ix_identity_openid_account_username", "identity_openid_account", ["username"])
    op.create_table(
        "identity_pending",
        sa.Column("pending_id", sa.String(32), nullable=False),
        sa.Column("issuer", sa.String(512), nullable=False),
        sa.Column("subject", sa.String(256), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("requested_name", sa.String(31), nullable=True),
        sa.Column("full_name", sa.Text, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("suggested_name", sa.String(31), nullable=True),
        sa.Column("uid", sa.Integer, nullable=True),
        sa.Column("claim_groups", sa.JSON, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("pending_id", name="pk_identity_pending"),
        sa.UniqueConstraint("issuer", "subject", name="uq_identity_pending_issuer"),
        sa.UniqueConstraint("requested_name", name="uq_identity_pending_requested_name"),
    )


def _create_groups() -> None:
    """Create groups."""
    op.create_table(
        "identity_group",
        sa.Column("group_name", sa.String(31), nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("created_by", sa.String(31), nullable=True),
        sa.Column("from_claims", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("group_name", name="pk_identity_group"),
        sa.ForeignKeyConstraint(
            ["group_name"],
            ["identity_name.name"],
            name="fk_identity_group_group_name_identity_name",
        ),
    )
    op.create_table(
        "identity_member",
        sa.Column("group_name", sa.String(31), nullable=False),
        sa.Column("member", sa.String(31), nullable=False),
        sa.Column("role", sa.String(8), nullable=False),
        sa.Column("from_claims", sa.Boolean, nullable=False),
        sa.Column("added", UtcDateTime, nullable=False),
        sa.Column("added_by", sa.String(31), nullable=True),
        sa.PrimaryKeyConstraint("group_name", "member", name="pk_identity_member"),
        sa.ForeignKeyConstraint(
            ["group_name"],
            ["identity_group.group_name"],
            name="fk_identity_member_group_name_identity_group",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["member"], ["identity_name.name"], name="fk_identity_member_member_identity_name"
        ),
    )
    op.create_index("ix_identity_member_member", "identity_member", ["member"])
    op.create_table(
        "identity_invitation",
        sa.Column("invitation_id", sa.String(32), nullable=False),
        sa.Column("group_name", sa.String(31), nullable=False),
        sa.Column("username", sa.String(31), nullable=False),
        sa.Column("role", sa.String(8), nullable=False),
        sa.Column("invited_by", sa.String(31), nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("expires", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("invitation_id", name="pk_identity_invitation"),
        sa.ForeignKeyConstraint(
            ["group_name"],
            ["identity_group.group_name"],
            name="fk_identity_invitation_group_name_identity_group",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["username"],
            ["identity_user.username"],
            name="fk_identity_invitation_username_identity_user",
        ),
        sa.UniqueConstraint("group_name", "username", name="uq_identity_invitation_group_name"),
    )
    op.create_index("ix_identity_invitation_username", "identity_invitation", ["username"])


def _create_tokens() -> None:
    """Create tokens and login links."""
    op.create_table(
        "identity_token",
        sa.Column("token_key", sa.String(22), nullable=False),
        sa.Column("secret_hash", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("username", sa.String(31), nullable=False),
        sa.Column("name", sa.String(100), nullable=True),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("parent", sa.String(22), nullable=True),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("created_address", sa.String(64), nullable=True),
        sa.Column("expires", UtcDateTime, nullable=False),
        sa.Column("authenticated", UtcDateTime, nullable=True),
        sa.Column("revoked", UtcDateTime, nullable=True),
        sa.Column("last_used", UtcDateTime, nullable=True),
        sa.Column("last_address", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("token_key", name="pk_identity_token"),
        sa.ForeignKeyConstraint(
            ["parent"], ["identity_token.token_key"], name="fk_identity_token_parent_identity_token"
        ),
        sa.ForeignKeyConstraint(
            ["username"],
            ["identity_user.username"],
            name="fk_identity_token_username_identity_user",
        ),
    )
    op.create_index("ix_identity_token_expires", "identity_token", ["expires"])
    op.create_index("ix_identity_token_parent", "identity_token", ["parent"])
    op.create_index("ix_identity_token_username", "identity_token", ["username", "created"])
    op.create_table(
        "identity_token_change",
        sa.Column("change_id", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("token_key", sa.String(22), nullable=False),
        sa.Column("username", sa.String(31), nullable=False),
        sa.Column("time", UtcDateTime, nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("address", sa.String(64), nullable=True),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("change_id", name="pk_identity_token_change"),
    )
    op.create_index("ix_identity_token_change_time", "identity_token_change", ["time"])
    op.create_index(
        "ix_identity_token_change_token_key", "identity_token_change", ["token_key", "change_id"]
    )
    op.create_index(
        "ix_identity_token_change_username", "identity_token_change", ["username", "change_id"]
    )
    op.create_table(
        "identity_login_link",
        sa.Column("link_hash", sa.String(64), nullable=False),
        sa.Column("username", sa.String(31), nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("expires", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("link_hash", name="pk_identity_login_link"),
        sa.ForeignKeyConstraint(
            ["username"],
            ["identity_user.username"],
            name="fk_identity_login_link_username_identity_user",
        ),
    )
    op.create_index("ix_identity_login_link_username", "identity_login_link", ["username"])


def _create_records() -> None:
    """Create what is kept of attempts and changes."""
    op.create_table(
        "identity_login_attempt",
        sa.Column("subject", sa.String(100), nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("last_attempt", UtcDateTime, nullable=False),
        sa.Column("blocked_until", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("subject", name="pk_identity_login_attempt"),
    )
    op.create_index(
        "ix_identity_login_attempt_last_attempt", "identity_login_attempt", ["last_attempt"]
    )
    op.create_table(
        "identity_audit",
        sa.Column("entry_id", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("time", UtcDateTime, nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("target", sa.String(300), nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.Column("address", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("entry_id", name="pk_identity_audit"),
    )
    op.create_index("ix_identity_audit_action", "identity_audit", ["action", "entry_id"])
    op.create_index("ix_identity_audit_actor", "identity_audit", ["actor", "entry_id"])
    op.create_index("ix_identity_audit_target", "identity_audit", ["target", "entry_id"])
    op.create_index("ix_identity_audit_time", "identity_audit", ["time"])
