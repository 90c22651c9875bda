"""What clients do with jobs: UWS 1.1, without its HTTP.

Each operation names the caller; a job of another user does not exist for him.  An anonymous job
belongs to whoever knows its id, which cannot be guessed, and is in no list.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import wait as wait_for_futures
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import BadParameterError, ConflictError
from astrolabe.core.ids import new_job_id
from astrolabe.core.logging import get_logger
from astrolabe.jobs import rules
from astrolabe.jobs.model import FINAL_PHASES, Job, JobPage, JobParameter, JobSummary, Phase
from astrolabe.jobs.store import JobStore
from astrolabe.jobs.waiting import PhaseWatcher

__all__ = ["JobPage", "JobService"]

_log = get_logger(__name__)

_LONGEST_PAGE: Final = 1000
_LARGEST_SECONDS: Final = 2**31 - 1


class JobService:
    """Creates jobs and steers them.

    Parameters
    ----------
    store
        Where the jobs are.
    execution_seconds
        Largest, and default, time that a job may execute (s).
    retention_days, retention_days_hard
        Time from a job's creation to its destruction, and the longest to which a client may
        change it (days).
    anonymous_jobs
        Anonymous jobs that may exist at once.
    wait_seconds
        Longest time that `wait` blocks (s).
    accumulating
        Parameters whose values add up over several requests; later values of all others
        replace the earlier ones.
    on_delete
        Removes a job's files; called with the job when it is destroyed, perhaps more than once.
    """

    def __init__(
        self,
        store: JobStore,
        *,
        execution_seconds: int,
        retention_days: float,
        retention_days_hard: float,
        anonymous_jobs: int,
        wait_seconds: float = 45.0,
        accumulating: Collection[str] = frozenset({"UPLOAD"}),
        on_delete: Callable[[Job], None] | None = None,
    ) -> None:
        self._store = store
        self._execution_seconds = execution_seconds
        self._retention = timedelta(days=min(retention_days, retention_days_hard))
        self._retention_hard = timedelta(days=retention_days_hard)
        self._anonymous_jobs = anonymous_jobs
        self._wait_seconds = wait_seconds
        self._accumulating = frozenset(accumulating)
        self._on_delete = on_delete
        self._watcher = PhaseWatcher(store.phases)
        store.subscribe(self._watcher.poke)

    def close(self) -> None:
        """End all waits."""
        self._store.unsubscribe(self._watcher.poke)
        self._watcher.close()

    def create(
        self,
        kind: str,
        parameters: Iterable[JobParameter],
        *,
        owner: str | None,
        run_id: str | None = None,
        execution_seconds: int | None = None,
        run: bool = False,
        job_id: str | None = None,
        lane: str | None = None,
    ) -> Job:
        """Make a job.

        Parameters
        ----------
        kind
            What runs it.
        parameters
            As sent, whatever they are; they are checked when the job runs.  RUNID sets the run id.
        owner
            User name, `None` for an anonymous job.
        run_id
            The client's own name for the job.
        execution_seconds
            Time limit while it executes (s), lowered to the hard limit.
        run
            Whether to queue it at once, else it is PENDING.
        job_id
            An id from `astrolabe.core.ids.new_job_id`, where files had to be named after the job
            before it exists; by default a fresh one.
        lane
            As in `Job`.

        Raises
        ------
        OverloadError
            Raised if the job is anonymous and there are too many of these.
        BadParameterError
            Raised if a name or a value cannot be stored.
        """
        now = utc_now()
        job = Job(
            job_id=new_job_id() if job_id is None else job_id,
            kind=kind,
            phase=Phase.QUEUED if run else Phase.PENDING,
            owner=owner,
            run_id=None if run_id is None else rules.storable("RUNID", run_id),
            created=now,
            started=None,
            ended=None,
            destruction=now + self._retention,
            execution_seconds=self._clipped_seconds(execution_seconds or 0),
            lane=lane,
        )
        job = rules.with_parameters(job, parameters, accumulating=self._accumulating)
        self._store.add(job, anonymous_limit=self._anonymous_jobs)
        return job

    def get(
        self, job_id: str, *, kind: str | None = None, principal_name: str | None = None
    ) -> Job:
        """Return a job.

        Parameters
        ----------
        job_id
            The job.
        kind
            The kind of the service that asks; `None` takes any.
        principal_name
            User name of the caller, `None` if anonymous.

        Raises
        ------
        NotFoundError
            Raised if there is no such job, if it was destroyed, or if it is another's.
        """
        job = self._store.get(job_id) if rules.is_job_id(job_id) else None
        if job is None:
            raise rules.no_such_job(job_id)
        return rules.readable(job, kind, principal_name)

    def placed(self, job: Job) -> Job:
        """Return `job` with its place in the queue, if it waits there."""
        return replace(job, queue_position=self._store.position(job.job_id))

    def list(
        self,
        *,
        principal_name: str | None,
        kind: str | None = None,
        phases: Collection[Phase] = (),
        after: datetime | None = None,
        last: int | None = None,
    ) -> tuple[JobSummary, ...]:
        """Return the caller's jobs, the newest first (UWS 1.1, section 2.2.2.1).

        Parameters
        ----------
        principal_name
            User name of the caller; an anonymous one (`None`) has no list.
        kind
            Only jobs of this kind; `None` for all.
        phases
            PHASE: only these; none given means all but ARCHIVED.
        after
            AFTER: only jobs created later than this.
        last
            LAST: at most so many, the most recent.

        Raises
        ------
        BadParameterError
            Raised if `last` is negative.
        """
        if last is not None and last < 0:
            raise BadParameterError(f"LAST is a number of jobs from 0 up, not {last}.")
        if principal_name is None or last == 0:
            return ()
        return self._store.list(principal_name, kind=kind, phases=phases, after=after, last=last)

    def page(
        self,
        *,
        principal_name: str | None,
        limit: int,
        cursor: str | None = None,
        kind: str | None = None,
        phases: Collection[Phase] = (),
    ) -> JobPage:
        """Return a page of the caller's jobs with all their details, the newest first.

        Jobs that are made meanwhile do not shift the pages.

        Parameters
        ----------
        principal_name, kind, phases
            As for `list`.
        limit
            Most jobs on the page, from 1 to 1000.
        cursor
            `JobPage.next_cursor` of the page before.

        Raises
        ------
        BadParameterError
            Raised if `limit` is out of its range or `cursor` is not one of ours.
        """
        if not 1 <= limit <= _LONGEST_PAGE:
            raise BadParameterError(f"A page has from 1 to {_LONGEST_PAGE} jobs, not {limit}.")
        before = None if cursor is None else rules.read_cursor(cursor)
        if principal_name is None:
            return JobPage((), None)
        jobs = self._store.page(
            principal_name, kind=kind, phases=phases, before=before, limit=limit + 1
        )
        if len(jobs) <= limit:
            return JobPage(jobs, None)
        return JobPage(jobs[:limit], rules.write_cursor(jobs[limit - 1]))

    def set_parameters(
        self,
        job_id: str,
        parameters: Iterable[JobParameter],
        *,
        kind: str | None = None,
        principal_name: str | None = None,
    ) -> Job:
        """Add parameters to a PENDING job, or replace those of the same names.

        A name's values replace all its earlier values, but those of an accumulating parameter
        (UPLOAD) are added to them.  RUNID sets the run id.

        Raises
        ------
        NotFoundError
            Raised as by `get`.
        ConflictError
            Raised if the job is not PENDING.
        BadParameterError
            Raised if a name or a value cannot be stored.
        """
        sent = tuple(parameters)

        def change(job: Job) -> Job:
            if job.phase is not Phase.PENDING:
                raise ConflictError(
                    f"Parameters can be set while a job is PENDING; this one is {job.phase}."
                )
            changed = rules.with_parameters(job, sent, accumulating=self._accumulating)
            # What was estimated was estimated of others.
            return replace(changed, progress={})

        return self._change(job_id, kind, principal_name, change)

    def start(
        self, job_id: str, *, kind: str | None = None, principal_name: str | None = None
    ) -> Job:
        """Queue a job (PHASE=RUN); nothing changes if it is waiting or running already.

        Raises
        ------
        NotFoundError
            Raised as by `get`.
        ConflictError
            Raised if the job has ended.
        """
        return self._change(job_id, kind, principal_name, rules.queued)

    def abort(
        self, job_id: str, *, kind: str | None = None, principal_name: str | None = None
    ) -> Job:
        """End a job (PHASE=ABORT); nothing changes if it has ended already.

        The job is ABORTED at once; a worker that runs it stops within a second.

        Raises
        ------
        NotFoundError
            Raised as by `get`.
        """
        return self._change(job_id, kind, principal_name, rules.aborted)

    def delete(
        self, job_id: str, *, kind: str | None = None, principal_name: str | None = None
    ) -> None:
        """Destroy a job with its files; it does not exist from here on.

        A job that is running is stopped; its worker removes what is left of it.

        Raises
        ------
        NotFoundError
            Raised as by `get`.
        """
        # The row goes last: whatever fails here, a worker's sweep finds and finishes.
        job = self._change(
            job_id,
            kind,
            principal_name,
            lambda job: replace(rules.aborted(job), destruction=utc_now()),
        )
        try:
            if self._on_delete is not None:
                self._on_delete(job)
        except OSError:
            _log.warning("cannot remove a job's files yet", job_id=job_id, exc_info=True)
            return
        if not self._store.is_held(job_id):
            self._store.remove(job_id)

    def set_destruction(
        self,
        job_id: str,
        when: datetime,
        *,
        kind: str | None = None,
        principal_name: str | None = None,
    ) -> Job:
        """Change the time at which a job is destroyed.

        Parameters
        ----------
        job_id, kind, principal_name
            As for `get`.
        when
            Aware UTC; lowered to the longest retention after the job's creation.  A time that
            has passed destroys the job.

        Raises
        ------
        NotFoundError
            Raised as by `get`.
        """

        def change(job: Job) -> Job:
            return replace(job, destruction=min(when, job.created + self._retention_hard))

        return self._change(job_id, kind, principal_name, change)

    def set_execution_seconds(
        self,
        job_id: str,
        seconds: int,
        *,
        kind: str | None = None,
        principal_name: str | None = None,
    ) -> Job:
        """Change how long a job may execute.

        Parameters
        ----------
        job_id, kind, principal_name
            As for `get`.
        seconds
            Lowered to the hard limit; 0, which asks for no limit, gives the hard limit.

        Raises
        ------
        NotFoundError
            Raised as by `get`.
        ConflictError
            Raised if the job has ended.
        BadParameterError
            Raised if `seconds` is negative.
        """
        clipped = self._clipped_seconds(seconds)

        def change(job: Job) -> Job:
            if job.phase in FINAL_PHASES:
                raise ConflictError(f"This job is {job.phase}; its time limit cannot change.")
            return replace(job, execution_seconds=clipped)

        return self._change(job_id, kind, principal_name, change)

    def wait(
        self,
        job_id: str,
        seconds: float,
        *,
        phase: Phase | None = None,
        kind: str | None = None,
        principal_name: str | None = None,
    ) -> Job:
        """Return a job when its phase has changed or the time is over (WAIT of UWS 1.1).

        Parameters
        ----------
        job_id, kind, principal_name
            As for `get`.
        seconds
            How long to wait at most (s); a negative number means as long as the service allows.
        phase
            Return at once unless the job is in this phase.

        Returns
        -------
        Job
            The job as it is then; at once if its phase is not one that waiting can change.

        Raises
        ------
        NotFoundError
            Raised as by `get`, also when the job is destroyed meanwhile.
        """
        job = self.get(job_id, kind=kind, principal_name=principal_name)
        if not rules.worth_waiting(job, seconds, phase):
            return job
        future = self._watcher.watch(job_id, job.phase)
        wait_for_futures([future], timeout=self._clipped_wait(seconds))
        future.cancel()
        return self.get(job_id, kind=kind, principal_name=principal_name)

    async def wait_async(
        self,
        job_id: str,
        seconds: float,
        *,
        phase: Phase | None = None,
        kind: str | None = None,
        principal_name: str | None = None,
    ) -> Job:
        """Do as `wait` does, without holding a thread; may be cancelled at any time.

        Raises
        ------
        NotFoundError
            Raised as by `wait`.
        """
        read = partial(self.get, job_id, kind=kind, principal_name=principal_name)
        job = await asyncio.to_thread(read)
        if not rules.worth_waiting(job, seconds, phase):
            return job
        future = asyncio.wrap_future(self._watcher.watch(job_id, job.phase))
        try:
            await asyncio.wait([future], timeout=self._clipped_wait(seconds))
        finally:
            future.cancel()
        return await asyncio.to_thread(read)

    def _change(
        self,
        job_id: str,
        kind: str | None,
        principal_name: str | None,
        change: Callable[[Job], Job],
    ) -> Job:
        def permitted(job: Job) -> Job:
            return change(rules.readable(job, kind, principal_name))

        changed = self._store.update(job_id, permitted) if rules.is_job_id(job_id) else None
        if changed is None:
            raise rules.no_such_job(job_id)
        return changed

    def _clipped_seconds(self, seconds: int) -> int:
        if seconds < 0:
            raise BadParameterError(
                f"EXECUTIONDURATION is a number of seconds from 0 up, not {seconds}."
            )
        hard = min(self._execution_seconds, _LARGEST_SECONDS)
        return min(seconds, hard) if seconds else hard

    def _clipped_wait(self, seconds: float) -> float:
        return self._wait_seconds if seconds < 0 else min(seconds, self._wait_seconds)
