"""Sync cutouts: a request as the answer to it, cut in a bounded pool."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from astrolabe.catalogs.cancel import QueryCancel
from astrolabe.core.errors import AstrolabeError, CancelledError, OverloadError
from astrolabe.identity import Principal
from astrolabe.images.soda.request import SodaRequest, read_soda_request
from astrolabe_api.common.admission import QueryGate
from astrolabe_api.common.descriptors import CUTOUT_PATH
from astrolabe_api.common.hiding import hiding
from astrolabe_api.common.metrics import observe_query
from astrolabe_api.common.pools import WorkPool
from astrolabe_api.common.state import ApiState
from astrolabe_api.common.streaming import ByteStream, StreamedResponse

__all__ = ["sync_response"]

_SLOW_CLIENT_SECONDS = 60


def sync_response(
    state: ApiState,
    caller: Principal,
    pairs: Sequence[tuple[str, str]],
    *,
    address: str | None,
    headers_only: bool,
) -> StreamedResponse:
    """Return the answer to a sync cutout; it is cut when the response is sent.

    Parameters
    ----------
    pairs
        The parameters.
    address
        The client's.
    headers_only
        Whether to check the request without cutting (HEAD).

    Raises
    ------
    BadParameterError
        Raised if a parameter does not fit.
    """
    request = read_soda_request(pairs, authority=state.settings.server.authority)
    request.require_sync(f"{state.url(CUTOUT_PATH)}/async")
    gate = state.gate(caller, address, pool=state.image_pool)
    run = _Run(state, caller, request, gate=gate, address=address, headers_only=headers_only)
    shown = "inline" if request.output.kind.is_picture else "attachment"
    response = StreamedResponse(
        ByteStream(gate.pool, run.make, on_abort=run.cancel.cancel),
        media_type=request.output.mime,
        headers={
            # What may be read can change with every request's rights.
            "Cache-Control": "private, no-cache",
            "Content-Disposition": f'{shown}; filename="{request.filename}"',
            "Vary": "Authorization, Cookie",
        },
        patience_seconds=state.settings.images.sync_seconds + _SLOW_CLIENT_SECONDS,
        on_end=gate.closing(lambda: None),
    )
    run.tell_length = partial(response.headers.__setitem__, "Content-Length")
    return response


class _Run:
    """One cutout on its way through the pool."""

    def __init__(
        self,
        state: ApiState,
        caller: Principal,
        request: SodaRequest,
        *,
        gate: QueryGate,
        address: str | None,
        headers_only: bool,
    ) -> None:
        self._state = state
        self._caller = caller
        self._request = request
        self._gate = gate
        self._address = address
        self._headers_only = headers_only
        self._seconds = state.settings.images.sync_seconds
        self.tell_length: Callable[[str], None] = lambda _length: None
        """Called with the length of an answer before its first byte, where that is known."""
        self.cancel = QueryCancel(
            seconds=self._seconds,
            advice=f"Send the same as a job to {state.url(CUTOUT_PATH)}/async.",
        )

    def make(self) -> tuple[WorkPool, Iterator[bytes]]:
        """Find the images; give the pool to cut them in, and the bytes."""
        soda = self._state.context.soda
        with hiding(self._state, self._caller, images=True):
            found = soda.find(self._request, self._caller)
        if self._headers_only:
            return self._gate.pool, iter(())
        pool = self._gate.enter()
        cutting = soda.sync_cutting(self._caller, address=self._address, cancel=self.cancel)
        chunks = soda.sync(self._request, found, cutting)
        return pool, self._gate.passing(self._observed(chunks))

    def _observed(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        outcome = "ok"
        try:
            if self.cancel.is_set:
                self._refuse_late()
            first = next(chunks, b"")
            second = next(chunks, None)
            if second is None:
                self.tell_length(str(len(first)))
            yield first
            if second is not None:
                yield second
                yield from chunks
        except AstrolabeError as exc:
            outcome = exc.code
            raise
        except GeneratorExit:
            outcome = CancelledError.code
            raise
        finally:
            observe_query(pool=self._gate.pool.name, outcome=outcome)

    def _refuse_late(self) -> None:
        """Refuse a cutout that waited for a thread until its time was over."""
        try:
            self.cancel.raise_if_set()
        except CancelledError:
            raise
        except AstrolabeError as exc:
            raise OverloadError(
                f"The cutout waited {self._seconds} s for others to end and was not begun; try "
                "again in a moment."
            ) from exc
