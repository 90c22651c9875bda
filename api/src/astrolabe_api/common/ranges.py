"""Answers of which a client may ask for a part (RFC 9110, sections 13 and 14).

One range in bytes is served; several at once are answered with the whole, as the RFC allows.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

from starlette.requests import HTTPConnection

from astrolabe.core.errors import CancelledError
from astrolabe_api.common.pools import WorkPool
from astrolabe_api.common.requests import is_head
from astrolabe_api.common.streaming import ByteStream, StreamedResponse

__all__ = ["KeptFileResponse", "RangedResponse", "SizedBytes", "is_unchanged", "wanted_range"]

_CHUNK_BYTES = 1 << 20
_RANGE = re.compile(r"bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*\Z", re.IGNORECASE)


class SizedBytes(Protocol):
    """Bytes of which any part can be had."""

    @property
    def size(self) -> int:
        """How many there are."""

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from `start` to before `stop` piece by piece."""


class RangedResponse(StreamedResponse):
    """Bytes, or the part of them that was asked for.

    Parameters
    ----------
    connection
        The request.
    pool
        Where they are made and read.
    open_bytes
        Gives them; it may have to make them.  It is called in a thread of `pool` and passed a
        function that raises `CancelledError` as soon as the client has left.
    part
        What `wanted_range` gave: the first and the last byte; `None` for the whole.
    media_type
        Content-Type.
    headers
        More headers.
    """

    def __init__(
        self,
        connection: HTTPConnection,
        pool: WorkPool,
        open_bytes: Callable[[Callable[[], None]], SizedBytes],
        *,
        part: tuple[int | None, int | None] | None,
        media_type: str,
        headers: dict[str, str],
    ) -> None:
        self._pool = pool
        self._open_bytes = open_bytes
        self._part = part
        self._head = is_head(connection.scope)
        self._abandoned = threading.Event()
        stream = ByteStream(pool, self._make, on_abort=self._abandoned.set)
        super().__init__(stream, media_type=media_type, headers=headers)

    def _make(self) -> tuple[WorkPool, Iterator[bytes]]:
        """Open the bytes and set what only their size tells; nothing has been sent by then."""
        opened = self._open_bytes(self._raise_if_abandoned)
        size = opened.size
        start, stop = 0, size
        if self._part is not None:
            start, stop = _resolve(self._part, size)
            if start >= stop:
                return self._pool, self._unsatisfiable(size)
            self.status_code = HTTPStatus.PARTIAL_CONTENT
            self.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        self.headers["Content-Length"] = str(stop - start)
        return self._pool, iter(()) if self._head else opened.chunks(start, stop)

    def _unsatisfiable(self, size: int) -> Iterator[bytes]:
        text = f"The range begins behind the end: there are {size} bytes.\n".encode()
        self.status_code = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        self.headers["Content-Range"] = f"bytes */{size}"
        self.headers["Content-Type"] = "text/plain; charset=utf-8"
        self.headers["Content-Length"] = str(len(text))
        del self.headers["Content-Disposition"]
        yield text

    def _raise_if_abandoned(self) -> None:
        if self._abandoned.is_set():
            raise CancelledError("Nobody waits for the answer any more.")


class KeptFileResponse(RangedResponse):
    """A file, or the part of it that was asked for; see `RangedResponse`.

    Parameters
    ----------
    open_file
        Gives the file; as `open_bytes` there.
    """

    def __init__(
        self,
        connection: HTTPConnection,
        pool: WorkPool,
        open_file: Callable[[Callable[[], None]], Path],
        *,
        part: tuple[int | None, int | None] | None,
        media_type: str,
        headers: dict[str, str],
    ) -> None:
        super().__init__(
            connection,
            pool,
            lambda raise_if_abandoned: _FileBytes(open_file(raise_if_abandoned)),
            part=part,
            media_type=media_type,
            headers=headers,
        )


class _FileBytes:
    """The bytes of a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = path.stat().st_size

    def chunks(self, start: int, stop: int) -> Iterator[bytes]:
        return _slice(self._path, start, stop)


def wanted_range(connection: HTTPConnection, *, etag: str) -> tuple[int | None, int | None] | None:
    """Return the first and the last byte that a request asks for, `None` if it asks for all.

    A missing first byte means the last so many; what cannot be understood counts as not said, and
    so does a range of another version than `etag` (If-Range; our answers have no date).
    """
    header = connection.headers.get("range")
    if header is None or is_head(connection.scope):
        return None
    condition = connection.headers.get("if-range")
    if condition is not None and condition.strip() != etag:
        return None
    match = _RANGE.match(header.strip())
    if match is None or not any(match.groups()):
        return None
    first, last = (int(digits) if digits else None for digits in match.groups())
    if first is not None and last is not None and last < first:
        return None
    return first, last


def is_unchanged(connection: HTTPConnection, *, etag: str) -> bool:
    """Whether the client has the version `etag` already (If-None-Match)."""
    known = [
        tag.strip().removeprefix("W/")
        for header in connection.headers.getlist("if-none-match")
        for tag in header.split(",")
    ]
    return etag in known or "*" in known


def _resolve(part: tuple[int | None, int | None], size: int) -> tuple[int, int]:
    first, last = part
    if first is None:
        return max(0, size - (last or 0)), size
    return first, size if last is None else min(last + 1, size)


def _slice(path: Path, start: int, stop: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        left = stop - start
        while left > 0:
            chunk = file.read(min(_CHUNK_BYTES, left))
            if not chunk:
                raise OSError(f"{path} ended {left} bytes early")
            left -= len(chunk)
            yield chunk
