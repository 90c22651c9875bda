"""Whole documents as answers: compressed once, with a date where they have one."""

from __future__ import annotations

import gzip
from datetime import datetime
from email.utils import format_datetime
from functools import cached_property

from starlette.requests import HTTPConnection
from starlette.responses import Response

from astrolabe_api.common.rendering import wants_gzip

__all__ = ["Document", "document_response"]

_SMALLEST_TO_COMPRESS = 1000


class Document:
    """A document that is sent more than once.

    Parameters
    ----------
    text
        The whole of it.
    media_type
        Its Content-Type.
    modified
        When it last changed, if that is known (aware UTC).
    """

    def __init__(
        self, text: str, *, media_type: str = "application/xml", modified: datetime | None = None
    ) -> None:
        self.content = text.encode()
        self.media_type = media_type
        self.modified = modified

    @cached_property
    def compressed(self) -> bytes:
        """The content as gzip, made at the first use."""
        return gzip.compress(self.content, compresslevel=6, mtime=0)


def document_response(connection: HTTPConnection, document: Document) -> Response:
    """Return `document`, compressed if it is worth it and the client accepts that."""
    headers = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if document.modified is not None:
        headers["Last-Modified"] = format_datetime(document.modified, usegmt=True)
    body = document.content
    if len(body) >= _SMALLEST_TO_COMPRESS and wants_gzip(connection):
        headers["Content-Encoding"] = "gzip"
        body = document.compressed
    return Response(body, headers=headers, media_type=document.media_type)
