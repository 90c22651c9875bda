"""Limits that hold for all processes together, without a look at the database each time.

A process leases a small block of what a subject may use, serves from it for two seconds at most,
and hands back what it did not use.  What is leased counts as used, so the sum over all processes
never exceeds the limit; it may fall short of it by a block for each process, which is why a block
is a fortieth of the limit.

Times in the database are seconds since 1970 by the processes' own clocks, which must agree to
about a second.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from astrolabe.core.database import Database
from astrolabe.identity.policy_schema import QUOTA_METER

__all__ = ["DAY", "MINUTE", "Meter", "RateLeases"]

_LEASE_SECONDS: Final = 2.0
_BLOCKS: Final = 40
_RECHECK_SECONDS: Final = 1.0
_SETTLED_AT_ONCE: Final = 100
_NEVER_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Meter:
    """How the time over which something is counted is divided.

    Parameters
    ----------
    slot_seconds
        Length of a slot of time (s).
    slots
        How many slots count, the present one included.
    """

    slot_seconds: int
    slots: int

    def slot(self, now: float) -> int:
        """Return the number of the slot of a time (s since 1970)."""
        return int(now // self.slot_seconds)

    def end_of(self, slot: int) -> float:
        """Return when a slot stops to count (s since 1970)."""
        return float((slot + self.slots) * self.slot_seconds)


MINUTE: Final = Meter(slot_seconds=1, slots=61)
"""Any sixty seconds: the slot that is only partly over counts in full."""

DAY: Final = Meter(slot_seconds=86_400, slots=1)
"""A day of UTC."""


@dataclass(slots=True)
class _Account:
    """What this process holds of one subject's share of one resource."""

    meter: Meter
    left: int = 0
    slot: int = 0
    until: float = 0.0
    noted: int = 0
    refused_until: float = 0.0
    refused_from: int = 0
    wait: float = 0.0
    refill: threading.Lock = field(default_factory=threading.Lock)


