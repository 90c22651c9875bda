"""The pages of administration: people, groups, quotas, the audit log."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from astrolabe.core.clock import parse_utc
from astrolabe.core.errors import BadParameterError
from astrolabe.identity import Principal
from astrolabe.identity.authority import require_recent_login
from astrolabe.identity.limits import QUOTAS, QuotaRule, SubjectKind
from astrolabe.identity.login_links import login_link_address
from astrolabe.identity.model import UserStatus
from astrolabe_api.common.auth import Caller, ClientAddress, requires
from astrolabe_api.common.html import page_response
from astrolabe_api.common.params import Parameters, read_parameters
from astrolabe_api.common.state import ApiState, State, public_base
from astrolabe_api.gateway.forms import (
    FORM_LIMITS,
    attempt,
    field,
    page_values,
    read_form,
    see,
)

__all__ = ["admin_pages_router"]

_DONE = {
    "made": "The account was made.",
    "changed": "The change was made.",
    "approved": "The account was made.",
    "refused": "The request was forgotten.",
    "revoked": "The token was revoked.",
}
_PEOPLE = requires("admin:user")
_PLATFORM = requires("admin:platform")

router = APIRouter(tags=["pages"])


def admin_pages_router() -> APIRouter:
    """Return the router of this module."""
    return router


# --- people -------------------------------------------------------------------------------------


@router.get("/admin", dependencies=[_PEOPLE], response_class=Response, summary="Accounts")
async def users_page(
    state: State, caller: Caller, search: str = "", cursor: str = "", done: str = ""
) -> Response:
    """Show accounts, and who waits for one."""
    return await _users(state, caller, search=search, cursor=cursor, message=_DONE.get(done))


@router.post(
    "/admin", dependencies=[_PEOPLE], response_class=Response, summary="Make an account by the form"
)
async def make_user(
    request: Request, state: State, caller: Caller, address: ClientAddress
) -> Response:
    """Make a local account, which its user enters by a login link."""
    given = await read_form(request, state, caller)
    made, error, status = await attempt(
        state.context.users.create,
        field(given, "USERNAME"),
        full_name=field(given, "FULL_NAME"),
        email=field(given, "EMAIL"),
        by=caller,
        address=address,
    )
    if made is None:
        return await _users(state, caller, error=error, status=status)
    return see(f"/admin/users/{made.username}?done=made")


@router.post(
    "/admin/requests/{name}",
    dependencies=[_PEOPLE],
    response_class=Response,
    summary="Answer a request for an account by the form",
)
async def answer_request(
    request: Request, name: str, state: State, caller: Caller, address: ClientAddress
) -> Response:
    """Make the account that was asked for, or forget the request."""
    given = await read_form(request, state, caller)
    accounts = state.context.openid_accounts
    is_yes = field(given, "ANSWER") == "approve"
    if is_yes:
        _, error, status = await attempt(accounts.approve, name, by=caller, address=address)
    else:
        _, error, status = await attempt(accounts.refuse, name, by=caller, address=address)
    if error is not None:
        return await _users(state, caller, error=error, status=status)
    return see(f"/admin?done={'approved' if is_yes else 'refused'}")


@router.get(
    "/admin/users/{name}", dependencies=[_PEOPLE], response_class=Response, summary="An account"
)
async def user_page(name: str, state: State, caller: Caller, done: str = "") -> Response:
    """Show an account, its groups, tokens and quotas."""
    return await _user(state, caller, name, message=_DONE.get(done))


@router.post(
    "/admin/users/{name}",
    dependencies=[_PEOPLE],
    response_class=Response,
    summary="Change an account by its forms",
)
async def change_user(
    request: Request, name: str, state: State, caller: Caller, address: ClientAddress
) -> Response:
    """Disable, enable or delete an account, change its data, make a link, revoke a token."""
    given = await read_form(request, state, caller)
    link, error, status = await attempt(_change, state, caller, name, given, address)
    if error is not None or link is not None:
        return await _user(state, caller, name, link=link, error=error, status=status)
    return see(f"/admin/users/{quote(name)}?done=changed")


def _change(
    state: ApiState, caller: Principal, name: str, given: Parameters, address: str | None
) -> str | None:
    users = state.context.users
    match field(given, "ACTION"):
        case "update":
            users.update(
                name,
                full_name=field(given, "FULL_NAME"),
                email=field(given, "EMAIL"),
                by=caller,
                address=address,
            )
        case "disable":
            users.disable(name, by=caller, address=address)
        case "enable":
            users.enable(name, by=caller, address=address)
        case "delete":
            heir = field(given, "HAND_OVER_TO") or None
            users.delete(name, hand_over_to=heir, by=caller, address=address)
        case "link":
            text = users.create_login_link(name, by=caller, address=address)
            return login_link_address(public_base(state.settings), text)
        case "revoke":
            state.context.tokens.revoke(field(given, "KEY"), by=caller, address=address)
        case action:
            raise BadParameterError(f"There is no action {action[:64]!r} on an account.")
    return None


async def _users(
    state: ApiState,
    caller: Principal,
    *,
    search: str = "",
    cursor: str = "",
    message: str | None = None,
    error: str | None = None,
    status: int = HTTPStatus.OK,
) -> Response:
    def values() -> dict[str, Any]:
        context = state.context
        page = context.users.page(search=search or None, cursor=cursor or None)
        return {
            "users": page.users,
            "next_cursor": page.next_cursor,
            "search": search,
            "requests": context.openid_accounts.pending(),
        }

    found = await run_in_threadpool(values)
    found |= page_values(state, caller, message=message, error=error)
    return page_response("admin_users.html", found, status=status)


async def _user(
    state: ApiState,
    caller: Principal,
    name: str,
    *,
    link: str | None = None,
    message: str | None = None,
    error: str | None = None,
    status: int = HTTPStatus.OK,
) -> Response:
    def values() -> dict[str, Any]:
        context = state.context
        account = context.users.get(name)
        groups = context.groups.memberships(name)
        as_user = Principal(username=name, groups=frozenset(group.name for group, _ in groups))
        return {
            "account": account,
            "is_active": account.status is UserStatus.ACTIVE,
            "is_deleted": account.status is UserStatus.DELETED,
            "groups": groups,
            "identities": context.openid_accounts.identities(name),
            "tokens": context.tokens.list(name),
            "quotas": context.quotas.usage(as_user),
            "link": link,
        }

    found = await run_in_threadpool(values)
    found |= page_values(state, caller, message=message, error=error)
    return page_response("admin_user.html", found, status=status)


@router.get("/admin/groups", dependencies=[_PEOPLE], response_class=Response, summary="All groups")
async def groups_page(state: State, caller: Caller, cursor: str = "") -> Response:
    """Show all groups; each leads to its own page."""
    groups, following = await run_in_threadpool(
        state.context.groups.page, cursor=cursor or None, limit=100
    )
    values = {"groups": groups, "next_cursor": following} | page_values(state, caller)
    return page_response("admin_groups.html", values)


# --- quotas -------------------------------------------------------------------------------------


@router.get(
    "/admin/quotas", dependencies=[_PLATFORM], response_class=Response, summary="Rules of quotas"
)
async def quotas_page(state: State, caller: Caller, done: str = "") -> Response:
    """Show the rules of quotas."""
    return await _quotas(state, caller, message=_DONE.get(done))


@router.post(
    "/admin/quotas",
    dependencies=[_PLATFORM],
    response_class=Response,
    summary="Set or remove a rule of a quota by the form",
)
async def change_quota(
    request: Request, state: State, caller: Caller, address: ClientAddress
) -> Response:
    """Set a rule, or remove it."""
    given = await read_form(request, state, caller)
    _, error, status = await attempt(_change_quota, state, caller, given, address)
    if error is not None:
        return await _quotas(state, caller, error=error, status=status)
    return see("/admin/quotas?done=changed")


def _change_quota(
    state: ApiState, caller: Principal, given: Parameters, address: str | None
) -> None:
    require_recent_login(caller)
    quotas = state.context.quotas
    try:
        kind = SubjectKind(field(given, "KIND"))
        value = None if field(given, "VALUE") == "" else float(field(given, "VALUE"))
    except ValueError as exc:
        raise BadParameterError(
            f"The kind of a rule is one of {', '.join(SubjectKind)}, its value a number or nothing."
        ) from exc
    if value is not None and not 0 <= value < 2**53:
        raise BadParameterError("A quota is a number from 0 up.")
    subject, quota = field(given, "SUBJECT"), field(given, "QUOTA")
    if field(given, "ACTION") == "remove":
        quotas.remove_rule(kind, subject, quota, by=caller, address=address)
        return
    rule = QuotaRule(
        kind=kind, subject=subject, quota=quota, value=value, ends=_time(given, "ENDS")
    )
    quotas.set_rule(rule, by=caller, address=address)


async def _quotas(
    state: ApiState,
    caller: Principal,
    *,
    message: str | None = None,
    error: str | None = None,
    status: int = HTTPStatus.OK,
) -> Response:
    rules = await run_in_threadpool(state.context.quotas.rules)
    values = {"rules": rules, "kinds": list(SubjectKind), "quotas": QUOTAS}
    values |= page_values(state, caller, message=message, error=error)
    return page_response("admin_quotas.html", values, status=status)


# --- the audit log ------------------------------------------------------------------------------


@router.get(
    "/admin/audit", dependencies=[_PLATFORM], response_class=Response, summary="The audit log"
)
async def audit_page(request: Request, state: State, caller: Caller) -> Response:
    """Show the audit log."""
    given = await read_parameters(request, limits=FORM_LIMITS)
    chosen = {name: field(given, name.upper()) for name in ("actor", "action", "target")}
    times = {name: field(given, name.upper()) for name in ("since", "until")}

    def page() -> Any:  # noqa: ANN401 - `attempt` gives it back as it is
        return state.context.audit.page(
            actor=chosen["actor"] or None,
            action=chosen["action"] or None,
            target=chosen["target"] or None,
            since=_time(given, "SINCE"),
            until=_time(given, "UNTIL"),
            cursor=field(given, "CURSOR") or None,
        )

    found, error, status = await attempt(page)
    values = {
        "entries": () if found is None else found.entries,
        "next_cursor": None if found is None else found.next_cursor,
        "chosen": chosen | times,
    }
    return page_response(
        "admin_audit.html", values | page_values(state, caller, error=error), status=status
    )


def _time(given: Parameters, name: str) -> datetime | None:
    text = field(given, name)
    try:
        return parse_utc(text) if text else None
    except ValueError as exc:
        raise BadParameterError(
            f"{name.lower()} is a date or a time such as 2026-12-31T12:00Z."
        ) from exc
