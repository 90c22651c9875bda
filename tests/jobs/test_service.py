"""Jobs as a client steers them (UWS 1.1), on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import (
    BadParameterError,
    ConflictError,
    NotFoundError,
    OverloadError,
)
from astrolabe.core.ids import new_job_id
from astrolabe.jobs.model import Job, JobParameter, Phase
from astrolabe.jobs.service import JobService
from astrolabe.jobs.store import JobStore

from .support import KIND, make_service, parameters


def test_a_new_job_is_pending_and_read_back_as_it_was_made(service: JobService) -> None:
    sent = (
        JobParameter("query", "SELECT 'é☃'"),
        JobParameter("UPLOAD", "t1,param:a"),
        JobParameter("Upload", "t2,param:b"),
    )
    made = service.create(KIND, sent, owner="ada", run_id="my run", execution_seconds=30)
    assert made.phase is Phase.PENDING
    assert made.run_id == "my run"
    assert made.execution_seconds == 30
    assert made.destruction - made.created == timedelta(days=7)
    assert made.created.tzinfo is UTC
    assert made.values("query") == ("SELECT 'é☃'",)
    assert made.values("upload") == ("t1,param:a", "t2,param:b")
    assert service.get(made.job_id, kind=KIND, principal_name="ada") == made


def test_a_job_may_begin_without_parameters_and_get_them_one_by_one(service: JobService) -> None:
    job = service.create(KIND, (), owner=None)
    for name, value in (("LANG", "ADQL"), ("QUERY", "x"), ("query", "y"), ("DUMMY", "z")):
        service.set_parameters(job.job_id, [JobParameter(name, value)])
    job = service.get(job.job_id)
    assert [(p.name, p.value) for p in job.parameters] == [
        ("LANG", "ADQL"),
        ("QUERY", "y"),
        ("DUMMY", "z"),
    ]


def test_uploads_add_up_and_other_parameters_are_replaced(service: JobService) -> None:
    job = service.create(KIND, parameters(UPLOAD="a,param:a", ID="1"), owner=None)
    job = service.set_parameters(job.job_id, parameters(UPLOAD="b,param:b"))
    job = service.set_parameters(job.job_id, (JobParameter("ID", "2"), JobParameter("ID", "3")))
    assert job.values("UPLOAD") == ("a,param:a", "b,param:b")
    assert job.values("ID") == ("2", "3")


def test_runid_as_a_parameter_sets_the_run_id(service: JobService) -> None:
    job = service.create(KIND, parameters(runid="first"), owner=None)
    assert (job.run_id, job.parameters) == ("first", ())
    job = service.set_parameters(job.job_id, parameters(runId="TAPLINT-002"))
    assert service.get(job.job_id).run_id == "TAPLINT-002"
    assert job.parameters == ()


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_text_that_no_database_keeps_is_refused(service: JobService, value: str) -> None:
    with pytest.raises(BadParameterError, match="QUERY"):
        service.create(KIND, parameters(QUERY=value), owner=None)
    with pytest.raises(BadParameterError, match="name"):
        service.create(KIND, [JobParameter(value, "x")], owner=None)
    with pytest.raises(BadParameterError, match="RUNID"):
        service.create(KIND, (), owner=None, run_id=value)


def test_run_queues_once_and_parameters_are_fixed_then(service: JobService) -> None:
    job = service.create(KIND, (), owner=None)
    assert service.start(job.job_id).phase is Phase.QUEUED
    assert service.start(job.job_id).phase is Phase.QUEUED
    with pytest.raises(ConflictError, match="QUEUED"):
        service.set_parameters(job.job_id, parameters(QUERY="x"))


def test_a_finished_job_does_not_run_again(service: JobService) -> None:
    job = service.create(KIND, (), owner=None)
    service.abort(job.job_id)
    with pytest.raises(ConflictError, match="ABORTED"):
        service.start(job.job_id)
    with pytest.raises(ConflictError, match="ABORTED"):
        service.set_execution_seconds(job.job_id, 5)


@pytest.mark.parametrize("run", [False, True])
def test_abort_before_execution_is_at_once_and_for_good(service: JobService, run: bool) -> None:  # noqa: FBT001 - a test's parameter
    job = service.create(KIND, (), owner=None, run=run)
    aborted = service.abort(job.job_id)
    assert aborted.phase is Phase.ABORTED
    assert aborted.ended is not None
    assert service.abort(job.job_id) == aborted


@pytest.mark.parametrize(("asked", "given"), [(0, 600), (1, 1), (600, 600), (10**12, 600)])
def test_execution_duration_is_lowered_to_the_limit(
    service: JobService, asked: int, given: int
) -> None:
    job = service.create(KIND, (), owner=None, execution_seconds=asked)
    assert job.execution_seconds == given
    job = service.create(KIND, (), owner=None)
    assert job.execution_seconds == 600
    assert service.set_execution_seconds(job.job_id, asked).execution_seconds == given
    assert service.get(job.job_id).execution_seconds == given


def test_a_negative_execution_duration_is_refused(service: JobService) -> None:
    job = service.create(KIND, (), owner=None)
    with pytest.raises(BadParameterError, match="-1"):
        service.set_execution_seconds(job.job_id, -1)
    assert service.get(job.job_id) == job


def test_destruction_is_lowered_to_the_longest_retention(service: JobService) -> None:
    job = service.create(KIND, (), owner=None)
    soon = utc_now() + timedelta(hours=1)
    assert service.set_destruction(job.job_id, soon).destruction == soon
    far = datetime(2999, 1, 1, tzinfo=UTC)
    changed = service.set_destruction(job.job_id, far)
    assert changed.destruction == job.created + timedelta(days=30)
    assert service.get(job.job_id) == changed


def test_a_job_past_its_destruction_is_gone_before_anything_sweeps(service: JobService) -> None:
    job = service.create(KIND, (), owner="ada")
    service.set_destruction(job.job_id, utc_now() - timedelta(seconds=1), principal_name="ada")
    with pytest.raises(NotFoundError):
        service.get(job.job_id, principal_name="ada")
    with pytest.raises(NotFoundError):
        service.start(job.job_id, principal_name="ada")
    assert service.list(principal_name="ada") == ()


def test_delete_removes_the_job_and_its_files(store: JobStore) -> None:
    removed: list[Job] = []
    service = make_service(store, on_delete=removed.append)
    job = service.create(KIND, (), owner=None, run=True)
    service.delete(job.job_id)
    assert [gone.job_id for gone in removed] == [job.job_id]
    assert store.doomed(10) == ()
    with pytest.raises(NotFoundError):
        service.get(job.job_id)
    with pytest.raises(NotFoundError):
        service.delete(job.job_id)
    service.close()


def test_files_that_cannot_be_removed_now_are_left_to_the_sweep(store: JobStore) -> None:
    def fail(_job: Job) -> None:
        raise OSError("busy")

    service = make_service(store, on_delete=fail)
    job = service.create(KIND, (), owner=None)
    service.delete(job.job_id)
    with pytest.raises(NotFoundError):
        service.get(job.job_id)
    assert [left.job_id for left in store.doomed(10)] == [job.job_id]
    service.close()


def test_a_job_of_another_user_does_not_exist(service: JobService) -> None:
    job = service.create(KIND, (), owner="ada")
    for name in ("bob", None):
        for attempt in (
            service.get,
            service.start,
            service.abort,
            service.delete,
            lambda job_id, **who: service.set_parameters(job_id, (), **who),
            lambda job_id, **who: service.set_destruction(job_id, utc_now(), **who),
            lambda job_id, **who: service.set_execution_seconds(job_id, 1, **who),
            lambda job_id, **who: service.wait(job_id, 1, **who),
        ):
            with pytest.raises(NotFoundError):
                attempt(job.job_id, principal_name=name)
    assert service.get(job.job_id, principal_name="ada") == job


def test_an_anonymous_job_belongs_to_who_knows_its_id(service: JobService) -> None:
    job = service.create(KIND, (), owner=None)
    assert service.get(job.job_id, principal_name="bob") == job
    assert service.get(job.job_id, principal_name=None) == job


def test_a_job_of_another_service_is_not_found(service: JobService) -> None:
    job = service.create("cutout", (), owner=None)
    with pytest.raises(NotFoundError):
        service.get(job.job_id, kind=KIND)
    with pytest.raises(NotFoundError):
        service.abort(job.job_id, kind=KIND)


@pytest.mark.parametrize(
    "job_id", ["", "nosuchjob", "'; DROP TABLE job; --", "x" * 10_000, "a\0b", "\ud800"]
)
def test_an_unknown_id_is_not_found(service: JobService, job_id: str) -> None:
    with pytest.raises(NotFoundError):
        service.get(job_id)
    with pytest.raises(NotFoundError) as caught:
        service.start(job_id)
    assert len(caught.value.message) < 200


def test_anonymous_jobs_are_limited(store: JobStore) -> None:
    service = make_service(store, anonymous_jobs=3)
    jobs = [service.create(KIND, (), owner=None) for _ in range(3)]
    with pytest.raises(OverloadError, match="3 anonymous"):
        service.create(KIND, (), owner=None)
    service.create(KIND, (), owner="ada")
    service.delete(jobs[0].job_id)
    service.create(KIND, (), owner=None)
    service.close()


def test_an_id_made_before_is_used(service: JobService) -> None:
    job_id = new_job_id()
    assert service.create(KIND, (), owner=None, job_id=job_id).job_id == job_id
    assert service.get(job_id).job_id == job_id
