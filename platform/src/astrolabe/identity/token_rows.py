"""Tokens within one transaction; who may do what with them is for `astrolabe.identity.tokens`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, or_, select, update

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import UnauthenticatedError
from astrolabe.identity.model import NewToken, TokenChange, TokenInfo, TokenKind, UserStatus
from astrolabe.identity.schema import MEMBER, TOKEN, TOKEN_CHANGE, USER
from astrolabe.identity.token_text import TokenText, hash_secret

__all__ = [
    "change_of",
    "end_tokens",
    "groups_of",
    "groups_of_active",
    "insert_token",
    "note_change",
    "token_of",
]


def insert_token(
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
    """Make a token within a transaction; whether it may be made was checked."""
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
    note_change(
        connection,
        row,
        actor=actor,
        action="create",
        address=address,
        detail={"kind": kind, "name": name, "scopes": sorted(scopes), "parent": parent},
    )
    return NewToken(token.text, token_of(row))


def end_tokens(
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
            note_change(
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


def change_of(row: Row[*tuple[Any, ...]]) -> TokenChange:
    """Return the line of history of a whole row of its table."""
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


def groups_of_active(connection: Connection, username: str) -> frozenset[str]:
    """Return the groups of an account that works.

    Nobody ends the account, or makes another of its tokens, before the transaction is over.

    Raises
    ------
    UnauthenticatedError
        Raised if the account is disabled or was deleted.
    """
    status = connection.execute(
        select(USER.c.status).where(USER.c.username == username).with_for_update(key_share=True)
    ).scalar()
    if status != UserStatus.ACTIVE:
        raise UnauthenticatedError("The account is disabled or was deleted.")
    return groups_of(connection, username)


def note_change(
    connection: Connection,
    row: Row[*tuple[Any, ...]],
    *,
    actor: str,
    action: str,
    address: str | None,
    detail: dict[str, Any],
) -> None:
    """Add a line to a token's history."""
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
