"""One platform with the demo survey, shared by all tests of real clients."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.platform import RunningPlatform, running_platform


@pytest.fixture(scope="session")
def demo_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    home = tmp_path_factory.mktemp("demo") / "home"
    # Making the demo survey takes a minute or two; who changes one thing and runs these tests
    # again and again names a home that has it already.
    made = os.environ.get("ASTROLABE_TEST_HOME")
    if made:
        shutil.copytree(Path(made), home, ignore=shutil.ignore_patterns("run"))
    with running_platform(home, demo=True) as platform:
        yield platform


@pytest.fixture(scope="module", autouse=True)
def _clients_end_with_their_module() -> Iterator[None]:
    # Clients leave connections to be closed by the garbage collector, which warns of it whenever
    # it runs; here it does so where the module that uses the client has allowed for that.
    yield
    gc.collect()
