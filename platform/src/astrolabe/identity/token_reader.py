"""Reading tokens and their history."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import NotFoundError
from astrolabe.identity.audit import cursor_number, page_limit
from astrolabe.identity.authority import may_administer_users
from astrolabe.identity.model import TokenHistory, TokenInfo
from astrolabe.identity.principal import Principal
from astrolabe.identity.schema import TOKEN, TOKEN_CHANGE
from astrolabe.identity.token_rows import change_of, token_of

__all__ = ["TokenReader"]


class TokenReader:
    """What there is to know about tokens; secrets are not.

    Parameters
    ----------
    database
        The control database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

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
        return TokenHistory(tuple(change_of(row) for row in rows[:count]), more)


def _may_see(by: Principal, username: str) -> bool:
    return by.username == username or may_administer_users(by)
