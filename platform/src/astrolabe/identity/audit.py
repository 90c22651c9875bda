"""The audit log: append-only, kept for a year."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import BadParameterError
from astrolabe.identity.model import AuditEntry, AuditPage
from astrolabe.identity.schema import AUDIT

__all__ = ["LONGEST_PAGE", "AuditLog", "cursor_number", "page_limit"]

LONGEST_PAGE: Final = 1000
"""Most lines of one page of any list of identity."""


class AuditLog:
    """Writes and reads what was done to people, groups, rights and quotas.

    Nothing here changes a line, and only age removes one.

    Parameters
    ----------
    database
        The control database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        actor: str,
        action: str,
        target: str,
        detail: Mapping[str, Any] | None = None,
        address: str | None = None,
        *,
        connection: Connection | None = None,
    ) -> None:
        """Add a line.

        Parameters
        ----------
        actor
            Who did it.
        action
            What, such as ``group.delete``.
        target
            To what.
        detail
            More, as JSON; the caller sees to it that there is no secret in it.
        address
            Where the request came from.
        connection
            The transaction of the change itself, so that neither is there without the other;
            `None` opens one.
        """
        values = {
            "time": utc_now(),
            "actor": actor,
            "action": action,
            "target": target[:300],
            "detail": dict(detail or {}),
            "address": address,
        }
        if connection is not None:
            connection.execute(insert(AUDIT).values(values))
            return
        with self._database.write() as own:
            own.execute(insert(AUDIT).values(values))

    def page(
        self,
        *,
        actor: str | None = None,
        action: str | None = None,
        target: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> AuditPage:
        """Return lines, the newest first.

        Parameters
        ----------
        actor, target
            Only lines of or about these.
        action
            Only this action, or with a dot at the end (``user.``) all that begin so.
        since, until
            Only lines from this time on, and before that one (UTC).
        cursor
            `AuditPage.next_cursor` of the page before.
        limit
            Most lines to return, 1 to 1000.

        Raises
        ------
        BadParameterError
            Raised if `cursor` or `limit` is not one.
        """
        conditions: list[ColumnElement[bool]] = []
        if actor is not None:
            conditions.append(AUDIT.c.actor == actor)
        if target is not None:
            conditions.append(AUDIT.c.target == target)
        if action is not None and action.endswith("."):
            conditions.append(AUDIT.c.action.startswith(action, autoescape=True))
        elif action is not None:
            conditions.append(AUDIT.c.action == action)
        if since is not None:
            conditions.append(AUDIT.c.time >= since)
        if until is not None:
            conditions.append(AUDIT.c.time < until)
        if cursor is not None:
            conditions.append(AUDIT.c.entry_id < cursor_number(cursor))
        count = page_limit(limit)
        query = select(AUDIT).where(*conditions).order_by(AUDIT.c.entry_id.desc()).limit(count + 1)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        more = str(rows[count - 1].entry_id) if len(rows) > count else None
        return AuditPage(tuple(_entry_of(row) for row in rows[:count]), more)

    def forget(self, *, older_than: timedelta) -> int:
        """Remove lines that are older; return how many.  Only upkeep calls this."""
        with self._database.write() as connection:
            return connection.execute(
                delete(AUDIT).where(AUDIT.c.time < utc_now() - older_than)
            ).rowcount


def cursor_number(cursor: str) -> int:
    """Return the number in a cursor of a list that counts.

    Raises
    ------
    BadParameterError
        Raised if it is none.
    """
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
        raise BadParameterError(f"{cursor[:64]!r} is no cursor of this list.")
    return int(cursor)


def page_limit(limit: int) -> int:
    """Return `limit` if it is allowed.

    Raises
    ------
    BadParameterError
        Raised if it is not 1 to 1000.
    """
    if not 1 <= limit <= LONGEST_PAGE:
        raise BadParameterError(f"A page has 1 to {LONGEST_PAGE} lines, not {limit}.")
    return limit


def _entry_of(row: Row[*tuple[Any, ...]]) -> AuditEntry:
    return AuditEntry(
        entry_id=row.entry_id,
        time=row.time,
        actor=row.actor,
        action=row.action,
        target=row.target,
        detail=dict(row.detail),
        address=row.address,
    )
