"""Light curves by the object's id, and cones joined with their sources, in a large child table.

usage: python -m tests.benchmarks.light_curve --work FOLDER [--objects 1000000] [--visits 50]

Makes a director of `objects` rows and a child with `visits` rows for each of them (50 million in
all by default), scattered about their object as measurements are, and imports both to FOLDER/home.
The baseline is DuckDB's own read of the row groups' files that hold the object's rows.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.tap_speed import timed
from tests.support.plans import planned
from tests.support.platform import RunningPlatform, run_astrolabe, running_platform
from tests.support.tiny import open_context

_FIRST_ID = 1 << 60
_PIECE = 20_000
_CURVES = 300


def positions(objects: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw where the objects are: a strip of a quarter of the sky."""
    rng = np.random.default_rng(21)
    return rng.uniform(0, 360, objects), np.degrees(np.arcsin(rng.uniform(-0.5, 0, objects)))


def make_director(path: Path, objects: int) -> None:
    ra, dec = positions(objects)
    ids = _FIRST_ID + np.random.default_rng(22).permutation(objects)
    pq.write_table(pa.table({"objectId": ids, "ra": ra, "dec": dec}), path)


def make_child(folder: Path, director: Path, visits: int) -> None:
    """Write the child in pieces of a million rows or so, visit by visit within each."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pq.read_table(director)
    for number, start in enumerate(range(0, table.num_rows, _PIECE)):
        rng = np.random.default_rng((23, number))
        part = table.slice(start, _PIECE)
        rows = part.num_rows * visits
        order = rng.permutation(rows) % part.num_rows
        ra = part["ra"].to_numpy()[order] + rng.normal(0, 3e-5, rows)
        dec = np.clip(part["dec"].to_numpy()[order] + rng.normal(0, 3e-5, rows), -90, 90)
        pq.write_table(
            pa.table(
                {
                    "sourceId": (2 << 60) + np.arange(rows) + number * _PIECE * visits,
                    "objectId": part["objectId"].to_numpy()[order],
                    "ra": ra % 360,
                    "dec": dec,
                    "midpointMjdTai": rng.uniform(60_000, 63_650, rows),
                    "band": pa.array(np.array(list("ugrizy"))[rng.integers(0, 6, rows)]),
                    "psfFlux": rng.normal(1000, 300, rows).astype("f4"),
                    "psfFluxErr": rng.uniform(5, 50, rows).astype("f4"),
                }
            ),
            folder / f"part-{number:04d}.parquet",
            compression="zstd",
            compression_level=1,
        )


def prepare(work: Path, objects: int, visits: int) -> None:
    home, director, child = work / "home", work / "director.parquet", work / "child"
    if (home / "control.db").exists():
        return
    work.mkdir(parents=True, exist_ok=True)
    make_director(director, objects)
    make_child(child, director, visits)
    common = ("--home", str(home), "--schema", "bench", "--ra", "ra", "--dec", "dec")
    run_astrolabe(
        "table", "import", str(director), *common, "--table", "object", "--id", "objectId"
    )
    run_astrolabe(
        "table", "import", str(child), *common, "--table", "source", "--id", "sourceId",
        "--director", "bench.object", "--key", "objectId", "--margin", "0",
    )  # fmt: skip


def curve(object_id: int) -> str:
    return (
        "SELECT midpointMjdTai, band, psfFlux, psfFluxErr FROM bench.source "
        f"WHERE objectId = {object_id} ORDER BY midpointMjdTai"
    )


def joined(rng: random.Random) -> str:
    ra, dec = rng.uniform(0, 360), rng.uniform(-29, -1)
    return (
        "SELECT o.objectId, s.midpointMjdTai, s.psfFlux FROM bench.object AS o "
        "JOIN bench.source AS s ON s.objectId = o.objectId "
        f"WHERE 1 = CONTAINS(POINT(o.ra, o.dec), CIRCLE({ra!r}, {dec!r}, 0.1))"
    )


def baseline(home: Path, ids: list[int]) -> list[float]:
    """Time DuckDB's own read of the files that the plan names."""
    con = duckdb.connect(config={"threads": 2})
    con.execute("SET parquet_metadata_cache=true")
    seconds = []
    with open_context(home) as context:
        for object_id in ids:
            paths = list(planned(context, curve(object_id))["t0"].paths)
            begin = time.perf_counter()
            con.execute(
                "SELECT midpointMjdTai, band, psfFlux, psfFluxErr FROM read_parquet(?) "
                "WHERE objectId = ? ORDER BY midpointMjdTai",
                [paths, object_id],
            ).fetchall()
            seconds.append(time.perf_counter() - begin)
    return seconds


def measure(platform: RunningPlatform, home: Path, objects: int) -> None:
    rng = random.Random(5)
    asyncio.run(timed(platform, [curve(_FIRST_ID + rng.randrange(objects)) for _ in range(100)]))
    ids = [_FIRST_ID + rng.randrange(objects) for _ in range(_CURVES)]
    ours = asyncio.run(timed(platform, [curve(object_id) for object_id in ids]))
    theirs = baseline(home, ids)
    ratio = statistics.median(ours) / statistics.median(theirs)
    print(f"light curve by id: p50 {1e3 * statistics.median(ours):.1f} ms, {ratio:.2f} of DuckDB's")
    cones = asyncio.run(timed(platform, [joined(rng) for _ in range(_CURVES)]))
    print(f"cone of 0.1 deg joined with its sources: p50 {1e3 * statistics.median(cones):.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--visits", type=int, default=50)
    arguments = parser.parse_args()
    prepare(arguments.work, arguments.objects, arguments.visits)
    home = arguments.work / "home"
    with running_platform(home) as platform:
        measure(platform, home, arguments.objects)


if __name__ == "__main__":
    main()
