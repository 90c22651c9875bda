"""WAIT: blocks while a job is active, ends when its phase changes, costs little."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from sqlalchemy import event

from astrolabe.core.database import Database
from astrolabe.core.errors import NotFoundError
from astrolabe.jobs.model import Job, Phase
from astrolabe.jobs.service import JobService
from astrolabe.jobs.store import JobStore

from .support import KIND, make_service


def _later(seconds: float, action: object, *args: object) -> threading.Timer:
    timer = threading.Timer(seconds, action, args)  # type: ignore[arg-type]  # any callable
    timer.start()
    return timer


def test_wait_returns_when_the_phase_changes_in_this_process(service: JobService) -> None:
    job = service.create(KIND, (), owner=None)
    begun = time.monotonic()
    _later(0.2, service.start, job.job_id)
    assert service.wait(job.job_id, 5).phase is Phase.QUEUED
    assert 0.15 < time.monotonic() - begun < 4


def test_wait_returns_when_another_process_changes_the_phase(
    database_url: str, service: JobService
) -> None:
    other_database = Database(database_url)
    other = make_service(JobStore(other_database))
    job = service.create(KIND, (), owner=None)
    begun = time.monotonic()
    _later(0.2, other.start, job.job_id)
    assert service.wait(job.job_id, 5).phase is Phase.QUEUED
    assert 0.15 < time.monotonic() - begun < 4
    other.close()
    other_database.close()


def test_wait_ends_when_its_time_is_over(service: JobService) -> None:
    job = service.create(KIND, (), owner=None)
    begun = time.monotonic()
    assert service.wait(job.job_id, 0.3) == job
    assert 0.28 < time.monotonic() - begun < 4


def test_wait_without_an_end_is_cut_by_the_service(store: JobStore) -> None:
    service = make_service(store, wait_seconds=0.3)
    job = service.create(KIND, (), owner=None)
    for seconds in (-1, 10_000):
        begun = time.monotonic()
        assert service.wait(job.job_id, seconds) == job
        assert 0.28 < time.monotonic() - begun < 4
    service.close()


def test_wait_does_not_block_without_need(service: JobService) -> None:
    pending = service.create(KIND, (), owner=None)
    ended = service.abort(service.create(KIND, (), owner=None).job_id)
    begun = time.monotonic()
    assert service.wait(pending.job_id, 5, phase=Phase.QUEUED) == pending
    assert service.wait(pending.job_id, 0) == pending
    assert service.wait(ended.job_id, -1) == ended
    assert service.wait(ended.job_id, -1, phase=Phase.ABORTED) == ended
    assert time.monotonic() - begun < 4


def test_wait_ends_when_the_job_is_destroyed(service: JobService) -> None:
    job = service.create(KIND, (), owner=None)
    deletion = _later(0.2, service.delete, job.job_id)
    begun = time.monotonic()
    with pytest.raises(NotFoundError):
        service.wait(job.job_id, 5)
    assert time.monotonic() - begun < 4
    # The job is gone at once, its files and row a moment later.
    deletion.join()


def test_closing_ends_all_waits(store: JobStore) -> None:
    service = make_service(store)
    job = service.create(KIND, (), owner=None)
    _later(0.2, service.close)
    begun = time.monotonic()
    assert service.wait(job.job_id, 5) == job
    assert time.monotonic() - begun < 4
    assert service.wait(job.job_id, 5) == job
    assert time.monotonic() - begun < 4


@pytest.mark.asyncio
async def test_hundreds_wait_on_one_thread_and_few_queries(service: JobService) -> None:
    jobs = [service.create(KIND, (), owner=None) for _ in range(200)]
    queries = 0

    def count(*_args: object) -> None:
        nonlocal queries
        queries += 1

    before = threading.active_count()
    waits = [asyncio.create_task(service.wait_async(job.job_id, 30)) for job in jobs]
    await asyncio.sleep(0.5)
    threads = threading.active_count() - before
    event.listen(service._store.database.engine, "before_cursor_execute", count)
    await asyncio.sleep(1)
    # One look for all of them each 20 ms at most, of three statements at most: 150. The pause grows
    # with the age of the youngest wait, which may be young still where the machine is busy. If each
    # of the 200 asked for itself there would be thousands.
    assert 1 <= queries < 200
    event.remove(service._store.database.engine, "before_cursor_execute", count)
    assert threads < 30
    assert not any(wait.done() for wait in waits)
    for job in jobs:
        await asyncio.to_thread(service.start, job.job_id)
    ended: list[Job] = await asyncio.wait_for(asyncio.gather(*waits), 5)
    assert {job.phase for job in ended} == {Phase.QUEUED}


@pytest.mark.asyncio
async def test_a_wait_that_is_cancelled_leaves_nothing(service: JobService) -> None:
    job = service.create(KIND, (), owner=None)
    wait = asyncio.create_task(service.wait_async(job.job_id, 30))
    await asyncio.sleep(0.2)
    assert len(service._watcher._waiting) == 1
    wait.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wait
    for _ in range(100):
        if not service._watcher._waiting:
            break
        await asyncio.sleep(0.02)
    assert not service._watcher._waiting


@pytest.mark.asyncio
async def test_wait_async_answers_as_wait_does(service: JobService) -> None:
    job = service.create(KIND, (), owner="ada")
    with pytest.raises(NotFoundError):
        await service.wait_async(job.job_id, 1, principal_name="bob")
    assert await service.wait_async(job.job_id, 0.1, principal_name="ada") == job
    other = await service.wait_async(job.job_id, 9, phase=Phase.QUEUED, principal_name="ada")
    assert other == job


def test_waiting_survives_trouble_with_the_database(
    service: JobService, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError  # noqa: PLC0415 - this test's only

    job = service.create(KIND, (), owner=None)
    real = service._watcher._phases
    failures = 0

    def fail_once(job_ids: object) -> object:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise OperationalError("SELECT", {}, OSError("gone for a moment"))
        return real(job_ids)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(service._watcher, "_phases", fail_once)
    _later(0.1, service.start, job.job_id)
    assert service.wait(job.job_id, 5).phase is Phase.QUEUED
    assert failures >= 2
