"""Links of rows of catalogs, through the front door."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import numpy as np
import pytest

from tests.api.conftest import ADDRESS

from .conftest import BANDS, FIRST_ID, OBJECTS, VISITS, object_ids
from .support import LINKS, Row, lint, rows, services, values

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

AUTHORITY = "astrolabe.invalid"
OBJECT = "/api/datalink/dr1.object/links"

Tokens = dict[str, dict[str, str]]


async def csv_rows(client: httpx.AsyncClient, address: str) -> list[dict[str, str]]:
    """Fetch one of our addresses as CSV."""
    path = address.removeprefix(ADDRESS)
    join = "&" if "?" in path else "?"
    response = await client.get(f"{path}{join}RESPONSEFORMAT=csv")
    assert response.status_code == 200, response.text
    return list(csv.DictReader(io.StringIO(response.text)))


def of(found: list[Row], local: str) -> Row:
    (row,) = [row for row in found if row["local_semantics"] == local]
    return row


@pytest.mark.parametrize("form", ["bare", "whole"])
async def test_a_row_leads_to_itself_its_light_curve_its_neighbours_and_its_images(
    client: httpx.AsyncClient, form: str
) -> None:
    row_id = FIRST_ID + 7
    did = f"ivo://{AUTHORITY}/dr1.object?{row_id}"
    given, path = (str(row_id), OBJECT) if form == "bare" else (did, LINKS)
    found = rows(await client.get(path, params={"ID": given}))
    assert {row["ID"] for row in found} == {given}
    assert {row["error_message"] for row in found} == {None}
    (itself,) = await csv_rows(client, of(found, "row")["access_url"])
    assert int(itself["objectId"]) == row_id
    curve = await csv_rows(client, of(found, "light-curve-dr1.forced")["access_url"])
    assert len(curve) == VISITS
    assert {int(point["objectId"]) for point in curve} == {row_id}
    times = [float(point["mjd"]) for point in curve]
    assert times == sorted(times)
    near = await csv_rows(client, of(found, "neighbours")["access_url"])
    assert row_id in {int(row["objectId"]) for row in near}
    cutouts = [row for row in found if row["semantics"] == "#cutout" and row["access_url"]]
    # One of each band, the better centred of the two in r; single visits only where there is none.
    assert [row["image_did"].partition("?")[2] for row in cutouts] == [
        "patch-g",
        "patch-i",
        "patch-r",
        # Of another collection, which everybody may see and nobody but its group may read.
        "l1",
    ]
    assert [row["link_authorized"] for row in cutouts] == [True, True, True, False]
    query = parse_qs(urlsplit(cutouts[0]["access_url"]).query)
    assert query["ID"] == [f"ivo://{AUTHORITY}/coadds?patch-g"]
    word, ra, dec, radius = query["POS"][0].split()
    assert (word, float(ra), float(dec)) == ("CIRCLE", float(itself["ra"]), float(itself["dec"]))
    assert 0 < float(radius) < 0.01
    assert of(found, "picture")["content_type"] == "image/png"


async def test_services_of_a_row_take_their_inputs_from_it(client: httpx.AsyncClient) -> None:
    response = await client.get(OBJECT, params={"ID": str(FIRST_ID)})
    found = rows(response)
    cone = of(found, "cone")
    assert cone["semantics"] == "#proc"
    inputs = values(response, cone["service_def"])
    assert inputs["ID"]["ref"] == "ID"
    assert inputs["TABLE"]["value"] == "dr1.object"
    assert "SR" in inputs
    cutout = of(found, "cutout-coadds-g-service")
    assert values(response, cutout["service_def"])["ID"]["ref"] == "image_did"
    assert cutout["image_did"] == f"ivo://{AUTHORITY}/coadds?patch-g"


async def test_many_rows_are_answered_in_order_with_a_fault_for_each_that_is_wrong(
    client: httpx.AsyncClient,
) -> None:
    ids = [str(i) for i in object_ids()]
    wrong = ["7", "many", "1.5", str(2**63), "9" * 400, f"{FIRST_ID}; --", "007"]
    given = ids[::-1] + wrong
    found = rows(await client.post(OBJECT, data={"ID": given}))
    assert list(dict.fromkeys(row["ID"] for row in found)) == given
    faults = {row["ID"]: row["error_message"] for row in found if row["error_message"]}
    assert list(faults) == wrong
    kinds = {text: fault.partition(":")[0] for text, fault in faults.items()}
    assert kinds == {
        "7": "NotFoundFault",
        "007": "NotFoundFault",
        **dict.fromkeys(wrong[1:6], "UsageFault"),
    }
    assert sum(row["local_semantics"] == "row" for row in found) == OBJECTS


def images_of(found: list[Row]) -> dict[str, list[str]]:
    """Return the images that each identifier's cutouts are of."""
    images: dict[str, list[str]] = {}
    for row in found:
        images.setdefault(row["ID"], [])
        if row["semantics"] == "#cutout" and row["access_url"]:
            images[row["ID"]].append(row["image_did"])
    return images


