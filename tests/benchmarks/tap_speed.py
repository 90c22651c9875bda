"""TAP through loopback: cones, ids, load, downloads; against DuckDB on the same files.

usage: python -m tests.benchmarks.tap_speed --home FOLDER/home [--table bench.object]
       [--only cone,id,load,download,memory]

The home is one that `tests.benchmarks.import_speed` left. Every figure is printed with the
command that makes it; ratios are against a baseline of the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import duckdb

from astrolabe.catalogs.planning.pruning import prune
from astrolabe.sky.regions import Circle
from tests.support.platform import RunningPlatform, running_platform
from tests.support.tiny import open_context

_COLUMNS = "objectId, ra, dec, g_psfFlux, r_psfFlux"
_WIDE = (
    "objectId, ra, dec, g_psfFlux, r_psfFlux, i_psfFlux, g_psfFluxErr, r_psfFluxErr, tract, "
    "extendedness"
)


_WARM_UP = 400  # until every file of 50 million rows was open once


class Connection:
    """One keep-alive HTTP/1.1 connection that costs next to nothing."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._host, self._port = parts.hostname or "", parts.port or 80

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(
            self._host, self._port, limit=1 << 24
        )

    async def post(self, form: dict[str, str]) -> tuple[int, float, int]:
        """Post to sync TAP; return status, seconds to the first byte of the body, and bytes."""
        body = urlencode(form).encode()
        head = (
            f"POST /api/tap/sync HTTP/1.1\r\nHost: {self._host}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        begin = time.perf_counter()
        self._writer.write(head.encode() + body)
        header = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        status = int(header.split(b" ", 2)[1])
        if b"content-length:" in header:
            length = int(header.split(b"content-length:")[1].split(b"\r\n")[0])
            await self._reader.readexactly(length)
            return status, time.perf_counter() - begin, length
        first, size = 0.0, 0
        while True:
            length = int(await self._reader.readline(), 16)
            if length:
                left = length
                while left:
                    left -= len(await self._reader.read(min(left, 1 << 20)))
                first = first or time.perf_counter() - begin
                size += length
            await self._reader.readexactly(2)
            if not length:
                return status, first, size

    def close(self) -> None:
        self._writer.close()


def cone(table: str, rng: random.Random, radius_deg: float) -> tuple[str, float, float]:
    ra, dec = rng.uniform(0, 360), rng.uniform(-29, -1)
    text = (
        f"SELECT {_COLUMNS} FROM {table} WHERE "
        f"1 = CONTAINS(POINT(ra, dec), CIRCLE({ra!r}, {dec!r}, {radius_deg}))"
    )
    return text, ra, dec


def form(query: str, **more: str) -> dict[str, str]:
    return {"LANG": "ADQL", "QUERY": query, "RESPONSEFORMAT": "csv", **more}


async def timed(platform: RunningPlatform, queries: list[str]) -> list[float]:
    connection = Connection(platform.address)
    await connection.open()
    seconds = []
    for query in queries:
        begin = time.perf_counter()
        status, _, _ = await connection.post(form(query))
        seconds.append(time.perf_counter() - begin)
        assert status == 200, query
    connection.close()
    return seconds


async def load(platform: RunningPlatform, table: str, clients: int, each: int) -> None:
    rng = random.Random(9)
    seconds: list[float] = []
    errors = 0

    async def client(queries: list[str]) -> None:
        nonlocal errors
        connection = Connection(platform.address)
        await connection.open()
        for query in queries:
            begin = time.perf_counter()
            status, _, _ = await connection.post(form(query))
            seconds.append(time.perf_counter() - begin)
            errors += status != 200
        connection.close()

    work = [[cone(table, rng, 0.1)[0] for _ in range(each)] for _ in range(clients)]
    begin = time.perf_counter()
    await asyncio.gather(*(client(queries) for queries in work))
    spent = time.perf_counter() - begin
    seconds.sort()
    print(
        f"{clients} clients: {clients * each / spent:.0f} cones/s, {errors} errors, "
        f"p50 {1e3 * statistics.median(seconds):.0f} ms, "
        f"p95 {1e3 * seconds[int(0.95 * len(seconds))]:.0f} ms"
    )


async def download(platform: RunningPlatform, table: str, rows: int, output: str) -> None:
    connection = Connection(platform.address)
    await connection.open()
    query = f"SELECT TOP {rows} {_WIDE} FROM {table}"
    begin = time.perf_counter()
    status, first, size = await connection.post(
        form(query) | {"RESPONSEFORMAT": output, "MAXREC": str(rows)}
    )
    spent = time.perf_counter() - begin
    assert status == 200
    print(
        f"{rows} rows x 10 as {output:60} first byte {1e3 * first:5.0f} ms, "
        f"{rows / spent / 1e6:5.2f} M rows/s, {size / spent / 1e6:5.0f} MB/s"
    )
    connection.close()


def baseline(home: Path, table: str, cones: list[tuple[str, float, float]]) -> list[float]:
    """Time DuckDB's own read of the files that the index leaves."""
    schema, _, name = table.partition(".")
    with open_context(home) as context:
        version = context.catalog.view().table(schema, name)
    assert version is not None
    con = duckdb.connect(config={"threads": 2})
    con.execute("SET parquet_metadata_cache=true")
    seconds = []
    for _, ra, dec in cones:
        cells = Circle(ra, dec, 0.1).ranges()
        selection = prune(version.index, cells=cells, ids=None)
        paths = [f"{version.root}/{version.index.paths[i]}" for i in selection.files]
        where = " OR ".join(f"(_healpix_29 >= {a} AND _healpix_29 < {b})" for a, b in cells)
        begin = time.perf_counter()
        con.execute(
            f"SELECT {_COLUMNS} FROM read_parquet(?) WHERE ({where}) AND "
            "2 * asin(sqrt(pow(sin(radians(dec - ?) / 2), 2) + cos(radians(dec)) * "
            "cos(radians(?)) * pow(sin(radians(ra - ?) / 2), 2))) <= radians(0.1)",
            [paths, dec, dec, ra],
        ).to_arrow_table()
        seconds.append(time.perf_counter() - begin)
    return seconds


def resident_mb(platform: RunningPlatform) -> float:
    (pid,) = platform.child_pids("serve")
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


async def memory(platform: RunningPlatform, table: str) -> None:
    before = resident_mb(platform)
    largest = before

    async def watch() -> None:
        nonlocal largest
        while True:
            largest = max(largest, resident_mb(platform))
            await asyncio.sleep(0.2)

    watcher = asyncio.create_task(watch())
    await download(platform, table, 10_000_000, "votable")
    watcher.cancel()
    print(f"memory of the server grew by {largest - before:.0f} MB while 10 M rows went out")


def tell(name: str, seconds: list[float], against: list[float] | None = None) -> None:
    middle = statistics.median(seconds)
    ratio = "" if against is None else f", {middle / statistics.median(against):.2f} of DuckDB's"
    print(f"{name}: p50 {1e3 * middle:.1f} ms{ratio}")


def measure(platform: RunningPlatform, home: Path, table: str, wanted: set[str]) -> None:
    rng = random.Random(4)
    run: Callable[[object], object] = asyncio.run  # type: ignore[assignment]
    run(timed(platform, [cone(table, rng, 0.1)[0] for _ in range(_WARM_UP)]))
    if "cone" in wanted:
        cones = [cone(table, rng, 0.1) for _ in range(200)]
        ours = asyncio.run(timed(platform, [text for text, _, _ in cones]))
        tell("cone 0.1 deg", ours, baseline(home, table, cones))
        small = asyncio.run(timed(platform, [cone(table, rng, 1 / 3600)[0] for _ in range(200)]))
        tell("cone 1 arcsec", small)
    if "id" in wanted:
        with open_context(home) as context:
            schema, _, name = table.partition(".")
            version = context.catalog.view().table(schema, name)
        assert version is not None
        rows = version.meta.row_count or 0
        ids = [(1 << 60) + rng.randrange(rows) for _ in range(200 + _WARM_UP)]
        queries = [f"SELECT {_COLUMNS} FROM {table} WHERE objectId = {value}" for value in ids]
        tell("id look-up", asyncio.run(timed(platform, queries))[_WARM_UP:])
    if "load" in wanted:
        for clients in (8, 32, 100):
            asyncio.run(load(platform, table, clients, 2000 // clients))
    if "download" in wanted:
        for output in (
            "votable",
            "application/x-votable+xml;serialization=tabledata",
            "csv",
        ):
            asyncio.run(download(platform, table, 1_000_000, output))
    if "memory" in wanted:
        asyncio.run(memory(platform, table))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--table", default="bench.object")
    parser.add_argument("--only", default="cone,id,load,download,memory")
    arguments = parser.parse_args()
    with running_platform(arguments.home) as platform:
        measure(platform, arguments.home, arguments.table, set(arguments.only.split(",")))


if __name__ == "__main__":
    main()
