"""Workers as real processes that are killed without a word."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from astrolabe.core.database import Database
from astrolabe.jobs.model import Phase
from astrolabe.jobs.service import JobService
from astrolabe.jobs.store import JobStore

from .support import KIND, RESULT, make_service, parameters, run_to_end, wait_until

pytestmark = [pytest.mark.timeout(180), pytest.mark.server]

ROOT = Path(__file__).parents[2]
StartProcess = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "runs.log"
    path.touch()
    return path


@pytest.fixture
def start_process(database_url: str, log: Path) -> Iterator[StartProcess]:
    """Start worker processes; what is left of them is killed at the end."""
    with ExitStack() as stack:

        def start() -> subprocess.Popen[str]:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.jobs.worker_process", database_url, str(log)],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    cwd=ROOT,
                )
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            assert next(line for line in process.stdout if line == "ready\n")
            return process

        yield start


def test_a_job_whose_worker_is_killed_runs_again_elsewhere(
    service: JobService, start_process: StartProcess, log: Path
) -> None:
    first = start_process()
    job = service.create(KIND, parameters(SECONDS="2"), owner=None, run=True)
    wait_until(lambda: "begin" in log.read_text())
    first.kill()
    first.wait()
    assert service.get(job.job_id).phase is Phase.EXECUTING
    start_process()
    ended = run_to_end(service, job, seconds=20)
    assert (ended.phase, ended.attempt, ended.results) == (Phase.COMPLETED, 2, (RESULT,))
    assert log.read_text().splitlines() == [
        f"begin {job.job_id} 1",
        f"begin {job.job_id} 2",
        f"end {job.job_id} 2",
    ]


def test_a_job_that_kills_each_of_its_workers_ends_in_error(
    service: JobService, start_process: StartProcess, log: Path
) -> None:
    job = service.create(KIND, parameters(SECONDS="60"), owner=None, run=True)
    for attempt in (1, 2, 3):
        process = start_process()
        line = f"begin {job.job_id} {attempt}"
        wait_until(lambda line=line: line in log.read_text(), seconds=20)  # type: ignore[misc]  # bound now
        process.kill()
        process.wait()
    start_process()
    ended = run_to_end(service, job, seconds=20)
    assert ended.phase is Phase.ERROR
    assert ended.error is not None
    assert "3 times" in ended.error.message
    assert f"begin {job.job_id} 4" not in log.read_text()


def test_several_processes_never_run_a_job_twice(
    service: JobService, store: JobStore, start_process: StartProcess, log: Path
) -> None:
    for _ in range(2):
        start_process()
    ids = [
        service.create(KIND, parameters(SECONDS="0"), owner=None, run=True).job_id
        for _ in range(150)
    ]
    wait_until(lambda: set(store.phases(ids).values()) == {Phase.COMPLETED}, seconds=60)
    begun = Counter(line.split()[1] for line in log.read_text().splitlines() if "begin" in line)
    assert begun == Counter(ids)


def test_jobs_survive_a_restart_of_everything(
    database_url: str, start_process: StartProcess
) -> None:
    def opened() -> tuple[Database, JobService]:
        database = Database(database_url)
        return database, make_service(JobStore(database))

    database, service = opened()
    pending = service.create(KIND, parameters(SECONDS="0"), owner="ada")
    queued = service.create(KIND, parameters(SECONDS="0"), owner="ada", run=True)
    service.close()
    database.close()

    database, service = opened()
    start_process()
    assert run_to_end(service, queued).phase is Phase.COMPLETED
    service.start(pending.job_id, principal_name="ada")
    assert run_to_end(service, pending).phase is Phase.COMPLETED
    service.close()
    database.close()


def test_documents_answer_in_milliseconds_while_jobs_come_and_go(
    service: JobService, start_process: StartProcess
) -> None:
    start_process()
    jobs = [
        service.create(KIND, parameters(SECONDS="0.05"), owner=None, run=True) for _ in range(60)
    ]
    times = []
    for job in jobs * 3:
        begun = time.perf_counter()
        service.get(job.job_id)
        times.append(time.perf_counter() - begun)
    assert sorted(times)[len(times) // 2] < 0.02
