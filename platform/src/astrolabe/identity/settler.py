"""The thread that hands back what leases left."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from astrolabe.core.logging import get_logger

__all__ = ["Settler"]

_log = get_logger(__name__)

_SETTLE_SECONDS: Final = 0.5


class Settler:
    """A thread that settles while there is something to settle, and sleeps otherwise.

    Parameters
    ----------
    settle
        Settles what is due; returns whether there will be more.
    """

    def __init__(self, settle: Callable[[], bool]) -> None:
        self._settle = settle
        self._wanted = threading.Event()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Say that something was leased."""
        if self._wanted.is_set():
            return
        with self._lock:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="quotas", daemon=True)
                self._thread.start()
        self._wanted.set()

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            if self._closed.wait(_SETTLE_SECONDS):
                return
            self._wanted.clear()
            try:
                again = self._settle()
            except Exception:  # noqa: BLE001 - the database may be away for a while
                _log.warning("leases not settled", exc_info=True)
                again = True
            if again:
                self._wanted.set()
