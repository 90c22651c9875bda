"""When jobs say that they will end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import BadParameterError
from astrolabe.jobs.model import Job, JobParameter, Phase
from astrolabe.jobs.quotes import ESTIMATE, JobQuotes, QuoteRule
from astrolabe.jobs.service import JobService
from astrolabe.jobs.store import JobStore

from .support import KIND


def quotes(
    store: JobStore, estimate: Callable[[Job], float] | None = None, *, slots: int = 2
) -> JobQuotes:
    return JobQuotes(store, {KIND: QuoteRule("done", "total", estimate)}, slots=slots)


def finish(store: JobStore, service: JobService, *, seconds: float, **progress: Any) -> None:
    """Store a job that took so long."""
    job = service.create(KIND, (), owner="alice")
    now = utc_now()
    store.update(
        job.job_id,
        lambda found: replace(
            found,
            phase=Phase.COMPLETED,
            started=now - timedelta(seconds=seconds),
            ended=now,
            progress=progress,
        ),
    )


def executing(job: Job, *, since: float, **progress: Any) -> Job:
    started = utc_now() - timedelta(seconds=since)
    return replace(job, phase=Phase.EXECUTING, started=started, progress=progress)


def ahead(job: Job) -> float | None:
    """Return in how many seconds a job says it ends."""
    return None if job.quote is None else (job.quote - utc_now()).total_seconds()


def test_a_job_is_estimated_once_and_anew_for_other_parameters(
    store: JobStore, service: JobService
) -> None:
    asked: list[tuple[JobParameter, ...]] = []

    def estimate(job: Job) -> float:
        asked.append(job.parameters)
        return 30.0 * len(job.parameters)

    quoting = quotes(store, estimate)
    job = service.create(KIND, [JobParameter("A", "1")], owner="alice")
    for _ in range(2):
        quoted = quoting.quoted(service.get(job.job_id, principal_name="alice"))
        assert ahead(quoted) == pytest.approx(30.0, abs=2)
        assert quoted.progress == {ESTIMATE: 30.0}
    service.set_parameters(job.job_id, [JobParameter("B", "2")], principal_name="alice")
    assert service.get(job.job_id, principal_name="alice").progress == {}
    changed = quoting.quoted(service.get(job.job_id, principal_name="alice"))
    assert ahead(changed) == pytest.approx(60.0, abs=2)
    assert len(asked) == 2


def test_what_the_last_jobs_took_counts(store: JobStore, service: JobService) -> None:
    for seconds, estimate in ((20.0, 10.0), (30.0, 10.0), (40.0, 10.0)):
        finish(store, service, seconds=seconds, **{ESTIMATE: estimate})
    finish(store, service, seconds=5.0)  # one without an estimate says nothing of speed
    quoting = quotes(store, lambda _: 4.0)
    job = service.create(KIND, (), owner="alice")
    assert ahead(quoting.quoted(job)) == pytest.approx(12.0, abs=2)
    assert quoting.seconds(KIND, 4.0) == pytest.approx(12.0)
    assert quoting.seconds("other", 4.0) == 4.0


def test_a_job_that_waits_adds_what_is_before_it(store: JobStore, service: JobService) -> None:
    finish(store, service, seconds=10.0, **{ESTIMATE: 10.0})
    quoting = quotes(store, lambda _: 10.0, slots=2)
    jobs = [service.create(KIND, (), owner="alice", run=True) for _ in range(5)]
    found = [ahead(quoting.quoted(service.placed(job))) for job in jobs]
    assert found == pytest.approx([10.0, 15.0, 20.0, 25.0, 30.0], abs=2)
    assert quoting.quoted(service.placed(jobs[4])).queue_position == 5


def test_a_job_under_way_tells_by_its_progress(store: JobStore, service: JobService) -> None:
    job = service.create(KIND, (), owner="alice")
    quoting = quotes(store)
    half = executing(job, since=20.0, done=5, total=10, **{ESTIMATE: 1000.0})
    assert ahead(quoting.quoted(half)) == pytest.approx(20.0, abs=2)
    begun = executing(job, since=20.0, done=0, total=10, **{ESTIMATE: 100.0})
    assert ahead(quoting.quoted(begun)) == pytest.approx(80.0, abs=2)
    late = executing(job, since=200.0, **{ESTIMATE: 100.0})
    assert ahead(quoting.quoted(late)) == pytest.approx(0.0, abs=2)
    assert quoting.quoted(executing(job, since=20.0)).quote is None


def test_what_cannot_be_estimated_has_no_quote(store: JobStore, service: JobService) -> None:
    asked = []

    def refuse(job: Job) -> float:
        asked.append(job.job_id)
        raise BadParameterError("no such thing")

    quoting = quotes(store, refuse)
    job = service.create(KIND, (), owner="alice", run=True)
    for _ in range(3):
        assert quoting.quoted(job).quote is None
    assert asked == [job.job_id]
    other = service.create("other", (), owner="alice")
    assert quoting.quoted(other).quote is None
    done = replace(job, phase=Phase.COMPLETED, progress={ESTIMATE: 5.0})
    assert quoting.quoted(done).quote is None


def test_a_job_that_a_worker_took_meanwhile_keeps_its_progress(
    store: JobStore, service: JobService
) -> None:
    job = service.create(KIND, (), owner="alice", run=True)

    def taken(found: Job) -> float:
        store.update(found.job_id, lambda old: executing(old, since=0.0, done=1, total=2))
        return 10.0

    quotes(store, taken).quoted(job)
    stored = store.get(job.job_id)
    assert stored is not None
    assert stored.progress == {"done": 1, "total": 2}
