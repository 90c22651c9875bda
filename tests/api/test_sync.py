"""Sync queries through the front door."""

from __future__ import annotations

import csv
import gzip
import io
from typing import Any

import httpx
import pytest
from astropy.io.votable import parse
from astropy.io.votable.tree import VOTableFile
from fastapi import FastAPI

from .support import RawClient

# The first test of a session makes the catalog.
pytestmark = pytest.mark.timeout(90)

SYNC = "/api/tap/sync"
CONE = "SELECT objectId, ra, dec FROM dr1.object WHERE DISTANCE(ra, dec, 11, 0) < 0.2"


def votable(response: httpx.Response) -> VOTableFile:
    return parse(io.BytesIO(response.content), verify="ignore")


def status_infos(document: VOTableFile) -> list[tuple[str, str]]:
    resource = document.resources[0]
    return [(i.value, i.content or "") for i in resource.infos if i.name == "QUERY_STATUS"]


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["get", "post", "multipart"])
async def test_a_query_by_every_way_in(client: httpx.AsyncClient, way: str) -> None:
    asked = {"LANG": "ADQL", "QUERY": "SELECT TOP 5 objectId, ra, name FROM dr1.object"}
    if way == "get":
        response = await client.get(SYNC, params=asked)
    elif way == "post":
        response = await client.post(SYNC, data=asked)
    else:
        response = await client.post(SYNC, files={n: (None, v) for n, v in asked.items()})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-votable+xml"
    document = votable(response)
    table = document.get_first_table()
    assert [f.name for f in table.fields] == ["objectId", "ra", "name"]
    assert table.fields[0].datatype == "long"
    assert str(table.fields[1].unit) == "deg"
    assert len(table.array) == 5
    assert status_infos(document) == [("OK", "")]


@pytest.mark.asyncio
async def test_parameters_nobody_knows_and_old_ones_are_ignored(client: httpx.AsyncClient) -> None:
    response = await client.post(
        f"{SYNC}?DUMMY=ignore-me",
        data={
            "request": "doQuery",
            "Lang": "ADQL-2.1",
            "VERSION": "1.0",
            "PHASE": "RUN",
            "tapclient": "aqtappy",
            "FORMAT": "csv",
            "format": "csv",
            "query": "SELECT TOP 2 objectId FROM dr1.object",
        },
    )
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/csv;header=present"
    assert len(response.text.split()) == 3


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("asked", "content_type"),
    [
        ("text/xml", "text/xml"),
        (
            "application/x-votable+xml; serialization=TABLEDATA",
            "application/x-votable+xml;serialization=tabledata",
        ),
        ("tsv", "text/tab-separated-values"),
        ("votable", "application/x-votable+xml"),
    ],
)
async def test_the_type_that_was_asked_for_is_sent(
    client: httpx.AsyncClient, asked: str, content_type: str
) -> None:
    response = await client.get(
        SYNC,
        params={"LANG": "ADQL", "QUERY": CONE, "RESPONSEFORMAT": asked, "FORMAT": "csv"},
    )
    assert response.headers["content-type"] == content_type


