"""The sites and programs that may log people in through us.

Those of the settings come from `auth.clients`; administrators register others at run time.  Who
stands in the settings cannot be changed or hidden at run time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import BadParameterError, ConflictError, NotFoundError
from astrolabe.identity.audit import AuditLog, page_limit
from astrolabe.identity.authority import actor_name, require_recent_login, require_scope
from astrolabe.identity.openid.keys import ALGORITHMS, Algorithm
from astrolabe.identity.openid.protocol import CLIENT_SCOPES, IDENTITY_SCOPES, ProtocolError
from astrolabe.identity.openid.schema import CLIENT, CONSENT, GRANT
from astrolabe.identity.principal import Principal

__all__ = [
    "Client",
    "ClientPage",
    "ClientRegistry",
    "Consent",
    "NewClient",
    "check_redirect_uri",
    "hash_client_secret",
]

_CLIENT_ID: Final = re.compile(r"[a-z][a-z0-9_-]{1,62}[a-z0-9]")
_SECRET_BYTES: Final = 32
_NAME_LENGTH: Final = 100
_MOST_REDIRECT_URIS: Final = 20
_LONGEST_URI: Final = 2000
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_NO_SECRET_HASH: Final = hashlib.sha256(b"").hexdigest()


class Consent(StrEnum):
    """Whether users are asked before a client learns who they are."""

    IMPLICIT = "implicit"
    """Never: the client is a part of the platform, such as its hub."""
    REMEMBER = "remember"
    """Once, and again when it wants to know more."""
    ALWAYS = "always"
    """At each login."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A client of the provider.

    Parameters
    ----------
    client_id
        Its name in the protocol.
    name
        How users know it.
    redirect_uris
        Where it may have people sent back to; compared character by character.
    scopes
        Scopes of the platform that its access tokens may hold beyond telling who somebody is.
    consent
        Whether users are asked.
    algorithm
        How its ID tokens are signed.
    pkce_required
        Whether each login needs a PKCE challenge; always so for public clients.
    secret_hash
        SHA-256 of its secret; `None` for a public client, which cannot keep one.
    created, created_by
        When and by whom it was registered; `None` for clients of the settings.
    """

    client_id: str
    name: str
    redirect_uris: tuple[str, ...]
    scopes: frozenset[str] = frozenset()
    consent: Consent = Consent.REMEMBER
    algorithm: Algorithm = "RS256"
    pkce_required: bool = True
    secret_hash: str | None = field(default=None, repr=False)
    created: datetime | None = None
    created_by: str | None = None

    @property
    def is_public(self) -> bool:
        """Whether it has no secret: a program on users' machines."""
        return self.secret_hash is None

    @property
    def from_settings(self) -> bool:
        """Whether it stands in the settings and cannot be changed here."""
        return self.created is None


@dataclass(frozen=True, slots=True)
class NewClient:
    """A client that was just registered: the only time that its secret is known."""

    client: Client
    secret: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClientPage:
    """A page of clients in the order of their ids; `next_cursor` asks for the next page."""

    clients: tuple[Client, ...]
    next_cursor: str | None