async def test_rows_searched_together_get_the_images_that_each_gets_alone(
    client: httpx.AsyncClient,
) -> None:
    query = "SELECT objectId, ra FROM dr1.object ORDER BY ra"
    asked = httpx.QueryParams({"LANG": "ADQL", "QUERY": query})
    ids = [row["objectId"] for row in await csv_rows(client, f"/api/tap/sync?{asked}")]
    together = images_of(rows(await client.post(OBJECT, data={"ID": ids})))
    assert len(together) == OBJECTS
    # The image beside the others covers the eastern rows only, where it may be the better one.
    some = [*ids[:3], *ids[-3:]]
    for row_id in some:
        alone = images_of(rows(await client.get(OBJECT, params={"ID": row_id})))
        assert alone[row_id] == together[row_id]
    assert len({tuple(together[row_id]) for row_id in some}) == 2


async def test_ids_of_text_are_taken_as_they_are(client: httpx.AsyncClient) -> None:
    name = "it's 5 & <all>"
    found = rows(await client.get("/api/datalink/dr1.named/links", params={"ID": name}))
    (itself,) = await csv_rows(client, of(found, "row")["access_url"])
    assert itself["name"] == name
    did = f"ivo://{AUTHORITY}/dr1.named?{quote(name)}"
    assert of(rows(await client.get(LINKS, params={"ID": did})), "row")
    injected = "x' OR '1'='1"
    (fault,) = rows(await client.get("/api/datalink/dr1.named/links", params={"ID": injected}))
    assert fault["error_message"].startswith("NotFoundFault: ")


async def test_images_and_rows_may_be_mixed(client: httpx.AsyncClient) -> None:
    given = [
        f"ivo://{AUTHORITY}/dr1.object?{FIRST_ID}",
        f"ivo://{AUTHORITY}/coadds?patch-r",
        f"ivo://{AUTHORITY}/DR1.NAMED?it%27s%201%20%26%20%3Call%3E",
        f"ivo://{AUTHORITY}/no.table?1",
        f"ivo://{AUTHORITY}/dr1.object?{FIRST_ID + 1}",
    ]
    response = await client.get(LINKS, params={"ID": given})
    found = rows(response)
    assert list(dict.fromkeys(row["ID"] for row in found)) == given
    faults = [row["ID"] for row in found if row["error_message"]]
    assert faults == [given[3]]
    # Every service that a row refers to is described, once.
    wanted = {row["service_def"] for row in found} - {None}
    described = [r for r in services(response) if r is not None]
    assert sorted(described) == sorted(wanted)


async def test_a_table_that_is_not_there_has_no_links(
    client: httpx.AsyncClient, tokens: Tokens
) -> None:
    asked = {"ID": "1"}
    path = "/api/datalink/no.table/links"
    assert (await client.get(path, params=asked)).status_code == 401
    response = await client.get(path, params=asked, headers=tokens["bob"])
    assert response.status_code == 404
    assert "NotFoundFault: There is no table 'no.table'" in response.text


async def test_a_token_for_images_alone_shows_no_rows(
    client: httpx.AsyncClient, tokens: Tokens
) -> None:
    given = f"ivo://{AUTHORITY}/dr1.object?{FIRST_ID}"
    (row,) = rows(await client.get(LINKS, params={"ID": given}, headers=tokens["images"]))
    assert row["error_message"].startswith("DefaultFault: Links of rows need the scope read:tap")


