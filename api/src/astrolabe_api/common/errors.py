"""Errors are rendered here and nowhere else, each in the form of its service's standard.

A service registers the form of its addresses with :func:`declare_error_form`; addresses without
one answer RFC 9457 problem details, and so does every service when the client asks for JSON.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Self
from urllib.parse import quote, urlencode

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.websockets import WebSocket

from astrolabe.core.errors import (
    AstrolabeError,
    BadParameterError,
    ForbiddenError,
    InternalError,
    MethodNotAllowedError,
    MultipleValuesError,
    NotFoundError,
    OverloadError,
    Position,
    QueryError,
    QuotaExceededError,
    RequestError,
    StorageFullError,
    TooLargeError,
    UnauthenticatedError,
)
from astrolabe.tables.model import Info
from astrolabe_api.common.challenges import Challenges
from astrolabe_api.common.html import page_response
from astrolabe_api.common.requests import accepts_json, notes_of, request_id
from astrolabe_api.common.votable import VOTABLE_MIME, error_document

__all__ = [
    "PROBLEM_MIME",
    "ErrorForm",
    "Failure",
    "add_challenges",
    "declare_error_form",
    "error_response",
    "failure_response",
    "fault_name",
    "install_error_handlers",
    "prefer_json_errors",
    "soda_label",
]

PROBLEM_MIME = "application/problem+json"
_RETRY_AFTER_SECONDS = 5
_JSON_WANTED_KEY = "astrolabe.json_errors"

_TRANSIENT = frozenset(
    {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.INSUFFICIENT_STORAGE}
)

_log = structlog.get_logger(__name__)

_FRAMEWORK_ERRORS: dict[int, type[AstrolabeError]] = {
    HTTPStatus.UNAUTHORIZED: UnauthenticatedError,
    HTTPStatus.FORBIDDEN: ForbiddenError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.METHOD_NOT_ALLOWED: MethodNotAllowedError,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: TooLargeError,
}


class ErrorForm(StrEnum):
    """How an error is written."""

    PROBLEM = "problem"
    PAGE = "page"
    VOTABLE = "votable"
    CONE = "cone"
    FAULT = "fault"
    """A VOTable whose message begins with the kind of fault (SIA 2.0, section 2.3)."""
    SODA = "soda"
    """Text that begins with a label (SODA 1.0, section 5.2)."""
    TEXT = "text"


@dataclass
class _Forms:
    by_prefix: dict[str, ErrorForm] = field(default_factory=dict)
    docs_url: str = ""
    site: str = ""
    challenges: Challenges = field(default_factory=lambda: Challenges(""))

    def of(self, path: str) -> ErrorForm:
        matching = (p for p in self.by_prefix if path == p or path.startswith(f"{p}/"))
        longest = max(matching, key=len, default=None)
        return ErrorForm.PROBLEM if longest is None else self.by_prefix[longest]


def declare_error_form(app: FastAPI, prefix: str, form: ErrorForm) -> None:
    """Say in which form errors below the path `prefix` are written."""
    _forms(app).by_prefix[prefix] = form


def install_error_handlers(
    app: FastAPI, *, docs_url: str, challenges: Challenges | None = None
) -> None:
    """Make `app` render every error by the rules of this module.

    Parameters
    ----------
    docs_url
        Absolute address of the page that explains the error codes; problem details point to it.
    challenges
        What a caller who has to log in is offered; without any only the scheme Bearer is named.
    """
    forms = _forms(app)
    forms.docs_url = docs_url
    forms.site = app.title
    if challenges is not None:
        forms.challenges = challenges
    app.add_exception_handler(AstrolabeError, _on_error)
    app.add_exception_handler(HTTPException, _on_error)
    app.add_exception_handler(RequestValidationError, _on_error)


def add_challenges(connection: HTTPConnection, response: Response) -> Response:
    """Tell a caller who came without a (good) credential how he could log in.

    For answers that everybody gets, such as ``/capabilities``: AuthVO's optional authentication.
    """
    if notes_of(connection).principal.is_anonymous:
        _forms(connection.scope["app"]).challenges.add_to(response, connection)
    return response


def prefer_json_errors(connection: HTTPConnection) -> None:
    """Remember that this request's RESPONSEFORMAT is JSON, so that its error is JSON too."""
    connection.scope[_JSON_WANTED_KEY] = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error as it is shown.

    Parameters
    ----------
    code, title, status
        As in `astrolabe.core.errors`.
    detail
        The message.
    position, suggestions
        Of a wrong query: where in its text, and the nearest names.
    meaning
        The status that the error itself has, where that of the answer is another: the error of a
        job is told with 200.
    """

    code: str
    title: str
    status: int
    detail: str
    meaning: int | None = None
    position: Position | None = None
    suggestions: tuple[str, ...] | None = None

    @classmethod
    def of(cls, error: AstrolabeError) -> Self:
        """Return how `error` is shown."""
        query_error = error if isinstance(error, QueryError) else None
        return cls(
            code=error.code,
            title=error.title,
            status=error.status,
            detail=str(error),
            position=None if query_error is None else query_error.position,
            suggestions=None if query_error is None else query_error.suggestions,
        )


def error_response(connection: HTTPConnection, exc: Exception) -> Response:
    """Return the answer to a request that ended in `exc`."""
    error, headers = _as_known(connection, exc)
    return failure_response(connection, Failure.of(error), headers=headers)


def failure_response(
    connection: HTTPConnection, failure: Failure, *, headers: dict[str, str] | None = None
) -> Response:
    """Return `failure` in the form of the service, or as JSON if the client asked for that."""
    forms = _forms(connection.scope["app"])
    form = forms.of(connection.scope["path"])
    if accepts_json(connection) or connection.scope.get(_JSON_WANTED_KEY, False):
        form = ErrorForm.PROBLEM
    identifier = request_id(connection.scope)
    status = failure.status
    if status == HTTPStatus.NO_CONTENT:
        # SODA 1.0, section 5.1: that a cutout holds nothing is an answer without a body.
        return Response(status_code=status, headers={"Cache-Control": "no-cache"})
    if form is ErrorForm.PAGE:
        return _page(connection, failure, forms.site, headers or {})
    match form:
        case ErrorForm.VOTABLE | ErrorForm.CONE | ErrorForm.FAULT:
            infos = [Info("error_code", failure.code), Info("request_id", identifier)]
            message = failure.detail
            if form is ErrorForm.FAULT:
                message = f"{fault_name(failure)}: {message}"
            if form is ErrorForm.CONE:
                # Cone search clients show the INFO of this name (SCS 1.03, section 2.3), and
                # older ones read an answer only if its status is 200.
                infos.insert(0, Info("Error", failure.detail))
                status = HTTPStatus.OK if status == HTTPStatus.BAD_REQUEST else status
            body, media_type = error_document(message, infos=infos), VOTABLE_MIME
        case ErrorForm.TEXT | ErrorForm.SODA:
            label = f"{soda_label(failure)}: " if form is ErrorForm.SODA else ""
            body, media_type = f"{label}{failure.detail}\n", "text/plain; charset=utf-8"
        case _:
            body, media_type = _problem(failure, identifier, forms.docs_url), PROBLEM_MIME
    response = Response(
        body.encode(),
        status_code=status,
        headers={"Cache-Control": "no-store", **(headers or {})},
        media_type=media_type,
    )
    if status == HTTPStatus.UNAUTHORIZED:
        forms.challenges.add_to(response, connection)
    return response


def fault_name(failure: Failure) -> str:
    """Return the kind of fault as SIA 2.0 (section 2.3) and DataLink 1.1 name it."""
    if failure.code == NotFoundError.code:
        return "NotFoundFault"
    status = failure.meaning or failure.status
    if status in _TRANSIENT:
        return "TransientFault"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "FatalFault"
    return "UsageFault" if status == HTTPStatus.BAD_REQUEST else "DefaultFault"


def soda_label(failure: Failure) -> str:
    """Return the label that an error message of SODA begins with (SODA 1.0, section 5.2)."""
    if failure.code == MultipleValuesError.code:
        return "MultiValuedParamNotSupported"
    status = failure.meaning or failure.status
    if status == HTTPStatus.UNAUTHORIZED:
        return "AuthenticationError"
    if status == HTTPStatus.FORBIDDEN:
        return "AuthorizationError"
    if status in _TRANSIENT:
        return "ServiceUnavailable"
    return "Error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "UsageError"


def _page(
    connection: HTTPConnection, failure: Failure, site: str, headers: dict[str, str]
) -> Response:
    """Return an error of a page; who has to log in first is led to the form, and back."""
    query: bytes = connection.scope.get("query_string", b"")
    place = quote(connection.scope["path"]) + (f"?{query.decode('latin-1')}" if query else "")
    is_get = connection.scope["method"] == "GET"
    if failure.status == HTTPStatus.UNAUTHORIZED and is_get:
        address = f"/auth/login?{urlencode({'return_url': place})}"
        return RedirectResponse(address, status_code=HTTPStatus.SEE_OTHER)
    response = page_response(
        "error.html",
        {
            "site": site,
            "user": None,
            "error": None,
            "message": None,
            "heading": failure.title,
            "detail": failure.detail,
            "code": failure.code,
            "request_id": request_id(connection.scope),
            "again": place if is_get else None,
            "may_log_in": failure.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN},
        },
        status=failure.status,
    )
    response.headers.update(headers)
    return response


async def _on_error(request: Request | WebSocket, exc: Exception) -> Response:
    response = error_response(request, exc)
    if isinstance(request, WebSocket):
        # Before a websocket is accepted its first request can be refused like any other.
        await request.send_denial_response(response)
    return response


def _as_known(connection: HTTPConnection, exc: Exception) -> tuple[AstrolabeError, dict[str, str]]:
    """Return the platform's error for any exception, and the headers that belong to it."""
    headers: dict[str, str] = {}
    path = connection.scope["path"]
    if isinstance(exc, AstrolabeError):
        error: AstrolabeError = exc
        if isinstance(error, InternalError | StorageFullError):
            _log.error("request failed", code=error.code, error=str(error), exc_info=exc)
    elif isinstance(exc, HTTPException):
        headers.update(exc.headers or {})
        method = connection.scope.get("method", "GET")
        if exc.status_code == HTTPStatus.NOT_FOUND:
            message = f"There is nothing at {path}; /.well-known/astrolabe lists what is here."
        elif exc.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = headers["Allow"] = ", ".join(_allowed_methods(connection))
            message = f"{path} does not take {method}; it takes {allowed}."
        else:
            message = str(exc.detail)
        error = _FRAMEWORK_ERRORS.get(exc.status_code, RequestError)(message)
    elif isinstance(exc, RequestValidationError):
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'][1:])}: {fault['msg']}"
            for fault in exc.errors()
        )
        error = BadParameterError(f"The request's parameters are wrong: {faults}.")
    else:
        _log.error("request broke", path=path, exc_info=exc)
        error = InternalError(
            "The platform made a mistake. Please report it with the request id "
            f"{request_id(connection.scope)}."
        )
    if isinstance(error, QuotaExceededError) and error.retry_after_seconds is not None:
        # Rounded up: who comes back at that second must not be early.
        headers["Retry-After"] = str(math.ceil(error.retry_after_seconds))
    if isinstance(error, OverloadError | QuotaExceededError):
        headers.setdefault("Retry-After", str(_RETRY_AFTER_SECONDS))
    return error, headers


