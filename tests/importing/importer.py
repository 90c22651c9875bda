"""A process that imports and can be killed: ``python -m tests.importing.importer HOME MODE``.

Says ``at STEP`` on standard output when it has reached the step named by ``STOP_AT`` and waits
there to be killed.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

from astrolabe.catalogs.importing import ImportProgress, run_import
from astrolabe.core.errors import AstrolabeError

from .sources import objects, opened_store, options


def main() -> int:
    """Import objects into ``dr1.object``."""
    home, mode = Path(sys.argv[1]), sys.argv[2]
    stop_at = os.environ.get("STOP_AT")
    limit = os.environ.get("FILE_BYTES")
    rows = int(os.environ.get("ROWS", "4000"))
    changes = {"rows_per_file": 10**6, "memory_mb": 1024} if limit else {}
    seen: dict[str, int] = {}

    def listen(progress: ImportProgress) -> None:
        seen[progress.step] = seen.get(progress.step, 0) + 1
        if f"{progress.step} {seen[progress.step]}" == stop_at:
            sys.stdout.write(f"at {stop_at}\n")
            sys.stdout.flush()
            time.sleep(600)

    with opened_store(home, lease_seconds=2.0) as store:
        if limit is not None:
            # Like a disk that fills up while files are written.
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
        try:
            asked = options(mode=mode, **changes)
            report = run_import(objects(rows, seed=3), asked, store, progress=listen)
        except AstrolabeError as exc:
            sys.stdout.write(f"{exc.code}: {exc}\n")
            return 1
    sys.stdout.write(f"rows {report.rows}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
