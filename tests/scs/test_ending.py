"""Searches that nobody waits for any more, and searches over their time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astrolabe.catalogs.engine import CancelToken
from astrolabe.config import Settings
from astrolabe.factory import ProcessContext
from astrolabe_api.main import create_app
from tests.api.conftest import serving, small_settings
from tests.api.support import RawClient

from .test_errors import check_error

pytestmark = [pytest.mark.timeout(90), pytest.mark.asyncio]

OBJECT = "/api/scs/dr1.object"


class SlowEngine:
    """Makes a platform whose engine finds nothing until it is told to stop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = threading.Event()
        self.ended = threading.Event()
        self._monkeypatch = monkeypatch

    def open(self, settings: Settings) -> ProcessContext:
        context = ProcessContext.open(settings)
        self._monkeypatch.setattr(context.engine, "execute", self._execute)
        return context

    def _execute(self, _plan: Any, cancel: CancelToken) -> Any:
        self.begun.set()
        stop = threading.Event()
        for _ in range(3000):
            try:
                cancel.raise_if_set()
            except BaseException:
                self.ended.set()
                raise
            stop.wait(0.01)
        raise AssertionError("nobody stopped the search")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowEngine:
    return SlowEngine(monkeypatch)


async def soon(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - set in a thread
            await asyncio.sleep(0.01)


async def test_a_search_ends_when_its_client_leaves(home: Path, slow: SlowEngine) -> None:
    app = create_app(small_settings(home), open_context=slow.open)
    async with serving(app):
        raw = RawClient(app, path=OBJECT, query="RA=0&DEC=5&SR=1").start()
        await soon(slow.begun.is_set)
        raw.leave()
        await soon(slow.ended.is_set)
        assert raw.task is not None
        await asyncio.wait([raw.task], timeout=10)
        assert raw.received == [] or not raw.is_complete or raw.status >= 400


async def test_a_search_over_its_time_says_what_helps(home: Path, slow: SlowEngine) -> None:
    app = create_app(small_settings(home, sync_seconds=1), open_context=slow.open)
    async with serving(app) as client:
        response = await client.get(OBJECT, params={"RA": "0", "DEC": "5", "SR": "1"})
    assert response.status_code == 200
    message, code = check_error(response)
    assert code == "timeout"
    assert "smaller cone" in message


async def test_a_description_never_waits_behind_searches(home: Path, slow: SlowEngine) -> None:
    app = create_app(small_settings(home), open_context=slow.open)
    async with serving(app) as client:
        busy = [RawClient(app, path=OBJECT, query="RA=0&DEC=5&SR=1").start() for _ in range(4)]
        await soon(slow.begun.is_set)
        response = await client.get(OBJECT, params={"RA": "0", "DEC": "5", "SR": "0"})
        assert response.status_code == 200
        assert b"ID_MAIN" in response.content
        for raw in busy:
            raw.leave()
        await soon(lambda: all(raw.task is not None and raw.task.done() for raw in busy))
