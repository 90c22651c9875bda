"""The addresses of HiPS and of coverages."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from astrolabe.core.errors import NotFoundError
from astrolabe.identity.signed_links import TREE_MARK
from astrolabe.images.hips.coverage import find_moc_form, moc_bytes
from astrolabe.images.hips.properties import hips_list
from astrolabe_api.common.auth import Caller, account, by_signed_tree, requires
from astrolabe_api.common.credentials import TREE_PARAMETER
from astrolabe_api.common.hiding import hiding
from astrolabe_api.common.params import read_parameters
from astrolabe_api.common.ranges import RangedResponse, is_unchanged, wanted_range
from astrolabe_api.common.state import ApiState, State
from astrolabe_api.hips.finding import (
    HIPS_PATH,
    HipsFile,
    MemoryBytes,
    find_entry,
    find_file,
    hips_records,
)
from astrolabe_api.hips.viewer import SKY_PATH, viewer_router

__all__ = ["HIPS_PATH", "MOC_PATH", "hips_routers"]

MOC_PATH: Final = "/api/moc"

_FRESH_SECONDS: Final = 600
_SIGNED: Final = f"{HIPS_PATH}/{TREE_MARK}{{{TREE_PARAMETER}}}/{{hips_id}}"


class HipsLink(BaseModel):
    """A signed link to all files of a HiPS."""

    url: str = Field(description="Whoever has it may read this one HiPS, below this address.")
    expires: datetime


def hips_routers() -> tuple[APIRouter, ...]:
    """Return the routers of HiPS, of coverages and of the page that shows them."""
    router = APIRouter(tags=["hips"])
    read = requires("read:image", service="hips")
    signed = by_signed_tree("read:image", service="hips")
    for path, handler, access, summary in (
        (f"{HIPS_PATH}/hipslist", _list, read, "Every HiPS there is (HiPS 1.0)"),
        # First: what begins with the mark is no HiPS's name.
        (_SIGNED, _signed_root, signed, "What a signed link to a HiPS leads to: its properties"),
        (f"{_SIGNED}/{{path:path}}", _signed_file, signed, "A file of a HiPS, by a signed link"),
        (f"{HIPS_PATH}/{{hips_id}}", _root, read, "A HiPS, shown"),
        (f"{HIPS_PATH}/{{hips_id}}/{{path:path}}", _file, read, "A file of a HiPS"),
        (
            f"{MOC_PATH}/{{table}}",
            _moc,
            requires("read:tap", service="hips"),
            "Which part of the sky a table covers (MOC 2.0)",
        ),
    ):
        router.add_api_route(
            path,
            handler,
            methods=["GET"],
            summary=summary,
            response_class=Response,
            dependencies=[access],
        )
    router.add_api_route(
        f"{HIPS_PATH}/{{hips_id}}/link",
        _link,
        methods=["POST"],
        summary="Make an address of a HiPS for programs that cannot log in",
        response_model=HipsLink,
        dependencies=[account("read:image")],
    )
    return router, viewer_router()


async def _list(state: State, caller: Caller) -> Response:
    records = await run_in_threadpool(hips_records, state, caller)
    return Response(
        hips_list(records),
        headers={"Cache-Control": "no-cache", "Vary": "Authorization, Cookie"},
        media_type="text/plain; charset=utf-8",
    )


async def _root(hips_id: str) -> Response:
    # Whether there is one, and for whom, its files tell.
    return RedirectResponse(
        f"{SKY_PATH}?hips={quote(hips_id, safe='')}", status_code=HTTPStatus.SEE_OTHER
    )


async def _file(
    request: Request, hips_id: str, path: str, state: State, caller: Caller
) -> Response:
    if path in {"", "index.html"}:
        return await _root(hips_id)
    with hiding(state, caller):
        found = await run_in_threadpool(find_file, state, caller, hips_id, path)
    return _answer(request, state, _found(found, hips_id, path))


async def _signed_root(request: Request, hips_id: str, state: State, caller: Caller) -> Response:
    return await _signed_file(request, hips_id, "properties", state, caller)


async def _signed_file(
    request: Request, hips_id: str, path: str, state: State, caller: Caller
) -> Response:
    # Clients go on from the address that the properties name.
    address = state.url(
        f"{HIPS_PATH}/{TREE_MARK}{request.path_params[TREE_PARAMETER]}/{quote(hips_id, safe='')}"
    )
    wanted = path or "properties"
    with hiding(state, caller):
        found = await run_in_threadpool(find_file, state, caller, hips_id, wanted, address=address)
    return _answer(request, state, _found(found, hips_id, wanted))


async def _link(hips_id: str, state: State, caller: Caller, response: Response) -> HipsLink:
    response.headers["Cache-Control"] = "no-store"
    await run_in_threadpool(find_file, state, caller, hips_id, "properties")
    link = state.context.signed_links.sign_tree(caller, f"{HIPS_PATH}/{quote(hips_id, safe='')}")
    return HipsLink(url=state.url(link.address), expires=link.expires)


def _found(found: HipsFile | None, hips_id: str, path: str) -> HipsFile:
    if found is None:
        # He may read the HiPS: there is nothing to hide, and maps ask for many absent tiles.
        raise NotFoundError(f"The HiPS {hips_id[:100]} has no {path[:100]!r}.")
    return found


async def _moc(request: Request, table: str, state: State, caller: Caller) -> Response:
    given = await read_parameters(request, limits=state.form_limits)
    form = find_moc_form(given.response_format())

    def find() -> tuple[bytes, str]:
        entry = find_entry(state, caller, table)
        coverage = state.context.images.hips.tables.of(entry)
        return moc_bytes(coverage.moc, form), entry.meta.qualified_name

    with hiding(state, caller):
        content, name = await run_in_threadpool(find)
    found = HipsFile(
        f'"{sha256(content).hexdigest()[:32]}"', form.mime, lambda: MemoryBytes(content)
    )
    return _answer(request, state, found, name=f"{name}.moc{form.extension}")


def _answer(
    request: Request,
    state: ApiState,
    found: HipsFile,
    *,
    name: str | None = None,
) -> Response:
    headers = {
        "ETag": found.etag,
        "Cache-Control": f"max-age={_FRESH_SECONDS}",
        "Vary": "Authorization, Cookie",
        "Accept-Ranges": "bytes",
    }
    if is_unchanged(request, etag=found.etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if name is not None:
        headers["Content-Disposition"] = f"inline; filename*=UTF-8''{quote(name)}"
    return RangedResponse(
        request,
        # Small files: they never wait behind queries or cutouts.
        state.metadata_pool,
        lambda _raise_if_abandoned: found.open(),
        part=wanted_range(request, etag=found.etag),
        media_type=found.media_type,
        headers=headers,
    )
