"""Sync queries: prepared at once, run in bounded pools, streamed, ended when the client leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing

import pyarrow as pa
import structlog

from astrolabe.catalogs.cancel import QueryCancel
from astrolabe.catalogs.query import PreparedQuery, QueryRequest
from astrolabe.core.errors import AstrolabeError, CancelledError, OverloadError
from astrolabe.identity import Principal
from astrolabe_api.common.metrics import observe_query
from astrolabe_api.common.pools import WorkPool
from astrolabe_api.common.rendering import render_rows, table_headers
from astrolabe_api.common.state import ApiState
from astrolabe_api.common.streaming import ByteStream, StreamedResponse
from astrolabe_api.tap.requests import TapRequest

__all__ = ["sync_response"]

_log = structlog.get_logger(__name__)

_SLOW_CLIENT_SECONDS = 60


def sync_response(
    state: ApiState,
    caller: Principal,
    asked: TapRequest,
    *,
    compress: bool,
    headers_only: bool,
    on_end: Callable[[], None],
) -> StreamedResponse:
    """Return the answer to a sync query; it runs when the response is sent.

    Parameters
    ----------
    asked
        The query.
    compress
        Whether the client accepts gzip.
    headers_only
        Whether to check the query without running it (HEAD).
    on_end
        Called when all is over.
    """
    compress = compress or asked.output.gzip
    run = _SyncQuery(state, caller, asked, compress=compress, headers_only=headers_only)
    # A query with uploads reads them first, which is work; all others are only checked here.
    pool = state.query_pool if asked.uploads else state.metadata_pool
    return StreamedResponse(
        ByteStream(pool, run.make, on_abort=run.cancel.cancel),
        media_type=asked.output.mime,
        headers=dict(table_headers(asked.output, name="result", compress=compress)),
        patience_seconds=state.settings.tap.sync_seconds + _SLOW_CLIENT_SECONDS,
        on_end=on_end,
    )


class _SyncQuery:
    """One sync query on its way through the pools."""

    def __init__(
        self,
        state: ApiState,
        caller: Principal,
        asked: TapRequest,
        *,
        compress: bool,
        headers_only: bool,
    ) -> None:
        self._state = state
        self._caller = caller
        self._asked = asked
        self._compress = compress
        self._headers_only = headers_only
        self._pool = state.metadata_pool
        address = state.url("/api/tap/async")
        self.cancel = QueryCancel(
            seconds=state.settings.tap.sync_seconds,
            advice=f"Run it as an async job: send the same parameters and PHASE=RUN to {address}.",
        )

    def make(self) -> tuple[WorkPool, Iterator[bytes]]:
        """Check the query; give the pool that it is to run in, and its bytes."""
        asked, context = self._asked, self._state.context
        try:
            uploads = context.upload_resolver.resolve(
                asked.uploads, files=asked.files, principal=self._caller
            )
            prepared = context.queries.prepare(
                QueryRequest(
                    query=asked.query, lang=asked.lang, maxrec=asked.maxrec, uploads=uploads
                ),
                principal=self._caller,
            )
        except AstrolabeError as exc:
            observe_query(pool=self._pool.name, outcome=exc.code)
            raise
        if uploads or not prepared.metadata_only:
            self._pool = self._state.query_pool
        if self._headers_only:
            return self._pool, iter(())
        return self._pool, self._bytes(prepared)

    def _bytes(self, prepared: PreparedQuery) -> Iterator[bytes]:
        outcome = "ok"
        try:
            if self.cancel.is_set:
                self._refuse_late()
            with closing(prepared.start(self.cancel)) as running:
                yield from render_rows(
                    running.header,
                    self._watched(running),
                    output=self._asked.output,
                    overflow=lambda: running.overflow,
                    compress=self._compress,
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
                f"The query waited {self._state.settings.tap.sync_seconds} s for others to end "
                "and was not begun; try again in a moment, or run it as an async job."
            ) from exc

    def _watched(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            self.cancel.raise_if_set()
            yield batch
