"""Service descriptors in the results of TAP, SIA and cone searches."""

from __future__ import annotations

import asyncio
import io
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from astrolabe.factory import ProcessContext
from astrolabe.tables.header_json import header_from_json, header_to_json
from astrolabe.tables.model import IdentifierColumn, ResultHeader
from tests.api.conftest import ADDRESS
from tests.api.rights_support import guarded_settings

from .conftest import FIRST_ID
from .support import rows

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

LINKS_ID = "ivo://ivoa.net/std/DataLink#links-1.1"
SODA_ID = "ivo://ivoa.net/std/SODA#sync-1.0"


@pytest.fixture
def worker(home: Path) -> Iterator[None]:
    with ProcessContext.open(guarded_settings(home)) as context, context.worker():
        yield


async def tap(client: httpx.AsyncClient, query: str, **more: str) -> httpx.Response:
    response = await client.post("/api/tap/sync", data={"LANG": "ADQL", "QUERY": query, **more})
    assert response.status_code == 200, response.text
    return response


def described(text: str) -> list[tuple[str, str]]:
    """Return (address, name of the column that ID comes from) of every service of a result."""
    found = []
    names = dict(re.findall(r'<FIELD ID="([^"]*)" name="([^"]*)"', text))
    for resource in re.findall(r'<RESOURCE type="meta".*?</RESOURCE>', text, re.DOTALL):
        address = re.search(r'name="accessURL"[^>]* value="([^"]*)"', resource)
        reference = re.search(r'<PARAM name="ID"[^>]* ref="([^"]*)"', resource)
        assert address
        assert reference
        found.append((address[1].removeprefix(ADDRESS), names[reference[1]]))
    return found


OBJECT = "/api/datalink/dr1.object/links"
FORCED = "/api/datalink/dr1.forced/links"
CURVE = "/api/datalink/lightcurve"


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        pytest.param(
            "SELECT * FROM dr1.object",
            [(OBJECT, "objectId"), (CURVE, "objectId")],
            id="all-columns",
        ),
        pytest.param(
            'SELECT mag, objectId AS "my id" FROM dr1.object',
            [(OBJECT, "my id"), (CURVE, "my id")],
            id="odd-name",
        ),
        pytest.param(
            "SELECT flux, objectId, forcedId FROM dr1.forced",
            [(OBJECT, "objectId"), (CURVE, "objectId"), (FORCED, "forcedId")],
            id="director-and-own",
        ),
        pytest.param(
            "SELECT o.objectId AS a, f.objectId AS b FROM dr1.object AS o "
            "JOIN dr1.forced AS f ON o.objectId = f.objectId",
            [(OBJECT, "a"), (CURVE, "a")],
            id="join-once-a-table",
        ),
        pytest.param(
            "SELECT s.i FROM (SELECT objectId AS i FROM dr1.object) AS s",
            [(OBJECT, "i"), (CURVE, "i")],
            id="subquery",
        ),
        pytest.param(
            "SELECT objectId, COUNT(*) AS n FROM dr1.forced GROUP BY objectId",
            [(OBJECT, "objectId"), (CURVE, "objectId")],
            id="grouped",
        ),
        pytest.param("SELECT objectId + 1 AS n, mag FROM dr1.object", [], id="computed"),
        pytest.param("SELECT MAX(objectId) AS n FROM dr1.object", [], id="aggregate"),
        pytest.param("SELECT mag FROM dr1.object", [], id="without-the-identifier"),
        pytest.param("SELECT * FROM TAP_SCHEMA.tables", [], id="metadata"),
        pytest.param(
            "SELECT s_ra, obs_publisher_did FROM ivoa.ObsCore",
            [
                ("/api/datalink/links", "obs_publisher_did"),
                ("/api/cutout/sync", "obs_publisher_did"),
            ],
            id="images",
        ),
    ],
)
@pytest.mark.parametrize("form", ["votable", "votable/td"])
async def test_a_column_that_names_rows_is_described_with_what_takes_it(
    client: httpx.AsyncClient, query: str, wanted: list[tuple[str, str]], form: str
) -> None:
    response = await tap(client, query, RESPONSEFORMAT=form, MAXREC="5")
    assert described(response.text) == wanted


