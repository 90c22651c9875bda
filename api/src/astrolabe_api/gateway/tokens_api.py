"""The user's own tokens and sessions, password and signed links: ``/auth/api/v1``."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from astrolabe.core.errors import NotFoundError
from astrolabe.identity.model import TokenKind
from astrolabe_api.common.auth import Caller, ClientAddress, account
from astrolabe_api.common.people import (
    HistoryPage,
    NewTokenEntry,
    PasswordChange,
    Sent,
    TokenEntry,
    TokenList,
    TokenRequest,
)
from astrolabe_api.common.state import State

__all__ = ["ACCOUNT_API", "tokens_router"]

ACCOUNT_API = "/auth/api/v1"
"""Where the API of the account is; a change by cookie needs a CSRF token there."""

_MANAGE = account("user:token")

router = APIRouter(prefix=ACCOUNT_API, tags=["account"])


class SessionDocument(BaseModel):
    """Who the caller is, and what a program that uses a cookie needs for changes."""

    username: str | None
    token_key: str | None = Field(description="The public half of the token that was sent.")
    kind: str | None
    scopes: list[str]
    authenticated: datetime | None = Field(
        description="The login behind this session; some changes need one less than 15 minutes old."
    )
    csrf_token: str | None = Field(
        description="Send it as X-CSRF-Token with changes that are made by cookie."
    )


class NewName(Sent):
    """Another name."""

    name: str


class LinkRequest(Sent):
    """A signed link to be made."""

    address: str = Field(
        description="Path and query of one resource: /api/tap/async/ID/results/result"
    )


class LinkDocument(BaseModel):
    """A signed link."""

    url: str = Field(description="Whoever has it may read the one resource.")
    expires: datetime


def tokens_router() -> APIRouter:
    """Return the router of this module."""
    return router


@router.get("/session", dependencies=[account()], summary="Who the caller is; the CSRF token")
def session(state: State, caller: Caller) -> SessionDocument:
    """Say who the caller is."""
    key = caller.token_key
    return SessionDocument(
        username=caller.username,
        token_key=key,
        kind=caller.kind,
        scopes=sorted(caller.scopes),
        authenticated=caller.authenticated,
        csrf_token=None if key is None else state.csrf.of(key),
    )


@router.get("/tokens", dependencies=[_MANAGE], summary="The caller's tokens, all kinds")
def list_tokens(
    state: State,
    caller: Caller,
    kind: Annotated[TokenKind | None, Query(description="Only this kind.")] = None,
    ended: Annotated[  # noqa: FBT002 - FastAPI passes it by name
        bool, Query(description="Also what was revoked or expired within a year.")
    ] = False,
) -> TokenList:
    """List tokens without their secrets."""
    kinds = () if kind is None else (kind.value,)
    found = state.context.tokens.list(caller.username or "", kinds=kinds, with_ended=ended)
    return TokenList(tokens=[TokenEntry.of(t, current_key=caller.token_key) for t in found])


@router.post(
    "/tokens",
    status_code=HTTPStatus.CREATED,
    dependencies=[_MANAGE],
    summary="Make a token; needs a login less than 15 minutes old",
)
def make_token(
    wanted: TokenRequest, state: State, caller: Caller, address: ClientAddress, response: Response
) -> NewTokenEntry:
    """Make a token for the caller's own use; its text is in this answer and nowhere else."""
    response.headers["Cache-Control"] = "no-store"
    return NewTokenEntry.of(
        state.context.tokens.create_user_token(
            caller,
            name=wanted.name,
            scopes=wanted.scopes,
            expires=wanted.expires,
            address=address,
        )
    )


@router.get("/tokens/history", dependencies=[_MANAGE], summary="What happened to one's tokens")
def token_history(
    state: State,
    caller: Caller,
    key: Annotated[str | None, Query(description="Only of this token.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(description="next_cursor of the page before.")] = None,
) -> HistoryPage:
    """List the changes of the caller's tokens, the newest first."""
    history = state.context.tokens.history(
        username=caller.username, key=key, limit=limit, cursor=cursor
    )
    return HistoryPage.of(history)


@router.get("/tokens/{key}", dependencies=[_MANAGE], summary="One of the caller's tokens")
def get_token(key: str, state: State, caller: Caller) -> TokenEntry:
    """Describe a token."""
    found = state.context.tokens.get(key, by=caller)
    if found.username != caller.username:
        # Administrators look at other users' tokens in their own API.
        raise NotFoundError(f"There is no token {key[:64]} of yours.")
    return TokenEntry.of(found, current_key=caller.token_key)


@router.patch("/tokens/{key}", dependencies=[_MANAGE], summary="Rename a token")
def rename_token(
    key: str, new: NewName, state: State, caller: Caller, address: ClientAddress
) -> TokenEntry:
    """Give a token another name."""
    done = state.context.tokens.rename(caller, key, new.name, address=address)
    return TokenEntry.of(done, current_key=caller.token_key)


@router.delete(
    "/tokens/{key}",
    status_code=HTTPStatus.NO_CONTENT,
    dependencies=[account()],
    summary="Revoke a token and all that were made from it",
)
def revoke_token(key: str, state: State, caller: Caller, address: ClientAddress) -> None:
    """Revoke; a token may always revoke itself, others need the scope user:token."""
    if state.context.tokens.get(key, by=caller).username != caller.username:
        raise NotFoundError(f"There is no token {key[:64]} of yours.")
    state.context.tokens.revoke(key, by=caller, address=address)


@router.get("/sessions", dependencies=[_MANAGE], summary="Where the caller is logged in")
def list_sessions(state: State, caller: Caller) -> TokenList:
    """List the sessions that are alive; revoke one as a token."""
    found = state.context.tokens.list(caller.username or "", kinds=(TokenKind.SESSION.value,))
    return TokenList(tokens=[TokenEntry.of(t, current_key=caller.token_key) for t in found])


@router.post(
    "/password",
    status_code=HTTPStatus.NO_CONTENT,
    dependencies=[_MANAGE],
    summary="Change the password; needs a login less than 15 minutes old",
)
def change_password(
    new: PasswordChange, state: State, caller: Caller, address: ClientAddress
) -> None:
    """Set the caller's password; his other sessions end."""
    state.context.users.set_password(
        caller.username or "", new.password, by=caller, address=address
    )


@router.post("/links", dependencies=[account()], summary="Make a signed link to one resource")
def make_link(
    wanted: LinkRequest, state: State, caller: Caller, response: Response
) -> LinkDocument:
    """Make an address that a client without a login can read for an hour."""
    response.headers["Cache-Control"] = "no-store"
    link = state.context.signed_links.sign(caller, wanted.address)
    return LinkDocument(url=state.url(link.address), expires=link.expires)
