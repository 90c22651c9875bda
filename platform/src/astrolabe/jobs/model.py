"""The UWS job (UWS 1.1, section 2.1) and the contract of what runs one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Protocol

__all__ = [
    "ACTIVE_PHASES",
    "FINAL_PHASES",
    "INTERACTIVE_LANE",
    "Admission",
    "Job",
    "JobControl",
    "JobError",
    "JobOutcome",
    "JobPage",
    "JobParameter",
    "JobResult",
    "JobRunner",
    "JobSummary",
    "Permit",
    "Phase",
    "QueueLane",
]


class Phase(StrEnum):
    """The phases of UWS 1.1, section 2.1.3."""

    PENDING = "PENDING"
    QUEUED = "QUEUED"
    EXECUTING = "EXECUTING"
    COMPLETED = "COMPLETED"
    ERROR = "ERROR"
    ABORTED = "ABORTED"
    UNKNOWN = "UNKNOWN"
    HELD = "HELD"
    SUSPENDED = "SUSPENDED"
    ARCHIVED = "ARCHIVED"


ACTIVE_PHASES = frozenset({Phase.PENDING, Phase.QUEUED, Phase.EXECUTING})
"""Phases in which WAIT blocks."""

FINAL_PHASES = frozenset({Phase.COMPLETED, Phase.ERROR, Phase.ABORTED, Phase.ARCHIVED})
"""Phases that a job does not leave."""


@dataclass(frozen=True, slots=True)
class JobParameter:
    """One parameter as the client sent it (name in capitals); names may repeat (UPLOAD)."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """One result.

    Parameters
    ----------
    result_id
        ``result`` for TAP.
    path
        File below the job's result folder.
    mime_type, size_bytes, row_count
        As shown in the job document.
    metadata
        What a renderer needs beside the file (result header, overflow flag, asked format).
    """

    result_id: str
    path: str
    mime_type: str
    size_bytes: int | None = None
    row_count: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """A job's error summary; `code` and the rest as in `astrolabe.core.errors`."""

    message: str
    code: str = "internal"
    transient: bool = False
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as it is stored; all times are aware UTC.

    Parameters
    ----------
    job_id
        128 random bits.
    kind
        Which registered runner runs it (``tap``).
    owner
        User name, `None` for an anonymous job (reached by its id, never listed).
    execution_seconds
        Time limit while EXECUTING, 0 for the hard limit of the service.
    progress
        Free JSON for the job document's jobInfo.
    attempt
        How many times a worker has begun it.
    lane
        Which of its owner's lanes it waits in; lanes take turns with each other as owners do.
        `INTERACTIVE_LANE` for the portal's jobs, an address for anonymous ones; shown to nobody.
    queue_position
        While it is QUEUED, its place in the queue from 1, where that was asked for.
    """

    job_id: str
    kind: str
    phase: Phase
    owner: str | None
    run_id: str | None
    created: datetime
    started: datetime | None
    ended: datetime | None
    destruction: datetime
    execution_seconds: int
    parameters: tuple[JobParameter, ...] = ()
    results: tuple[JobResult, ...] = ()
    error: JobError | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    quote: datetime | None = None
    attempt: int = 0
    lane: str | None = None
    queue_position: int | None = None

    def values(self, name: str) -> tuple[str, ...]:
        """Return the values of parameter `name` (any case), in the order sent."""
        wanted = name.upper()
        return tuple(p.value for p in self.parameters if p.name == wanted)


@dataclass(frozen=True, slots=True)
class JobPage:
    """A page of a user's jobs, the newest first.

    Parameters
    ----------
    jobs
        The jobs of this page.
    next_cursor
        Asks for the next page; `None` on the last one.
    """

    jobs: tuple[Job, ...]
    next_cursor: str | None


INTERACTIVE_LANE: Final = "interactive"
"""The lane of jobs that were made in the portal: programs of the same user do not starve them."""


class Permit(Protocol):
    """The right to run one job."""

    def release(self) -> None:
        """Give it back; may be called more than once."""


@dataclass(frozen=True, slots=True)
class QueueLane:
    """One lane of the queue: what decides whether a job of it may run now."""

    owner: str | None
    lane: str | None


Admission = Callable[[QueueLane], Permit | None]
"""Gives the right to run a job of a lane, `None` if its owner runs as many as he may: jobs that
may not run stay QUEUED.  Must be quick, since the queue is looked at many times a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSummary:
    """What a list of jobs shows of each (UWS 1.1, section 2.2.2.1); fields as in `Job`."""

    job_id: str
    kind: str
    phase: Phase
    owner: str | None
    run_id: str | None
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOutcome:
    """What a runner gives back when the job is done."""

    results: tuple[JobResult, ...]


class JobControl(Protocol):
    """A runner's way to the world; also a cancel token (`is_set`, `raise_if_set`)."""

    @property
    def is_set(self) -> bool:
        """Whether the job is to stop (aborted, out of time, worker shutting down)."""

    def raise_if_set(self) -> None:
        """Raise `QueryTimeoutError` or `CancelledError` if the job is to stop."""

    def report(self, **progress: Any) -> None:  # noqa: ANN401 - any JSON value
        """Merge `progress` into the job document, at most once a second."""


class JobRunner(Protocol):
    """Runs one kind of job, in a worker's thread."""

    def run(self, job: Job, control: JobControl) -> JobOutcome:
        """Run `job`; any `AstrolabeError` becomes the job's error summary.

        Must be safe to run again from the start after a worker died in the middle.
        """
