"""Limits on what exists at once: running queries, and bytes that are kept.

These are never exceeded.  A process holds slots by a lease that it renews; a slot that becomes
free is kept for a moment for the same subject's next query, so that quick queries one after the
other cost no look at the database.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

from sqlalchemy import Connection, delete, func, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from astrolabe.core.database import Database
from astrolabe.core.errors import AstrolabeError, QuotaExceededError
from astrolabe.core.logging import get_logger
from astrolabe.identity.policy_schema import QUOTA_SLOT, QUOTA_STORAGE

__all__ = ["Slot", "SlotLeases", "StorageCount"]

_log = get_logger(__name__)

_LEASE_SECONDS: Final = 15.0
_RENEW_SECONDS: Final = 4.0
_KEPT_SECONDS: Final = 2.0
_RECHECK_SECONDS: Final = 0.1


@dataclass(slots=True)
class _Account:
    """The slots that this process holds for one subject."""

    in_use: int = 0
    leased: int = 0
    idle_since: float = 0.0
    refused_until: float = 0.0
    change: threading.Lock = field(default_factory=threading.Lock)


class Slot:
    """The right to run one query; given back once, however often `release` is called.

    Parameters
    ----------
    release
        Gives it back.
    """

    def __init__(self, release: Callable[[], None] = lambda: None) -> None:
        self._release = release
        self._lock = threading.Lock()
        self._is_released = False

    def release(self) -> None:
        """Give it back."""
        with self._lock:
            done, self._is_released = self._is_released, True
        if not done:
            self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.release()


class SlotLeases:
    """Counts what runs at once over all processes.  Safe to use from many threads.

    Parameters
    ----------
    database
        The control database.
    clock
        Seconds since 1970.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._holder = f"{socket.gethostname()[:64]}:{os.getpid()}:{secrets.token_hex(8)}"
        self._lock = threading.Lock()
        self._accounts: dict[tuple[str, str], _Account] = {}
        self._renewed = time.monotonic()

    def take_leased(self, subject: str, resource: str, *, limit: int) -> bool:
        """Take a slot that this process holds and does not use; `False` if there is none."""
        with self._lock:
            account = self._accounts.get((subject, resource))
            return account is not None and self._take(account, limit)

    def take(self, subject: str, resource: str, *, limit: int) -> bool:
        """Take a slot if all processes together hold fewer than `limit`."""
        key = (subject, resource)
        while True:
            with self._lock:
                account = self._accounts.setdefault(key, _Account())
                if self._take(account, limit):
                    return True
                if account.refused_until > time.monotonic():
                    return False
            with account.change:
                with self._lock:
                    if self._accounts.get(key) is not account:
                        continue  # it was given back meanwhile
                    if self._take(account, limit):
                        return True
                    wanted = account.leased + 1
                granted = self._lease(key, wanted, limit)
                with self._lock:
                    if not granted:
                        account.refused_until = time.monotonic() + _RECHECK_SECONDS
                        return False
                    account.leased = wanted
                    account.in_use += 1
                    return True

    def release(self, subject: str, resource: str, *, keep: bool = True) -> None:
        """Give up a slot.

        Parameters
        ----------
        keep
            Whether this process keeps it for a moment, for the subject's next use.
        """
        key = (subject, resource)
        with self._lock:
            account = self._accounts[key]
            account.in_use -= 1
            account.idle_since = time.monotonic()
            account.refused_until = 0.0
        if not keep:
            try:
                self._give_back(key, account)
            except (DBAPIError, AstrolabeError):
                # It is given back with the next settlement, as if it had been kept.
                _log.warning("slot not given back", exc_info=True)

    def used(self, subject: str, resource: str) -> int:
        """Return how many slots all processes use now; those kept for a moment count too."""
        with self._database.read() as connection:
            others = _held(connection, (subject, resource), self._clock(), but=self._holder)
        with self._lock:
            account = self._accounts.get((subject, resource))
            return others + (0 if account is None else account.in_use)

    @property
    def is_idle(self) -> bool:
        """Whether this process holds nothing."""
        with self._lock:
            return not self._accounts

    def settle(self, *, everything: bool = False) -> None:
        """Renew what is held and give back what was not used for a moment.

        Parameters
        ----------
        everything
            Give back all that is not used now: the process stops.
        """
        now = time.monotonic()
        with self._lock:
            idle = [
                (key, account)
                for key, account in self._accounts.items()
                if account.leased > account.in_use
                and (everything or now - account.idle_since >= _KEPT_SECONDS)
            ]
            empty = [k for k, a in self._accounts.items() if not a.leased and not a.change.locked()]
            for key in empty:
                del self._accounts[key]
            held = {key: a.leased for key, a in self._accounts.items() if a.leased}
        for key, account in sorted(idle, key=lambda pair: pair[0]):
            self._give_back(key, account)
        if held and now - self._renewed >= _RENEW_SECONDS:
            self._renew(held)
            self._renewed = now

    def clear_stale(self) -> None:
        """Remove the rows of processes that ended without giving back what they held."""
        with self._database.write() as connection:
            connection.execute(
                delete(QUOTA_SLOT).where(QUOTA_SLOT.c.expires < self._clock() - _LEASE_SECONDS)
            )

    def _renew(self, held: dict[tuple[str, str], int]) -> None:
        until = self._clock() + _LEASE_SECONDS
        own = QUOTA_SLOT.c.holder == self._holder
        with self._database.write() as connection:
            renewed = connection.execute(update(QUOTA_SLOT).where(own).values(expires=until))
        if renewed.rowcount < len(held):
            # Others thought us dead, since we were stopped for long: hold again what is in use.
            for key in held:
                self._hold_again(key)

    def _hold_again(self, key: tuple[str, str]) -> None:
        with self._lock:
            account = self._accounts.get(key)
        if account is None:
            return
        with account.change, self._database.write() as connection:
            _lock(connection, key)
            self._hold(connection, key, account.leased, self._clock())

    @staticmethod
    def _take(account: _Account, limit: int) -> bool:
        if account.in_use >= min(account.leased, limit):
            return False
        account.in_use += 1
        return True

    def _lease(self, key: tuple[str, str], wanted: int, limit: int) -> bool:
        """Hold `wanted` slots from here on if that is within the limit."""
        now = self._clock()
        with self._database.write() as connection:
            _lock(connection, key)
            if _held(connection, key, now, but=self._holder) + wanted > limit:
                return False
            self._hold(connection, key, wanted, now)
        return True

    def _give_back(self, key: tuple[str, str], account: _Account) -> None:
        with account.change:
            with self._lock:
                if self._accounts.get(key) is not account or account.leased == account.in_use:
                    return
                # Nobody takes a slot that is about to be given back.
                before, account.leased = account.leased, account.in_use
                kept = account.leased
            try:
                with self._database.write() as connection:
                    _lock(connection, key)
                    self._hold(connection, key, kept, self._clock())
            except BaseException:
                with self._lock:
                    account.leased = before
                raise

    def _hold(self, connection: Connection, key: tuple[str, str], count: int, now: float) -> None:
        subject, resource = key
        own = (
            (QUOTA_SLOT.c.subject == subject)
            & (QUOTA_SLOT.c.resource == resource)
            & (QUOTA_SLOT.c.holder == self._holder)
        )
        if not count:
            connection.execute(delete(QUOTA_SLOT).where(own))
            return
        values: dict[str, object] = {"held": count, "expires": now + _LEASE_SECONDS}
        if connection.execute(update(QUOTA_SLOT).where(own).values(values)).rowcount == 0:
            name: dict[str, object] = {
                "subject": subject,
                "resource": resource,
                "holder": self._holder,
            }
            connection.execute(insert(QUOTA_SLOT).values(name | values))


