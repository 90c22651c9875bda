"""Accounts, their tokens and the first logins that wait: ``/api/admin/users`` and neighbours."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from astrolabe.identity import Principal
from astrolabe.identity.login_links import login_link_address
from astrolabe.identity.model import UserStatus
from astrolabe_api.admin.common import ADMIN_PATH, Cursor, Limit
from astrolabe_api.common.auth import Caller, ClientAddress, administers
from astrolabe_api.common.people import (
    GroupEntry,
    HistoryPage,
    NewTokenEntry,
    PasswordChange,
    QuotaEntry,
    Sent,
    TokenEntry,
    TokenList,
    TokenRequest,
    UserEntry,
)
from astrolabe_api.common.state import State, public_base

__all__ = ["router"]

_MANAGE = administers("admin:user")

router = APIRouter(prefix=ADMIN_PATH, tags=["administration"], dependencies=[_MANAGE])


class UserList(BaseModel):
    """A page of accounts in the order of their names."""

    users: list[UserEntry]
    next_cursor: str | None = Field(description="Send as `cursor` for the next page.")


class UserDocument(BaseModel):
    """An account and what belongs to it."""

    user: UserEntry
    groups: list[GroupEntry]
    identities: list[tuple[str, str]] = Field(
        description="(issuer, subject) of the OpenID Connect accounts that log in as this user."
    )
    quotas: list[QuotaEntry]


class NewUser(Sent):
    """An account to be made."""

    username: str
    password: str | None = Field(
        None, description="Without one the user comes in by a login link.", max_length=1000
    )
    full_name: str = ""
    email: str = ""
    groups: list[str] = Field([], description="Groups to put it into.")


class UserChange(Sent):
    """What can be changed of an account."""

    full_name: str | None = None
    email: str | None = None


class LoginLink(BaseModel):
    """A link that logs in once."""

    url: str


class RequestEntry(BaseModel):
    """Somebody whom a login provider knows and who waits for an account."""

    requested_name: str | None
    issuer: str
    subject: str
    full_name: str
    email: str
    created: datetime


class RequestList(BaseModel):
    """First logins that wait for approval, the oldest first."""

    requests: list[RequestEntry]


@router.get("/users", summary="Accounts")
def list_users(
    state: State,
    limit: Limit = 100,
    cursor: Cursor = None,
    status: Annotated[UserStatus | None, Query(description="Default all but deleted.")] = None,
    search: Annotated[str | None, Query(description="Part of a name or address.")] = None,
) -> UserList:
    """List accounts."""
    page = state.context.users.page(limit=limit, cursor=cursor, status=status, search=search)
    return UserList(users=[UserEntry.of(user) for user in page.users], next_cursor=page.next_cursor)


@router.post("/users", status_code=HTTPStatus.CREATED, summary="Make an account")
def make_user(wanted: NewUser, state: State, caller: Caller, address: ClientAddress) -> UserEntry:
    """Make a local account."""
    made = state.context.users.create(
        wanted.username,
        password=wanted.password,
        full_name=wanted.full_name,
        email=wanted.email,
        groups=wanted.groups,
        by=caller,
        address=address,
    )
    return UserEntry.of(made)


@router.get("/users/{name}", summary="An account, its groups and quotas")
def get_user(name: str, state: State) -> UserDocument:
    """Describe an account."""
    context = state.context
    user = context.users.get(name)
    groups = context.groups.memberships(name)
    as_user = Principal(username=name, groups=frozenset(group.name for group, _ in groups))
    return UserDocument(
        user=UserEntry.of(user),
        groups=[GroupEntry.of(group, role=role) for group, role in groups],
        identities=list(context.openid_accounts.identities(name)),
        quotas=[QuotaEntry.of(use) for use in context.quotas.usage(as_user)],
    )


@router.patch("/users/{name}", summary="Change how a user is called or reached")
def change_user(
    name: str, change: UserChange, state: State, caller: Caller, address: ClientAddress
) -> UserEntry:
    """Change an account."""
    done = state.context.users.update(
        name, full_name=change.full_name, email=change.email, by=caller, address=address
    )
    return UserEntry.of(done)


@router.delete("/users/{name}", status_code=HTTPStatus.NO_CONTENT, summary="Delete an account")
def delete_user(
    name: str,
    state: State,
    caller: Caller,
    address: ClientAddress,
    hand_over_to: Annotated[
        str | None, Query(description="Who gets its groups and data; default: they are kept.")
    ] = None,
) -> None:
    """End an account for ever: tokens die, jobs end, the name is never given again."""
    state.context.users.delete(name, hand_over_to=hand_over_to, by=caller, address=address)


@router.post(
    "/users/{name}/disable", status_code=HTTPStatus.NO_CONTENT, summary="Disable an account"
)
def disable_user(name: str, state: State, caller: Caller, address: ClientAddress) -> None:
    """Take an account out of use: tokens die, jobs end, data is kept."""
    state.context.users.disable(name, by=caller, address=address)


@router.post("/users/{name}/enable", status_code=HTTPStatus.NO_CONTENT, summary="Enable an account")
def enable_user(name: str, state: State, caller: Caller, address: ClientAddress) -> None:
    """Put an account into use again."""
    state.context.users.enable(name, by=caller, address=address)


@router.put("/users/{name}/password", status_code=HTTPStatus.NO_CONTENT, summary="Set a password")
def set_password(
    name: str, new: PasswordChange, state: State, caller: Caller, address: ClientAddress
) -> None:
    """Give an account another password; its sessions end."""
    state.context.users.set_password(name, new.password, by=caller, address=address)


@router.post(
    "/users/{name}/login-link", status_code=HTTPStatus.CREATED, summary="Make a login link"
)
def make_login_link(
    name: str, state: State, caller: Caller, address: ClientAddress, response: Response
) -> LoginLink:
    """Make a link that logs in as the user once; earlier ones end."""
    response.headers["Cache-Control"] = "no-store"
    text = state.context.users.create_login_link(name, by=caller, address=address)
    return LoginLink(url=login_link_address(public_base(state.settings), text))


@router.get("/users/{name}/tokens", summary="A user's tokens")
def list_tokens(
    name: str,
    state: State,
    ended: Annotated[  # noqa: FBT002 - FastAPI passes it by name
        bool, Query(description="Also what was revoked or expired within a year.")
    ] = False,
) -> TokenList:
    """List a user's tokens without their secrets."""
    state.context.users.get(name)
    found = state.context.tokens.list(name, with_ended=ended)
    return TokenList(tokens=[TokenEntry.of(token) for token in found])


