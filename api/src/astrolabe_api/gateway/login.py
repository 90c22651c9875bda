"""Logging in and out: the forms for people, and the addresses for programs."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import AstrolabeError, QuotaExceededError, UnauthenticatedError
from astrolabe.identity import ANONYMOUS, Principal
from astrolabe.identity.model import NewToken, TokenKind
from astrolabe.identity.scopes import SCOPES
from astrolabe.identity.token_text import TokenText
from astrolabe_api.common.auth import Caller, ClientAddress, makes_session, open_to_all
from astrolabe_api.common.challenges import LOGIN_PATH, LOGOUT_PATH
from astrolabe_api.common.cookies import (
    end_session_cookie,
    form_cookie_name,
    set_form_cookie,
    set_session_cookie,
)
from astrolabe_api.common.csrf import CSRF_FIELD, CsrfTokens
from astrolabe_api.common.errors import error_response
from astrolabe_api.common.html import page_response
from astrolabe_api.common.multipart import MultipartLimits
from astrolabe_api.common.params import Parameters, read_parameters
from astrolabe_api.common.requests import accepts_json, notes_of
from astrolabe_api.common.returning import safe_return
from astrolabe_api.common.state import ApiState, State, public_base
from astrolabe_api.gateway.forms import page_values

__all__ = ["login_router", "start_session"]

_FORM_LIMITS = MultipartLimits(field_bytes=16_384, file_bytes=0)

router = APIRouter(tags=["login"])


def login_router() -> APIRouter:
    """Return the router of this module."""
    return router


# --- for people ---------------------------------------------------------------------------------


@router.get(
    "/auth/login",
    dependencies=[open_to_all()],
    response_class=Response,
    summary="The form to log in",
)
async def login_page(request: Request, state: State) -> Response:
    """Show the form, or go to a `provider`; `return_url` says where to go afterwards."""
    given = await read_parameters(request, limits=_FORM_LIMITS)
    wanted = _return_url(given, state)
    provider = given.single("PROVIDER")
    if provider is not None:
        query = urlencode({"return_url": wanted, "again": given.single("AGAIN") or "false"})
        return RedirectResponse(
            f"/auth/provider/{quote(provider, safe='')}?{query}", status_code=HTTPStatus.SEE_OTHER
        )
    return _login_form(request, state, return_url=wanted)


@router.post(
    "/auth/login",
    dependencies=[makes_session()],
    response_class=Response,
    summary="Log in with the form",
)
async def login(request: Request, state: State, address: ClientAddress) -> Response:
    """Check name and password, begin a session and go on."""
    given = await read_parameters(request, limits=_FORM_LIMITS)
    wanted = _return_url(given, state)
    _check_form(request, state, given)
    username = given.single("USERNAME") or ""
    try:
        made = await run_in_threadpool(
            _log_in, state, username, given.single("PASSWORD") or "", address
        )
    except (UnauthenticatedError, QuotaExceededError) as exc:
        return _login_form(request, state, return_url=wanted, username=username, failed=exc)
    return await start_session(request, state, made, return_url=wanted)


@router.get(
    "/auth/link",
    dependencies=[open_to_all()],
    response_class=Response,
    summary="The form to log in with a one-time link",
)
async def link_page(request: Request, state: State) -> Response:
    """Show the form; the link's code stands behind ``#``, which no server sees."""
    return _open_form(request, state, "link.html", {})


