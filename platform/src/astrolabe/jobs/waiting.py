"""Waiting for a job's phase to change, without a thread for each who waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from astrolabe.core.logging import get_logger
from astrolabe.jobs.model import Phase

__all__ = ["PhaseWatcher"]

_log = get_logger(__name__)

_SHORTEST_SECONDS: Final = 0.02
_LONGEST_SECONDS: Final = 0.25
# A job that has run for a second is looked at every 100 ms: nobody waits a tenth longer.
_SHARE_OF_AGE: Final = 0.1
_AFTER_FAILURE_SECONDS: Final = 1.0


class PhaseWatcher:
    """Looks at all awaited jobs with one query, from one thread, and tells who waits.

    The thread starts with the first who waits and sleeps when nobody does.  It looks every 20 ms
    at first and every 250 ms at last, and at once after a change in this process.

    Parameters
    ----------
    phases
        Gives the present phases of those of the asked jobs that exist.
    """

    def __init__(self, phases: Callable[[Collection[str]], Mapping[str, Phase]]) -> None:
        self._phases = phases
        self._waiting: dict[Future[None], tuple[str, Phase]] = {}
        self._youngest = 0.0
        self._changed = threading.Condition()
        self._poked = False
        self._closed = False
        self._thread: threading.Thread | None = None

    def watch(self, job_id: str, phase: Phase) -> Future[None]:
        """Return a future that is done when the job's phase is not `phase` or the job is gone.

        Cancel it when nobody waits for it any more.
        """
        future: Future[None] = Future()
        with self._changed:
            if self._closed:
                future.set_result(None)
                return future
            self._waiting[future] = (job_id, phase)
            self._youngest = time.monotonic()
            self._poked = True
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="job-waits", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return future

    def poke(self) -> None:
        """Look again at once: this process has changed a phase."""
        with self._changed:
            self._poked = True
            self._changed.notify_all()

    def close(self) -> None:
        """End all waits as if something had changed, and the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout=5)

    def _run(self) -> None:
        while self._sleep():
            try:
                self._look()
            except SQLAlchemyError:
                _log.warning("cannot read the phases of awaited jobs", exc_info=True)
                time.sleep(_AFTER_FAILURE_SECONDS)
        for future in tuple(self._waiting):
            self._finish(future)

    def _sleep(self) -> bool:
        """Wait until it is time to look; return `False` when the watcher was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            age = time.monotonic() - self._youngest
            pause = min(_LONGEST_SECONDS, max(_SHORTEST_SECONDS, _SHARE_OF_AGE * age))
            self._changed.wait_for(lambda: self._poked or self._closed, timeout=pause)
            self._poked = False
            return not self._closed

    def _look(self) -> None:
        with self._changed:
            for future in [future for future in self._waiting if future.cancelled()]:
                del self._waiting[future]
            waiting = dict(self._waiting)
        if not waiting:
            return
        phases = self._phases({job_id for job_id, _ in waiting.values()})
        for future, (job_id, phase) in waiting.items():
            if phases.get(job_id) is not phase:
                self._finish(future)

    def _finish(self, future: Future[None]) -> None:
        with self._changed:
            self._waiting.pop(future, None)
        # Who waited may cancel it at the same moment.
        with suppress(InvalidStateError):
            future.set_result(None)
