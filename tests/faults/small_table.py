"""A home with one small table, which each module of tests makes for itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.platform import run_astrolabe

__all__ = ["ROWS", "make_home", "write_rows"]

ROWS = 8_000


def write_rows(path: Path, rows: int, *, seed: int) -> None:
    """Write a Parquet file of points on the sky: id, ra, dec and x."""
    rng = np.random.default_rng(seed)
    columns = {
        "id": np.arange(rows),
        "ra": rng.uniform(0, 360, rows),
        "dec": rng.uniform(-80, 80, rows),
        "x": rng.normal(size=rows),
    }
    pq.write_table(pa.table(columns), path)


def make_home(folder: Path) -> Path:
    """Make a home with the table ``s.t`` of `ROWS` rows; return it."""
    source, home = folder / "t.parquet", folder / "home"
    write_rows(source, ROWS, seed=5)
    names = ("--home", str(home), "--schema", "s", "--table", "t", "--id", "id")
    run_astrolabe("table", "import", str(source), *names)
    return home
