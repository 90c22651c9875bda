"""One platform with the demo survey, shared by all tests of real clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.platform import RunningPlatform, running_platform


@pytest.fixture(scope="session")
def demo_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    home = tmp_path_factory.mktemp("demo") / "home"
    with running_platform(home, demo=True) as platform:
        yield platform
