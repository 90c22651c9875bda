"""The page ``/sky``: pictures, coverage, footprints and images on one map."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, Response

from astrolabe.core.errors import NotFoundError
from astrolabe_api.common.auth import Caller, open_to_all, public
from astrolabe_api.common.html import render
from astrolabe_api.common.ranges import is_unchanged
from astrolabe_api.common.state import State

__all__ = ["SKY_PATH", "viewer_router"]

SKY_PATH: Final = "/sky"

_FILES: Final = {
    "viewer.js": ("templates/sky.js", "text/javascript; charset=utf-8"),
    "viewer.css": ("templates/sky.css", "text/css; charset=utf-8"),
    "aladin.js": ("vendor/aladin-lite/aladin.js", "text/javascript; charset=utf-8"),
    "COPYING": ("vendor/aladin-lite/COPYING", "text/plain; charset=utf-8"),
    "COPYING.LESSER": ("vendor/aladin-lite/COPYING.LESSER", "text/plain; charset=utf-8"),
}

# Aladin Lite is WebAssembly in a script, makes workers and pictures of blobs, and sets styles on
# its elements.  What it knows of other hosts (surveys, name resolvers, proxies) it cannot reach.
_POLICY: Final = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def viewer_router() -> APIRouter:
    """Return the router of the page and its files."""
    router = APIRouter(prefix=SKY_PATH, tags=["pages"])
    for path, handler, access, summary in (
        ("", _page, public(), "A map of the sky with everything that is here"),
        ("/{name}", _file, open_to_all(), "Scripts and styles of that page"),
    ):
        router.add_api_route(
            path,
            handler,
            methods=["GET"],
            summary=summary,
            response_class=Response,
            dependencies=[access],
        )
    return router


async def _page(state: State, caller: Caller) -> Response:
    key = caller.token_key
    values = {
        "site": state.settings.server.title,
        "user": caller.username,
        "is_admin": "admin:user" in caller.scopes,
        "csrf": "" if key is None else state.csrf.of(key),
        "message": None,
        "error": None,
    }
    return HTMLResponse(
        render("sky.html", values),
        headers={
            "Content-Security-Policy": _POLICY,
            "Cache-Control": "no-store",
            "Referrer-Policy": "same-origin",
        },
    )


async def _file(request: Request, name: str) -> Response:
    if name not in _FILES:
        raise NotFoundError(f"The page {SKY_PATH} has no file {name[:100]!r}.")
    found = await run_in_threadpool(_read, name)
    if found is None:
        raise NotFoundError(
            "Aladin Lite is not installed here; tools/fetch-aladin in the checkout fetches it."
        )
    content, etag = found
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if is_unchanged(request, etag=etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(content, headers=headers, media_type=_FILES[name][1])


def _read(name: str) -> tuple[bytes, str] | None:
    """Return a file and its ETag, `None` if it is not there (now; it may come later)."""
    place = files("astrolabe_api").joinpath(_FILES[name][0])
    return _kept(name) if place.is_file() else None


@cache
def _kept(name: str) -> tuple[bytes, str]:
    content = files("astrolabe_api").joinpath(_FILES[name][0]).read_bytes()
    return content, f'"{sha256(content).hexdigest()[:32]}"'
