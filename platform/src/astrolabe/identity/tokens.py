"""Tokens: made, listed, renamed and revoked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, or_, select, update

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import (
    BadParameterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnauthenticatedError,
)
from astrolabe.identity.audit import cursor_number, page_limit
from astrolabe.identity.authority import (
    actor_name,
    may_administer_users,
    require_recent_login,
    require_scope,
    require_user,
)
from astrolabe.identity.model import (
    NewToken,
    TokenChange,
    TokenHistory,
    TokenInfo,
    TokenKind,
    UserStatus,
)
from astrolabe.identity.principal import Principal
from astrolabe.identity.schema import MEMBER, TOKEN, TOKEN_CHANGE, USER
from astrolabe.identity.scopes import LAB_FORBIDDEN, ScopePolicy, check_scopes
from astrolabe.identity.token_text import TokenText, hash_secret

__all__ = ["TokenService", "groups_of", "token_of"]

_NAME_LENGTH: Final = 100


class TokenService:
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
        self._database = database
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
            groups = _groups_of_active(connection, username)
            allowed = self._policy.allowed(groups)
            return self._insert(
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
            allowed = self._policy.allowed(_groups_of_active(connection, row.username))
            held = wanted & frozenset(row.scopes) & allowed
            if isinstance(parent, Principal):
                held &= parent.scopes
            if child_kind is TokenKind.LAB:
                held -= LAB_FORBIDDEN
            return self._insert(
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

    def list(
        self,
        username: str,
        *,
        kinds: Collection[str] = (),
        with_ended: bool = False,
    ) -> tuple[TokenInfo, ...]:
        """Return a user's tokens, the newest first.

        Parameters
        ----------
        username
            Whose.
        kinds
            Only these kinds; none given means all.
        with_ended
            Also those that were revoked or have expired within the last year.
        """
        query = select(TOKEN).where(TOKEN.c.username == username)
        if kinds:
            query = query.where(TOKEN.c.kind.in_(list(kinds)))
        if not with_ended:
            query = query.where(TOKEN.c.revoked.is_(None), TOKEN.c.expires > utc_now())
        query = query.order_by(TOKEN.c.created.desc(), TOKEN.c.token_key)
        with self._database.read() as connection:
            return tuple(token_of(row) for row in connection.execute(query))

    def get(self, key: str, *, by: Principal | None = None) -> TokenInfo:
        """Return a token.

        Parameters
        ----------
        key
            Its key.
        by
            Who asks; tokens of others are there for administrators only.  `None`: the platform.

        Raises
        ------
        NotFoundError
            Raised if there is none, or it is not the caller's.
        """
        with self._database.read() as connection:
            row = connection.execute(select(TOKEN).where(TOKEN.c.token_key == key)).one_or_none()
        if row is None or (by is not None and not _may_see(by, row.username)):
            raise NotFoundError(f"There is no token {key[:64]}.")
        return token_of(row)

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
                _note(
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
            ended = self.revoke_in(
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
        return self.revoke_in(connection, keys, actor=actor, address=address, reason=reason)

    def revoke_in(
        self,
        connection: Connection,
        keys: Collection[str],
        *,
        actor: str,
        address: str | None,
        reason: str,
    ) -> tuple[str, ...]:
        """End tokens and their children in a transaction; returns the keys that have ended."""
        ended: list[str] = []
        level, why = sorted(keys), reason
        while level:
            # Parents first: whoever makes a child holds its parent's row until it is there.
            rows = connection.execute(
                update(TOKEN)
                .where(TOKEN.c.token_key.in_(level), TOKEN.c.revoked.is_(None))
                .values(revoked=utc_now())
                .returning(TOKEN.c.token_key, TOKEN.c.username)
            ).all()
            for row in rows:
                _note(
                    connection,
                    row,
                    actor=actor,
                    action="revoke",
                    address=address,
                    detail={"reason": why},
                )
            ended += [row.token_key for row in rows]
            children = select(TOKEN.c.token_key).where(
                TOKEN.c.parent.in_(level), TOKEN.c.revoked.is_(None)
            )
            level = sorted(connection.execute(children).scalars())
            why = "its parent has ended"
        return tuple(ended)

    def tell(self, ended: Collection[str]) -> None:
        """Let this process know at once that tokens have ended; others see it within 3 s."""
        for listener in tuple(self._listeners):
            listener(ended)

    def history(
        self,
        *,
        username: str | None = None,
        key: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> TokenHistory:
        """Return what happened to tokens, the newest first.

        Parameters
        ----------
        username, key
            Only of this user or token.
        cursor
            `TokenHistory.next_cursor` of the page before.
        limit
            Most lines to return, 1 to 1000.

        Raises
        ------
        BadParameterError
            Raised if `cursor` or `limit` is not one.
        """
        count = page_limit(limit)
        query = select(TOKEN_CHANGE).order_by(TOKEN_CHANGE.c.change_id.desc()).limit(count + 1)
        if username is not None:
            query = query.where(TOKEN_CHANGE.c.username == username)
        if key is not None:
            query = query.where(TOKEN_CHANGE.c.token_key == key)
        if cursor is not None:
            query = query.where(TOKEN_CHANGE.c.change_id < cursor_number(cursor))
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        more = str(rows[count - 1].change_id) if len(rows) > count else None
        return TokenHistory(tuple(_change_of(row) for row in rows[:count]), more)

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
            allowed = self._policy.allowed(_groups_of_active(connection, username))
            _check_free_name(connection, username, label)
            count = connection.execute(
                select(func.count()).select_from(TOKEN).where(*_live_own(username))
            ).scalar_one()
            if count >= self._user_limit:
                raise ConflictError(
                    f"{username} has {count} tokens, as many as allowed; revoke some first."
                )
            return self._insert(
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

    def _insert(
        self,
        connection: Connection,
        *,
        kind: TokenKind,
        username: str,
        name: str | None,
        scopes: frozenset[str],
        parent: str | None,
        expires: datetime,
        authenticated: datetime | None,
        address: str | None,
        actor: str,
    ) -> NewToken:
        token = TokenText.new()
        row = connection.execute(
            insert(TOKEN)
            .values(
                token_key=token.key,
                secret_hash=hash_secret(token.secret),
                kind=kind,
                username=username,
                name=name,
                scopes=sorted(scopes),
                parent=parent,
                created=utc_now(),
                created_address=address,
                expires=expires,
                authenticated=authenticated,
            )
            .returning(TOKEN)
        ).one()
        _note(
            connection,
            row,
            actor=actor,
            action="create",
            address=address,
            detail={"kind": kind, "name": name, "scopes": sorted(scopes), "parent": parent},
        )
        return NewToken(token.text, token_of(row))


def groups_of(connection: Connection, username: str) -> frozenset[str]:
    """Return the groups that a user is in, himself or through a nested group."""
    direct = select(MEMBER.c.group_name).where(MEMBER.c.member == username)
    query = select(MEMBER.c.group_name).where(
        or_(MEMBER.c.member == username, MEMBER.c.member.in_(direct))
    )
    return frozenset(connection.execute(query).scalars())


def token_of(row: Row[*tuple[Any, ...]]) -> TokenInfo:
    """Return the token of a whole row of the table."""
    return TokenInfo(
        key=row.token_key,
        kind=TokenKind(row.kind),
        username=row.username,
        name=row.name,
        scopes=frozenset(row.scopes),
        parent=row.parent,
        created=row.created,
        created_address=row.created_address,
        expires=row.expires,
        authenticated=row.authenticated,
        revoked=row.revoked,
        last_used=row.last_used,
        last_address=row.last_address,
    )


def _change_of(row: Row[*tuple[Any, ...]]) -> TokenChange:
    return TokenChange(
        change_id=row.change_id,
        key=row.token_key,
        username=row.username,
        time=row.time,
        actor=row.actor,
        action=row.action,
        address=row.address,
        detail=dict(row.detail),
    )


def _groups_of_active(connection: Connection, username: str) -> frozenset[str]:
    """Return the groups of an account that works.

    Nobody ends the account, or makes another of its tokens, before the transaction is over.
    """
    status = connection.execute(
        select(USER.c.status).where(USER.c.username == username).with_for_update(key_share=True)
    ).scalar()
    if status != UserStatus.ACTIVE:
        raise UnauthenticatedError("The account is disabled or was deleted.")
    return groups_of(connection, username)


def _may_see(by: Principal, username: str) -> bool:
    return by.username == username or may_administer_users(by)


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


def _note(
    connection: Connection,
    row: Row[*tuple[Any, ...]],
    *,
    actor: str,
    action: str,
    address: str | None,
    detail: dict[str, Any],
) -> None:
    connection.execute(
        insert(TOKEN_CHANGE).values(
            token_key=row.token_key,
            username=row.username,
            time=utc_now(),
            actor=actor,
            action=action,
            address=address,
            detail=detail,
        )
    )
