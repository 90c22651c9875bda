"""Results of jobs when the disk is full, the worker dies or a limit is met."""

from __future__ import annotations

import io
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from tests.support.platform import RunningPlatform, running_platform

from .support import (
    HUGE,
    ROWS,
    import_table,
    job_id,
    phase,
    resident_bytes,
    submit,
    wait_for,
    wait_for_end,
)

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
SMALL = "SELECT id, ra, x FROM s.t"
# A sort that does not fit into the engine's memory.
SORTED = f"{HUGE} WHERE a.x * b.x > 0.1 ORDER BY y"
JSON = {"Accept": "application/json"}
UNLIMITED = resource.RLIM_INFINITY


@pytest.fixture(scope="module")
def platform(table_home: Path) -> Iterator[RunningPlatform]:
    """A platform with little memory, so that large sorts need files."""
    extra = {"ASTROLABE_ENGINE__MEMORY_FRACTION": "0.008", "ASTROLABE_ENGINE__THREADS": "2"}
    with running_platform(table_home, extra=extra) as made:
        yield made


@contextmanager
def full_disk(pid: int, size: int) -> Iterator[None]:
    """Let a process write no file larger than `size` bytes for a while."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, UNLIMITED))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def files_below(folder: Path) -> list[str]:
    """Names of all files with anything in them."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.name for path in found if path.stat().st_size)


def rows_of(job: str) -> int:
    answer = httpx.get(f"{job}/results/result", params={"RESPONSEFORMAT": "csv"}, timeout=60)
    assert answer.status_code == 200
    return len(answer.text.splitlines()) - 1


def assert_is_full(job: str) -> None:
    assert wait_for_end(job) == "ERROR"
    told = httpx.get(f"{job}/error", headers=JSON, timeout=30)
    assert told.json()["code"] == "storage-full"
    assert "room" in told.json()["detail"]
    assert "/" not in told.json()["detail"]
    assert httpx.get(f"{job}/results/result", timeout=30).status_code == 400


def test_a_disk_that_is_full_when_a_result_is_written(platform: RunningPlatform) -> None:
    (worker,) = platform.child_pids("worker")
    with full_disk(worker, 8_000_000):
        job = submit(platform, HUGE, MAXREC="100000000")
        assert_is_full(job)
        assert files_below(platform.home / "results" / job_id(job)) == []
        # The same worker goes on with what there is room for.
        small = submit(platform, SMALL)
        assert wait_for_end(small) == "COMPLETED"
        assert rows_of(small) == ROWS
    assert platform.child_pids("worker") == [worker]


def test_a_disk_that_is_full_when_a_job_needs_temporary_files(platform: RunningPlatform) -> None:
    (worker,) = platform.child_pids("worker")
    with full_disk(worker, 8_000_000):
        assert_is_full(submit(platform, SORTED, MAXREC="100000000"))
        small = submit(platform, SMALL)
        assert wait_for_end(small) == "COMPLETED"
    assert files_below(platform.home / "spill") == []


def test_a_disk_that_is_full_when_a_sync_query_needs_temporary_files(
    platform: RunningPlatform,
) -> None:
    (gateway,) = platform.child_pids("serve")
    with full_disk(gateway, 8_000_000):
        answer = platform.sync(SORTED, MAXREC="100000000", RESPONSEFORMAT="json")
        assert answer.status_code == 507
        assert answer.json()["code"] == "storage-full"
        assert len(platform.csv(SMALL)) == ROWS
    assert files_below(platform.home / "spill") == []


