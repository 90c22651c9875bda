"""Quotas at the door: requests are counted, queries wait for their caller's other ones to end.

A query over its caller's limit of concurrent queries waits without keeping a thread, and then
takes its turn in the pool: there too callers take turns, and the portal's queries of a user are
apart from those of the user's programs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Final

import structlog
from starlette.concurrency import run_in_threadpool
from typing_extensions import override

from astrolabe.core.errors import AstrolabeError, CancelledError
from astrolabe.identity import Principal
from astrolabe.identity.quotas import Quotas
from astrolabe.identity.slots import Slot
from astrolabe.identity.subjects import is_interactive, subject_of
from astrolabe_api.common.metrics import observe_query
from astrolabe_api.common.pools import WorkPool

__all__ = ["QueryGate", "SlotWaiters", "count_request"]

_log = structlog.get_logger(__name__)

_POLL_SECONDS: Final = 0.05


async def count_request(
    quotas: Quotas, principal: Principal, service: str, address: str | None
) -> None:
    """Count a request to a service.

    Raises
    ------
    QuotaExceededError
        Raised if there were too many in the last minute.
    """
    if not quotas.admits(principal, service, address=address):
        await run_in_threadpool(quotas.check_request, principal, service, address=address)


class QueryGate:
    """One query's way through its caller's limit of concurrent queries.

    Parameters
    ----------
    quotas
        Know the limit.
    waiters
        Where it waits.
    pool
        Where it runs.
    principal, address
        The caller.
    """

    def __init__(
        self,
        *,
        quotas: Quotas,
        waiters: SlotWaiters,
        pool: WorkPool,
        principal: Principal,
        address: str | None,
    ) -> None:
        self._quotas = quotas
        self._waiters = waiters
        self._principal = principal
        self._address = address
        lane = (subject_of(principal, address), is_interactive(principal))
        self.pool: WorkPool = _LanePool(pool, lane)
        """The pool, in which the callers take turns."""
        self._lock = threading.Lock()
        self._slot: Slot | None = None
        self._refusal: AstrolabeError | None = None
        self._is_running = False
        self._is_closed = False

    def enter(self) -> WorkPool:
        """Return where the query goes on: in its pool, or where it waits before.

        Raises
        ------
        QuotaExceededError
            Raised if the caller may run no query at all.
        """
        return self.pool if self.try_enter() else _WaitingPool(self.pool, self, self._waiters)

    def try_enter(self) -> bool:
        """Take a slot if there is one; whether the query need not wait (any more)."""
        slot = self._quotas.try_slot(self._principal, address=self._address)
        if slot is None:
            return False
        with self._lock:
            if not self._is_closed:
                self._slot = slot
                return True
        slot.release()
        return True

    def refuse(self, error: AstrolabeError | None = None) -> None:
        """Let the query end with an error when it comes to run."""
        self._refusal = error or self._quotas.too_many_queries(self._principal)

    @property
    def wait_seconds(self) -> float:
        """How long a query waits (s)."""
        return self._quotas.wait_seconds

    def passing(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield `chunks` while the slot is held, and give it back at their end."""
        with self._lock:
            if self._is_closed:
                raise CancelledError("Nobody waits for the answer any more.")
            self._is_running = True
        try:
            if self._refusal is not None:
                observe_query(pool=self.pool.name, outcome=self._refusal.code)
                raise self._refusal
            yield from chunks
        finally:
            if self._slot is not None:
                self._slot.release()

    def closing(self, on_end: Callable[[], None]) -> Callable[[], None]:
        """Return what gives the slot back of a query that never ran, and then calls `on_end`."""

        def close() -> None:
            with self._lock:
                self._is_closed = True
                idle = None if self._is_running else self._slot
            if idle is not None:
                idle.release()
            on_end()

        return close


@dataclass(frozen=True, slots=True)
class _Waiting:
    gate: QueryGate
    pool: WorkPool
    work: Callable[[], None]
    give_up: float


class SlotWaiters:
    """Queries that wait for others of their callers to end; the first come is served first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._wanted = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    def add(self, gate: QueryGate, pool: WorkPool, work: Callable[[], None]) -> None:
        """Let `work` wait for a slot and then go to `pool`."""
        with self._lock:
            self._waiting.append(_Waiting(gate, pool, work, time.monotonic() + gate.wait_seconds))
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="slots", daemon=True)
                self._thread.start()
        self._wanted.set()

    def withdraw(self, work: Callable[[], None]) -> bool:
        """Take back work that nobody waits for; whether it was still waiting."""
        with self._lock:
            found = [entry for entry in self._waiting if entry.work == work]
            for entry in found:
                self._waiting.remove(entry)
        return bool(found)

    def close(self) -> None:
        """End all waits; those who wait get an error."""
        with self._lock:
            self._closed = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
        for entry in self._waiting:
            self._end(entry, None)

    def _run(self) -> None:
        while not self._closed:
            self._wanted.wait()
            for entry in tuple(self._waiting):
                try:
                    self._look(entry)
                except Exception as exc:  # noqa: BLE001 - one query's trouble is not the others'
                    if not isinstance(exc, AstrolabeError):
                        _log.exception("a query's wait broke")
                    self._end(entry, exc if isinstance(exc, AstrolabeError) else None)
            with self._lock:
                if not self._waiting and not self._closed:
                    self._wanted.clear()
            time.sleep(_POLL_SECONDS)

    def _look(self, entry: _Waiting) -> None:
        if entry.gate.try_enter():
            with self._lock:
                if entry not in self._waiting:
                    return  # withdrawn; its gate gives the slot back when it is closed
                self._waiting.remove(entry)
            entry.pool.submit(entry.work)
        elif time.monotonic() >= entry.give_up:
            self._end(entry, None)

    def _end(self, entry: _Waiting, error: AstrolabeError | None) -> None:
        entry.gate.refuse(error)
        with self._lock:
            if entry in self._waiting:
                self._waiting.remove(entry)
        # Begun work is never refused: all that it does is tell of the error.
        entry.pool.resume(entry.work)


class _LanePool(WorkPool):
    """A pool as one caller sees it: what he submits waits in a lane of its own."""

    @override
    def __init__(self, pool: WorkPool, lane: Hashable) -> None:
        # Nothing of a pool of its own: no threads, no queue.
        self.name = pool.name
        self._pool = pool
        self._lane = lane

    @override
    def submit(self, work: Callable[[], None], *, lane: Hashable = None) -> None:
        self._pool.submit(work, lane=self._lane if lane is None else lane)

    @override
    def resume(self, work: Callable[[], None]) -> None:
        self._pool.resume(work)

    @override
    def withdraw(self, work: Callable[[], None]) -> bool:
        return self._pool.withdraw(work)


class _WaitingPool(_LanePool):
    """A pool that a query comes to when it has got its slot."""

    @override
    def __init__(self, pool: WorkPool, gate: QueryGate, waiters: SlotWaiters) -> None:
        super().__init__(pool, None)
        self._gate = gate
        self._waiters = waiters

    @override
    def submit(self, work: Callable[[], None], *, lane: Hashable = None) -> None:
        self._waiters.add(self._gate, self._pool, work)

    @override
    def withdraw(self, work: Callable[[], None]) -> bool:
        return self._waiters.withdraw(work) or self._pool.withdraw(work)
