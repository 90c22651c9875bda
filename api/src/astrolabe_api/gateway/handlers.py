"""The gateway's own addresses."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from astrolabe.core.errors import BadParameterError
from astrolabe.identity import Principal
from astrolabe.jobs.model import Phase
from astrolabe_api.common.auth import Caller, open_to_all, public, requires
from astrolabe_api.common.metrics import METRICS_MIME, render_metrics
from astrolabe_api.common.state import ApiState, State, public_base
from astrolabe_api.gateway.discovery import DISCOVERY_PATH, Discovery, discovery_document
from astrolabe_api.gateway.forward import forward_router
from astrolabe_api.gateway.gms import gms_router
from astrolabe_api.gateway.groups_api import groups_router
from astrolabe_api.gateway.health import Health, HealthChecks
from astrolabe_api.gateway.jobs import JobList, job_list
from astrolabe_api.gateway.login import login_router
from astrolabe_api.gateway.me import me_router
from astrolabe_api.gateway.openid import openid_router
from astrolabe_api.gateway.openid_login import openid_login_router
from astrolabe_api.gateway.pages import api_page, landing_page
from astrolabe_api.gateway.pages_account import account_pages_router
from astrolabe_api.gateway.pages_admin import admin_pages_router
from astrolabe_api.gateway.pages_groups import group_pages_router
from astrolabe_api.gateway.tokens_api import tokens_router

__all__ = ["gateway_routers"]

_OPENAPI_METHODS = ("get", "post", "put", "delete")


def gateway_routers() -> tuple[APIRouter, ...]:
    """Return the gateway's routers, the first with a memory of its own for health checks."""
    gateway = _Gateway()
    router = APIRouter(tags=["gateway"])
    router.add_api_route(
        "/health",
        gateway.health,
        methods=["GET"],
        response_model=Health,
        responses={HTTPStatus.SERVICE_UNAVAILABLE.value: {"model": Health}},
        dependencies=[open_to_all()],
        summary="State of the platform's parts: 200 when every table answers",
    )
    router.add_api_route(
        DISCOVERY_PATH,
        gateway.discovery,
        methods=["GET"],
        response_model=Discovery,
        dependencies=[public()],
        summary="Every service and data set",
    )
    router.add_api_route(
        "/api/jobs",
        gateway.jobs,
        methods=["GET"],
        response_model=JobList,
        dependencies=[requires("read:tap", service="tap")],
        summary="All jobs of the caller, the newest first",
    )
    for path, handler, access, summary in (
        ("/metrics", gateway.metrics, open_to_all(), "Prometheus metrics"),
        ("/", gateway.landing, public(), "Front page"),
        ("/api/docs", gateway.api_docs, open_to_all(), "This list"),
    ):
        router.add_api_route(
            path,
            handler,
            methods=["GET"],
            summary=summary,
            response_class=Response,
            dependencies=[access],
        )
    return (
        router,
        login_router(),
        openid_login_router(),
        openid_router(),
        tokens_router(),
        groups_router(),
        gms_router(),
        forward_router(),
        me_router(),
        account_pages_router(),
        group_pages_router(),
        admin_pages_router(),
    )


class _Gateway:
    """The handlers."""

    def __init__(self) -> None:
        self._checks: HealthChecks | None = None

    async def health(self, state: State) -> Response:
        if self._checks is None:
            self._checks = HealthChecks(state.context)
        health = await run_in_threadpool(self._checks.look)
        status = HTTPStatus.OK if health.ready else HTTPStatus.SERVICE_UNAVAILABLE
        return JSONResponse(
            health.model_dump(mode="json"),
            status_code=status,
            headers={"Cache-Control": "no-store"},
        )

    async def metrics(self) -> Response:
        return Response(render_metrics(), headers={"Content-Type": METRICS_MIME})

    async def discovery(self, state: State, caller: Caller) -> Response:
        document = await run_in_threadpool(_discovery, state, caller)
        return JSONResponse(
            document.model_dump(mode="json", by_alias=True), headers={"Cache-Control": "no-cache"}
        )

    async def landing(self, state: State, caller: Caller) -> Response:
        document = await run_in_threadpool(_discovery, state, caller)
        return landing_page(document, user=caller.username)

    async def jobs(
        self,
        state: State,
        caller: Caller,
        limit: Annotated[int, Query(ge=1, le=1000, description="Most jobs on a page.")] = 100,
        cursor: Annotated[str | None, Query(description="next_cursor of the page before.")] = None,
        kind: Annotated[str | None, Query(description="Only this kind of job.")] = None,
        phase: Annotated[list[str] | None, Query(description="Only these phases.")] = None,
    ) -> JobList:
        page = await run_in_threadpool(
            state.context.jobs.page,
            principal_name=caller.username,
            limit=limit,
            cursor=cursor,
            kind=kind,
            phases=_phases(phase or []),
        )
        return job_list(page, base=public_base(state.settings))

    async def api_docs(self, request: Request, state: State) -> Response:
        document: dict[str, Any] = request.app.openapi()
        listed = [
            (method.upper(), path, operation.get("summary", ""))
            for path, operations in sorted(document["paths"].items())
            for method, operation in operations.items()
            if method in _OPENAPI_METHODS
        ]
        return api_page(state.settings.server.title, listed)


def _discovery(state: ApiState, caller: Principal) -> Discovery:
    context = state.context
    return discovery_document(
        state.settings, context.readable.view(caller), context.images.access.collections(caller)
    )


def _phases(names: list[str]) -> tuple[Phase, ...]:
    try:
        return tuple(Phase(name.strip().upper()) for name in names)
    except ValueError as exc:
        raise BadParameterError(f"{exc}; phase is one of {', '.join(Phase)}.") from exc
