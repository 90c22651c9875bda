"""Errors of cone searches: one form, which old and new clients read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx
import pytest
from astropy.io.votable import parse
from astropy.io.votable.tree import VOTableFile

from astrolabe.config import Settings
from astrolabe.core.errors import QueryTimeoutError
from astrolabe.factory import ProcessContext
from astrolabe_api.common.state import ApiState
from astrolabe_api.main import create_app
from tests.api.conftest import serving, small_settings

pytestmark = [pytest.mark.timeout(90), pytest.mark.asyncio]

OBJECT = "/api/scs/dr1.object"
CONE = {"RA": "0", "DEC": "5", "SR": "0.25"}


def check_error(response: httpx.Response) -> tuple[str, str]:
    """Check the form of an error; return its message and its code."""
    assert response.headers["content-type"] == "application/x-votable+xml"
    document: VOTableFile = parse(io.BytesIO(response.content), verify="exception")
    outside = {info.name: info.value for info in document.infos}
    (resource,) = document.resources
    assert len(resource.tables) == 0
    (status,) = resource.infos
    assert (status.name, status.value) == ("QUERY_STATUS", "ERROR")
    assert status.content == outside["Error"]
    return outside["Error"], outside["error_code"]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"RA": None}, "RA is missing"),
        ({"DEC": None}, "DEC is missing"),
        ({"SR": None}, "SR is missing"),
        ({"SR": ""}, "SR is missing"),
        ({"RA": "361"}, "RA must be between 0 and 360"),
        ({"RA": "-1"}, "RA must be between"),
        ({"DEC": "91.0"}, "DEC must be between -90 and 90"),
        ({"SR": "-0.1"}, "SR must be between"),
        ({"SR": "180.1"}, "SR must be between"),
        ({"SR": "1e999"}, "SR must be between"),
        ({"RA": "as3f"}, "'as3f'"),
        ({"RA": "nan"}, "'nan'"),
        ({"DEC": "inf"}, "'inf'"),
        ({"RA": "1_0"}, "'1_0'"),
        ({"RA": "0)) = 1 OR 1 = 1 --"}, "decimal degrees"),
        ({"RA": "10:00:00"}, "sexagesimal"),
        ({"VERB": "4"}, "VERB must be"),
        ({"VERB": "x"}, "VERB must be"),
        ({"MAXREC": "-1"}, "MAXREC"),
        ({"RESPONSEFORMAT": "docx"}, "docx"),
    ],
)
async def test_wrong_parameters(
    client: httpx.AsyncClient, method: str, change: dict[str, str | None], words: str
) -> None:
    asked = {name: value for name, value in {**CONE, **change}.items() if value is not None}
    where: dict[str, Any] = {"params": asked} if method == "GET" else {"data": asked}
    response = await client.request(method, OBJECT, **where)
    assert response.status_code == 200
    message, code = check_error(response)
    assert words in message
    assert code == "bad-parameter"


async def test_a_parameter_given_twice(client: httpx.AsyncClient) -> None:
    response = await client.get(f"{OBJECT}?RA=1&ra=2&DEC=0&SR=1")
    assert "RA was given more than once" in check_error(response)[0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dr1.nothing", "no table 'dr1.nothing'"),
        ("object", "no table 'object'"),
        ("tap_schema.tables", "no table"),
        ("dr1.log", "no positions"),
    ],
)
@pytest.mark.parametrize("child", ["", "/capabilities", "/availability"])
async def test_tables_that_cannot_be_searched(
    client: httpx.AsyncClient, name: str, words: str, child: str
) -> None:
    response = await client.get(f"/api/scs/{name}{child}", params=CONE)
    assert response.status_code == 404
    message, code = check_error(response)
    assert words in message
    assert code == "not-found"


async def test_json_is_for_who_asks(client: httpx.AsyncClient) -> None:
    for headers, extra in (({"Accept": "application/json"}, {}), ({}, {"RESPONSEFORMAT": "json"})):
        response = await client.get(OBJECT, params={**CONE, "DEC": "91", **extra}, headers=headers)
        assert response.status_code == 400
        assert response.json()["code"] == "bad-parameter"


async def test_other_methods_are_refused(client: httpx.AsyncClient) -> None:
    response = await client.delete(OBJECT)
    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
    check_error(response)


async def test_a_search_over_its_time_ends_with_the_error_that_clients_know(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(settings: Settings) -> ProcessContext:
        context = ProcessContext.open(settings)
        engine = context.engine
        execute = engine.execute

        class Stream:
            def __init__(self, inner: Any) -> None:
                self.schema = inner.schema
                self.inner = inner

            def __iter__(self) -> Any:
                yield next(iter(self.inner))
                raise QueryTimeoutError("The time is over.")

            def close(self) -> None:
                self.inner.close()

        monkeypatch.setattr(engine, "execute", lambda plan, cancel: Stream(execute(plan, cancel)))
        return context

    app = create_app(small_settings(home), open_context=broken)
    async with serving(app) as client:
        response = await client.get(OBJECT, params=CONE)
    assert response.status_code == 200
    resource, *_ = parse(io.BytesIO(response.content), verify="ignore").resources
    assert len(resource.tables[0].array) > 50
    told = [(info.name, info.value) for info in resource.infos][-2:]
    assert told == [("Error", "The time is over."), ("QUERY_STATUS", "ERROR")]


async def test_a_full_queue_says_so(home: Path) -> None:
    app = create_app(small_settings(home))
    async with serving(app) as client:
        state: ApiState = app.state.api
        state.metadata_pool.close()
        response = await client.get(OBJECT, params=CONE)
    assert response.status_code == 503
    assert response.headers["retry-after"]
    assert check_error(response)[1] == "overload"
