"""How long planning takes over 200,000 files: ``python -m tests.benchmarks.planning``.

For each kind of condition it prints the best and the median of many plans, in this thread's own
time, without parsing and without reading any file.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np

from astrolabe.catalogs.planning.plan import scan_table
from astrolabe.catalogs.planning.restrictions import Restriction
from astrolabe.sky.regions import Circle, Polygon
from tests.planning.survey import large_version

CONDITIONS = {
    "cone of 0.1 deg": Restriction(regions=(Circle(10, 20, 0.1),)),
    "cone of 1 arcsec": Restriction(regions=(Circle(10, 89.9, 1 / 3600),)),
    "polygon": Restriction(regions=(Polygon([10, 11, 11, 10], [5, 5, 6, 6]),)),
    "ra and dec": Restriction(lon=(10, 10.5), lat=(-3, -2.5)),
    "cone and id": Restriction(regions=(Circle(10, 20, 0.1),), ids=np.array([[5000, 5001]])),
    "id": Restriction(ids=np.array([[5000, 5001]])),
}


def main() -> None:
    """Print a line a condition."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--repeat", type=int, default=50)
    options = parser.parse_args()
    version = large_version(options.files)
    sys.stdout.write(f"planning over {options.files:,} files\n")
    for name, restriction in CONDITIONS.items():
        seconds = []
        for _ in range(options.repeat):
            start = time.thread_time()
            scan = scan_table(version, restriction, frozenset(["ra", "dec"]))
            seconds.append(time.thread_time() - start)
        sys.stdout.write(
            f"{name:18} best {min(seconds) * 1e3:6.2f} ms, "
            f"median {statistics.median(seconds) * 1e3:6.2f} ms, {len(scan.paths)} files\n"
        )


if __name__ == "__main__":
    main()
