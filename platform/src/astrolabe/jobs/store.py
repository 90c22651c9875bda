"""Jobs in the control database: documents and lists.  The queue is in `astrolabe.jobs.queue`.

A job past its destruction time does not exist for anybody, although its row stays until its
files are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, or_, select, update
from sqlalchemy import insert as insert_into

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import OverloadError
from astrolabe.jobs.model import (
    ACTIVE_PHASES,
    Job,
    JobError,
    JobParameter,
    JobResult,
    JobSummary,
    Phase,
)
from astrolabe.jobs.schema import JOB

__all__ = ["JobStore", "error_to_json", "job_of", "queue_place", "results_to_json"]

_SUMMARY = (JOB.c.job_id, JOB.c.kind, JOB.c.phase, JOB.c.owner, JOB.c.run_id, JOB.c.created)


class JobStore:
    """Reads and writes jobs; every document is one indexed read.

    Parameters
    ----------
    database
        The control database.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._listeners: list[Callable[[], None]] = []

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each change of a phase that this process makes."""
        self._listeners.append(listener)

    def unsubscribe(self, listener: Callable[[], None]) -> None:
        """End a subscription; one that is not there is no error."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def notify(self) -> None:
        """Tell this process's listeners that a phase changed."""
        for listener in tuple(self._listeners):
            listener()

    def add(self, job: Job, *, anonymous_limit: int) -> None:
        """Store a new job.

        Raises
        ------
        OverloadError
            Raised if the job is anonymous and `anonymous_limit` such jobs exist.
        """
        with self.database.write() as connection:
            if job.owner is None:
                _check_anonymous(connection, anonymous_limit)
            values = _row_of(job)
            if job.phase is Phase.QUEUED:
                values |= queue_place(connection, job.owner, job.lane)
            connection.execute(insert_into(JOB).values(values))
        self.notify()

    def get(self, job_id: str) -> Job | None:
        """Return a job, `None` if there is none or its destruction time has passed."""
        query = select(JOB).where(JOB.c.job_id == job_id, JOB.c.destruction > utc_now())
        with self.database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else job_of(row)

    def position(self, job_id: str) -> int | None:
        """Return a job's place in the queue, from 1; `None` if it does not wait in it."""
        own = select(JOB.c.turn, JOB.c.queued).where(
            JOB.c.job_id == job_id, JOB.c.phase == Phase.QUEUED
        )
        with self.database.read() as connection:
            row = connection.execute(own).one_or_none()
            if row is None:
                return None
            is_before = or_(
                JOB.c.turn < row.turn, and_(JOB.c.turn == row.turn, JOB.c.queued < row.queued)
            )
            before = select(func.count()).where(
                JOB.c.phase == Phase.QUEUED, is_before, JOB.c.destruction > utc_now()
            )
            return int(connection.execute(before).scalar_one()) + 1

    def phases(self, job_ids: Collection[str]) -> dict[str, Phase]:
        """Return the phases of those of `job_ids` that exist."""
        query = select(JOB.c.job_id, JOB.c.phase).where(
            JOB.c.job_id.in_(job_ids), JOB.c.destruction > utc_now()
        )
        with self.database.read() as connection:
            return {row.job_id: Phase(row.phase) for row in connection.execute(query)}

    def recent(self, kind: str, limit: int) -> list[tuple[datetime, datetime, dict[str, Any]]]:
        """Return begin, end and progress of the jobs of a kind that were completed last."""
        query = (
            select(JOB.c.started, JOB.c.ended, JOB.c.progress)
            .where(JOB.c.phase == Phase.COMPLETED, JOB.c.kind == kind, JOB.c.started.is_not(None))
            .order_by(JOB.c.ended.desc())
            .limit(limit)
        )
        with self.database.read() as connection:
            return [
                (row.started, row.ended, dict(row.progress)) for row in connection.execute(query)
            ]

    def update(self, job_id: str, change: Callable[[Job], Job]) -> Job | None:
        """Change a job in one transaction that nobody else's change can slip into.

        Parameters
        ----------
        job_id
            The job.
        change
            Gets the job and returns it changed; may raise, which leaves all as it was.  A job
            that it moves to QUEUED gets its place in the queue here.

        Returns
        -------
        Job or None
            The job as it is now, `None` if there is none.
        """
        query = select(JOB).where(JOB.c.job_id == job_id, JOB.c.destruction > utc_now())
        with self.database.write() as connection:
            row = connection.execute(query.with_for_update()).one_or_none()
            if row is None:
                return None
            old = job_of(row)
            new = change(old)
            before = _row_of(old)
            values = {key: value for key, value in _row_of(new).items() if value != before[key]}
            if new.phase is Phase.QUEUED and old.phase is not Phase.QUEUED:
                values |= queue_place(connection, new.owner, new.lane)
            if values:
                connection.execute(update(JOB).where(JOB.c.job_id == job_id).values(values))
        self.notify()
        return new

    def list(
        self,
        owner: str,
        *,
        kind: str | None,
        phases: Collection[Phase],
        after: datetime | None,
        last: int | None,
    ) -> tuple[JobSummary, ...]:
        """Return jobs of `owner`, the newest first.

        Parameters
        ----------
        owner
            Anonymous jobs are in no list.
        kind
            Only jobs of this kind; `None` for all.
        phases
            Only these phases; none given means all but ARCHIVED.
        after
            Only jobs created later than this.
        last
            At most so many.
        """
        query = select(*_SUMMARY).where(*_visible(owner, kind, phases))
        if after is not None:
            query = query.where(JOB.c.created > after)
        query = query.order_by(JOB.c.created.desc(), JOB.c.job_id.desc())
        if last is not None:
            query = query.limit(last)
        with self.database.read() as connection:
            return tuple(_summary_of(row) for row in connection.execute(query))

    def page(
        self,
        owner: str,
        *,
        kind: str | None,
        phases: Collection[Phase],
        before: tuple[datetime, str] | None,
        limit: int,
    ) -> tuple[Job, ...]:
        """Return up to `limit` jobs of `owner`, the newest first.

        Parameters
        ----------
        owner, kind, phases
            As for `list`.
        before
            Creation time and id of the last job of the page before.
        limit
            Most jobs to return.
        """
        query = select(JOB).where(*_visible(owner, kind, phases))
        if before is not None:
            created, job_id = before
            query = query.where(
                or_(
                    JOB.c.created < created,
                    and_(JOB.c.created == created, JOB.c.job_id < job_id),
                )
            )
        query = query.order_by(JOB.c.created.desc(), JOB.c.job_id.desc()).limit(limit)
        with self.database.read() as connection:
            return tuple(job_of(row) for row in connection.execute(query))

    def abort_doomed(self) -> int:
        """Abort the active jobs whose destruction time has passed; return how many."""
        now = utc_now()
        overdue = and_(JOB.c.destruction <= now, JOB.c.phase.in_([*ACTIVE_PHASES, Phase.HELD]))
        with self.database.read() as connection:
            # So that a sweep that finds nothing takes no write lock.
            if connection.execute(select(JOB.c.job_id).where(overdue).limit(1)).first() is None:
                return 0
        with self.database.write() as connection:
            done = connection.execute(
                update(JOB).where(overdue).values(phase=Phase.ABORTED, ended=now)
            )
        self.notify()
        return done.rowcount

    def doomed(self, limit: int, *, skip: Collection[str] = ()) -> tuple[Job, ...]:
        """Return jobs whose destruction time has passed and that no worker holds any more.

        Parameters
        ----------
        limit
            Most jobs to return, the longest overdue first.
        skip
            Ids of jobs to leave out.
        """
        now = utc_now()
        query = (
            select(JOB)
            .where(
                JOB.c.destruction <= now,
                JOB.c.phase.not_in([*ACTIVE_PHASES, Phase.HELD]),
                or_(JOB.c.lease_until.is_(None), JOB.c.lease_until < now),
                JOB.c.job_id.not_in(skip),
            )
            .order_by(JOB.c.destruction)
            .limit(limit)
        )
        with self.database.read() as connection:
            return tuple(job_of(row) for row in connection.execute(query))

    def is_held(self, job_id: str) -> bool:
        """Whether a worker holds the job, running it or just stopping."""
        query = select(JOB.c.job_id).where(
            JOB.c.job_id == job_id, JOB.c.lease_until.is_not(None), JOB.c.lease_until >= utc_now()
        )
        with self.database.read() as connection:
            return connection.execute(query).first() is not None

    def remove(self, job_id: str) -> None:
        """Delete a job's row; one that is not there is no error."""
        with self.database.write() as connection:
            connection.execute(delete(JOB).where(JOB.c.job_id == job_id))
        self.notify()


