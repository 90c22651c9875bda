"""Whose job it is: with which rights it runs, and whether it may run now.

The rights are those that the owner has when it runs, not when it was made.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from astrolabe.core.errors import QuotaExceededError
from astrolabe.identity import ANONYMOUS, Principal
from astrolabe.identity.quotas import Quotas
from astrolabe.jobs.model import INTERACTIVE_LANE, Job, Permit, QueueLane

__all__ = ["JobAdmission", "client_address_of", "lane_of"]

_KEPT_SECONDS: Final = 1.0
_KEPT_OWNERS: Final = 10_000


def lane_of(principal: Principal, address: str | None) -> str | None:
    """Return the lane of the queue for the jobs of a caller."""
    if principal.is_anonymous:
        return address
    return INTERACTIVE_LANE if principal.kind == "session" else None


def client_address_of(job: Job) -> str | None:
    """Return the address on whose account an anonymous job is put; `None` for a user's."""
    return job.lane if job.owner is None else None


class JobAdmission:
    """Knows the owners of jobs.  Safe to use from many threads.

    Parameters
    ----------
    groups_of
        Gives the groups of a user.
    quotas
        Say how many queries an owner may run at once.
    """

    def __init__(self, *, groups_of: Callable[[str], frozenset[str]], quotas: Quotas) -> None:
        self._groups_of = groups_of
        self._quotas = quotas
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, frozenset[str]]] = {}

    def principal_of(self, job: Job) -> Principal:
        """Return the owner of a job, with the groups that he has now."""
        return self._principal(job.owner, job.lane)

    def admit(self, lane: QueueLane) -> Permit | None:
        """Return the right to run a job of a lane, `None` if its owner runs as many as he may."""
        principal = self._principal(lane.owner, lane.lane)
        address = lane.lane if lane.owner is None else None
        try:
            return self._quotas.try_slot(principal, address=address, keep=False)
        except QuotaExceededError:
            # Who may run none at all waits until that is changed.
            return None

    def _principal(self, owner: str | None, lane: str | None) -> Principal:
        if owner is None:
            return ANONYMOUS
        kind = "session" if lane == INTERACTIVE_LANE else None
        return Principal(username=owner, groups=self._groups(owner), kind=kind)

    def _groups(self, username: str) -> frozenset[str]:
        now = time.monotonic()
        with self._lock:
            known = self._known.get(username)
            if known is not None and known[0] > now:
                return known[1]
        groups = self._groups_of(username)
        with self._lock:
            if len(self._known) >= _KEPT_OWNERS:
                self._known.clear()
            self._known[username] = (now + _KEPT_SECONDS, groups)
        return groups
