"""What a worker does for cutouts: the runner of jobs of kind ``soda``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from astrolabe.catalogs.job_admission import client_address_of
from astrolabe.catalogs.results import ResultStore
from astrolabe.catalogs.uploads import UploadResolver, UploadStore, parse_upload
from astrolabe.core.errors import AstrolabeError, NoOverlapError
from astrolabe.identity import Principal
from astrolabe.images.cutouts import Stencil
from astrolabe.images.model import ImageKey
from astrolabe.images.soda.cutting import Cutting
from astrolabe.images.soda.request import SodaRequest, read_soda_request
from astrolabe.images.soda.service import Found, SodaService
from astrolabe.jobs.model import Job, JobControl, JobOutcome, JobResult

__all__ = ["BUNDLE_RESULT", "SODA_JOB", "SodaJobRunner"]

SODA_JOB: Final = "soda"
"""The kind of job that this module runs."""

BUNDLE_RESULT: Final = "cutouts"
"""The one result of a job whose form holds many cutouts."""

_TEXT_MIME: Final = "text/plain; charset=utf-8"


class SodaJobRunner:
    """Runs jobs of cutouts.

    Parameters
    ----------
    soda
        Cuts.
    results
        Keeps the files.
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
        soda: SodaService,
        results: ResultStore,
        uploads: UploadStore,
        resolver: UploadResolver,
        principal_of: Callable[[Job], Principal],
    ) -> None:
        self._soda = soda
        self._results = results
        self._uploads = uploads
        self._resolver = resolver
        self._principal_of = principal_of

    def run(self, job: Job, control: JobControl) -> JobOutcome:
        """Cut what `job` asks for; safe to run again from the start.

        Raises
        ------
        BadParameterError
            Raised if a parameter is missing or does not fit.
        NotFoundError, UnauthenticatedError, ForbiddenError
            Raised if an image is not there for the job's owner.
        TooLargeError
            Raised if it is more than one job may cut.
        """
        request = read_soda_request(
            [(parameter.name, parameter.value) for parameter in job.parameters],
            authority=self._soda.authority,
        )
        cutting = self._soda.job_cutting(
            self._principal_of(job), address=client_address_of(job), cancel=control
        )
        if request.uploads:
            return JobOutcome(results=(self._stamps(job, control, request, cutting),))
        self._soda.require_few(request)
        found = self._soda.find(request, cutting.principal)
        if request.output.kind.is_bundle:
            return JobOutcome(results=(self._bundle(job, request, found, cutting),))
        return JobOutcome(results=self._cutouts(job, control, request, found, cutting))

    def _cutouts(
        self,
        job: Job,
        control: JobControl,
        request: SodaRequest,
        found: Found,
        cutting: Cutting,
    ) -> tuple[JobResult, ...]:
        """Write each combination into a result of its own (SODA 1.0, section 6)."""
        results, troubles = [], []
        for number, key, stencil in self._soda.combinations(request):
            control.report(cutouts_made=number - 1, cutouts_asked=request.count)
            result_id = f"cutout-{number}"
            try:
                made = self._cutout(job, result_id, request, key, stencil, found, cutting)
            except AstrolabeError as exc:
                if not self._soda.concerns_one(exc):
                    raise
                troubles.append(exc)
                made = self._text(job, result_id, request, key, stencil, exc)
            results.append(made)
        serious = [exc for exc in troubles if not isinstance(exc, NoOverlapError)]
        if serious and len(troubles) == len(results):
            # Nothing was made, and it was not the regions' fault.
            raise serious[0]
        control.report(cutouts_made=len(results), cutouts_asked=request.count)
        return tuple(results)

    def _cutout(
        self,
        job: Job,
        result_id: str,
        request: SodaRequest,
        key: ImageKey | None,
        stencil: Stencil,
        found: Found,
        cutting: Cutting,
    ) -> JobResult:
        name = f"{result_id}{request.output.extension}"
        with (
            self._results.writing(job.job_id, name) as path,
            path.open("wb") as file,
        ):
            for chunk in self._soda.cutout(request, key, stencil, found, cutting):
                file.write(chunk)
            size = file.tell()
        first = key or (request.rgb or request.keys)[0]
        filename = f"{first.collection}.{first.image_id}.{name}"
        return JobResult(
            result_id=result_id,
            path=name,
            mime_type=request.output.mime,
            size_bytes=size,
            metadata={"filename": filename},
        )

    def _text(
        self,
        job: Job,
        result_id: str,
        request: SodaRequest,
        key: ImageKey | None,
        stencil: Stencil,
        error: AstrolabeError,
    ) -> JobResult:
        """Write why there is no cutout; the text begins with a label of the standard."""
        label = "Error" if error.status >= 500 else "UsageError"
        images = [key] if key is not None else list(request.rgb or ())
        dids = ",".join(image.did(self._soda.authority) for image in images)
        text = f"{label}: {error.message}\nID={dids}\n{stencil.label}".rstrip() + "\n"
        name = f"{result_id}.txt"
        content = text.encode()
        with self._results.writing(job.job_id, name) as path:
            path.write_bytes(content)
        return JobResult(
            result_id=result_id, path=name, mime_type=_TEXT_MIME, size_bytes=len(content)
        )

    def _bundle(self, job: Job, request: SodaRequest, found: Found, cutting: Cutting) -> JobResult:
        name = f"{BUNDLE_RESULT}{request.output.extension}"
        with self._results.writing(job.job_id, name) as path:
            self._soda.bundle(request, found, cutting, path)
            size = path.stat().st_size
        return self._bundle_result(job, request, name, size)

    def _stamps(
        self, job: Job, control: JobControl, request: SodaRequest, cutting: Cutting
    ) -> JobResult:
        tables = self._resolver.resolve(
            request.uploads, files=self._files(job, request), principal=cutting.principal
        )
        name = f"{BUNDLE_RESULT}{request.output.extension}"
        with self._results.writing(job.job_id, name) as path:
            self._soda.stamps(
                request,
                tables,
                cutting,
                path,
                progress=lambda done: control.report(
                    cutouts_made=done.stamps, cutouts_failed=done.failed, images_read=done.images
                ),
            )
            size = path.stat().st_size
        return self._bundle_result(job, request, name, size)

    def _files(self, job: Job, request: SodaRequest) -> dict[str, Path]:
        parts = (uri.partition(":") for uri in parse_upload(request.uploads).values())
        return {
            part: self._uploads.path(job.job_id, part)
            for scheme, _, part in parts
            if scheme.lower() == "param"
        }

    @staticmethod
    def _bundle_result(job: Job, request: SodaRequest, name: str, size: int) -> JobResult:
        return JobResult(
            result_id=BUNDLE_RESULT,
            path=name,
            mime_type=request.output.mime,
            size_bytes=size,
            metadata={"filename": f"cutouts.{job.job_id}{request.output.extension}"},
        )
