"""The addresses of TAP but its jobs."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from astrolabe.images.obscore.columns import OBSCORE_NAME, OBSCORE_SCHEMA
from astrolabe_api.common.auth import Caller, public, requires
from astrolabe_api.common.availability import availability
from astrolabe_api.common.documents import document_response
from astrolabe_api.common.errors import add_challenges
from astrolabe_api.common.hiding import hiding
from astrolabe_api.common.params import Parameters, read_parameters
from astrolabe_api.common.rendering import wants_gzip
from astrolabe_api.common.requests import is_head, notes_of
from astrolabe_api.common.state import ApiState, State
from astrolabe_api.common.uploading import answer_with_uploads
from astrolabe_api.common.uws import uws_router
from astrolabe_api.tap.capabilities import TAP_PATH, capabilities_document
from astrolabe_api.tap.examples import ExamplesCache
from astrolabe_api.tap.jobs import TapJobs
from astrolabe_api.tap.requests import read_tap_request
from astrolabe_api.tap.sync import sync_response
from astrolabe_api.tap.tableset import TablesetCache, TablesetOptions

__all__ = ["TAP_PATH", "tap_routers"]


def tap_routers() -> tuple[APIRouter, ...]:
    """Return the routers of the whole service, with caches of their own."""
    tap = _Tap()
    router = APIRouter(prefix=TAP_PATH, tags=["tap"])
    read = requires("read:tap", service="tap")
    for path, method, access, handler, summary in (
        ("/sync", "GET", read, tap.sync, "Run a query and stream its result"),
        ("/sync", "POST", read, tap.sync, "Run a query, perhaps with uploads, and stream it"),
        ("/capabilities", "GET", public(), tap.capabilities, "What the service can do (TAPRegExt)"),
        ("/availability", "GET", public(), availability, "Whether the service is up (VOSI)"),
        ("/tables", "GET", read, tap.tables, "All tables and their columns (VOSI)"),
        ("/tables/{name:path}", "GET", read, tap.table, "One table and its columns (VOSI)"),
        ("/examples", "GET", read, tap.examples, "Queries that run on what is installed (DALI)"),
    ):
        router.add_api_route(
            path,
            handler,
            methods=[method],
            summary=summary,
            response_class=Response,
            dependencies=[access],
        )
    return router, uws_router(TapJobs(), access=read)


class _Tap:
    """The handlers: parse, one call, shape the answer."""

    def __init__(self) -> None:
        self._tablesets = TablesetCache()
        self._examples = ExamplesCache()

    async def sync(self, request: Request, state: State, caller: Caller) -> Response:
        def answer(given: Parameters, on_end: Callable[[], None]) -> Response:
            return sync_response(
                state,
                caller,
                read_tap_request(given),
                address=notes_of(request).address,
                compress=wants_gzip(request),
                headers_only=is_head(request.scope),
                on_end=on_end,
            )

        return await answer_with_uploads(request, state, answer)

    async def capabilities(self, request: Request, state: State) -> Response:
        # The same for every caller: the document needs no login, and the table is there for all.
        view = await run_in_threadpool(state.context.catalog.view)
        obscore = view.entries.get((OBSCORE_SCHEMA, OBSCORE_NAME))
        modified = state.started
        if obscore is not None:
            modified = max(modified, obscore.row.created_at.replace(microsecond=0))
        document = capabilities_document(
            state.settings, modified=modified, has_obscore=obscore is not None
        )
        return add_challenges(request, document_response(request, document))

    async def tables(self, request: Request, state: State, caller: Caller) -> Response:
        options = await _tableset_options(request, state)
        with hiding(state, caller):
            document = await run_in_threadpool(
                self._tablesets.tableset, state.context, options, caller
            )
        return document_response(request, document)

    async def table(self, request: Request, name: str, state: State, caller: Caller) -> Response:
        options = await _tableset_options(request, state)
        with hiding(state, caller):
            document = await run_in_threadpool(
                self._tablesets.table, state.context, name, options, caller
            )
        return document_response(request, document)

    async def examples(self, request: Request, state: State, caller: Caller) -> Response:
        page = await run_in_threadpool(self._examples.page, state.context, caller)
        return document_response(request, page)


async def _tableset_options(request: Request, state: ApiState) -> TablesetOptions:
    given = await read_parameters(request, limits=state.form_limits)
    # TapPlus asks for all tables with no parameter, and is the only client without a name.
    return TablesetOptions.of(given, is_tapplus="user-agent" not in request.headers)