class ClientRegistry:
    """Knows the clients.

    Parameters
    ----------
    database
        The control database.
    audit
        Told of every change.
    configured
        The clients of the settings.
    """

    def __init__(
        self, database: Database, *, audit: AuditLog, configured: Iterable[Client] = ()
    ) -> None:
        self._database = database
        self._audit = audit
        self._configured: Mapping[str, Client] = {c.client_id: checked(c) for c in configured}

    def get(self, client_id: str) -> Client | None:
        """Return a client, `None` if there is none."""
        if _CLIENT_ID.fullmatch(client_id) is None:
            return None
        if client_id in self._configured:
            return self._configured[client_id]
        with self._database.read() as connection:
            row = connection.execute(
                select(CLIENT).where(CLIENT.c.client_id == client_id)
            ).one_or_none()
        return None if row is None else _client_of(row)

    def page(self, by: Principal, *, limit: int = 100, cursor: str | None = None) -> ClientPage:
        """Return clients in the order of their ids.

        Raises
        ------
        ForbiddenError
            Raised if the caller lacks ``admin:platform``.
        BadParameterError
            Raised if `limit` is not 1 to 1000.
        """
        require_scope(by, "admin:platform")
        count = page_limit(limit)
        with self._database.read() as connection:
            rows = connection.execute(select(CLIENT)).all()
        known = {row.client_id: _client_of(row) for row in rows} | dict(self._configured)
        # There are dozens at most, and databases do not agree on the order of hyphens.
        found = sorted(name for name in known if name > (cursor or ""))
        more = found[count - 1] if len(found) > count else None
        return ClientPage(tuple(known[name] for name in found[:count]), more)

    def create(
        self, by: Principal, client: Client, *, public: bool = False, address: str | None = None
    ) -> NewClient:
        """Register a client.

        Parameters
        ----------
        by
            An administrator with a recent login.
        client
            What it is; its secret is made here.
        public
            Give it no secret.
        address
            Where the request came from.

        Raises
        ------
        ForbiddenError
            Raised if the caller may not.
        BadParameterError
            Raised if a field is not allowed.
        ConflictError
            Raised if there is a client of this id.
        """
        _require_administrator(by)
        secret = None if public else secrets.token_urlsafe(_SECRET_BYTES)
        made = checked(
            Client(
                client_id=client.client_id,
                name=client.name,
                redirect_uris=client.redirect_uris,
                scopes=client.scopes,
                consent=client.consent,
                algorithm=client.algorithm,
                pkce_required=client.pkce_required or public,
                secret_hash=None if secret is None else hash_client_secret(secret),
                created=utc_now(),
                created_by=actor_name(by),
            )
        )
        taken = f"There is a client {made.client_id!r} already; choose another id."
        if made.client_id in self._configured:
            raise ConflictError(taken)
        try:
            with self._database.write() as connection:
                connection.execute(insert(CLIENT).values(_row_of(made)))
                self._audit.record(
                    actor_name(by),
                    "client.create",
                    made.client_id,
                    {"redirect_uris": list(made.redirect_uris), "scopes": sorted(made.scopes)},
                    address,
                    connection=connection,
                )
        except IntegrityError as exc:
            raise ConflictError(taken) from exc
        return NewClient(made, secret)

    def new_secret(self, by: Principal, client_id: str, *, address: str | None = None) -> NewClient:
        """Give a client a new secret; the old one is worth nothing from now on.

        Raises
        ------
        ForbiddenError
            Raised if the caller may not.
        NotFoundError, ConflictError
            Raised if there is no such client, or it stands in the settings or is public.
        """
        client = self._changeable(by, client_id)
        if client.is_public:
            raise ConflictError(f"The client {client_id!r} is public: it has no secret.")
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        with self._database.write() as connection:
            connection.execute(
                update(CLIENT)
                .where(CLIENT.c.client_id == client_id)
                .values(secret_hash=hash_client_secret(secret))
            )
            self._audit.record(
                actor_name(by), "client.secret", client_id, None, address, connection=connection
            )
        return NewClient(client, secret)

    def delete(self, by: Principal, client_id: str, *, address: str | None = None) -> None:
        """Remove a client: it logs nobody in any more, its refresh tokens end at once.

        Access tokens that it has live to their end, an hour at most.

        Raises
        ------
        ForbiddenError
            Raised if the caller may not.
        NotFoundError, ConflictError
            Raised if there is no such client, or it stands in the settings.
        """
        self._changeable(by, client_id)
        with self._database.write() as connection:
            connection.execute(delete(CLIENT).where(CLIENT.c.client_id == client_id))
            connection.execute(delete(CONSENT).where(CONSENT.c.client_id == client_id))
            connection.execute(
                update(GRANT)
                .where(GRANT.c.client_id == client_id, GRANT.c.revoked.is_(None))
                .values(revoked=utc_now())
            )
            self._audit.record(
                actor_name(by), "client.delete", client_id, None, address, connection=connection
            )

    def authenticate(self, client_id: str, secret: str | None) -> Client:
        """Return the client that proves who it is.

        Parameters
        ----------
        client_id
            Who it says it is.
        secret
            Its secret; `None` if it sent none, which only public clients may.

        Raises
        ------
        ProtocolError
            Raised (``invalid_client``) if it is unknown or the secret is wrong.
        """
        client = self.get(client_id)
        known = None if client is None else client.secret_hash
        # Compared for unknown clients too, in the same time.
        same = hmac.compare_digest(known or _NO_SECRET_HASH, hash_client_secret(secret or ""))
        if client is None or (secret is None) != client.is_public or not (same or secret is None):
            raise ProtocolError(
                "invalid_client", "The client is unknown or its secret is wrong.", status=401
            )
        return client

    def _changeable(self, by: Principal, client_id: str) -> Client:
        _require_administrator(by)
        if client_id in self._configured:
            raise ConflictError(
                f"The client {client_id!r} stands in the settings (auth.clients); change it there."
            )
        client = self.get(client_id)
        if client is None:
            raise NotFoundError(f"There is no client {client_id!r}.")
        return client


