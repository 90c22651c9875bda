"""Rights and quotas."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from astrolabe.core.database import UtcDateTime

__all__ = ["branch_labels", "depends_on", "down_revision", "revision", "upgrade"]

revision = "0005_rights"
down_revision: str | None = "0004_openid"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Create the tables of rights and quotas; give jobs a lane."""
    state = op.create_table(
        "policy_state",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_policy_state"),
    )
    op.bulk_insert(state, [{"id": 1, "generation": 0}])
    op.create_table(
        "access_rule",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(400), nullable=False),
        sa.Column("access", sa.String(16), nullable=False),
        sa.Column("group_name", sa.String(64), nullable=True),
        sa.Column("owner", sa.String(64), nullable=True),
        sa.Column("embargo_until", UtcDateTime, nullable=True),
        sa.Column("listed", sa.Boolean, nullable=False),
        sa.Column("changed_by", sa.String(64), nullable=True),
        sa.Column("changed_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name="pk_access_rule"),
    )
    op.create_table(
        "quota_rule",
        sa.Column("subject_kind", sa.String(16), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("quota", sa.String(64), nullable=False),
        sa.Column("value", sa.Float(53), nullable=True),
        sa.Column("ends", UtcDateTime, nullable=True),
        sa.Column("changed_by", sa.String(64), nullable=True),
        sa.Column("changed_at", UtcDateTime, nullable=False),
        sa.PrimaryKeyConstraint("subject_kind", "subject", "quota", name="pk_quota_rule"),
    )
    op.create_table(
        "quota_meter",
        sa.Column("subject", sa.String(100), nullable=False),
        sa.Column("resource", sa.String(64), nullable=False),
        sa.Column("counts", sa.Text, nullable=False),
        sa.Column("stale_after", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("subject", "resource", name="pk_quota_meter"),
    )
    op.create_table(
        "quota_slot",
        sa.Column("subject", sa.String(100), nullable=False),
        sa.Column("resource", sa.String(64), nullable=False),
        sa.Column("holder", sa.String(128), nullable=False),
        sa.Column("held", sa.Integer, nullable=False),
        sa.Column("expires", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("subject", "resource", "holder", name="pk_quota_slot"),
    )
    op.create_table(
        "quota_storage",
        sa.Column("subject", sa.String(100), nullable=False),
        sa.Column("used_bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_quota_storage"),
    )
    op.add_column("job", sa.Column("lane", sa.String(100), nullable=True))
