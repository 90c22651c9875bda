"""Rows to bytes: what every answer that is a table has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from itertools import chain

import pyarrow as pa
import structlog
from starlette.requests import HTTPConnection

from astrolabe.core.errors import AstrolabeError, CancelledError
from astrolabe.tables.formats import OutputFormat
from astrolabe.tables.model import ResultHeader
from astrolabe.tables.writers import TableWriter, open_writer
from astrolabe_api.common.streaming import coalesce, gzip_chunks

__all__ = ["render_rows", "table_headers", "wants_gzip"]

_log = structlog.get_logger(__name__)


def render_rows(
    header: ResultHeader,
    batches: Iterable[pa.RecordBatch],
    *,
    output: OutputFormat,
    overflow: Callable[[], bool],
    compress: bool,
    writer: Callable[[OutputFormat, ResultHeader], TableWriter] = open_writer,
) -> Iterator[bytes]:
    """Yield a table as `output`; the first bytes leave as soon as there is a first batch.

    Parameters
    ----------
    header
        Description of the rows.
    batches
        The rows.  What goes wrong before the first batch is raised; what goes wrong later is told
        at the end of the document.
    output
        The form.
    overflow
        Asked after the last row: whether there were more.
    compress
        Whether to compress as gzip.
    writer
        Opens the writer of `output`.

    Raises
    ------
    AstrolabeError
        Raised if it comes before the first byte.
    CannotReportError
        Raised if something goes wrong later and the form has no place to tell.
    """
    chunks = _rendered(lambda: writer(output, header), iter(batches), overflow)
    return gzip_chunks(chunks) if compress else chunks


def _rendered(
    open_it: Callable[[], TableWriter],
    batches: Iterator[pa.RecordBatch],
    overflow: Callable[[], bool],
) -> Iterator[bytes]:
    with closing(open_it()) as writer:
        first = next(batches, None)
        yield from coalesce(chain(writer.start(), () if first is None else writer.write(first)))
        # Errors from here on have no status of their own any more.
        try:
            for batch in batches:
                yield from coalesce(writer.write(batch))
            yield from coalesce(writer.finish(overflow=overflow()))
        except CancelledError:
            raise
        except AstrolabeError as exc:
            yield from writer.fail(str(exc))
        except Exception:  # noqa: BLE001 - the rows are out: whatever it is, the client must see it
            _log.exception("a result broke off in the middle")
            yield from writer.fail(
                "The platform made a mistake; the rows above are not all. The request's id is in "
                "the header X-Request-Id."
            )


def wants_gzip(connection: HTTPConnection) -> bool:
    """Whether the client accepts gzip."""
    for header in connection.headers.getlist("accept-encoding"):
        for entry in header.split(","):
            coding, _, weight = (part.strip().lower() for part in entry.partition(";"))
            if coding in ("gzip", "x-gzip", "*"):
                return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def table_headers(output: OutputFormat, *, name: str, compress: bool) -> Mapping[str, str]:
    """Return the headers of an answer that is a table.

    Parameters
    ----------
    name
        Name of the file, without extension, that a client may save it in.
    """
    # Browsers are to show a VOTable's text, but to save what they would show as one long line.
    kind = "inline" if "xml" in output.mime else "attachment"
    headers = {
        "Cache-Control": "no-cache",
        "Content-Disposition": f'{kind}; filename="{name}{output.extension}"',
        "Vary": "Accept, Accept-Encoding",
    }
    if compress:
        headers["Content-Encoding"] = "gzip"
    return headers
