"""The platform as OpenID Connect provider: ``/auth/openid`` and its discovery document."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, RedirectResponse, Response

from astrolabe.core.errors import BadParameterError, TooLargeError
from astrolabe.identity import Principal
from astrolabe.identity.openid.authorize import AskConsent, LogIn, SendBack
from astrolabe.identity.openid.protocol import ProtocolError
from astrolabe.identity.openid.provider import OPENID_PATH
from astrolabe_api.common.auth import (
    Caller,
    ClientAddress,
    account,
    logged_in,
    makes_session,
    open_to_all,
)
from astrolabe_api.common.csrf import CSRF_FIELD
from astrolabe_api.common.html import page_response
from astrolabe_api.common.state import ApiState, State
from astrolabe_api.gateway.forms import page_values
from astrolabe_api.gateway.tokens_api import ACCOUNT_API

__all__ = ["form_of", "openid_router"]

_FORM_BYTES = 65_536
_FORM_FIELDS = 100
_KEYS_AGE_SECONDS = 3600
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}

router = APIRouter(tags=["openid"])


def openid_router() -> APIRouter:
    """Return the router of this module."""
    return router


class ConsentEntry(BaseModel):
    """What the caller has agreed to tell a client."""

    client_id: str
    scopes: list[str]
    granted: datetime


class ConsentList(BaseModel):
    """All consents of the caller."""

    consents: list[ConsentEntry]


# --- what clients read ---------------------------------------------------------------------------


@router.get(
    "/.well-known/openid-configuration",
    dependencies=[open_to_all()],
    summary="Discovery document of the OpenID Connect provider",
)
async def discovery(state: State) -> dict[str, Any]:
    """Answer with the metadata of OpenID Connect Discovery 1.0."""
    return state.context.openid_provider.discovery()


@router.get(
    f"{OPENID_PATH}/jwks.json",
    dependencies=[open_to_all()],
    response_class=Response,
    summary="Keys that sign ID tokens",
)
def keys(state: State) -> Response:
    """Answer with the JWK set; a new key is in it for a day before it signs."""
    return JSONResponse(
        state.context.openid_provider.keys.jwks(),
        headers={"Cache-Control": f"public, max-age={_KEYS_AGE_SECONDS}"},
    )


# --- the authorization endpoint ------------------------------------------------------------------


@router.get(
    f"{OPENID_PATH}/authorize",
    dependencies=[makes_session()],
    response_class=Response,
    summary="Authorization endpoint: a client asks who somebody is",
)
async def authorize(request: Request, state: State, caller: Caller) -> Response:
    """Send the browser back to the client, to the login page, or ask the user."""
    given = _pairs(request.scope.get("query_string", b""))
    outcome = await run_in_threadpool(
        state.context.openid_provider.authorization.ask, given, caller
    )
    match outcome:
        case SendBack(url):
            is_after_form = any(name == "resume" for name, _ in given)
            return _send_back(state, caller, url) if is_after_form else _redirect(url)
        case LogIn(resume):
            back = f"{OPENID_PATH}/authorize?{urlencode({'resume': resume})}"
            return _redirect(f"/auth/login?{urlencode({'return_url': back})}")
        case AskConsent(client, wants, form):
            values = {"client": client.name, "wants": wants, "form": form}
            return page_response("consent.html", page_values(state, caller) | values)


@router.post(
    f"{OPENID_PATH}/authorize",
    dependencies=[open_to_all()],
    response_class=Response,
    summary="The same, asked by a form",
)
async def authorize_by_form(request: Request, state: State) -> Response:
    """Turn the form into an address, to which the browser brings the session's cookie."""
    given = await form_of(request)
    resume = state.context.openid_provider.authorization.seal(given)
    return _redirect(f"{OPENID_PATH}/authorize?{urlencode({'resume': resume})}")


@router.post(
    f"{OPENID_PATH}/consent",
    dependencies=[makes_session()],
    response_class=Response,
    summary="The user's answer to what a client wants to know",
)
async def consent(request: Request, state: State, caller: Caller) -> Response:
    """Send the browser back to the client with a code, or with the user's refusal."""
    given = dict(await form_of(request))
    state.csrf.check(given.get(CSRF_FIELD), caller.token_key)
    outcome = await run_in_threadpool(
        state.context.openid_provider.authorization.decide,
        given.get("form", ""),
        caller,
        allow=given.get("answer") == "allow",
    )
    return _send_back(state, caller, outcome.url)


