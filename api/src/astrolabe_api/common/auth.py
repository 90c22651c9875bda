"""Who asks, and whether he may: the one place where a credential becomes a principal.

Every route says in its declaration who may come, by one of the functions below; a route that does
not say so answers nobody, and fails a test.  A handler gets the caller as a parameter of the type
`Caller`::

    router.add_api_route("/sync", sync, dependencies=[requires("read:tap", service="tap")])

    async def sync(request: Request, caller: Caller) -> Response: ...
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

from fastapi import Depends
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request

from astrolabe.core.errors import (
    AstrolabeError,
    ForbiddenError,
    InternalError,
    UnauthenticatedError,
)
from astrolabe.identity import ANONYMOUS, Principal
from astrolabe.identity.signed_links import LINK_KIND, LINK_SCOPES
from astrolabe_api.common.admission import count_request
from astrolabe_api.common.credentials import Credential, CredentialKind, read_credential
from astrolabe_api.common.csrf import CSRF_HEADER, SAFE_METHODS, check_origin
from astrolabe_api.common.requests import notes_of
from astrolabe_api.common.state import ApiState, public_base, state_of, takes_anonymous

__all__ = [
    "Access",
    "Caller",
    "ClientAddress",
    "Who",
    "account",
    "administers",
    "authenticate",
    "by_signed_tree",
    "logged_in",
    "makes_session",
    "open_to_all",
    "public",
    "requires",
]


class Who(Enum):
    """Whom a route answers."""

    ALL = "all"
    """Everybody alike; nobody is asked who he is."""
    PUBLIC = "public"
    """Everybody; a credential that is no good is not an error, but answered with challenges."""
    ANONYMOUS = "anonymous"
    """Who holds the scope, and anonymous callers where the settings allow them."""
    USERS = "users"
    """Who has logged in and, where there is a scope, holds it."""
    TREE = "tree"
    """Who comes by the signed link of a tree, whose maker holds the scope; nobody else."""


@dataclass(frozen=True)
class Access:
    """What a route asks of its caller; a dependency of that route.

    Parameters
    ----------
    who
        Whom it answers.
    scopes
        The credential must hold one of these; none needed if empty.
    service
        Name of the service, for the setting that allows anonymous callers.
    links
        Whether a signed link is good enough.
    csrf
        Whether a change by cookie needs a CSRF token in its header.
    origin
        Whether another site's page may not send this request, cookie or not: what makes a session
        would else log somebody in as somebody else.
    """

    who: Who
    scopes: frozenset[str] = frozenset()
    service: str | None = None
    links: bool = False
    csrf: bool = False
    origin: bool = False

    async def __call__(self, connection: HTTPConnection) -> Principal:
        """Find out who asks and apply this declaration; the notes on the request keep it.

        Raises
        ------
        UnauthenticatedError
            Raised if a credential is needed, or one came that is no good.
        ForbiddenError
            Raised if the caller may not do this, or another site sent the request.
        """
        notes = notes_of(connection)
        if self.origin:
            self._check_origin(connection, state_of(connection))
        if self.who is not Who.ALL:
            await self._check(connection, state_of(connection))
        if self.service is not None:
            quotas = state_of(connection).context.quotas
            await count_request(quotas, notes.principal, self.service, notes.address)
        notes.is_checked = True
        return notes.principal

    async def _check(self, connection: HTTPConnection, state: ApiState) -> None:
        principal, credential = await self._find(connection, state)
        # A refusal, too, says to whom it was said.
        notes_of(connection).principal = principal
        if credential is not None and credential.kind is CredentialKind.COOKIE:
            notes_of(connection).by_cookie = True
            self._check_cookie(connection, state, principal)
        if principal.is_anonymous:
            if not self._takes_anonymous(state):
                raise UnauthenticatedError(
                    "Log in first: send a token, or log in with your name and password."
                )
            return
        if self.who is Who.TREE and principal.kind != LINK_KIND:
            raise UnauthenticatedError("This address is good with a signed link only.")
        if principal.kind == LINK_KIND and not self.links:
            raise ForbiddenError("A signed link is good for reading data, for nothing else.")
        if self.who is not Who.PUBLIC and self.scopes and not self.scopes & principal.scopes:
            wanted = " or ".join(sorted(self.scopes))
            raise ForbiddenError(f"This needs the scope {wanted}, which your token does not have.")

    async def _find(
        self, connection: HTTPConnection, state: ApiState
    ) -> tuple[Principal, Credential | None]:
        try:
            return await authenticate(connection, state)
        except AstrolabeError as exc:
            if not isinstance(exc, UnauthenticatedError):
                raise
            notes_of(connection).credential_failed = True
            if self.who is not Who.PUBLIC:
                raise
            return ANONYMOUS, None

    def _takes_anonymous(self, state: ApiState) -> bool:
        if self.who is Who.ANONYMOUS and self.service is not None:
            return takes_anonymous(state.settings, self.service)
        return self.who is Who.PUBLIC

    def _check_cookie(
        self, connection: HTTPConnection, state: ApiState, principal: Principal
    ) -> None:
        if _is_safe(connection):
            return
        self._check_origin(connection, state)
        if self.csrf:
            state.csrf.check(connection.headers.get(CSRF_HEADER), principal.token_key)

    def _check_origin(self, connection: HTTPConnection, state: ApiState) -> None:
        if not _is_safe(connection):
            check_origin(
                connection,
                public_url=public_base(state.settings),
                trusted_origins=state.settings.server.cors_origins,
            )


def _is_safe(connection: HTTPConnection) -> bool:
    """Whether a request changes nothing; a websocket's first one may lead to anything."""
    return connection.scope["type"] == "http" and connection.scope["method"] in SAFE_METHODS


