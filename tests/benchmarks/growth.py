"""How the cost of a cone grows with the table: p50 at 1, 10 and 50 million rows, as a chart.

usage: python -m tests.benchmarks.growth --work FOLDER [--svg docs/explain/cone-growth.svg]

FOLDER is that of `tests.benchmarks.import_speed`, whose table is the largest. Cones of the three
tables are asked in turn, so that a drift of the machine's speed moves all alike. The larger tables
are denser: a cone of one size gives more rows there; cones that give equally many are asked, too.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.survey_table import make_catalog
from tests.benchmarks.tap_speed import Connection, cone, form
from tests.support.platform import RunningPlatform, run_astrolabe, running_platform
from tests.support.tiny import open_context

_CONES = 300
_WARM_UP = 400  # until every file of the largest table was open once


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


def radius_of_equal_rows(rows: int) -> float:
    """Return the radius (deg) that holds as many rows as 0.1 deg do in the table of 10 million."""
    return round(0.1 * math.sqrt(10_000_000 / rows), 4)


async def ask_in_turn(
    platform: RunningPlatform, radius_by_table: dict[str, float]
) -> dict[str, float]:
    rng = random.Random(3)
    connection = Connection(platform.address)
    await connection.open()
    seconds: dict[str, list[float]] = {table: [] for table in radius_by_table}
    for turn in range(_CONES + _WARM_UP):
        for table, radius_deg in radius_by_table.items():
            query = cone(table, rng, radius_deg)[0]
            begin = time.perf_counter()
            status, _, _ = await connection.post(form(query))
            spent = time.perf_counter() - begin
            assert status == 200
            if turn >= _WARM_UP:
                seconds[table].append(spent)
    connection.close()
    return {table: 1e3 * statistics.median(values) for table, values in seconds.items()}


def draw(series: dict[str, list[tuple[int, float]]]) -> str:
    """Draw milliseconds against millions of rows, a line each; the axis starts at 0."""
    top = max(ms for points in series.values() for _, ms in points) * 1.25
    width, height, left, bottom = 480, 260, 60, 220
    drawn = []
    for number, (name, points) in enumerate(series.items()):
        color, step = ("#1f6feb", "#b35900")[number], (width - left - 40) / (len(points) - 1)
        places = [
            (left + 10 + place * step, bottom - 190 * ms / top)
            for place, (_, ms) in enumerate(points)
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        drawn.append(f'<text x="{left + 10}" y="{16 + 15 * number}" fill="{color}">{name}</text>')
        for (x, y), (rows, ms) in zip(places, points, strict=True):
            # One line's figures above it, the other's below.
            label, millions = y + (-10, 18)[number], f"{rows / 1e6:.0f} M"
            drawn.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}"/>'
                f'<text x="{x:.1f}" y="{label:.1f}" text-anchor="middle">{ms:.1f} ms</text>'
                f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{millions}</text>'
            )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12"><title>Cones: median time through sync TAP by '
        'rows of the table</title><rect width="100%" height="100%" fill="white"/>'
        f'<path d="M{left} 20V{bottom}H{width - 20}" stroke="#444" fill="none"/>{"".join(drawn)}'
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
    sizes: dict[str, Callable[[int], float]] = {
        "0.1 degrees: more rows in denser tables": lambda _rows: 0.1,
        "equally many rows": radius_of_equal_rows,
    }
    series = {}
    with running_platform(arguments.work / "home") as platform:
        for name, size in sizes.items():
            radius_by_table = {table: size(rows) for table, rows in tables.items()}
            medians = asyncio.run(ask_in_turn(platform, radius_by_table))
            series[name] = [(rows, medians[table]) for table, rows in tables.items()]
    for name, points in series.items():
        told = ", ".join(f"{rows / 1e6:.0f} M rows {ms:.2f} ms" for rows, ms in points)
        print(f"{name}: {told}; largest over smallest {points[-1][1] / points[0][1]:.2f}")
    if arguments.svg is not None:
        arguments.svg.write_text(draw(series))


if __name__ == "__main__":
    main()