def queue_place(connection: Connection, owner: str | None, lane: str | None) -> dict[str, Any]:
    """Return the columns that put a job of `owner` into the queue.

    The queue is fair between owners, and between the lanes of each: a job's turn is one more than
    the last turn of its lane among the waiting and running jobs, but never before the turn that
    the queue has come to.  So one owner's hundred jobs get a hundred turns while another's first
    waits for one job at most, and nobody can keep the job at the head of the queue waiting.

    The queue has come to the turn of the first one waiting, or to the one after the last that was
    begun: the first ones waiting may have been passed over, since their owners may not run more at
    once, and newcomers with their turn would go before all who wait behind them.
    """

    def extreme(pick: Any, *conditions: ColumnElement[bool]) -> int | None:  # noqa: ANN401 - min or max
        value: int | None = connection.execute(select(pick(JOB.c.turn)).where(*conditions)).scalar()
        return value

    queued, executing = JOB.c.phase == Phase.QUEUED, JOB.c.phase == Phase.EXECUTING
    # `owner IS NULL` for anonymous jobs: SQLAlchemy writes it for == None.
    own = and_(JOB.c.owner == owner, JOB.c.lane == lane)
    begun = extreme(func.max, executing)
    reached = [extreme(func.min, queued), None if begun is None else begun + 1]
    own_last = [extreme(func.max, own, phase) for phase in (queued, executing)]
    after_own = [last + 1 for last in own_last if last is not None]
    turn = max([0, *(place for place in reached if place is not None), *after_own])
    return {"turn": turn, "queued": utc_now()}


