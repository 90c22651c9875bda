"""Runners and helpers for the tests of jobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from typing_extensions import override

from astrolabe.jobs.model import (
    ACTIVE_PHASES,
    Job,
    JobControl,
    JobOutcome,
    JobParameter,
    JobResult,
    JobRunner,
)
from astrolabe.jobs.service import JobService
from astrolabe.jobs.store import JobStore

KIND = "test"
RESULT = JobResult(
    result_id="result", path="result.parquet", mime_type="text/csv", metadata={"overflow": False}
)


def make_service(store: JobStore, **changes: Any) -> JobService:
    settings: dict[str, Any] = {
        "execution_seconds": 600,
        "retention_days": 7.0,
        "retention_days_hard": 30.0,
        "anonymous_jobs": 1000,
    }
    return JobService(store, **(settings | changes))


def parameters(**values: str) -> tuple[JobParameter, ...]:
    return tuple(JobParameter(name, value) for name, value in values.items())


def run_to_end(service: JobService, job: Job, *, seconds: float = 8) -> Job:
    """Wait until the job has ended."""
    give_up = time.monotonic() + seconds
    while job.phase in ACTIVE_PHASES:
        assert time.monotonic() < give_up, f"still {job.phase}"
        job = service.wait(job.job_id, 1, principal_name=job.owner)
    return job


def wait_until(condition: Callable[[], object], *, seconds: float = 8) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.01)


class QuickRunner(JobRunner):
    """Counts how often each job was run."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.jobs: list[Job] = []

    @override
    def run(self, job: Job, control: JobControl) -> JobOutcome:
        self.runs.append(job.job_id)
        self.jobs.append(job)
        return JobOutcome(results=(RESULT,))


class PatientRunner(JobRunner):
    """Runs until it is told to stop or to finish."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.may_finish = threading.Event()
        self.stopped_after: float | None = None
        self.deaf = False

    @override
    def run(self, job: Job, control: JobControl) -> JobOutcome:
        begun = time.monotonic()
        self.started.set()
        while not self.may_finish.wait(0.01):
            if control.is_set and not self.deaf:
                self.stopped_after = time.monotonic() - begun
                control.raise_if_set()
        return JobOutcome(results=(RESULT,))


class FailingRunner(JobRunner):
    """Raises what it was given."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    @override
    def run(self, job: Job, control: JobControl) -> JobOutcome:
        raise self.error


class LoggingRunner(JobRunner):
    """Runs in a process of its own; leaves a line in a file at each begin and each end.

    The parameter SECONDS says how long it takes.
    """

    def __init__(self, log: Path) -> None:
        self.log = log

    @override
    def run(self, job: Job, control: JobControl) -> JobOutcome:
        self._write(f"begin {job.job_id} {job.attempt}")
        end = time.monotonic() + float(job.values("SECONDS")[-1])
        while time.monotonic() < end:
            control.raise_if_set()
            time.sleep(0.01)
        self._write(f"end {job.job_id} {job.attempt}")
        return JobOutcome(results=(RESULT,))

    def _write(self, line: str) -> None:
        # One short write in append mode is not torn apart by another process's.
        with self.log.open("a") as log:
            log.write(line + "\n")
