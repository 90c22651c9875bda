"""How fast footprints are found in ``ivoa.ObsCore``.

usage: python -m tests.benchmarks.obscore_speed [--rows N] [--requests N] [--positions N]
                                                [--work DIR]

Makes N footprints, squares of 0.05 to 0.2 degrees with one in 500 up to ten degrees, spread over
the sky, and asks for those at random places. Prints
the median and the 95th percentile; asserts nothing. Then it joins them with uploaded positions
spread over the sky, and counts the pairs. With ``--work`` the table is kept and used again.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from astrolabe.catalogs.cancel import QueryCancel
from astrolabe.catalogs.importing import ImportOptions, run_import
from astrolabe.catalogs.query import QueryRequest
from astrolabe.catalogs.uploads import UPLOAD_SCHEMA, UploadedTable
from astrolabe.factory import ProcessContext
from astrolabe.identity.authority import PLATFORM
from astrolabe.images.obscore.columns import OBSCORE, OBSCORE_GROUP_ROWS
from astrolabe.sky.vectors import unit_vectors
from astrolabe.tables.model import Column, Datatype, TableMeta, arrow_type
from astrolabe.tables.source import SourceMeta
from tests.support.tiny import open_context, sky_points

_BATCH = 65_536
_COUNTED = {"s_xel1": 2048, "s_xel2": 2048}
_TEXTS = {
    "dataproduct_type": "image",
    "obs_collection": "bench",
    "access_format": "application/x-votable+xml;content=datalink",
    "facility_name": "Simulated",
    "band": "r",
}


class Footprints:
    """Rows of ObsCore, made batch by batch."""

    def __init__(self, rows: int) -> None:
        self._rows = rows

    @property
    def meta(self) -> SourceMeta:
        """The columns of ObsCore."""
        return SourceMeta(columns=OBSCORE.columns, row_count=self._rows)

    def batches(self, *, max_rows: int = _BATCH) -> Iterator[pa.RecordBatch]:
        """Yield the rows."""
        for first in range(0, self._rows, max_rows):
            yield self._batch(first, min(max_rows, self._rows - first))

    @staticmethod
    def _batch(first: int, count: int) -> pa.RecordBatch:
        rng = np.random.default_rng(first)
        ra, dec = sky_points(count, seed=first + 1)
        half = 10.0 ** rng.uniform(-1.6, -1.0, count)
        large = rng.random(count) < 0.002
        half[large] = 10.0 ** rng.uniform(-0.5, 0.7, int(large.sum()))
        corners = squares(ra, dec, half, rng.uniform(0.0, 6.28, count))
        offsets = np.arange(0, 8 * count + 1, 8, dtype=np.int32)
        lists: Any = pa.ListArray
        names = [f"visit-{first + i:09d}" for i in range(count)]
        start = 60_000.0 + rng.uniform(0.0, 3_650.0, count)
        made: dict[str, Any] = {
            "s_ra": ra,
            "s_dec": dec,
            "s_fov": 2.0 * half * np.sqrt(2.0),
            "s_region": lists.from_arrays(offsets, pa.array(corners.ravel())),
            "obs_id": names,
            "obs_publisher_did": [f"ivo://astrolabe.invalid/bench?{name}" for name in names],
            "access_url": [f"http://127.0.0.1/api/datalink/links?ID={name}" for name in names],
            "t_min": start,
            "t_max": start + 30.0 / 86_400.0,
            "t_exptime": np.full(count, 30.0),
            "calib_level": np.full(count, 2),
            **{name: [text] * count for name, text in _TEXTS.items()},
            **{name: np.full(count, number) for name, number in _COUNTED.items()},
        }
        arrays = []
        for column in OBSCORE.columns:
            values = made.get(column.name, [None] * count)
            arrays.append(pa.array(values, arrow_type(column)))
        return pa.RecordBatch.from_arrays(arrays, names=[c.name for c in OBSCORE.columns])


def squares(ra: Any, dec: Any, half_deg: Any, turn: Any) -> Any:
    """Return the corners (n, 4, 2) in degrees of squares around places."""
    center = unit_vectors(ra, dec)
    lon = np.radians(ra)
    east = np.stack([-np.sin(lon), np.cos(lon), np.zeros_like(lon)], 1)
    north = np.cross(center, east)
    reach = np.tan(np.radians(half_deg * np.sqrt(2.0)))[:, None]
    corners = []
    for k in range(4):
        angle = (turn + k * np.pi / 2)[:, None]
        at = center + reach * (np.cos(angle) * east + np.sin(angle) * north)
        at /= np.linalg.norm(at, axis=1)[:, None]
        lon_deg = np.degrees(np.arctan2(at[:, 1], at[:, 0])) % 360.0
        corners.append(np.stack([lon_deg, np.degrees(np.arcsin(at[:, 2]))], 1))
    return np.stack(corners, 1)


def make(home: Path, rows: int) -> None:
    """Import the footprints if that was not done before."""
    with open_context(home) as context:
        if ("ivoa", "ObsCore") in context.catalog.view(fresh=True).entries:
            return
        started = time.perf_counter()
        options = ImportOptions(
            schema="ivoa",
            table="ObsCore",
            declared=OBSCORE,
            keep_unplaced=True,
            margin_arcsec=0.0,
            rows_per_group=OBSCORE_GROUP_ROWS,
            properties=lambda: {"obscore": {"collections": ["bench"]}},
        )
        report = run_import(Footprints(rows), options, context.catalog)
        seconds = time.perf_counter() - started
        print(f"import      {rows:>11,} footprints, {report.bytes / 1e6:,.0f} MB, {seconds:.1f} s")


def ask(context: ProcessContext, query: str, *uploads: UploadedTable) -> int:
    """Run a query to its end; return its rows."""
    running = context.queries.start(
        QueryRequest(query=query, uploads=uploads), principal=PLATFORM, cancel=QueryCancel()
    )
    return sum(batch.num_rows for batch in running)


QUERIES: dict[str, Callable[[float, float], str]] = {
    "point": lambda ra, dec: f"CONTAINS(POINT({ra}, {dec}), s_region) = 1",
    "circle": lambda ra, dec: f"INTERSECTS(CIRCLE({ra}, {dec}, 0.05), s_region) = 1",
    "circle+time": lambda ra, dec: (
        f"INTERSECTS(CIRCLE({ra}, {dec}, 0.05), s_region) = 1 AND t_min < 61000"
    ),
    "polygon": lambda ra, dec: (
        f"INTERSECTS(POLYGON({ra}, {dec}, {ra + 0.1}, {dec}, {ra + 0.1}, {dec + 0.1}), s_region)"
        " = 1"
    ),
    "degree": lambda ra, dec: f"INTERSECTS(CIRCLE({ra}, {dec}, 1), s_region) = 1",
}


def measure(context: ProcessContext, requests: int) -> None:
    """Print the times of each kind of query, cold places every time."""
    rng = np.random.default_rng(1)
    ask(context, "SELECT TOP 1 * FROM ivoa.ObsCore")
    for name, condition in QUERIES.items():
        times, rows = [], 0
        for _ in range(requests):
            ra, dec = float(rng.uniform(0, 359)), float(np.degrees(np.arcsin(rng.uniform(-1, 1))))
            query = f"SELECT * FROM ivoa.ObsCore WHERE {condition(round(ra, 6), round(dec, 6))}"
            started = time.perf_counter()
            rows += ask(context, query)
            times.append((time.perf_counter() - started) * 1e3)
        times.sort()
        p95 = times[min(len(times) - 1, int(0.95 * len(times)))]
        print(
            f"{name:<12}{statistics.median(times):>9.1f} ms median {p95:>9.1f} ms p95"
            f" {rows / requests:>9.1f} rows"
        )


JOINS = {
    "join points": "SELECT t.number, o.obs_id FROM TAP_UPLOAD.t AS t JOIN ivoa.ObsCore AS o"
    " ON 1 = CONTAINS(POINT(t.ra, t.dec), o.s_region)",
    "join circles": "SELECT t.number, o.obs_id FROM TAP_UPLOAD.t AS t JOIN ivoa.ObsCore AS o"
    " ON 1 = INTERSECTS(CIRCLE(t.ra, t.dec, 0.01), o.s_region)",
    "left join": "SELECT t.number, o.obs_id FROM TAP_UPLOAD.t AS t LEFT JOIN ivoa.ObsCore AS o"
    " ON 1 = CONTAINS(POINT(t.ra, t.dec), o.s_region)",
    "any of": "SELECT o.* FROM ivoa.ObsCore AS o WHERE EXISTS (SELECT t.number FROM"
    " TAP_UPLOAD.t AS t WHERE 1 = INTERSECTS(CIRCLE(t.ra, t.dec, 0.01), o.s_region))",
}


def measure_joins(context: ProcessContext, positions: int) -> None:
    """Print the time of each kind of join with uploaded positions, the best of three."""
    ra, dec = sky_points(positions, seed=5)
    columns = (
        Column(name="number", datatype=Datatype.INT),
        Column(name="ra", datatype=Datatype.DOUBLE, unit="deg"),
        Column(name="dec", datatype=Datatype.DOUBLE, unit="deg"),
    )
    upload = UploadedTable(
        meta=TableMeta(schema=UPLOAD_SCHEMA, name="t", columns=columns),
        data=pa.table({"number": np.arange(positions, dtype=np.int32), "ra": ra, "dec": dec}),
    )
    for name, query in JOINS.items():
        times, rows = [], 0
        for _ in range(3):
            started = time.perf_counter()
            rows = ask(context, query, upload)
            times.append(time.perf_counter() - started)
        print(f"{name:<14}{positions:>9,} positions {min(times):>8.2f} s {rows:>10,} rows")


def main() -> None:
    """Make the footprints and ask for them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--positions", type=int, default=1_000)
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    work = arguments.work or Path(tempfile.mkdtemp(prefix="obscore-"))
    try:
        make(work / "home", arguments.rows)
        with open_context(work / "home") as context:
            measure(context, arguments.requests)
            measure_joins(context, arguments.positions)
    finally:
        if arguments.work is None:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
