"""Accounts within one transaction; who may change them is for `astrolabe.identity.users`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, Select, delete, insert, select, update

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import BadParameterError, NotFoundError
from astrolabe.identity.model import User, UserStatus
from astrolabe.identity.names import NameRegistry
from astrolabe.identity.schema import NAME, OPENID_ACCOUNT, USER

__all__ = [
    "accounts",
    "checked_person",
    "erase",
    "insert_account",
    "lock_account",
    "renew_hash",
    "user_of",
]


def accounts() -> Select[*tuple[Any, ...]]:
    """Return the query of all accounts, with their numbers."""
    return select(USER, NAME.c.number).join(NAME, NAME.c.name == USER.c.username)


def user_of(row: Row[*tuple[Any, ...]]) -> User:
    """Return the account of a row of `accounts`."""
    return User(
        username=row.username,
        uid=row.number,
        status=UserStatus(row.status),
        full_name=row.full_name,
        email=row.email,
        created=row.created,
        last_login=row.last_login,
        has_password=row.password_hash is not None,
    )


def lock_account(connection: Connection, username: str) -> Row[*tuple[Any, ...]]:
    """Return an account's row, which nobody else changes before the transaction ends.

    Raises
    ------
    NotFoundError
        Raised if there is none, or it was deleted.
    """
    row = connection.execute(
        accounts().where(USER.c.username == username).with_for_update(of=USER, key_share=True)
    ).one_or_none()
    if row is None or row.status == UserStatus.DELETED:
        raise NotFoundError(f"There is no user {username[:64]}.")
    return row


def checked_person(full_name: str, email: str) -> tuple[str, str]:
    """Return a name and an address as they are stored.

    Raises
    ------
    BadParameterError
        Raised if one of them cannot be.
    """
    name, address = " ".join(full_name.split()), email.strip()
    if len(name) > 200 or not name.isprintable():
        raise BadParameterError("A full name has at most 200 characters, all of them visible.")
    if address and (
        address.count("@") != 1
        or len(address) > 254
        or not address.isprintable()
        or any(c.isspace() for c in address)
        or address.startswith("@")
        or address.endswith("@")
    ):
        raise BadParameterError(f"{address[:64]!r} is no e-mail address.")
    return name, address


def insert_account(
    connection: Connection,
    names: NameRegistry,
    username: str,
    *,
    full_name: str = "",
    email: str = "",
    password_hash: str | None = None,
    uid: int | None = None,
) -> User:
    """Make an account; the form of its name has been checked.

    Raises
    ------
    ConflictError
        Raised if the name or the number is or was taken.
    """
    names.take(connection, username, "user", number=uid)
    connection.execute(
        insert(USER).values(
            username=username,
            status=UserStatus.ACTIVE,
            full_name=full_name,
            email=email,
            password_hash=password_hash,
            created=utc_now(),
        )
    )
    return user_of(connection.execute(accounts().where(USER.c.username == username)).one())


def renew_hash(connection: Connection, username: str, old: str, new: str) -> None:
    """Store another hash of the same password, unless the password was changed meanwhile."""
    connection.execute(
        update(USER)
        .where(USER.c.username == username, USER.c.password_hash == old)
        .values(password_hash=new)
    )


def erase(connection: Connection, names: NameRegistry, username: str) -> None:
    """Delete an account: what tells who it was goes, its name stays taken."""
    connection.execute(
        update(USER)
        .where(USER.c.username == username)
        .values(status=UserStatus.DELETED, full_name="", email="", password_hash=None)
    )
    connection.execute(delete(OPENID_ACCOUNT).where(OPENID_ACCOUNT.c.username == username))
    names.retire(connection, username)
