"""``/api/me``: who the caller is, what he may do, and how much he has used."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from astrolabe_api.common.auth import Caller, ClientAddress, logged_in
from astrolabe_api.common.people import GroupEntry, QuotaEntry
from astrolabe_api.common.state import State

__all__ = ["Me", "me_router"]

_SERVICES = ("tap", "scs")

router = APIRouter(tags=["account"])


class Me(BaseModel):
    """The caller."""

    username: str
    uid: int | None
    full_name: str
    email: str
    groups: list[GroupEntry]
    scopes: list[str] = Field(description="What the credential of this request may be used for.")
    quotas: list[QuotaEntry]


def me_router() -> APIRouter:
    """Return the router of this module."""
    return router


@router.get("/api/me", dependencies=[logged_in()], summary="Identity, groups, scopes and quotas")
def me(state: State, caller: Caller, address: ClientAddress) -> Me:
    """Describe the caller."""
    user = state.context.users.get(caller.username or "")
    memberships = state.context.groups.memberships(user.username)
    return Me(
        username=user.username,
        uid=user.uid,
        full_name=user.full_name,
        email=user.email,
        groups=[GroupEntry.of(group, role=role) for group, role in memberships],
        scopes=sorted(caller.scopes),
        quotas=[
            QuotaEntry.of(use)
            for use in state.context.quotas.usage(caller, address=address, services=_SERVICES)
        ],
    )
