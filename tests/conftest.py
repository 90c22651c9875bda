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
