"""Login by the accounts of other providers: to the provider, back again, and a name at last."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from astrolabe.core.errors import BadParameterError, ConflictError
from astrolabe.identity.model import PendingState, PendingUser, User
from astrolabe.identity.openid.assembly import CALLBACK_PATH
from astrolabe.identity.openid.client import LOGIN_SECONDS, VerifiedLogin
from astrolabe.identity.root_key import SealError
from astrolabe_api.common.auth import Caller, ClientAddress, makes_session, open_to_all
from astrolabe_api.common.csrf import CSRF_FIELD
from astrolabe_api.common.html import page_response
from astrolabe_api.common.returning import safe_return
from astrolabe_api.common.state import ApiState, State, public_base
from astrolabe_api.gateway.forms import page_values
from astrolabe_api.gateway.login import start_session
from astrolabe_api.gateway.openid import form_of

__all__ = ["openid_login_router"]

_PROVIDER_PATH = "/auth/provider/{provider}"
_NAME_PATH = "/auth/name"
_SIGNUP = "openid-signup"
_SIGNUP_SECONDS = 1800.0

router = APIRouter(tags=["login"])


def openid_login_router() -> APIRouter:
    """Return the router of this module."""
    return router


@router.get(
    _PROVIDER_PATH,
    dependencies=[open_to_all()],
    response_class=Response,
    summary="Go to a login provider",
)
async def go_to_provider(
    provider: str, state: State, return_url: str | None = None, *, again: bool = False
) -> Response:
    """Send the browser to the provider, with a cookie that only its answer fits."""
    wanted = safe_return(return_url, public_url=public_base(state.settings))
    start = await run_in_threadpool(
        state.context.openid_login.begin, provider, return_url=wanted, again=again
    )
    response = RedirectResponse(
        start.url, status_code=HTTPStatus.SEE_OTHER, headers={"Cache-Control": "no-store"}
    )
    _set_cookie(response, state, _login_cookie(start.state), start.sealed, seconds=LOGIN_SECONDS)
    return response


@router.get(
    CALLBACK_PATH,
    dependencies=[makes_session()],
    response_class=Response,
    summary="A login provider sends somebody back",
)
async def come_back(
    request: Request, state: State, caller: Caller, address: ClientAddress
) -> Response:
    """Check what the provider says and begin a session, or ask a new user for his name."""
    given = _single(request)
    name = _cookie_name(state, _login_cookie(given.get("state", "")))
    login = await run_in_threadpool(
        state.context.openid_login.finish, given, sealed=request.cookies.get(name)
    )
    found = await run_in_threadpool(
        state.context.openid_accounts.from_openid, login.issuer, login.subject, login.claims
    )
    if isinstance(found, User):
        response = await _begin_session(
            request,
            state,
            found,
            authenticated=login.authenticated,
            return_url=login.return_url,
            address=address,
        )
    else:
        response = _new_user(state, caller, found, login)
    _drop_cookie(response, state, _login_cookie(given.get("state", "")))
    return response


@router.get(
    _NAME_PATH,
    dependencies=[makes_session()],
    response_class=Response,
    summary="The form in which a new user chooses a name",
)
async def name_page(request: Request, state: State, caller: Caller) -> Response:
    """Show the form again, or that the account waits."""
    signup = _signup(request, state)
    pending = await run_in_threadpool(
        state.context.openid_accounts.get_pending, signup["pending_id"]
    )
    return _pending_page(state, caller, pending)


@router.post(
    _NAME_PATH,
    dependencies=[makes_session()],
    response_class=Response,
    summary="A new user chooses a name",
)
async def choose_name(
    request: Request, state: State, caller: Caller, address: ClientAddress
) -> Response:
    """Make the account and begin a session, or let it wait for an administrator."""
    given = dict(await form_of(request))
    signup = _signup(request, state)
    accounts = state.context.openid_accounts
    pending_id = signup["pending_id"]
    state.csrf.check(given.get(CSRF_FIELD), _form_of_signup(pending_id))
    wanted = given.get("name", "").strip()
    try:
        found = await run_in_threadpool(
            accounts.choose_name, pending_id, wanted, approval=signup["approval"], address=address
        )
    except (BadParameterError, ConflictError) as exc:
        pending = await run_in_threadpool(accounts.get_pending, pending_id)
        return _pending_page(state, caller, pending, wanted=wanted, error=str(exc))
    if not isinstance(found, User):
        return _pending_page(state, caller, found)
    response = await _begin_session(
        request,
        state,
        found,
        authenticated=datetime.fromtimestamp(signup["authenticated"], UTC),
        return_url=signup["return_url"],
        address=address,
    )
    _drop_cookie(response, state, _SIGNUP)
    return response


async def _begin_session(
    request: Request,
    state: ApiState,
    user: User,
    *,
    authenticated: datetime,
    return_url: str | None,
    address: str | None,
) -> Response:
    made = await run_in_threadpool(
        state.context.tokens.create_session,
        user.username,
        address=address,
        authenticated=authenticated,
    )
    wanted = safe_return(return_url, public_url=public_base(state.settings))
    return await start_session(request, state, made, return_url=wanted)


def _new_user(
    state: ApiState, caller: Caller, pending: PendingUser, login: VerifiedLogin
) -> Response:
    """Remember who it is in the browser that he logged in with, and ask for a name."""
    response: Response = RedirectResponse(_NAME_PATH, status_code=HTTPStatus.SEE_OTHER)
    if pending.state is PendingState.WAITING:
        response = _pending_page(state, caller, pending)
    signup = {
        "pending_id": pending.pending_id,
        "approval": login.provider.approval,
        "authenticated": login.authenticated.timestamp(),
        "return_url": login.return_url,
    }
    sealed = state.context.root_key.seal(_SIGNUP, signup, seconds=_SIGNUP_SECONDS)
    _set_cookie(response, state, _SIGNUP, sealed, seconds=_SIGNUP_SECONDS)
    return response


def _pending_page(
    state: ApiState,
    caller: Caller,
    pending: PendingUser,
    *,
    wanted: str | None = None,
    error: str | None = None,
) -> Response:
    if pending.state is PendingState.WAITING:
        values = {"name": pending.requested_name}
        return page_response("waiting.html", page_values(state, caller) | values)
    values = {
        "name": pending.suggested_name or "" if wanted is None else wanted,
        "full_name": pending.full_name,
        "csrf": state.csrf.of(_form_of_signup(pending.pending_id)),
        "user": None,
        "error": error,
    }
    status = HTTPStatus.OK if error is None else HTTPStatus.BAD_REQUEST
    return page_response("name.html", page_values(state, caller) | values, status=status)


def _signup(request: Request, state: ApiState) -> dict[str, Any]:
    sealed = request.cookies.get(_cookie_name(state, _SIGNUP), "")
    try:
        return state.context.root_key.unseal(_SIGNUP, sealed)
    except SealError as exc:
        raise BadParameterError(
            "This browser has not logged in at a provider within the last half hour; log in again."
        ) from exc


def _single(request: Request) -> dict[str, str]:
    """Return the parameters of an answer, each of which may come once (RFC 6749, section 3.1)."""
    pairs = request.query_params.multi_items()
    given = dict(pairs)
    if len(given) != len(pairs):
        raise BadParameterError("The login provider sent a parameter twice; begin again.")
    return given


def _form_of_signup(pending_id: str) -> str:
    return f"signup:{pending_id}"


def _login_cookie(state_parameter: str) -> str:
    """Return a name of its own for each login, so that logins in several tabs do not collide."""
    return "login-" + hashlib.sha256(state_parameter.encode()).hexdigest()[:16]


def _cookie_name(state: ApiState, name: str) -> str:
    prefix = "__Host-" if _https(state) else ""
    return f"{prefix}astrolabe-{name}"


def _set_cookie(
    response: Response, state: ApiState, name: str, value: str, *, seconds: float
) -> None:
    response.set_cookie(
        _cookie_name(state, name),
        value,
        max_age=int(seconds),
        path="/",
        secure=_https(state),
        httponly=True,
        # The provider's answer comes from another site: Strict would keep the cookie back.
        samesite="lax",
    )


def _drop_cookie(response: Response, state: ApiState, name: str) -> None:
    response.delete_cookie(
        _cookie_name(state, name), path="/", secure=_https(state), httponly=True, samesite="lax"
    )


def _https(state: ApiState) -> bool:
    return public_base(state.settings).startswith("https://")
