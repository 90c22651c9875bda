"""Mosaics as jobs: what they add to the UWS pattern."""

from __future__ import annotations

from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from astrolabe.images.mosaics.runner import MOSAIC_JOB
from astrolabe.jobs.model import Job, JobResult
from astrolabe_api.common.params import Parameters
from astrolabe_api.common.ranges import KeptFileResponse, is_unchanged, wanted_range
from astrolabe_api.common.state import ApiState

__all__ = ["MOSAIC_PATH", "MosaicJobs"]

MOSAIC_PATH = "/api/mosaic"


class MosaicJobs:
    """Jobs of kind ``mosaic``: the result is a FITS file, sent as it is or in parts."""

    kind = MOSAIC_JOB
    path = MOSAIC_PATH

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
        """Return the file, or the part of it that is asked for."""
        etag = f'"{job.job_id}.{result.result_id}"'
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        if is_unchanged(request, etag=etag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        path = await run_in_threadpool(state.context.results.file, job, result.result_id)
        headers["Accept-Ranges"] = "bytes"
        name = str(result.metadata.get("filename", path.name))
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return KeptFileResponse(
            request,
            state.result_pool,
            lambda _raise_if_abandoned: path,
            part=wanted_range(request, etag=etag),
            media_type=result.mime_type,
            headers=headers,
        )