@router.get(
    "/auth/link.js",
    dependencies=[open_to_all()],
    response_class=Response,
    summary="Takes the code of a login link into the form",
)
async def link_script() -> Response:
    """Send the script."""
    text = files("astrolabe_api").joinpath("templates/link.js").read_text(encoding="utf-8")
    return Response(text, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


@router.post(
    "/auth/link",
    dependencies=[makes_session()],
    response_class=Response,
    summary="Log in with a one-time link",
)
async def link_login(request: Request, state: State, address: ClientAddress) -> Response:
    """Use the link up and begin a session."""
    given = await read_parameters(request, limits=_FORM_LIMITS)
    _check_form(request, state, given)
    # Who pastes the whole address means what stands behind its hash.
    code = (given.single("LINK") or "").strip().rpartition("#")[2]
    try:
        made = await run_in_threadpool(_redeem, state, code, address)
    except (UnauthenticatedError, QuotaExceededError) as exc:
        return _open_form(request, state, "link.html", {"error": str(exc)}, status=exc.status)
    wanted = safe_return(None, public_url=public_base(state.settings))
    return await start_session(request, state, made, return_url=wanted)


@router.get(
    "/auth/logout",
    dependencies=[makes_session()],
    response_class=Response,
    summary="The form to log out",
)
async def logout_page(state: State, caller: Caller) -> Response:
    """Ask whether to log out: an address alone, which any page can call, does nothing."""
    return page_response("logout.html", page_values(state, caller))


@router.post(
    "/auth/logout",
    dependencies=[makes_session()],
    response_class=Response,
    summary="Log out with the form",
)
async def logout(
    request: Request, state: State, caller: Caller, address: ClientAddress
) -> Response:
    """End the session and forget the cookie."""
    given = await read_parameters(request, limits=_FORM_LIMITS)
    if not caller.is_anonymous:
        state.csrf.check(given.single(CSRF_FIELD), caller.token_key)
    await run_in_threadpool(_end, state, caller, address)
    response = RedirectResponse("/auth/logout", status_code=HTTPStatus.SEE_OTHER)
    end_session_cookie(response, https=_https(state))
    return response


# --- for programs -------------------------------------------------------------------------------


@router.post(
    LOGIN_PATH,
    dependencies=[makes_session()],
    response_class=Response,
    summary="Log a program in: username and password (or a token) for a cookie",
)
async def program_login(request: Request, state: State, address: ClientAddress) -> Response:
    """Check name and password, or a token in the password's place; answer with a cookie."""
    given = await read_parameters(request, limits=_FORM_LIMITS)
    username, password = given.single("USERNAME") or "", given.single("PASSWORD") or ""
    made = await run_in_threadpool(_log_in, state, username, password, address)
    await _end_former(request, state)
    notes_of(request).principal = Principal(username=made.info.username, token_key=made.info.key)
    response: Response
    if accepts_json(request):
        response = JSONResponse(
            {"username": made.info.username, "expires": made.info.expires.isoformat()}
        )
    else:
        response = PlainTextResponse(f"{made.info.username}\n")
    set_session_cookie(
        response,
        made.text,
        expires=made.info.expires,
        https=_https(state),
        for_programs="sec-fetch-site" not in request.headers,
    )
    return response


@router.post(
    LOGOUT_PATH,
    dependencies=[makes_session()],
    response_class=Response,
    summary="Log a program out",
)
async def program_logout(state: State, caller: Caller, address: ClientAddress) -> Response:
    """End the session that the request came with."""
    await run_in_threadpool(_end, state, caller, address)
    response = PlainTextResponse("logged out\n", headers={"Cache-Control": "no-store"})
    end_session_cookie(response, https=_https(state))
    return response


# --- shared -------------------------------------------------------------------------------------


async def start_session(
    request: Request, state: ApiState, made: NewToken, *, return_url: str
) -> Response:
    """Return the answer that gives a browser its session and sends it on.

    A session is always a new token, and the one that the browser came with ends: whoever planted
    or knows an old cookie gets nothing by somebody's login.

    Parameters
    ----------
    request
        The request by which somebody has proved who he is.
    made
        The session.
    return_url
        A path that `safe_return` gave.
    """
    await _end_former(request, state)
    response = RedirectResponse(return_url, status_code=HTTPStatus.SEE_OTHER)
    https = _https(state)
    set_session_cookie(
        response, made.text, expires=made.info.expires, https=https, for_programs=False
    )
    response.delete_cookie(
        form_cookie_name(https=https), path="/", secure=https, httponly=True, samesite="lax"
    )
    return response


async def _end_former(request: Request, state: ApiState) -> None:
    """End the session whose cookie a login came with; tokens in headers are left alone."""
    notes = notes_of(request)
    if notes.by_cookie:
        await run_in_threadpool(_end, state, notes.principal, notes.address)


def _log_in(state: ApiState, username: str, password: str, address: str | None) -> NewToken:
    if TokenText.parse(password.strip()) is not None:
        return _session_of_token(state, username, password.strip(), address)
    context = state.context
    user = context.users.login(username, password, address=address)
    return context.tokens.create_session(user.username, address=address, authenticated=utc_now())


def _session_of_token(state: ApiState, username: str, token: str, address: str | None) -> NewToken:
    """Make a token for a cookie out of one that was sent as password; it holds no more.

    It is no session: nobody has proved by it who he is, so it makes no tokens or passwords.
    """
    context = state.context
    holder = context.authenticator.authenticate(token, address=address)
    if username.strip() not in {holder.username, "x-oauth-basic", ""}:
        raise UnauthenticatedError("The user name or the password is wrong.")
    lifetime = timedelta(hours=state.settings.auth.session_hours)
    return context.tokens.create_child(
        holder,
        kind=TokenKind.SERVICE,
        scopes=holder.scopes & SCOPES.keys(),
        expires=utc_now() + lifetime,
        name="cookie login",
        address=address,
    )


def _redeem(state: ApiState, code: str, address: str | None) -> NewToken:
    context = state.context
    user = context.users.redeem_login_link(code, address=address)
    return context.tokens.create_session(user.username, address=address, authenticated=utc_now())


def _end(state: ApiState, caller: Principal, address: str | None) -> None:
    """End a session, or what a cookie was made of a token; a user's own token is left alone."""
    if caller.token_key is not None and caller.kind in {TokenKind.SESSION, TokenKind.SERVICE}:
        state.context.tokens.revoke(caller.token_key, by=caller, address=address)


def _login_form(
    request: Request,
    state: ApiState,
    *,
    return_url: str,
    username: str = "",
    failed: AstrolabeError | None = None,
) -> Response:
    providers = [
        {
            "title": provider.title or name,
            "url": f"/auth/login?provider={quote(name)}&return_url={quote(return_url, safe='')}",
        }
        for name, provider in state.settings.auth.openid.items()
    ]
    values = {"return_url": return_url, "username": username, "providers": providers}
    if failed is None:
        return _open_form(request, state, "login.html", values)
    page = _open_form(
        request, state, "login.html", {**values, "error": str(failed)}, status=failed.status
    )
    told = error_response(request, failed)
    for name in ("WWW-Authenticate", "Retry-After"):
        for value in told.headers.getlist(name):
            # A browser that asks by a dialog of its own could not be told a password.
            if not value.startswith("Basic"):
                page.headers.append(name, value)
    return page


def _open_form(
    request: Request,
    state: ApiState,
    template: str,
    values: dict[str, Any],
    *,
    status: int = HTTPStatus.OK,
) -> Response:
    """Return a form for somebody who has not logged in, tied to his browser by a cookie."""
    name = form_cookie_name(https=_https(state))
    browser = request.cookies.get(name) or ""
    is_new = len(browser) < len(CsrfTokens.new_session())
    if is_new:
        browser = CsrfTokens.new_session()
    shown = {**page_values(state, ANONYMOUS), "csrf": state.csrf.of(f"form:{browser}"), **values}
    page = page_response(template, shown, status=status)
    if is_new:
        set_form_cookie(page, browser, https=_https(state))
    return page


def _check_form(request: Request, state: ApiState, given: Parameters) -> None:
    browser = request.cookies.get(form_cookie_name(https=_https(state)))
    state.csrf.check(given.single(CSRF_FIELD), None if browser is None else f"form:{browser}")


def _return_url(given: Parameters, state: ApiState) -> str:
    return safe_return(given.single("RETURN_URL"), public_url=public_base(state.settings))


def _https(state: ApiState) -> bool:
    return public_base(state.settings).startswith("https://")
