"""Image searches by a table of positions."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from astropy import units
from astropy.io.votable import parse
from astropy.table import Table

from astrolabe.catalogs.cancel import QueryCancel
from astrolabe.catalogs.query import QueryRequest
from astrolabe.factory import ProcessContext
from astrolabe.identity import ANONYMOUS, Principal
from astrolabe.images.soda.positions import Positions
from astrolabe_api.common.params import Parameters
from astrolabe_api.sia.query import searched_positions, sia_query
from astrolabe_api.sia.requests import read_sia_request
from tests.api.conftest import small_settings

POSITIONS = b"ra,dec,id\n0.05,0.05,a\n2.0,0.0,b\n2.01,0.0,c\n50,50,nothing\n"


async def answer(
    client: httpx.AsyncClient, content: bytes, name: str = "t.csv", **params: Any
) -> httpx.Response:
    return await client.post(
        "/api/sia/query",
        data={"UPLOAD": "positions,param:places", **params},
        files={"places": (name, content)},
    )


async def found(client: httpx.AsyncClient, content: bytes, **params: Any) -> list[str]:
    """Return the ids of the images that a search finds, sorted."""
    response = await answer(client, content, **params)
    assert response.status_code == 200, response.text
    rows = parse(io.BytesIO(response.content)).get_first_table().to_table()
    return sorted(str(did).rpartition("?")[2] for did in rows["obs_publisher_did"])


def votable(**columns: Any) -> bytes:
    table = Table(columns)
    made = io.BytesIO()
    table.write(made, format="votable")
    return made.getvalue()


@pytest.mark.asyncio
async def test_an_image_at_any_of_the_positions_is_found_once(client: httpx.AsyncClient) -> None:
    # A hidden image covers the first position, too.
    assert await found(client, POSITIONS) == ["v2.i", "v4.r"]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        pytest.param({"BAND": "6e-7"}, ["v4.r"], id="band"),
        pytest.param({"POS": "CIRCLE 0 0 0.5"}, ["v2.i"], id="pos"),
        pytest.param({"POS": "CIRCLE 3 0 0.5"}, [], id="elsewhere"),
        pytest.param({"TIME": "61004 +Inf", "CALIB": ["2", "3"]}, ["v4.r"], id="time"),
    ],
)
@pytest.mark.asyncio
async def test_other_parameters_must_hold_as_well(
    client: httpx.AsyncClient, params: dict[str, Any], expected: list[str]
) -> None:
    assert await found(client, POSITIONS, **params) == expected


@pytest.mark.asyncio
async def test_circles_come_from_radius_or_size_in_their_units(client: httpx.AsyncClient) -> None:
    places = {"RA": [0.2, 2.2, 50.0], "DEC": [0.0, 0.0, 0.0]}
    assert await found(client, votable(**places)) == []
    wide = np.ma.masked_invalid([12.0, np.nan, 1.0]) * units.arcmin
    size = votable(**places, size=np.array([0.3, 0.3, 0.3]))
    assert await found(client, size) == ["v2.i", "v4.r"]
    assert await found(client, votable(**places, radius=wide)) == ["v2.i"]
    both = votable(**places, radius=wide, size=np.array([0.0, 0.3, 0.0]))
    assert await found(client, both) == ["v2.i", "v4.r"]


@pytest.mark.asyncio
async def test_rows_without_a_position_find_nothing(client: httpx.AsyncClient) -> None:
    assert await found(client, b"ra,dec,radius\n,,180\n0,,1\n3.0,0.0,\n") == ["v5.i"]


@pytest.mark.asyncio
async def test_an_upload_may_come_with_the_address(client: httpx.AsyncClient) -> None:
    response = await client.post(
        "/api/sia/query",
        params={"UPLOAD": "positions,param:p", "RESPONSEFORMAT": "csv", "MAXREC": "1"},
        files={"p": ("p.csv", POSITIONS)},
    )
    assert response.status_code == 200
    assert len(response.text.strip().splitlines()) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"x,dec\n1,2\n", "no column 'ra'", id="no-ra"),
        pytest.param(b"ra,dec\n1,95\n", "declination 95", id="beyond-the-pole"),
        pytest.param(b"ra,dec,radius\n1,5,181\n", "radius 181", id="too-wide"),
        pytest.param(b"ra,dec,radius\n1,5,-1\n", "radius -1", id="negative"),
        pytest.param(b"ra,dec\n", "no rows", id="empty"),
        pytest.param(b"\x00\x01\x02", "UsageFault", id="no-table"),
    ],
)
@pytest.mark.asyncio
async def test_what_is_no_table_of_positions_is_a_fault(
    client: httpx.AsyncClient, content: bytes, message: str
) -> None:
    response = await answer(client, content)
    assert response.status_code == 400
    text = parse(io.BytesIO(response.content)).resources[0].infos[0].content
    assert text.startswith("UsageFault: ")
    assert message in text


@pytest.mark.asyncio
async def test_another_name_is_a_fault(client: httpx.AsyncClient) -> None:
    response = await client.post(
        "/api/sia/query", data={"UPLOAD": "mine,param:p"}, files={"p": ("p.csv", POSITIONS)}
    )
    assert response.status_code == 400
    assert "called 'positions'" in response.text.replace("&#x27;", "'").replace("&apos;", "'")


@pytest.mark.asyncio
async def test_files_are_removed_when_the_answer_is_sent(
    client: httpx.AsyncClient, sia_home: Path
) -> None:
    for content in (POSITIONS, b"no,positions\n1,2\n"):
        await answer(client, content)
        assert list((sia_home / "uploads").glob("*/*")) == []
    response = await client.post(
        "/api/sia/query",
        data={"UPLOAD": "positions,param:p", "MAXREC": "-1"},
        files={"p": ("p.csv", POSITIONS)},
    )
    assert response.status_code == 400
    assert list((sia_home / "uploads").glob("*/*")) == []


def test_a_hidden_image_is_found_by_who_may_see_it(sia_home: Path) -> None:
    ada = Principal(username="ada", groups=frozenset(), scopes=frozenset({"read:image"}))
    given = read_sia_request(Parameters(body=[("UPLOAD", "positions,param:p")]))
    place = Positions(ra_deg=np.array([0.05]), dec_deg=np.array([0.05]), size_deg=None, ids=("1",))
    query = sia_query(given, authority="astrolabe.invalid", find=lambda _keys: {})
    with ProcessContext.open(small_settings(sia_home)) as context:
        for principal, expected in ((ada, ["hidden", "v2.i"]), (ANONYMOUS, ["v2.i"])):
            request = QueryRequest(query=query, uploads=(searched_positions(place),))
            running = context.queries.start(request, principal=principal, cancel=QueryCancel())
            rows = [row for batch in running for row in batch.to_pylist()]
            dids = sorted(row["obs_publisher_did"].rpartition("?")[2] for row in rows)
            assert dids == expected


JOINS = [
    (
        "SELECT o.obs_publisher_did AS i FROM TAP_UPLOAD.positions AS p JOIN ivoa.ObsCore AS o"
        " ON CONTAINS(POINT(p.ra, p.dec), o.s_region) = 1"
    ),
    (
        "SELECT o.obs_publisher_did AS i FROM TAP_UPLOAD.positions AS p LEFT JOIN ivoa.ObsCore AS o"
        " ON CONTAINS(POINT(p.ra, p.dec), o.s_region) = 1"
    ),
    # Here one side is read first, by itself.
    (
        "SELECT o.obs_publisher_did AS i FROM ivoa.ObsCore AS o, ivoa.ObsCore AS a"
        " WHERE CONTAINS(POINT(a.s_ra, a.s_dec), o.s_region) = 1 AND a.obs_id = 'visit-2'"
    ),
    (
        "SELECT a.obs_publisher_did AS i FROM ivoa.ObsCore AS o, ivoa.ObsCore AS a"
        " WHERE CONTAINS(POINT(a.s_ra, a.s_dec), o.s_region) = 1 AND o.s_ra = 0 AND o.s_dec = 0"
        " AND o.obs_id = 'visit-2'"
    ),
]


@pytest.mark.parametrize("number", range(len(JOINS)))
def test_joins_see_the_rows_of_their_caller_only(sia_home: Path, number: int) -> None:
    ada = Principal(username="ada", groups=frozenset(), scopes=frozenset({"read:image"}))
    place = Positions(ra_deg=np.array([0.0]), dec_deg=np.array([0.0]), size_deg=None, ids=("1",))
    with ProcessContext.open(small_settings(sia_home)) as context:
        for principal, expected in ((ada, ["hidden", "v2.i"]), (ANONYMOUS, ["v2.i"])):
            request = QueryRequest(query=JOINS[number], uploads=(searched_positions(place),))
            running = context.queries.start(request, principal=principal, cancel=QueryCancel())
            rows = [row for batch in running for row in batch.to_pylist()]
            assert sorted(row["i"].rpartition("?")[2] for row in rows) == expected