@router.post(
    "/users/{name}/tokens", status_code=HTTPStatus.CREATED, summary="Make a token for a user"
)
def make_token(
    name: str,
    wanted: TokenRequest,
    state: State,
    caller: Caller,
    address: ClientAddress,
    response: Response,
) -> NewTokenEntry:
    """Make a token that belongs to a user; none that his groups, or the caller, lack scopes for."""
    response.headers["Cache-Control"] = "no-store"
    return NewTokenEntry.of(
        state.context.tokens.create_for(
            name,
            name=wanted.name,
            scopes=wanted.scopes,
            expires=wanted.expires,
            by=caller,
            address=address,
        )
    )


@router.get("/tokens/history", summary="What happened to anybody's tokens")
def token_history(
    state: State,
    username: Annotated[str | None, Query(description="Only of this user.")] = None,
    key: Annotated[str | None, Query(description="Only of this token.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> HistoryPage:
    """List changes of tokens, the newest first."""
    return HistoryPage.of(
        state.context.tokens.history(username=username, key=key, limit=limit, cursor=cursor)
    )


@router.delete("/tokens/{key}", status_code=HTTPStatus.NO_CONTENT, summary="Revoke anybody's token")
def revoke_token(key: str, state: State, caller: Caller, address: ClientAddress) -> None:
    """Revoke a token and all that were made from it."""
    state.context.tokens.revoke(key, by=caller, address=address)


@router.get("/requests", summary="First logins that wait for approval")
def list_requests(state: State) -> RequestList:
    """List who waits for an account."""
    return RequestList(
        requests=[
            RequestEntry(
                requested_name=pending.requested_name,
                issuer=pending.issuer,
                subject=pending.subject,
                full_name=pending.full_name,
                email=pending.email,
                created=pending.created,
            )
            for pending in state.context.openid_accounts.pending()
        ]
    )


@router.post("/requests/{name}/approve", summary="Make the account that was asked for")
def approve(name: str, state: State, caller: Caller, address: ClientAddress) -> UserEntry:
    """Approve of an account."""
    done = state.context.openid_accounts.approve(name, by=caller, address=address)
    return UserEntry.of(done)


@router.post(
    "/requests/{name}/refuse",
    status_code=HTTPStatus.NO_CONTENT,
    summary="Forget a request for an account",
)
def refuse(name: str, state: State, caller: Caller, address: ClientAddress) -> None:
    """Refuse an account; its name stays free."""
    state.context.openid_accounts.refuse(name, by=caller, address=address)
