"""What all pages with forms share: their values, the reading of a form, the way on."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse, Response

from astrolabe.core.errors import (
    BadParameterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
)
from astrolabe.identity import Principal
from astrolabe_api.common.csrf import CSRF_FIELD
from astrolabe_api.common.multipart import MultipartLimits
from astrolabe_api.common.params import Parameters, read_parameters
from astrolabe_api.common.state import ApiState

__all__ = ["FORM_LIMITS", "PAGE_PATHS", "attempt", "field", "page_values", "read_form", "see"]

PAGE_PATHS = ("/account", "/groups", "/admin")
"""Below these every answer is a page; who has to log in first is led to the form."""

FORM_LIMITS = MultipartLimits(field_bytes=65_536, file_bytes=0)
_EXPECTED = (BadParameterError, ConflictError, ForbiddenError, NotFoundError)

T = TypeVar("T")


def page_values(
    state: ApiState, caller: Principal, *, message: str | None = None, error: str | None = None
) -> dict[str, Any]:
    """Return what every page needs to know.

    Parameters
    ----------
    message, error
        What was done, or why it was not.
    """
    key = caller.token_key
    return {
        "site": state.settings.server.title,
        "user": caller.username,
        "is_admin": "admin:user" in caller.scopes,
        "csrf": "" if key is None else state.csrf.of(key),
        "message": message,
        "error": error,
    }


async def read_form(request: Request, state: ApiState, caller: Principal) -> Parameters:
    """Read a form of our own pages.

    Raises
    ------
    ForbiddenError
        Raised if it is not one that this session was shown.
    BadParameterError
        Raised if it cannot be read.
    """
    given = await read_parameters(request, limits=FORM_LIMITS)
    state.csrf.check(given.single(CSRF_FIELD), caller.token_key)
    return given


def field(given: Parameters, name: str) -> str:
    """Return a field's text without blanks around it, empty if it is missing."""
    return (given.single(name) or "").strip()


async def attempt(
    action: Callable[..., T], *values: object, **named: object
) -> tuple[T | None, str | None, int]:
    """Call the domain in a thread; return its result, or what to say instead, and the status."""
    try:
        return await run_in_threadpool(action, *values, **named), None, HTTPStatus.OK.value
    except _EXPECTED as exc:
        return None, str(exc), exc.status


def see(path: str) -> Response:
    """Lead on to a page after a form, so that loading it again does nothing twice."""
    return RedirectResponse(path, status_code=HTTPStatus.SEE_OTHER)
