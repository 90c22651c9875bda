"""The pages of groups: one's own, and one group with its members and invitations."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from astrolabe.core.errors import BadParameterError
from astrolabe.identity import Principal
from astrolabe.identity.model import Role
from astrolabe_api.common.auth import Caller, ClientAddress, logged_in, requires
from astrolabe_api.common.html import page_response
from astrolabe_api.common.params import Parameters
from astrolabe_api.common.state import ApiState, State
from astrolabe_api.gateway.forms import attempt, field, page_values, read_form, see

__all__ = ["group_pages_router"]

_DONE = {
    "joined": "You have joined the group.",
    "declined": "The invitation was declined.",
    "deleted": "The group was ended.",
    "left": "You have left the group.",
    "changed": "The change was made.",
    "invited": "The invitation was made; it waits for an answer.",
}

router = APIRouter(tags=["pages"])


def group_pages_router() -> APIRouter:
    """Return the router of this module."""
    return router


@router.get(
    "/groups", dependencies=[logged_in()], response_class=Response, summary="One's own groups"
)
async def groups_page(state: State, caller: Caller, done: str = "") -> Response:
    """Show the caller's groups and the invitations that wait for him."""
    return await _list_page(state, caller, message=_DONE.get(done))


@router.post(
    "/groups",
    dependencies=[requires("user:group")],
    response_class=Response,
    summary="Make a group by the form",
)
async def make_group(
    request: Request, state: State, caller: Caller, address: ClientAddress
) -> Response:
    """Make a group that the caller owns."""
    given = await read_form(request, state, caller)
    made, error, status = await attempt(
        state.context.groups.create,
        field(given, "NAME"),
        by=caller,
        description=field(given, "DESCRIPTION"),
        address=address,
    )
    if made is None:
        return await _list_page(state, caller, error=error, status=status)
    return see(f"/groups/{made.name}")


@router.post(
    "/groups/invitations/{invitation_id}",
    dependencies=[requires("user:group")],
    response_class=Response,
    summary="Answer an invitation by the form",
)
async def answer(
    request: Request, invitation_id: str, state: State, caller: Caller, address: ClientAddress
) -> Response:
    """Join the group, or decline."""
    given = await read_form(request, state, caller)
    groups = state.context.groups
    is_yes = field(given, "ANSWER") == "accept"
    if is_yes:
        _, error, status = await attempt(groups.accept, invitation_id, by=caller, address=address)
    else:
        _, error, status = await attempt(groups.decline, invitation_id, by=caller, address=address)
    if error is not None:
        return await _list_page(state, caller, error=error, status=status)
    return see(f"/groups?done={'joined' if is_yes else 'declined'}")


@router.get(
    "/groups/{name}",
    dependencies=[logged_in()],
    response_class=Response,
    summary="A group and its members",
)
async def group_page(name: str, state: State, caller: Caller, done: str = "") -> Response:
    """Show a group."""
    return await _group_page(state, caller, name, message=_DONE.get(done))


@router.post(
    "/groups/{name}",
    dependencies=[requires("user:group")],
    response_class=Response,
    summary="Change a group by its forms",
)
async def change_group(
    request: Request, name: str, state: State, caller: Caller, address: ClientAddress
) -> Response:
    """Describe a group anew, invite, change roles, remove members, leave, or end it."""
    given = await read_form(request, state, caller)
    done, error, status = await attempt(_change, state, caller, name, given, address)
    if error is not None:
        return await _group_page(state, caller, name, error=error, status=status)
    place = "/groups" if done in {"deleted", "left"} else f"/groups/{quote(name)}"
    return see(f"{place}?done={done}")


def _change(
    state: ApiState, caller: Principal, name: str, given: Parameters, address: str | None
) -> str:
    groups = state.context.groups
    member = field(given, "MEMBER")
    match field(given, "ACTION"):
        case "describe":
            groups.describe(name, field(given, "DESCRIPTION"), by=caller, address=address)
        case "invite":
            groups.invite(name, member, by=caller, role=_role(given), address=address)
            return "invited"
        case "role" | "nest":
            groups.add(name, member, by=caller, role=_role(given), address=address)
        case "remove":
            groups.remove(name, member, by=caller, address=address)
            return "left" if member == caller.username else "changed"
        case "delete":
            groups.delete(name, by=caller, address=address)
            return "deleted"
        case action:
            raise BadParameterError(f"There is no action {action[:64]!r} on a group.")
    return "changed"


def _role(given: Parameters) -> Role:
    text = field(given, "ROLE") or Role.MEMBER.value
    try:
        return Role(text)
    except ValueError as exc:
        raise BadParameterError(f"A role is one of {', '.join(Role)}.") from exc


async def _list_page(
    state: ApiState,
    caller: Principal,
    *,
    message: str | None = None,
    error: str | None = None,
    status: int = HTTPStatus.OK,
) -> Response:
    def values() -> dict[str, Any]:
        groups = state.context.groups
        return {
            "groups": groups.memberships(caller.username or ""),
            "invitations": groups.invitations(username=caller.username),
        }

    found = await run_in_threadpool(values)
    found |= page_values(state, caller, message=message, error=error)
    return page_response("groups.html", found, status=status)


async def _group_page(
    state: ApiState,
    caller: Principal,
    name: str,
    *,
    message: str | None = None,
    error: str | None = None,
    status: int = HTTPStatus.OK,
) -> Response:
    def values() -> dict[str, Any]:
        groups = state.context.groups
        group = groups.get(name, by=caller)
        roles = {found.name: role for found, role in groups.memberships(caller.username or "")}
        role = roles.get(name)
        may_all = role is Role.OWNER or "admin:user" in caller.scopes
        return {
            "group": group,
            "role": role,
            "may_all": may_all,
            "may_invite": may_all or role is Role.ADMIN,
            "members": groups.members(name, by=caller),
            "invitations": groups.invitations(group=name),
            "roles": list(Role),
        }

    found = await run_in_threadpool(values)
    found |= page_values(state, caller, message=message, error=error)
    return page_response("group.html", found, status=status)
