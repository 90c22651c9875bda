"""Turning numbers into text on all cores: the costly part of the text forms frees the GIL."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

import pyarrow as pa

__all__ = ["OrderedText"]

_SLICE_ROWS = 16_384
_AHEAD = 2


@cache
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="table-text")


class OrderedText:
    """Encodes slices of batches in threads, while the next batch is made, and keeps their order.

    A small result, as of a cone search, is encoded where it stands.

    Parameters
    ----------
    encode
        Gives the text of some rows.
    """

    def __init__(self, encode: Callable[[pa.RecordBatch], bytes]) -> None:
        self._encode = encode
        self._waiting: deque[Future[bytes]] = deque()

    def put(self, batch: pa.RecordBatch) -> Iterator[bytes]:
        """Take a batch, and yield what is ready; a bounded number of rows waits."""
        if batch.num_rows <= _SLICE_ROWS and not self._waiting:
            if batch.num_rows:
                yield self._encode(batch)
            return
        pool = _executor()
        for first in range(0, batch.num_rows, _SLICE_ROWS):
            self._waiting.append(pool.submit(self._encode, batch.slice(first, _SLICE_ROWS)))
            yield from self._ready(_AHEAD * (os.cpu_count() or 1))

    def drain(self) -> Iterator[bytes]:
        """Yield all that is still to come."""
        yield from self._ready(0)

    def close(self) -> None:
        """Give up what nobody waits for."""
        while self._waiting:
            self._waiting.popleft().cancel()

    def _ready(self, ahead: int) -> Iterator[bytes]:
        while self._waiting and (len(self._waiting) > ahead or self._waiting[0].done()):
            yield self._waiting.popleft().result()