async def test_the_described_services_take_what_the_column_holds(
    client: httpx.AsyncClient,
) -> None:
    query = "SELECT TOP 3 objectId FROM dr1.object"
    text = (await tap(client, query, RESPONSEFORMAT="votable/td")).text
    ids = re.findall(r"<TD>(\d+)</TD>", text)
    assert len(ids) == 3
    links, curve = (address for address, _ in described(text))
    found = rows(await client.get(links, params={"ID": ids}))
    assert {row["ID"] for row in found} == set(ids)
    assert not any(row["error_message"] for row in found)
    fixed = dict(re.findall(r'<PARAM name="(TABLE)"[^>]* value="([^"]+)"', text))
    answer = await client.get(curve, params={"ID": ids[0], "RESPONSEFORMAT": "csv", **fixed})
    assert answer.text.count("\n") > 2


async def test_other_forms_are_as_they_were(client: httpx.AsyncClient) -> None:
    query = f"SELECT objectId FROM dr1.object WHERE objectId = {FIRST_ID}"
    assert (await tap(client, query, RESPONSEFORMAT="csv")).text.split() == [
        "objectId",
        str(FIRST_ID),
    ]
    parquet = pq.read_metadata(
        io.BytesIO((await tap(client, query, RESPONSEFORMAT="parquet")).content)
    )
    told = (parquet.metadata or {})[b"IVOA.VOTable-Parquet.content"].decode()
    assert described(told) == [(OBJECT, "objectId"), (CURVE, "objectId")]


@pytest.mark.usefixtures("worker")
async def test_results_of_jobs_are_described_too(client: httpx.AsyncClient) -> None:
    query = {"LANG": "ADQL", "QUERY": "SELECT TOP 2 objectId FROM dr1.object", "PHASE": "RUN"}
    job = (await client.post("/api/tap/async", data=query)).headers["location"]
    for _ in range(200):
        if (await client.get(f"{job}/phase")).text == "COMPLETED":
            break
        await asyncio.sleep(0.05)
    response = await client.get(f"{job}/results/result")
    assert described(response.text) == [(OBJECT, "objectId"), (CURVE, "objectId")]


async def test_a_kept_header_keeps_what_its_columns_name() -> None:
    header = ResultHeader(
        columns=(), identifiers=(IdentifierColumn(column="a", table="s.t", light_curves=("s.c",)),)
    )
    kept = header_to_json(header)
    assert header_from_json(kept) == header
    del kept["identifiers"]  # as results of earlier versions are kept
    assert header_from_json(kept).identifiers == ()


async def test_cone_searches_and_image_searches_describe_what_takes_their_identifiers(
    client: httpx.AsyncClient,
) -> None:
    cone = await client.get("/api/scs/dr1.object", params={"RA": "150", "DEC": "2", "SR": "0.1"})
    assert described(cone.text) == [(OBJECT, "objectId"), (CURVE, "objectId")]
    images = await client.get("/api/sia/query", params={"POS": "CIRCLE 150 2 0.1"})
    assert described(images.text) == [
        ("/api/datalink/links", "obs_publisher_did"),
        ("/api/cutout/sync", "obs_publisher_did"),
    ]


@pytest.mark.client
async def test_stilts_finds_nothing_wrong(client: httpx.AsyncClient, tmp_path: Path) -> None:
    for number, query in enumerate(
        (
            "SELECT * FROM dr1.object",
            "SELECT * FROM dr1.forced",
            # votlint 3.4.7 breaks off at polygons, which STILTS itself reads well.
            "SELECT obs_publisher_did, s_ra, s_dec, t_min, band FROM ivoa.ObsCore",
        )
    ):
        path = tmp_path / f"{number}.vot"
        response = await tap(client, query, MAXREC="5")
        path.write_bytes(response.content)
        run = subprocess.run(  # noqa: ASYNC221 - nothing else runs in this loop
            ["stilts", "votlint", str(path)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (run.returncode, (run.stdout + run.stderr).strip()) == (0, "")
