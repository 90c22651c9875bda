"""The routers of the administration."""

from __future__ import annotations

from fastapi import APIRouter

from astrolabe_api.admin import clients, groups, quotas, users

__all__ = ["admin_routers"]


def admin_routers() -> tuple[APIRouter, ...]:
    """Return the routers of the whole service."""
    return (users.router, groups.router, clients.router, quotas.router)
