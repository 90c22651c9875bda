"""An import that is ended in the middle leaves whole images, and no process behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from astrolabe.images.importing import ImageImportOptions, run_image_import
from tests.support.images import write_planes
from tests.support.tiny import open_context

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]

_FILES = 200


def _wait_until_ended(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


def _members(group: int) -> list[int]:
    """Return the processes of a group that still run, and not those that only wait to be reaped."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, its_group = status.read_text("ascii").rpartition(")")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                found.append(int(status.parent.name))
    return found


def _wait_until_gone(group: int) -> None:
    deadline = time.monotonic() + 30.0
    while _members(group):
        if time.monotonic() > deadline:
            os.killpg(group, signal.SIGKILL)
            pytest.fail("a process of the import was still there")
        time.sleep(0.05)


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda n: n.name
)
def test_an_import_that_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    folder, home = tmp_path / "files", tmp_path / "home"
    folder.mkdir()
    first = write_planes(folder / "0.fits")
    for index in range(1, _FILES):
        shutil.copy(first, folder / f"{index}.fits")
    command = ["image", "import", str(folder), "--collection", "c", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "astrolabe.cli.main", *command, "--home", str(home)],
        stderr=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    while not list(home.glob("images/index/c/*/*.idx")):
        assert process.poll() is None, "the import ended before it could be ended"
        time.sleep(0.02)
    # A terminal's Control-C goes to all of its processes.
    (os.killpg if number is signal.SIGINT else os.kill)(process.pid, number)
    _wait_until_ended(process)
    _wait_until_gone(process.pid)
    assert process.stderr is not None
    with process.stderr:
        complaint = process.stderr.read()
    if number is signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert complaint.strip() == "astrolabe: interrupted"
    with open_context(home) as context:
        store, reader = context.images.store, context.images.reader
        for records in store.scan():
            assert all(reader.open(record).image.shape == (150, 180) for record in records)
        before = store.count()
        options = ImageImportOptions(collection="c")
        report = run_image_import([folder], options, context.images)
        assert (report.unchanged, report.images) == (before, _FILES - before)
        entry = context.catalog.view(fresh=True).entries["ivoa", "ObsCore"]
        assert entry.row.row_count == _FILES