@pytest.mark.client
async def test_stilts_finds_nothing_wrong(client: httpx.AsyncClient, tmp_path: Path) -> None:
    for name, path, ids in (
        ("rows", OBJECT, [str(FIRST_ID), str(FIRST_ID + 1), "x"]),
        ("mixed", LINKS, [f"ivo://{AUTHORITY}/dr1.object?{FIRST_ID}",
                          f"ivo://{AUTHORITY}/dr1.named?it's 1 & <all>",
                          f"ivo://{AUTHORITY}/coadds?patch-r"]),
        ("itself", OBJECT, []),
    ):  # fmt: skip
        response = await client.get(path, params={"ID": ids})
        assert lint(response.content, tmp_path / f"{name}.vot") == []


LIGHT_CURVE = "/api/datalink/lightcurve"


async def test_light_curves_by_band_time_and_detail(client: httpx.AsyncClient) -> None:
    asked = {"ID": str(FIRST_ID), "TABLE": "dr1.forced"}
    whole = await csv_rows(client, f"{LIGHT_CURVE}?{httpx.QueryParams(asked)}")
    assert len(whole) == VISITS
    some = await csv_rows(
        client,
        f"{LIGHT_CURVE}?{httpx.QueryParams({**asked, 'BAND': 'g,i', 'TIME': '60002 60008'})}",
    )
    expected = [
        row for row in whole if row["band"] in "gi" and 60_002 <= float(row["mjd"]) <= 60_008
    ]
    assert some == expected
    assert 0 < len(some) < VISITS
    few = httpx.QueryParams({**asked, "DETAIL": "minimal"})
    minimal = await csv_rows(client, f"{LIGHT_CURVE}?{few}")
    assert list(minimal[0]) == ["objectId", "band", "mjd", "flux"]
    everything = await csv_rows(
        client, f"{LIGHT_CURVE}?{httpx.QueryParams({**asked, 'BAND': 'all', 'TIME': '-Inf +Inf'})}"
    )
    assert everything == whole


async def test_several_light_curves_come_one_after_the_other(client: httpx.AsyncClient) -> None:
    ids = [FIRST_ID + n for n in (3, 1, 2)]
    response = await client.post(
        LIGHT_CURVE,
        data={
            "ID": [f"ivo://{AUTHORITY}/dr1.object?{i}" for i in ids],
            "RESPONSEFORMAT": "csv",
        },
    )
    found = list(csv.DictReader(io.StringIO(response.text)))
    assert [int(row["objectId"]) for row in found] == sorted(ids * VISITS)
    for row_id in ids:
        times = [float(row["mjd"]) for row in found if int(row["objectId"]) == row_id]
        assert times == sorted(times)


async def test_columns_may_be_named_as_at_other_platforms(client: httpx.AsyncClient) -> None:
    asked = {"id": str(FIRST_ID), "table": "dr1.forced", "id_column": "objectId",
             "band_column": "band", "band": "r", "detail": "full"}  # fmt: skip
    found = await csv_rows(client, f"{LIGHT_CURVE}?{httpx.QueryParams(asked)}")
    assert {row["band"] for row in found} == {"r"}
    assert len(found) == VISITS // len(BANDS)


@pytest.mark.parametrize(
    ("parameters", "status", "message"),
    [
        pytest.param({}, 400, "UsageFault: The parameter ID is missing", id="no-id"),
        pytest.param({"ID": "1"}, 400, "UsageFault: Name the table", id="no-table"),
        pytest.param(
            {"ID": "1", "TABLE": "no.t"},
            404,
            "NotFoundFault: There is no table",
            id="unknown-table",
        ),
        pytest.param(
            {"ID": "1", "TABLE": "dr1.named"}, 400, "UsageFault: Which rows", id="no-light-curves"
        ),
        pytest.param(
            {"ID": "x", "TABLE": "dr1.forced"}, 400, "UsageFault: 'x' is not an id", id="bad-id"
        ),
        pytest.param(
            {"ID": "1", "TABLE": "dr1.forced", "TIME": "a b"},
            400,
            "UsageFault: TIME",
            id="bad-time",
        ),
        pytest.param(
            {"ID": "1", "TABLE": "dr1.forced", "TIME": "2 1"},
            400,
            "UsageFault: TIME",
            id="time-backwards",
        ),
        pytest.param(
            {"ID": "1", "TABLE": "dr1.forced", "DETAIL": "x"},
            400,
            "UsageFault: DETAIL",
            id="bad-detail",
        ),
        pytest.param(
            {"ID": "1", "TABLE": "dr1.forced", "ID_COLUMN": "x; --"},
            400,
            "UsageFault: ID_COLUMN",
            id="bad-column",
        ),
        pytest.param(
            {"ID": "1", "TABLE": "dr1.forced", "JOIN_TIME_COLUMN": "a.b"},
            400,
            "UsageFault: JOIN",
            id="join",
        ),
        pytest.param(
            {"ID": [str(n) for n in range(1001)], "TABLE": "dr1.forced"},
            400,
            "UsageFault: 1001 light",
            id="too-many",
        ),
    ],
)
async def test_wrong_requests_for_light_curves_say_what_is_wrong(
    client: httpx.AsyncClient, parameters: dict[str, str], status: int, message: str
) -> None:
    response = await client.post(LIGHT_CURVE, data=parameters)
    assert response.status_code == status, response.text
    assert f'<INFO name="QUERY_STATUS" value="ERROR">{message}' in response.text


