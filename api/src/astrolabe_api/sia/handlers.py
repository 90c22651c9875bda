"""The addresses of image searches."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request
from starlette.responses import Response

from astrolabe_api.common.auth import Caller, public, requires
from astrolabe_api.common.availability import availability
from astrolabe_api.common.documents import Document, document_response
from astrolabe_api.common.errors import add_challenges
from astrolabe_api.common.params import Parameters
from astrolabe_api.common.rendering import wants_gzip
from astrolabe_api.common.requests import is_head, notes_of
from astrolabe_api.common.state import State, takes_anonymous
from astrolabe_api.common.uploading import answer_with_uploads
from astrolabe_api.common.vosi import (
    capabilities_xml,
    capability,
    security_methods,
)
from astrolabe_api.sia.requests import read_sia_request
from astrolabe_api.sia.search import sia_response

__all__ = ["SIA_PATH", "sia_routers"]

SIA_PATH = "/api/sia"


def sia_routers() -> tuple[APIRouter, ...]:
    """Return the router of the whole service."""
    router = APIRouter(prefix=SIA_PATH, tags=["sia"])
    read = requires("read:image", service="sia")
    for path, methods, access, handler, summary in (
        # The first route of a path tells which methods there are; OpenAPI wants one for each.
        ("/query", ["GET", "POST"], read, _query, ""),
        ("/query", ["GET"], read, _query, "Images by position, band, time and more (SIA 2.0)"),
        ("/query", ["POST"], read, _query, "Images by position, band, time and more (SIA 2.0)"),
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
    return (router,)


async def _query(request: Request, state: State, caller: Caller) -> Response:
    def answer(given: Parameters, on_end: Callable[[], None]) -> Response:
        return sia_response(
            state,
            caller,
            read_sia_request(given),
            address=notes_of(request).address,
            compress=wants_gzip(request),
            headers_only=is_head(request.scope),
            on_end=on_end,
        )

    return await answer_with_uploads(request, state, answer)


async def _capabilities(request: Request, state: State) -> Response:
    base = state.url(SIA_PATH)
    methods = security_methods(anonymous=takes_anonymous(state.settings, "sia"))
    query = capability(
        "ivo://ivoa.net/std/SIA#query-2.0", f"{base}/query", version="2.0", methods=methods
    )
    document = Document(capabilities_xml(base, query), modified=state.started)
    return add_challenges(request, document_response(request, document))
