"""What has to be done about identity from time to time."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from sqlalchemy import delete, exists, or_, select
from sqlalchemy.exc import SQLAlchemyError

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import AstrolabeError
from astrolabe.core.logging import get_logger
from astrolabe.identity.audit import AuditLog
from astrolabe.identity.model import AccountEnd
from astrolabe.identity.schema import INVITATION, LOGIN_LINK, PENDING, TOKEN, TOKEN_CHANGE
from astrolabe.identity.throttle import LoginThrottle
from astrolabe.identity.users import UserService

__all__ = ["IdentityUpkeep"]

_log = get_logger(__name__)

_PENDING_LIFE: Final = timedelta(days=90)
_LEVELS: Final = 10


class IdentityUpkeep:
    """Ends what nobody ended and removes what is too old; any number of processes may do it.

    Parameters
    ----------
    database
        The control database.
    users
        Says whose accounts have ended.
    audit, throttle
        Forget what is too old.
    keep
        How long the audit log, ended tokens and their history are kept.
    active_owners
        Names the users that have jobs which wait or run.
    end_jobs
        Ends the jobs of an account.
    every_seconds, forget_seconds
        How often jobs are looked at, and how often old things go (s).
    """

    def __init__(
        self,
        database: Database,
        *,
        users: UserService,
        audit: AuditLog,
        throttle: LoginThrottle,
        keep: timedelta,
        active_owners: Callable[[], frozenset[str]],
        end_jobs: Callable[[AccountEnd], None],
        every_seconds: float = 30.0,
        forget_seconds: float = 3600.0,
    ) -> None:
        self._database = database
        self._users = users
        self._audit = audit
        self._throttle = throttle
        self._keep = keep
        self._active_owners = active_owners
        self._end_jobs = end_jobs
        self._every_seconds = every_seconds
        self._forget_seconds = forget_seconds
        self._next_look = 0.0
        self._next_forget = 0.0

    def turn(self) -> None:
        """Do what is due; called often, it seldom has anything to do."""
        now = time.monotonic()
        try:
            if now >= self._next_look:
                self._next_look = now + self._every_seconds
                self.end_jobs_of_ended()
            if now >= self._next_forget:
                self._next_forget = now + self._forget_seconds
                self.forget_old()
        except (AstrolabeError, SQLAlchemyError) as exc:
            # The next turn tries again; jobs run on meanwhile.
            _log.warning("upkeep of identity failed", reason=str(exc))

    def end_jobs_of_ended(self) -> None:
        """Abort jobs of accounts that have ended.

        A request that was let in a moment before may have made one after its account's end, or
        the process that ended the account may have died before it came to the jobs.
        """
        owners = self._active_owners()
        for name in sorted(self._users.ended(owners) if owners else ()):
            self._end_jobs(AccountEnd(username=name, deleted=False, hand_over_to=None))

    def forget_old(self) -> None:
        """Remove what is older than it is kept."""
        now = utc_now()
        self._audit.forget(older_than=self._keep)
        self._throttle.forget_old()
        with self._database.write() as connection:
            connection.execute(delete(TOKEN_CHANGE).where(TOKEN_CHANGE.c.time < now - self._keep))
            connection.execute(delete(LOGIN_LINK).where(LOGIN_LINK.c.expires < now))
            connection.execute(delete(INVITATION).where(INVITATION.c.expires < now))
            connection.execute(delete(PENDING).where(PENDING.c.created < now - _PENDING_LIFE))
            child = TOKEN.alias("child")
            over = now - self._keep
            ended = or_(TOKEN.c.expires < over, TOKEN.c.revoked < over)
            has_child = exists(select(child.c.token_key).where(child.c.parent == TOKEN.c.token_key))
            # Children before parents: a parent with a child that is kept is kept too.
            for _ in range(_LEVELS):
                if connection.execute(delete(TOKEN).where(ended, ~has_child)).rowcount == 0:
                    break
