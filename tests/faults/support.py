"""What the tests of faults have in common: a table to load, and looks at processes from outside."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.platform import RunningPlatform, run_astrolabe

__all__ = [
    "ENDLESS",
    "HUGE",
    "ROWS",
    "connect",
    "import_table",
    "job_id",
    "metric",
    "phase",
    "resident_bytes",
    "submit",
    "wait_for",
    "wait_for_end",
]

ROWS = 8_000
ENDLESS = (
    "SELECT COUNT(*) AS n FROM s.t AS a, s.t AS b, s.t AS c "
    "WHERE SIN(a.x * b.x) + COS(b.x - c.x) > 1.9999999"
)
"""Hours of work without a row, which only an interruption ends."""

HUGE = "SELECT a.id, b.id AS other, a.x * b.x AS y, a.x + b.x AS z FROM s.t AS a, s.t AS b"
"""64 million rows, whose first come at once."""


def import_table(folder: Path) -> Path:
    """Make a home with the table ``s.t`` of `ROWS` rows: id, ra, dec and x; return it."""
    rng = np.random.default_rng(5)
    source = folder / "t.parquet"
    columns = {
        "id": np.arange(ROWS),
        "ra": rng.uniform(0, 360, ROWS),
        "dec": rng.uniform(-80, 80, ROWS),
        "x": rng.normal(size=ROWS),
    }
    pq.write_table(pa.table(columns), source)
    home = folder / "home"
    names = ("--home", str(home), "--schema", "s", "--table", "t", "--id", "id")
    run_astrolabe("table", "import", str(source), *names)
    return home


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> float:
    """Wait until `condition` holds; return how long it took (s)."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "nothing happened"
        time.sleep(0.02)
    return time.monotonic() - began


def submit(platform: RunningPlatform, query: str, **parameters: str) -> str:
    """Create a job, run it and return its address."""
    form = {"LANG": "ADQL", "QUERY": query, "PHASE": "RUN", **parameters}
    answer = httpx.post(f"{platform.tap}/async", data=form, timeout=30)
    assert answer.status_code == 303, answer.text
    return answer.headers["Location"]


def job_id(job: str) -> str:
    """Return the id in a job's address."""
    return job.rpartition("/")[2]


def phase(job: str) -> str:
    """Return a job's phase."""
    return httpx.get(f"{job}/phase", timeout=30).text


def wait_for_end(job: str, seconds: float = 100.0) -> str:
    """Wait until a job has ended; return its phase."""
    wait_for(lambda: phase(job) in {"COMPLETED", "ERROR", "ABORTED"}, seconds)
    return phase(job)


def resident_bytes(pid: int) -> int:
    """Return the memory that a process holds now (VmRSS)."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def metric(platform: RunningPlatform, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples that have all of `labels`."""
    total = 0.0
    for line in httpx.get(f"{platform.address}/metrics", timeout=30).text.splitlines():
        sample, _, value = line.rpartition(" ")
        wanted = all(f'{key}="{label}"' in sample for key, label in labels.items())
        if wanted and sample.partition("{")[0] == name:
            total += float(value)
    return total


def connect(platform: RunningPlatform) -> socket.socket:
    """Open a connection of our own to the gateway."""
    parts = urlsplit(platform.address)
    assert parts.hostname is not None
    assert parts.port is not None
    return socket.create_connection((parts.hostname, parts.port), timeout=30)
