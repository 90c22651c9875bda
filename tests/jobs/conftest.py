"""Fixtures for the tests of jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from astrolabe.core.database import Database
from astrolabe.jobs.model import JobRunner
from astrolabe.jobs.service import JobService
from astrolabe.jobs.store import JobStore
from astrolabe.jobs.worker import Worker

from .support import KIND, make_service

StartWorker = Callable[..., Worker]


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database)


@pytest.fixture
def service(store: JobStore) -> Iterator[JobService]:
    opened = make_service(store)
    yield opened
    opened.close()


@pytest.fixture
def start_worker(store: JobStore) -> Iterator[StartWorker]:
    """Start workers that are stopped at the end of the test."""
    with ExitStack() as stack:

        def start(runner: JobRunner, *, slots: int = 2, **changes: Any) -> Worker:
            worker = Worker(changes.pop("store", store), {KIND: runner}, slots=slots, **changes)
            worker.start()
            stack.callback(worker.stop, timeout=1)
            return worker

        yield start
