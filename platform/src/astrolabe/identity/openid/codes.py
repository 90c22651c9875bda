"""Logins at clients: their codes, access tokens and refresh tokens, each good for one use.

A grant is one login at one client.  It begins with a code, which is redeemed once for an access
token and a refresh token; each refresh token is used once for the next pair.  Whoever comes with a
code or a refresh token that was used before has got hold of somebody else's: the whole grant ends,
with every token that came from it (RFC 6749, section 4.1.2; RFC 9700, section 4.14.2).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Row, delete, insert, select, update

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.identity.openid.clients import Client
from astrolabe.identity.openid.protocol import CODE_LIFETIME, ProtocolError
from astrolabe.identity.openid.schema import CODE, GRANT, ISSUED
from astrolabe.identity.token_rows import end_tokens
from astrolabe.identity.token_text import hash_secret, new_secret, same_hash
from astrolabe.identity.tokens import TokenService

__all__ = ["Grant", "GrantStore", "Redeemed", "challenge_of"]

_PART: Final = r"[A-Za-z0-9_-]{22}"
_TEXT: Final = re.compile(rf"a([cr])-({_PART})\.({_PART})")
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_ACTOR: Final = "platform"
_KEEP: Final = timedelta(days=1)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One login at one client.

    Parameters
    ----------
    grant_id
        Its name in the database.
    client_id, username
        Who logged in where.
    session_key
        The session that it came from; it ends with that.
    scopes
        What the client may know and do.
    authenticated
        When the user proved who he is.
    """

    grant_id: str
    client_id: str
    username: str
    session_key: str
    scopes: frozenset[str]
    authenticated: datetime


@dataclass(frozen=True, slots=True)
class Redeemed:
    """A code that was good.

    Parameters
    ----------
    grant
        What it stands for.
    nonce
        What the client wants to see again in the ID token.
    """

    grant: Grant
    nonce: str | None


