"""The pages of one's own account: tokens, sessions, password, usage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import BadParameterError
from astrolabe.identity import Principal
from astrolabe.identity.authority import RECENT_LOGIN
from astrolabe.identity.model import NewToken, TokenKind
from astrolabe.identity.scopes import SCOPES
from astrolabe_api.common.auth import Caller, ClientAddress, logged_in, requires
from astrolabe_api.common.html import page_response
from astrolabe_api.common.params import Parameters
from astrolabe_api.common.state import ApiState, State
from astrolabe_api.gateway.forms import attempt, field, page_values, read_form, see

__all__ = ["account_pages_router"]

_SERVICES = ("tap", "scs")
_DAYS = (7, 30, 90, 365)
_DONE = {
    "revoked": "The token was revoked.",
    "renamed": "The token was renamed.",
    "password": "The password was changed; your other sessions have ended.",
    "withdrawn": "The consent was withdrawn.",
}

router = APIRouter(tags=["pages"])


def account_pages_router() -> APIRouter:
    """Return the router of this module."""
    return router


@router.get(
    "/account", dependencies=[logged_in()], response_class=Response, summary="One's own account"
)
async def account_page(
    state: State, caller: Caller, address: ClientAddress, done: str = ""
) -> Response:
    """Show tokens, sessions and usage."""
    return await _page(state, caller, address, message=_DONE.get(done))


@router.post(
    "/account/tokens",
    dependencies=[requires("user:token")],
    response_class=Response,
    summary="Make a token by the form",
)
async def make_token(
    request: Request, state: State, caller: Caller, address: ClientAddress
) -> Response:
    """Make a token and show it, this once."""
    given = await read_form(request, state, caller)
    made, error, status = await attempt(_make, state, caller, given, address)
    return await _page(state, caller, address, made=made, error=error, status=status)


def _make(state: ApiState, caller: Principal, given: Parameters, address: str | None) -> NewToken:
    days = given.integer("DAYS")
    if days is not None and days not in _DAYS:
        raise BadParameterError(f"A token of this form ends after {_DAYS} days.")
    return state.context.tokens.create_user_token(
        caller,
        name=field(given, "NAME"),
        scopes=given.values("SCOPE"),
        expires=None if days is None else utc_now() + timedelta(days=days),
        address=address,
    )


@router.post(
    "/account/tokens/{key}",
    dependencies=[requires("user:token")],
    response_class=Response,
    summary="Rename or revoke a token by the form",
)
async def change_token(
    request: Request, key: str, state: State, caller: Caller, address: ClientAddress
) -> Response:
    """Revoke a token, or give it another name."""
    given = await read_form(request, state, caller)
    tokens = state.context.tokens
    if field(given, "ACTION") == "rename":
        name = field(given, "NAME")
        _, error, status = await attempt(tokens.rename, caller, key, name, address=address)
        done = "renamed"
    else:
        own = await run_in_threadpool(tokens.get, key, by=caller)
        if own.username != caller.username:
            raise BadParameterError("That is no token of yours.")
        _, error, status = await attempt(tokens.revoke, key, by=caller, address=address)
        done = "revoked"
    if error is not None:
        return await _page(state, caller, address, error=error, status=status)
    return see(f"/account?done={done}")


@router.post(
    "/account/password",
    dependencies=[requires("user:token")],
    response_class=Response,
    summary="Change the password by the form",
)
async def change_password(
    request: Request, state: State, caller: Caller, address: ClientAddress
) -> Response:
    """Set the caller's password."""
    given = await read_form(request, state, caller)
    new, again = given.single("PASSWORD") or "", given.single("AGAIN") or ""
    if new != again:
        return await _page(
            state,
            caller,
            address,
            error="The two passwords differ; type the new one twice.",
            status=HTTPStatus.BAD_REQUEST,
        )
    _, error, status = await attempt(
        state.context.users.set_password, caller.username, new, by=caller, address=address
    )
    if error is not None:
        return await _page(state, caller, address, error=error, status=status)
    return see("/account?done=password")


@router.post(
    "/account/consents/{client_id}",
    dependencies=[requires("user:token")],
    response_class=Response,
    summary="Withdraw a consent by the form",
)
async def withdraw_consent(
    request: Request, client_id: str, state: State, caller: Caller, address: ClientAddress
) -> Response:
    """Forget that a site may know who the caller is."""
    await read_form(request, state, caller)
    consents = state.context.openid_provider.consents
    _, error, status = await attempt(consents.withdraw, caller, client_id)
    if error is not None:
        return await _page(state, caller, address, error=error, status=status)
    return see("/account?done=withdrawn")


async def _page(
    state: ApiState,
    caller: Principal,
    address: str | None,
    *,
    made: NewToken | None = None,
    message: str | None = None,
    error: str | None = None,
    status: int = HTTPStatus.OK,
) -> Response:
    values = await run_in_threadpool(_values, state, caller, address)
    values |= page_values(state, caller, message=message, error=error) | {"made": made}
    return page_response("account.html", values, status=status)


def _values(state: ApiState, caller: Principal, address: str | None) -> dict[str, Any]:
    context = state.context
    name = caller.username or ""
    tokens = context.tokens.list(name)
    since = caller.authenticated or datetime.fromtimestamp(0, UTC)
    return {
        "account": context.users.get(name),
        "groups": context.groups.memberships(name),
        "own_tokens": [token for token in tokens if token.kind is TokenKind.USER],
        "sessions": [token for token in tokens if token.kind is TokenKind.SESSION],
        "other_tokens": [
            token for token in tokens if token.kind not in {TokenKind.USER, TokenKind.SESSION}
        ],
        "current_key": caller.token_key,
        "scopes": {scope: SCOPES[scope] for scope in SCOPES if scope in caller.scopes},
        "days": _DAYS,
        "is_recent": caller.kind == "session" and utc_now() - since < RECENT_LOGIN,
        "quotas": context.quotas.usage(caller, address=address, services=_SERVICES),
        "consents": context.openid_provider.consents.list(caller),
    }
