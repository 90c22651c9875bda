"""Groups and invitations as their users see them: ``/auth/api/v1/groups``."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from pydantic import BaseModel, Field

from astrolabe.identity.model import Role
from astrolabe_api.common.auth import Caller, ClientAddress, account
from astrolabe_api.common.people import GroupEntry, InvitationEntry, MemberEntry, Sent
from astrolabe_api.common.state import State
from astrolabe_api.gateway.tokens_api import ACCOUNT_API

__all__ = ["groups_router"]

_MANAGE = account("user:group")

router = APIRouter(prefix=ACCOUNT_API, tags=["groups"])


class GroupList(BaseModel):
    """Groups that the caller is in."""

    groups: list[GroupEntry]


class GroupDocument(BaseModel):
    """A group with its members."""

    group: GroupEntry
    members: list[MemberEntry]


class NewGroup(Sent):
    """A group to be made."""

    name: str = Field(description="2 to 31 letters, digits and _; never changes.")
    description: str = Field("", description="What it is for.")


class GroupChange(Sent):
    """What can be changed of a group."""

    description: str


class Membership(Sent):
    """What a member may do."""

    role: Role = Role.MEMBER


class NewInvitation(Sent):
    """Somebody to be invited."""

    username: str
    role: Role = Role.MEMBER


class InvitationList(BaseModel):
    """Invitations that wait for an answer."""

    invitations: list[InvitationEntry]


def groups_router() -> APIRouter:
    """Return the router of this module."""
    return router


@router.get("/groups", dependencies=[account()], summary="The caller's groups")
def list_groups(state: State, caller: Caller) -> GroupList:
    """List the groups that the caller is in, himself or through a nested group."""
    found = state.context.groups.memberships(caller.username or "")
    return GroupList(groups=[GroupEntry.of(group, role=role) for group, role in found])


@router.post(
    "/groups", status_code=HTTPStatus.CREATED, dependencies=[_MANAGE], summary="Make a group"
)
def make_group(
    wanted: NewGroup, state: State, caller: Caller, address: ClientAddress
) -> GroupEntry:
    """Make a group that the caller owns."""
    made = state.context.groups.create(
        wanted.name, by=caller, description=wanted.description, address=address
    )
    return GroupEntry.of(made, role=Role.OWNER)


@router.get("/groups/{name}", dependencies=[account()], summary="A group and its members")
def get_group(name: str, state: State, caller: Caller) -> GroupDocument:
    """Describe a group that the caller is in."""
    groups = state.context.groups
    group = groups.get(name, by=caller)
    roles = {found.name: role for found, role in groups.memberships(caller.username or "")}
    return GroupDocument(
        group=GroupEntry.of(group, role=roles.get(name)),
        members=[MemberEntry.of(member) for member in groups.members(name, by=caller)],
    )


@router.patch("/groups/{name}", dependencies=[_MANAGE], summary="Describe a group anew")
def change_group(
    name: str, change: GroupChange, state: State, caller: Caller, address: ClientAddress
) -> GroupEntry:
    """Change what a group is said to be for."""
    done = state.context.groups.describe(name, change.description, by=caller, address=address)
    return GroupEntry.of(done)


@router.delete(
    "/groups/{name}",
    status_code=HTTPStatus.NO_CONTENT,
    dependencies=[_MANAGE],
    summary="End a group",
)
def delete_group(name: str, state: State, caller: Caller, address: ClientAddress) -> None:
    """End a group; its name is never given again, and what belongs to it is kept."""
    state.context.groups.delete(name, by=caller, address=address)


@router.put(
    "/groups/{name}/members/{member}",
    status_code=HTTPStatus.NO_CONTENT,
    dependencies=[_MANAGE],
    summary="Nest a group, or change a member's role",
)
def put_member(
    name: str,
    member: str,
    change: Membership,
    state: State,
    caller: Caller,
    address: ClientAddress,
) -> None:
    """Make a group a member, or change a member's role; users join by an invitation."""
    state.context.groups.add(name, member, by=caller, role=change.role, address=address)


@router.delete(
    "/groups/{name}/members/{member}",
    status_code=HTTPStatus.NO_CONTENT,
    dependencies=[_MANAGE],
    summary="Remove a member, or leave",
)
def remove_member(
    name: str, member: str, state: State, caller: Caller, address: ClientAddress
) -> None:
    """End a membership."""
    state.context.groups.remove(name, member, by=caller, address=address)


@router.get(
    "/groups/{name}/invitations",
    dependencies=[account()],
    summary="Who was invited and has not answered",
)
def group_invitations(name: str, state: State, caller: Caller) -> InvitationList:
    """List a group's invitations."""
    groups = state.context.groups
    groups.get(name, by=caller)
    return InvitationList(
        invitations=[InvitationEntry.of(found) for found in groups.invitations(group=name)]
    )


@router.post(
    "/groups/{name}/invitations",
    status_code=HTTPStatus.CREATED,
    dependencies=[_MANAGE],
    summary="Invite a user",
)
def invite(
    name: str, wanted: NewInvitation, state: State, caller: Caller, address: ClientAddress
) -> InvitationEntry:
    """Ask a user to join."""
    made = state.context.groups.invite(
        name, wanted.username, by=caller, role=wanted.role, address=address
    )
    return InvitationEntry.of(made)


@router.get("/invitations", dependencies=[account()], summary="Invitations to the caller")
def list_invitations(state: State, caller: Caller) -> InvitationList:
    """List the invitations that wait for the caller's answer."""
    found = state.context.groups.invitations(username=caller.username)
    return InvitationList(invitations=[InvitationEntry.of(invitation) for invitation in found])


@router.post(
    "/invitations/{invitation_id}/accept", dependencies=[_MANAGE], summary="Join the group"
)
def accept(invitation_id: str, state: State, caller: Caller, address: ClientAddress) -> GroupEntry:
    """Accept an invitation."""
    return GroupEntry.of(state.context.groups.accept(invitation_id, by=caller, address=address))


@router.post(
    "/invitations/{invitation_id}/decline",
    status_code=HTTPStatus.NO_CONTENT,
    dependencies=[_MANAGE],
    summary="Decline an invitation",
)
def decline(invitation_id: str, state: State, caller: Caller, address: ClientAddress) -> None:
    """Decline an invitation."""
    state.context.groups.decline(invitation_id, by=caller, address=address)
