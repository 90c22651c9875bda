"""How the cost of a cone grows with the table: p50 at 1, 10 and 50 million rows, as a chart.

usage: python -m tests.benchmarks.growth --work FOLDER [--svg docs/explain/cone-growth.svg]

FOLDER is that of `tests.benchmarks.import_speed`, whose table is the largest. Cones of the three
tables are asked in turn, so that a drift of the machine's speed moves all alike.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from pathlib import Path

from tests.benchmarks.survey_table import make_catalog
from tests.benchmarks.tap_speed import Connection, cone, form
from tests.support.platform import RunningPlatform, run_astrolabe, running_platform
from tests.support.tiny import open_context

_CONES = 300


def prepare(work: Path) -> dict[str, int]:
    """Import the smaller tables beside the largest; return rows by table."""
    home = work / "home"
    with open_context(home) as context:
        known = {
            table.qualified_name: table.row_count or 0
            for schema in context.catalog.view().schemas
            for table in schema.tables
        }
    for millions in (1, 10):
        name = f"object_{millions}m"
        if f"bench.{name}" not in known:
            raw = work / f"raw-{millions}m"
            make_catalog(raw, millions * 1_000_000)
            run_astrolabe(
                "table", "import", str(raw), "--home", str(home), "--schema", "bench",
                "--table", name, "--id", "objectId", "--ra", "ra", "--dec", "dec", "--margin", "0",
            )  # fmt: skip
        known[f"bench.{name}"] = millions * 1_000_000
    return dict(sorted(known.items(), key=lambda item: item[1]))


async def ask_in_turn(platform: RunningPlatform, tables: list[str]) -> dict[str, float]:
    rng = random.Random(3)
    connection = Connection(platform.address)
    await connection.open()
    seconds: dict[str, list[float]] = {table: [] for table in tables}
    for turn in range(_CONES + 30):
        for table in tables:
            query = cone(table, rng, 0.1)[0]
            begin = time.perf_counter()
            status, _, _ = await connection.post(form(query))
            spent = time.perf_counter() - begin
            assert status == 200
            if turn >= 30:
                seconds[table].append(spent)
    connection.close()
    return {table: 1e3 * statistics.median(values) for table, values in seconds.items()}


def draw(points: list[tuple[int, float]]) -> str:
    """Draw milliseconds against millions of rows; the axis starts at 0."""
    top = max(ms for _, ms in points) * 1.25
    width, height, left, bottom = 480, 260, 60, 220
    step = (width - left - 40) / (len(points) - 1)
    places = [
        (left + 10 + number * step, bottom - 190 * ms / top)
        for number, (_, ms) in enumerate(points)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    marks = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#1f6feb"/>'
        f'<text x="{x:.1f}" y="{y - 10:.1f}" text-anchor="middle">{ms:.1f} ms</text>'
        f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{rows / 1e6:.0f} M</text>'
        for (x, y), (rows, ms) in zip(places, points, strict=True)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12"><title>Cone of 0.1 degrees: median time '
        'through sync TAP by rows of the table</title><rect width="100%" height="100%" '
        f'fill="white"/><path d="M{left} 20V{bottom}H{width - 20}" stroke="#444" fill="none"/>'
        f'<polyline points="{line}" fill="none" stroke="#1f6feb" stroke-width="2"/>{marks}'
        f'<text x="{width / 2}" y="{height - 6}" text-anchor="middle">rows of the table</text>'
        f'<text x="16" y="120" transform="rotate(-90 16 120)" text-anchor="middle">'
        "cone, p50 (ms)</text></svg>\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--svg", type=Path)
    arguments = parser.parse_args()
    tables = prepare(arguments.work)
    with running_platform(arguments.work / "home") as platform:
        medians = asyncio.run(ask_in_turn(platform, list(tables)))
    points = [(rows, medians[table]) for table, rows in tables.items()]
    for rows, ms in points:
        print(f"{rows / 1e6:6.0f} M rows: p50 {ms:.2f} ms")
    print(f"largest over smallest: {points[-1][1] / points[0][1]:.2f}")
    if arguments.svg is not None:
        arguments.svg.write_text(draw(points))


if __name__ == "__main__":
    main()
