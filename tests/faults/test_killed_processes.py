"""Processes die without warning; jobs, tables and results do not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import pyvo

from tests.support.platform import RunningPlatform, run_astrolabe, running_platform

from .small_table import ROWS, make_home, write_rows

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

# Each pair of rows: seconds of work, which a test can wait for to end.
SLOW = (
    "SELECT COUNT(*) AS n FROM s.t AS a, s.t AS b WHERE SIN(a.x * b.x) + COS(a.x - b.x) > 1.9999999"
)
# Each three of them: hours, which only an interruption ends.
ENDLESS = (
    "SELECT COUNT(*) AS n FROM s.t AS a, s.t AS b, s.t AS c "
    "WHERE SIN(a.x * b.x) + COS(b.x - c.x) > 1.9999999"
)


@pytest.fixture(scope="module")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_home(tmp_path_factory.mktemp("made"))


@pytest.fixture
def home(made_home: Path, tmp_path: Path) -> Path:
    """A home for a platform that a test starts as it likes."""
    shutil.copytree(made_home, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture(scope="module")
def platform(
    made_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningPlatform]:
    """A platform whose children a test may kill."""
    home = tmp_path_factory.mktemp("killed") / "home"
    shutil.copytree(made_home, home)
    with running_platform(home) as running:
        yield running


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


def phase(url: str) -> str:
    return httpx.get(f"{url}/phase", timeout=10).text


def submit(platform: RunningPlatform, query: str) -> str:
    answer = httpx.post(
        f"{platform.tap}/async", data={"LANG": "ADQL", "QUERY": query, "PHASE": "RUN"}
    )
    assert answer.status_code == 303
    return answer.headers["Location"]


def test_a_job_survives_the_death_of_its_worker(platform: RunningPlatform) -> None:
    job = submit(platform, SLOW)
    wait_for(lambda: phase(job) == "EXECUTING")
    (pid,) = platform.child_pids("worker")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: platform.child_pids("worker") not in ([], [pid]))
    # Nobody but a worker may say that it has ended, and the killed one cannot.
    assert phase(job) in {"EXECUTING", "QUEUED"}
    wait_for(lambda: phase(job) in {"COMPLETED", "ERROR"}, 200)
    assert phase(job) == "COMPLETED"
    result = httpx.get(f"{job}/results/result", params={"RESPONSEFORMAT": "csv"})
    assert result.status_code == 200


def test_the_gateway_comes_back_after_it_was_killed(platform: RunningPlatform) -> None:
    (pid,) = platform.child_pids("serve")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: platform.child_pids("serve") not in ([], [pid]))

    def answers() -> bool:
        try:
            return platform.sync("SELECT TOP 1 id FROM s.t").status_code == 200
        except httpx.HTTPError:
            return False

    wait_for(answers)


def test_a_query_whose_gateway_is_killed_breaks_off(platform: RunningPlatform) -> None:
    """A client must not take a part of a result for the whole."""
    (pid,) = platform.child_pids("serve")
    query = "SELECT a.id, b.x FROM s.t AS a, s.t AS b"
    form = {"LANG": "ADQL", "QUERY": query, "RESPONSEFORMAT": "csv", "MAXREC": "50000000"}
    with httpx.stream("POST", f"{platform.tap}/sync", data=form, timeout=60) as response:
        assert response.status_code == 200
        pieces = response.iter_raw()
        next(pieces)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(httpx.TransportError):
            list(pieces)
    wait_for(lambda: platform.child_pids("serve") not in ([], [pid]))


def test_jobs_survive_the_death_of_the_whole_platform(home: Path) -> None:
    with running_platform(home) as platform:
        done = submit(platform, "SELECT TOP 3 id FROM s.t")
        wait_for(lambda: phase(done) == "COMPLETED")
        running = submit(platform, SLOW)
        wait_for(lambda: phase(running) == "EXECUTING")
        children = platform.child_pids("worker") + platform.child_pids("serve")
        platform.process.kill()
        platform.process.wait()
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), 20)
    with running_platform(home) as platform:
        again = f"{platform.tap}/async/{done.rpartition('/')[2]}"
        assert phase(again) == "COMPLETED"
        result = httpx.get(f"{again}/results/result", params={"RESPONSEFORMAT": "csv"})
        assert len(result.text.splitlines()) == 4
        interrupted = f"{platform.tap}/async/{running.rpartition('/')[2]}"
        wait_for(lambda: phase(interrupted) in {"COMPLETED", "ERROR"}, 200)
        assert phase(interrupted) == "COMPLETED"


def test_job_documents_answer_while_queries_run(platform: RunningPlatform) -> None:
    wait_for(lambda: httpx.get(f"{platform.address}/health", timeout=10).status_code == 200)
    jobs = [submit(platform, ENDLESS) for _ in range(4)]
    wait_for(lambda: any(phase(job) == "EXECUTING" for job in jobs))
    for job in jobs:
        assert httpx.get(job, timeout=5).status_code == 200
    for job in jobs:
        httpx.post(f"{job}/phase", data={"PHASE": "ABORT"})
    wait_for(lambda: all(phase(job) == "ABORTED" for job in jobs), 20)


def test_a_client_that_goes_away_stops_its_query(home: Path) -> None:
    limits = {"ASTROLABE_ENGINE__WORKERS": "1", "ASTROLABE_TAP__SYNC_SECONDS": "8"}
    with running_platform(home, extra=limits) as platform:
        with pytest.raises(httpx.TimeoutException):
            httpx.post(f"{platform.tap}/sync", data={"LANG": "ADQL", "QUERY": ENDLESS}, timeout=1)
        # The only thread is free again at once, or this would wait behind the endless query.
        began = time.monotonic()
        answer = platform.sync("SELECT TOP 1 id FROM s.t")
        assert answer.status_code == 200
        assert time.monotonic() - began < 6
        # One that its client waits for is stopped by its time, and told how to go on.
        service = pyvo.dal.TAPService(platform.tap)
        with pytest.raises(pyvo.DALQueryError, match="async"):
            service.run_sync(ENDLESS)


def test_an_import_that_is_killed_leaves_the_table_as_it_was(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    more = 400_000
    write_rows(tmp_path / "more.parquet", more, seed=6)
    command = [
        "table", "import", str(tmp_path / "more.parquet"), "--home", str(platform.home),
        "--schema", "s", "--table", "t", "--id", "id", "--mode", "replace",
    ]  # fmt: skip
    table = platform.home / "tables" / "s" / "t"
    versions = len(list(table.glob("v0*")))

    def has_begun() -> bool:
        return len(list(table.glob("v0*"))) > versions

    def has_written() -> bool:
        folders = sorted(table.glob("v0*"))[versions:]
        return any(next(folder.rglob("Npix=*.parquet"), None) for folder in folders)

    for moment in (has_begun, has_written):
        process = subprocess.Popen(
            [sys.executable, "-m", "astrolabe.cli.main", *command], stdout=subprocess.DEVNULL
        )
        try:
            wait_for(moment)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == -signal.SIGKILL
        assert platform.csv("SELECT COUNT(*) AS n FROM s.t WHERE id >= 0") == [{"n": str(ROWS)}]
    run_astrolabe(*command)
    # The gateway looks for new versions once a second.
    time.sleep(1.5)
    assert platform.csv("SELECT COUNT(*) AS n FROM s.t WHERE id >= 0") == [{"n": str(more)}]
    assert len(list(table.glob("v0*"))) == versions + 1  # what the dead ones left is gone
