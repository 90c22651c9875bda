"""A query as the answer to a request: checked at once, run in bounded pools, streamed.

It ends when the client leaves and when its time is over.  This is for services that turn each of
their requests into one query of the catalog.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

import pyarrow as pa

from astrolabe.catalogs.cancel import QueryCancel
from astrolabe.catalogs.query import PreparedQuery, RunningQuery
from astrolabe.core.errors import AstrolabeError, CancelledError, OverloadError
from astrolabe.tables.formats import OutputFormat
from astrolabe.tables.model import ResultHeader
from astrolabe.tables.writers import TableWriter, open_writer
from astrolabe_api.common.admission import QueryGate
from astrolabe_api.common.descriptors import with_services
from astrolabe_api.common.metrics import observe_query
from astrolabe_api.common.pools import WorkPool
from astrolabe_api.common.rendering import render_rows, table_headers
from astrolabe_api.common.state import ApiState, public_base
from astrolabe_api.common.streaming import ByteStream, StreamedResponse

__all__ = ["Presentation", "query_response"]

_SLOW_CLIENT_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Presentation:
    """How the result of a query is shown.

    Parameters
    ----------
    output
        The form of the answer.
    name
        Of the file that a client may save the answer in, without extension.
    compress
        Whether the client accepts gzip.
    reshape_header, reshape_batch
        What the service makes of the query's own result; the two must agree.
    open_writer
        Opens the writer of `output`.
    """

    output: OutputFormat
    name: str
    compress: bool
    reshape_header: Callable[[ResultHeader], ResultHeader] = lambda header: header
    reshape_batch: Callable[[pa.RecordBatch], pa.RecordBatch] = lambda batch: batch
    open_writer: Callable[[OutputFormat, ResultHeader], TableWriter] = open_writer

    @property
    def gzip(self) -> bool:
        """Whether the body is compressed."""
        return self.compress or self.output.gzip


def query_response(
    state: ApiState,
    prepare: Callable[[], PreparedQuery],
    shown: Presentation,
    *,
    gate: QueryGate,
    advice: str,
    headers_only: bool,
    is_heavy: bool = False,
    on_end: Callable[[], None] = lambda: None,
) -> StreamedResponse:
    """Return the answer to a query; it runs when the response is sent.

    Parameters
    ----------
    prepare
        Checks the query; called in a thread of a pool.
    shown
        How the result is shown.
    gate
        The query's way through its caller's limits.
    advice
        What helps who runs into the time limit: a sentence.
    headers_only
        Whether to check the query without running it (HEAD).
    is_heavy
        Whether already its preparation is work (uploads are read): then it waits with those that
        read the catalog, whatever it reads.
    on_end
        Called when all is over, whatever happened.
    """
    pool = gate.pool if is_heavy else state.metadata_pool
    run = _Run(
        state, prepare, shown, gate=gate, pool=pool, advice=advice, headers_only=headers_only
    )
    return StreamedResponse(
        ByteStream(pool, run.make, on_abort=run.cancel.cancel),
        media_type=shown.output.mime,
        headers=dict(table_headers(shown.output, name=shown.name, compress=shown.gzip)),
        patience_seconds=state.settings.tap.sync_seconds + _SLOW_CLIENT_SECONDS,
        on_end=gate.closing(on_end),
    )


class _Run:
    """One query on its way through the pools."""

    def __init__(
        self,
        state: ApiState,
        prepare: Callable[[], PreparedQuery],
        shown: Presentation,
        *,
        gate: QueryGate,
        pool: WorkPool,
        advice: str,
        headers_only: bool,
    ) -> None:
        self._state = state
        self._prepare = prepare
        self._shown = shown
        self._headers_only = headers_only
        self._gate = gate
        self._pool = pool
        self._seconds = state.settings.tap.sync_seconds
        self.cancel = QueryCancel(seconds=self._seconds, advice=advice)

    def make(self) -> tuple[WorkPool, Iterator[bytes]]:
        """Check the query; give the pool that it is to run in, and its bytes."""
        try:
            prepared = self._prepare()
        except AstrolabeError as exc:
            observe_query(pool=self._pool.name, outcome=exc.code)
            raise
        if self._headers_only:
            return self._pool, iter(())
        # What reads no rows of the catalog never waits behind what does.
        if not prepared.metadata_only and prepared.maxrec > 0:
            self._pool = self._gate.enter()
        return self._pool, self._gate.passing(self._bytes(prepared))

    def _bytes(self, prepared: PreparedQuery) -> Iterator[bytes]:
        outcome = "ok"
        shown = self._shown
        try:
            if self.cancel.is_set:
                self._refuse_late()
            with closing(prepared.start(self.cancel)) as running:
                header = shown.reshape_header(running.header)
                yield from render_rows(
                    with_services(header, public_base(self._state.settings)),
                    map(shown.reshape_batch, self._watched(running)),
                    output=shown.output,
                    overflow=lambda: running.overflow,
                    compress=shown.gzip,
                    writer=shown.open_writer,
                )
        except AstrolabeError as exc:
            outcome = exc.code
            raise
        except GeneratorExit:
            outcome = CancelledError.code
            raise
        finally:
            observe_query(pool=self._pool.name, outcome=outcome)

    def _refuse_late(self) -> None:
        """Refuse a query that waited for a thread until its time was over."""
        try:
            self.cancel.raise_if_set()
        except CancelledError:
            raise
        except AstrolabeError as exc:
            raise OverloadError(
                f"The query waited {self._seconds} s for others to end and was not begun; try "
                "again in a moment."
            ) from exc

    def _watched(self, running: RunningQuery) -> Iterator[pa.RecordBatch]:
        for batch in running:
            self.cancel.raise_if_set()
            yield batch
