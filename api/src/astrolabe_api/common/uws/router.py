"""The addresses of UWS 1.1, section 2.2, built once for every kind of job."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any, Protocol

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from astrolabe.catalogs.job_admission import lane_of
from astrolabe.core.errors import BadParameterError, NotFoundError, status_of
from astrolabe.core.ids import new_job_id
from astrolabe.identity import Principal
from astrolabe.jobs.model import Job, JobParameter, JobResult, Phase
from astrolabe.jobs.service import JobService
from astrolabe_api.common.auth import Caller
from astrolabe_api.common.errors import Failure, failure_response
from astrolabe_api.common.params import Parameters, read_parameters
from astrolabe_api.common.requests import notes_of
from astrolabe_api.common.state import ApiState, State
from astrolabe_api.common.uws.documents import (
    format_time,
    job_document,
    job_list_document,
    parameters_document,
    results_document,
)
from astrolabe_api.common.uws.requests import (
    job_parameters,
    read_phases,
    read_time,
    wait_seconds,
)

__all__ = ["UwsKind", "uws_router"]

_XML = "application/xml"
_TEXT = "text/plain; charset=utf-8"
_NO_STORE = {"Cache-Control": "no-store"}


class UwsKind(Protocol):
    """What a service says of its kind of job."""

    @property
    def kind(self) -> str:
        """The kind as the runners know it (``tap``)."""

    @property
    def path(self) -> str:
        """Path of the job list (``/api/tap/async``)."""

    def result_mime(self, job: Job, result: JobResult) -> str:
        """Return the media type in which a result will be sent."""

    async def result_response(
        self, request: Request, state: ApiState, job: Job, result: JobResult, given: Parameters
    ) -> Response:
        """Return a result's content."""


def uws_router(kind: UwsKind, *, access: Any) -> APIRouter:  # noqa: ANN401 - a FastAPI dependency
    """Return the router of all jobs of one kind.

    Parameters
    ----------
    kind
        The kind of job, its path and how its results are sent.
    access
        Who may come, as `astrolabe_api.common.auth.requires` says it.
    """
    router = APIRouter(prefix=kind.path, tags=[f"{kind.kind}: async jobs"], dependencies=[access])
    handlers = _Handlers(kind)
    for path, method, handler, summary in (
        ("", "GET", handlers.list_jobs, "List the caller's jobs"),
        ("", "POST", handlers.create_job, "Create a job"),
        ("/{job_id}", "GET", handlers.get_job, "Describe a job; WAIT blocks until it changes"),
        ("/{job_id}", "POST", handlers.post_job, "Set parameters, or destroy with ACTION=DELETE"),
        ("/{job_id}", "DELETE", handlers.delete_job, "Destroy a job"),
        ("/{job_id}/phase", "GET", handlers.get_phase, "The job's phase"),
        ("/{job_id}/phase", "POST", handlers.post_phase, "Run or abort a job"),
        ("/{job_id}/quote", "GET", handlers.get_quote, "When the job is expected to end"),
        ("/{job_id}/owner", "GET", handlers.get_owner, "Whose job it is"),
        ("/{job_id}/error", "GET", handlers.get_error, "Why the job failed"),
        ("/{job_id}/parameters", "GET", handlers.get_parameters, "The job's parameters"),
        ("/{job_id}/parameters", "POST", handlers.post_parameters, "Set parameters"),
        ("/{job_id}/results", "GET", handlers.get_results, "The list of the job's results"),
        ("/{job_id}/results/{result_id}", "GET", handlers.get_result, "One result"),
        ("/{job_id}/executionduration", "GET", handlers.get_duration, "Time limit (s)"),
        ("/{job_id}/executionduration", "POST", handlers.post_duration, "Change the time limit"),
        ("/{job_id}/destruction", "GET", handlers.get_destruction, "When the job is destroyed"),
        ("/{job_id}/destruction", "POST", handlers.post_destruction, "Change the destruction time"),
    ):
        router.add_api_route(
            path,
            handler,
            methods=[method],
            summary=summary,
            response_class=Response,
            name=f"{kind.kind}_{handler.__name__}",
        )
    return router


