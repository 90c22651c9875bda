"""The jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from astrolabe.core.database import UtcDateTime

__all__ = ["branch_labels", "depends_on", "down_revision", "revision", "upgrade"]

revision = "0001_jobs"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Create the table of jobs."""
    op.create_table(
        "job",
        sa.Column("job_id", sa.String(26), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(64), nullable=True),
        sa.Column("run_id", sa.Text, nullable=True),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("results", sa.JSON, nullable=False),
        sa.Column("error", sa.JSON, nullable=True),
        sa.Column("progress", sa.JSON, nullable=False),
        sa.Column("created", UtcDateTime, nullable=False),
        sa.Column("queued", UtcDateTime, nullable=True),
        sa.Column("started", UtcDateTime, nullable=True),
        sa.Column("ended", UtcDateTime, nullable=True),
        sa.Column("destruction", UtcDateTime, nullable=False),
        sa.Column("execution_seconds", sa.Integer, nullable=False),
        sa.Column("turn", sa.BigInteger, nullable=True),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("lease_owner", sa.String(128), nullable=True),
        sa.Column("lease_until", UtcDateTime, nullable=True),
        sa.PrimaryKeyConstraint("job_id", name="pk_job"),
    )
    op.create_index("ix_job_claim", "job", ["phase", "turn", "queued"])
    op.create_index("ix_job_owner_turn", "job", ["owner", "phase", "turn"])
    op.create_index("ix_job_owner_created", "job", ["owner", "created", "job_id"])
    op.create_index("ix_job_destruction", "job", ["destruction"])