def _allowed_methods(connection: HTTPConnection) -> list[str]:
    """Return the methods that the request's path takes, over all of its routes."""
    routes: list[BaseRoute] = connection.app.routes
    methods = [
        method
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
        if any(
            route.matches({**connection.scope, "method": method})[0] is Match.FULL
            for route in routes
        )
    ]
    # Whatever takes GET takes HEAD: the middleware sees to that.
    return ["GET", "HEAD", *methods[1:]] if methods[:1] == ["GET"] else methods


def _problem(failure: Failure, identifier: str, docs_url: str) -> str:
    """Return RFC 9457 problem details."""
    document: dict[str, object] = {
        "type": f"{docs_url}#{failure.code}",
        "title": failure.title,
        "status": failure.status,
        "detail": failure.detail,
        "instance": f"urn:astrolabe:request:{identifier}",
        "code": failure.code,
    }
    if failure.position is not None:
        document["position"] = {
            "line": failure.position.line,
            "column": failure.position.column,
        }
    if failure.suggestions is not None:
        document["suggestions"] = list(failure.suggestions)
    return json.dumps(document, ensure_ascii=False)


def _forms(app: FastAPI) -> _Forms:
    forms = getattr(app.state, "error_forms", None)
    if not isinstance(forms, _Forms):
        forms = _Forms()
        app.state.error_forms = forms
    return forms
