"""Fixtures of all tests; each capability keeps its own in ``tests/support``."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

# The same examples at each run: a change is judged by what it changes. HYPOTHESIS_PROFILE=explore
# looks for new ones.
settings.register_profile("repeat", derandomize=True, database=None)
settings.register_profile("explore", max_examples=300)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))

pytest_plugins = ["tests.support.databases"]

# What takes longest comes first, so that no process works alone in the end. Of the files that need
# the demo survey only one is at the front: while one process makes it, the other has work.
_FIRST = (
    "tests/clients/test_stilts.py",
    "tests/login/test_openapi.py",
    "tests/faults/test_publishing.py",
    "tests/faults/test_killed_processes.py",
    "tests/query/test_children.py",
    "tests/query/test_footprints.py",
    "tests/cli/test_up.py",
    "tests/faults/test_results.py",
    "tests/faults/test_requests.py",
    "tests/openid/test_stock_clients.py",
    "tests/images/test_image_import.py",
    "tests/adql/test_geometry.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put whole files into an order that two processes end at about the same time with."""
    place = {config.rootpath / name: number for number, name in enumerate(_FIRST)}
    items.sort(key=lambda item: place.get(item.path, len(_FIRST)))


@pytest.fixture(autouse=True)
def _no_log_goes_on_to_the_next_test() -> Iterator[None]:
    """Undo `configure_logging` of a command that ran in this process."""
    yield
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(handler)
            logging.captureWarnings(capture=False)
            structlog.reset_defaults()
