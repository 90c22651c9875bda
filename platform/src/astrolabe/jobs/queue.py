"""The queue of jobs: claims, leases and ends, as workers see them.

A worker holds a job by a lease that it renews.  The pair (worker, attempt) tells whether it
still holds the job: a worker that was suspended or cut off finds that its job has gone to
another one, and what it then writes is not accepted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, not_, select, update

from astrolabe.core.clock import utc_now
from astrolabe.jobs.model import Job, JobError, JobResult, Phase, QueueLane
from astrolabe.jobs.schema import JOB
from astrolabe.jobs.store import JobStore, error_to_json, job_of, results_to_json

__all__ = ["HeldJob", "JobQueue"]


@dataclass(frozen=True, slots=True)
class HeldJob:
    """What a worker needs to know again and again about a job that it runs."""

    phase: Phase
    execution_seconds: int


class JobQueue:
    """The queue as one worker sees it.

    Parameters
    ----------
    store
        Where the jobs are.
    worker_id
        Name of the worker, different for each start of each process.
    lease_seconds
        How long a worker that says nothing still holds its jobs.
    """

    def __init__(self, store: JobStore, *, worker_id: str, lease_seconds: float) -> None:
        self._store = store
        self._database = store.database
        self._worker_id = worker_id
        self._lease = timedelta(seconds=lease_seconds)

    def first(self, kinds: Collection[str]) -> QueueLane | None:
        """Return the lane of the first job of the queue, which may be gone when it is claimed."""
        query = (
            select(JOB.c.owner, JOB.c.lane)
            .where(*_waiting(kinds))
            .order_by(JOB.c.turn, JOB.c.queued)
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else QueueLane(row.owner, row.lane)

    def lanes(self, kinds: Collection[str]) -> tuple[QueueLane, ...]:
        """Return every lane in which jobs wait, in the order of their first jobs.

        Reads the whole queue: for when the first job may not run.
        """
        query = (
            select(JOB.c.owner, JOB.c.lane)
            .where(*_waiting(kinds))
            .group_by(JOB.c.owner, JOB.c.lane)
            .order_by(func.min(JOB.c.turn), func.min(JOB.c.queued))
        )
        with self._database.read() as connection:
            return tuple(QueueLane(row.owner, row.lane) for row in connection.execute(query))

    def claim(self, kinds: Collection[str], *, lane: QueueLane | None = None) -> Job | None:
        """Take the next job of one of `kinds`: it is EXECUTING and ours from here on.

        Parameters
        ----------
        kinds
            Only jobs of these kinds.
        lane
            Only a job of this lane.

        Returns
        -------
        Job or None
            The job, `None` if none is waiting.
        """
        # So that looking into an empty queue takes no write lock.
        if lane is None and self.first(kinds) is None:
            return None
        now = utc_now()
        # Either may be NULL, which is equal to nothing.
        own = (
            ()
            if lane is None
            else (
                JOB.c.owner.is_not_distinct_from(lane.owner),
                JOB.c.lane.is_not_distinct_from(lane.lane),
            )
        )
        waiting = (
            select(JOB).where(*_waiting(kinds), *own).order_by(JOB.c.turn, JOB.c.queued).limit(1)
        )
        with self._database.write() as connection:
            # SQLite has one writer at a time; PostgreSQL passes over rows being claimed.
            row = connection.execute(waiting.with_for_update(skip_locked=True)).one_or_none()
            if row is None:
                return None
            taken = connection.execute(
                update(JOB)
                .where(JOB.c.job_id == row.job_id)
                .values(
                    phase=Phase.EXECUTING,
                    started=now,
                    attempt=row.attempt + 1,
                    progress={},
                    lease_owner=self._worker_id,
                    lease_until=now + self._lease,
                )
                .returning(JOB)
            ).one()
        self._store.notify()
        return job_of(taken)

    def renew(self, job_ids: Collection[str]) -> None:
        """Hold `job_ids` for another lease."""
        with self._database.write() as connection:
            connection.execute(
                update(JOB)
                .where(JOB.c.job_id.in_(list(job_ids)), JOB.c.lease_owner == self._worker_id)
                .values(lease_until=utc_now() + self._lease)
            )

    def held(self, attempts: Mapping[str, int]) -> dict[str, HeldJob]:
        """Return those of our jobs that are still ours.

        Parameters
        ----------
        attempts
            The attempt that we run, by job id.
        """
        query = select(JOB.c.job_id, JOB.c.phase, JOB.c.execution_seconds, JOB.c.attempt).where(
            JOB.c.job_id.in_(list(attempts)), JOB.c.lease_owner == self._worker_id
        )
        with self._database.read() as connection:
            return {
                row.job_id: HeldJob(Phase(row.phase), row.execution_seconds)
                for row in connection.execute(query)
                if row.attempt == attempts[row.job_id]
            }

    def save_progress(self, job: Job, progress: Mapping[str, Any]) -> None:
        """Show `progress` in the document of a job that we run."""
        self._write(job, progress=dict(progress))

    def complete(
        self, job: Job, results: tuple[JobResult, ...], progress: Mapping[str, Any]
    ) -> bool:
        """End a job well; return whether it was still ours and EXECUTING."""
        return self._end(
            job,
            phase=Phase.COMPLETED,
            results=results_to_json(results),
            progress=dict(progress),
        )

    def fail(self, job: Job, error: JobError, progress: Mapping[str, Any]) -> bool:
        """End a job with an error; return whether it was still ours and EXECUTING."""
        return self._end(
            job, phase=Phase.ERROR, error=error_to_json(error), progress=dict(progress)
        )

    def put_back(self, job: Job) -> bool:
        """Give up a job so that it runs again later; this attempt is not counted.

        It keeps its turn, so it is among the next.
        """
        done = self._write(
            job,
            phase=Phase.QUEUED,
            started=None,
            progress={},
            attempt=job.attempt - 1,
            lease_owner=None,
            lease_until=None,
        )
        self._store.notify()
        return done

    def let_go(self, job: Job) -> None:
        """Say that nothing of a job that was aborted runs here any more."""
        with self._database.write() as connection:
            connection.execute(
                update(JOB)
                .where(
                    JOB.c.job_id == job.job_id,
                    JOB.c.lease_owner == self._worker_id,
                    JOB.c.attempt == job.attempt,
                )
                .values(lease_owner=None, lease_until=None)
            )

    def take_back(self, *, running: Collection[str], max_attempts: int) -> tuple[int, int]:
        """Queue again the jobs of workers that died; end those that were tried too often.

        Parameters
        ----------
        running
            Ids of the jobs that we run ourselves: they are alive even if we were too busy, or
            suspended, to renew their leases.
        max_attempts
            How often a job is begun at most.

        Returns
        -------
        tuple
            How many were queued again and how many were ended.
        """
        now = utc_now()
        lost = self._lost(now, running)
        with self._database.read() as connection:
            if connection.execute(select(JOB.c.job_id).where(lost).limit(1)).first() is None:
                return 0, 0
        error = JobError(
            message=f"The worker that ran this job ended unexpectedly, {max_attempts} times in "
            "a row; it is not tried again. Ask for less in one job, or tell the administrators.",
            code="internal",
        )
        free = {"lease_owner": None, "lease_until": None}
        with self._database.write() as connection:
            ended = connection.execute(
                update(JOB)
                .where(lost, JOB.c.attempt >= max_attempts)
                .values(phase=Phase.ERROR, ended=now, error=error_to_json(error), **free)
            ).rowcount
            queued = connection.execute(
                update(JOB)
                .where(lost)
                .values(phase=Phase.QUEUED, started=None, progress={}, **free)
            ).rowcount
        self._store.notify()
        return queued, ended

    def _lost(self, now: datetime, running: Collection[str]) -> ColumnElement[bool]:
        ours = and_(JOB.c.lease_owner == self._worker_id, JOB.c.job_id.in_(list(running)))
        return and_(JOB.c.phase == Phase.EXECUTING, JOB.c.lease_until < now, not_(ours))

    def _end(self, job: Job, **values: Any) -> bool:  # noqa: ANN401 - columns
        done = self._write(job, ended=utc_now(), lease_owner=None, lease_until=None, **values)
        self._store.notify()
        return done

    def _write(self, job: Job, **values: Any) -> bool:  # noqa: ANN401 - columns
        with self._database.write() as connection:
            done = connection.execute(
                update(JOB)
                .where(
                    JOB.c.job_id == job.job_id,
                    JOB.c.phase == Phase.EXECUTING,
                    JOB.c.lease_owner == self._worker_id,
                    JOB.c.attempt == job.attempt,
                )
                .values(**values)
            )
        return done.rowcount == 1


def _waiting(kinds: Collection[str]) -> tuple[ColumnElement[bool], ...]:
    return (
        JOB.c.phase == Phase.QUEUED,
        JOB.c.kind.in_(list(kinds)),
        JOB.c.destruction > utc_now(),
    )