def test_a_disk_that_is_full_when_an_upload_comes(platform: RunningPlatform) -> None:
    (gateway,) = platform.child_pids("serve")
    form = {
        "LANG": "ADQL",
        "QUERY": "SELECT COUNT(*) AS n FROM TAP_UPLOAD.mine",
        "UPLOAD": "mine,param:p",
    }
    large = {"p": ("p.csv", b"a,b\n" + b"1,2\n" * 4_000_000)}
    with full_disk(gateway, 8_000_000):
        for address in (f"{platform.tap}/sync", f"{platform.tap}/async"):
            answer = httpx.post(address, data=form, files=large, headers=JSON, timeout=60)
            assert answer.status_code == 507, answer.text
            assert answer.json()["code"] == "storage-full"
        assert files_below(platform.home / "uploads") == []
        small = {"p": ("p.csv", b"a,b\n1,2\n")}
        answer = httpx.post(f"{platform.tap}/sync", data=form, files=small, timeout=60)
        assert answer.status_code == 200


def test_a_disk_that_is_full_when_a_part_of_a_result_is_asked_for(
    platform: RunningPlatform,
) -> None:
    (gateway,) = platform.child_pids("serve")
    job = submit(platform, HUGE, MAXREC="500000")
    assert wait_for_end(job) == "COMPLETED"
    address = f"{job}/results/result?RESPONSEFORMAT=csv"
    with full_disk(gateway, 8_000_000):
        answer = httpx.get(address, headers={"Range": "bytes=0-99"}, timeout=60)
        assert answer.status_code == 507
        assert files_below(platform.home / "results" / job_id(job)) == ["result.parquet"]
        # The whole needs no file.
        assert rows_of(job) == 500_000
    answer = httpx.get(address, headers={"Range": "bytes=0-99"}, timeout=60)
    assert (answer.status_code, len(answer.content)) == (206, 100)


def test_a_worker_killed_while_it_writes_a_result(platform: RunningPlatform) -> None:
    (worker,) = platform.child_pids("worker")
    job = submit(platform, HUGE, MAXREC="6000000")
    folder = platform.home / "results" / job_id(job)
    partial = folder / "result.parquet.part"
    wait_for(lambda: partial.exists() and partial.stat().st_size > 1_000_000)
    os.kill(worker, signal.SIGKILL)
    # Half a result is none.
    assert not (folder / "result.parquet").exists()
    assert httpx.get(f"{job}/results/result", timeout=30).status_code == 404
    assert phase(job) in {"QUEUED", "EXECUTING"}
    assert wait_for_end(job, 150) == "COMPLETED"
    assert platform.child_pids("worker") != [worker]
    assert files_below(folder) == ["result.parquet"]
    # All rows are there, once.
    parameters = {"RESPONSEFORMAT": "parquet"}
    answer = httpx.get(f"{job}/results/result", params=parameters, timeout=100)
    assert pq.read_metadata(io.BytesIO(answer.content)).num_rows == 6_000_000


def test_a_slow_reader_of_a_stored_result_costs_no_memory(platform: RunningPlatform) -> None:
    (gateway,) = platform.child_pids("serve")
    job = submit(platform, HUGE, MAXREC="3000000")
    assert wait_for_end(job) == "COMPLETED"
    before = most = resident_bytes(gateway)
    parameters = {"RESPONSEFORMAT": "votable/td"}
    with httpx.stream("GET", f"{job}/results/result", params=parameters, timeout=60) as answer:
        received = 0
        for chunk in answer.iter_raw(1 << 20):
            received += len(chunk)
            most = max(most, resident_bytes(gateway))
            if received > 10_000_000:
                break
            time.sleep(0.2)
    assert most - before < 300_000_000


def test_a_disk_with_no_space_left(tmp_path: Path) -> None:
    """A file system that is truly full, not only a limit for a process."""
    # A home of its own: the worker of a platform could take the jobs, whose disk is not full.
    home = import_table(tmp_path)
    command = [sys.executable, "-m", "tests.faults.full_disk", str(home), str(tmp_path)]
    # Where nobody but root may mount, a limit to the size of files takes the disk's place.
    may_mount = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False)
    command = ["unshare", "-rm", *command] if may_mount.returncode == 0 else [*command, "--limit"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report").read_text().splitlines() == [
        "result: storage-full, left []; again: COMPLETED",
        "spill: storage-full, left []; again: COMPLETED",
    ]
