"""Queries that take long, and clients that do not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from fastapi import FastAPI

from astrolabe.config import LimitsSettings, Settings
from astrolabe_api.common.state import ApiState
from astrolabe_api.main import create_app

from .conftest import serving, small_settings
from .support import RawClient
from .test_sync import status_infos, votable

pytestmark = pytest.mark.timeout(90)

SYNC = "/api/tap/sync"
ENDLESS = (
    "SELECT COUNT(*) AS n FROM dr1.source AS a, dr1.source AS b, dr1.object AS c "
    "WHERE a.flux * b.flux > c.mag + a.dec"
)
MANY_ROWS = "SELECT a.flux, b.flux AS f2, c.mag FROM dr1.source a, dr1.source b, dr1.object c"


def form(query: str, **more: str) -> str:
    return urlencode({"LANG": "ADQL", "QUERY": query} | more)


@asynccontextmanager
async def small_platform(
    home: Path, *, waiting: int = 4, **tap: Any
) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    settings: Settings = small_settings(home, **tap).model_copy(
        update={"limits": LimitsSettings(waiting_queries=waiting)}
    )
    app = create_app(settings)
    async with serving(app) as client:
        yield app, client


async def is_idle(app: FastAPI, *, within: float = 6.0) -> bool:
    """Whether both threads for queries come free within so many seconds."""
    state = app.state.api
    assert isinstance(state, ApiState)
    loop = asyncio.get_running_loop()
    free = [asyncio.Event(), asyncio.Event()]

    def tell(event: asyncio.Event) -> None:
        loop.call_soon_threadsafe(event.set)

    for event in free:
        state.query_pool.resume(partial(tell, event))
    try:
        async with asyncio.timeout(within):
            for event in free:
                await event.wait()
    except TimeoutError:
        return False
    return True


@pytest.mark.asyncio
async def test_a_query_over_its_time_says_how_to_run_it_async(home: Path) -> None:
    async with small_platform(home, sync_seconds=1) as (app, client):
        began = time.monotonic()
        response = await client.get(f"{SYNC}?{form(ENDLESS)}")
        assert time.monotonic() - began < 5
        assert response.status_code == 400
        ((status, message),) = status_infos(votable(response))
        assert status == "ERROR"
        assert "limit of 1 s" in message
        assert "https://astrolabe.example/api/tap/async" in message
        assert await is_idle(app)


@pytest.mark.asyncio
async def test_a_stream_over_its_time_ends_with_an_error(home: Path) -> None:
    async with small_platform(home, sync_seconds=2, maxrec_default=100_000_000) as (app, _):
        client = RawClient(app, path=SYNC, query=form(MANY_ROWS, FORMAT="votable/td")).start()
        body = (await client.finish()).decode()
        assert client.status == 200
        assert client.is_complete
        assert body.index("<TABLEDATA>") < body.index('<INFO name="QUERY_STATUS" value="ERROR">')
        csv = RawClient(app, path=SYNC, query=form(MANY_ROWS, FORMAT="csv")).start()
        await csv.finish()
        assert csv.status == 200
        assert not csv.is_complete, "CSV has no place for an error"


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_client_that_leaves_before_the_first_byte_stops_its_query(
    home: Path, method: str
) -> None:
    async with small_platform(home) as (app, _):
        clients = []
        for _ in range(2):
            body = [form(ENDLESS).encode()] if method == "POST" else []
            headers = [("Content-Type", "application/x-www-form-urlencoded")] if body else []
            query = "" if body else form(ENDLESS)
            clients.append(
                RawClient(
                    app, method=method, path=SYNC, query=query, headers=headers, body=body
                ).start()
            )
        await asyncio.sleep(1.0)
        assert not await is_idle(app, within=1.0)
        for client in clients:
            client.leave()
        for client in clients:
            await asyncio.wait_for(client.finish(), 1)
        assert await is_idle(app)


@pytest.mark.asyncio
async def test_a_client_that_leaves_in_the_middle_stops_its_query(home: Path) -> None:
    async with small_platform(home, maxrec_default=100_000_000) as (app, _):
        client = RawClient(app, path=SYNC, query=form(MANY_ROWS)).start()
        await client.first_message()
        client.leave()
        await asyncio.wait_for(client.finish(), 6)
        assert await is_idle(app)


@pytest.mark.asyncio
async def test_metadata_never_waits_behind_science(home: Path) -> None:
    async with small_platform(home, waiting=2) as (app, client):
        busy = [RawClient(app, path=SYNC, query=form(ENDLESS)).start() for _ in range(4)]
        await asyncio.sleep(1.0)
        began = time.monotonic()
        response = await client.get(f"{SYNC}?{form('SELECT COUNT(*) AS n FROM tap_schema.tables')}")
        assert response.status_code == 200
        assert (await client.get("/api/tap/async/none/phase")).status_code == 404
        assert (await client.get("/api/tap/tables")).status_code == 200
        assert time.monotonic() - began < 10
        refused = await client.get(f"{SYNC}?{form(ENDLESS)}")
        assert refused.status_code == 503
        assert "retry-after" in refused.headers
        for one in busy:
            one.leave()
        for one in busy:
            await asyncio.wait_for(one.finish(), 2)
        assert await is_idle(app)


@pytest.mark.asyncio
async def test_a_query_that_was_never_begun_is_an_overload_not_a_timeout(home: Path) -> None:
    async with small_platform(home, sync_seconds=2) as (app, client):
        busy = [RawClient(app, path=SYNC, query=form(ENDLESS)).start() for _ in range(2)]
        await asyncio.sleep(0.5)
        response = await client.get(
            f"{SYNC}?{form(ENDLESS)}", headers={"Accept": "application/json"}
        )
        assert response.json()["code"] in ("overload", "timeout")
        for one in busy:
            one.leave()
            await one.finish()


@pytest.mark.asyncio
async def test_slow_readers_keep_no_thread_from_others(home: Path) -> None:
    async with small_platform(home, maxrec_default=100_000_000) as (app, client):
        slow = []
        for _ in range(4):
            reader = RawClient(app, path=SYNC, query=form(MANY_ROWS))
            reader.may_read.clear()
            slow.append(reader.start())
        await asyncio.sleep(2.0)
        response = await client.get(f"{SYNC}?{form('SELECT TOP 1 ra FROM dr1.object')}")
        assert response.status_code == 200
        for reader in slow:
            reader.leave()
            reader.may_read.set()
        for reader in slow:
            await asyncio.wait_for(reader.finish(), 5)
        assert await is_idle(app)


@pytest.mark.asyncio
async def test_a_shutdown_ends_what_runs(home: Path) -> None:
    async with small_platform(home) as (app, _):
        client = RawClient(app, path=SYNC, query=form(ENDLESS)).start()
        await asyncio.sleep(0.5)
        assert client.task is not None
        client.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await client.task
        assert await is_idle(app)
