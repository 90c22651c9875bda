"""A client that speaks ASGI itself, so that it can leave, dawdle and look at single messages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from starlette.types import ASGIApp, Message


class RawClient:
    """One request to an application, message by message.

    Parameters
    ----------
    app
        The application.
    method, path, query
        Of the request.
    headers
        (name, value) pairs.
    body
        Chunks of the request's body.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        method: str = "GET",
        path: str = "/",
        query: str = "",
        headers: Iterable[tuple[str, str]] = (),
        body: Iterable[bytes] = (),
    ) -> None:
        chunks = list(body)
        self._requests: list[Message] = [
            {"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks
        ]
        self._requests.append({"type": "http.request", "body": b"", "more_body": False})
        self.received: list[Message] = []
        self.read_chunks = 0
        self.may_read = asyncio.Event()
        self.may_read.set()
        self._arrived = asyncio.Event()
        self._gone = asyncio.Event()
        self._scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "scheme": "http",
            "headers": [(n.lower().encode(), v.encode()) for n, v in headers],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        self._app = app
        self.task: asyncio.Task[None] | None = None

    def start(self) -> RawClient:
        """Send the request."""
        self.task = asyncio.create_task(self._run())
        return self

    async def _run(self) -> None:
        await self._app(self._scope, self._receive, self._send)

    def leave(self) -> None:
        """Close the connection."""
        self._gone.set()

    async def first_message(self) -> Message:
        """Wait for the answer's start."""
        await self._arrived.wait()
        return self.received[0]

    async def finish(self) -> bytes:
        """Wait for the end of the application's work; return the body."""
        assert self.task is not None
        await self.task
        return b"".join(m.get("body", b"") for m in self.received)

    @property
    def status(self) -> int:
        """Status of the answer, 0 if there was none."""
        return int(self.received[0]["status"]) if self.received else 0

    @property
    def is_complete(self) -> bool:
        """Whether the answer was ended properly."""
        return bool(self.received) and not self.received[-1].get("more_body", True)

    async def _receive(self) -> Message:
        if self._requests:
            self.read_chunks += 1
            return self._requests.pop(0)
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await self.may_read.wait()
        self.received.append(message)
        self._arrived.set()
