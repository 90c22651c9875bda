"""Leases: one holder, a heartbeat, and taking over from the dead."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from astrolabe.catalogs.locks import Lease, acquire, holder_of
from astrolabe.catalogs.schema import LOCKS
from astrolabe.core.database import Database
from astrolabe.core.errors import ConflictError


def _take(database: Database, *, seconds: float = 60.0) -> Lease:
    with database.write() as connection:
        return acquire(
            database, connection, "x", busy="held by {holder}", owner="me", seconds=seconds
        )


def test_lease_excludes_others_until_it_is_given_back(database: Database) -> None:
    with _take(database) as lease:
        lease.check()
        with pytest.raises(ConflictError, match="held by me, process"):
            _take(database)
    with _take(database):
        pass
    with database.read() as connection:
        assert holder_of(connection, "x") is None


def test_heartbeat_keeps_a_short_lease(database: Database) -> None:
    with _take(database, seconds=0.4) as lease:
        time.sleep(1.0)
        lease.check()
        with pytest.raises(ConflictError):
            _take(database)


def test_lease_past_its_time_is_taken_over_and_the_old_holder_is_told(database: Database) -> None:
    with _take(database) as old:
        with database.write() as connection:
            connection.execute(LOCKS.update().values(expires_at=time.time() - 1))
        with _take(database) as new:
            with pytest.raises(ConflictError, match="took over"):
                old.check()
            with pytest.raises(ConflictError, match="took over"), database.write() as connection:
                old.confirm(connection)
            new.check()


def test_lease_of_a_process_that_is_gone_is_free_at_once(database: Database) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    with _take(database):
        with database.write() as connection:
            connection.execute(LOCKS.update().values(pid=child.pid))
        with _take(database):
            pass
        with database.write() as connection:  # on another machine nobody can tell
            connection.execute(LOCKS.delete())
    with _take(database):
        with database.write() as connection:
            connection.execute(LOCKS.update().values(pid=child.pid, host="elsewhere"))
        with pytest.raises(ConflictError):
            _take(database)


def test_of_many_that_ask_at_once_one_gets_it(database: Database) -> None:
    start = threading.Barrier(6)
    got: list[Lease] = []
    refused: list[ConflictError] = []

    def ask() -> None:
        start.wait()
        try:
            got.append(_take(database))
        except ConflictError as exc:
            refused.append(exc)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 5)
