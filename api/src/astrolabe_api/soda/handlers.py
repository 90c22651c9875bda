"""The addresses of cutouts but their jobs."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from astrolabe.core.errors import BadParameterError
from astrolabe.images.soda.runner import SODA_JOB
from astrolabe_api.common.auth import Caller, public, requires
from astrolabe_api.common.availability import availability
from astrolabe_api.common.descriptors import CUTOUT_PATH
from astrolabe_api.common.documents import document_response
from astrolabe_api.common.errors import add_challenges
from astrolabe_api.common.params import read_parameters
from astrolabe_api.common.requests import is_head, notes_of
from astrolabe_api.common.state import State, takes_anonymous
from astrolabe_api.common.uws import FileJobs, uws_router
from astrolabe_api.soda.capabilities import capabilities_document
from astrolabe_api.soda.sync import sync_response

__all__ = ["CUTOUT_PATH", "soda_routers"]


def soda_routers() -> tuple[APIRouter, ...]:
    """Return the routers of the whole service."""
    router = APIRouter(prefix=CUTOUT_PATH, tags=["soda"])
    read = requires("read:image", service="soda")
    cut = "Cut a part out of an image (SODA 1.0)"
    for path, methods, access, handler, summary in (
        # The first route of a path tells which methods there are; OpenAPI wants one for each.
        ("", ["GET", "POST"], read, _cut, ""),
        ("", ["GET"], read, _cut, f"{cut}: short for /sync"),
        ("", ["POST"], read, _cut, f"{cut}: short for /sync"),
        ("/sync", ["GET", "POST"], read, _cut, ""),
        ("/sync", ["GET"], read, _cut, cut),
        ("/sync", ["POST"], read, _cut, cut),
        ("/capabilities", ["GET"], public(), _capabilities, "What the service can do (VOSI)"),
        ("/availability", ["GET"], public(), availability, "Whether the service is up (VOSI)"),
    ):
        router.add_api_route(
            path,
            handler,
            methods=methods,
            summary=summary,
            response_class=Response,
            include_in_schema=len(methods) == 1,
            dependencies=[access],
        )
    return router, uws_router(FileJobs(SODA_JOB, f"{CUTOUT_PATH}/async"), access=read)


async def _cut(request: Request, state: State, caller: Caller) -> Response:
    given = await read_parameters(request, limits=state.form_limits, new_file=_refuse_file)
    return sync_response(
        state,
        caller,
        given.pairs(),
        address=notes_of(request).address,
        headers_only=is_head(request.scope),
    )


async def _capabilities(request: Request, state: State) -> Response:
    document = capabilities_document(
        state.url(CUTOUT_PATH),
        anonymous=takes_anonymous(state.settings, "soda"),
        modified=state.started,
    )
    return add_challenges(request, document_response(request, document))


def _refuse_file(_part: str) -> Path:
    raise BadParameterError(
        "A table of positions needs a job: send the same parameters and PHASE=RUN to "
        f"{CUTOUT_PATH}/async."
    )
