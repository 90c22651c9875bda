"""IVOA Group Membership Service 1.0: which groups the caller is in."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from astrolabe_api.common.auth import Caller, logged_in, public
from astrolabe_api.common.documents import Document, document_response
from astrolabe_api.common.errors import add_challenges
from astrolabe_api.common.state import State
from astrolabe_api.common.vosi import availability_document, security_methods
from astrolabe_api.common.xml import XML_DECLARATION, text

__all__ = ["GMS_PATH", "gms_router"]

GMS_PATH = "/auth/gms"

_NAMESPACES = (
    'xmlns:vosi="http://www.ivoa.net/xml/VOSICapabilities/v1.0" '
    'xmlns:vs="http://www.ivoa.net/xml/VODataService/v1.1" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)

router = APIRouter(prefix=GMS_PATH, tags=["groups"])


def gms_router() -> APIRouter:
    """Return the router of this module."""
    return router


@router.get(
    "/search",
    dependencies=[logged_in()],
    response_class=Response,
    summary="Which groups the caller is in (GMS)",
)
async def search(
    caller: Caller,
    group: Annotated[list[str] | None, Query(description="Only these, if in them.")] = None,
) -> Response:
    """Answer with one group's name a line (GMS 1.0, section 2.1)."""
    found = caller.groups if group is None else caller.groups & set(group)
    body = "".join(f"{name}\r\n" for name in sorted(found))
    return Response(
        body, media_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-store"}
    )


@router.get(
    "/capabilities",
    dependencies=[public()],
    response_class=Response,
    summary="What the group service can do (VOSI)",
)
async def capabilities(request: Request, state: State) -> Response:
    """Describe the service."""
    document = _capabilities(state.url(GMS_PATH), modified=state.started)
    return add_challenges(request, document_response(request, document))


@router.get(
    "/availability",
    dependencies=[public()],
    response_class=Response,
    summary="Whether the group service is up (VOSI)",
)
async def availability(request: Request, state: State) -> Response:
    """Say that the service is up."""
    document = availability_document(available=True, since=state.started, note=None)
    return document_response(request, Document(document))


def _capabilities(base: str, *, modified: datetime) -> Document:
    methods = security_methods(anonymous=False)
    parts = (
        ("ivo://ivoa.net/std/GMS#search-1.0", f"{base}/search", methods),
        # The name before the standard was one, which OpenCADC's services still look for.
        ("ivo://ivoa.net/std/GMS#search-0.1", f"{base}/search", methods),
        ("ivo://ivoa.net/std/VOSI#capabilities", f"{base}/capabilities", ""),
        ("ivo://ivoa.net/std/VOSI#availability", f"{base}/availability", ""),
    )
    inside = "".join(
        f'<capability standardID="{identifier}">\n'
        '<interface xsi:type="vs:ParamHTTP" role="std" version="1.0">\n'
        f'<accessURL use="full">{text(address)}</accessURL>\n{security}'
        "</interface>\n</capability>\n"
        for identifier, address, security in parts
    )
    return Document(
        f"{XML_DECLARATION}<vosi:capabilities {_NAMESPACES}>\n{inside}</vosi:capabilities>\n",
        modified=modified,
    )