# --- what clients call ---------------------------------------------------------------------------


@router.post(
    f"{OPENID_PATH}/token",
    dependencies=[open_to_all()],
    response_class=Response,
    summary="Token endpoint: codes and refresh tokens for tokens",
)
async def token(request: Request, state: State, address: ClientAddress) -> Response:
    """Answer as RFC 6749 says, errors too."""
    try:
        answer = await run_in_threadpool(
            state.context.openid_provider.exchange.answer,
            await form_of(request),
            authorization=request.headers.get("authorization"),
            address=address,
        )
    except ProtocolError as exc:
        return _protocol_error(exc)
    return JSONResponse(answer, headers=_NO_STORE)


@router.post(
    f"{OPENID_PATH}/revoke",
    dependencies=[open_to_all()],
    response_class=Response,
    summary="A client gives a token back (RFC 7009)",
)
async def revoke(request: Request, state: State) -> Response:
    """End the login that the token came from."""
    try:
        await run_in_threadpool(
            state.context.openid_provider.exchange.revoke,
            await form_of(request),
            authorization=request.headers.get("authorization"),
        )
    except ProtocolError as exc:
        return _protocol_error(exc)
    return Response(headers=_NO_STORE)


@router.post(
    f"{OPENID_PATH}/userinfo",
    dependencies=[logged_in()],
    response_class=Response,
    operation_id="userinfo_by_post",
    summary="The same",
)
@router.get(
    f"{OPENID_PATH}/userinfo",
    dependencies=[logged_in()],
    response_class=Response,
    summary="Claims about the user of an access token",
)
def userinfo(state: State, caller: Caller) -> Response:
    """Answer with the claims that the user allowed."""
    return JSONResponse(state.context.openid_provider.userinfo(caller), headers=_NO_STORE)


# --- what users have agreed to -------------------------------------------------------------------


@router.get(
    f"{ACCOUNT_API}/consents",
    dependencies=[account("user:token")],
    summary="Which sites may know who you are",
)
def list_consents(state: State, caller: Caller) -> ConsentList:
    """List what the caller has agreed to."""
    given = state.context.openid_provider.consents.list(caller)
    return ConsentList(
        consents=[
            ConsentEntry(client_id=c.client_id, scopes=sorted(c.scopes), granted=c.granted)
            for c in given
        ]
    )


@router.delete(
    f"{ACCOUNT_API}/consents/{{client_id}}",
    dependencies=[account("user:token")],
    status_code=HTTPStatus.NO_CONTENT,
    summary="Withdraw a consent and log out at that site",
)
def withdraw_consent(client_id: str, state: State, caller: Caller) -> None:
    """Forget the consent; every token that the client has of the caller ends."""
    state.context.openid_provider.consents.withdraw(caller, client_id)


# --- shared --------------------------------------------------------------------------------------


async def form_of(request: Request) -> list[tuple[str, str]]:
    """Return the (name, value) pairs of a form in the body; names count in their own case.

    Raises
    ------
    TooLargeError
        Raised if it is over 64 kB.
    BadParameterError
        Raised if it is no form.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _FORM_BYTES:
            raise TooLargeError(f"The form is over the limit of {_FORM_BYTES} bytes.")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise BadParameterError("Send a form of type application/x-www-form-urlencoded.")
    return _pairs(bytes(body))


def _pairs(text: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            text.decode("utf-8"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_FORM_FIELDS,
        )
    except ValueError as exc:
        raise BadParameterError(
            f"The parameters are not UTF-8 text, or more than {_FORM_FIELDS}."
        ) from exc


def _redirect(url: str) -> Response:
    return RedirectResponse(url, status_code=HTTPStatus.SEE_OTHER, headers=_NO_STORE)


def _send_back(state: ApiState, caller: Principal, url: str) -> Response:
    """Leave for the client by a page of our own.

    Chromium applies a form's policy (``form-action 'self'``) to every redirect that follows it, so
    after a form nobody can be redirected to another site.
    """
    return page_response("leaving.html", page_values(state, caller) | {"url": url})


def _protocol_error(error: ProtocolError) -> Response:
    headers = dict(_NO_STORE)
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Basic realm="openid"'
    document = {"error": error.error, "error_description": error.description}
    return JSONResponse(document, status_code=error.status, headers=headers)
