"""The rules of UWS 1.1 as plain functions: from a job to the job changed, or an error."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import BadParameterError, ConflictError, NotFoundError
from astrolabe.jobs.model import ACTIVE_PHASES, FINAL_PHASES, Job, JobParameter, Phase

__all__ = [
    "aborted",
    "is_job_id",
    "no_such_job",
    "queued",
    "read_cursor",
    "readable",
    "storable",
    "with_parameters",
    "worth_waiting",
    "write_cursor",
]

_RUN_ID: Final = "RUNID"


def with_parameters(
    job: Job, sent: Iterable[JobParameter], *, accumulating: Collection[str]
) -> Job:
    """Return `job` with the parameters `sent`; names become capitals, RUNID sets the run id.

    Parameters
    ----------
    job
        The job.
    sent
        The parameters of one request.
    accumulating
        Names whose values are added to the earlier ones; the values of all others replace them.

    Raises
    ------
    BadParameterError
        Raised if a name or a value cannot be stored.
    """
    parameters: list[JobParameter] = []
    for parameter in sent:
        name = storable("A parameter's name", parameter.name).upper()
        value = storable(name, parameter.value)
        if name == _RUN_ID:
            job = replace(job, run_id=value)
        else:
            parameters.append(JobParameter(name, value))
    replaced = {parameter.name for parameter in parameters}.difference(accumulating)
    kept = tuple(old for old in job.parameters if old.name not in replaced)
    return replace(job, parameters=kept + tuple(parameters))


def queued(job: Job) -> Job:
    """Return `job` after PHASE=RUN; nothing changes if it is waiting or running already.

    Raises
    ------
    ConflictError
        Raised if the job has ended.
    """
    if job.phase in FINAL_PHASES:
        raise ConflictError(f"This job is {job.phase} and does not run again; create a new one.")
    return replace(job, phase=Phase.QUEUED) if job.phase in {Phase.PENDING, Phase.HELD} else job


def aborted(job: Job) -> Job:
    """Return `job` after PHASE=ABORT; nothing changes if it has ended already."""
    if job.phase in FINAL_PHASES:
        return job
    return replace(job, phase=Phase.ABORTED, ended=utc_now())


def worth_waiting(job: Job, seconds: float, phase: Phase | None) -> bool:
    """Whether WAIT blocks: in an active phase, and in `phase` if one is named."""
    return seconds != 0 and job.phase in ACTIVE_PHASES and phase in {None, job.phase}


def readable(job: Job, kind: str | None, principal_name: str | None) -> Job:
    """Return `job` if a caller may see it through the service of `kind`.

    Raises
    ------
    NotFoundError
        Raised if the job is another user's or of another kind.
    """
    if job.owner not in {None, principal_name} or kind not in {None, job.kind}:
        raise no_such_job(job.job_id)
    return job


def no_such_job(job_id: str) -> NotFoundError:
    """Return the error of an id that leads to no job, or to none that the caller may see."""
    return NotFoundError(f"There is no job {job_id[:40]!r}; it may have been destroyed.")


def is_job_id(text: str) -> bool:
    """Whether `text` can be a job's id; what it lets through both databases can compare."""
    return len(text) <= 40 and text.isascii() and text.isalnum()


def storable(name: str, text: str) -> str:
    """Return `text` if both databases can keep it.

    Raises
    ------
    BadParameterError
        Raised if `text` contains a NUL or half a surrogate pair.
    """
    if "\0" in text:
        raise BadParameterError(f"{name} contains a NUL character.")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise BadParameterError(f"{name} is not valid Unicode text.") from exc
    return text


def write_cursor(job: Job) -> str:
    """Return what asks for the jobs after `job` in a list, the newest first."""
    text = f"{job.created.isoformat()} {job.job_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[datetime, str]:
    """Return the creation time and the id in a cursor.

    Raises
    ------
    BadParameterError
        Raised if `cursor` is none that `write_cursor` made.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        created, job_id = base64.urlsafe_b64decode(padded.encode("ascii")).decode().split(" ")
        when = datetime.fromisoformat(created)
    except (ValueError, binascii.Error) as exc:
        raise BadParameterError("The cursor is not one that a page of jobs gave.") from exc
    if when.tzinfo is None or not is_job_id(job_id):
        raise BadParameterError("The cursor is not one that a page of jobs gave.")
    return when, job_id
