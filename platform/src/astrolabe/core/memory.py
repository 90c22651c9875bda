"""Gives memory that was freed back to the system."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

__all__ = ["give_back_memory"]


def give_back_memory() -> None:
    """Let the C library give the memory that it keeps for later back to the system.

    For work that goes through many buffers of megabytes in several threads.  glibc keeps what is
    freed in the heap of the thread that asked for it, and raises the size from which it takes
    memory from the system directly to that of the largest buffer freed so far, up to 32 MB: a
    process that never holds 100 MB grows to more than 1 GB.  It takes some 10 ms.  Where there is
    another C library nothing happens.
    """
    _trimmer()(0)


@cache
def _trimmer() -> Callable[[int], Any]:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return _nothing


def _nothing(_keep: int) -> None:
    pass
