"""``/api/jobs``: every job of the caller, as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pydantic import BaseModel, Field

from astrolabe.jobs.model import Job
from astrolabe.jobs.service import JobPage

__all__ = ["JOB_PATHS", "JobEntry", "JobList", "job_list"]

JOB_PATHS: Final = {
    "tap": "/api/tap/async",
    "soda": "/api/cutout/async",
    "mosaic": "/api/mosaic",
}
"""Where the jobs of each kind are."""


class JobEntry(BaseModel):
    """One job."""

    job_id: str = Field(description="Its id.")
    kind: str = Field(description="The service that it belongs to: tap, soda or mosaic.")
    phase: str = Field(description="Its UWS phase.")
    run_id: str | None = Field(description="The client's own name for it.")
    created: datetime
    started: datetime | None
    ended: datetime | None
    destruction: datetime = Field(description="When it will be destroyed.")
    parameters: list[tuple[str, str]] = Field(description="(name, value) as sent.")
    error: str | None = Field(description="Why it failed.")
    url: str = Field(description="Address of its UWS document.")


class JobList(BaseModel):
    """A page of jobs, the newest first."""

    jobs: list[JobEntry]
    next_cursor: str | None = Field(
        description="Send as `cursor` for the next page; null on the last one."
    )


def job_list(page: JobPage, *, base: str) -> JobList:
    """Return a page of jobs as it is sent.

    Parameters
    ----------
    base
        Public address of the platform.
    """
    return JobList(
        jobs=[_entry(job, base) for job in page.jobs],
        next_cursor=page.next_cursor,
    )


def _entry(job: Job, base: str) -> JobEntry:
    return JobEntry(
        job_id=job.job_id,
        kind=job.kind,
        phase=job.phase.value,
        run_id=job.run_id,
        created=job.created,
        started=job.started,
        ended=job.ended,
        destruction=job.destruction,
        parameters=[(parameter.name, parameter.value) for parameter in job.parameters],
        error=None if job.error is None else job.error.message,
        url=f"{base}{JOB_PATHS[job.kind]}/{job.job_id}",
    )
