"""Pure ASGI middleware: request id, access log, metrics, headers, CORS, HEAD, body limit.

Nothing here buffers: answers stream through untouched, and a handler still sees the client's
disconnect.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus

import structlog
from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from astrolabe.core.errors import TooLargeError
from astrolabe.core.ids import new_request_id
from astrolabe_api.common.errors import error_response
from astrolabe_api.common.metrics import observe_request
from astrolabe_api.common.requests import (
    HEAD_KEY,
    NOTES_KEY,
    REQUEST_ID_KEY,
    BrokenAnswerError,
    RequestNotes,
    client_address,
    route_template,
)

__all__ = [
    "SANDBOX_POLICY",
    "BodyLimitMiddleware",
    "CorsMiddleware",
    "FaultMiddleware",
    "HeadMiddleware",
    "RequestMiddleware",
    "add_middleware",
]

_log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")
_HEADER_NAMES = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~,\- ]{1,1000}\Z")
_CLIENT_GONE = 499
_EXPOSED = "Accept-Ranges, Content-Range, ETag, Location, WWW-Authenticate, X-VO-Authenticated"
_DISCARD_BYTES = 8_000_000
_DISCARD_SECONDS = 2.0
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
SANDBOX_POLICY = "sandbox"
"""What a browser may do with what users made: show it, as if it came from nowhere."""

_HTML_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def add_middleware(
    app: FastAPI,
    *,
    software: str,
    max_bytes: int,
    cors_origins: Sequence[str],
    trusted_proxies: Sequence[str] = (),
) -> None:
    """Put all of this module around `app`.

    Parameters
    ----------
    software
        Product token of the Server header (``astrolabe/1.0``).
    max_bytes
        Largest body of a request.
    cors_origins
        Origins whose pages may send credentials.
    trusted_proxies
        Addresses of proxies whose word on the client's address counts.
    """
    # The one added last is the first to see a request.
    app.add_middleware(FaultMiddleware)
    app.add_middleware(HeadMiddleware)
    app.add_middleware(BodyLimitMiddleware, max_bytes=max_bytes)
    app.add_middleware(CorsMiddleware, origins=cors_origins)
    app.add_middleware(
        RequestMiddleware, software=software, trusted_proxies=frozenset(trusted_proxies)
    )


class RequestMiddleware:
    """Outermost: gives the request its id, logs and counts it, adds the headers of every answer.

    Parameters
    ----------
    app
        What comes next.
    software
        Product token of the Server header (``astrolabe/1.0``).
    trusted_proxies
        Addresses of proxies whose X-Forwarded-For is believed, for the log.
    """

    def __init__(
        self, app: ASGIApp, *, software: str, trusted_proxies: frozenset[str] = frozenset()
    ) -> None:
        self._app = app
        self._software = software
        self._trusted_proxies = trusted_proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and finish what belongs to every answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        identifier = given if _REQUEST_ID.match(given) else new_request_id()
        scope[REQUEST_ID_KEY] = identifier
        notes = RequestNotes(address=client_address(scope, self._trusted_proxies))
        scope[NOTES_KEY] = notes
        status = 0
        sent_bytes = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status, sent_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                self._add_headers(MutableHeaders(scope=message), identifier, notes)
            elif message["type"] == "http.response.body":
                sent_bytes += len(message.get("body", b""))
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=identifier):
            try:
                await self._app(scope, receive, send_with_headers)
            except BrokenAnswerError as exc:
                # The server closes the connection of an answer that has no end: the client must
                # see that what it got is not everything.
                _log.warning("answer broken off", reason=str(exc))
            finally:
                seconds = time.perf_counter() - began
                self._record(scope, notes, status or _CLIENT_GONE, seconds, sent_bytes)

    def _add_headers(self, headers: MutableHeaders, identifier: str, notes: RequestNotes) -> None:
        headers["Server"] = self._software
        headers["X-Request-Id"] = identifier
        headers["X-Content-Type-Options"] = "nosniff"
        for name, value in notes.headers:
            headers.append(name, value)
        if notes.principal.username is not None:
            # AuthVO: on every authenticated answer and on no other.
            headers["X-VO-Authenticated"] = notes.principal.username
            _keep_private(headers)
        if headers.get("content-type", "").startswith(("text/html", "application/xhtml+xml")):
            headers.setdefault("Content-Security-Policy", _HTML_POLICY)
            headers.setdefault("Referrer-Policy", "same-origin")
        else:
            # Tables, texts and files may hold what users made: a browser that is led to one must
            # not take it for a page of this origin.
            headers.setdefault("Content-Security-Policy", SANDBOX_POLICY)

    def _record(
        self, scope: Scope, notes: RequestNotes, status: int, seconds: float, sent_bytes: int
    ) -> None:
        route = route_template(scope)
        observe_request(
            route=route,
            method=scope["method"],
            status=status,
            seconds=seconds,
            body_bytes=sent_bytes,
        )
        _log.info(
            "request",
            method=scope["method"],
            path=scope["path"],
            route=route,
            status=status,
            seconds=round(seconds, 6),
            bytes=sent_bytes,
            client=notes.address,
            user=notes.principal.username,
            token_key=notes.principal.token_key,
        )


def _keep_private(headers: MutableHeaders) -> None:
    """Keep the answer to one user out of caches that others use."""
    present = headers.get("cache-control", "")
    if "no-store" not in present and "private" not in present:
        headers["Cache-Control"] = f"private, {present}" if present else "private, no-cache"


class CorsMiddleware:
    """Lets pages of other origins read what is public.

    Everybody gets ``*`` without credentials; only the origins of the settings may send
    credentials.

    Parameters
    ----------
    app
        What comes next.
    origins
        Origins (``https://portal.example.org``) whose pages may send credentials.
    """

    def __init__(self, app: ASGIApp, *, origins: Sequence[str]) -> None:
        self._app = app
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer OPTIONS; add the headers to every other answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Headers(scope=scope)
        origin = request.get("origin", "")
        trusted = origin.lower() in self._origins

        async def send_with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Access-Control-Allow-Origin"] = origin if trusted else "*"
                headers["Access-Control-Expose-Headers"] = _EXPOSED
                if trusted:
                    headers["Access-Control-Allow-Credentials"] = "true"
                if self._origins:
                    headers.add_vary_header("Origin")
            await send(message)

        if scope["method"] != "OPTIONS":
            await self._app(scope, receive, send_with_cors)
            return
        answer = MutableHeaders({"Allow": _METHODS})
        if "access-control-request-method" in request:
            wanted = request.get("access-control-request-headers", "")
            answer["Access-Control-Allow-Methods"] = _METHODS
            answer["Access-Control-Max-Age"] = "86400"
            if _HEADER_NAMES.match(wanted):
                # `*` would not cover Authorization: name what the page asked for.
                answer["Access-Control-Allow-Headers"] = wanted
        start = {
            "type": "http.response.start",
            "status": HTTPStatus.NO_CONTENT.value,
            "headers": answer.raw,
        }
        await send_with_cors(start)
        await send_with_cors({"type": "http.response.body", "body": b"", "more_body": False})


class HeadMiddleware:
    """Answers HEAD wherever GET is answered: the same headers, no body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass HEAD on as GET and leave the body out."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        # The server must keep its own scope: it looks at the method to leave the body out.
        inner = {**scope, "method": "GET", HEAD_KEY: True}

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._app(inner, receive, send_without_body)
        finally:
            if "route" in inner:
                scope["route"] = inner["route"]


class FaultMiddleware:
    """Innermost: turns what no handler of errors knows into an error document of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for a handler that broke before it had answered."""
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except BrokenAnswerError:
            raise
        except Exception as exc:
            if started or scope["type"] != "http":
                raise
            await error_response(HTTPConnection(scope), exc)(scope, receive, send)


class BodyLimitMiddleware:
    """Refuses bodies over the limit: at once if announced, else while they come in.

    A body that was refused, here or further in, is not read to its end: the connection is closed.
    That is put off a little, since many clients look at the answer only when all is sent, and
    closing takes an answer that was not read away from them.

    Parameters
    ----------
    app
        What comes next.
    max_bytes
        Largest body.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what is too large, pass on all else."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope)
        announced = given.get("content-length", "")
        seen = 0
        unread = announced.strip("0") != "" or "transfer-encoding" in given

        async def counted() -> Message:
            nonlocal seen, unread
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                unread = unread and message.get("more_body", False)
                if seen > self._max_bytes:
                    raise self._error()
            else:
                unread = False
            return message

        async def closing(message: Message) -> None:
            if unread and message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Connection"] = "close"
            if unread and message["type"] == "http.response.body" and not message.get("more_body"):
                await send({**message, "more_body": True})
                await _discard(receive)
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        if announced.isdigit() and int(announced) > self._max_bytes:
            response = error_response(HTTPConnection(scope), self._error())
            await response(scope, receive, closing)
            return
        await self._app(scope, counted, closing)

    def _error(self) -> TooLargeError:
        megabytes = self._max_bytes / 1e6
        return TooLargeError(
            f"The request's body is over the limit of {megabytes:g} MB (setting limits.request_mb)."
        )


async def _discard(receive: Receive) -> None:
    """Read on for a moment what nobody wants, so that the sender comes to read the answer."""
    left = _DISCARD_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_SECONDS):
            while left > 0:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                left -= len(message.get("body", b""))
