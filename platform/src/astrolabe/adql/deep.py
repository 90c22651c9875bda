"""Room for deeply nested queries.

Parser, checker and emitter recurse once or twice for each level of a query; Python stops at 1,000
frames by default.  Nesting is bounded (`MAX_NESTING`, `MAX_HEIGHT`), so a query that is within the
bounds but needs more frames gets a thread of its own with room for them.  Ordinary queries never
come here.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

__all__ = ["call_with_deep_stack"]

_STACK_BYTES = 256 * 1024 * 1024  # address space; only what is touched becomes memory
_FRAMES = 50_000
_lock = threading.Lock()
T = TypeVar("T")


def call_with_deep_stack(work: Callable[[], T]) -> T:
    """Return ``work()``; run it once more with a deep stack if it needs one.

    `work` must have no effect but its result.
    """
    try:
        return work()
    except RecursionError:
        pass
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
            result.set_exception(error)

    with _lock:
        # The limit is the interpreter's, not the thread's.  Since Python 3.11 Python's own calls
        # take no C stack, so that a higher limit harms no other thread.
        if sys.getrecursionlimit() < _FRAMES:
            sys.setrecursionlimit(_FRAMES)
        before = threading.stack_size(_STACK_BYTES)
        try:
            thread = threading.Thread(target=run, name="adql-deep", daemon=True)
            thread.start()
        finally:
            threading.stack_size(before)
    return result.result()
