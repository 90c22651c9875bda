"""Links of images, through the front door."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from astrolabe.config import Settings
from astrolabe.identity import ANONYMOUS
from astrolabe.images.hips.trees import HipsInfo
from astrolabe.images.links.of_images import ImageLinks, LinkedImage
from astrolabe.images.soda.formats import FormKind, resolve_soda_format
from astrolabe_api.common.state import ApiState
from astrolabe_api.datalink.gate import LinkGate
from astrolabe_api.datalink.of_images import ImageLinkMaker
from tests.api.conftest import ADDRESS

from .conftest import CENTRE, image
from .support import LINKS, infos, lint, rows, services, values

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

AUTHORITY = "astrolabe.invalid"
COADD = f"ivo://{AUTHORITY}/coadds?patch-g"
VISIT = f"ivo://{AUTHORITY}/visits?v1"

Tokens = dict[str, dict[str, str]]


async def ask(
    client: httpx.AsyncClient, *ids: str, headers: dict[str, str] | None = None
) -> httpx.Response:
    return await client.get(LINKS, params={"ID": list(ids)}, headers=headers)


async def test_an_image_has_its_file_previews_cutouts_planes_origins_and_documentation(
    client: httpx.AsyncClient,
) -> None:
    response = await ask(client, COADD)
    found = rows(response)
    assert infos(response)["standardID"] == "ivo://ivoa.net/std/DataLink#links-1.1"
    assert [(row["semantics"], row["local_semantics"]) for row in found] == [
        ("#this", "file"),
        ("#preview", "picture"),
        ("#cutout", "cutout"),
        ("#cutout", "cutout-job"),
        ("#auxiliary", "mask"),
        ("#error", "variance"),
        ("#progenitor", "progenitor"),
        ("#progenitor", "progenitor"),
        ("#auxiliary", "documentation"),
    ]
    assert {row["ID"] for row in found} == {COADD}
    assert (found[0]["access_url"], found[0]["content_type"], found[0]["content_length"]) == (
        f"{ADDRESS}/api/images/coadds/patch-g",
        "application/fits",
        123_456,
    )
    assert found[0]["description"] == "The file of patch-g of <coadds>"
    mask = parse_qs(urlsplit(found[4]["access_url"]).query)
    assert mask == {"ID": [COADD], "PLANES": ["mask"]}
    # What is not the caller's to see, and what is no image, is not among the origins.
    assert [row["access_url"].rpartition("/")[2] for row in found[6:8]] == ["v1", "v2"]
    assert found[8]["access_url"] == "https://survey.example/coadds?a=1&b=2"


async def test_the_cutout_service_is_described_with_the_bounds_of_the_image(
    client: httpx.AsyncClient,
) -> None:
    response = await ask(client, COADD)
    row = next(r for r in rows(response) if r["local_semantics"] == "cutout")
    service = services(response)[row["service_def"]]
    given = {param.name: param.value for param in service.params}
    assert given["standardID"] == "ivo://ivoa.net/std/SODA#sync-1.0"
    assert given["accessURL"] == f"{ADDRESS}/api/cutout/sync"
    inputs = values(response, row["service_def"])
    assert inputs["ID"]["ref"] == "ID"
    assert inputs["ID"]["value"] == ""
    # SODA 1.0, table 4: the three factors that make a parameter what it is.
    factors = {name: (p.get("ucd"), p.get("unit")) for name, p in inputs.items()}
    assert factors["ID"] == ("meta.ref.url;meta.curation", None)
    assert factors["CIRCLE"] == factors["POLYGON"] == ("pos.outline;obs", "deg")
    assert factors["POS"] == ("pos.outline;obs", None)
    assert factors["BAND"] == ("em.wl;stat.interval", "m")
    assert factors["TIME"] == ("time.interval;obs.exposure", "d")
    assert factors["POL"] == ("meta.code;phys.polarization", None)
    ra, dec, radius = (float(x) for x in inputs["CIRCLE"]["MAX"].split())
    assert (ra, dec) == CENTRE
    assert radius == pytest.approx(2**0.5 / 2, abs=1e-3)
    polygon = [float(x) for x in inputs["POLYGON"]["MAX"].split()]
    assert polygon == [149.5, 1.5, 150.5, 1.5, 150.5, 2.5, 149.5, 2.5]
    assert inputs["BAND"]["MAX"] == "4e-07 7e-07"
    assert inputs["TIME"]["MAX"] == "60000 60010.5"
    assert "image,mask,variance" in inputs["PLANES"]["OPTIONS"]
    assert "STRETCH" in inputs
    assert "LIMITS" in inputs


async def test_every_form_of_cutouts_is_offered_as_the_service_takes_it(
    client: httpx.AsyncClient,
) -> None:
    response = await ask(client, COADD)
    for row in rows(response):
        if row["semantics"] != "#cutout":
            continue
        inputs = values(response, row["service_def"])
        offered = inputs["RESPONSEFORMAT"]["OPTIONS"].split()
        assert [resolve_soda_format(form).kind for form in offered] == list(FormKind)
        assert "application/fits;compression=tile" in offered
        of_jobs = {"UPLOAD", "SIZE", "FILTER"}
        is_job = row["local_semantics"] == "cutout-job"
        assert of_jobs & set(inputs) == (of_jobs if is_job else set())


async def test_what_an_image_lacks_bounds_nothing(client: httpx.AsyncClient) -> None:
    response = await ask(client, f"ivo://{AUTHORITY}/visits?spectra")
    found = rows(response)
    assert [row["semantics"] for row in found] == ["#this", "#preview", "#cutout", "#cutout"]
    inputs = values(response, found[2]["service_def"])
    assert "MAX" not in inputs["CIRCLE"] | inputs["POLYGON"] | inputs["TIME"]
    assert inputs["BAND"]["MAX"] == "5.5e-07 7e-07"
    assert inputs["PLANES"]["OPTIONS"] == "image"


async def test_nothing_is_cut_out_of_an_image_without_any_axis(client: httpx.AsyncClient) -> None:
    found = rows(await ask(client, f"ivo://{AUTHORITY}/visits?noise"))
    assert [row["semantics"] for row in found] == ["#this", "#preview"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_many_identifiers_are_answered_in_order_each_once(
    client: httpx.AsyncClient, method: str
) -> None:
    odd = "ivo://elsewhere.example/coadds?patch-g"
    given = [VISIT, odd, COADD.upper(), f"ivo://{AUTHORITY}/coadds?nothing", VISIT, COADD]
    fields = {"params" if method == "GET" else "data": {"ID": given}}
    response = await client.request(method, LINKS, **fields)  # type: ignore[arg-type]  # either
    found = rows(response)
    order = list(dict.fromkeys(row["ID"] for row in found))
    assert order == [VISIT, odd, COADD.upper(), f"ivo://{AUTHORITY}/coadds?nothing", COADD]
    # All rows of an identifier stand together.
    assert [i for i in order for row in found if row["ID"] == i] == [row["ID"] for row in found]
    faults = {row["ID"]: row["error_message"] for row in found if row["error_message"]}
    assert set(faults) == {odd, f"ivo://{AUTHORITY}/coadds?nothing"}
    assert faults[odd].startswith("UsageFault: ")
    assert faults[f"ivo://{AUTHORITY}/coadds?nothing"].startswith("NotFoundFault: ")
    for row in found:
        ways = [row[name] for name in ("access_url", "service_def", "error_message")]
        assert sum(way is not None for way in ways) == 1
        assert row["semantics"].startswith("#")


async def test_without_an_identifier_the_service_describes_itself(
    client: httpx.AsyncClient,
) -> None:
    for parameters in ({}, {"ID": COADD, "MAXREC": "0"}):
        response = await client.get(LINKS, params=parameters)
        assert rows(response) == []
        (itself,) = services(response).values()
        assert itself.utype == "adhoc:this"
        assert {p.name: p.value for p in itself.params}["accessURL"] == f"{ADDRESS}{LINKS}"


async def test_of_too_many_identifiers_the_first_are_answered_and_an_overflow_is_told(
    client: httpx.AsyncClient, app: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = app.state.api.settings.images  # type: ignore[attr-defined]  # FastAPI's state
    monkeypatch.setattr(type(settings), "links_ids", 3, raising=False)
    monkeypatch.setitem(settings.__dict__, "links_ids", 3)
    ids = [f"ivo://{AUTHORITY}/visits?v{n}" for n in range(1, 6)]
    response = await client.post(LINKS, data={"ID": ids})
    assert {row["ID"] for row in rows(response)} == set(ids[:3])
    assert '<INFO name="QUERY_STATUS" value="OVERFLOW"/>' in response.text.partition("</TABLE>")[2]


async def test_thousands_of_identifiers_come_in_one_document_with_few_descriptions(
    client: httpx.AsyncClient,
) -> None:
    known = [f"ivo://{AUTHORITY}/coadds?patch-{band}" for band in "gri"]
    ids = [f"ivo://{AUTHORITY}/visits?x{n}" for n in range(3000)] + known
    response = await client.post(LINKS, data={"ID": ids})
    found = rows(response)
    assert len({row["ID"] for row in found}) == len(ids)
    assert sum(row["semantics"] == "#this" and row["access_url"] is not None for row in found) == 3


async def test_only_votables_are_given(client: httpx.AsyncClient) -> None:
    mime = "application/x-votable+xml"
    for form in ("votable", mime, f"{mime};content=datalink"):
        response = await client.get(LINKS, params={"ID": COADD, "RESPONSEFORMAT": form})
        assert rows(response)
    refused = await client.get(LINKS, params={"ID": COADD, "RESPONSEFORMAT": "csv"})
    assert refused.status_code == 400
    assert '<INFO name="QUERY_STATUS" value="ERROR">UsageFault: Links are given' in refused.text


@pytest.mark.parametrize(
    ("caller", "collection", "wanted"),
    [
        pytest.param("anonymous", "coadds", ("optional", True), id="anonymous-public"),
        pytest.param("bob", "coadds", ("optional", True), id="user-public"),
        pytest.param("anonymous", "listed", ("true", False), id="anonymous-listed"),
        pytest.param("bob", "listed", ("true", False), id="stranger-listed"),
        pytest.param("ada", "listed", ("true", True), id="member-listed"),
        pytest.param("anonymous", "secret", None, id="anonymous-secret"),
        pytest.param("bob", "secret", None, id="stranger-secret"),
        pytest.param("ada", "secret", ("true", True), id="member-secret"),
    ],
)
async def test_rights_are_told_and_what_may_not_be_seen_is_not_there(
    client: httpx.AsyncClient,
    tokens: Tokens,
    caller: str,
    collection: str,
    wanted: tuple[str, bool] | None,
) -> None:
    image = {"coadds": "patch-g", "listed": "l1", "secret": "s1"}[collection]
    did = f"ivo://{AUTHORITY}/{collection}?{image}"
    found = rows(await ask(client, did, headers=tokens[caller]))
    if wanted is None:
        (row,) = found
        nothing = f"ivo://{AUTHORITY}/{collection}?nothing"
        missing = rows(await ask(client, nothing, headers=tokens[caller]))
        assert row["error_message"].startswith("NotFoundFault: ")
        # It says no more of what is hidden than of what is not there.
        assert row["error_message"].replace(image, "nothing") == missing[0]["error_message"]
        return
    pixels = [row for row in found if row["local_semantics"] != "documentation"]
    assert {(row["link_auth"], row["link_authorized"]) for row in pixels} == {wanted}


async def test_origins_are_shown_to_who_may_see_them(
    client: httpx.AsyncClient, tokens: Tokens
) -> None:
    found = rows(await ask(client, COADD, headers=tokens["ada"]))
    origins = [row for row in found if row["semantics"] == "#progenitor"]
    assert [row["access_url"].rpartition("/")[2] for row in origins] == ["v1", "v2", "s1"]
    assert [row["link_auth"] for row in origins] == ["optional", "optional", "true"]


@pytest.mark.client
async def test_stilts_finds_nothing_wrong(client: httpx.AsyncClient, tmp_path: Path) -> None:
    ids = [COADD, VISIT, f"ivo://{AUTHORITY}/visits?noise", "nonsense", f"ivo://{AUTHORITY}/a?b",
           f"ivo://{AUTHORITY}/listed?l1"]  # fmt: skip
    for name, parameters in (("links", {"ID": ids}), ("itself", {})):
        response = await client.get(LINKS, params=parameters)
        assert lint(response.content, tmp_path / f"{name}.vot") == []


async def test_the_hips_of_a_collection_belongs_to_its_images() -> None:
    state, caller = SimpleNamespace(settings=Settings()), ANONYMOUS
    info = HipsInfo(
        hips_id="sky",
        title="The sky",
        collection="COADDS",
        order=3,
        width=512,
        formats=("png",),
        changed=datetime(2026, 1, 1, tzinfo=UTC),
    )
    other = replace(info, hips_id="other", collection="visits")
    gate = LinkGate(cast("ApiState", state), caller)
    maker = ImageLinkMaker(ADDRESS, gate, hips=((info, True), (other, True)))
    record = image("coadds", "patch-g")
    linked = LinkedImage(record=record, did=COADD, may_read=True, anyone_may_read=True)
    group = maker.group(COADD, ImageLinks(image=linked, progenitors=(), collection=None))
    (link,) = [link for link in group.links if link.content_type == "application/hips"]
    assert link.access_url == f"{ADDRESS}/api/hips/sky"
    assert link.semantics == "#derivation"
    assert link.link_authorized is True
