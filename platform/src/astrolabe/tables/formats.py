"""The output formats of query services: what they are called and how they are chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace

from astrolabe.core.errors import BadParameterError

__all__ = ["OUTPUT_FORMATS", "OutputFormat", "resolve_format"]

_TAPREGEXT = "ivo://ivoa.net/std/TAPRegExt#"
_VOTABLE = "application/x-votable+xml"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFormat:
    """One form in which a result can be written.

    Parameters
    ----------
    name
        The name that the writers know it by.
    mime
        The media type to be sent; where the client asked for a media type, that one.
    aliases
        Short names for RESPONSEFORMAT, in lower case, the usual one first.
    other_mimes
        Media types by which it may be asked for as well.
    ivo_id
        Its standard identifier for TAPRegExt, if it has one.
    extension
        For names of files, with the dot.
    gzip
        Whether the body is to be compressed whatever the client accepts.
    can_report_errors
        Whether the form has a place for an error after the first row.
    """

    name: str
    mime: str
    aliases: tuple[str, ...]
    extension: str
    other_mimes: tuple[str, ...] = ()
    ivo_id: str | None = None
    gzip: bool = False
    can_report_errors: bool = False


OUTPUT_FORMATS: tuple[OutputFormat, ...] = (
    OutputFormat(
        name="votable/b2",
        mime=_VOTABLE,
        aliases=("votable", "votable/b2"),
        other_mimes=(
            f"{_VOTABLE};serialization=binary2",
            "text/xml",
            "application/xml",
            "text/x-votable+xml",
        ),
        ivo_id=f"{_TAPREGEXT}output-votable-binary2",
        extension=".vot",
        can_report_errors=True,
    ),
    OutputFormat(
        name="votable/td",
        mime=f"{_VOTABLE};serialization=tabledata",
        aliases=("votable/td", "votable_plain"),
        ivo_id=f"{_TAPREGEXT}output-votable-td",
        extension=".vot",
        can_report_errors=True,
    ),
    OutputFormat(
        name="votable/b",
        mime=f"{_VOTABLE};serialization=binary",
        aliases=("votable/b",),
        ivo_id=f"{_TAPREGEXT}output-votable-binary",
        extension=".vot",
        can_report_errors=True,
    ),
    OutputFormat(
        name="csv",
        mime="text/csv;header=present",
        aliases=("csv",),
        other_mimes=("text/csv", "application/csv"),
        extension=".csv",
    ),
    OutputFormat(
        name="tsv",
        mime="text/tab-separated-values",
        aliases=("tsv",),
        extension=".tsv",
    ),
    OutputFormat(
        name="fits",
        mime="application/fits",
        aliases=("fits",),
        extension=".fits",
    ),
    OutputFormat(
        name="ecsv",
        mime="text/ecsv",
        aliases=("ecsv",),
        other_mimes=("text/x-ecsv", "application/x-ecsv"),
        extension=".ecsv",
    ),
    OutputFormat(
        name="parquet",
        mime="application/vnd.apache.parquet",
        aliases=("parquet",),
        other_mimes=("application/x-parquet", "application/parquet"),
        extension=".parquet",
    ),
    OutputFormat(
        name="arrow",
        mime="application/vnd.apache.arrow.stream",
        aliases=("arrow",),
        extension=".arrows",
    ),
    OutputFormat(
        name="json",
        mime="application/json",
        aliases=("json",),
        extension=".json",
        can_report_errors=True,
    ),
)
"""What is offered, the default first."""

_GZIP_VOTABLE = replace(OUTPUT_FORMATS[0], aliases=("votable_gzip",), gzip=True)


def resolve_format(text: str | None) -> OutputFormat:
    """Return the format that a RESPONSEFORMAT or FORMAT parameter asks for.

    Media types and short names are understood in any case, with or without spaces around ``;``
    and quotes around a parameter's value.  Where a media type was asked for, it is the one to be
    sent (DALI 1.1, section 3.4.3).

    Parameters
    ----------
    text
        The parameter's value; `None` or empty for the default.

    Raises
    ------
    BadParameterError
        Raised if the format is not offered; the message names those that are.
    """
    wanted = _normal(text or "")
    if not wanted:
        return OUTPUT_FORMATS[0]
    if wanted in _GZIP_VOTABLE.aliases:
        return _GZIP_VOTABLE
    for output in OUTPUT_FORMATS:
        if wanted in output.aliases:
            return output
        if wanted == output.mime or wanted in output.other_mimes:
            return replace(output, mime=wanted)
    offered = ", ".join(output.aliases[0] for output in OUTPUT_FORMATS)
    mimes = ", ".join(output.mime for output in OUTPUT_FORMATS)
    raise BadParameterError(
        f"The output format {_shown(text or '')} is not offered; ask for one of {offered} "
        f"or a media type: {mimes}."
    )


def _normal(text: str) -> str:
    """Return `text` in lower case without spaces, quotes and a ``charset`` parameter."""
    parts = [part.strip().lower() for part in text.split(";")]
    kept = [parts[0]]
    for part in parts[1:]:
        key, _, value = (piece.strip() for piece in part.partition("="))
        value = value.strip('"')
        if (key, value) == ("charset", "utf-8") or not part:
            continue
        kept.append(f"{key}={value}")
    return ";".join(kept)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
