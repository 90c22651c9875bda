"""Image searches: every parameter, their combinations, and what is wrong with a request."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from astropy.io.votable import parse
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from astrolabe.adql.check import parse as parse_adql
from astrolabe.catalogs.cancel import QueryCancel
from astrolabe.catalogs.query import QueryRequest
from astrolabe.factory import ProcessContext
from astrolabe.identity import ANONYMOUS, Principal
from astrolabe_api.common.params import Parameters
from astrolabe_api.sia.query import sia_query
from astrolabe_api.sia.requests import read_sia_request
from tests.api.conftest import small_settings

VISITS = ["v0.g", "v1.r", "v2.i", "v3.g", "v4.r", "v5.i"]


async def found(client: httpx.AsyncClient, **params: Any) -> list[str]:
    """Return the ids of the images that a search finds, sorted."""
    response = await client.get("/api/sia/query", params=params)
    assert response.status_code == 200, response.text
    rows = parse(io.BytesIO(response.content)).get_first_table().to_table()
    return sorted(str(did).rpartition("?")[2] for did in rows["obs_publisher_did"])


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        pytest.param({}, ["cube", "lost", *VISITS], id="everything"),
        pytest.param({"POS": "CIRCLE 0 0 0.05"}, ["v2.i"], id="inside"),
        pytest.param({"POS": "CIRCLE 0.2 0 0.15"}, ["v2.i"], id="over-the-edge"),
        pytest.param({"POS": "circle 359.5 0 0.45"}, ["v1.r", "v2.i"], id="across-zero"),
        pytest.param({"POS": "RANGE 358.95 0.05 -0.5 0.5"}, ["v1.r", "v2.i"], id="range-across"),
        pytest.param({"POS": "RANGE 0 360 -2 2"}, VISITS, id="range-around"),
        pytest.param({"POS": "RANGE 0 360 89 90"}, ["cube"], id="range-cap"),
        pytest.param({"POS": "RANGE -Inf +Inf 0.09 +Inf"}, ["cube", *VISITS], id="range-open"),
        pytest.param({"POS": "POLYGON 0.9 -1 3.05 -1 3.05 1 0.9 1"}, VISITS[3:], id="polygon"),
        pytest.param({"POS": ["CIRCLE 1 0 0.01", "CIRCLE 2 0 0.01"]}, VISITS[3:5], id="repeated"),
        pytest.param({"BAND": "5.6e-7"}, ["v1.r", "v4.r"], id="band"),
        pytest.param({"BAND": "-Inf 5.0e-7"}, ["v0.g", "v3.g"], id="band-open"),
        pytest.param({"BAND": "7.0e-7 +Inf"}, ["v1.r", "v2.i", "v4.r", "v5.i"], id="band-touch"),
        pytest.param({"TIME": "61000.1 61001.2"}, ["lost", "v0.g", "v1.r"], id="time"),
        pytest.param({"TIME": "-Inf Inf"}, ["lost", *VISITS], id="time-known"),
        pytest.param({"POL": "Q"}, ["v1.r"], id="pol"),
        pytest.param({"FOV": "0.55 +Inf"}, VISITS[4:], id="fov"),
        pytest.param({"SPATRES": "-Inf 0.75"}, VISITS[:2], id="spatres"),
        pytest.param({"SPECRP": "4"}, VISITS, id="specrp"),
        pytest.param({"EXPTIME": "60 90"}, VISITS[1:3], id="exptime"),
        pytest.param({"TIMERES": "0 29"}, [], id="timeres"),
        pytest.param({"ID": "ivo://astrolabe.invalid/visits?v3.g"}, ["v3.g"], id="id"),
        pytest.param({"ID": "IVO://Astrolabe.Invalid/VISITS?V3.G"}, ["v3.g"], id="id-any-case"),
        pytest.param({"ID": "ivo://astrolabe.invalid/visits?lost"}, ["lost"], id="id-no-position"),
        pytest.param({"ID": "ivo://astrolabe.invalid/secret?hidden"}, [], id="id-hidden"),
        pytest.param({"ID": "ivo://cadc.nrc.ca/CFHT?1"}, [], id="id-elsewhere"),
        pytest.param({"COLLECTION": "cubes"}, ["cube"], id="collection"),
        pytest.param({"COLLECTION": "secret"}, [], id="collection-hidden"),
        pytest.param({"FACILITY": "Rubin"}, VISITS, id="facility"),
        pytest.param({"INSTRUMENT": ["ComCam", "x"]}, ["v0.g"], id="instrument"),
        pytest.param({"DPTYPE": "cube"}, ["cube"], id="dptype"),
        pytest.param({"CALIB": ["1", "3"]}, ["cube", "lost", "v1.r", "v3.g", "v5.i"], id="calib"),
        pytest.param({"TARGET": "O'Hara's field"}, ["v3.g"], id="target-quotes"),
        pytest.param({"TARGET": "x' OR '1'='1"}, [], id="target-no-injection"),
        pytest.param(
            {"FORMAT": "application/x-votable+xml;content=datalink", "DPTYPE": "cube"},
            ["cube"],
            id="format",
        ),
        pytest.param({"FORMAT": "image/png"}, [], id="format-other"),
        pytest.param({"RELEASEDATE": "2026-01-01 2026-12-31"}, VISITS, id="release"),
        pytest.param({"RELEASEDATE": "2026-07-01T00:00:00Z +Inf"}, [], id="release-later"),
        pytest.param({"BAND": "5.6e-7", "POS": "CIRCLE 2 0 0.5"}, ["v4.r"], id="both"),
        pytest.param({"pos": "CIRCLE 2 0 0.5", "unknown": "1", "BAND": ""}, ["v4.r"], id="names"),
    ],
)
@pytest.mark.asyncio
async def test_a_search_finds_what_fits(
    client: httpx.AsyncClient, params: dict[str, Any], expected: list[str]
) -> None:
    assert await found(client, **params) == sorted(expected)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"POS": "CIRCLE 0 0"}, "CIRCLE"),
        ({"POS": "CIRCLE 0 91 1"}, "90"),
        ({"POS": "CIRCLE 0 0 -1"}, "radius"),
        ({"POS": "BOX 0 0 1 1"}, "CIRCLE, RANGE or POLYGON"),
        ({"POS": "POLYGON 0 0 1 1"}, "POLYGON"),
        ({"POS": "RANGE 0 1 2 1"}, "RANGE"),
        ({"POS": "CIRCLE nan 0 1"}, "number"),
        ({"BAND": "5e-7 4e-7"}, "BAND"),
        ({"BAND": "500nm"}, "BAND"),
        ({"BAND": "1 2 3"}, "BAND"),
        ({"EXPTIME": "-5 -1"}, "negative"),
        ({"POL": "Z"}, "POL must be one of"),
        ({"CALIB": "5"}, "CALIB"),
        ({"MAXREC": "-1"}, "MAXREC"),
        ({"MAXREC": "many"}, "MAXREC"),
        ({"RELEASEDATE": "yesterday"}, "RELEASEDATE"),
        ({"RESPONSEFORMAT": "docx"}, "docx"),
        ({"TARGET": "a\x00b"}, "TARGET"),
        ({"POS": [f"CIRCLE {n} 0 1" for n in range(101)]}, "100 values"),
        ({"UPLOAD": "positions,param:t"}, "no such multipart part"),
        ({"UPLOAD": "positions,http://example.org/t.csv"}, "only this platform's own"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
@pytest.mark.asyncio
async def test_what_is_wrong_is_named_as_a_fault(
    client: httpx.AsyncClient, params: dict[str, Any], message: str
) -> None:
    response = await client.get("/api/sia/query", params=params)
    assert response.status_code == 400
    assert response.headers["content-type"].startswith("application/x-votable+xml")
    status = parse(io.BytesIO(response.content)).resources[0].infos[0]
    assert (status.name, status.value) == ("QUERY_STATUS", "ERROR")
    assert status.content.startswith("UsageFault: ")
    assert message.lower() in status.content.lower()


@pytest.mark.asyncio
async def test_a_form_may_be_posted(client: httpx.AsyncClient) -> None:
    response = await client.post("/api/sia/query", data={"POS": "CIRCLE 2 0 0.5"})
    rows = parse(io.BytesIO(response.content)).get_first_table()
    assert len(rows.array) == 1


@pytest.mark.asyncio
async def test_too_many_are_an_overflow(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/sia/query", params={"MAXREC": 2})
    votable = parse(io.BytesIO(response.content))
    assert len(votable.get_first_table().array) == 2
    assert [i.value for i in votable.resources[0].infos if i.name == "QUERY_STATUS"][-1] == (
        "OVERFLOW"
    )


@pytest.mark.asyncio
async def test_the_service_describes_itself(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/sia/query", params={"MAXREC": 0})
    votable = parse(io.BytesIO(response.content))
    assert len(votable.get_first_table().array) == 0
    itself = next(r for r in votable.resources if r.name == "this")
    assert {p.name: p.value for p in itself.params}["standardID"] == (
        "ivo://ivoa.net/std/SIA#query-2.0"
    )
    names = [param.name for param in itself.groups[0].entries]
    assert ",".join(names) == (
        "POS,BAND,TIME,POL,FOV,SPATRES,SPECRP,EXPTIME,TIMERES,ID,COLLECTION,FACILITY,INSTRUMENT,"
        "DPTYPE,CALIB,TARGET,FORMAT,RELEASEDATE,UPLOAD,MAXREC,RESPONSEFORMAT"
    )


@pytest.mark.asyncio
async def test_rows_offer_their_links(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/sia/query", params={"MAXREC": 1})
    votable = parse(io.BytesIO(response.content))
    services = [r for r in votable.resources if r.type == "meta"]
    ids = {p.name: p.value for p in services[0].params}
    assert ids["standardID"].lower() == "ivo://ivoa.net/std/datalink#links-1.1"
    assert ids["accessURL"] == "https://astrolabe.example/api/datalink/links"


def test_the_owner_sees_what_others_do_not(sia_home: Path) -> None:
    ada = Principal(username="ada", groups=frozenset(), scopes=frozenset({"read:image"}))
    with ProcessContext.open(small_settings(sia_home)) as context:
        for principal, expected in ((ada, ["hidden"]), (ANONYMOUS, [])):
            query = sia_query(
                read_sia_request(Parameters(url=[("ID", "ivo://astrolabe.invalid/secret?HIDDEN")])),
                authority="astrolabe.invalid",
                find=partial(context.images.access.find, principal),
            )
            request = QueryRequest(query=query)
            running = context.queries.start(request, principal=principal, cancel=QueryCancel())
            rows = [row for batch in running for row in batch.to_pylist()]
            assert [row["obs_publisher_did"].rpartition("?")[2] for row in rows] == expected


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1))
def test_no_text_can_become_more_than_a_literal(text: str) -> None:
    asked = read_sia_request(Parameters(url=[("TARGET", text)]))
    query = sia_query(asked, authority="x", find=lambda _keys: {})
    tree = parse_adql(query)
    literals = [node.this for node in tree.find_all(exp.Literal)]
    assert literals == list(asked.texts.get("TARGET", ()))
