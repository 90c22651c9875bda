"""Cone searches through the front door."""

from __future__ import annotations

import csv
import gzip
import io
from typing import Any

import httpx
import numpy as np
import pytest
from astropy.io.votable import parse
from astropy.io.votable.tree import TableElement, VOTableFile
from fastapi import FastAPI

from tests.api.support import RawClient

from .conftest import CENTRE, ROWS

# The first test of a session makes the catalog.
pytestmark = [pytest.mark.timeout(90), pytest.mark.asyncio]

OBJECT = "/api/scs/dr1.object"
CONE = {"RA": "0", "DEC": "5", "SR": "0.25"}
MAIN_UCDS = ["ID_MAIN", "POS_EQ_RA_MAIN", "POS_EQ_DEC_MAIN"]


def votable(response: httpx.Response) -> VOTableFile:
    return parse(io.BytesIO(response.content), verify="ignore")


def only_table(response: httpx.Response) -> TableElement:
    assert response.status_code == 200, response.text
    resource, *services = votable(response).resources
    # Beside the rows there are only descriptions of services.
    assert all(service.type == "meta" and not service.tables for service in services)
    assert resource.type == "results"
    (table,) = resource.tables
    return table


def names(table: TableElement) -> list[str]:
    return [field.name for field in table.fields]


def infos(element: Any) -> dict[str, str]:
    return {info.name: info.value for info in element.infos}


def inside(rows: dict[str, Any], radius_deg: float) -> np.ndarray:
    ra, dec = np.radians(rows["ra"]), np.radians(rows["dec"])
    ra0, dec0 = np.radians(CENTRE)
    hav = np.sin((dec - dec0) / 2) ** 2 + np.cos(dec) * np.cos(dec0) * np.sin((ra - ra0) / 2) ** 2
    return np.flatnonzero(2 * np.arcsin(np.sqrt(hav)) <= np.radians(radius_deg))


@pytest.mark.parametrize("way", ["get", "post", "multipart"])
async def test_exactly_the_rows_inside_by_every_way_in(
    client: httpx.AsyncClient, rows: dict[str, Any], way: str
) -> None:
    asked = {"ra": "0.0", "Dec": "+5.0e0", "SR": " .25 "}
    if way == "get":
        response = await client.get(OBJECT, params=asked)
    elif way == "post":
        response = await client.post(OBJECT, data=asked)
    else:
        response = await client.post(OBJECT, files={n: (None, v) for n, v in asked.items()})
    assert response.headers["content-type"] == "text/xml"
    assert response.headers["access-control-allow-origin"] == "*"
    table = only_table(response)
    wanted = inside(rows, 0.25)
    assert 50 < len(wanted) < ROWS / 2
    assert {int(i) for i in table.array["objectId"]} == {int(rows["objectId"][w]) for w in wanted}
    assert b"<TABLEDATA>" in response.content


async def test_one_field_each_is_main_and_the_rest_is_as_in_tap(client: httpx.AsyncClient) -> None:
    table = only_table(await client.get(OBJECT, params={**CONE, "VERB": "3"}))
    ucds = [field.ucd for field in table.fields]
    assert [ucds.count(ucd) for ucd in MAIN_UCDS] == [1, 1, 1]
    fields = {field.name: field for field in table.fields}
    identifier, ra, dec = (table.fields[ucds.index(ucd)] for ucd in MAIN_UCDS)
    assert (identifier.name, identifier.datatype, identifier.arraysize) == ("objectId", "char", "*")
    assert (ra.name, ra.datatype, str(ra.unit)) == ("ra", "double", "deg")
    assert (dec.name, dec.datatype, str(dec.unit)) == ("dec", "double", "deg")
    assert ra.ref == dec.ref == "coordinates"
    assert (fields["mag"].ucd, str(fields["mag"].unit)) == ("phot.mag", "mag")
    assert fields["raOld"].ucd is None
    assert table.name == "dr1.object"
    assert table.description == "A table of tests & trials"


async def test_the_epoch_of_positions_is_told(client: httpx.AsyncClient) -> None:
    resource, *_ = votable(await client.get(OBJECT, params=CONE)).resources
    (system,) = resource.coordinate_systems
    assert (system.system, system.epoch) == ("ICRS", "J2016.0")
    told = infos(resource)
    assert told["standardID"] == "ivo://ivoa.net/std/ConeSearch"
    assert "CIRCLE(0.0, 5.0, 0.25)" in told["query"]


@pytest.mark.parametrize(
    ("verbosity", "wanted"),
    [
        ("1", ["objectId", "ra", "dec"]),
        ("2", ["objectId", "ra", "dec", "mag"]),
        (None, ["objectId", "ra", "dec", "mag"]),
        ("3", ["objectId", "ra", "dec", "mag", "size", "raOld", "name"]),
    ],
)
async def test_verbosity(
    client: httpx.AsyncClient, verbosity: str | None, wanted: list[str]
) -> None:
    asked = CONE if verbosity is None else {**CONE, "VERB": verbosity}
    assert names(only_table(await client.get(OBJECT, params=asked))) == wanted


async def test_a_table_whose_main_columns_nobody_chose_is_shown_whole(
    client: httpx.AsyncClient,
) -> None:
    table = only_table(await client.get("/api/scs/dr1.plain", params=CONE))
    assert names(table) == ["id", "ra", "dec", "size"]


