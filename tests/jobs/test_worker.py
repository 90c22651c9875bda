"""Workers inside this process: run, abort, time out, fail, shut down, sweep."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs
from typing_extensions import override

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import (
    AstrolabeError,
    InternalError,
    NotFoundError,
    OverloadError,
    Position,
    StorageFullError,
    UnknownColumnError,
)
from astrolabe.jobs.model import Job, JobControl, JobOutcome, JobResult, JobRunner, Phase
from astrolabe.jobs.service import JobService
from astrolabe.jobs.store import JobStore
from astrolabe.jobs.worker import Worker

from .support import (
    KIND,
    RESULT,
    FailingRunner,
    PatientRunner,
    QuickRunner,
    make_service,
    parameters,
    run_to_end,
    wait_until,
)

if TYPE_CHECKING:
    from .conftest import StartWorker


def test_a_job_runs_and_its_document_has_the_result(
    service: JobService, start_worker: StartWorker
) -> None:
    runner = QuickRunner()
    start_worker(runner)
    job = service.create(KIND, parameters(QUERY="x"), owner="ada")
    time.sleep(0.2)
    assert runner.runs == []
    service.start(job.job_id, principal_name="ada")
    ended = run_to_end(service, service.get(job.job_id, principal_name="ada"))
    assert ended.phase is Phase.COMPLETED
    assert ended.results == (RESULT,)
    assert ended.error is None
    assert ended.started is not None
    assert ended.ended is not None
    assert ended.created <= ended.started <= ended.ended
    assert runner.jobs[0].values("QUERY") == ("x",)
    assert runner.jobs[0].owner == "ada"


def test_a_submitted_job_starts_soon_from_another_process_too(
    database_url: str, start_worker: StartWorker
) -> None:
    start_worker(QuickRunner())
    # Another store does not wake the worker: it finds the job by looking.
    other_database = Database(database_url)
    other = make_service(JobStore(other_database))
    delays = []
    for _ in range(5):
        ended = run_to_end(other, other.create(KIND, (), owner=None, run=True))
        assert ended.started is not None
        delays.append((ended.started - ended.created).total_seconds())
    assert sorted(delays)[2] < 0.2
    other.close()
    other_database.close()


@pytest.mark.timeout(90)
def test_several_hundred_jobs_on_two_workers_each_run_once(
    store: JobStore, service: JobService, start_worker: StartWorker
) -> None:
    runners = [QuickRunner(), QuickRunner()]
    for runner in runners:
        start_worker(runner, slots=3)
    jobs = [
        service.create(KIND, (), owner=owner, run=True)
        for _ in range(70)
        for owner in (None, "ada", "bob")
    ]
    ids = [job.job_id for job in jobs]
    wait_until(lambda: set(store.phases(ids).values()) == {Phase.COMPLETED}, seconds=60)
    assert sorted(runners[0].runs + runners[1].runs) == sorted(ids)


def test_no_more_jobs_run_at_once_than_there_are_slots(
    service: JobService, start_worker: StartWorker
) -> None:
    runner = PatientRunner()
    worker = start_worker(runner, slots=2)
    for _ in range(4):
        service.create(KIND, (), owner="ada", run=True)
    wait_until(lambda: len(worker.running) == 2)
    time.sleep(0.3)
    assert len(worker.running) == 2
    assert len(service.list(principal_name="ada", phases=[Phase.QUEUED])) == 2
    runner.may_finish.set()
    wait_until(lambda: len(service.list(principal_name="ada", phases=[Phase.COMPLETED])) == 4)


def test_an_abort_ends_the_document_at_once_and_the_run_soon(
    service: JobService, start_worker: StartWorker
) -> None:
    runner = PatientRunner()
    worker = start_worker(runner)
    job = service.create(KIND, (), owner=None, run=True)
    assert runner.started.wait(5)
    begun = time.monotonic()
    aborted = service.abort(job.job_id)
    assert aborted.phase is Phase.ABORTED
    wait_until(lambda: not worker.running)
    assert time.monotonic() - begun < 5
    assert service.get(job.job_id) == aborted


def test_a_result_that_comes_after_the_abort_does_not_count(
    service: JobService, start_worker: StartWorker
) -> None:
    runner = PatientRunner()
    runner.deaf = True
    worker = start_worker(runner)
    job = service.create(KIND, (), owner=None, run=True)
    assert runner.started.wait(5)
    service.abort(job.job_id)
    runner.may_finish.set()
    wait_until(lambda: not worker.running)
    ended = service.get(job.job_id)
    assert (ended.phase, ended.results) == (Phase.ABORTED, ())


def test_a_job_over_its_time_ends_with_the_error_timeout(
    service: JobService, start_worker: StartWorker
) -> None:
    runner = PatientRunner()
    start_worker(runner)
    job = service.create(KIND, (), owner=None, run=True, execution_seconds=1)
    ended = run_to_end(service, job)
    assert ended.phase is Phase.ERROR
    assert ended.error is not None
    assert ended.error.code == "timeout"
    assert "1 s" in ended.error.message
    assert runner.stopped_after is not None
    assert 0.8 < runner.stopped_after < 2


def test_the_time_limit_of_a_running_job_can_be_changed(
    service: JobService, start_worker: StartWorker
) -> None:
    runner = PatientRunner()
    start_worker(runner)
    job = service.create(KIND, (), owner=None, run=True, execution_seconds=500)
    assert runner.started.wait(5)
    service.set_execution_seconds(job.job_id, 1)
    ended = run_to_end(service, job)
    assert ended.error is not None
    assert ended.error.code == "timeout"


def test_a_job_that_ignores_its_deadline_gets_its_error_all_the_same(
    service: JobService, start_worker: StartWorker
) -> None:
    runner = PatientRunner()
    runner.deaf = True
    worker = start_worker(runner, overdue_seconds=0.3)
    job = service.create(KIND, (), owner=None, run=True, execution_seconds=1)
    ended = run_to_end(service, job)
    assert ended.phase is Phase.ERROR
    assert ended.error is not None
    assert ended.error.code == "timeout"
    assert worker.running == (job.job_id,)
    runner.may_finish.set()
    wait_until(lambda: not worker.running)
    assert service.get(job.job_id) == ended


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (UnknownColumnError("No column x."), False),
        (OverloadError("Too much."), True),
        (StorageFullError("Full."), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_of_ours_becomes_the_error_summary(
    service: JobService,
    start_worker: StartWorker,
    error: AstrolabeError,
    transient: bool,  # noqa: FBT001 - a test's parameter
) -> None:
    start_worker(FailingRunner(error))
    ended = run_to_end(service, service.create(KIND, (), owner=None, run=True))
    assert ended.phase is Phase.ERROR
    assert ended.error is not None
    assert ended.error.code == error.code
    assert ended.error.message == error.message
    assert ended.error.transient is transient


def test_the_place_and_the_suggestions_of_a_query_error_are_kept(
    service: JobService, start_worker: StartWorker
) -> None:
    error = UnknownColumnError("No ri.", position=Position(2, 8), suggestions=("ra", "rv"))
    start_worker(FailingRunner(error))
    ended = run_to_end(service, service.create(KIND, (), owner=None, run=True))
    assert ended.error is not None
    assert ended.error.detail == {
        "position": {"line": 2, "column": 8},
        "suggestions": ["ra", "rv"],
    }
    assert "line 2, column 8" in ended.error.message


def test_an_unexpected_exception_is_told_by_an_id_not_by_its_text(
    service: JobService, start_worker: StartWorker
) -> None:
    worker = start_worker(FailingRunner(ZeroDivisionError("/srv/secret-path")))
    with capture_logs() as logs:
        ended = run_to_end(service, service.create(KIND, (), owner=None, run=True))
    assert ended.error is not None
    assert ended.error.code == "internal"
    assert "secret-path" not in ended.error.message
    error_id = ended.error.message.rstrip(".").split()[-1]
    logged = next(entry for entry in logs if entry.get("error_id") == error_id)
    assert isinstance(logged["exc_info"], ZeroDivisionError)
    assert worker.is_alive


class _BadResultRunner(JobRunner):
    @override
    def run(self, job: Job, control: JobControl) -> JobOutcome:
        return JobOutcome(
            results=(
                JobResult(result_id="r", path="r", mime_type="x", metadata={"mean": float("nan")}),
            )
        )


def test_a_result_that_is_not_json_ends_in_error(
    service: JobService, start_worker: StartWorker
) -> None:
    start_worker(_BadResultRunner())
    ended = run_to_end(service, service.create(KIND, (), owner=None, run=True))
    assert ended.error is not None
    assert ended.error.code == "internal"


class _ReportingRunner(PatientRunner):
    @override
    def run(self, job: Job, control: JobControl) -> JobOutcome:
        for rows in range(1000):
            control.report(rows=rows)
        control.report(phase="writing")
        outcome = super().run(job, control)
        control.report(rows=1001)
        return outcome


def test_progress_is_shown_while_the_job_runs(
    service: JobService, start_worker: StartWorker
) -> None:
    runner = _ReportingRunner()
    start_worker(runner)
    job = service.create(KIND, (), owner=None, run=True)
    wait_until(lambda: service.get(job.job_id).progress == {"rows": 999, "phase": "writing"})
    runner.may_finish.set()
    assert run_to_end(service, job).progress == {"rows": 1001, "phase": "writing"}


def test_a_running_job_is_held_far_longer_than_its_lease(
    service: JobService, start_worker: StartWorker
) -> None:
    runner, other = PatientRunner(), QuickRunner()
    start_worker(runner, lease_seconds=0.6, heartbeat_seconds=0.1, watch_seconds=0.05)
    job = service.create(KIND, (), owner=None, run=True)
    assert runner.started.wait(5)
    start_worker(other)
    time.sleep(2)
    assert other.runs == []
    runner.may_finish.set()
    assert run_to_end(service, job).attempt == 1


def test_a_worker_that_stops_puts_its_jobs_back(
    store: JobStore, service: JobService, start_worker: StartWorker
) -> None:
    runner = PatientRunner()
    worker = Worker(store, {KIND: runner}, slots=2)
    worker.start()
    job = service.create(KIND, (), owner=None, run=True)
    assert runner.started.wait(5)
    begun = time.monotonic()
    worker.stop()
    assert time.monotonic() - begun < 5
    assert not worker.is_alive
    waiting = service.get(job.job_id)
    assert (waiting.phase, waiting.attempt) == (Phase.QUEUED, 0)
    start_worker(QuickRunner())
    assert run_to_end(service, waiting).attempt == 1


def test_a_worker_does_not_wait_long_for_a_job_that_does_not_stop(
    store: JobStore, service: JobService
) -> None:
    runner = PatientRunner()
    runner.deaf = True
    worker = Worker(store, {KIND: runner}, slots=1)
    worker.start()
    job = service.create(KIND, (), owner=None, run=True)
    assert runner.started.wait(5)
    begun = time.monotonic()
    worker.stop(timeout=0.5)
    assert time.monotonic() - begun < 8
    assert service.get(job.job_id).phase is Phase.QUEUED
    runner.may_finish.set()
    time.sleep(0.2)
    assert service.get(job.job_id).phase is Phase.QUEUED


def test_a_worker_starts_once(store: JobStore) -> None:
    with Worker(store, {}, slots=1) as worker, pytest.raises(InternalError):
        worker.start()


def test_the_sweep_destroys_jobs_past_their_time_with_their_files(
    service: JobService, store: JobStore, start_worker: StartWorker
) -> None:
    removed: list[str] = []
    runner = PatientRunner()
    waiting = service.create(KIND, (), owner=None)
    kept = service.create(KIND, (), owner=None)
    start_worker(runner, sweep_seconds=0.1, on_delete=lambda job: removed.append(job.job_id))
    running = service.create(KIND, (), owner=None, run=True)
    assert runner.started.wait(5)
    for job in (waiting, running):
        service.set_destruction(job.job_id, utc_now() - timedelta(seconds=1))
    wait_until(lambda: sorted(removed) == sorted([waiting.job_id, running.job_id]))
    assert runner.stopped_after is not None
    wait_until(lambda: store.doomed(10) == ())
    assert service.get(kept.job_id) == kept
    with pytest.raises(NotFoundError):
        service.get(running.job_id)


def test_what_a_deleted_job_writes_while_it_stops_is_removed_too(
    store: JobStore, start_worker: StartWorker
) -> None:
    removed: list[tuple[str, bool]] = []
    runner = PatientRunner()
    runner.deaf = True

    def on_delete(job: Job) -> None:
        removed.append((job.job_id, bool(worker.running)))

    service = make_service(store, on_delete=on_delete)
    worker = start_worker(runner, sweep_seconds=0.1, on_delete=on_delete)
    job = service.create(KIND, (), owner=None, run=True)
    assert runner.started.wait(5)
    service.delete(job.job_id)
    time.sleep(0.3)
    runner.may_finish.set()
    wait_until(lambda: (job.job_id, False) in removed)
    assert removed[0] == (job.job_id, True)
    service.close()


def test_files_that_cannot_be_removed_do_not_keep_the_others(
    service: JobService, start_worker: StartWorker
) -> None:
    removed: list[str] = []
    stuck, free = (service.create(KIND, (), owner=None) for _ in range(2))
    tries = threading.Semaphore(0)

    def on_delete(job: Job) -> None:
        if job.job_id == stuck.job_id:
            tries.release()
            raise PermissionError("not yours")
        removed.append(job.job_id)

    for job in (stuck, free):
        service.set_destruction(job.job_id, utc_now() - timedelta(seconds=1))
    worker = start_worker(QuickRunner(), sweep_seconds=0.1, on_delete=on_delete)
    wait_until(lambda: removed == [free.job_id])
    assert all(tries.acquire(timeout=2) for _ in range(2))
    assert worker.is_alive


def test_a_worker_survives_trouble_with_the_database(
    service: JobService, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = QuickRunner()
    worker = start_worker(runner)
    trouble = OperationalError("UPDATE", {}, OSError("gone for a moment"))
    failures = {"claim": 1, "complete": 2}

    def failing(name: str) -> object:
        real = getattr(worker._queue, name)

        def call(*args: object) -> object:
            if failures[name]:
                failures[name] -= 1
                raise trouble
            return real(*args)

        return call

    for name in failures:
        monkeypatch.setattr(worker._queue, name, failing(name))
    job = service.create(KIND, (), owner=None, run=True)
    ended = run_to_end(service, job)
    assert failures == {"claim": 0, "complete": 0}
    assert (ended.phase, ended.attempt) == (Phase.COMPLETED, 1)
    assert runner.runs == [job.job_id]
