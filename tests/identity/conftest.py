"""Fixtures for the tests of identity."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from astrolabe.core.database import Database

from .people import People

StartProcess = Callable[..., People]


@pytest.fixture
def start_process(database: Database) -> Iterator[StartProcess]:
    """Make what one process has, any number of times, on one database."""
    with ExitStack() as stack:

        def start(**options: object) -> People:
            people = People(database, **options)  # type: ignore[arg-type] # names are checked there
            stack.callback(people.authenticator.close)
            return people

        yield start


@pytest.fixture
def people(start_process: StartProcess) -> People:
    """Give a platform after its first start."""
    people = start_process()
    assert people.users.ensure_owner()
    return people
