"""All groups: ``/api/admin/groups``."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from pydantic import BaseModel, Field

from astrolabe.identity.model import Role
from astrolabe_api.admin.common import ADMIN_PATH, Cursor, Limit
from astrolabe_api.common.auth import Caller, ClientAddress, administers
from astrolabe_api.common.people import GroupEntry, MemberEntry, Sent
from astrolabe_api.common.state import State

__all__ = ["router"]

_MANAGE = administers("admin:user")

router = APIRouter(prefix=f"{ADMIN_PATH}/groups", tags=["administration"], dependencies=[_MANAGE])


class AllGroups(BaseModel):
    """A page of groups in the order of their names."""

    groups: list[GroupEntry]
    next_cursor: str | None = Field(description="Send as `cursor` for the next page.")


class AnyGroup(BaseModel):
    """A group and its members."""

    group: GroupEntry
    members: list[MemberEntry]


class GroupRequest(Sent):
    """A group to be made."""

    name: str
    description: str = ""
    owner: str | None = Field(None, description="Who owns it; default the caller.")


class MemberRequest(Sent):
    """What a member may do."""

    role: Role = Role.MEMBER


@router.get("", summary="All groups")
def list_all_groups(state: State, limit: Limit = 100, cursor: Cursor = None) -> AllGroups:
    """List groups."""
    groups, following = state.context.groups.page(limit=limit, cursor=cursor)
    return AllGroups(groups=[GroupEntry.of(group) for group in groups], next_cursor=following)


@router.post("", status_code=HTTPStatus.CREATED, summary="Make a group for anybody")
def make_any_group(
    wanted: GroupRequest, state: State, caller: Caller, address: ClientAddress
) -> GroupEntry:
    """Make a group."""
    made = state.context.groups.create(
        wanted.name,
        by=caller,
        description=wanted.description,
        owner=wanted.owner,
        address=address,
    )
    return GroupEntry.of(made)


@router.get("/{name}", summary="Any group and its members")
def get_any_group(name: str, state: State, caller: Caller) -> AnyGroup:
    """Describe a group."""
    groups = state.context.groups
    return AnyGroup(
        group=GroupEntry.of(groups.get(name, by=caller)),
        members=[MemberEntry.of(member) for member in groups.members(name, by=caller)],
    )


@router.delete("/{name}", status_code=HTTPStatus.NO_CONTENT, summary="End any group")
def delete_any_group(name: str, state: State, caller: Caller, address: ClientAddress) -> None:
    """End a group; its name is never given again."""
    state.context.groups.delete(name, by=caller, address=address)


@router.put(
    "/{name}/members/{member}",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Add a user or group, or change a role",
)
def put_any_member(
    name: str,
    member: str,
    wanted: MemberRequest,
    state: State,
    caller: Caller,
    address: ClientAddress,
) -> None:
    """Make somebody a member without an invitation."""
    state.context.groups.add(name, member, by=caller, role=wanted.role, address=address)


@router.delete(
    "/{name}/members/{member}", status_code=HTTPStatus.NO_CONTENT, summary="Remove a member"
)
def remove_any_member(
    name: str, member: str, state: State, caller: Caller, address: ClientAddress
) -> None:
    """End a membership."""
    state.context.groups.remove(name, member, by=caller, address=address)