class StorageCount:
    """Bytes that each subject keeps; never more than its limit.

    Parameters
    ----------
    database
        The control database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def used(self, subject: str) -> int:
        """Return the bytes of a subject."""
        with self._database.read() as connection:
            return _stored(connection, subject)

    def add(self, subject: str, size_bytes: int, *, limit: int | None) -> None:
        """Count bytes before they are written, or with a negative number after they are gone.

        Raises
        ------
        QuotaExceededError
            Raised if that would be more than `limit`; nothing was counted.
        """
        insert_into = postgresql.insert if not self._database.is_sqlite else sqlite.insert
        new = insert_into(QUOTA_STORAGE).values(subject=subject, used_bytes=0)
        row = QUOTA_STORAGE.c.subject == subject
        with self._database.write() as connection:
            connection.execute(new.on_conflict_do_nothing())
            locked = select(QUOTA_STORAGE.c.used_bytes).where(row).with_for_update()
            used: int = connection.execute(locked).scalar_one()
            if size_bytes > 0 and limit is not None and used + size_bytes > limit:
                raise QuotaExceededError(
                    f"{size_bytes} bytes more would be over the limit of {limit} bytes of files "
                    f"and tables; {used} are used. Remove something first."
                )
            changed = max(0, used + size_bytes)
            connection.execute(update(QUOTA_STORAGE).where(row).values(used_bytes=changed))


def _lock(connection: Connection, key: tuple[str, str]) -> None:
    """Keep all other processes from changing who holds slots of `key` until the commit."""
    if connection.dialect.name == "postgresql":
        digest = hashlib.blake2b("\0".join(key).encode(), digest_size=8, person=b"quota-slot")
        number = int.from_bytes(digest.digest(), signed=True)
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": number})


def _held(connection: Connection, key: tuple[str, str], now: float, *, but: str) -> int:
    query = select(func.coalesce(func.sum(QUOTA_SLOT.c.held), 0)).where(
        QUOTA_SLOT.c.subject == key[0],
        QUOTA_SLOT.c.resource == key[1],
        QUOTA_SLOT.c.holder != but,
        QUOTA_SLOT.c.expires > now,
    )
    return int(connection.execute(query).scalar_one())


def _stored(connection: Connection, subject: str) -> int:
    query = select(QUOTA_STORAGE.c.used_bytes).where(QUOTA_STORAGE.c.subject == subject)
    return int(connection.execute(query).scalar() or 0)
