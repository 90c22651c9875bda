"""Publishes versions of one table: ``python -m tests.faults.publisher HOME FIRST COUNT``.

Version v has v in the column ``v`` of each of its 2,000 + v rows.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from astrolabe.core.errors import ConflictError
from astrolabe.factory import ProcessContext
from astrolabe.tables.model import Datatype
from tests.support.tiny import import_columns, open_context, sky_points

__all__: list[str] = []


def _publish(context: ProcessContext, version: int) -> None:
    rows = 2_000 + version
    ra, dec = sky_points(rows, seed=version)
    import_columns(
        context,
        "s",
        "moving",
        {
            "id": (Datatype.LONG, np.arange(rows)),
            "v": (Datatype.LONG, np.full(rows, version)),
            "ra": (Datatype.DOUBLE, ra),
            "dec": (Datatype.DOUBLE, dec),
        },
        id_column="id",
        mode="create" if version == 0 else "replace",
        rows_per_file=500,
        rows_per_group=100,
    )


def main() -> None:
    """Publish, and print each version when it stands."""
    home, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    with open_context(home) as context:
        for version in range(first, first + count):
            while True:
                try:
                    _publish(context, version)
                    break
                except ConflictError:
                    time.sleep(0.05)
            sys.stdout.write(f"{version}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