class _Handlers:
    """The handlers of one kind of job: parse, one call, shape the answer."""

    def __init__(self, kind: UwsKind) -> None:
        self._kind = kind

    async def list_jobs(self, request: Request, state: State, caller: Caller) -> Response:
        given = await read_parameters(request, limits=state.form_limits)
        jobs = await run_in_threadpool(
            state.context.jobs.list,
            principal_name=caller.username,
            kind=self._kind.kind,
            phases=read_phases(given),
            after=read_time(given, "AFTER"),
            last=given.integer("LAST"),
        )
        return _xml(job_list_document(jobs, address=state.url(self._kind.path)))

    async def create_job(self, request: Request, state: State, caller: Caller) -> Response:
        job_id = new_job_id()
        try:
            given = await self._read_with_files(request, state, job_id)
            lane = lane_of(caller, notes_of(request).address)
            job = await run_in_threadpool(
                self._create, state.context.jobs, job_id, given, caller, lane
            )
        except BaseException:
            await run_in_threadpool(state.uploads.delete, job_id)
            raise
        return self._to_job(state, job.job_id)

    def _create(
        self,
        jobs: JobService,
        job_id: str,
        given: Parameters,
        caller: Principal,
        lane: str | None,
    ) -> Job:
        run = _wants_to_run(given)
        destruction = read_time(given, "DESTRUCTION")
        job = jobs.create(
            self._kind.kind,
            job_parameters(given),
            owner=caller.username,
            run_id=given.single("RUNID"),
            execution_seconds=given.integer("EXECUTIONDURATION"),
            run=run and destruction is None,
            job_id=job_id,
            lane=lane,
        )
        if destruction is None:
            return job
        kind, name = self._kind.kind, caller.username
        job = jobs.set_destruction(job_id, destruction, kind=kind, principal_name=name)
        return jobs.start(job_id, kind=kind, principal_name=name) if run else job

    async def get_job(
        self, request: Request, job_id: str, state: State, caller: Caller
    ) -> Response:
        job, _ = await self._wait_for(request, job_id, state, caller)
        if job.phase is Phase.QUEUED:
            job = await run_in_threadpool(state.context.jobs.placed, job)
        job = await run_in_threadpool(state.context.job_quotes.quoted, job)
        return _xml(
            job_document(job, address=self._address(state, job_id), mime_of=self._kind.result_mime)
        )

    async def post_job(
        self, request: Request, job_id: str, state: State, caller: Caller
    ) -> Response:
        given = await self._read_with_files(request, state, job_id, caller=caller)
        action = given.single("ACTION")
        if action is not None:
            if action.strip().upper() != "DELETE":
                raise BadParameterError(f"ACTION must be DELETE, not {action[:100]!r}.")
            return await self.delete_job(job_id, state, caller)
        await self._set(state, job_id, given, caller)
        return self._to_job(state, job_id)

    async def delete_job(self, job_id: str, state: State, caller: Caller) -> Response:
        await self._call(state.context.jobs.delete, job_id, caller)
        return _see_other(state.url(self._kind.path))

    async def get_phase(
        self, request: Request, job_id: str, state: State, caller: Caller
    ) -> Response:
        job, _ = await self._wait_for(request, job_id, state, caller)
        return _text(job.phase.value)

    async def post_phase(
        self, request: Request, job_id: str, state: State, caller: Caller
    ) -> Response:
        given = await read_parameters(request, limits=state.form_limits)
        wanted = (given.single("PHASE") or "").strip().upper()
        jobs = state.context.jobs
        actions = {"RUN": jobs.start, "ABORT": jobs.abort}
        if wanted not in actions:
            raise BadParameterError(f"PHASE must be RUN or ABORT, not {wanted[:100]!r}.")
        await self._call(actions[wanted], job_id, caller)
        return self._to_job(state, job_id)

    async def get_quote(self, job_id: str, state: State, caller: Caller) -> Response:
        job = await self._job(state, job_id, caller)
        quoted = await run_in_threadpool(state.context.job_quotes.quoted, job)
        return _text(format_time(quoted.quote))

    async def get_owner(self, job_id: str, state: State, caller: Caller) -> Response:
        return _text((await self._job(state, job_id, caller)).owner or "")

    async def get_duration(self, job_id: str, state: State, caller: Caller) -> Response:
        return _text(str((await self._job(state, job_id, caller)).execution_seconds))

    async def get_destruction(self, job_id: str, state: State, caller: Caller) -> Response:
        return _text(format_time((await self._job(state, job_id, caller)).destruction))

    async def get_parameters(self, job_id: str, state: State, caller: Caller) -> Response:
        return _xml(parameters_document(await self._job(state, job_id, caller)))

    async def get_results(self, job_id: str, state: State, caller: Caller) -> Response:
        job = await self._job(state, job_id, caller)
        address = self._address(state, job_id)
        return _xml(results_document(job, address=address, mime_of=self._kind.result_mime))

    async def get_error(
        self, request: Request, job_id: str, state: State, caller: Caller
    ) -> Response:
        job = await self._job(state, job_id, caller)
        if job.error is None:
            raise NotFoundError(f"Job {job_id} has no error; it is {job.phase}.")
        return _job_failure(request, job, HTTPStatus.OK)

    async def get_result(
        self, request: Request, job_id: str, result_id: str, state: State, caller: Caller
    ) -> Response:
        job, given = await self._wait_for(request, job_id, state, caller)
        if job.error is not None:
            # TapPlus fetches the result before it asks for the error.
            return _job_failure(request, job, HTTPStatus.BAD_REQUEST)
        result = next((r for r in job.results if r.result_id == result_id), None)
        if job.phase is not Phase.COMPLETED or result is None:
            raise NotFoundError(
                f"Job {job_id} is {job.phase} and has no result called {result_id[:100]!r}."
            )
        return await self._kind.result_response(request, state, job, result, given)

    async def post_parameters(
        self, request: Request, job_id: str, state: State, caller: Caller
    ) -> Response:
        given = await self._read_with_files(request, state, job_id, caller=caller)
        await self._set(state, job_id, given, caller)
        return self._to_job(state, job_id)

    async def post_duration(
        self, request: Request, job_id: str, state: State, caller: Caller
    ) -> Response:
        given = await read_parameters(request, limits=state.form_limits)
        seconds = given.integer("EXECUTIONDURATION")
        if seconds is None:
            raise BadParameterError("EXECUTIONDURATION is missing: give whole seconds.")
        jobs = state.context.jobs
        await self._call(jobs.set_execution_seconds, job_id, caller, seconds)
        return self._to_job(state, job_id)

    async def post_destruction(
        self, request: Request, job_id: str, state: State, caller: Caller
    ) -> Response:
        given = await read_parameters(request, limits=state.form_limits)
        when = read_time(given, "DESTRUCTION")
        if when is None:
            raise BadParameterError(
                "DESTRUCTION is missing: give a time such as 2026-12-31T23:59:59Z."
            )
        await self._call(state.context.jobs.set_destruction, job_id, caller, when)
        return self._to_job(state, job_id)

    def _address(self, state: ApiState, job_id: str) -> str:
        return state.url(f"{self._kind.path}/{job_id}")

    def _to_job(self, state: ApiState, job_id: str) -> Response:
        return _see_other(self._address(state, job_id))

    async def _job(self, state: ApiState, job_id: str, caller: Principal) -> Job:
        return await run_in_threadpool(
            state.context.jobs.get,
            job_id,
            kind=self._kind.kind,
            principal_name=caller.username,
        )

    async def _call(
        self, action: Callable[..., Any], job_id: str, caller: Principal, *values: object
    ) -> None:
        await run_in_threadpool(
            partial(action, job_id, *values, kind=self._kind.kind, principal_name=caller.username)
        )

    async def _set(
        self, state: ApiState, job_id: str, given: Parameters, caller: Principal
    ) -> None:
        """Set a job's parameters and whatever of its control was sent with them."""
        jobs = state.context.jobs
        sent = [*job_parameters(given)]
        run_id = given.single("RUNID")
        if run_id is not None:
            sent.append(JobParameter("RUNID", run_id))
        if sent:
            await self._call(jobs.set_parameters, job_id, caller, sent)
        seconds = given.integer("EXECUTIONDURATION")
        if seconds is not None:
            await self._call(jobs.set_execution_seconds, job_id, caller, seconds)
        when = read_time(given, "DESTRUCTION")
        if when is not None:
            await self._call(jobs.set_destruction, job_id, caller, when)
        if _wants_to_run(given):
            await self._call(jobs.start, job_id, caller)

    async def _wait_for(
        self, request: Request, job_id: str, state: ApiState, caller: Principal
    ) -> tuple[Job, Parameters]:
        given = await read_parameters(request, limits=state.form_limits)
        phases = read_phases(given)
        if len(phases) > 1:
            raise BadParameterError("Give one PHASE beside WAIT.")
        job = await state.context.jobs.wait_async(
            job_id,
            wait_seconds(given, limit=state.settings.tap.wait_seconds),
            phase=phases[0] if phases else None,
            kind=self._kind.kind,
            principal_name=caller.username,
        )
        return job, given

    async def _read_with_files(
        self,
        request: Request,
        state: ApiState,
        job_id: str,
        *,
        caller: Principal | None = None,
    ) -> Parameters:
        """Read parameters whose files are to belong to the job `job_id`.

        With a `caller` the job must exist, be his and be PENDING before anything is written.
        """
        if caller is not None:
            job = await self._job(state, job_id, caller)
            is_pending = job.phase is Phase.PENDING
        else:
            is_pending = True
        new_file = partial(state.uploads.prepare, job_id) if is_pending else None
        return await read_parameters(request, limits=state.form_limits, new_file=new_file)


def _wants_to_run(given: Parameters) -> bool:
    phase = given.single("PHASE")
    if phase is None:
        return False
    if phase.strip().upper() != "RUN":
        raise BadParameterError(f"PHASE can only be RUN here, not {phase[:100]!r}.")
    return True


def _job_failure(request: Request, job: Job, status: HTTPStatus) -> Response:
    """Return a failed job's error in the form of the service."""
    if job.error is None:
        raise NotFoundError(f"Job {job.job_id} has no error.")
    return failure_response(
        request,
        Failure(
            code=job.error.code,
            title="The job failed",
            status=status,
            detail=job.error.message,
            meaning=status_of(job.error.code),
        ),
    )


def _xml(document: str) -> Response:
    return Response(document.encode(), media_type=_XML, headers=_NO_STORE)


def _text(value: str) -> Response:
    return Response(value.encode(), media_type=_TEXT, headers=_NO_STORE)


def _see_other(address: str) -> Response:
    headers = {"Location": address, **_NO_STORE}
    return Response(status_code=HTTPStatus.SEE_OTHER, headers=headers)