async def test_rows_without_identifier_are_named_by_their_position(
    client: httpx.AsyncClient, rows: dict[str, Any]
) -> None:
    table = only_table(await client.get("/api/scs/dr1.plain", params={**CONE, "VERB": "1"}))
    assert [field.ucd for field in table.fields] == MAIN_UCDS
    assert set(table.array["id"]) == {
        f"{rows['ra'][i]!r}+{rows['dec'][i]!r}".replace("np.float64(", "").replace(")", "")
        for i in inside(rows, 0.25)
    }


async def test_an_identifier_that_is_text_stays_as_it_is(client: httpx.AsyncClient) -> None:
    table = only_table(await client.get("/api/scs/dr1.named", params=CONE))
    assert [field.ucd for field in table.fields] == MAIN_UCDS
    assert all(name.startswith("S ") for name in table.array["name"])


@pytest.mark.parametrize("extra", [{"SR": "0"}, {"MAXREC": "0"}])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_metadata_only(client: httpx.AsyncClient, extra: dict[str, str], method: str) -> None:
    asked = {**CONE, "VERB": "3", **extra}
    where: dict[str, Any] = {"params": asked} if method == "GET" else {"data": asked}
    table = only_table(await client.request(method, OBJECT, **where))
    assert len(table.array) == 0
    assert len(table.fields) == 7


async def test_no_rows_is_no_error(client: httpx.AsyncClient) -> None:
    response = await client.get(OBJECT, params={"RA": "180", "DEC": "-45", "SR": "0.1"})
    assert len(only_table(response).array) == 0
    assert "Error" not in infos(votable(response))
    assert "ERROR" not in response.text


async def test_the_whole_sky(client: httpx.AsyncClient) -> None:
    response = await client.get(OBJECT, params={"RA": "360", "DEC": "-90", "SR": "180"})
    assert len(only_table(response).array) == ROWS


async def test_overflow_only_when_there_was_a_row_more(
    client: httpx.AsyncClient, rows: dict[str, Any]
) -> None:
    count = len(inside(rows, 0.25))
    for maxrec, overflow in ((count, False), (count - 1, True)):
        response = await client.get(OBJECT, params={**CONE, "MAXREC": str(maxrec)})
        assert len(only_table(response).array) == maxrec
        resource, *_ = votable(response).resources
        assert (infos(resource)["QUERY_STATUS"] == "OVERFLOW") is overflow


async def test_parameters_nobody_knows_are_ignored(client: httpx.AsyncClient) -> None:
    asked = {**CONE, "cat": "A1", "REQUEST": "doQuery", "QUERY": "DROP", "TIME": "x"}
    assert len(only_table(await client.get(OBJECT, params=asked)).array) > 50


@pytest.mark.parametrize(
    ("asked", "mime", "mark"),
    [
        ("votable", "application/x-votable+xml", b"<TABLEDATA>"),
        ("application/x-votable+xml", "application/x-votable+xml", b"<TABLEDATA>"),
        ("text/xml", "text/xml", b"<TABLEDATA>"),
        (
            "application/x-votable+xml;serialization=binary2",
            "application/x-votable+xml;serialization=binary2",
            b"<BINARY2>",
        ),
        ("votable/b2", "application/x-votable+xml", b"<BINARY2>"),
        ("csv", "text/csv;header=present", b"objectId"),
    ],
)
async def test_the_form_that_was_asked_for(
    client: httpx.AsyncClient, asked: str, mime: str, mark: bytes
) -> None:
    response = await client.get(OBJECT, params={**CONE, "RESPONSEFORMAT": asked})
    assert response.headers["content-type"] == mime
    assert mark in response.content


async def test_the_rows_are_those_of_tap(client: httpx.AsyncClient) -> None:
    cone = await client.get(OBJECT, params={**CONE, "VERB": "3", "RESPONSEFORMAT": "csv"})
    query = "SELECT * FROM dr1.object WHERE CONTAINS(POINT(ra, dec), CIRCLE(0, 5, 0.25)) = 1"
    tap = await client.get(
        "/api/tap/sync", params={"LANG": "ADQL", "QUERY": query, "FORMAT": "csv"}
    )
    found, wanted = (sorted(csv.reader(io.StringIO(response.text))) for response in (cone, tap))
    assert found == wanted
    assert len(found) > 50


async def test_gzip_when_asked(app: FastAPI, client: httpx.AsyncClient) -> None:
    query = "RA=0&DEC=5&SR=1"
    raw = RawClient(app, path=OBJECT, query=query, headers=[("Accept-Encoding", "gzip")]).start()
    body = await raw.finish()
    assert dict(raw.received[0]["headers"])[b"content-encoding"] == b"gzip"
    plain = await client.get(f"{OBJECT}?{query}", headers={"Accept-Encoding": "identity"})
    packed, unpacked = (
        parse(io.BytesIO(data)).get_first_table().array
        for data in (gzip.decompress(body), plain.content)
    )
    assert len(packed) == len(unpacked) > 1000


async def test_head_checks_the_search_and_runs_nothing(client: httpx.AsyncClient) -> None:
    response = await client.head(OBJECT, params=CONE)
    assert (response.status_code, response.content) == (200, b"")
    assert (await client.head("/api/scs/dr1.nothing", params=CONE)).status_code == 404


@pytest.mark.parametrize("name", ["DR1.Object", "dr1.OBJECT"])
async def test_names_count_in_any_case(client: httpx.AsyncClient, name: str) -> None:
    assert len(only_table(await client.get(f"/api/scs/{name}", params=CONE)).array) > 50
