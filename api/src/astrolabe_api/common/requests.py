"""What is known of a request beside its parameters: its id, its path, what it accepts."""

from __future__ import annotations

from starlette.requests import HTTPConnection
from starlette.types import Scope

__all__ = [
    "HEAD_KEY",
    "REQUEST_ID_KEY",
    "BrokenAnswerError",
    "accepts_json",
    "is_head",
    "request_id",
    "route_template",
]

REQUEST_ID_KEY = "astrolabe.request_id"
HEAD_KEY = "astrolabe.head"


class BrokenAnswerError(Exception):
    """An answer that has begun cannot be finished; the connection must be broken."""


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
