"""What is known of a request beside its parameters: its id, its path, what it accepts."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import Scope

from astrolabe.identity import ANONYMOUS, Principal

__all__ = [
    "HEAD_KEY",
    "NOTES_KEY",
    "REQUEST_ID_KEY",
    "BrokenAnswerError",
    "RequestNotes",
    "accepts_html",
    "accepts_json",
    "client_address",
    "is_head",
    "notes_of",
    "request_id",
    "route_template",
]

REQUEST_ID_KEY = "astrolabe.request_id"
HEAD_KEY = "astrolabe.head"
NOTES_KEY = "astrolabe.notes"


class BrokenAnswerError(Exception):
    """An answer that has begun cannot be finished; the connection must be broken."""


@dataclass
class RequestNotes:
    """What is found out about a request on its way; one object from the first layer to the last.

    Parameters
    ----------
    address
        The client's, behind the proxies that we trust.
    principal
        Who asks, once that is known; anonymous before.
    by_cookie
        Whether the credential came as a cookie.
    is_checked
        Whether the route's own declaration of who may come has been applied.
    credential_failed
        Whether a credential came that is not good (any more).
    headers
        (name, value) pairs to be added to the answer, whatever it will be.
    """

    address: str | None = None
    principal: Principal = ANONYMOUS
    by_cookie: bool = False
    is_checked: bool = False
    credential_failed: bool = False
    headers: list[tuple[str, str]] = field(default_factory=list)


def notes_of(connection: HTTPConnection) -> RequestNotes:
    """Return the notes on the request that `connection` brings."""
    found = connection.scope.get(NOTES_KEY)
    if not isinstance(found, RequestNotes):
        found = connection.scope[NOTES_KEY] = RequestNotes()
    return found


def client_address(scope: Scope, trusted_proxies: Container[str]) -> str | None:
    """Return the address that the request came from, behind the proxies that we trust."""
    peer = scope.get("client")
    address: str | None = peer[0] if peer else None
    forwarded = ",".join(Headers(scope=scope).getlist("x-forwarded-for"))
    hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()]
    while address in trusted_proxies and hops:
        address = hops.pop()
    return address


def request_id(scope: Scope) -> str:
    """Return the id under which the logs know this request."""
    found = scope.get(REQUEST_ID_KEY)
    return found if isinstance(found, str) else "unknown"


def is_head(scope: Scope) -> bool:
    """Whether the client asked for the headers only; handlers may then spare the work."""
    return bool(scope.get(HEAD_KEY, False))


def route_template(scope: Scope) -> str:
    """Return the path as its route declares it (``/api/tap/async/{job_id}``), for metrics.

    What no route knows is all one, so that made-up paths cannot grow the number of series.
    """
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else "other"


def accepts_json(connection: HTTPConnection) -> bool:
    """Whether the Accept header names a JSON type; wildcards do not count."""
    for header in connection.headers.getlist("accept"):
        for entry in header.split(","):
            media, *parameters = (part.strip().lower() for part in entry.split(";"))
            refused = any(p.replace(" ", "") in ("q=0", "q=0.0", "q=0.00") for p in parameters)
            if (media == "application/json" or media.endswith("+json")) and not refused:
                return True
    return False


def accepts_html(connection: HTTPConnection) -> bool:
    """Whether a browser asks for a page: the Accept header names HTML; wildcards do not count."""
    entries = ",".join(connection.headers.getlist("accept")).lower().split(",")
    return any(entry.partition(";")[0].strip() == "text/html" for entry in entries)
