"""Login by OpenID Connect, and for other sites."""

from __future__ import annotations

__all__ = ["branch_labels", "depends_on", "down_revision", "revision", "upgrade"]

revision = "0004_openid"
down_revision: str | None = "0003_people"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Create the tables."""