class GrantStore:
    """Keeps grants and what was given out for them.

    Parameters
    ----------
    database
        The control database.
    tokens
        Ends access tokens.
    lifetime
        How long a grant can be refreshed.
    """

    def __init__(self, database: Database, *, tokens: TokenService, lifetime: timedelta) -> None:
        self._database = database
        self._tokens = tokens
        self._lifetime = lifetime

    def begin(
        self,
        client: Client,
        *,
        username: str,
        session_key: str,
        authenticated: datetime,
        scopes: Iterable[str],
        redirect_uri: str,
        nonce: str | None,
        challenge: str | None,
    ) -> str:
        """Begin a grant and return its code.

        Parameters
        ----------
        client
            The client.
        username, session_key, authenticated
            Who logged in, with which session, and when.
        scopes
            What the user allows.
        redirect_uri
            Where the code is sent; whoever redeems it must name the same.
        nonce
            For the ID token.
        challenge
            PKCE challenge, method S256 (RFC 7636).
        """
        now = utc_now()
        grant_id, key, secret = new_secret(), new_secret(), new_secret()
        with self._database.write() as connection:
            # Old ones go when new ones come: that needs no clock of its own.
            connection.execute(delete(GRANT).where(GRANT.c.expires < now - _KEEP))
            connection.execute(
                insert(GRANT).values(
                    grant_id=grant_id,
                    client_id=client.client_id,
                    username=username,
                    session_key=session_key,
                    scopes=sorted(scopes),
                    authenticated=authenticated,
                    created=now,
                    expires=now + self._lifetime,
                )
            )
            connection.execute(
                insert(CODE).values(
                    code_key=key,
                    secret_hash=hash_secret(secret),
                    grant_id=grant_id,
                    redirect_uri=redirect_uri,
                    nonce=nonce,
                    challenge=challenge,
                    expires=now + CODE_LIFETIME,
                )
            )
        return f"ac-{key}.{secret}"

    def redeem(
        self, text: str, *, client: Client, redirect_uri: str | None, verifier: str | None
    ) -> Redeemed:
        """Use a code.

        Parameters
        ----------
        text
            The code.
        client
            Who brings it.
        redirect_uri
            Where it says the code was sent.
        verifier
            The secret behind the PKCE challenge.

        Raises
        ------
        ProtocolError
            Raised (``invalid_grant``) if the code is wrong, too old, was used before or belongs to
            another client, address or challenge.
        """
        key, secret = _parts(text, "c")
        with self._database.write() as connection:
            code = connection.execute(
                select(CODE).where(CODE.c.code_key == key).with_for_update()
            ).one_or_none()
            row = None if code is None else _lock_grant(connection, code.grant_id)
            if code is None or row is None or not same_hash(code.secret_hash, hash_secret(secret)):
                raise _refused("The code is unknown")
            if row.client_id != client.client_id:
                raise _refused("The code was given to another client")
            if code.used is None:
                _check_proofs(code, redirect_uri=redirect_uri, verifier=verifier)
                if code.expires < utc_now() or row.revoked is not None:
                    raise _refused("The code is too old; let the user log in again")
                connection.execute(
                    update(CODE).where(CODE.c.code_key == key).values(used=utc_now())
                )
                return Redeemed(_grant_of(row), code.nonce)
        self._end_stolen(row.grant_id, "a code came twice")
        raise _refused("The code was used before; all that came from it has ended")

    def issue(self, grant: Grant, token_key: str) -> str:
        """Note an access token of a grant and return the refresh token that goes with it.

        Raises
        ------
        ProtocolError
            Raised (``invalid_grant``) if the grant has ended meanwhile; the access token too.
        """
        key, secret = new_secret(), new_secret()
        with self._database.write() as connection:
            row = _lock_grant(connection, grant.grant_id)
            alive = row is not None and row.revoked is None
            if alive:
                connection.execute(
                    insert(ISSUED).values(
                        token_key=token_key,
                        grant_id=grant.grant_id,
                        refresh_key=key,
                        refresh_hash=hash_secret(secret),
                        created=utc_now(),
                    )
                )
            ended = () if alive else _end_tokens(connection, [token_key], "its grant ended")
        self._tokens.tell(ended)
        if not alive:
            raise _refused("The login has ended")
        return f"ar-{key}.{secret}"

    def refresh(self, text: str, *, client: Client) -> Grant:
        """Use a refresh token.

        Raises
        ------
        ProtocolError
            Raised (``invalid_grant``) if it is wrong, was used before, belongs to another client
            or its grant has ended.
        """
        key, secret = _parts(text, "r")
        with self._database.write() as connection:
            issued = connection.execute(
                select(ISSUED).where(ISSUED.c.refresh_key == key).with_for_update()
            ).one_or_none()
            row = None if issued is None else _lock_grant(connection, issued.grant_id)
            if (
                issued is None
                or row is None
                or not same_hash(issued.refresh_hash, hash_secret(secret))
            ):
                raise _refused("The refresh token is unknown")
            if row.client_id != client.client_id:
                raise _refused("The refresh token was given to another client")
            if row.revoked is not None or row.expires < utc_now():
                raise _refused("The login has ended; let the user log in again")
            if issued.refreshed is None:
                connection.execute(
                    update(ISSUED).where(ISSUED.c.refresh_key == key).values(refreshed=utc_now())
                )
                return _grant_of(row)
        self._end_stolen(row.grant_id, "a refresh token came twice")
        raise _refused("The refresh token was used before; all that came from it has ended")

    def of_token(self, token_key: str) -> Grant | None:
        """Return the grant that an access token came from, `None` if there is none any more."""
        query = (
            select(GRANT)
            .join(ISSUED, ISSUED.c.grant_id == GRANT.c.grant_id)
            .where(ISSUED.c.token_key == token_key, GRANT.c.revoked.is_(None))
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _grant_of(row)

    def revoke_text(self, text: str, *, client: Client) -> None:
        """End the grant that a refresh or access token came from (RFC 7009).

        A token that is unknown, or another client's, is no error: it tells nothing.
        """
        match = re.fullmatch(rf"a([lr])-({_PART})\.({_PART})", text)
        if match is None:
            return
        column = ISSUED.c.refresh_key if match[1] == "r" else ISSUED.c.token_key
        query = (
            select(GRANT.c.grant_id, ISSUED.c.refresh_hash)
            .join(ISSUED, ISSUED.c.grant_id == GRANT.c.grant_id)
            .where(column == match[2], GRANT.c.client_id == client.client_id)
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return
        if match[1] == "r" and not same_hash(row.refresh_hash, hash_secret(match[3])):
            return
        self.end([row.grant_id], reason="revoked by its client")

    def end_of(self, username: str, client_id: str, *, reason: str) -> None:
        """End every grant of a user at a client."""
        query = select(GRANT.c.grant_id).where(
            GRANT.c.username == username, GRANT.c.client_id == client_id, GRANT.c.revoked.is_(None)
        )
        with self._database.read() as connection:
            found = list(connection.execute(query).scalars())
        self.end(found, reason=reason)

    def end(self, grant_ids: Iterable[str], *, reason: str) -> None:
        """End grants and every access token that came from them."""
        names = sorted(grant_ids)
        with self._database.write() as connection:
            connection.execute(
                update(GRANT)
                .where(GRANT.c.grant_id.in_(names), GRANT.c.revoked.is_(None))
                .values(revoked=utc_now())
            )
            keys = connection.execute(
                select(ISSUED.c.token_key).where(ISSUED.c.grant_id.in_(names))
            ).scalars()
            ended = _end_tokens(connection, list(keys), reason)
        self._tokens.tell(ended)

    def _end_stolen(self, grant_id: str, reason: str) -> None:
        _log.warning("login at a client ended", reason=reason, grant_id=grant_id)
        self.end([grant_id], reason=reason)


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of a PKCE verifier (RFC 7636, section 4.2)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _end_tokens(connection: Connection, keys: list[str], reason: str) -> tuple[str, ...]:
    return end_tokens(connection, keys, actor=_ACTOR, address=None, reason=reason)


def _check_proofs(
    code: Row[*tuple[Any, ...]], *, redirect_uri: str | None, verifier: str | None
) -> None:
    if redirect_uri != code.redirect_uri:
        raise _refused("The redirect_uri is another than the one that the code was sent to")
    if code.challenge is None:
        if verifier is not None:
            # Else a code without a challenge could be slipped to a client that uses PKCE
            # (RFC 9700, section 2.1.1).
            raise _refused("There is a code_verifier, but the login had no code_challenge")
        return
    if verifier is None or _VERIFIER.fullmatch(verifier) is None:
        raise _refused("The code_verifier is missing or has not 43 to 128 characters")
    if not hmac.compare_digest(challenge_of(verifier), code.challenge):
        raise _refused("The code_verifier does not fit the code_challenge")


def _parts(text: str, kind: str) -> tuple[str, str]:
    match = _TEXT.fullmatch(text)
    if match is None or match[1] != kind:
        raise _refused("The code or refresh token is unknown")
    return match[2], match[3]


def _refused(why: str) -> ProtocolError:
    return ProtocolError("invalid_grant", f"{why}.")


def _lock_grant(connection: Connection, grant_id: str) -> Row[*tuple[Any, ...]] | None:
    return connection.execute(
        select(GRANT).where(GRANT.c.grant_id == grant_id).with_for_update()
    ).one_or_none()


def _grant_of(row: Row[*tuple[Any, ...]]) -> Grant:
    return Grant(
        grant_id=row.grant_id,
        client_id=row.client_id,
        username=row.username,
        session_key=row.session_key,
        scopes=frozenset(row.scopes),
        authenticated=row.authenticated,
    )
