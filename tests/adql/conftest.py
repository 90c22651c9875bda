"""Fixtures of the language's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .support import Sky


@pytest.fixture(scope="session")
def sky() -> Iterator[Sky]:
    made = Sky()
    yield made
    made.connection.close()
