"""One platform with the demo survey, shared by all tests of real clients in one process."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.platform import RunningPlatform, running_platform


@pytest.fixture(scope="session")
def demo_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home with the demo survey, a copy of this process's own."""
    own = tmp_path_factory.mktemp("demo") / "home"
    made = os.environ.get("ASTROLABE_TEST_HOME")
    if made:
        # Who changes one thing and runs these tests again and again has it already.
        _copy_home(Path(made), own)
        return own
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # that of all processes of this run
    home = shared / "demo-survey" / "home"
    home.parent.mkdir(exist_ok=True)
    # Making it takes a minute or two, so one process does, and the others wait for it.
    with (home.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = home.parent / "ready"
        if not ready.exists():
            with running_platform(home, demo=True):
                pass
            ready.touch()
    _copy_home(home, own)
    return own


def _copy_home(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("run"))


@pytest.fixture(scope="session")
def demo_platform(demo_home: Path) -> Iterator[RunningPlatform]:
    with running_platform(demo_home, demo=True) as platform:
        yield platform


@pytest.fixture(scope="module", autouse=True)
def _clients_end_with_their_module() -> Iterator[None]:
    # Clients leave connections to be closed by the garbage collector, which warns of it whenever
    # it runs; here it does so where the module that uses the client has allowed for that.
    yield
    gc.collect()
