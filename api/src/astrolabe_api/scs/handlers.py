"""The addresses of cone searches."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from astrolabe.catalogs.view import StoredView
from astrolabe.identity import Principal
from astrolabe_api.common.auth import Caller, public, requires
from astrolabe_api.common.availability import availability
from astrolabe_api.common.documents import Document, document_response
from astrolabe_api.common.errors import add_challenges
from astrolabe_api.common.hiding import hiding
from astrolabe_api.common.params import read_parameters
from astrolabe_api.common.rendering import wants_gzip
from astrolabe_api.common.requests import is_head, notes_of
from astrolabe_api.common.state import ApiState, State, takes_anonymous
from astrolabe_api.scs.capabilities import SCS_PATH, capabilities_document
from astrolabe_api.scs.requests import read_cone_request
from astrolabe_api.scs.search import ConeTable, cone_response, cone_tables, find_cone_table

__all__ = ["SCS_PATH", "scs_routers"]


def scs_routers() -> tuple[APIRouter, ...]:
    """Return the router of the whole service."""
    router = APIRouter(prefix=SCS_PATH, tags=["scs"])
    read = requires("read:tap", service="scs")
    for path, methods, handler, summary in (
        ("", ["GET"], _all_capabilities, "Every cone search there is (VOSI)"),
        ("/capabilities", ["GET"], _all_capabilities, "Every cone search there is (VOSI)"),
        ("/availability", ["GET"], availability, "Whether cone searches are up (VOSI)"),
        # The first route of a path tells which methods there are; OpenAPI wants one for each.
        ("/{table}", ["GET", "POST"], _search, ""),
        ("/{table}", ["GET"], _search, "Rows of a table by position"),
        ("/{table}", ["POST"], _search, "Rows of a table by position"),
        ("/{table}/capabilities", ["GET"], _capabilities, "The cone search of one table (VOSI)"),
        ("/{table}/availability", ["GET"], _table_availability, "Whether it is up (VOSI)"),
    ):
        router.add_api_route(
            path,
            handler,
            methods=methods,
            summary=summary,
            response_class=Response,
            include_in_schema=len(methods) == 1,
            dependencies=[read if handler is _search else public()],
        )
    return (router,)


async def _search(request: Request, table: str, state: State, caller: Caller) -> Response:
    found = await _find(state, table, caller)
    given = await read_parameters(request, limits=state.form_limits)
    return cone_response(
        state,
        caller,
        found,
        read_cone_request(given),
        address=notes_of(request).address,
        compress=wants_gzip(request),
        headers_only=is_head(request.scope),
    )


async def _all_capabilities(request: Request, state: State, caller: Caller) -> Response:
    document = await run_in_threadpool(_document, state, None, caller)
    return add_challenges(request, document_response(request, document))


async def _capabilities(request: Request, table: str, state: State, caller: Caller) -> Response:
    with hiding(state, caller):
        document = await run_in_threadpool(_document, state, table, caller)
    return add_challenges(request, document_response(request, document))


async def _table_availability(
    request: Request, table: str, state: State, caller: Caller
) -> Response:
    await _find(state, table, caller)
    return await availability(request, state)


async def _find(state: ApiState, name: str, caller: Principal) -> ConeTable:
    def search(view: StoredView) -> ConeTable:
        return find_cone_table(view, name)

    with hiding(state, caller):
        return await run_in_threadpool(state.context.readable.find, caller, search)


def _document(state: ApiState, name: str | None, caller: Principal) -> Document:
    readable = state.context.readable
    base = state.url(SCS_PATH)
    if name is None:
        view = readable.view(caller)
        tables, own = cone_tables(view), base
    else:
        view, found = readable.find(caller, lambda view: (view, find_cone_table(view, name)))
        tables = (found,)
        own = f"{base}/{quote(found.meta.adql_name)}"
    return capabilities_document(
        view,
        tables,
        base=base,
        own=own,
        maxrec=state.settings.tap.maxrec_hard,
        anonymous=takes_anonymous(state.settings, "scs"),
    )
