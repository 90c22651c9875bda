"""DALI parameters (DALI 1.1, section 3): read alike from the URL, a form or a multipart body.

Names count in any case.  Where the same name stands in the body and in the URL, the body wins
(some clients send everything twice).  The same value twice is fine, different values of a
parameter that may be given once are an error.  What a service does not know, it does not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import parse_qsl

from starlette.requests import Request

from astrolabe.core.errors import BadParameterError, TooLargeError
from astrolabe_api.common.errors import prefer_json_errors
from astrolabe_api.common.multipart import MultipartForm, MultipartLimits, read_multipart

__all__ = ["Parameters", "read_parameters"]


class Parameters:
    """The parameters of one request.

    Parameters
    ----------
    url
        (name, value) pairs of the query string, in order.
    body
        The same of the body.
    files
        Files of a multipart body by the name of their part.
    """

    def __init__(
        self,
        *,
        url: Iterable[tuple[str, str]] = (),
        body: Iterable[tuple[str, str]] = (),
        files: dict[str, Path] | None = None,
    ) -> None:
        in_body = [(name.upper(), value) for name, value in body]
        named = {name for name, _ in in_body}
        in_url = [(name.upper(), value) for name, value in url]
        self._pairs = in_body + [pair for pair in in_url if pair[0] not in named]
        self.files = files or {}

    def pairs(self, *, without: Iterable[str] = ()) -> tuple[tuple[str, str], ...]:
        """Return all parameters, names in capitals, but those named in `without`."""
        left_out = {name.upper() for name in without}
        return tuple(pair for pair in self._pairs if pair[0] not in left_out)

    def values(self, name: str) -> tuple[str, ...]:
        """Return every value of `name`, in order."""
        wanted = name.upper()
        return tuple(value for key, value in self._pairs if key == wanted)

    def single(self, name: str) -> str | None:
        """Return the one value of `name`, `None` if it is missing or empty.

        Raises
        ------
        BadParameterError
            Raised if it was given twice with different values.
        """
        found = dict.fromkeys(value for value in self.values(name) if value.strip())
        if len(found) > 1:
            shown = " and ".join(repr(value[:100]) for value in found)
            raise BadParameterError(
                f"{name.upper()} was given more than once, as {shown}; give it once."
            )
        return next(iter(found), None)

    def integer(self, name: str) -> int | None:
        """Return the one value of `name` as a whole number, `None` if it is missing or empty.

        Raises
        ------
        BadParameterError
            Raised if it is no whole number of at most 18 digits.
        """
        value = self.single(name)
        if value is None:
            return None
        stripped = value.strip()
        digits = stripped.removeprefix("-").removeprefix("+")
        if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
            raise BadParameterError(f"{name.upper()} must be a whole number, not {value[:100]!r}.")
        return int(stripped)

    def response_format(self) -> str | None:
        """Return the asked output format: RESPONSEFORMAT, or FORMAT, its name in TAP 1.0.

        Raises
        ------
        BadParameterError
            Raised if the one that counts was given twice with different values.
        """
        for name in ("RESPONSEFORMAT", "FORMAT"):
            found = {value.strip().lower(): value.strip() for value in self.values(name)}
            found.pop("", None)
            if len(found) == 1:
                return next(iter(found.values()))
            if found:
                return self.single(name)
        return None


async def read_parameters(
    request: Request,
    *,
    limits: MultipartLimits,
    new_file: Callable[[str], Path] | None = None,
) -> Parameters:
    """Read the parameters of `request`, whatever its method.

    A form in the body of a GET counts too: one client sends WAIT that way.

    Parameters
    ----------
    limits
        What a body may hold.
    new_file
        Gives the path to write an uploaded file to; without it files are refused.

    Raises
    ------
    BadParameterError
        Raised if the query string or the body cannot be read.
    TooLargeError
        Raised if the body is over a limit.
    """
    url = _decode(request.scope.get("query_string", b""), "The query string", limits.parts)
    form = await _read_body(request, limits=limits, new_file=new_file or _refuse_file)
    parameters = Parameters(url=url, body=form.fields, files=form.files)
    wanted = parameters.values("RESPONSEFORMAT") or parameters.values("FORMAT")
    if any(value.strip().lower() in ("json", "application/json") for value in wanted):
        prefer_json_errors(request)
    return parameters


async def _read_body(
    request: Request, *, limits: MultipartLimits, new_file: Callable[[str], Path]
) -> MultipartForm:
    header = request.headers.get("content-type", "")
    media_type = header.partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        return await read_multipart(request.stream(), header, limits=limits, new_file=new_file)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limits.field_bytes:
            raise TooLargeError(
                f"The form is over the limit of {limits.field_bytes} bytes; send long lists as an "
                "uploaded table."
            )
    if media_type == "application/x-www-form-urlencoded":
        fields = _decode(bytes(body), "The form in the body", limits.parts)
        return MultipartForm(fields=fields)
    if body.strip():
        raise BadParameterError(
            f"A body of type {media_type or 'unknown'} cannot be read; send "
            "application/x-www-form-urlencoded or multipart/form-data."
        )
    return MultipartForm()


def _decode(text: bytes, what: str, most: int) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            text.decode("utf-8"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=most,
        )
    except UnicodeDecodeError as exc:
        raise BadParameterError(f"{what} is not UTF-8 text.") from exc
    except ValueError as exc:
        raise BadParameterError(
            f"{what} has more than {most} parameters. Send fewer at a time, or a table by UPLOAD "
            "where the service takes one."
        ) from exc


def _refuse_file(name: str) -> Path:
    raise BadParameterError(f"This address takes no files; the part {name!r} is one.")
