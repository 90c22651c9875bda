"""Rules that every process reads again when they have changed, at most a second late."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import OperationalError

from astrolabe.core.database import Database
from astrolabe.core.logging import get_logger
from astrolabe.identity.policy_schema import POLICY_STATE

__all__ = ["Refreshing", "raise_policy_generation"]

_log = get_logger(__name__)

_OLDEST_SECONDS: Final = 2.0

_Loaded = TypeVar("_Loaded")


def raise_policy_generation(connection: Connection) -> None:
    """Tell all processes that a rule has changed; belongs into the change's transaction."""
    connection.execute(
        update(POLICY_STATE)
        .where(POLICY_STATE.c.id == 1)
        .values(generation=POLICY_STATE.c.generation + 1)
    )


class Refreshing(Generic[_Loaded]):
    """What was last read of the rules; safe to use from many threads.

    Parameters
    ----------
    database
        The control database.
    load
        Reads what is to be kept.
    check_seconds
        How often the generation is looked at, at most (s).

    Notes
    -----
    While one thread looks, others get the last state at once if it is not older than two
    seconds, as it is after a pause without requests: then they wait for the new one.  While the
    control database does not answer, the last state stays.
    """

    def __init__(
        self,
        database: Database,
        load: Callable[[Connection], _Loaded],
        *,
        check_seconds: float = 1.0,
    ) -> None:
        self._database = database
        self._load = load
        self._check_seconds = check_seconds
        self._lock = threading.Lock()
        self._state: tuple[int, _Loaded] | None = None
        self._checked = 0.0

    @property
    def is_fresh(self) -> bool:
        """Whether `get` answers without a look at the database."""
        return self._state is not None and time.monotonic() < self._checked + self._check_seconds

    def get(self, *, fresh: bool = False) -> _Loaded:
        """Return the rules as they are now, or were a second ago.

        Parameters
        ----------
        fresh
            Look at the control database even if that was done just now.
        """
        state = self._state
        if state is not None and not fresh:
            age = time.monotonic() - self._checked
            if age < self._check_seconds:
                return state[1]
            if not self._lock.acquire(blocking=age > _OLDEST_SECONDS):
                return state[1]
        else:
            self._lock.acquire()
        try:
            return self._look(fresh=fresh)
        finally:
            self._lock.release()

    def _look(self, *, fresh: bool) -> _Loaded:
        state = self._state
        recent = time.monotonic() < self._checked + self._check_seconds
        if state is not None and recent and not fresh:
            return state[1]  # another thread looked while this one waited
        try:
            with self._database.read() as connection:
                generation = _read_generation(connection)
                if state is None or state[0] != generation:
                    state = (generation, self._load(connection))
        except OperationalError as exc:
            if state is None or fresh:
                raise
            _log.warning("rules not refreshed", error=str(exc))
        self._state = state
        self._checked = time.monotonic()
        return state[1]


def _read_generation(connection: Connection) -> int:
    query = select(POLICY_STATE.c.generation).where(POLICY_STATE.c.id == 1)
    generation: int = connection.execute(query).scalar_one()
    return generation
