"""Sync queries: what TAP adds to a query as the answer to a request."""

from __future__ import annotations

from collections.abc import Callable

from astrolabe.catalogs.query import PreparedQuery, QueryRequest
from astrolabe.identity import Principal
from astrolabe_api.common.query_stream import Presentation, query_response
from astrolabe_api.common.state import ApiState
from astrolabe_api.common.streaming import StreamedResponse
from astrolabe_api.tap.requests import TapRequest

__all__ = ["sync_response"]


def sync_response(
    state: ApiState,
    caller: Principal,
    asked: TapRequest,
    *,
    address: str | None,
    compress: bool,
    headers_only: bool,
    on_end: Callable[[], None],
) -> StreamedResponse:
    """Return the answer to a sync query; it runs when the response is sent.

    Parameters
    ----------
    asked
        The query.
    address
        The client's.
    compress
        Whether the client accepts gzip.
    headers_only
        Whether to check the query without running it (HEAD).
    on_end
        Called when all is over.
    """
    context = state.context

    def prepare() -> PreparedQuery:
        uploads = context.upload_resolver.resolve(
            asked.uploads, files=asked.files, principal=caller
        )
        return context.queries.prepare(
            QueryRequest(
                query=asked.query,
                lang=asked.lang,
                maxrec=asked.maxrec,
                uploads=uploads,
                address=address,
            ),
            principal=caller,
        )

    jobs = state.url("/api/tap/async")
    return query_response(
        state,
        prepare,
        Presentation(output=asked.output, name="result", compress=compress),
        gate=state.gate(caller, address),
        advice=f"Run it as an async job: send the same parameters and PHASE=RUN to {jobs}.",
        headers_only=headers_only,
        is_heavy=bool(asked.uploads),
        on_end=on_end,
    )
