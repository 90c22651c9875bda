"""Named leases in the control database, kept alive by a heartbeat.

A lease is lost when its holder has not renewed it in time, or at once when the holder was a process
of this machine that is gone: a killed import can be run again without waiting.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from astrolabe.catalogs.schema import LOCKS
from astrolabe.core.clock import format_utc, utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import ConflictError

__all__ = ["Lease", "LeaseHolder", "acquire", "holder_of"]

LEASE_SECONDS = 60.0
_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseHolder:
    """Who holds a lease, and since when."""

    token: str
    owner: str | None
    host: str
    pid: int
    process_start: str
    since: str
    expires_at: float

    @property
    def is_gone(self) -> bool:
        """Whether the lease is past its time or its process is known to have ended."""
        if self.expires_at < time.time():
            return True
        return self.host == _host() and _process_start(self.pid) != self.process_start

    def describe(self) -> str:
        """Say who it is, for a message."""
        who = f"{self.owner}, " if self.owner else ""
        return f"{who}process {self.pid}, since {self.since}"


class Lease:
    """A held lease; a context manager that keeps it alive and gives it back.

    Parameters
    ----------
    database
        The control database.
    name
        Name of the lock.
    token
        What tells this holder from all others.
    seconds
        How long the lease lasts without a heartbeat.
    """

    def __init__(self, database: Database, name: str, token: str, seconds: float) -> None:
        self._database = database
        self._name = name
        self._token = token
        self._seconds = seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease {name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        try:
            with self._database.write() as connection:
                connection.execute(
                    delete(LOCKS).where(LOCKS.c.name == self._name, LOCKS.c.token == self._token)
                )
        except SQLAlchemyError as exc:
            # What was done under the lease stands; it ends by itself.
            _LOG.warning("lease not given back", lock=self._name, error=str(exc))

    def check(self) -> None:
        """Make sure that the lease is still ours.

        Raises
        ------
        ConflictError
            Raised if somebody else took it over.
        """
        with self._database.read() as connection:
            found = connection.scalar(select(LOCKS.c.token).where(LOCKS.c.name == self._name))
        if found != self._token:
            raise self._lost()

    def confirm(self, connection: Connection) -> None:
        """Renew the lease inside a writing transaction, which then commits only if it is ours.

        Raises
        ------
        ConflictError
            Raised if somebody else took it over.
        """
        renewed = connection.execute(
            update(LOCKS)
            .where(LOCKS.c.name == self._name, LOCKS.c.token == self._token)
            .values(expires_at=time.time() + self._seconds)
        )
        if renewed.rowcount != 1:
            raise self._lost()

    def _lost(self) -> ConflictError:
        return ConflictError(
            f"Another writer took over {self._name} because this one did not answer for "
            f"{self._seconds:.0f} s; nothing was published. Run it again."
        )

    def _beat(self) -> None:
        while not self._stop.wait(self._seconds / 4):
            try:
                with self._database.write() as connection:
                    self.confirm(connection)
            except ConflictError:
                return  # the next check() or publication tells
            except SQLAlchemyError as exc:
                _LOG.warning("lease not renewed", lock=self._name, error=str(exc))


def acquire(
    database: Database,
    connection: Connection,
    name: str,
    *,
    busy: str,
    owner: str | None = None,
    seconds: float = LEASE_SECONDS,
) -> Lease:
    """Take the lease `name` inside a writing transaction; it counts once that commits.

    Parameters
    ----------
    busy
        Message when it is held; `{holder}` in it is replaced.

    Raises
    ------
    ConflictError
        Raised if a living process holds it.
    """
    holder = holder_of(connection, name)
    if holder is not None and not holder.is_gone:
        raise ConflictError(busy.format(holder=holder.describe()))
    token = secrets.token_hex(16)
    values = {
        "token": token,
        "owner": owner,
        "host": _host(),
        "pid": os.getpid(),
        "process_start": _process_start(os.getpid()) or "",
        "acquired_at": utc_now(),
        "expires_at": time.time() + seconds,
    }
    try:
        if holder is None:
            with connection.begin_nested():
                connection.execute(insert(LOCKS).values(name=name, **values))
            taken = 1
        else:
            taken = connection.execute(
                update(LOCKS)
                .where(LOCKS.c.name == name, LOCKS.c.token == holder.token)
                .values(**values)
            ).rowcount
    except IntegrityError:
        taken = 0
    if taken != 1:
        raise ConflictError(busy.format(holder="another process, since a moment ago"))
    return Lease(database, name, token, seconds)


def holder_of(connection: Connection, name: str) -> LeaseHolder | None:
    """Return who holds the lease `name`, living or not; `None` if nobody does."""
    row = connection.execute(select(LOCKS).where(LOCKS.c.name == name)).first()
    if row is None:
        return None
    return LeaseHolder(
        token=row.token,
        owner=row.owner,
        host=row.host,
        pid=row.pid,
        process_start=row.process_start,
        since=format_utc(row.acquired_at),
        expires_at=row.expires_at,
    )


@cache
def _host() -> str:
    """Name what process numbers count on: this boot of this machine, and its name space."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _process_start(pid: int) -> str | None:
    """Return what tells this process from a later one of the same number; `None` if it is gone.

    A zombie is gone: it can write nothing.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", errors="replace")
        fields = stat.rpartition(")")[2].split()
    except OSError:
        return None if Path("/proc/self").exists() else _process_alive(pid)
    return None if fields[0] in {"Z", "X"} else fields[19]


def _process_alive(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "running"
