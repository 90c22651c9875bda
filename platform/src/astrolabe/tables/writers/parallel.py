"""Turning numbers into text on all cores: the costly part of the text forms frees the GIL."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pyarrow as pa

__all__ = ["text_of_batch"]

_SLICE_ROWS = 16_384


@cache
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="table-text")


def text_of_batch(
    batch: pa.RecordBatch, encode: Callable[[pa.RecordBatch], bytes]
) -> Iterator[bytes]:
    """Yield ``encode`` of slices of `batch`, in order.

    A small batch, as of a cone search, is encoded where it stands.
    """
    slices = [batch.slice(first, _SLICE_ROWS) for first in range(0, batch.num_rows, _SLICE_ROWS)]
    if len(slices) <= 1:
        yield from map(encode, slices)
    else:
        yield from _executor().map(encode, slices)
