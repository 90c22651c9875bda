"""A job that a worker runs: its cancel token, its deadline, its progress."""

from __future__ import annotations

import json
import threading
import time
from enum import Enum, auto
from typing import Any, Final

from astrolabe.core.errors import (
    AstrolabeError,
    CancelledError,
    OverloadError,
    QueryError,
    QueryTimeoutError,
    StorageFullError,
)
from astrolabe.jobs.model import Job, JobError

__all__ = ["RunningJob", "StopReason", "error_of"]

_REPORT_SECONDS: Final = 1.0


class StopReason(Enum):
    """Why a running job is to stop."""

    TIMEOUT = auto()
    """Its execution time is over."""
    GONE = auto()
    """It was aborted or destroyed, or another worker has it."""
    SHUTDOWN = auto()
    """This worker is ending."""


class RunningJob:
    """One attempt to run a job; what its runner gets as `JobControl`.

    Parameters
    ----------
    job
        The job as it was claimed.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.thread: threading.Thread | None = None
        self._begun = time.monotonic()
        self._seconds = job.execution_seconds
        self._lock = threading.Lock()
        self._reason: StopReason | None = None
        self._progress: dict[str, Any] = {}
        self._unsaved = False
        self._saved_at = 0.0

    @property
    def is_set(self) -> bool:
        """Whether the job is to stop."""
        return self.reason is not None

    @property
    def reason(self) -> StopReason | None:
        """Why the job is to stop, `None` if it is not."""
        if self._reason is None and self.overtime > 0:
            self.stop(StopReason.TIMEOUT)
        return self._reason

    @property
    def overtime(self) -> float:
        """Time since the deadline (s), negative before it."""
        return time.monotonic() - self._begun - self._seconds

    @property
    def elapsed(self) -> float:
        """Time since the job was claimed (s)."""
        return time.monotonic() - self._begun

    @property
    def progress(self) -> dict[str, Any]:
        """What was reported up to now."""
        with self._lock:
            return dict(self._progress)

    def allow(self, seconds: int) -> None:
        """Set the job's time limit, counted from its begin (s)."""
        self._seconds = seconds

    def stop(self, reason: StopReason) -> None:
        """Ask the job to stop; the first reason counts."""
        with self._lock:
            if self._reason is None:
                self._reason = reason

    def raise_if_set(self) -> None:
        """Raise the reason if the job is to stop.

        Raises
        ------
        QueryTimeoutError
            Raised if the job's time is over.
        CancelledError
            Raised if it is to stop for another reason.
        """
        if self.reason is StopReason.TIMEOUT:
            raise self.timeout_error()
        if self.reason is not None:
            raise CancelledError("The job was stopped.")

    def timeout_error(self) -> QueryTimeoutError:
        """Return the error of a job that ran too long."""
        return QueryTimeoutError(
            f"The job ran longer than its limit of {self._seconds} s and was stopped. "
            "Ask for less, or set a longer execution duration if the service allows it."
        )

    def report(self, **progress: Any) -> None:  # noqa: ANN401 - any JSON value
        """Merge `progress` into the job document, at most once a second.

        Raises
        ------
        TypeError, ValueError
            Raised if `progress` is not JSON.
        """
        json.dumps(progress, allow_nan=False)
        with self._lock:
            self._progress |= progress
            self._unsaved = True

    def unsaved_progress(self) -> dict[str, Any] | None:
        """Return the progress if it is to be saved now; it counts as saved then."""
        with self._lock:
            now = time.monotonic()
            if not self._unsaved or now - self._saved_at < _REPORT_SECONDS:
                return None
            self._unsaved = False
            self._saved_at = now
            return dict(self._progress)


def error_of(error: AstrolabeError) -> JobError:
    """Return the error summary that a job shows for `error`."""
    detail: dict[str, Any] = {}
    if isinstance(error, QueryError):
        if error.position is not None:
            detail["position"] = {"line": error.position.line, "column": error.position.column}
        if error.suggestions:
            detail["suggestions"] = list(error.suggestions)
    return JobError(
        message=error.message,
        code=error.code,
        transient=isinstance(error, (OverloadError, StorageFullError)),
        detail=detail,
    )
