"""The queue: its order, claims that never meet, leases."""

from __future__ import annotations

import threading
import time
from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from astrolabe.core.database import Database
from astrolabe.jobs.model import JobError, Phase
from astrolabe.jobs.queue import JobQueue
from astrolabe.jobs.schema import JOB
from astrolabe.jobs.service import JobService
from astrolabe.jobs.store import JobStore

from .support import KIND, RESULT, make_service


def _queue(store: JobStore, name: str = "w1", lease_seconds: float = 10) -> JobQueue:
    return JobQueue(store, worker_id=name, lease_seconds=lease_seconds)


def _submit(service: JobService, owner: str | None, count: int = 1) -> list[str]:
    return [service.create(KIND, (), owner=owner, run=True).job_id for _ in range(count)]


def _claim_all(queue: JobQueue) -> list[str]:
    claimed = []
    while (job := queue.claim([KIND])) is not None:
        claimed.append(job.job_id)
    return claimed


def test_jobs_of_one_owner_run_in_the_order_of_their_age(
    store: JobStore, service: JobService
) -> None:
    assert _claim_all(_queue(store)) == []
    submitted = _submit(service, "ada", 5)
    assert _claim_all(_queue(store)) == submitted


def test_owners_take_turns_and_anonymous_jobs_count_as_one_owners(
    store: JobStore, service: JobService
) -> None:
    anonymous = _submit(service, None, 6)
    ada = _submit(service, "ada", 2)
    bob = _submit(service, "bob", 1)
    order = _claim_all(_queue(store))
    assert order == [
        anonymous[0], ada[0], bob[0], anonymous[1], ada[1], *anonymous[2:]
    ]  # fmt: skip


def test_a_newcomer_waits_for_one_job_at_most_behind_another_ones_hundred(
    store: JobStore, service: JobService
) -> None:
    queue = _queue(store)
    _submit(service, "ada", 30)
    for _ in range(10):
        assert queue.claim([KIND]) is not None
    newcomer = _submit(service, "bob")[0]
    assert newcomer in _claim_all(queue)[:2]


def test_one_who_submits_again_and_again_does_not_starve_the_others(
    store: JobStore, service: JobService
) -> None:
    queue = _queue(store)
    waiting = set(_submit(service, "ada", 5))
    for _turn in range(12):
        _submit(service, "bob")
        job = queue.claim([KIND])
        assert job is not None
        waiting.discard(job.job_id)
        queue.complete(job, (), {})
        service.delete(job.job_id, principal_name=job.owner)
        if not waiting:
            break
    assert not waiting


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(owners=st.lists(st.sampled_from(["ada", "bob", "eve", None]), max_size=20))
def test_no_owner_gets_ahead_of_another_by_more_than_one_job(
    store: JobStore, service: JobService, owners: list[str | None]
) -> None:
    with store.database.write() as connection:
        connection.execute(delete(JOB))
    owner_of = {_submit(service, owner)[0]: owner for owner in owners}
    left = Counter(owner_of.values())
    served: Counter[str | None] = Counter()
    for job_id in _claim_all(_queue(store)):
        owner = owner_of[job_id]
        served[owner] += 1
        left[owner] -= 1
        behind = [served[other] for other in left if left[other] > 0]
        assert all(served[owner] - count <= 1 for count in behind)
    assert not +left


def test_only_kinds_that_the_worker_runs_are_claimed(store: JobStore, service: JobService) -> None:
    service.create("cutout", (), owner=None, run=True)
    wanted = _submit(service, None)
    assert _claim_all(_queue(store)) == wanted


def test_a_claimed_job_is_executing(store: JobStore, service: JobService) -> None:
    _submit(service, "ada")
    job = _queue(store).claim([KIND])
    assert job is not None
    assert (job.phase, job.attempt) == (Phase.EXECUTING, 1)
    assert job.started is not None
    assert service.get(job.job_id, principal_name="ada") == job


def test_claims_of_many_threads_never_meet(database_url: str, service: JobService) -> None:
    submitted = set(_submit(service, None, 60))
    claimed: list[str] = []
    begin = threading.Barrier(4)

    def work(name: str) -> None:
        database = Database(database_url)
        begin.wait()
        claimed.extend(_claim_all(_queue(JobStore(database), name)))
        database.close()

    threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == 60
    assert set(claimed) == submitted


