"""Quotas as clients meet them: 429 with Retry-After, waiting, shares, positions in the queue."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from lxml import etree

from astrolabe.factory import ProcessContext
from astrolabe.identity import Principal
from astrolabe.identity.limits import QUERIES
from astrolabe_api.main import create_app

from .conftest import serving
from .rights_support import guarded_settings, make_tables, token_of

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

SYNC = "/api/tap/sync"
SLOW = (
    "SELECT COUNT(*) AS n FROM free.stars AS a, free.stars AS b, free.stars AS c "
    "WHERE a.ra * b.ra > c.ra + a.dec"
)
QUICK = "SELECT TOP 1 id FROM free.stars"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("guarded")
    with ProcessContext.open(guarded_settings(home)) as context:
        make_tables(context)
    return home


def make_app(home: Path, **quotas: Any) -> FastAPI:
    return create_app(guarded_settings(home, quotas=quotas))


def user(home: Path, name: str = "ada") -> dict[str, str]:
    with ProcessContext.open(guarded_settings(home)) as context:
        return token_of(context, name)


def form(query: str, **more: str) -> dict[str, str]:
    return {"LANG": "ADQL", "QUERY": query, "RESPONSEFORMAT": "csv", **more}


async def test_requests_over_the_quota_get_429_and_when_to_come_back(guarded: Path) -> None:
    headers = user(guarded)
    async with serving(make_app(guarded, requests_per_minute=5)) as client:
        codes: Counter[int] = Counter()
        for _ in range(8):
            answer = await client.get(SYNC, params=form(QUICK), headers=headers)
            codes[answer.status_code] += 1
        assert codes == {200: 5, 429: 3}
        assert 1 <= int(answer.headers["Retry-After"]) <= 61
        assert "quota-exceeded" in answer.text
        # Another service, other users and what everybody may always ask are not touched.
        cone = {"RA": "10", "DEC": "0", "SR": "0.1"}
        found = await client.get("/api/scs/free.stars", params=cone, headers=headers)
        assert found.status_code == 200
        assert (await client.get(SYNC, params=form(QUICK))).status_code == 200
        assert (await client.get("/api/tap/capabilities", headers=headers)).status_code == 200


async def test_of_a_hundred_requests_at_once_as_many_are_admitted_as_may_be(
    guarded: Path,
) -> None:
    headers = user(guarded, "bob")
    async with serving(make_app(guarded, requests_per_minute=40)) as client:
        calls = (client.get(SYNC, params=form(QUICK), headers=headers) for _ in range(100))
        codes = Counter(answer.status_code for answer in await asyncio.gather(*calls))
    assert codes == {200: 40, 429: 60}


async def test_a_query_over_the_limit_waits_and_then_gets_429(guarded: Path) -> None:
    headers = user(guarded)
    app = make_app(guarded, concurrent_queries=1, wait_seconds=0.5)
    async with serving(app) as client, slow_query(app, client, headers):
        second = await client.post(SYNC, data=form(QUICK), headers=headers)
        assert second.status_code == 429
        assert "Retry-After" in second.headers
        # Not a query of tables: it neither waits nor counts.
        tables = "SELECT COUNT(*) AS n FROM tap_schema.tables"
        assert (await client.post(SYNC, data=form(tables), headers=headers)).status_code == 200
        # Somebody else's is not kept waiting.
        assert (await client.post(SYNC, data=form(QUICK))).status_code == 200


async def test_a_query_that_waited_runs_when_the_other_ends(guarded: Path) -> None:
    headers = user(guarded)
    app = make_app(guarded, concurrent_queries=1, wait_seconds=20)
    async with serving(app) as client, slow_query(app, client, headers) as first:
        others = [
            asyncio.create_task(client.post(SYNC, data=form(QUICK), headers=headers))
            for _ in range(5)
        ]
        await asyncio.sleep(0.3)
        assert not any(task.done() for task in others)
        first.cancel()
        answers = await asyncio.gather(*others)
    assert [answer.status_code for answer in answers] == [200] * 5


async def test_waiting_keeps_no_thread_from_others(guarded: Path) -> None:
    headers = user(guarded)
    app = make_app(guarded, concurrent_queries=1, wait_seconds=20)
    async with serving(app) as client, slow_query(app, client, headers) as first:
        waiting = [
            asyncio.create_task(client.post(SYNC, data=form(QUICK), headers=headers))
            for _ in range(12)
        ]
        await asyncio.sleep(0.2)
        answer = await client.post(SYNC, data=form(QUICK))
        assert answer.status_code == 200
        assert not any(task.done() for task in waiting)
        for task in (first, *waiting):
            task.cancel()


async def test_bytes_over_the_days_quota_are_refused_before_they_are_read(guarded: Path) -> None:
    headers = user(guarded)
    async with serving(make_app(guarded, bytes_per_day=10)) as client:
        answer = await client.post(SYNC, data=form("SELECT * FROM free.stars"), headers=headers)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) <= 86_400
    assert "of the 10 that you may read today" in answer.text


async def test_a_result_has_no_more_rows_than_the_quota_and_says_so(guarded: Path) -> None:
    headers = user(guarded)
    async with serving(make_app(guarded, rows=7)) as client:
        given = {"LANG": "ADQL", "QUERY": "SELECT id FROM free.stars", "MAXREC": "100"}
        answer = await client.post(
            SYNC, data={**given, "RESPONSEFORMAT": "votable/td"}, headers=headers
        )
    assert answer.text.count("<TR>") == 7
    assert "OVERFLOW" in answer.text


async def test_jobs_over_the_limit_wait_as_queued_and_show_their_place(guarded: Path) -> None:
    headers = user(guarded)
    settings = guarded_settings(guarded, quotas={"concurrent_queries": 1})
    async with serving(create_app(settings)) as client:

        async def submit(headers: dict[str, str], query: str) -> str:
            made = await client.post(
                "/api/tap/async", data=form(query, PHASE="RUN"), headers=headers
            )
            return str(made.headers["Location"])

        slow, second, third = [await submit(headers, query) for query in (SLOW, QUICK, QUICK)]
        waiting = await client.get(third, headers=headers)
        assert 'name="queue_position">3<' in waiting.text
        # STILTS looks at the names of elements only: none of UWS's may come twice.
        names = Counter(etree.QName(part).localname for part in etree.fromstring(waiting.content))
        inner = [etree.QName(part).localname for part in etree.fromstring(waiting.content).iter()]
        assert inner.count("job") == 1
        assert all(inner.count(name) == 1 for name in names)
        with ProcessContext.open(settings) as context, context.worker():
            await has_phase(client, slow, headers, "EXECUTING")
            # The worker has room for two, and runs other people's meanwhile.
            other = await submit({}, QUICK)
            await has_phase(client, other, {}, "COMPLETED")
            document = (await client.get(third, headers=headers)).text
            assert "<uws:phase>QUEUED</uws:phase>" in document
            assert 'name="queue_position">2<' in document
            await client.post(f"{slow}/phase", data={"PHASE": "ABORT"}, headers=headers)
            for job in (second, third):
                await has_phase(client, job, headers, "COMPLETED")
        assert "queue_position" not in (await client.get(third, headers=headers)).text


async def has_phase(
    client: httpx.AsyncClient, job: str, headers: dict[str, str], wanted: str
) -> None:
    async with asyncio.timeout(30):
        while (await client.get(f"{job}/phase", headers=headers)).text != wanted:  # noqa: ASYNC110 - a worker's
            await asyncio.sleep(0.05)


@asynccontextmanager
async def slow_query(
    app: FastAPI, client: httpx.AsyncClient, headers: dict[str, str]
) -> AsyncIterator[asyncio.Task[httpx.Response]]:
    """Run a query of ada's that does not end by itself."""
    task = asyncio.create_task(client.post(SYNC, data=form(SLOW), headers=headers))
    quotas = app.state.api.context.quotas

    def used() -> float | None:
        uses = quotas.usage(Principal(username="ada"))
        found: float | None = {use.quota: use.used for use in uses}[QUERIES]
        return found

    try:
        async with asyncio.timeout(20):
            while not used():  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.02)
        yield task
    finally:
        # Whatever else happens: a process does not end while a query runs.
        task.cancel()
