"""Async queries: what TAP adds to the UWS pattern."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path

import pyarrow as pa
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from astrolabe.catalogs.results import StoredResult
from astrolabe.catalogs.tap_jobs import TAP_JOB
from astrolabe.core.errors import BadParameterError
from astrolabe.core.version import SERVER_SOFTWARE
from astrolabe.jobs.model import Job, JobResult
from astrolabe.tables.formats import OutputFormat, resolve_format
from astrolabe_api.common.descriptors import with_services
from astrolabe_api.common.params import Parameters
from astrolabe_api.common.pools import WorkPool
from astrolabe_api.common.ranges import KeptFileResponse, is_unchanged, wanted_range
from astrolabe_api.common.rendering import render_rows, table_headers, wants_gzip
from astrolabe_api.common.requests import is_head
from astrolabe_api.common.state import ApiState, public_base
from astrolabe_api.common.streaming import ByteStream, StreamedResponse

__all__ = ["TapJobs"]

_IN_PARTS = ("csv", "parquet")


class TapJobs:
    """Jobs of kind ``tap``: their results are kept as Parquet and rendered when asked for."""

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
        """Return a result in the format asked now, or else in the job's.

        CSV and Parquet can be had in parts.  They are then written once into a file beside the
        result; a client that wants all of it need not wait for that.
        """
        wanted = given.response_format()
        output = _asked_format(job) if wanted is None else resolve_format(wanted)
        stored = await run_in_threadpool(state.context.results.open, job, result.result_id)
        if output.name in _IN_PARTS:
            return _in_parts(request, state, job, stored, output)
        compress = output.gzip or wants_gzip(request)
        headers = dict(table_headers(output, name=job.job_id, compress=compress))
        headers["Accept-Ranges"] = "none"
        return _streamed(request, state, stored, output, headers)


def _in_parts(
    request: Request, state: ApiState, job: Job, stored: StoredResult, output: OutputFormat
) -> Response:
    name = _kept_name(output)
    etag = f'"{job.job_id}.{name}"'
    part = wanted_range(request, etag=etag)
    # Ranges count the bytes as they are; Parquet is compressed in itself.
    compress = part is None and output.name != "parquet" and wants_gzip(request)
    headers = dict(table_headers(output, name=job.job_id, compress=compress))
    headers["Accept-Ranges"] = "bytes"
    headers["ETag"] = f'{etag[:-1]}.gz"' if compress else etag
    if is_unchanged(request, etag=headers["ETag"]):
        kept = {name: headers[name] for name in ("Cache-Control", "ETag", "Vary")}
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=kept)
    as_file = part is not None or is_head(request.scope) or stored.kept(name) is not None
    if compress or not as_file:
        return _streamed(request, state, stored, output, headers)

    def open_file(raise_if_abandoned: Callable[[], None]) -> Path:
        def chunks() -> Iterator[bytes]:
            for chunk in _rendered(state, stored, output, compress=False):
                raise_if_abandoned()
                yield chunk

        return stored.keep(name, chunks)

    return KeptFileResponse(
        request,
        state.result_pool,
        open_file,
        part=part,
        media_type=output.mime,
        headers=headers,
    )


def _streamed(
    request: Request,
    state: ApiState,
    stored: StoredResult,
    output: OutputFormat,
    headers: dict[str, str],
) -> Response:
    head = is_head(request.scope)
    compress = "Content-Encoding" in headers

    def make() -> tuple[WorkPool, Iterator[bytes]]:
        body = iter(()) if head else _rendered(state, stored, output, compress=compress)
        return state.result_pool, body

    return StreamedResponse(
        ByteStream(state.result_pool, make), media_type=output.mime, headers=headers
    )


def _kept_name(output: OutputFormat) -> str:
    """Return the name of the file of a rendered result: other software may write other bytes."""
    software = sha256(f"{SERVER_SOFTWARE} pyarrow/{pa.__version__}".encode()).hexdigest()[:8]
    return f"rendered-{software}{output.extension}"


def _rendered(
    state: ApiState, stored: StoredResult, output: OutputFormat, *, compress: bool
) -> Iterator[bytes]:
    return render_rows(
        with_services(stored.header, public_base(state.settings)),
        stored.batches(),
        output=output,
        overflow=lambda: stored.overflow,
        compress=compress,
    )


def _asked_format(job: Job) -> OutputFormat:
    pairs = [(parameter.name, parameter.value) for parameter in job.parameters]
    return resolve_format(Parameters(url=pairs).response_format())
