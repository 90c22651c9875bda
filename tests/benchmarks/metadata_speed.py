"""TOPCAT's queries on TAP_SCHEMA with every table of `lsst-sdm-schemas` loaded.

usage: python -m tests.benchmarks.metadata_speed --work FOLDER
"""

from __future__ import annotations

import argparse
import statistics
import time
from importlib.resources import files
from pathlib import Path

import httpx

from astrolabe.catalogs.felis import read_felis
from tests.support.platform import running_platform
from tests.support.tiny import open_context

QUERIES = (
    "SELECT COUNT(*) AS nrow FROM TAP_SCHEMA.columns",
    "SELECT schema_name, description, utype FROM TAP_SCHEMA.schemas",
    "SELECT schema_name, table_name, table_type, description, utype FROM TAP_SCHEMA.tables",
    (
        "SELECT column_name, description, unit, ucd, utype, datatype, indexed, principal, std "
        "FROM TAP_SCHEMA.columns WHERE table_name = 'dp1.Object'"
    ),
    "SELECT key_id, from_table, target_table, description, utype FROM TAP_SCHEMA.keys",
    "SELECT key_id, from_column, target_column FROM TAP_SCHEMA.key_columns",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    home = parser.parse_args().work / "wide"
    if not home.exists():
        with open_context(home) as context:
            for path in sorted(Path(str(files("lsst.sdm.schemas"))).glob("*.yaml")):
                context.catalog.create_tables(read_felis(path, path.stem))
    with running_platform(home) as platform, httpx.Client() as client:
        for query in QUERIES:
            seconds = []
            for _ in range(21):
                begin = time.perf_counter()
                form = {"LANG": "ADQL", "QUERY": query, "MAXREC": "100000"}
                client.post(f"{platform.tap}/sync", data=form).raise_for_status()
                seconds.append(time.perf_counter() - begin)
            middle = statistics.median(seconds[1:])
            print(f"first {1e3 * seconds[0]:5.0f} ms, p50 {1e3 * middle:5.1f} ms  {query[:70]}")


if __name__ == "__main__":
    main()
