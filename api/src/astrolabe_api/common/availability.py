"""Whether a service is up: the handler that all of them share (VOSI 1.1, section 4)."""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from astrolabe.core.errors import AstrolabeError
from astrolabe_api.common.documents import Document, document_response
from astrolabe_api.common.state import State
from astrolabe_api.common.vosi import availability_document

__all__ = ["availability"]


async def availability(request: Request, state: State) -> Response:
    """Return the availability of a service that needs the catalog and nothing else."""
    note = None
    try:
        await run_in_threadpool(state.context.catalog.view)
    except AstrolabeError as exc:
        note = str(exc)
    document = availability_document(available=note is None, since=state.started, note=note)
    return document_response(request, Document(document))
