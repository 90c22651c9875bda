"""Login by OpenID Connect, and for other sites."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from astrolabe.core.database import UtcDateTime

__all__ = ["branch_labels", "depends_on", "down_revision", "revision", "upgrade"]

revision = "0004_openid"
down_revision: str | None = "0003_people"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Create the tables."""
    _create_keys_and_clients()
    _create_grants()


def _create_keys_and_clients() -> None:
    op.create_table(
        "openid_key",
        sa.Column("kid", sa.String(64), nullable=False),
        sa.Column("algorithm", sa.String(16), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("public", sa.JSON, nullable=False),
        sa.Column("private", sa.Text, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("use_from", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("kid", name="pk_openid_key"),
        sa.UniqueConstraint("algorithm", "number", name="uq_openid_key_algorithm"),
    )
    op.create_table(
        "openid_client",
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("secret_hash", sa.String(64), nullable=True),
        sa.Column("redirect_uris", sa.JSON, nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("consent", sa.String(16), nullable=False),
        sa.Column("algorithm", sa.String(16), nullable=False),
        sa.Column("pkce_required", sa.Boolean, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("client_id", name="pk_openid_client"),
    )
    op.create_table(
        "openid_consent",
        sa.Column("username", sa.String(64), nullable=False),
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("granted", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("username", "client_id", name="pk_openid_consent"),
    )


def _create_grants() -> None:
    op.create_table(
        "openid_grant",
        sa.Column("grant_id", sa.String(32), nullable=False),
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("username", sa.String(64), nullable=False),
        sa.Column("session_key", sa.String(64), nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("authenticated", UtcDateTime, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("expires", UtcDateTime, nullable=False),
        sa.Column("revoked", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("grant_id", name="pk_openid_grant"),
    )
    op.create_index("ix_openid_grant_expires", "openid_grant", ["expires"])
    op.create_index("ix_openid_grant_username", "openid_grant", ["username", "client_id"])
    op.create_table(
        "openid_code",
        sa.Column("code_key", sa.String(32), nullable=False),
        sa.Column("secret_hash", sa.String(64), nullable=False),
        sa.Column("grant_id", sa.String(32), nullable=False),
        sa.Column("redirect_uri", sa.Text, nullable=False),
        sa.Column("nonce", sa.Text, nullable=True),
        sa.Column("challenge", sa.String(128), nullable=True),
        sa.Column("expires", UtcDateTime, nullable=False),
        sa.Column("used", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("code_key", name="pk_openid_code"),
        sa.ForeignKeyConstraint(
            ["grant_id"],
            ["openid_grant.grant_id"],
            name="fk_openid_code_grant_id_openid_grant",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_openid_code_grant_id", "openid_code", ["grant_id"])
    op.create_table(
        "openid_issued",
        sa.Column("token_key", sa.String(64), nullable=False),
        sa.Column("grant_id", sa.String(32), nullable=False),
        sa.Column("refresh_key", sa.String(32), nullable=True),
        sa.Column("refresh_hash", sa.String(64), nullable=True),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("refreshed", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("token_key", name="pk_openid_issued"),
        sa.UniqueConstraint("refresh_key", name="uq_openid_issued_refresh_key"),
        sa.ForeignKeyConstraint(
            ["grant_id"],
            ["openid_grant.grant_id"],
            name="fk_openid_issued_grant_id_openid_grant",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_openid_issued_grant_id", "openid_issued", ["grant_id"])
