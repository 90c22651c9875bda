"""Import against DuckDB's own sorted copy of the same rows, both with the same limits.

usage: python -m tests.benchmarks.import_speed --rows 50000000 --work FOLDER [--memory-gb 4]

Prints seconds, rows a second and the largest resident memory of each, and their ratio. The
imported home stays at FOLDER/home for `tests.benchmarks.tap_speed`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.survey_table import make_catalog

_DUCKDB = """
import duckdb, sys
from astrolabe.sky.healpix import healpix_29
import numpy as np
import pyarrow as pa
source, target, spill, memory, level = sys.argv[1:6]
con = duckdb.connect(config={"memory_limit": memory, "threads": 2, "temp_directory": spill})
con.execute("SET preserve_insertion_order=false")
con.execute(
    f"COPY (SELECT * FROM read_parquet('{source}') ORDER BY _healpix_29) TO '{target}' "
    f"(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL {level}, ROW_GROUP_SIZE 20480)"
)
"""


def run(command: list[str], environment: dict[str, str] | None = None) -> tuple[float, float]:
    """Run a command; return its seconds and its peak resident memory (GB)."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{command[:4]} failed")
    return time.perf_counter() - begin, usage.ru_maxrss / 1e6


def add_cells(paths: list[Path], folder: Path) -> None:
    """Write the same files with `_healpix_29`: DuckDB gets the order for nothing."""
    import pyarrow as pa  # noqa: PLC0415 - only here
    import pyarrow.parquet as pq  # noqa: PLC0415 - only here

    from astrolabe.sky.healpix import healpix_29  # noqa: PLC0415 - only here

    folder.mkdir(exist_ok=True)
    for path in paths:
        target = folder / path.name
        if not target.exists():
            table = pq.read_table(path)
            cells = healpix_29(table["ra"].to_numpy(), table["dec"].to_numpy())
            pq.write_table(
                table.append_column("_healpix_29", pa.array(cells)),
                target,
                compression="zstd",
                compression_level=1,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--memory-gb", type=float, default=4.0)
    arguments = parser.parse_args()
    work: Path = arguments.work
    raw = work / f"raw-{arguments.rows}"
    paths = make_catalog(raw, arguments.rows)
    home = work / "home"
    shutil.rmtree(home, ignore_errors=True)
    ours, our_memory = run(
        [
            sys.executable,
            "-m",
            "astrolabe.cli.main",
            "table",
            "import",
            str(raw),
            "--home",
            str(home),
            "--schema",
            "bench",
            "--table",
            "object",
            "--id",
            "objectId",
            "--ra",
            "ra",
            "--dec",
            "dec",
            "--margin",
            "0",
        ],
    )
    with_cells = work / f"cells-{arguments.rows}"
    add_cells(paths, with_cells)
    target = work / "duckdb.parquet"
    theirs, their_memory = run(
        [
            sys.executable,
            "-c",
            _DUCKDB,
            f"{with_cells}/*.parquet",
            str(target),
            str(work / "spill"),
            f"{arguments.memory_gb:g}GB",
            "3",
        ]
    )
    target.unlink()
    for name, seconds, memory in (
        ("astrolabe", ours, our_memory),
        ("duckdb", theirs, their_memory),
    ):
        print(
            f"{name:10} {seconds:8.1f} s  {arguments.rows / seconds / 1e6:6.2f} M rows/s  "
            f"{memory:5.2f} GB"
        )
    print(f"speed of the import over DuckDB's copy: {theirs / ours:.2f}")


if __name__ == "__main__":
    main()
