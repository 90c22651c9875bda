"""Rights and quotas."""

from __future__ import annotations

__all__ = ["branch_labels", "depends_on", "down_revision", "revision", "upgrade"]

revision = "0005_rights"
down_revision: str | None = "0004_openid"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Create the tables."""