def open_to_all() -> Any:  # noqa: ANN401 - what FastAPI's Depends returns
    """Declare a route that answers everybody alike and looks at no credential."""
    return Depends(Access(Who.ALL))


def makes_session() -> Any:  # noqa: ANN401 - as above
    """Declare a route that logs somebody in or out: open, but not to other sites' pages."""
    return Depends(Access(Who.PUBLIC, origin=True))


def public() -> Any:  # noqa: ANN401 - as above
    """Declare a route that always answers, but may show more to who has logged in."""
    return Depends(Access(Who.PUBLIC, links=True))


def requires(*scopes: str, service: str | None = None) -> Any:  # noqa: ANN401 - as above
    """Declare a route of a service: for who holds one of `scopes`.

    Parameters
    ----------
    service
        The service's name: it is open to anonymous callers too if the setting ``auth.anonymous``
        names it.
    """
    held = frozenset(scopes)
    who = Who.USERS if service is None else Who.ANONYMOUS
    return Depends(Access(who, scopes=held, service=service, links=held <= LINK_SCOPES))


def by_signed_tree(*scopes: str, service: str) -> Any:  # noqa: ANN401 - as above
    """Declare a route whose path has the credential of a signed tree as `TREE_PARAMETER`.

    Parameters
    ----------
    service
        The service's name, under which requests are counted.
    """
    return Depends(Access(Who.TREE, scopes=frozenset(scopes), service=service, links=True))


def logged_in() -> Any:  # noqa: ANN401 - as above
    """Declare a route for whoever has logged in, whatever the credential may be used for."""
    return Depends(Access(Who.USERS))


def account(*scopes: str) -> Any:  # noqa: ANN401 - as above
    """Declare a route of the account's API: as `requires`, and by cookie with a CSRF token."""
    return Depends(Access(Who.USERS, scopes=frozenset(scopes), csrf=True))


def administers(*scopes: str) -> Any:  # noqa: ANN401 - as above
    """Declare a route of the administration: as `account`, with an administrator's scope."""
    return Depends(Access(Who.USERS, scopes=frozenset(scopes), csrf=True))


async def authenticate(
    connection: HTTPConnection, state: ApiState
) -> tuple[Principal, Credential | None]:
    """Return who asks, and with what; no route's declaration is looked at here.

    Raises
    ------
    BadParameterError
        Raised if a token stands in the address.
    UnauthenticatedError
        Raised if there is a credential that is no good.
    """
    https = public_base(state.settings).startswith("https://")
    credential = read_credential(connection, https=https)
    if credential is None:
        return ANONYMOUS, None
    address = notes_of(connection).address
    if credential.kind in {CredentialKind.LINK, CredentialKind.TREE}:
        return await _by_link(connection, state, credential), credential
    authenticator = state.context.authenticator
    known = authenticator.cached(credential.text, address=address)
    if known is None:
        known = await run_in_threadpool(
            authenticator.authenticate, credential.text, address=address
        )
    return known, credential


async def _by_link(
    connection: HTTPConnection, state: ApiState, credential: Credential
) -> Principal:
    if connection.scope["type"] != "http" or connection.scope["method"] != "GET":
        raise UnauthenticatedError("A signed link is good for GET only.")
    links = state.context.signed_links
    find = links.tree_token_key if credential.kind is CredentialKind.TREE else links.token_key
    key = find(credential.text, credential.address)
    holder = await run_in_threadpool(state.context.authenticator.principal_of, key)
    if holder is None:
        raise UnauthenticatedError("The token that this signed link was made with has ended.")
    return Principal(
        username=holder.username,
        groups=holder.groups,
        scopes=holder.scopes & LINK_SCOPES,
        uid=holder.uid,
        token_key=holder.token_key,
        kind=LINK_KIND,
    )


async def _caller(request: Request) -> Principal:
    notes = notes_of(request)
    if not notes.is_checked:
        raise InternalError(
            f"The route of {request.scope['path']} does not declare who may come; see "
            "astrolabe_api.common.auth."
        )
    return notes.principal


Caller = Annotated[Principal, Depends(_caller)]
"""Declare a handler's parameter with this type to get the caller."""


async def _address(connection: HTTPConnection) -> str | None:
    return notes_of(connection).address


ClientAddress = Annotated[str | None, Depends(_address)]
"""Declare a handler's parameter with this type to get the client's address."""
