"""Slows down who guesses passwords, per account and per address, for all processes at once."""

from __future__ import annotations

import ipaddress
import math
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import QuotaExceededError
from astrolabe.identity.schema import LOGIN_ATTEMPT

__all__ = ["LoginThrottle"]

_FORGET: Final = timedelta(minutes=30)
_LONGEST_ACCOUNT_SECONDS: Final = 60.0
_LONGEST_ADDRESS_SECONDS: Final = 900.0
_DOUBLINGS: Final = 20


class LoginThrottle:
    """Counts attempts before they are made, so that many at once gain nothing.

    After some free attempts each failure doubles the wait, beginning with one second: up to a
    minute for an account (nobody can lock a user out for long) and up to 15 minutes for an
    address.  Half an hour without an attempt forgets all.

    Parameters
    ----------
    database
        The control database.
    account_attempts, address_attempts
        Failures in a row that cost no wait.
    """

    def __init__(self, database: Database, *, account_attempts: int, address_attempts: int) -> None:
        self._database = database
        self._account_attempts = account_attempts
        self._address_attempts = address_attempts

    def begin(self, account: str, address: str | None) -> None:
        """Count an attempt to log in.

        Parameters
        ----------
        account
            The name that was given; need not exist.
        address
            Where the attempt comes from; `None` counts for the account only.

        Raises
        ------
        QuotaExceededError
            Raised if one has to wait before the next attempt; this one is not counted.
        """
        now = utc_now()
        subjects = self._subjects(account, address)
        with self._database.write() as connection:
            rows = [_lock(connection, subject, now) for subject, _, _ in subjects]
            waits = [until for _, until in rows if until is not None and until > now]
            if waits:
                left = math.ceil((max(waits) - now).total_seconds())
                raise QuotaExceededError(
                    f"Too many failed logins; try again in {left} s.", retry_after_seconds=left
                )
            for (subject, free, longest), (failures, _) in zip(subjects, rows, strict=True):
                over = failures + 1 - free
                seconds = 0.0 if over <= 0 else min(longest, 2.0 ** min(over - 1, _DOUBLINGS))
                connection.execute(
                    update(LOGIN_ATTEMPT)
                    .where(LOGIN_ATTEMPT.c.subject == subject)
                    .values(
                        failures=failures + 1,
                        last_attempt=now,
                        blocked_until=None if over <= 0 else now + timedelta(seconds=seconds),
                    )
                )

    def succeeded(self, account: str, address: str | None) -> None:
        """Say that the attempt was no failure.

        The account begins anew; from the address's failures only this one attempt is taken, or
        who has one account could guess at all others without end.
        """
        with self._database.write() as connection:
            connection.execute(
                delete(LOGIN_ATTEMPT).where(LOGIN_ATTEMPT.c.subject == f"account:{account}")
            )
            if address is not None:
                connection.execute(
                    update(LOGIN_ATTEMPT)
                    .where(
                        LOGIN_ATTEMPT.c.subject == f"address:{_network(address)}",
                        LOGIN_ATTEMPT.c.failures > 0,
                    )
                    .values(failures=LOGIN_ATTEMPT.c.failures - 1, blocked_until=None)
                )

    def forget_old(self) -> int:
        """Remove what no longer counts; return how many rows.  For upkeep."""
        with self._database.write() as connection:
            return connection.execute(
                delete(LOGIN_ATTEMPT).where(LOGIN_ATTEMPT.c.last_attempt < utc_now() - _FORGET)
            ).rowcount

    def _subjects(self, account: str, address: str | None) -> list[tuple[str, int, float]]:
        # In the order of the alphabet, so that two attempts never wait for each other's rows.
        subjects = [(f"account:{account[:64]}", self._account_attempts, _LONGEST_ACCOUNT_SECONDS)]
        if address is not None:
            subjects.append(
                (
                    f"address:{_network(address)}",
                    self._address_attempts,
                    _LONGEST_ADDRESS_SECONDS,
                )
            )
        return subjects


def _lock(connection: Connection, subject: str, now: datetime) -> tuple[int, datetime | None]:
    """Return failures and the end of the wait of a subject, whose row is ours from here on."""
    into = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(
        into(LOGIN_ATTEMPT)
        .values(subject=subject, failures=0, last_attempt=now)
        .on_conflict_do_nothing()
    )
    row = connection.execute(
        select(LOGIN_ATTEMPT).where(LOGIN_ATTEMPT.c.subject == subject).with_for_update()
    ).one()
    if row.last_attempt < now - _FORGET:
        return 0, None
    return row.failures, row.blocked_until


def _network(address: str) -> str:
    """Return what one attacker surely holds: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))