def _check_anonymous(connection: Connection, limit: int) -> None:
    count = connection.execute(
        select(func.count()).select_from(JOB).where(JOB.c.owner.is_(None))
    ).scalar_one()
    if count >= limit:
        raise OverloadError(
            f"There are {count} anonymous jobs already, as many as this service keeps; "
            "log in, use a synchronous query, or try again later."
        )


def _visible(
    owner: str, kind: str | None, phases: Collection[Phase]
) -> tuple[ColumnElement[bool], ...]:
    shown = JOB.c.phase.in_(list(phases)) if phases else JOB.c.phase != Phase.ARCHIVED
    conditions = [JOB.c.owner == owner, JOB.c.destruction > utc_now(), shown]
    if kind is not None:
        conditions.append(JOB.c.kind == kind)
    return tuple(conditions)


def results_to_json(results: tuple[JobResult, ...]) -> list[dict[str, Any]]:
    """Return `results` as their column keeps them."""
    return [asdict(result) for result in results]


def error_to_json(error: JobError | None) -> dict[str, Any] | None:
    """Return `error` as its column keeps it."""
    return None if error is None else asdict(error)


def job_of(row: Row[*tuple[Any, ...]]) -> Job:
    """Return the job of a whole row of the table."""
    return Job(
        job_id=row.job_id,
        kind=row.kind,
        phase=Phase(row.phase),
        owner=row.owner,
        run_id=row.run_id,
        created=row.created,
        started=row.started,
        ended=row.ended,
        destruction=row.destruction,
        execution_seconds=row.execution_seconds,
        parameters=tuple(JobParameter(name, value) for name, value in row.parameters),
        results=tuple(JobResult(**result) for result in row.results),
        error=None if row.error is None else JobError(**row.error),
        progress=dict(row.progress),
        attempt=row.attempt,
        lane=row.lane,
    )


def _row_of(job: Job) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "kind": job.kind,
        "phase": job.phase,
        "owner": job.owner,
        "run_id": job.run_id,
        "created": job.created,
        "started": job.started,
        "ended": job.ended,
        "destruction": job.destruction,
        "execution_seconds": job.execution_seconds,
        "parameters": [[parameter.name, parameter.value] for parameter in job.parameters],
        "results": results_to_json(job.results),
        "error": error_to_json(job.error),
        "progress": job.progress,
        "attempt": job.attempt,
        "lane": job.lane,
    }


def _summary_of(row: Row[*tuple[Any, ...]]) -> JobSummary:
    return JobSummary(
        job_id=row.job_id,
        kind=row.kind,
        phase=Phase(row.phase),
        owner=row.owner,
        run_id=row.run_id,
        created=row.created,
    )
