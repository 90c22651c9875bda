"""What the modules of the administration share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

__all__ = ["ADMIN_PATH", "Cursor", "Limit"]

ADMIN_PATH = "/api/admin"

Limit = Annotated[int, Query(ge=1, le=1000, description="Most lines of a page.")]
Cursor = Annotated[str | None, Query(description="next_cursor of the page before.")]
