"""What happens to the jobs of an account that ends."""

from __future__ import annotations

from sqlalchemy import select, update

from astrolabe.core.clock import utc_now
from astrolabe.jobs.model import ACTIVE_PHASES, Phase
from astrolabe.jobs.schema import JOB
from astrolabe.jobs.store import JobStore

__all__ = ["JobOwners"]


class JobOwners:
    """Ends or hands over all jobs of an owner.

    Parameters
    ----------
    store
        Where the jobs are.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store

    def abort(self, owner: str) -> int:
        """Abort the jobs that wait or run; workers stop theirs. Returns how many."""
        with self._store.database.write() as connection:
            done = connection.execute(
                update(JOB)
                .where(JOB.c.owner == owner, JOB.c.phase.in_([*ACTIVE_PHASES, Phase.HELD]))
                .values(phase=Phase.ABORTED, ended=utc_now())
            ).rowcount
        if done:
            self._store.notify()
        return done

    def hand_over(self, owner: str, to: str) -> int:
        """Give all jobs, with their results, to another owner. Returns how many."""
        with self._store.database.write() as connection:
            return connection.execute(
                update(JOB).where(JOB.c.owner == owner).values(owner=to)
            ).rowcount

    def active(self) -> frozenset[str]:
        """Return the owners of the jobs that wait or run."""
        query = (
            select(JOB.c.owner)
            .where(JOB.c.owner.is_not(None), JOB.c.phase.in_([*ACTIVE_PHASES, Phase.HELD]))
            .distinct()
        )
        with self._store.database.read() as connection:
            return frozenset(connection.execute(query).scalars())
