"""Bounded pools of threads for work that streams.

A piece of work that has filled its buffer gives its thread back and is resumed when the client has
read on: a slow reader never keeps a thread.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable

import structlog

from astrolabe.core.errors import OverloadError
from astrolabe_api.common.metrics import waiting_queries

__all__ = ["WorkPool"]

_log = structlog.get_logger(__name__)


class _FairQueue:
    """New work in lanes that take turns; within a lane the first come is the first."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[Hashable, deque[Callable[[], None]]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, work: Callable[[], None], lane: Hashable) -> None:
        self._lanes.setdefault(lane, deque()).append(work)
        self._count += 1

    def popleft(self) -> Callable[[], None]:
        lane, waiting = self._lanes.popitem(last=False)
        work = waiting.popleft()
        if waiting:
            self._lanes[lane] = waiting
        self._count -= 1
        return work

    def remove(self, work: Callable[[], None]) -> bool:
        for lane, waiting in self._lanes.items():
            if work in waiting:
                waiting.remove(work)
                if not waiting:
                    del self._lanes[lane]
                self._count -= 1
                return True
        return False


class WorkPool:
    """Threads that run short pieces of work; begun work goes first, then lanes take turns.

    Parameters
    ----------
    name
        Shown in metrics and thread names.
    threads
        Pieces of work that run at once.
    waiting
        New work that may wait for a thread.
    """

    def __init__(self, name: str, *, threads: int, waiting: int) -> None:
        self.name = name
        self._waiting_limit = waiting
        self._fresh = _FairQueue()
        self._begun: deque[Callable[[], None]] = deque()
        self._condition = threading.Condition()
        self._closed = False
        self._idle = 0
        self._gauge = waiting_queries.labels(name)
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Callable[[], None], *, lane: Hashable = None) -> None:
        """Let a thread call `work` when one is free.

        Parameters
        ----------
        work
            What is to be done.
        lane
            Whose work it is: that of one lane does not keep another's waiting.

        Raises
        ------
        OverloadError
            Raised if too much waits already, or the pool is closed.
        """
        with self._condition:
            if self._closed:
                raise OverloadError("The platform is shutting down; try again in a moment.")
            # What an idle thread is about to take does not wait.
            if len(self._fresh) - self._idle >= self._waiting_limit:
                raise OverloadError(
                    f"{self._waiting_limit} queries are waiting already; try again in a moment, "
                    "or run the query as an async job."
                )
            self._fresh.append(work, lane)
            self._gauge.set(len(self._fresh))
            self._condition.notify()

    def resume(self, work: Callable[[], None]) -> None:
        """Let a thread call `work` before any new work; never refused."""
        with self._condition:
            self._begun.append(work)
            self._condition.notify()

    def withdraw(self, work: Callable[[], None]) -> bool:
        """Take back new work that nobody waits for; whether it had not begun."""
        with self._condition:
            if not self._fresh.remove(work):
                return False
            self._gauge.set(len(self._fresh))
            return True

    def close(self) -> None:
        """End the threads when what waits is done; new work is refused."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join(timeout=5.0)

    def _work(self) -> None:
        while True:
            with self._condition:
                while not (self._begun or self._fresh):
                    if self._closed:
                        return
                    self._idle += 1
                    self._condition.wait()
                    self._idle -= 1
                if self._begun:
                    work = self._begun.popleft()
                else:
                    work = self._fresh.popleft()
                    self._gauge.set(len(self._fresh))
            try:
                work()
            except Exception:  # noqa: BLE001 - a thread must outlive a mistake in its work
                # Work tells its own errors to who waits for it.
                _log.exception("work in a pool broke", pool=self.name)