def hash_client_secret(secret: str) -> str:
    """Return what is kept of a secret: it is random and long, so its SHA-256 tells nothing."""
    return hashlib.sha256(secret.encode()).hexdigest()


def checked(client: Client) -> Client:
    """Return `client` if all of it is allowed.

    Raises
    ------
    BadParameterError
        Raised if a field is not.
    """
    if _CLIENT_ID.fullmatch(client.client_id) is None:
        raise BadParameterError(
            f"The client id {client.client_id[:70]!r} must be 3 to 64 lower-case letters, digits, "
            "hyphens and underscores, the first of them a letter."
        )
    if not client.name.strip() or len(client.name) > _NAME_LENGTH or not client.name.isprintable():
        raise BadParameterError(f"The name of a client has 1 to {_NAME_LENGTH} visible characters.")
    if not 1 <= len(client.redirect_uris) <= _MOST_REDIRECT_URIS:
        raise BadParameterError(f"A client has 1 to {_MOST_REDIRECT_URIS} redirect URIs.")
    for uri in client.redirect_uris:
        check_redirect_uri(uri)
    excess = sorted(client.scopes - CLIENT_SCOPES)
    if excess:
        known = ", ".join(sorted(CLIENT_SCOPES))
        hint = " (every client may ask for it)" if excess[0] in IDENTITY_SCOPES else ""
        raise BadParameterError(
            f"A client cannot be given the scope {excess[0]!r}{hint}; it can be given {known}."
        )
    if client.algorithm not in ALGORITHMS:
        raise BadParameterError(
            f"ID tokens are signed by {' or '.join(ALGORITHMS)}, not {client.algorithm!r}."
        )
    if client.is_public and not client.pkce_required:
        raise BadParameterError("A client without a secret needs PKCE.")
    return client


def check_redirect_uri(uri: str) -> None:
    """Refuse a redirect URI to which a code could leak.

    Raises
    ------
    BadParameterError
        Raised if it is no absolute https address without fragment, user name or wildcard; http is
        right for the user's own machine only (RFC 8252, section 7.3).
    """
    example = "give an absolute address such as https://hub.example.org/hub/oauth_callback"
    try:
        parts = urlsplit(uri)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        host = None
    if host is None or len(uri) > _LONGEST_URI or not uri.isascii() or not uri.isprintable():
        raise BadParameterError(f"The redirect URI {uri[:200]!r} is not an address; {example}.")
    if "#" in uri or "@" in parts.netloc or "*" in uri or "\\" in uri or " " in uri:
        raise BadParameterError(
            f"The redirect URI {uri!r} has a fragment, user name, space or wildcard; {example}."
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
        raise BadParameterError(
            f"The redirect URI {uri!r} must begin with https:// (http:// only on 127.0.0.1)."
        )


def _require_administrator(by: Principal) -> None:
    require_scope(by, "admin:platform")
    require_recent_login(by)


def _client_of(row: Row[*tuple[Any, ...]]) -> Client:
    return Client(
        client_id=row.client_id,
        name=row.name,
        redirect_uris=tuple(row.redirect_uris),
        scopes=frozenset(row.scopes),
        consent=Consent(row.consent),
        algorithm=row.algorithm,
        pkce_required=row.pkce_required,
        secret_hash=row.secret_hash,
        created=row.created,
        created_by=row.created_by,
    )


def _row_of(client: Client) -> dict[str, Any]:
    return {
        "client_id": client.client_id,
        "name": client.name,
        "secret_hash": client.secret_hash,
        "redirect_uris": list(client.redirect_uris),
        "scopes": sorted(client.scopes),
        "consent": client.consent.value,
        "algorithm": client.algorithm,
        "pkce_required": client.pkce_required,
        "created": client.created,
        "created_by": client.created_by,
    }
