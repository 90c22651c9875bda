"""Tokens: made, listed, renamed and revoked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, func, select, update

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import (
    BadParameterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnauthenticatedError,
)
from astrolabe.identity.authority import (
    actor_name,
    require_recent_login,
    require_scope,
    require_user,
)
from astrolabe.identity.model import (
    NewToken,
    TokenInfo,
    TokenKind,
)
from astrolabe.identity.principal import Principal
from astrolabe.identity.schema import TOKEN, USER
from astrolabe.identity.scopes import LAB_FORBIDDEN, ScopePolicy, check_scopes
from astrolabe.identity.token_reader import TokenReader
from astrolabe.identity.token_rows import (
    end_tokens,
    groups_of,
    groups_of_active,
    insert_token,
    note_change,
    token_of,
)

__all__ = ["TokenService"]

_NAME_LENGTH: Final = 100


class TokenService(TokenReader):
    """Makes and ends tokens, and keeps their history.

    Parameters
    ----------
    database
        The control database.
    policy
        What groups allow.
    session_lifetime
        How long a session lasts.
    user_lifetime
        The longest, and the default, life of a user's own token.
    user_limit
        Own tokens that a user may have at once.
    """

    def __init__(
        self,
        database: Database,
        *,
        policy: ScopePolicy,
        session_lifetime: timedelta,
        user_lifetime: timedelta,
        user_limit: int,
    ) -> None:
        super().__init__(database)
        self._policy = policy
        self._session_lifetime = session_lifetime
        self._user_lifetime = user_lifetime
        self._user_limit = user_limit
        self._listeners: list[Callable[[Collection[str]], None]] = []

    def subscribe(self, listener: Callable[[Collection[str]], None]) -> None:
        """Call `listener` with the keys of tokens that this process has just revoked."""
        self._listeners.append(listener)

    def create_session(
        self,
        username: str,
        *,
        address: str | None,
        authenticated: datetime,
        scopes: Iterable[str] | None = None,
    ) -> NewToken:
        """Make the token of somebody who has just logged in.

        Parameters
        ----------
        username
            Who.
        address
            Where the login came from.
        authenticated
            When he proved who he is.
        scopes
            What the session may be used for; default all that his groups allow.

        Raises
        ------
        UnauthenticatedError
            Raised if the account is disabled or not there any more.
        BadParameterError
            Raised if a scope does not exist.
        """
        wanted = None if scopes is None else check_scopes(scopes)
        with self._database.write() as connection:
            groups = groups_of_active(connection, username)
            allowed = self._policy.allowed(groups)
            return insert_token(
                connection,
                kind=TokenKind.SESSION,
                username=username,
                name=None,
                scopes=allowed if wanted is None else allowed & wanted,
                parent=None,
                expires=utc_now() + self._session_lifetime,
                authenticated=authenticated,
                address=address,
                actor=username,
            )

    def create_user_token(
        self,
        principal: Principal,
        *,
        name: str,
        scopes: Iterable[str],
        expires: datetime | None = None,
        address: str | None = None,
    ) -> NewToken:
        """Make a token for the caller's own use; it outlives the session that it is made with.

        Parameters
        ----------
        principal
            The caller: a session with a recent login and the scope ``user:token``.
        name
            How he calls it; unique among his tokens that work.
        scopes
            What it may be used for: nothing that the session may not.
        expires
            When it ends (UTC); default the longest that the settings allow.
        address
            Where the request came from.

        Raises
        ------
        ForbiddenError
            Raised if the login is too old, or a scope exceeds the session's.
        BadParameterError
            Raised if a scope does not exist, or the name or the time is not allowed.
        ConflictError
            Raised if there is a token of that name, or too many.
        """
        username = require_user(principal)
        require_scope(principal, "user:token")
        require_recent_login(principal)
        wanted = check_scopes(scopes)
        excess = sorted(wanted - principal.scopes)
        if excess:
            raise ForbiddenError(
                f"A token cannot have the scope {excess[0]}, which your session does not have."
            )
        return self._create_own(
            username,
            name=name,
            scopes=wanted,
            expires=expires,
            address=address,
            actor=username,
        )

    def create_for(
        self,
        username: str,
        *,
        name: str,
        scopes: Iterable[str],
        expires: datetime | None = None,
        by: Principal,
        address: str | None = None,
    ) -> NewToken:
        """Make a token of somebody else's, as an administrator.

        Raises
        ------
        ForbiddenError
            Raised if the caller may not, or a scope exceeds what the user's groups allow.
        NotFoundError
            Raised if there is no such account.
        BadParameterError, ConflictError
            Raised as by `create_user_token`.
        """
        require_scope(by, "admin:user")
        require_recent_login(by)
        wanted = check_scopes(scopes)
        with self._database.read() as connection:
            if connection.execute(select(USER).where(USER.c.username == username)).first() is None:
                raise NotFoundError(f"There is no user {username}.")
            allowed = self._policy.allowed(groups_of(connection, username))
        excess = sorted(wanted - allowed)
        if excess:
            raise ForbiddenError(f"The groups of {username} do not allow the scope {excess[0]}.")
        if not by.scopes >= wanted:
            raise ForbiddenError("A token cannot have a scope that your own does not have.")
        return self._create_own(
            username,
            name=name,
            scopes=wanted,
            expires=expires,
            address=address,
            actor=actor_name(by),
        )

    def create_child(
        self,
        parent: Principal | str,
        *,
        kind: TokenKind | str,
        scopes: Iterable[str],
        expires: datetime | None = None,
        name: str | None = None,
        address: str | None = None,
    ) -> NewToken:
        """Make a token that holds no more than its parent and ends with it.

        Parameters
        ----------
        parent
            The caller, or the key of a token.
        kind
            ``lab``, ``service`` or ``oidc``.
        scopes
            What is asked for; the child gets what the parent has of it.  A lab token never gets
            ``user:token`` or a scope of administrators.
        expires
            When it ends at the latest (UTC).
        name
            For lists, such as the client's.
        address
            Where the request came from.

        Raises
        ------
        UnauthenticatedError
            Raised if the parent does not work (any more).
        BadParameterError
            Raised if the kind or a scope does not exist.
        """
        try:
            child_kind = TokenKind(kind)
        except ValueError:
            child_kind = TokenKind.SESSION
        if child_kind in {TokenKind.SESSION, TokenKind.USER}:
            raise BadParameterError(f"A child token is of kind lab, service or oidc, not {kind!r}.")
        wanted = check_scopes(scopes)
        key = parent.token_key if isinstance(parent, Principal) else parent
        if key is None:
            raise UnauthenticatedError("Log in first: only a token has child tokens.")
        with self._database.write() as connection:
            row = connection.execute(
                # Locked, so that it cannot be revoked between the look and the insertion.
                select(TOKEN).where(TOKEN.c.token_key == key).with_for_update()
            ).one_or_none()
            if row is None or row.revoked is not None or row.expires <= utc_now():
                raise UnauthenticatedError("The token is expired, was revoked or never was one.")
            allowed = self._policy.allowed(groups_of_active(connection, row.username))
            held = wanted & frozenset(row.scopes) & allowed
            if isinstance(parent, Principal):
                held &= parent.scopes
            if child_kind is TokenKind.LAB:
                held -= LAB_FORBIDDEN
            return insert_token(
                connection,
                kind=child_kind,
                username=row.username,
                name=None if name is None else _checked_name(name),
                scopes=held,
                parent=key,
                expires=row.expires if expires is None else min(row.expires, expires),
                authenticated=None,
                address=address,
                actor=row.username,
            )

    def rename(
        self, principal: Principal, key: str, name: str, *, address: str | None = None
    ) -> TokenInfo:
        """Give one of the caller's tokens another name.

        Raises
        ------
        NotFoundError
            Raised if the caller has no such token.
        ForbiddenError
            Raised if the caller lacks ``user:token``.
        ConflictError
            Raised if another of his tokens has that name.
        """
        require_scope(principal, "user:token")
        new = _checked_name(name)
        with self._database.write() as connection:
            row = connection.execute(
                select(TOKEN).where(TOKEN.c.token_key == key).with_for_update()
            ).one_or_none()
            if row is None or row.username != principal.username:
                raise NotFoundError(f"There is no token {key[:64]}.")
            if new != row.name:
                if row.kind == TokenKind.USER:
                    _check_free_name(connection, row.username, new)
                connection.execute(update(TOKEN).where(TOKEN.c.token_key == key).values(name=new))
                note_change(
                    connection,
                    row,
                    actor=actor_name(principal),
                    action="rename",
                    address=address,
                    detail={"from": row.name, "to": new},
                )
            return token_of(connection.execute(select(TOKEN).where(TOKEN.c.token_key == key)).one())

    def revoke(self, key: str, *, by: Principal, address: str | None = None) -> None:
        """End a token and all its children; one that has ended already is no error.

        Parameters
        ----------
        key
            The token.
        by
            Who ends it: its holder with that very token (logout), with ``user:token``, or an
            administrator with a recent login.
        address
            Where the request came from.

        Raises
        ------
        NotFoundError
            Raised if there is none, or the caller may not know of it.
        ForbiddenError
            Raised if the caller may not end it.
        """
        info = self.get(key, by=by)
        if by.token_key != key:
            if info.username == by.username:
                require_scope(by, "user:token")
            else:
                require_recent_login(by)
        with self._database.write() as connection:
            ended = end_tokens(
                connection, [key], actor=actor_name(by), address=address, reason="revoked"
            )
        self.tell(ended)

    def revoke_all(
        self,
        username: str,
        *,
        actor: str,
        reason: str,
        address: str | None = None,
        kinds: Collection[str] = (),
        keep: str | None = None,
        connection: Connection,
    ) -> tuple[str, ...]:
        """End all tokens of a user within a transaction; call `tell` once it is committed.

        Parameters
        ----------
        username
            Whose.
        actor, reason, address
            For the history.
        kinds
            Only these kinds, and the children of these; none given means all.
        keep
            The key of one that goes on.
        connection
            A writing transaction.

        Returns
        -------
        tuple
            The keys of those that have ended.
        """
        query = select(TOKEN.c.token_key).where(
            TOKEN.c.username == username, TOKEN.c.revoked.is_(None), TOKEN.c.expires > utc_now()
        )
        if kinds:
            query = query.where(TOKEN.c.kind.in_(list(kinds)))
        keys = [row.token_key for row in connection.execute(query) if row.token_key != keep]
        return end_tokens(connection, keys, actor=actor, address=address, reason=reason)

    def tell(self, ended: Collection[str]) -> None:
        """Let this process know at once that tokens have ended; others see it within 3 s."""
        for listener in tuple(self._listeners):
            listener(ended)

    def _create_own(
        self,
        username: str,
        *,
        name: str,
        scopes: frozenset[str],
        expires: datetime | None,
        address: str | None,
        actor: str,
    ) -> NewToken:
        label = _checked_name(name)
        now = utc_now()
        longest = now + self._user_lifetime
        if expires is not None and not now < expires <= longest + timedelta(minutes=1):
            raise BadParameterError(
                f"A token ends in the future and within {self._user_lifetime.days} days."
            )
        with self._database.write() as connection:
            allowed = self._policy.allowed(groups_of_active(connection, username))
            _check_free_name(connection, username, label)
            count = connection.execute(
                select(func.count()).select_from(TOKEN).where(*_live_own(username))
            ).scalar_one()
            if count >= self._user_limit:
                raise ConflictError(
                    f"{username} has {count} tokens, as many as allowed; revoke some first."
                )
            return insert_token(
                connection,
                kind=TokenKind.USER,
                username=username,
                name=label,
                scopes=scopes & allowed,
                parent=None,
                expires=longest if expires is None else expires,
                authenticated=None,
                address=address,
                actor=actor,
            )


def _checked_name(name: str) -> str:
    label = name.strip()
    if not label or len(label) > _NAME_LENGTH or not label.isprintable():
        raise BadParameterError(
            f"The name of a token is 1 to {_NAME_LENGTH} characters, all of them visible."
        )
    return label


def _live_own(username: str) -> tuple[Any, ...]:
    return (
        TOKEN.c.username == username,
        TOKEN.c.kind == TokenKind.USER,
        TOKEN.c.revoked.is_(None),
        TOKEN.c.expires > utc_now(),
    )


def _check_free_name(connection: Connection, username: str, name: str) -> None:
    query = select(TOKEN.c.token_key).where(*_live_own(username), TOKEN.c.name == name)
    if connection.execute(query).first() is not None:
        raise ConflictError(f"{username} has a token named {name!r} already; choose another name.")
