"""Images as they are: the bytes of their files."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from hashlib import sha256
from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from astrolabe.core.errors import BadParameterError, ImageInvalidError, NotFoundError
from astrolabe.images.files import ByteSource
from astrolabe.images.model import ImageKey, ImageRecord
from astrolabe_api.common.auth import Caller, requires
from astrolabe_api.common.hiding import hiding
from astrolabe_api.common.ranges import RangedResponse, is_unchanged, wanted_range
from astrolabe_api.common.state import ApiState, State

__all__ = ["IMAGES_PATH", "images_routers"]

IMAGES_PATH: Final = "/api/images"

_CHUNK_BYTES: Final = 1 << 20


def images_routers() -> tuple[APIRouter, ...]:
    """Return the router of the whole service."""
    router = APIRouter(prefix=IMAGES_PATH, tags=["images"])
    router.add_api_route(
        "/{collection}/{image_id}",
        _image,
        methods=["GET"],
        summary="The file of an image, or a part of it",
        response_class=Response,
        dependencies=[requires("read:image", service="images")],
    )
    return (router,)


async def _image(
    request: Request, collection: str, image_id: str, state: State, caller: Caller
) -> Response:
    with hiding(state, caller, images=True):
        key = ImageKey.parse_path(f"{collection}/{image_id}")
        record = await run_in_threadpool(state.context.images.access.get, caller, key)
    etag = f'"{record.md5 or sha256(record.signature.encode()).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie"}
    if is_unchanged(request, etag=etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    name = f"{record.key.collection}.{record.key.image_id}"
    name = name if ".fits" in name.lower() else f"{name}.fits"
    headers["Content-Disposition"] = f'attachment; filename="{name}"'
    headers["Accept-Ranges"] = "bytes"
    if record.md5 is not None:
        # Of the whole file, whatever part is sent (RFC 3230, section 4.3.2); clients of CADC's
        # storage check it.
        digest = base64.b64encode(bytes.fromhex(record.md5)).decode()
        headers["Digest"] = f"md5={digest}"
    return RangedResponse(
        request,
        state.result_pool,
        _opener(state, record),
        part=wanted_range(request, etag=etag),
        media_type=record.media_type,
        headers=headers,
    )


def _opener(state: ApiState, record: ImageRecord) -> Callable[[Callable[[], None]], _Bytes]:
    def open_bytes(raise_if_abandoned: Callable[[], None]) -> _Bytes:
        try:
            source = state.context.images.files.open(record.uri)
        except (NotFoundError, BadParameterError, ImageInvalidError) as exc:
            # There is such an image; where its file should be is nobody's business.
            raise ImageInvalidError(
                f"The file of the image {record.key.path} cannot be read."
            ) from exc
        if source.size != record.size_bytes:
            raise ImageInvalidError(
                f"The file of the image {record.key.path} has {source.size} bytes; it had "
                f"{record.size_bytes} when it was imported. Import it again."
            )
        return _Bytes(source, raise_if_abandoned)

    return open_bytes


class _Bytes:
    """The bytes of an image's file."""

    def __init__(self, source: ByteSource, raise_if_abandoned: Callable[[], None]) -> None:
        self._source = source
        self._raise_if_abandoned = raise_if_abandoned
        self.size = source.size

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        for at in range(start, stop, _CHUNK_BYTES):
            self._raise_if_abandoned()
            yield self._source.read(at, min(_CHUNK_BYTES, stop - at))
