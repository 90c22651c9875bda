"""Reading accounts."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select

from astrolabe.core.database import Database
from astrolabe.core.errors import NotFoundError
from astrolabe.identity import accounts
from astrolabe.identity.audit import page_limit
from astrolabe.identity.model import User, UserPage, UserStatus
from astrolabe.identity.schema import USER

__all__ = ["UserReader"]


class UserReader:
    """What there is to know about accounts.

    Parameters
    ----------
    database
        The control database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> User:
        """Return an account, also one that is disabled or was deleted.

        Raises
        ------
        NotFoundError
            Raised if there never was one.
        """
        with self._database.read() as connection:
            row = connection.execute(
                accounts.accounts().where(USER.c.username == name)
            ).one_or_none()
        if row is None:
            raise NotFoundError(f"There is no user {name[:64]}.")
        return accounts.user_of(row)

    def page(
        self,
        *,
        cursor: str | None = None,
        limit: int = 100,
        status: UserStatus | None = None,
        search: str | None = None,
    ) -> UserPage:
        """Return accounts in the order of their names.

        Parameters
        ----------
        cursor
            `UserPage.next_cursor` of the page before.
        limit
            Most accounts to return, 1 to 1000.
        status
            Only these; default all but the deleted ones.
        search
            Only accounts whose name, full name or address holds this text.

        Raises
        ------
        BadParameterError
            Raised if `limit` is not one.
        """
        count = page_limit(limit)
        query = accounts.accounts().order_by(USER.c.username).limit(count + 1)
        query = query.where(
            USER.c.status == status if status else USER.c.status != UserStatus.DELETED
        )
        if cursor is not None:
            query = query.where(USER.c.username > cursor)
        if search:
            columns = (USER.c.username, USER.c.full_name, USER.c.email)
            found = [column.icontains(search, autoescape=True) for column in columns]
            query = query.where(found[0] | found[1] | found[2])
        with self._database.read() as connection:
            users = tuple(accounts.user_of(row) for row in connection.execute(query))
        return UserPage(users[:count], users[count - 1].username if len(users) > count else None)

    def ended(self, names: Iterable[str]) -> frozenset[str]:
        """Return those of `names` whose accounts are disabled or deleted."""
        query = select(USER.c.username).where(
            USER.c.username.in_(list(names)), USER.c.status != UserStatus.ACTIVE
        )
        with self._database.read() as connection:
            return frozenset(connection.execute(query).scalars())
