"""Async queries: what TAP adds to the UWS pattern."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.requests import Request
from starlette.responses import Response

from astrolabe.catalogs.results import StoredResult
from astrolabe.catalogs.tap_jobs import TAP_JOB
from astrolabe.core.errors import BadParameterError
from astrolabe.jobs.model import Job, JobResult
from astrolabe.tables.formats import OutputFormat, resolve_format
from astrolabe_api.common.params import Parameters
from astrolabe_api.common.pools import WorkPool
from astrolabe_api.common.rendering import render_rows, table_headers, wants_gzip
from astrolabe_api.common.requests import is_head
from astrolabe_api.common.state import ApiState
from astrolabe_api.common.streaming import ByteStream, StreamedResponse

__all__ = ["TapJobs"]


class TapJobs:
    """Jobs of kind ``tap``: their results are kept as Parquet and rendered at each GET."""

    kind = TAP_JOB
    path = "/api/tap/async"

    def result_mime(self, job: Job, result: JobResult) -> str:
        """Return the media type of the format that the job's parameters ask for."""
        try:
            return _asked_format(job).mime
        except BadParameterError:
            return result.mime_type

    async def result_response(
        self, request: Request, state: ApiState, job: Job, result: JobResult, given: Parameters
    ) -> Response:
        """Return a result in the format asked now, or else in the job's."""
        wanted = given.response_format()
        output = _asked_format(job) if wanted is None else resolve_format(wanted)
        compress = output.gzip or wants_gzip(request)
        head = is_head(request.scope)

        def make() -> tuple[WorkPool, Iterator[bytes]]:
            stored = state.context.results.open(job, result.result_id)
            return state.result_pool, iter(()) if head else _rendered(stored, output, compress)

        return StreamedResponse(
            ByteStream(state.result_pool, make),
            media_type=output.mime,
            headers=dict(table_headers(output, name=job.job_id, compress=compress)),
        )


def _rendered(stored: StoredResult, output: OutputFormat, compress: bool) -> Iterator[bytes]:  # noqa: FBT001 - private
    return render_rows(
        stored.header,
        stored.batches(),
        output=output,
        overflow=lambda: stored.overflow,
        compress=compress,
    )


def _asked_format(job: Job) -> OutputFormat:
    pairs = [(parameter.name, parameter.value) for parameter in job.parameters]
    return resolve_format(Parameters(url=pairs).response_format())
