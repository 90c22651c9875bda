"""Users, groups, tokens and what was done with them."""

from __future__ import annotations

__all__ = ["branch_labels", "depends_on", "down_revision", "revision", "upgrade"]

revision = "0003_people"
down_revision: str | None = "0002_catalog"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Create the tables."""
