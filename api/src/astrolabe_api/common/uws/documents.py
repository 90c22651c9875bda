"""The XML documents of UWS 1.1.

The prefix ``uws:`` is part of the contract: one client's parser compares the raw tag names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime

from astrolabe.core.clock import format_utc
from astrolabe.jobs.model import Job, JobResult, JobSummary
from astrolabe_api.common.xml import XML_DECLARATION, attribute, text

__all__ = [
    "format_time",
    "job_document",
    "job_list_document",
    "parameters_document",
    "results_document",
]

_NAMESPACES = (
    'xmlns:uws="http://www.ivoa.net/xml/UWS/v1.0" '
    'xmlns:xlink="http://www.w3.org/1999/xlink" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)
_JOB_INFO_NAMESPACE = "urn:astrolabe:job-info"

MimeOf = Callable[[Job, JobResult], str]


def format_time(when: datetime | None) -> str:
    """Return a time as the documents and the plain-text children write it; empty for none."""
    return "" if when is None else format_utc(when)


def job_document(job: Job, *, address: str, mime_of: MimeOf) -> str:
    """Return the document of one job.

    Parameters
    ----------
    address
        Absolute address of the job.
    mime_of
        Gives the media type in which a result will be sent.
    """
    run_id = "" if job.run_id is None else f"<uws:runId>{text(job.run_id)}</uws:runId>\n"
    return (
        f'{XML_DECLARATION}<uws:job version="1.1" {_NAMESPACES}>\n'
        f"<uws:jobId>{text(job.job_id)}</uws:jobId>\n"
        f"{run_id}"
        f"{_nillable('ownerId', job.owner or '')}"
        f"<uws:phase>{job.phase.value}</uws:phase>\n"
        f"{_nillable('quote', format_time(job.quote))}"
        f"<uws:creationTime>{format_time(job.created)}</uws:creationTime>\n"
        f"{_nillable('startTime', format_time(job.started))}"
        f"{_nillable('endTime', format_time(job.ended))}"
        f"<uws:executionDuration>{job.execution_seconds}</uws:executionDuration>\n"
        f"<uws:destruction>{format_time(job.destruction)}</uws:destruction>\n"
        f"{_parameters(job)}"
        f"{_results(job, address, mime_of)}"
        f"{_error_summary(job)}"
        f"{_job_info(job)}"
        "</uws:job>\n"
    )


def job_list_document(jobs: Iterable[JobSummary], *, address: str) -> str:
    """Return the list of jobs; `address` is that of the list itself."""
    references = "".join(_job_reference(job, address) for job in jobs)
    return f'{XML_DECLARATION}<uws:jobs version="1.1" {_NAMESPACES}>\n{references}</uws:jobs>\n'


def parameters_document(job: Job) -> str:
    """Return the child ``parameters``."""
    return XML_DECLARATION + _parameters(job, namespaces=f" {_NAMESPACES}")


def results_document(job: Job, *, address: str, mime_of: MimeOf) -> str:
    """Return the child ``results``."""
    return XML_DECLARATION + _results(job, address, mime_of, namespaces=f" {_NAMESPACES}")


def _job_reference(job: JobSummary, address: str) -> str:
    run_id = "" if job.run_id is None else f"<uws:runId>{text(job.run_id)}</uws:runId>"
    return (
        f"<uws:jobref id={attribute(job.job_id)} "
        f"xlink:href={attribute(f'{address}/{job.job_id}')}>"
        f"<uws:phase>{job.phase.value}</uws:phase>{run_id}"
        f"{_nillable('ownerId', job.owner or '', end='')}"
        f"<uws:creationTime>{format_time(job.created)}</uws:creationTime></uws:jobref>\n"
    )


def _nillable(name: str, value: str, *, end: str = "\n") -> str:
    if not value:
        return f'<uws:{name} xsi:nil="true"/>{end}'
    return f"<uws:{name}>{text(value)}</uws:{name}>{end}"


def _parameters(job: Job, *, namespaces: str = "") -> str:
    inside = "".join(
        f"<uws:parameter id={attribute(parameter.name)}>{text(parameter.value)}</uws:parameter>\n"
        for parameter in job.parameters
    )
    return f"<uws:parameters{namespaces}>\n{inside}</uws:parameters>\n"


def _results(job: Job, address: str, mime_of: MimeOf, *, namespaces: str = "") -> str:
    inside = "".join(_result(job, result, address, mime_of) for result in job.results)
    return f"<uws:results{namespaces}>\n{inside}</uws:results>\n"


def _result(job: Job, result: JobResult, address: str, mime_of: MimeOf) -> str:
    size = "" if result.size_bytes is None else f' size="{result.size_bytes}"'
    return (
        f"<uws:result id={attribute(result.result_id)} "
        f"xlink:href={attribute(f'{address}/results/{result.result_id}')} "
        f"mime-type={attribute(mime_of(job, result))}{size}/>\n"
    )


def _error_summary(job: Job) -> str:
    if job.error is None:
        return ""
    kind = "transient" if job.error.transient else "fatal"
    return (
        f'<uws:errorSummary type="{kind}" hasDetail="true">'
        f"<uws:message>{text(job.error.message)}</uws:message></uws:errorSummary>\n"
    )


def _job_info(job: Job) -> str:
    shown = dict(job.progress)
    if job.queue_position is not None:
        shown["queue_position"] = job.queue_position
    if not shown:
        return ""
    items = "".join(
        f"<progress name={attribute(name)}>{text(_shown(value))}</progress>\n"
        for name, value in sorted(shown.items())
    )
    # No element in here may have a name of UWS's own: STILTS looks at names, not at namespaces, and
    # takes a second `job` for the beginning of another one.
    return (
        f'<uws:jobInfo>\n<details xmlns="{_JOB_INFO_NAMESPACE}">\n{items}</details>\n'
        "</uws:jobInfo>\n"
    )


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
