"""Runs jobs on a full file system: ``unshare -rm python -m tests.faults.full_disk HOME FOLDER``.

It mounts small file systems of its own, which nobody else sees and which end with it.  With
``--limit`` as third argument no file of the process grows over 8 MB instead, where the system
lets nobody mount.  What happened is told in ``FOLDER/report``.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

from astrolabe.catalogs.tap_jobs import TAP_JOB
from astrolabe.factory import ProcessContext
from astrolabe.jobs.model import Job, JobParameter, Phase
from tests.support.tiny import open_context

from .support import HUGE

__all__: list[str] = []

_OTHER = "somebody-elses-file"
_RUNNING = (Phase.PENDING, Phase.QUEUED, Phase.EXECUTING)


def _run(context: ProcessContext, query: str) -> Job:
    given = {"LANG": "ADQL", "QUERY": query, "MAXREC": "100000000"}
    parameters = [JobParameter(name, value) for name, value in given.items()]
    job = context.jobs.create(TAP_JOB, parameters, owner=None, run=True)
    while job.phase in _RUNNING:
        time.sleep(0.05)
        job = context.jobs.get(job.job_id, kind=TAP_JOB, principal_name=None)
    return job


def _small_disk(folder: Path, megabytes: int) -> Path:
    folder.mkdir()
    if "--limit" in sys.argv:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000_000, resource.RLIM_INFINITY))
        return folder
    size = f"size={megabytes}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)
    return folder


def _report(report: Path, name: str, context: ProcessContext, query: str, disk: Path) -> None:
    job = _run(context, query)
    told = job.error.code if job.error is not None else str(job.phase)
    files = [p for p in disk.rglob("*") if p.is_file() and p.name != _OTHER]
    left = [p.name for p in files if p.stat().st_size]
    again = _run(context, "SELECT id, ra, x FROM s.t")
    with report.open("a") as file:
        file.write(f"{name}: {told}, left {left}; again: {again.phase}\n")


def main() -> None:
    """Fill a disk with a result, and another one with temporary files."""
    home, folder = Path(sys.argv[1]), Path(sys.argv[2])
    results = _small_disk(folder / "results", 8)
    storage = {"results": str(results)}
    with open_context(home, storage=storage) as context, context.worker():
        _report(folder / "report", "result", context, HUGE, results)
    spill = _small_disk(folder / "spill", 200)
    storage = {"results": str(folder / "many"), "spill": str(spill)}
    engine = {"memory_fraction": 0.008, "threads": 2}
    with open_context(home, storage=storage, engine=engine) as context, context.worker():
        # Somebody else fills the disk after the engine has looked at how much room there is.
        _run(context, "SELECT TOP 1 id FROM s.t ORDER BY x")
        if "--limit" not in sys.argv:
            (spill / _OTHER).write_bytes(bytes(180_000_000))
        _report(
            folder / "report", "spill", context, f"{HUGE} WHERE a.x * b.x > 0.1 ORDER BY y", spill
        )


if __name__ == "__main__":
    main()
