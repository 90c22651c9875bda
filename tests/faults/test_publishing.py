"""New versions appear while old ones are read: no error, and never rows of two versions."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from typing_extensions import override

from astrolabe.core.errors import ConflictError
from astrolabe.tables.model import Datatype
from tests.support.platform import RunningPlatform, running_platform
from tests.support.tiny import import_columns, open_context, sky_points

from .support import wait_for

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
PUBLICATIONS = 100


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the first version of ``s.moving``, made by the process that makes the others."""
    home = tmp_path / "home"
    publish(home, 0, 1)
    return home


def publish(home: Path, first: int, count: int) -> None:
    with publisher(home, first, count) as process:
        out, _ = process.communicate()
    assert process.returncode == 0
    assert out.split() == [str(n) for n in range(first, first + count)]


def publisher(home: Path, first: int, count: int) -> subprocess.Popen[str]:
    """Publish versions `first` and on, one after the other, in a process of its own."""
    command = [sys.executable, "-m", "tests.faults.publisher", str(home), str(first), str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


class Reader(threading.Thread):
    """Asks the same again and again, and keeps what was wrong."""

    def __init__(self, platform: RunningPlatform, query: str, stop: threading.Event) -> None:
        super().__init__()
        self.seen: set[int] = set()
        self.wrong: list[str] = []
        self.answers = 0
        self._platform = platform
        self._query = query
        self._stop_it = stop

    @override
    def run(self) -> None:
        form = {"LANG": "ADQL", "QUERY": self._query, "RESPONSEFORMAT": "csv"}
        with httpx.Client(timeout=60) as client:
            # A pause, or the readers would leave the publisher no processor on a small machine.
            while not self._stop_it.wait(0.02):
                try:
                    answer = client.post(f"{self._platform.tap}/sync", data=form)
                except httpx.HTTPError as exc:
                    self.wrong.append(repr(exc))
                    continue
                self.answers += 1
                if answer.status_code != 200:
                    self.wrong.append(answer.text[:500])
                    continue
                self._look_at(answer.text.splitlines()[1:])

    def _look_at(self, lines: list[str]) -> None:
        if self._query.startswith("SELECT MIN"):
            low, high, count = (int(cell) for cell in lines[0].split(","))
        else:
            values = {int(line.split(",")[0]) for line in lines}
            low, high, count = min(values), max(values), len(lines)
        # Version v has v as the value of every row, and 2,000 + v rows.
        if low != high or count != 2_000 + low:
            self.wrong.append(f"{low} to {high} in {count} rows")
        self.seen.add(low)


@pytest.fixture
def platform(home: Path) -> Iterator[RunningPlatform]:
    with running_platform(home) as made:
        yield made


@pytest.mark.timeout(600)
def test_versions_that_change_under_load_are_never_mixed(platform: RunningPlatform) -> None:
    stop = threading.Event()
    readers = [
        Reader(platform, query, stop)
        for query in (
            "SELECT MIN(v) AS low, MAX(v) AS high, COUNT(*) AS n FROM s.moving",
            "SELECT v, id, ra FROM s.moving",
            "SELECT v, id, dec FROM s.moving",
            # Two occurrences of the table in one query see the same version, too.
            (
                "SELECT MIN(v) AS low, MAX(w) AS high, COUNT(*) AS n FROM (SELECT a.v, b.v AS w"
                " FROM s.moving AS a JOIN s.moving AS b ON a.id = b.id) AS q"
            ),
        )
    ]
    for reader in readers:
        reader.start()
    try:
        publish(platform.home, 1, PUBLICATIONS)
        # The gateway looks at the generation at most once a second.
        wait_for(lambda: all(PUBLICATIONS in reader.seen for reader in readers), 20)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert [reader.wrong for reader in readers] == [[]] * len(readers)
    for reader in readers:
        assert reader.answers > len(reader.seen) > 3


def test_a_download_that_began_before_is_read_to_its_end(platform: RunningPlatform) -> None:
    query = (
        "SELECT a.v, b.v AS w, a.id, b.id AS other, a.ra FROM s.moving AS a, s.moving AS b "
        "WHERE b.id < 1000"
    )
    form = {"LANG": "ADQL", "QUERY": query, "RESPONSEFORMAT": "csv", "MAXREC": "10000000"}
    rows, values = 0, set()
    with httpx.stream("POST", f"{platform.tap}/sync", data=form, timeout=60) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "v,w,id,other,ra"
        # The buffers between are full long before 2,000,000 rows are through.
        publish(platform.home, 1, 5)
        now = platform.csv("SELECT MAX(v) AS v FROM s.moving")
        wait_for(lambda: platform.csv("SELECT MAX(v) AS v FROM s.moving") == [{"v": "5"}], 10)
        assert now in ([{"v": "0"}], [{"v": "5"}])
        for line in lines:
            rows += 1
            values.add(line[:4])
    assert rows == 2_000 * 1_000
    assert values == {"0,0,"}


def test_one_of_two_imports_at_once_is_told_of_the_other(home: Path) -> None:
    ra, dec = sky_points(2_000)
    columns = {
        "id": (Datatype.LONG, np.arange(2_000)),
        "v": (Datatype.LONG, np.full(2_000, 1)),
        "ra": (Datatype.DOUBLE, ra),
        "dec": (Datatype.DOUBLE, dec),
    }
    with publisher(home, 1, 40) as process, open_context(home) as context:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        told: list[str] = []
        while process.poll() is None and len(told) < 2:
            try:
                import_columns(context, "s", "moving", columns, id_column="id", mode="replace")
            except ConflictError as exc:
                told.append(str(exc))
        process.terminate()
        process.communicate()
        assert told
        assert all("s.moving" in message for message in told)
        # Who was refused has left nothing, and who comes later is served.
        import_columns(context, "s", "moving", columns, id_column="id", mode="replace")
        version = context.catalog.view(fresh=True).table("s", "moving")
        assert version is not None
        assert version.index.rows.sum() == 2_000
        assert not list((home / "staging").iterdir())
