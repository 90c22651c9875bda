"""The session's cookie: HttpOnly, SameSite=Lax, host-only, and Secure wherever there is TLS."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from starlette.requests import HTTPConnection
from starlette.responses import Response

__all__ = [
    "PROGRAM_COOKIE",
    "cookie_name",
    "end_session_cookie",
    "form_cookie_name",
    "session_cookie",
    "set_form_cookie",
    "set_session_cookie",
]

PROGRAM_COOKIE: Final = "SESSION"
"""The name that TapPlus looks for.  Any site of the same domain can plant a cookie of this name in
a browser, so it counts only where no browser sends it."""

_NAME: Final = "astrolabe"
_FORM_NAME: Final = "astrolabe-form"


def cookie_name(*, https: bool) -> str:
    """Return the name of the session's cookie.

    Browsers take a name with the prefix ``__Host-`` only from the host itself, over TLS: no
    neighbour in the same domain can plant one.
    """
    return f"__Host-{_NAME}" if https else _NAME


def form_cookie_name(*, https: bool) -> str:
    """Return the name of the cookie that ties the login form to the browser that asked for it."""
    return f"__Host-{_FORM_NAME}" if https else _FORM_NAME


def session_cookie(connection: HTTPConnection, *, https: bool) -> str | None:
    """Return the value of the session's cookie, `None` without one."""
    found = connection.cookies.get(cookie_name(https=https))
    if found:
        return found
    if "sec-fetch-site" in connection.headers or "sec-fetch-mode" in connection.headers:
        return None
    return connection.cookies.get(PROGRAM_COOKIE) or None


def set_session_cookie(
    response: Response, value: str, *, expires: datetime, https: bool, for_programs: bool
) -> None:
    """Give the client its session.

    Parameters
    ----------
    value
        The token.
    expires
        When the token ends (UTC).
    for_programs
        Whether the client is no browser: it gets the cookie under the name for programs too.
    """
    for name in (PROGRAM_COOKIE, cookie_name(https=https))[0 if for_programs else 1 :]:
        response.set_cookie(
            name, value, expires=expires, path="/", secure=https, httponly=True, samesite="lax"
        )
    response.headers["Cache-Control"] = "no-store"


def end_session_cookie(response: Response, *, https: bool) -> None:
    """Make the client forget its session."""
    for name in (PROGRAM_COOKIE, cookie_name(https=https)):
        response.delete_cookie(name, path="/", secure=https, httponly=True, samesite="lax")


def set_form_cookie(response: Response, value: str, *, https: bool) -> None:
    """Tie the login form that `response` shows to this browser, until it is closed."""
    response.set_cookie(
        form_cookie_name(https=https),
        value,
        path="/",
        secure=https,
        httponly=True,
        samesite="lax",
    )
