"""A home with one small table, for all tests of faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from .support import import_table


@pytest.fixture(scope="module")
def table_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the table ``s.t``; no platform runs in it."""
    return import_table(tmp_path_factory.mktemp("faults"))
