"""The addresses of DataLink."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from astrolabe_api.common.auth import Caller, public, requires
from astrolabe_api.common.availability import availability
from astrolabe_api.common.descriptors import DATALINK_PATH, LINKS_STANDARD_ID
from astrolabe_api.common.documents import Document, document_response
from astrolabe_api.common.errors import add_challenges
from astrolabe_api.common.hiding import hiding
from astrolabe_api.common.params import Parameters, read_parameters
from astrolabe_api.common.rendering import wants_gzip
from astrolabe_api.common.requests import is_head, notes_of
from astrolabe_api.common.state import ApiState, State, takes_anonymous
from astrolabe_api.common.vosi import (
    capabilities_xml,
    capability,
    security_methods,
)
from astrolabe_api.datalink.answers import links_response, row_links_response
from astrolabe_api.datalink.queries import cone_response, light_curve_response
from astrolabe_api.datalink.requests import read_cone, read_light_curve, read_links

__all__ = ["DATALINK_PATH", "datalink_routers"]

_MOST_PARAMETERS = 100_000
"""Clients send all the identifiers that they have at once, and then as many as were answered."""


def datalink_routers() -> tuple[APIRouter, ...]:
    """Return the router of the whole service."""
    router = APIRouter(prefix=DATALINK_PATH, tags=["datalink"])
    images = requires("read:image", service="datalink")
    rows = requires("read:tap", service="datalink")
    both = ["GET", "POST"]
    for path, methods, access, handler, summary in (
        ("/links", both, images, _links, "What belongs to images and rows (DataLink 1.1)"),
        ("/lightcurve", both, rows, _light_curve, "Measurements of rows in the order of time"),
        ("/cone", both, rows, _cone, "Rows around a row or a position"),
        ("/capabilities", ["GET"], public(), _capabilities, "What the service can do (VOSI)"),
        ("/availability", ["GET"], public(), availability, "Whether the service is up (VOSI)"),
        ("/{table}/links", both, rows, _row_links, "What belongs to rows of a table by their ids"),
    ):
        # The first route of a path tells which methods there are; OpenAPI wants one for each.
        for some in [methods] if len(methods) == 1 else [methods, *([m] for m in methods)]:
            router.add_api_route(
                path,
                handler,
                methods=some,
                summary=summary,
                response_class=Response,
                include_in_schema=len(some) == 1,
                dependencies=[access],
            )
    return (router,)


async def _links(request: Request, state: State, caller: Caller) -> Response:
    given = await _read(request, state)
    asked = read_links(given, most=state.settings.images.links_ids)
    return links_response(state, caller, asked, **_how(request))


async def _row_links(request: Request, table: str, state: State, caller: Caller) -> Response:
    with hiding(state, caller):
        found = await run_in_threadpool(state.context.linked_rows.table, caller, table)
    given = await _read(request, state)
    asked = read_links(given, most=state.settings.images.links_ids)
    return row_links_response(state, caller, found, asked, **_how(request))


async def _light_curve(request: Request, state: State, caller: Caller) -> Response:
    asked = read_light_curve(await _read(request, state))
    return light_curve_response(state, caller, asked, **_how(request))


async def _cone(request: Request, state: State, caller: Caller) -> Response:
    asked = read_cone(await _read(request, state))
    return cone_response(state, caller, asked, **_how(request))


async def _capabilities(request: Request, state: State) -> Response:
    base = state.url(DATALINK_PATH)
    methods = security_methods(anonymous=takes_anonymous(state.settings, "datalink"))
    links = capability(LINKS_STANDARD_ID, f"{base}/links", version="1.1", methods=methods)
    document = Document(capabilities_xml(base, links), modified=state.started)
    return add_challenges(request, document_response(request, document))


async def _read(request: Request, state: ApiState) -> Parameters:
    return await read_parameters(request, limits=replace(state.form_limits, parts=_MOST_PARAMETERS))


def _how(request: Request) -> dict[str, Any]:
    return {
        "address": notes_of(request).address,
        "compress": wants_gzip(request),
        "headers_only": is_head(request.scope),
    }
