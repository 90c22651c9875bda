"""How far an import is, told in lines where there is no terminal."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest

from astrolabe.catalogs.importing import ImportProgress
from astrolabe.cli import progress
from astrolabe.cli.progress import show_progress


def test_lines_have_rows_rate_and_time_left_once_they_mean_something(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = itertools.chain([0.0, 0.0, 20.0, 40.0], itertools.repeat(60.0))
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(times)))
    with show_progress("dr1.object") as listener:
        listener(ImportProgress(step="read", rows=0, total=1000))
        listener(ImportProgress(step="read", rows=200, total=1000))
        listener(ImportProgress(step="publish", rows=1000, total=1000))
        listener(ImportProgress(step="publish", rows=1000, total=1000))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "dr1.object: reading and sorting: 200 rows of 1,000, 10 rows/s, about 80 s left",
        # A step that has just begun has no rate yet.
        "dr1.object: publishing: 1,000 rows of 1,000",
        "dr1.object: publishing: 1,000 rows of 1,000, 50 rows/s, about 0 s left",
    ]
