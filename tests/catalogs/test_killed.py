"""A writer killed at any point of publication leaves the table whole, and the next one works."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from astrolabe.catalogs.iceberg import IcebergTables
from astrolabe.catalogs.schema import LOCKS
from astrolabe.catalogs.store import CatalogStore
from astrolabe.core.database import Database

from .staging import read_values, write_version

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]


def _run_killed_writer(database: Database, iceberg_url: str, tables_root: Path, point: str) -> None:
    url = database.engine.url.render_as_string(hide_password=False)
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.catalogs.killed_writer",
            url,
            iceberg_url,
            str(tables_root),
            point,
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == -signal.SIGKILL, result.stderr


def _collection(tables_root: Path) -> dict[str, str]:
    text = (tables_root / "dr1" / "object" / "collection.properties").read_text("utf-8")
    return dict(line.split("=", 1) for line in text.splitlines())


@pytest.mark.parametrize(
    ("point", "exists", "cleaner"),
    [
        ("files", True, "writer"),
        ("iceberg", False, "writer"),
        ("commit", False, "writer"),
        ("commit", True, "vacuum"),
        ("committed", True, "vacuum"),
    ],
)
def test_table_stays_whole(
    store: CatalogStore,
    database: Database,
    iceberg: IcebergTables,
    iceberg_url: str,
    tables_root: Path,
    point: str,
    exists: bool,  # noqa: FBT001 - a parameter of the test
    cleaner: str,
) -> None:
    if exists:
        write_version(store)
    _run_killed_writer(database, iceberg_url, tables_root, point)
    with database.read() as connection:
        assert connection.execute(LOCKS.select()).first() is not None  # it gave nothing back

    seen = store.view(fresh=True).table("dr1", "object")
    expected = {"committed": 2}.get(point, 1) if exists else None
    assert (None if seen is None else seen.version) == expected
    if seen is not None:
        assert read_values(seen.root, seen.index.paths) == {expected}

    # The dead process's lease keeps nobody waiting.
    if cleaner == "vacuum":
        report = store.vacuum(retention_seconds=0)
        assert [r.version for r in report.removed] == [1 if point == "committed" else 2]
        assert seen is not None
        assert iceberg.current_snapshot("dr1", "object") == seen.snapshot_id
        assert _collection(tables_root)["hats_primary_table_url"] == f"v000{expected}/object"
    last = write_version(store, mode="replace" if exists else "create")
    assert last.version == (3 if exists else 2)
    folders = {p.name for p in (tables_root / "dr1" / "object").glob("v*")}
    assert folders == {f"v000{v}" for v in (expected, last.version) if v is not None}
    assert _collection(tables_root)["hats_primary_table_url"] == f"v000{last.version}/object"
    table = iceberg._catalog().load_table(("dr1", "object"))
    assert set(table.scan().to_arrow()["value"].to_pylist()) == {last.version}
    assert iceberg.current_snapshot("dr1", "object") == last.snapshot_id
