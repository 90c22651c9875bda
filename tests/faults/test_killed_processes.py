"""Processes die without warning; jobs, tables and results do not."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pyvo

from tests.support.platform import RunningPlatform, run_astrolabe, running_platform

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]

# A cross join of 20,000 x 20,000 rows: several seconds of work that can be interrupted.
SLOW = (
    "SELECT COUNT(*) AS n FROM s.t AS a, s.t AS b WHERE SIN(a.x * b.x) + COS(a.x - b.x) > 1.9999999"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    rng = np.random.default_rng(5)
    rows = 40_000
    table = pa.table(
        {
            "id": np.arange(rows),
            "ra": rng.uniform(0, 360, rows),
            "dec": rng.uniform(-80, 80, rows),
            "x": rng.normal(size=rows),
        }
    )
    pq.write_table(table, folder / "t.parquet")
    run_astrolabe(
        "table", "import", str(folder / "t.parquet"),
        "--home", str(folder / "home"), "--schema", "s", "--table", "t", "--id", "id",
    )  # fmt: skip
    return folder / "home"


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


def test_a_job_survives_the_death_of_its_worker(home: Path) -> None:
    with running_platform(home) as platform:
        job = submit(platform, SLOW)
        wait_for(lambda: phase(job) == "EXECUTING")
        (pid,) = platform.child_pids("worker")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: platform.child_pids("worker") not in ([], [pid]))
        wait_for(lambda: phase(job) in {"COMPLETED", "ERROR"}, 200)
        assert phase(job) == "COMPLETED"
        result = httpx.get(f"{job}/results/result", params={"RESPONSEFORMAT": "csv"})
        assert result.status_code == 200


def test_the_gateway_comes_back_after_it_was_killed(home: Path) -> None:
    with running_platform(home) as platform:
        (pid,) = platform.child_pids("serve")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: platform.child_pids("serve") not in ([], [pid]))

        def answers() -> bool:
            try:
                return platform.sync("SELECT TOP 1 id FROM s.t").status_code == 200
            except httpx.HTTPError:
                return False

        wait_for(answers)


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


def test_job_documents_answer_while_queries_run(home: Path) -> None:
    with running_platform(home) as platform:
        jobs = [submit(platform, SLOW) for _ in range(4)]
        wait_for(lambda: any(phase(job) == "EXECUTING" for job in jobs))
        for job in jobs:
            assert httpx.get(job, timeout=5).status_code == 200
        for job in jobs:
            httpx.post(f"{job}/phase", data={"PHASE": "ABORT"})
        wait_for(lambda: all(phase(job) == "ABORTED" for job in jobs), 20)


def test_a_client_that_goes_away_stops_its_query(home: Path) -> None:
    with running_platform(home, extra={"ASTROLABE_ENGINE__WORKERS": "1"}) as platform:
        with pytest.raises(httpx.TimeoutException):
            httpx.post(f"{platform.tap}/sync", data={"LANG": "ADQL", "QUERY": SLOW}, timeout=1)
        # The only thread is free again at once, or this would wait behind the slow query.
        answer = httpx.post(
            f"{platform.tap}/sync",
            data={"LANG": "ADQL", "QUERY": "SELECT TOP 1 id FROM s.t"},
            timeout=5,
        )
        assert answer.status_code == 200


def test_a_sync_query_over_its_time_is_told_how_to_go_on(home: Path) -> None:
    with running_platform(home, extra={"ASTROLABE_TAP__SYNC_SECONDS": "1"}) as platform:
        service = pyvo.dal.TAPService(platform.tap)
        with pytest.raises(pyvo.DALQueryError, match="async"):
            service.run_sync(SLOW)


def test_an_import_that_is_killed_leaves_the_table_as_it_was(home: Path, tmp_path: Path) -> None:
    import subprocess  # noqa: PLC0415 - only here
    import sys  # noqa: PLC0415 - only here

    rows = 2_000_000
    rng = np.random.default_rng(6)
    pq.write_table(
        pa.table(
            {
                "id": np.arange(rows),
                "ra": rng.uniform(0, 360, rows),
                "dec": rng.uniform(-80, 80, rows),
                "x": rng.normal(size=rows),
            }
        ),
        tmp_path / "more.parquet",
    )
    command = [
        sys.executable, "-m", "astrolabe.cli.main", "table", "import",
        str(tmp_path / "more.parquet"), "--home", str(home), "--schema", "s", "--table", "t",
        "--id", "id", "--mode", "replace",
    ]  # fmt: skip
    with running_platform(home) as platform:
        for seconds in (0.7, 1.5, 2.5):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            time.sleep(seconds)
            process.kill()
            process.wait()
            assert platform.csv("SELECT COUNT(*) AS n, SUM(id) AS s FROM s.t")[0]["n"] == "40000"
    run_astrolabe("table", "list", "--home", str(home))
