"""Workers: claim queued jobs, run them, keep their leases, clean up after the dead.

A worker has three threads of its own and one for each job that it runs:

- the dispatcher claims jobs while a slot is free;
- the keeper renews leases, notices aborts and deadlines, and saves progress; it never waits for
  anything but the database;
- the sweeper queues the jobs of dead workers again and destroys what is past its time.

Everything that a worker knows about a job is in the database, so it may die at any moment.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Self

from sqlalchemy.exc import DBAPIError
from structlog.contextvars import bound_contextvars

from astrolabe.core.errors import AstrolabeError, InternalError, OverloadError, StorageFullError
from astrolabe.core.ids import new_request_id
from astrolabe.core.logging import get_logger
from astrolabe.jobs.control import RunningJob, StopReason, error_of
from astrolabe.jobs.model import (
    Admission,
    Job,
    JobError,
    JobOutcome,
    JobRunner,
    Permit,
    Phase,
    QueueLane,
)
from astrolabe.jobs.queue import JobQueue
from astrolabe.jobs.store import JobStore, results_to_json

__all__ = ["Worker"]

_log = get_logger(__name__)

_DATABASE_TROUBLE: Final = (DBAPIError, OverloadError, StorageFullError)
_PAUSE_AFTER_TROUBLE_SECONDS: Final = 1.0
_SWEEP_BATCH: Final = 100
_SEARCH_PAUSE_SECONDS: Final = 0.2


class Worker:
    """Runs jobs until it is stopped.

    Parameters
    ----------
    store
        Where the jobs are.
    runners
        What runs each kind of job; jobs of other kinds are left alone.
    slots
        Jobs that run at once.
    on_delete
        Removes a job's files; may be called more than once for a job.
    admission
        Says whether a waiting job may run now; without it all may.
    lease_seconds, heartbeat_seconds
        A worker that was not heard of for so long has lost its jobs; how often it is heard (s).
    poll_seconds
        How often an empty queue is looked at (s).
    watch_seconds
        How often aborts and deadlines are looked at (s).
    sweep_seconds
        How often jobs past their destruction time are looked for (s).
    overdue_seconds
        A job that does not stop so long after its deadline gets its error all the same (s).
    max_attempts
        How often a job is begun when its workers die.
    """

    def __init__(
        self,
        store: JobStore,
        runners: Mapping[str, JobRunner],
        *,
        slots: int,
        on_delete: Callable[[Job], None] | None = None,
        admission: Admission | None = None,
        lease_seconds: float = 10.0,
        heartbeat_seconds: float = 2.0,
        poll_seconds: float = 0.05,
        watch_seconds: float = 0.25,
        sweep_seconds: float = 5.0,
        overdue_seconds: float = 5.0,
        max_attempts: int = 3,
    ) -> None:
        self.worker_id = f"{socket.gethostname()[:64]}:{os.getpid()}:{secrets.token_hex(6)}"
        self._store = store
        self._queue = JobQueue(store, worker_id=self.worker_id, lease_seconds=lease_seconds)
        self._runners = dict(runners)
        self._slots = slots
        self._on_delete = on_delete
        self._admission = admission
        self._next_search = 0.0
        self._heartbeat_seconds = heartbeat_seconds
        self._poll_seconds = poll_seconds
        self._watch_seconds = watch_seconds
        self._sweep_seconds = sweep_seconds
        self._overdue_seconds = overdue_seconds
        self._max_attempts = max_attempts
        self._running: dict[str, RunningJob] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._idle = threading.Event()
        self._threads: list[threading.Thread] = []
        self._last_heartbeat = 0.0
        self._undeletable: set[str] = set()

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of job that it runs."""
        return frozenset(self._runners)

    @property
    def running(self) -> tuple[str, ...]:
        """Ids of the jobs that run now."""
        with self._lock:
            return tuple(self._running)

    @property
    def is_alive(self) -> bool:
        """Whether all its threads run."""
        return bool(self._threads) and all(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """Begin to claim and run jobs; returns at once.

        Raises
        ------
        InternalError
            Raised if the worker was started before.
        """
        if self._threads:
            raise InternalError("A worker is started once; make another one.")
        self._store.subscribe(self._wake.set)
        loops = {"dispatch": self._dispatch, "keep": self._keep, "sweep": self._sweep}
        for name, loop in loops.items():
            thread = threading.Thread(target=loop, name=f"worker-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()
        _log.info("worker started", worker=self.worker_id, slots=self._slots)

    def stop(self, timeout: float = 10.0) -> None:
        """Stop all jobs, put them back into the queue, and end.

        Parameters
        ----------
        timeout
            How long running jobs may take to stop (s); then they are put back all the same, and
            whatever they still write is not accepted.
        """
        self._stopping.set()
        self._wake.set()
        give_up = time.monotonic() + timeout
        for dispatcher in self._threads[:1]:
            # After this no job is added any more.
            dispatcher.join(max(0.1, timeout))
        with self._lock:
            running = tuple(self._running.values())
        for control in running:
            control.stop(StopReason.SHUTDOWN)
        for control in running:
            if control.thread is not None:
                control.thread.join(max(0.0, give_up - time.monotonic()))
        self._idle.set()
        for thread in self._threads[1:]:
            thread.join(max(1.0, give_up - time.monotonic()))
        with self._lock:
            unfinished = tuple(self._running.values())
        for control in unfinished:
            self._insist(partial(self._queue.put_back, control.job))
        self._store.unsubscribe(self._wake.set)
        _log.info("worker stopped", worker=self.worker_id, unfinished=len(unfinished))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    # The dispatcher

    def _dispatch(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                claimed = self._claim()
            except _DATABASE_TROUBLE:
                _log.warning("cannot claim jobs", exc_info=True)
                self._stopping.wait(_PAUSE_AFTER_TROUBLE_SECONDS)
                continue
            if not claimed:
                self._wake.wait(self._poll_seconds)

    def _claim(self) -> bool:
        with self._lock:
            if len(self._running) >= self._slots:
                return False
        found = self._queue.claim(self._runners) if self._admission is None else None
        permit: Permit | None = None
        if self._admission is not None:
            found, permit = self._claim_admitted(self._admission)
        if found is None:
            return False
        job = found
        control = RunningJob(job)
        control.thread = threading.Thread(
            target=self._run, args=(control, permit), name=f"job-{job.job_id}", daemon=True
        )
        with self._lock:
            self._running[job.job_id] = control
        control.thread.start()
        return True

    def _claim_admitted(self, admission: Admission) -> tuple[Job | None, Permit | None]:
        """Claim the first job whose owner may run one more; the others keep their turns."""
        first = self._queue.first(self._runners)
        if first is None:
            return None, None
        job, permit = self._claim_from(first, admission)
        if job is not None or time.monotonic() < self._next_search:
            return job, permit
        for lane in self._queue.lanes(self._runners):
            if lane != first:
                job, permit = self._claim_from(lane, admission)
                if job is not None:
                    return job, permit
        # The whole queue was read in vain: not again at once.
        self._next_search = time.monotonic() + _SEARCH_PAUSE_SECONDS
        return None, None

    def _claim_from(
        self, lane: QueueLane, admission: Admission
    ) -> tuple[Job | None, Permit | None]:
        permit = admission(lane)
        if permit is None:
            return None, None
        try:
            job = self._queue.claim(self._runners, lane=lane)
        except BaseException:
            permit.release()
            raise
        if job is None:
            permit.release()
            return None, None
        return job, permit

    # The job's own thread

    def _run(self, control: RunningJob, permit: Permit | None) -> None:
        job = control.job
        with bound_contextvars(job_id=job.job_id, kind=job.kind, attempt=job.attempt):
            try:
                ending = self._attempt(control)
                if not self._insist(ending):
                    self._clear_up(control)
            finally:
                if permit is not None:
                    permit.release()
                with self._lock:
                    if self._running.get(job.job_id) is control:
                        del self._running[job.job_id]
                self._wake.set()

    def _attempt(self, control: RunningJob) -> Callable[[], bool]:
        """Run the job; return what writes its end and tells whether it was still ours."""
        job = control.job
        try:
            outcome = self._runners[job.kind].run(job, control)
            # A result that cannot be stored is the runner's fault, found here.
            json.dumps(results_to_json(outcome.results), allow_nan=False)
            return partial(self._complete, control, outcome)
        except AstrolabeError as exc:
            error = error_of(exc)
            if exc.status >= 500 and not control.is_set:
                _log.exception("job failed")
        except Exception as exc:  # noqa: BLE001 - whatever a runner raises must end its job only
            error = _internal_error(exc, stopping=control.is_set)
        if control.reason is StopReason.TIMEOUT:
            error = error_of(control.timeout_error())
        elif control.reason is StopReason.SHUTDOWN:
            return partial(self._queue.put_back, job)
        elif control.reason is StopReason.GONE:
            return lambda: False
        _log.info("job ended in error", code=error.code, seconds=round(control.elapsed, 3))
        return partial(self._queue.fail, job, error, control.progress)

    def _complete(self, control: RunningJob, outcome: JobOutcome) -> bool:
        done = self._queue.complete(control.job, outcome.results, control.progress)
        if done:
            _log.info("job completed", seconds=round(control.elapsed, 3))
        return done

    def _insist(self, write: Callable[[], bool]) -> bool:
        """Write a job's end, again if the database is in trouble; it may be so for a while."""
        pause = 0.1
        for _ in range(6):
            try:
                return write()
            except _DATABASE_TROUBLE:
                _log.warning("cannot write a job's end", exc_info=True)
                time.sleep(pause)
                pause *= 2
        # Its lease runs out, and it is run again.
        return True

    def _clear_up(self, control: RunningJob) -> None:
        """Let go of a job that was aborted or lost; a destroyed one's files go with the sweep."""
        try:
            self._queue.let_go(control.job)
        except _DATABASE_TROUBLE:
            _log.warning("cannot let go of a job", exc_info=True)
        _log.info("job stopped", seconds=round(control.elapsed, 3))

    # The keeper

    def _keep(self) -> None:
        while not self._idle.wait(self._watch_seconds):
            with self._lock:
                running = dict(self._running)
            if not running:
                continue
            try:
                self._look_after(running)
            except _DATABASE_TROUBLE:
                _log.warning("cannot look after running jobs", exc_info=True)

    def _look_after(self, running: Mapping[str, RunningJob]) -> None:
        if time.monotonic() - self._last_heartbeat >= self._heartbeat_seconds:
            self._queue.renew(running)
            self._last_heartbeat = time.monotonic()
        held = self._queue.held({key: control.job.attempt for key, control in running.items()})
        for job_id, control in running.items():
            state = held.get(job_id)
            if state is None or state.phase is not Phase.EXECUTING:
                control.stop(StopReason.GONE)
                continue
            control.allow(state.execution_seconds)
            progress = control.unsaved_progress()
            if progress is not None:
                self._queue.save_progress(control.job, progress)
            if control.overtime > self._overdue_seconds:
                _log.warning("job does not stop after its deadline", job_id=job_id)
                self._queue.fail(control.job, error_of(control.timeout_error()), control.progress)

    # The sweeper

    def _sweep(self) -> None:
        last_sweep = float("-inf")
        while not self._stopping.is_set():
            try:
                self._take_back()
                if time.monotonic() - last_sweep >= self._sweep_seconds:
                    self._destroy()
                    last_sweep = time.monotonic()
            except _DATABASE_TROUBLE:
                _log.warning("cannot sweep", exc_info=True)
            self._stopping.wait(min(1.0, self._sweep_seconds))

    def _take_back(self) -> None:
        queued, ended = self._queue.take_back(running=self.running, max_attempts=self._max_attempts)
        if queued or ended:
            _log.warning("took back the jobs of a dead worker", queued=queued, given_up=ended)

    def _destroy(self) -> None:
        self._store.abort_doomed()
        # What could not be removed is tried again at the next sweep only.
        self._undeletable.clear()
        while not self._stopping.is_set():
            jobs = self._store.doomed(_SWEEP_BATCH, skip=self._undeletable)
            for job in jobs:
                try:
                    if self._on_delete is not None:
                        self._on_delete(job)
                except OSError:
                    self._undeletable.add(job.job_id)
                    _log.warning("cannot remove a job's files", job_id=job.job_id, exc_info=True)
                else:
                    self._store.remove(job.job_id)
            if len(jobs) < _SWEEP_BATCH:
                return


def _internal_error(exc: Exception, *, stopping: bool) -> JobError:
    if stopping:
        # An engine that is interrupted may raise anything.
        return JobError(message="The job was stopped.", code="cancelled")
    error_id = new_request_id()
    _log.error("job failed unexpectedly", error_id=error_id, exc_info=exc)
    return JobError(
        message="The job failed by a fault of the platform. Its administrators find the reason "
        f"in the log under {error_id}."
    )
