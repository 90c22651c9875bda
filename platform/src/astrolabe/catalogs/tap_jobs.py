"""What a worker does for an async query: the runner of jobs of kind ``tap``."""

from __future__ import annotations

from collections.abc import Callable

from astrolabe.catalogs.job_admission import client_address_of
from astrolabe.catalogs.query import QueryRequest, QueryService
from astrolabe.catalogs.results import ResultStore
from astrolabe.catalogs.uploads import UploadResolver, UploadStore, parse_upload
from astrolabe.core.errors import BadParameterError
from astrolabe.identity import Principal
from astrolabe.jobs.model import Job, JobControl, JobOutcome
from astrolabe.tables.formats import resolve_format

__all__ = ["TAP_JOB", "TapJobRunner", "single_value"]

TAP_JOB = "tap"
"""The kind of job that this module runs."""


class TapJobRunner:
    """Runs async queries.

    Parameters
    ----------
    queries
        Runs the query.
    results
        Keeps the rows.
    uploads
        Uploaded files of the job.
    resolver
        Reads them.
    principal_of
        Gives the owner of a job with the rights that he has now.
    """

    def __init__(
        self,
        *,
        queries: QueryService,
        results: ResultStore,
        uploads: UploadStore,
        resolver: UploadResolver,
        principal_of: Callable[[Job], Principal],
    ) -> None:
        self._principal_of = principal_of
        self._queries = queries
        self._results = results
        self._uploads = uploads
        self._resolver = resolver

    def run(self, job: Job, control: JobControl) -> JobOutcome:
        """Run the query of `job`; safe to run again from the start.

        Raises
        ------
        BadParameterError
            Raised if QUERY or LANG is missing, or if the asked form is unknown.
        """
        # A form that we do not write is told now, not when the rows are fetched.
        resolve_format(single_value(job, "RESPONSEFORMAT") or single_value(job, "FORMAT"))
        principal = self._principal_of(job)
        values = job.values("UPLOAD")
        parts = (uri.partition(":") for uri in parse_upload(values).values())
        files = {
            name: self._uploads.path(job.job_id, name)
            for scheme, _, name in parts
            if scheme.lower() == "param"
        }
        request = QueryRequest(
            query=_required(job, "QUERY"),
            lang=_required(job, "LANG"),
            maxrec=_maxrec(job),
            uploads=self._resolver.resolve(values, files=files, principal=principal),
            address=client_address_of(job),
        )
        running = self._queries.start(request, principal=principal, cancel=control)
        try:
            result = self._results.write(job.job_id, running)
        finally:
            running.close()
        return JobOutcome(results=(result,))


def single_value(job: Job, name: str) -> str | None:
    """Return the last value of a parameter that may be sent once, `None` without it."""
    values = job.values(name)
    return values[-1] if values else None


def _required(job: Job, name: str) -> str:
    value = single_value(job, name)
    if value is None or not value.strip():
        raise BadParameterError(f"The parameter {name} is missing.")
    return value


def _maxrec(job: Job) -> int | None:
    value = single_value(job, "MAXREC")
    if value is None or not value.strip():
        return None
    try:
        return int(value)
    except ValueError as exc:
        raise BadParameterError(f"MAXREC must be a whole number, not {value!r}.") from exc
