"""What a TAP request asks for (TAP 1.1, section 2.7)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from astrolabe.core.errors import BadParameterError
from astrolabe.tables.formats import OutputFormat, resolve_format
from astrolabe_api.common.params import Parameters

__all__ = ["TapRequest", "read_tap_request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TapRequest:
    """A query as it came over HTTP.

    Parameters
    ----------
    query, lang
        The text and its language.
    maxrec
        Rows to give at most, `None` for the default.
    output
        The form of the answer.
    uploads
        Values of UPLOAD.
    files
        Multipart files by the name of their part.
    """

    query: str
    lang: str
    maxrec: int | None
    output: OutputFormat
    uploads: tuple[str, ...] = ()
    files: dict[str, Path]


def read_tap_request(given: Parameters) -> TapRequest:
    """Read a query from its parameters; REQUEST, VERSION and all unknown ones are ignored.

    Raises
    ------
    BadParameterError
        Raised if QUERY or LANG is missing, or a parameter does not fit.
    """
    output = resolve_format(given.response_format())
    lang = given.single("LANG")
    if lang is None:
        raise BadParameterError("The parameter LANG is missing: give LANG=ADQL.")
    query = given.single("QUERY")
    if query is None:
        raise BadParameterError("The parameter QUERY is missing: give it an ADQL query.")
    return TapRequest(
        query=query,
        lang=lang.strip(),
        maxrec=given.integer("MAXREC"),
        output=output,
        uploads=given.values("UPLOAD"),
        files=given.files,
    )
