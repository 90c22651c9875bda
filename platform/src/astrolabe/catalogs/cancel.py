"""How a running query is told to stop."""

from __future__ import annotations

import threading
import time

from astrolabe.core.errors import CancelledError, QueryTimeoutError

__all__ = ["QueryCancel"]


class QueryCancel:
    """A cancel token with a deadline.

    Parameters
    ----------
    seconds
        Time limit from now; `None` for none.
    advice
        What the caller can do when the limit is reached, added to the error's message.
    """

    def __init__(self, *, seconds: float | None = None, advice: str = "") -> None:
        self._seconds = seconds
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._advice = advice
        self._cancelled = threading.Event()

    @property
    def is_set(self) -> bool:
        """Whether the query is to stop."""
        return self._cancelled.is_set() or self._is_late

    @property
    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def cancel(self) -> None:
        """Ask the query to stop because nobody waits for it any more."""
        self._cancelled.set()

    def raise_if_set(self) -> None:
        """Raise the reason if the query is to stop.

        Raises
        ------
        CancelledError
            Raised if the caller went away or aborted the query.
        QueryTimeoutError
            Raised if the time limit has passed.
        """
        if self._cancelled.is_set():
            raise CancelledError("The query was stopped because nobody waits for it any more.")
        if self._is_late:
            limit = f"{self._seconds:g}"
            text = f"The query took longer than its limit of {limit} s and was stopped."
            raise QueryTimeoutError(f"{text} {self._advice}".rstrip())
