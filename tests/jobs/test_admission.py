"""Jobs whose owners may not run more wait in the queue, and keep nobody else waiting."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from astrolabe.jobs.model import INTERACTIVE_LANE, Phase, QueueLane
from astrolabe.jobs.queue import JobQueue
from astrolabe.jobs.service import JobService
from astrolabe.jobs.store import JobStore

from .conftest import StartWorker
from .support import KIND, FailingRunner, PatientRunner, QuickRunner, wait_until


class Turnstile:
    """Lets each owner run so many jobs at once, and remembers the most that ran."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.lock = threading.Lock()
        self.running: Counter[str | None] = Counter()
        self.most: Counter[str | None] = Counter()

    def __call__(self, lane: QueueLane) -> Turnstile.Permit | None:
        with self.lock:
            if self.running[lane.owner] >= self.limit:
                return None
            self.running[lane.owner] += 1
            self.most[lane.owner] = max(self.most[lane.owner], self.running[lane.owner])
        return Turnstile.Permit(self, lane.owner)

    class Permit:
        def __init__(self, turnstile: Turnstile, owner: str | None) -> None:
            self.turnstile, self.owner, self.given = turnstile, owner, False

        def release(self) -> None:
            with self.turnstile.lock:
                if not self.given:
                    self.turnstile.running[self.owner] -= 1
                self.given = True


def _queue(store: JobStore) -> JobQueue:
    return JobQueue(store, worker_id="w1", lease_seconds=10)


def _submit(
    service: JobService, owner: str | None, count: int = 1, lane: str | None = None
) -> list[str]:
    made = [service.create(KIND, (), owner=owner, run=True, lane=lane) for _ in range(count)]
    return [job.job_id for job in made]


def test_an_owner_over_the_limit_waits_as_queued_and_others_run(
    store: JobStore, service: JobService, start_worker: StartWorker
) -> None:
    turnstile, runner = Turnstile(1), PatientRunner()
    ada = _submit(service, "ada", 3)
    start_worker(runner, slots=4, admission=turnstile)
    wait_until(lambda: store.phases(ada)[ada[0]] is Phase.EXECUTING)
    (bob,) = _submit(service, "bob")
    wait_until(lambda: store.phases([bob])[bob] is Phase.EXECUTING)
    assert [store.phases(ada)[job] for job in ada[1:]] == [Phase.QUEUED, Phase.QUEUED]
    runner.may_finish.set()
    wait_until(lambda: set(store.phases(ada).values()) == {Phase.COMPLETED})
    assert turnstile.most["ada"] == 1


def test_many_workers_together_stay_within_the_limit(
    store: JobStore, service: JobService, start_worker: StartWorker
) -> None:
    turnstile = Turnstile(2)
    jobs = _submit(service, "ada", 12) + _submit(service, "bob", 3)
    for _ in range(3):
        start_worker(QuickRunner(), slots=3, admission=turnstile)
    wait_until(lambda: set(store.phases(jobs).values()) == {Phase.COMPLETED})
    assert turnstile.most["ada"] <= 2
    wait_until(lambda: not +turnstile.running)


def test_a_permit_is_given_back_when_a_job_fails(
    service: JobService, store: JobStore, start_worker: StartWorker
) -> None:
    turnstile = Turnstile(1)
    jobs = _submit(service, "ada", 3)
    start_worker(FailingRunner(ValueError("broken")), admission=turnstile)
    wait_until(lambda: set(store.phases(jobs).values()) == {Phase.ERROR})
    assert not +turnstile.running


def test_newcomers_do_not_pass_who_waits_behind_an_owner_that_is_passed_over(
    store: JobStore, service: JobService
) -> None:
    queue = _queue(store)
    _submit(service, "ada", 3)  # over the limit: never claimed here
    bob = _submit(service, "bob", 4)
    order = []
    for number in range(6):
        lanes = [lane for lane in queue.lanes([KIND]) if lane.owner != "ada"]
        job = queue.claim([KIND], lane=lanes[0])
        assert job is not None
        order.append(job.job_id)
        _submit(service, f"newcomer{number}")
    # Each newcomer comes after what of bob's waited before him, bob's second job among them.
    assert order.index(bob[1]) <= 3


def test_the_portals_jobs_take_turns_with_the_same_users_programs(
    store: JobStore, service: JobService
) -> None:
    queue = _queue(store)
    _submit(service, "ada", 30)
    for _ in range(10):
        assert queue.claim([KIND]) is not None
    (portal,) = _submit(service, "ada", lane=INTERACTIVE_LANE)
    claimed = [job.job_id for _ in range(2) if (job := queue.claim([KIND])) is not None]
    assert portal in claimed


def test_anonymous_jobs_take_turns_by_address(store: JobStore, service: JobService) -> None:
    queue = _queue(store)
    _submit(service, None, 20, lane="192.0.2.1")
    (other,) = _submit(service, None, lane="192.0.2.2")
    claimed = [job.job_id for _ in range(2) if (job := queue.claim([KIND])) is not None]
    assert other in claimed


@pytest.mark.parametrize("owner", [None, "ada"])
def test_a_lane_is_claimed_alone(store: JobStore, service: JobService, owner: str | None) -> None:
    queue = _queue(store)
    _submit(service, "bob")
    (job_id,) = _submit(service, owner)
    assert queue.first([KIND]) == QueueLane("bob", None)
    job = queue.claim([KIND], lane=QueueLane(owner, None))
    assert job is not None
    assert job.job_id == job_id
    assert queue.claim([KIND], lane=QueueLane(owner, None)) is None


def test_a_jobs_place_is_the_number_of_its_turn(store: JobStore, service: JobService) -> None:
    ada, bob = _submit(service, "ada", 3), _submit(service, "bob", 1)

    def place(job_id: str) -> int | None:
        return store.position(job_id)

    assert [place(job) for job in (*ada, *bob)] == [1, 3, 4, 2]
    assert _queue(store).claim([KIND]) is not None
    assert [place(job) for job in (*ada, *bob)] == [None, 2, 3, 1]
    pending = service.create(KIND, (), owner="ada")
    assert place(pending.job_id) is None
    assert service.placed(service.get(ada[2], principal_name="ada")).queue_position == 3