@pytest.mark.asyncio
async def test_overflow_only_when_there_was_a_row_more(client: httpx.AsyncClient) -> None:
    async def ask(maxrec: int) -> tuple[int, list[tuple[str, str]]]:
        response = await client.get(
            SYNC,
            params={
                "LANG": "ADQL",
                "QUERY": "SELECT TOP 10 objectId FROM dr1.object",
                "MAXREC": str(maxrec),
            },
        )
        assert response.status_code == 200
        document = votable(response)
        return len(document.get_first_table().array), status_infos(document)

    assert await ask(10) == (10, [("OK", "")])
    assert await ask(9) == (9, [("OK", ""), ("OVERFLOW", "")])
    rows, infos = await ask(0)
    assert rows == 0
    assert infos[-1][0] == "OVERFLOW"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("asked", "status", "code", "words"),
    [
        ({"LANG": "ADQL"}, 400, "bad-parameter", "QUERY is missing"),
        ({"QUERY": "SELECT 1"}, 400, "bad-parameter", "LANG is missing"),
        ({"LANG": "OOBLECK", "QUERY": CONE}, 400, "bad-parameter", "OOBLECK"),
        ({"LANG": "ADQL", "QUERY": CONE, "MAXREC": "-1"}, 400, "bad-parameter", "MAXREC"),
        ({"LANG": "ADQL", "QUERY": CONE, "MAXREC": "ten"}, 400, "bad-parameter", "whole number"),
        ({"LANG": "ADQL", "QUERY": CONE, "FORMAT": "docx"}, 400, "bad-parameter", "docx"),
        ({"LANG": "ADQL", "QUERY": "DUFF QUERY"}, 400, "adql-syntax", "DUFF"),
        (
            {"LANG": "ADQL", "QUERY": "SELECT 1 FROM dr1.objects"},
            400,
            "unknown-table",
            "dr1.object",
        ),
        ({"LANG": "ADQL", "QUERY": "SELECT rra FROM dr1.object"}, 400, "unknown-column", "ra"),
        (
            {"LANG": "ADQL", "QUERY": "SELECT ra FROM dr1.object LIMIT 5"},
            400,
            "adql-unsupported",
            "TOP",
        ),
        (
            {"LANG": "ADQL", "QUERY": CONE, "UPLOAD": "t1,http://127.0.0.1:22/x"},
            400,
            "upload-invalid",
            "only this platform's own result addresses",
        ),
        ({"LANG": "ADQL", "QUERY": CONE, "UPLOAD": "t1,param:x"}, 400, "upload-invalid", "part"),
        ({"LANG": "ADQL", "QUERY": CONE, "UPLOAD": "a.b,param:x"}, 400, "upload-invalid", "a.b"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_every_error_in_both_forms(
    client: httpx.AsyncClient,
    method: str,
    asked: dict[str, str],
    status: int,
    code: str,
    words: str,
) -> None:
    where = {"params": asked} if method == "GET" else {"data": asked}
    response = await client.request(method, SYNC, **where)  # type: ignore[arg-type]  # one of two
    assert response.status_code == status
    assert response.headers["content-type"] == "application/x-votable+xml"
    (info,) = status_infos(votable(response))
    assert info[0] == "ERROR"
    assert words in info[1]
    headers = {"Accept": "application/json"}
    problem = await client.request(method, SYNC, **where, headers=headers)  # type: ignore[arg-type]  # one of two
    assert problem.headers["content-type"] == "application/problem+json"
    assert problem.json()["code"] == code
    assert problem.json()["status"] == status


@pytest.mark.asyncio
async def test_a_wrong_name_is_placed_and_corrected(client: httpx.AsyncClient) -> None:
    response = await client.get(
        SYNC,
        params={"LANG": "ADQL", "QUERY": "SELECT objectId,\n  raa FROM dr1.object"},
        headers={"Accept": "application/problem+json"},
    )
    problem = response.json()
    assert problem["position"] == {"line": 2, "column": 3}
    assert "ra" in problem["suggestions"]


@pytest.mark.asyncio
async def test_gzip_when_asked(app: FastAPI, client: httpx.AsyncClient) -> None:
    asked = "LANG=ADQL&FORMAT=csv&QUERY=SELECT+objectId+FROM+dr1.object"
    raw = RawClient(
        app, path=SYNC, query=asked, headers=[("Accept-Encoding", "gzip, deflate")]
    ).start()
    body = await raw.finish()
    headers = dict(raw.received[0]["headers"])
    assert headers[b"content-encoding"] == b"gzip"
    plain = await client.get(f"{SYNC}?{asked}", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(body).decode() == plain.text
    always = await client.get(
        f"{SYNC}?{asked}&RESPONSEFORMAT=votable_gzip", headers={"Accept-Encoding": "identity"}
    )
    assert always.headers["content-encoding"] == "gzip"


@pytest.mark.asyncio
async def test_head_checks_the_query_and_runs_nothing(client: httpx.AsyncClient) -> None:
    good = await client.head(SYNC, params={"LANG": "ADQL", "QUERY": CONE})
    assert (good.status_code, good.content) == (200, b"")
    assert good.headers["content-type"] == "application/x-votable+xml"
    bad = await client.head(SYNC, params={"LANG": "ADQL", "QUERY": "DUFF"})
    assert bad.status_code == 400


@pytest.mark.asyncio
async def test_an_inline_upload_comes_back(client: httpx.AsyncClient, app: FastAPI) -> None:
    table = (
        '<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>'
        '<FIELD name="wanted" datatype="long"/>'
        '<FIELD name="my note" datatype="char" arraysize="*"/>'
        "<DATA><TABLEDATA><TR><TD>1152921504606846979</TD><TD>three</TD></TR>"
        "<TR><TD>5</TD><TD/></TR></TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
    )
    response = await client.post(
        SYNC,
        data={
            "LANG": "ADQL",
            "QUERY": 'SELECT o.objectId, u."my note" FROM dr1.object AS o '
            "JOIN TAP_UPLOAD.mine AS u ON o.objectId = u.wanted",
            "UPLOAD": "mine,param:part.vot",
            "FORMAT": "csv",
        },
        files={"part.vot": ("my file.vot", table, "application/x-votable+xml")},
    )
    assert response.status_code == 200, response.text
    rows = list(csv.reader(io.StringIO(response.text)))
    assert rows == [["objectId", "my note"], ["1152921504606846979", "three"]]
    state: Any = app.state.api
    assert not list(state.settings.paths.uploads.iterdir()), "uploads are removed in the end"


@pytest.mark.asyncio
async def test_a_broken_upload_is_refused_and_forgotten(
    client: httpx.AsyncClient, app: FastAPI
) -> None:
    response = await client.post(
        SYNC,
        data={"LANG": "ADQL", "QUERY": "SELECT * FROM TAP_UPLOAD.t", "UPLOAD": "t,param:t"},
        files={"t": b"<VOTABLE><RESOURCE><TABLE><FIELD name='a' datatype='nothing'/>"},
    )
    assert response.status_code == 400
    assert "upload-invalid" in response.text
    state: Any = app.state.api
    assert not list(state.settings.paths.uploads.iterdir())


@pytest.mark.asyncio
async def test_wrong_methods_name_the_right_ones(client: httpx.AsyncClient) -> None:
    response = await client.delete(SYNC)
    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
    assert status_infos(votable(response))[0][0] == "ERROR"


@pytest.mark.asyncio
async def test_metadata_queries_see_everything(client: httpx.AsyncClient) -> None:
    response = await client.get(
        SYNC,
        params={
            "LANG": "ADQL",
            "QUERY": "SELECT table_name FROM tap_schema.tables WHERE schema_name = 'dr1'",
            "FORMAT": "csv",
        },
    )
    rows = list(csv.reader(io.StringIO(response.text)))
    assert sorted(rows[1:]) == [["dr1.object"], ["dr1.source"]]
