"""Jobs whose results are files, sent as they are or in parts."""

from __future__ import annotations

from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from astrolabe.jobs.model import Job, JobResult
from astrolabe_api.common.params import Parameters
from astrolabe_api.common.ranges import KeptFileResponse, is_unchanged, wanted_range
from astrolabe_api.common.state import ApiState

__all__ = ["FileJobs"]


class FileJobs:
    """What a service says of its kind of job if each result is a file; a `UwsKind`.

    Parameters
    ----------
    kind
        The kind, as its runner knows it.
    path
        Path of the list of jobs.
    """

    def __init__(self, kind: str, path: str) -> None:
        self.kind = kind
        self.path = path

    def result_mime(self, job: Job, result: JobResult) -> str:  # noqa: ARG002 - as `UwsKind` has it
        """Return the media type of a result."""
        return result.mime_type

    async def result_response(
        self,
        request: Request,
        state: ApiState,
        job: Job,
        result: JobResult,
        given: Parameters,  # noqa: ARG002 - as `UwsKind` has it
    ) -> Response:
        """Return a result's file, or the part of it that is asked for."""
        etag = f'"{job.job_id}.{result.result_id}"'
        # A job's results never change, but they are the caller's own.
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        if is_unchanged(request, etag=etag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        path = await run_in_threadpool(state.context.results.file, job, result.result_id)
        headers["Accept-Ranges"] = "bytes"
        shown = "inline" if result.mime_type.startswith(("image/", "text/")) else "attachment"
        name = str(result.metadata.get("filename", path.name))
        headers["Content-Disposition"] = f'{shown}; filename="{name}"'
        return KeptFileResponse(
            request,
            state.result_pool,
            lambda _raise_if_abandoned: path,
            part=wanted_range(request, etag=etag),
            media_type=result.mime_type,
            headers=headers,
        )