CONE = "/api/datalink/cone"


async def test_a_cone_around_a_row_or_a_position_finds_what_is_near(
    client: httpx.AsyncClient,
) -> None:
    everything = await csv_rows(
        client,
        f"/api/tap/sync?{httpx.QueryParams({'LANG': 'ADQL', 'QUERY': 'SELECT * FROM dr1.object'})}",
    )
    centre = next(row for row in everything if int(row["objectId"]) == FIRST_ID)
    ra, dec = (np.array([float(row[name]) for row in everything]) for name in ("ra", "dec"))
    east = (ra - float(centre["ra"])) * np.cos(np.deg2rad(float(centre["dec"])))
    near = np.hypot(east, dec - float(centre["dec"])) < 0.1
    wanted = {everything[n]["objectId"] for n in np.flatnonzero(near)}
    assert len(wanted) > 1
    did = f"ivo://{AUTHORITY}/dr1.object?{FIRST_ID}"
    for asked in (
        {"ID": did, "SR": "0.1"},
        {"TABLE": "DR1.OBJECT", "ID": str(FIRST_ID), "SR": "0.1"},
        {"TABLE": "dr1.object", "RA": centre["ra"], "DEC": centre["dec"], "SR": "0.1"},
        {"table": "dr1.object", "ra_col": "ra", "dec_col": "dec", "ra_val": centre["ra"],
         "dec_val": centre["dec"], "radius": "0.1"},
    ):  # fmt: skip
        found = await csv_rows(client, f"{CONE}?{httpx.QueryParams(asked)}")
        assert {row["objectId"] for row in found} == wanted, asked


@pytest.mark.parametrize(
    ("parameters", "status", "message"),
    [
        pytest.param({}, 400, "UsageFault: Give the row", id="nothing"),
        pytest.param(
            {"RA": "1", "DEC": "1"}, 400, "UsageFault: The parameter TABLE", id="no-table"
        ),
        pytest.param(
            {"TABLE": "dr1.object", "RA": "1"}, 400, "UsageFault: Give the row", id="half"
        ),
        pytest.param(
            {"TABLE": "dr1.object", "RA": "nan", "DEC": "1"},
            400,
            "UsageFault: RA must be",
            id="nan",
        ),
        pytest.param(
            {"TABLE": "dr1.object", "ID": "1", "SR": "400"},
            400,
            "UsageFault: SR must be",
            id="radius",
        ),
        pytest.param(
            {"TABLE": "dr1.object", "ID": "1"},
            404,
            "NotFoundFault: dr1.object has no row",
            id="no-row",
        ),
        pytest.param(
            {"TABLE": "dr1.object", "RA": "1", "DEC": "1", "RA_COL": "x", "DEC_COL": "y"},
            400,
            "UsageFault: RA_COL",
            id="column",
        ),
        pytest.param(
            {"TABLE": "dr1.named", "ID": f"ivo://{AUTHORITY}/dr1.object?1"},
            400,
            "UsageFault: ID names a row of",
            id="two-tables",
        ),
    ],
)
async def test_wrong_requests_for_cones_say_what_is_wrong(
    client: httpx.AsyncClient, parameters: dict[str, str], status: int, message: str
) -> None:
    response = await client.get(CONE, params=parameters)
    assert response.status_code == status, response.text
    assert f'<INFO name="QUERY_STATUS" value="ERROR">{message}' in response.text
