"""A worker as a process of its own: ``python -m tests.jobs.worker_process URL LOG``."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from astrolabe.core.database import Database
from astrolabe.core.migrate import upgrade
from astrolabe.jobs.store import JobStore
from astrolabe.jobs.worker import Worker

from .support import KIND, LoggingRunner


def main() -> None:
    url, log = sys.argv[1:]
    database = Database(url)
    upgrade(database)
    worker = Worker(
        JobStore(database),
        {KIND: LoggingRunner(Path(log))},
        slots=2,
        lease_seconds=1.0,
        heartbeat_seconds=0.2,
    )
    worker.start()
    print("ready", flush=True)  # noqa: T201 - what the test waits for
    threading.Event().wait()


if __name__ == "__main__":
    main()
