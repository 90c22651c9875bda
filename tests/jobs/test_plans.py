"""Reads of jobs find their rows by an index, however many jobs there are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, event, text

from astrolabe.core.clock import utc_now
from astrolabe.jobs.model import Phase
from astrolabe.jobs.queue import JobQueue
from astrolabe.jobs.schema import JOB
from astrolabe.jobs.service import JobService
from astrolabe.jobs.store import JobStore

from .support import KIND


def _fill(connection: Connection) -> None:
    now = utc_now()
    phases = [Phase.QUEUED] * 4 + [Phase.COMPLETED] * 95 + [Phase.EXECUTING]
    rows: list[dict[str, Any]] = [
        {
            "job_id": f"job{n:023d}",
            "kind": KIND,
            "owner": None if n % 3 else f"user{n % 100}",
            "phase": phases[n % len(phases)],
            "parameters": [["QUERY", "SELECT 1 " * 20]],
            "results": [],
            "progress": {},
            "created": now - timedelta(seconds=n),
            "queued": now,
            "destruction": now + timedelta(days=1, seconds=n),
            "execution_seconds": 60,
            "turn": n,
            "attempt": 1,
            "lease_owner": "somebody",
            "lease_until": now + timedelta(hours=1),
        }
        for n in range(5000)
    ]
    connection.execute(JOB.insert(), rows)


def test_no_read_of_jobs_scans_the_table(store: JobStore, service: JobService) -> None:
    database = store.database
    with database.write() as connection:
        _fill(connection)
        connection.execute(text("ANALYZE"))
    seen: list[tuple[str, Any]] = []

    def note(
        _connection: object, _cursor: object, statement: str, parameters: object, *_rest: object
    ) -> None:
        if statement.startswith("SELECT") and "FROM job" in statement:
            seen.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    queue = JobQueue(store, worker_id="w", lease_seconds=10)
    first = f"job{0:023d}"
    store.get(first)
    store.phases([first])
    store.list("user3", kind=KIND, phases=[Phase.COMPLETED], after=None, last=5)
    store.page("user3", kind=None, phases=(), before=None, limit=5)
    store.doomed(10)
    store.abort_doomed()
    store.is_held(first)
    service.create(KIND, (), owner="user3", run=True)
    assert queue.claim([KIND]) is not None
    queue.held({first: 1})
    queue.take_back(running=[first], max_attempts=3)
    event.remove(database.engine, "before_cursor_execute", note)
    assert len(seen) >= 12
    with database.read() as connection:
        for statement, parameters in seen:
            explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
            rows = connection.exec_driver_sql(f"{explain} {statement}", parameters).fetchall()
            plan = "\n".join(str(tuple(row)) for row in rows)
            assert "SCAN job" not in plan, f"{statement}\n{plan}"
            assert "Seq Scan" not in plan, f"{statement}\n{plan}"