def test_a_lease_that_ran_out_gives_the_job_to_another_and_fences_the_first(
    store: JobStore, service: JobService
) -> None:
    first, second = _queue(store, "w1", lease_seconds=0.05), _queue(store, "w2")
    _submit(service, None)
    lost = first.claim([KIND])
    assert lost is not None
    time.sleep(0.1)
    assert second.take_back(running=(), max_attempts=3) == (1, 0)
    again = second.claim([KIND])
    assert again is not None
    assert (again.job_id, again.attempt) == (lost.job_id, 2)
    assert first.held({lost.job_id: lost.attempt}) == {}
    first.renew([lost.job_id])
    first.save_progress(lost, {"rows": 1})
    assert first.complete(lost, (RESULT,), {}) is False
    assert first.fail(lost, JobError(message="x"), {}) is False
    assert first.put_back(lost) is False
    assert service.get(lost.job_id) == again
    assert second.complete(again, (RESULT,), {"rows": 2}) is True
    ended = service.get(lost.job_id)
    assert (ended.phase, ended.results, ended.progress) == (
        Phase.COMPLETED, (RESULT,), {"rows": 2}
    )  # fmt: skip


def test_the_same_worker_may_claim_again_what_it_lost(store: JobStore, service: JobService) -> None:
    queue = _queue(store, lease_seconds=0.05)
    _submit(service, None)
    lost = queue.claim([KIND])
    assert lost is not None
    time.sleep(0.1)
    # It says that it runs the job: a busy worker does not take its own jobs back.
    assert queue.take_back(running=[lost.job_id], max_attempts=3) == (0, 0)
    assert queue.take_back(running=(), max_attempts=3) == (1, 0)
    again = queue.claim([KIND])
    assert again is not None
    assert queue.complete(lost, (), {}) is False
    assert queue.complete(again, (), {}) is True


def test_a_renewed_lease_is_kept(store: JobStore, service: JobService) -> None:
    queue = _queue(store, lease_seconds=0.3)
    _submit(service, None)
    job = queue.claim([KIND])
    assert job is not None
    for _ in range(4):
        time.sleep(0.15)
        queue.renew([job.job_id])
        assert _queue(store, "w2").take_back(running=(), max_attempts=3) == (0, 0)


def test_a_job_whose_workers_die_again_and_again_ends_in_error(
    store: JobStore, service: JobService
) -> None:
    queue = _queue(store, lease_seconds=-1)
    job_id = _submit(service, None)[0]
    for attempt in (1, 2, 3):
        job = queue.claim([KIND])
        assert job is not None
        assert job.attempt == attempt
        taken = queue.take_back(running=(), max_attempts=3)
        assert taken == ((0, 1) if attempt == 3 else (1, 0))
    ended = service.get(job_id)
    assert ended.phase is Phase.ERROR
    assert ended.error is not None
    assert "3 times" in ended.error.message
    assert ended.ended is not None


def test_a_job_put_back_keeps_its_turn_and_its_attempts(
    store: JobStore, service: JobService
) -> None:
    queue = _queue(store)
    first, *_others = _submit(service, None, 3)
    job = queue.claim([KIND])
    assert job is not None
    assert queue.put_back(job) is True
    waiting = service.get(first)
    assert (waiting.phase, waiting.attempt, waiting.started) == (Phase.QUEUED, 0, None)
    again = queue.claim([KIND])
    assert again is not None
    assert (again.job_id, again.attempt) == (first, 1)


def test_an_aborted_job_is_held_until_its_worker_lets_go(database: Database) -> None:
    removed: list[str] = []
    store = JobStore(database)
    service = make_service(store, on_delete=lambda job: removed.append(job.job_id))
    queue = _queue(store)
    job_id = _submit(service, None)[0]
    job = queue.claim([KIND])
    assert job is not None
    service.delete(job_id)
    assert removed == [job_id]
    assert store.doomed(10) == ()
    queue.let_go(job)
    assert [doomed.job_id for doomed in store.doomed(10)] == [job_id]
    service.close()