class RateLeases:
    """Counts of what flows: requests, bytes.  Safe to use from many threads.

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
        self._lock = threading.Lock()
        self._accounts: dict[tuple[str, str], _Account] = {}

    def take_leased(self, subject: str, resource: str, amount: int = 1) -> bool:
        """Take from what this process has leased; `False` if `take` must ask the database."""
        with self._lock:
            account = self._accounts.get((subject, resource))
            return account is not None and self._take(account, amount)

    def take(
        self, subject: str, resource: str, amount: int, *, meter: Meter, limit: int
    ) -> float | None:
        """Take `amount` if all processes together stay within `limit`.

        Returns
        -------
        float or None
            `None` if it was taken; else how long to wait before it is worth to try again (s).
        """
        key = (subject, resource)
        while True:
            with self._lock:
                account = self._accounts.setdefault(key, _Account(meter))
                if self._take(account, amount):
                    return None
                wait = self._refused(account, amount)
            if wait is not None:
                return wait
            # One thread asks the database; the others find what it leased.
            with account.refill:
                with self._lock:
                    if self._accounts.get(key) is not account:
                        continue  # it was settled meanwhile
                    if self._take(account, amount):
                        return None
                    wait = self._refused(account, amount)
                return wait if wait is not None else self._lease(key, account, amount, limit)

    def note(self, subject: str, resource: str, amount: int, *, meter: Meter) -> None:
        """Count what has no limit; written with the next settlement."""
        with self._lock:
            self._accounts.setdefault((subject, resource), _Account(meter)).noted += amount

    def used(self, subject: str, resource: str, *, meter: Meter) -> int:
        """Return how much counts as used now, leases of all processes included."""
        query = select(QUOTA_METER.c.counts).where(
            QUOTA_METER.c.subject == subject, QUOTA_METER.c.resource == resource
        )
        with self._database.read() as connection:
            text = connection.execute(query).scalar()
        written = sum(_living(text, meter, self._clock()).values())
        with self._lock:
            account = self._accounts.get((subject, resource))
            return written if account is None else max(0, written + account.noted - account.left)

    def settle(self, *, everything: bool = False) -> None:
        """Hand back what leases that have ended left, and write what was noted.

        Parameters
        ----------
        everything
            Also leases that have not ended: the process stops.
        """
        while self._settle_some(everything=everything) == _SETTLED_AT_ONCE:
            pass

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to settle, now or later."""
        with self._lock:
            return not self._accounts

    def clear_stale(self) -> None:
        """Remove the rows of subjects that were not heard of for long."""
        with self._database.write() as connection:
            connection.execute(delete(QUOTA_METER).where(QUOTA_METER.c.stale_after < self._clock()))

    def _take(self, account: _Account, amount: int) -> bool:
        if account.left < amount or time.monotonic() >= account.until:
            return False
        account.left -= amount
        return True

    def _refused(self, account: _Account, amount: int) -> float | None:
        """Return how long to wait if as much was refused a moment ago."""
        left = account.refused_until - time.monotonic()
        return account.wait if left > 0 and amount >= account.refused_from else None

    def _lease(
        self, key: tuple[str, str], account: _Account, amount: int, limit: int
    ) -> float | None:
        now = self._clock()
        meter = account.meter
        with self._lock:
            # From here on nobody takes from it, so that it is handed back only once.
            left, slot, noted = account.left, account.slot, account.noted
            account.left = account.noted = 0
        granted = 0
        try:
            with self._database.write() as connection:
                counts = _locked_counts(connection, key, meter, now)
                _add(counts, slot, -left)
                _add(counts, meter.slot(now), noted)
                room = limit - sum(counts.values())
                if room >= amount:
                    granted = min(room, max(amount, limit // _BLOCKS))
                    _add(counts, meter.slot(now), granted)
                _write(connection, key, meter, counts)
        except BaseException:
            with self._lock:
                account.left, account.noted = account.left + left, account.noted + noted
            raise
        with self._lock:
            if granted:
                account.left, account.slot = granted - amount, meter.slot(now)
                account.until = time.monotonic() + _LEASE_SECONDS
                return None
            account.wait = _wait(counts, meter, amount - room, now)
            account.refused_from = amount
            account.refused_until = time.monotonic() + min(_RECHECK_SECONDS, account.wait)
            return account.wait

    def _settle_some(self, *, everything: bool) -> int:
        now = time.monotonic()
        with self._lock:
            ended = [
                (key, account)
                for key, account in self._accounts.items()
                if everything or (account.until <= now and account.refused_until <= now)
            ]
            # In one order everywhere, so that two processes never wait for each other.
            ended = sorted(ended, key=lambda pair: pair[0])[:_SETTLED_AT_ONCE]
            # An account whose lease is just being renewed is left to the one who does it.
            ended = [(k, a) for k, a in ended if a.refill.acquire(blocking=False)]
            changes = []
            for key, account in ended:
                if account.left or account.noted:
                    changes.append((key, account, account.left, account.noted))
                account.left = account.noted = 0
                del self._accounts[key]
        try:
            if changes:
                self._write_changes(changes)
        except BaseException:
            with self._lock:
                for key, account, left, noted in changes:
                    self._accounts.setdefault(key, account).noted += noted - left
            raise
        finally:
            for _, account in ended:
                account.refill.release()
        return len(ended)

    def _write_changes(self, changes: list[tuple[tuple[str, str], _Account, int, int]]) -> None:
        now = self._clock()
        with self._database.write() as connection:
            for key, account, left, noted in changes:
                counts = _locked_counts(connection, key, account.meter, now)
                _add(counts, account.slot, -left)
                _add(counts, account.meter.slot(now), noted)
                _write(connection, key, account.meter, counts)


def _locked_counts(
    connection: Connection, key: tuple[str, str], meter: Meter, now: float
) -> dict[int, int]:
    """Return what counts now, with the row locked until the transaction's end."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    subject, resource = key
    row = (QUOTA_METER.c.subject == subject) & (QUOTA_METER.c.resource == resource)
    query = select(QUOTA_METER.c.counts).where(row).with_for_update()
    text = connection.execute(query).scalar()
    if text is None:
        new = {"subject": subject, "resource": resource, "counts": "{}", "stale_after": now + 60}
        connection.execute(insert(QUOTA_METER).values(new).on_conflict_do_nothing())
        text = connection.execute(query).scalar()
    return _living(text, meter, now)


def _living(text: str | None, meter: Meter, now: float) -> dict[int, int]:
    stored = json.loads(text) if text else {}
    present = meter.slot(now)
    return {int(slot): n for slot, n in stored.items() if int(slot) > present - meter.slots}


def _add(counts: dict[int, int], slot: int, amount: int) -> None:
    """Add to a slot; what is handed back of a slot that no longer counts changes nothing."""
    if amount > 0:
        counts[slot] = counts.get(slot, 0) + amount
    elif amount < 0 and slot in counts:
        counts[slot] = max(0, counts[slot] + amount)


def _write(
    connection: Connection, key: tuple[str, str], meter: Meter, counts: dict[int, int]
) -> None:
    kept = {slot: n for slot, n in counts.items() if n}
    ends = meter.end_of(max(kept)) if kept else 0.0
    connection.execute(
        update(QUOTA_METER)
        .where(QUOTA_METER.c.subject == key[0], QUOTA_METER.c.resource == key[1])
        .values(counts=json.dumps(kept), stale_after=ends + meter.slot_seconds)
    )


def _wait(counts: dict[int, int], meter: Meter, missing: int, now: float) -> float:
    """Return after how many seconds `missing` more is free if nobody uses any meanwhile."""
    for slot in sorted(counts):
        missing -= counts[slot]
        if missing <= 0:
            return max(0.05, meter.end_of(slot) - now)
    return _NEVER_SECONDS
