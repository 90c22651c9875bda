"""The one tree of error classes.

An error is raised deep, carries a stable machine code and is rendered once, at the edge, in the
form of the service's standard (VOTable, text or RFC 9457 problem details).  Nothing here knows
HTTP beyond the status that belongs to an error's meaning.

The tree::

    AstrolabeError                  internal            500
    ├── InternalError               internal            500
    ├── RequestError                bad-parameter       400
    │   ├── BadParameterError       bad-parameter       400
    │   │   └── MultipleValuesError multiple-values     400
    │   ├── QueryError              adql-syntax         400   (has a position)
    │   │   ├── AdqlSyntaxError     adql-syntax         400
    │   │   ├── AdqlUnsupportedError adql-unsupported   400
    │   │   ├── AdqlTypeError       adql-type           400
    │   │   ├── UnknownTableError   unknown-table       400
    │   │   ├── UnknownColumnError  unknown-column      400
    │   │   └── UnknownFunctionError unknown-function   400
    │   ├── UploadInvalidError      upload-invalid      400
    │   ├── TooLargeError           too-large           413
    │   └── ImportRefusedError      import-refused      400
    ├── UnauthenticatedError        unauthenticated     401
    ├── ForbiddenError              forbidden           403
    ├── NotFoundError               not-found           404
    ├── NoOverlapError              no-overlap          204
    ├── MethodNotAllowedError       method-not-allowed  405
    ├── ConflictError               conflict            409
    ├── QuotaExceededError          quota-exceeded      429
    ├── QueryTimeoutError           timeout             400
    ├── CancelledError              cancelled           499
    ├── ImageInvalidError           image-invalid       500
    ├── OverloadError               overload            503
    └── StorageFullError            storage-full        507
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

__all__ = [
    "AdqlSyntaxError",
    "AdqlTypeError",
    "AdqlUnsupportedError",
    "AstrolabeError",
    "BadParameterError",
    "CancelledError",
    "ConflictError",
    "ForbiddenError",
    "ImageInvalidError",
    "ImportRefusedError",
    "InternalError",
    "MethodNotAllowedError",
    "MultipleValuesError",
    "NoOverlapError",
    "NotFoundError",
    "OverloadError",
    "Position",
    "QueryError",
    "QueryTimeoutError",
    "QuotaExceededError",
    "RequestError",
    "StorageFullError",
    "TooLargeError",
    "UnauthenticatedError",
    "UnknownColumnError",
    "UnknownFunctionError",
    "UnknownTableError",
    "UploadInvalidError",
    "status_of",
]


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a query's text; both numbers count from 1."""

    line: int
    column: int

    @override
    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


class AstrolabeError(Exception):
    """Base of all errors that a user may see.

    Parameters
    ----------
    message
        One or two sentences: what was wrong and what would be right.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InternalError(AstrolabeError):
    """A fault of the platform itself."""


class RequestError(AstrolabeError):
    """The request cannot be served as it stands."""

    code = "bad-parameter"
    status = 400
    title = "Bad request"


class BadParameterError(RequestError):
    """A parameter is missing, malformed or out of its range."""

    title = "Bad parameter"


class MultipleValuesError(BadParameterError):
    """A parameter has several values where the service takes one."""

    code = "multiple-values"
    title = "More than one value"


class QueryError(RequestError):
    """A query is wrong; says where, and what names would fit.

    Parameters
    ----------
    message
        What was wrong and what would be right, without the position.
    position
        Where in the query's text, if known.
    suggestions
        The nearest names that exist, best first.
    """

    code = "adql-syntax"
    title = "Query error"

    def __init__(
        self,
        message: str,
        *,
        position: Position | None = None,
        suggestions: tuple[str, ...] = (),
    ) -> None:
        text = message if position is None else f"{message} ({position})"
        if suggestions:
            text += f"; did you mean {' or '.join(suggestions)}?"
        super().__init__(text)
        self.position = position
        self.suggestions = suggestions


class AdqlSyntaxError(QueryError):
    """The text is not ADQL."""

    title = "ADQL syntax error"


class AdqlUnsupportedError(QueryError):
    """The text uses what ADQL lacks or what this service does not offer; names the ADQL way."""

    code = "adql-unsupported"
    title = "Not supported in ADQL here"


class AdqlTypeError(QueryError):
    """An expression's types do not fit."""

    code = "adql-type"
    title = "ADQL type error"


class UnknownTableError(QueryError):
    """No such table, or none that the caller may read."""

    code = "unknown-table"
    title = "Unknown table"


class UnknownColumnError(QueryError):
    """No such column in the tables of the query."""

    code = "unknown-column"
    title = "Unknown column"


class UnknownFunctionError(QueryError):
    """No such function."""

    code = "unknown-function"
    title = "Unknown function"


class UploadInvalidError(RequestError):
    """An uploaded table cannot be read or is not allowed."""

    code = "upload-invalid"
    title = "Invalid upload"


class TooLargeError(RequestError):
    """The request, an upload or a query's text is over its limit."""

    code = "too-large"
    status = 413
    title = "Too large"


class ImportRefusedError(RequestError):
    """A catalog cannot be imported as it stands; nothing was changed."""

    code = "import-refused"
    title = "Import refused"


class UnauthenticatedError(AstrolabeError):
    """The caller must log in first."""

    code = "unauthenticated"
    status = 401
    title = "Login needed"


class ForbiddenError(AstrolabeError):
    """The caller may not do this."""

    code = "forbidden"
    status = 403
    title = "Forbidden"


class NotFoundError(AstrolabeError):
    """There is no such thing, or none that the caller may see."""

    code = "not-found"
    status = 404
    title = "Not found"


class NoOverlapError(AstrolabeError):
    """What was asked for and the image have nothing in common.

    SODA 1.0, section 5.1: that is no fault, the answer is empty.
    """

    code = "no-overlap"
    status = 204
    title = "No overlap"


class ImageInvalidError(AstrolabeError):
    """An image's file is broken, or is not what it was when it was imported."""

    code = "image-invalid"
    status = 500
    title = "Broken image"


class MethodNotAllowedError(AstrolabeError):
    """The address exists but not with this method."""

    code = "method-not-allowed"
    status = 405
    title = "Method not allowed"


class ConflictError(AstrolabeError):
    """The thing's present state does not allow this."""

    code = "conflict"
    status = 409
    title = "Conflict"


class QuotaExceededError(AstrolabeError):
    """The caller has used up a quota.

    Parameters
    ----------
    message
        Which quota, and what it is.
    retry_after_seconds
        When it makes sense to try again; `None` if waiting does not help.
    """

    code = "quota-exceeded"
    status = 429
    title = "Quota exceeded"

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class QueryTimeoutError(AstrolabeError):
    """A query ran longer than its time limit."""

    code = "timeout"
    status = 400
    title = "Time limit exceeded"


class CancelledError(AstrolabeError):
    """The caller went away or aborted the job; nobody reads this answer."""

    code = "cancelled"
    status = 499
    title = "Cancelled"


class OverloadError(AstrolabeError):
    """Too many requests are running; trying again later helps."""

    code = "overload"
    status = 503
    title = "Overloaded"


class StorageFullError(AstrolabeError):
    """A disk or a store has no room left."""

    code = "storage-full"
    status = 507
    title = "Storage full"


def status_of(code: str) -> int:
    """Return the status that belongs to an error's code, 500 if it is unknown."""
    waiting: list[type[AstrolabeError]] = [AstrolabeError]
    while waiting:
        kind = waiting.pop()
        if kind.code == code:
            return kind.status
        waiting += kind.__subclasses__()
    return AstrolabeError.status
