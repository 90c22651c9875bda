"""When jobs will end: UWS's ``quote`` (UWS 1.1, section 2.1).

A kind of job may say beforehand how long a job takes, on a machine that it was measured on; what
the last jobs of that kind took tells how much faster or slower it goes here.  A job that is under
way tells by how much of it is done.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median
from typing import Any, Final

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import AstrolabeError
from astrolabe.jobs.model import Job, Phase
from astrolabe.jobs.store import JobStore

__all__ = ["ESTIMATE", "JobQuotes", "QuoteRule"]

ESTIMATE: Final = "estimated_seconds"
"""Under which the estimate stands in a job's progress (s)."""

_RECENT: Final = 20
_KEPT_SECONDS: Final = 10.0
_LEAST_SECONDS: Final = 0.01
_SLOWEST: Final = 100.0
_LEAST_SHARE: Final = 0.05
"""What is done before says little of the rest."""
_MOST_UNKNOWN: Final = 10_000


@dataclass(frozen=True, slots=True)
class QuoteRule:
    """How jobs of one kind say when they end.

    Parameters
    ----------
    done, total
        Names in a job's progress of how much is done and of how much there is.
    estimate
        Gives the seconds that a job will take, as far as it can be said without doing it; raises
        an `AstrolabeError` for one that will fail.
    """

    done: str
    total: str
    estimate: Callable[[Job], float] | None = None


class JobQuotes:
    """Says when jobs will end.  Safe to use from many threads.

    Parameters
    ----------
    store
        Where the jobs are.
    rules
        By kind of job; others have no quote.
    slots
        Jobs that run at once.
    """

    def __init__(self, store: JobStore, rules: Mapping[str, QuoteRule], *, slots: int) -> None:
        self._store = store
        self._rules = dict(rules)
        self._slots = max(slots, 1)
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, float, float]] = {}
        self._unknown: set[str] = set()

    def quoted(self, job: Job) -> Job:
        """Return a job with the time when it will probably end, if that can be said.

        A job that waits is estimated once; that may take as long as looking for its images.
        """
        rule = self._rules.get(job.kind)
        if rule is None:
            return job
        now = utc_now()
        if job.phase is Phase.EXECUTING and job.started is not None:
            seconds = self._executing_seconds(job, rule, now, job.started)
            if seconds is None:
                return job
            # One that is late ends at any moment.
            return replace(job, quote=max(job.started + timedelta(seconds=seconds), now))
        if job.phase not in {Phase.PENDING, Phase.QUEUED}:
            return job
        job = self._estimated(job, rule)
        estimate = _number(job.progress.get(ESTIMATE))
        if estimate is None:
            return job
        speed, _ = self._recent(job.kind)
        return replace(
            job, quote=now + timedelta(seconds=self._waiting_seconds(job) + estimate * speed)
        )

    def seconds(self, kind: str, estimate: float) -> float:
        """Return how long a job takes here that takes so long where it was measured (s)."""
        return estimate * self._recent(kind)[0]

    def _estimated(self, job: Job, rule: QuoteRule) -> Job:
        if ESTIMATE in job.progress or rule.estimate is None or job.job_id in self._unknown:
            return job
        try:
            seconds = float(rule.estimate(job))
        except AstrolabeError:
            # It will say so itself when it runs.
            if len(self._unknown) >= _MOST_UNKNOWN:
                self._unknown.clear()
            if job.phase is Phase.QUEUED:
                self._unknown.add(job.job_id)
            return job

        def noted(found: Job) -> Job:
            # Its parameters may have changed, or a worker may have taken it, meanwhile.
            if found.phase not in {Phase.PENDING, Phase.QUEUED} or (
                found.parameters != job.parameters
            ):
                return found
            return replace(found, progress={**found.progress, ESTIMATE: round(seconds, 3)})

        stored = self._store.update(job.job_id, noted)
        return job if stored is None else replace(job, progress=stored.progress)

    def _executing_seconds(
        self, job: Job, rule: QuoteRule, now: datetime, started: datetime
    ) -> float | None:
        """Return how long a job takes in all that has begun."""
        done, total = (_number(job.progress.get(name)) for name in (rule.done, rule.total))
        if done and total and done >= _LEAST_SHARE * total:
            return (now - started).total_seconds() * max(total / done, 1.0)
        estimate = _number(job.progress.get(ESTIMATE))
        return None if estimate is None else estimate * self._recent(job.kind)[0]

    def _waiting_seconds(self, job: Job) -> float:
        """Return how long a job waits for its turn, if those before it are like the last ones."""
        if job.phase is not Phase.QUEUED:
            return 0.0
        place = self._store.position(job.job_id) or 1
        return (place - 1) / self._slots * self._recent(job.kind)[1]

    def _recent(self, kind: str) -> tuple[float, float]:
        """Return how much slower jobs were than estimated, and how long they took (s)."""
        now = time.monotonic()
        with self._lock:
            kept = self._kept.get(kind)
        if kept is not None and kept[0] > now:
            return kept[1], kept[2]
        ratios, lengths = [], []
        for started, ended, progress in self._store.recent(kind, _RECENT):
            seconds = (ended - started).total_seconds()
            lengths.append(seconds)
            estimate = _number(progress.get(ESTIMATE))
            if estimate is not None and estimate >= _LEAST_SECONDS and seconds > 0:
                ratios.append(min(max(seconds / estimate, 1 / _SLOWEST), _SLOWEST))
        found = (median(ratios) if ratios else 1.0, median(lengths) if lengths else 0.0)
        with self._lock:
            self._kept[kind] = (now + _KEPT_SECONDS, *found)
        return found


def _number(value: Any) -> float | None:  # noqa: ANN401 - progress is free JSON
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value) if value >= 0 else None
