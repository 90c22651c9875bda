"""What a worker does for mosaics: the runner of jobs of kind ``mosaic``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from astrolabe.catalogs.cancel import QueryCancel
from astrolabe.catalogs.job_admission import client_address_of
from astrolabe.catalogs.results import ResultStore
from astrolabe.identity import Principal
from astrolabe.images.mosaics.request import read_mosaic_request
from astrolabe.images.mosaics.service import MosaicService
from astrolabe.jobs.model import Job, JobControl, JobOutcome, JobResult

__all__ = ["MOSAIC_JOB", "MosaicJobRunner"]

MOSAIC_JOB: Final = "mosaic"
"""The kind of job that this module runs."""
_RESULT: Final = "mosaic"
_ESTIMATE_SECONDS: Final = 5.0


class MosaicJobRunner:
    """Runs jobs of mosaics.

    Parameters
    ----------
    mosaics
        Makes them.
    results
        Keeps the files.
    principal_of
        Gives the owner of a job with the rights that he has now.
    """

    def __init__(
        self,
        *,
        mosaics: MosaicService,
        results: ResultStore,
        principal_of: Callable[[Job], Principal],
    ) -> None:
        self._mosaics = mosaics
        self._results = results
        self._principal_of = principal_of

    def estimate(self, job: Job) -> float:
        """Return how long a job will take (s), without making anything.

        Raises
        ------
        AstrolabeError
            Raised as by `run` for a job that cannot be made.
        """
        request = read_mosaic_request(
            [(parameter.name, parameter.value) for parameter in job.parameters],
            authority=self._mosaics.authority,
        )
        plan = self._mosaics.plan(
            request,
            self._principal_of(job),
            cancel=QueryCancel(seconds=_ESTIMATE_SECONDS),
            address=client_address_of(job),
        )
        return plan.seconds

    def run(self, job: Job, control: JobControl) -> JobOutcome:
        """Make what `job` asks for; safe to run again from the start.

        Raises
        ------
        BadParameterError
            Raised if a parameter is missing or does not fit.
        NoOverlapError
            Raised if there is no image of the region.
        NotFoundError, UnauthenticatedError, ForbiddenError
            Raised if an image is not there for the job's owner.
        TooLargeError
            Raised if it is more than one mosaic may be.
        """
        request = read_mosaic_request(
            [(parameter.name, parameter.value) for parameter in job.parameters],
            authority=self._mosaics.authority,
        )
        principal = self._principal_of(job)
        address = client_address_of(job)
        plan = self._mosaics.plan(request, principal, cancel=control, address=address)
        estimate = plan.estimate()
        control.report(**estimate)
        name = "mosaic.fits"
        with self._results.writing(job.job_id, name) as path:
            try:
                used = self._mosaics.make(
                    request,
                    plan,
                    path,
                    principal=principal,
                    cancel=control,
                    address=address,
                    progress=lambda done, total: control.report(blocks_done=done, blocks=total),
                )
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            size = path.stat().st_size
        control.report(images_used=used)
        return JobOutcome(
            results=(
                JobResult(
                    result_id=_RESULT,
                    path=name,
                    mime_type="application/fits",
                    size_bytes=size,
                    metadata={"filename": f"mosaic.{job.job_id}.fits"},
                ),
            )
        )
