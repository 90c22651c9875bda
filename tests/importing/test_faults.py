"""Imports that are killed, and disks that are full: the table is as before, a rerun succeeds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astrolabe.catalogs.importing import run_import

from .sources import current, objects, opened_store, options, positions, stored_rows

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]

_ROOT = Path(__file__).parents[2]


def _import(home: Path, mode: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.importing.importer", str(home), mode],
        cwd=_ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def _folders(home: Path) -> list[str]:
    return sorted(p.name for p in (home / "tables/dr1/object").iterdir() if p.name[0] == "v")


@pytest.mark.parametrize("stop_at", ["read 2", "write 2", "publish 1"])
def test_a_killed_import_changes_nothing_and_is_cleaned_up(home: Path, stop_at: str) -> None:
    with opened_store(home, lease_seconds=2.0) as store:
        run_import(objects(1_000), options(), store)
        before = stored_rows(current(store))
        with _import(home, "replace", STOP_AT=stop_at) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == f"at {stop_at}\n"
            process.kill()
        assert _folders(home) == ["v0001", "v0002"]  # what the dead one left
        assert current(store).version == 1
        assert stored_rows(current(store)).equals(before)
        with _import(home, "replace") as process:
            out, _ = process.communicate()
        assert out.splitlines()[-1] == "rows 4000"
        assert stored_rows(current(store)).num_rows == 4_000
        assert _folders(home) == ["v0001", "v0003"]


@pytest.mark.parametrize("mode", ["create", "append"])
def test_a_full_disk_leaves_nothing_half_done(home: Path, mode: str) -> None:
    with opened_store(home) as store:
        if mode == "append":
            run_import(objects(1_000), options(), store)
        # The databases' files stay below the limit, so it is met by what the import writes.
        with _import(home, mode, FILE_BYTES="2000000", ROWS="300000") as process:
            out, _ = process.communicate()
        assert process.returncode == 1
        assert out.startswith("storage-full: There is no room left to write the table dr1.object")
        assert "/" not in out  # the message is for users
        table = store.view(fresh=True).table("dr1", "object")
        if mode == "append":
            assert table is not None
            assert stored_rows(table).num_rows == 1_000
            assert _folders(home) == ["v0001"]
        else:
            assert table is None
            assert not list((home / "tables").rglob("*.parquet"))
        run_import(objects(100, first_id=5_000), options(mode=mode), store)


def test_a_polite_end_removes_what_was_begun(home: Path, tmp_path: Path) -> None:
    source = tmp_path / "large.parquet"
    ra, dec = positions(1_000_000)
    pq.write_table(pa.table({"ra": ra, "dec": dec}), source)
    names = ["--schema", "dr1", "--table", "object", "--home", str(home)]
    command = [sys.executable, "-m", "astrolabe.cli.main", "table", "import", str(source), *names]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not (home / "tables/dr1/object/v0001").exists() and process.poll() is None:
            time.sleep(0.02)
        process.terminate()
        _, err = process.communicate()
    assert process.returncode == 130
    assert err.strip() == "astrolabe: interrupted"
    assert _folders(home) == []
