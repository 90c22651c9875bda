"""HiPS, coverage and the page of the sky through the front door."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import numpy as np
import pytest
import pytest_asyncio
from astropy.io import fits
from fastapi import FastAPI
from mocpy import MOC
from PIL import Image

from astrolabe.factory import ProcessContext
from astrolabe.identity.access import Access, AccessRule, Resource
from astrolabe.identity.authority import OPERATOR
from astrolabe.images.hips.making import HipsRequest
from astrolabe.images.hips.properties import parse_properties
from astrolabe.sky.healpix import healpix_29
from astrolabe.tables.model import Datatype, SchemaMeta
from astrolabe_api.main import create_app
from tests.images.hips_support import DEC, RA, TinyCollection, wcs_at
from tests.login.support import People, client_of, make_people, settings_of
from tests.support.tiny import import_columns

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(60)]

COUNT = 3000
ACCESS = {
    "open": AccessRule(access=Access.PUBLIC),
    "members": AccessRule(access=Access.GROUP, group="astronomers"),
    "shown": AccessRule(access=Access.GROUP, group="astronomers", listed=True),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hips") / "home"


@pytest.fixture(scope="module")
def people(home: Path) -> People:
    return make_people(home)


@pytest.fixture(scope="module")
def keys() -> np.ndarray:
    """Cells of the rows of the tables."""
    ra, dec = positions()
    return np.sort(healpix_29(ra, dec))


def positions() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(RA, 1.0, COUNT), rng.normal(DEC, 1.0, COUNT)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(people: People, home: Path) -> AsyncIterator[FastAPI]:
    assert people.tokens
    app = create_app(settings_of(home))
    async with app.router.lifespan_context(app):
        context = app.state.api.context
        fill(context, home)
        yield app


def fill(context: ProcessContext, home: Path) -> None:
    """Make three collections with a HiPS of each, and three tables."""
    for name, rule in ACCESS.items():
        collection = TinyCollection(home, context.images.store, name)
        collection.add("a", wcs_at(RA, DEC))
        context.rights.set_rule(Resource.of_collection(name), rule, by=OPERATOR)
        context.images.hips.maker.make(HipsRequest(collection=name))
    ra, dec = positions()
    for name in ("object", "secret"):
        import_columns(
            context,
            "tiny",
            name,
            {
                "id": (Datatype.LONG, np.arange(COUNT)),
                "ra": (Datatype.DOUBLE, ra),
                "dec": (Datatype.DOUBLE, dec),
            },
            ra_column="ra",
            dec_column="dec",
        )
    context.rights.set_rule(Resource.of_table("tiny", "secret"), ACCESS["members"], by=OPERATOR)
    import_columns(
        context,
        "tiny",
        "plain",
        {"id": (Datatype.LONG, np.arange(10))},
        ra_column=None,
        dec_column=None,
        no_position=True,
    )
    context.catalog.view(fresh=True)


@pytest_asyncio.fixture(loop_scope="module")
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


def listed(text: str) -> dict[str, dict[str, str]]:
    found = [parse_properties(part) for part in text.split("\n\n") if part.strip()]
    return {record["hips_service_url"].rpartition("/")[2]: record for record in found}


async def test_the_list_has_what_one_may_read(client: httpx.AsyncClient, people: People) -> None:
    everybody = await client.get("/api/hips/hipslist")
    assert everybody.headers["content-type"].startswith("text/plain")
    assert set(listed(everybody.text)) == {"open", "tiny.object"}
    member = await client.get("/api/hips/hipslist", headers=people.bearer("carol"))
    found = listed(member.text)
    assert set(found) == {"open", "members", "shown", "tiny.object", "tiny.secret"}
    for record in found.values():
        assert {"creator_did", "hips_release_date", "hips_service_url", "hips_status"} <= set(
            record
        )
    assert found["open"]["hips_status"].startswith("public")
    assert found["members"]["hips_status"].startswith("private")
    assert found["tiny.secret"]["hips_status"].startswith("private")
    assert len({record["creator_did"] for record in found.values()}) == 5
    assert member.headers["cache-control"].startswith("private")


async def test_a_tree_is_read(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/hips/open/properties")
    properties = parse_properties(answer.text)
    assert properties["hips_service_url"] == "https://astrolabe.example/api/hips/open"
    order = int(properties["hips_order"])
    content = (await client.get("/api/hips/open/Moc.fits")).content
    with fits.open(io.BytesIO(content)) as hdus:
        assert hdus[1].header["MOCORD_S"] == order + 4
    cell = int(healpix_29([RA], [DEC])[0]) >> (2 * (29 - order))
    path = f"/api/hips/open/Norder{order}/Dir{cell // 10000 * 10000}/Npix{cell}"
    for extension, media_type in (("png", "image/png"), ("fits", "image/fits")):
        tile = await client.get(f"{path}.{extension}")
        assert tile.status_code == 200
        assert tile.headers["content-type"] == media_type
        assert tile.headers["access-control-allow-origin"] == "*"
        assert int(tile.headers["content-length"]) == len(tile.content)
        assert "max-age" in tile.headers["cache-control"]
        assert tile.headers["content-security-policy"] == "sandbox"
        again = await client.get(
            f"{path}.{extension}", headers={"If-None-Match": tile.headers["etag"]}
        )
        assert (again.status_code, again.content) == (304, b"")
        part = await client.get(f"{path}.{extension}", headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content) == (206, tile.content[10:20])
        head = await client.head(f"{path}.{extension}")
        assert (head.content, head.headers["etag"]) == (b"", tile.headers["etag"])
    assert (await client.get(f"{path}.jpg")).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "Norder4/Allsky.png",
        "Norder3/Allsky.jpg",
        "Norder03/Allsky.png",
        "Norder0/Dir0/Npix11.png",
        "hips.json",
        "sources.json",
        "%2e%2e/open/current",
        "..%2Fopen%2Fhips.json",
        "Norder3/Dir0/Npix99999999999999999999.png",
        "x" * 3000,
        "%00",
    ],
    ids=[
        "allsky-fine",
        "allsky-form",
        "allsky-name",
        "tile",
        "manifest",
        "sources",
        "up",
        "quoted",
        "number",
        "long",
        "null",
    ],
)
@pytest.mark.parametrize("hips", ["open", "tiny.object"])
async def test_what_is_not_in_a_tree(client: httpx.AsyncClient, hips: str, path: str) -> None:
    answer = await client.get(f"/api/hips/{hips}/{path}")
    assert answer.status_code == 404
    assert len(answer.content) < 1000


@pytest.mark.parametrize("hips", ["nothing", "no.table", "..", "%2e%2e%2f", "o\u0301"])
async def test_no_such_hips(client: httpx.AsyncClient, people: People, hips: str) -> None:
    answer = await client.get(f"/api/hips/{hips}/properties", headers=people.bearer("bob"))
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("hips", "file", "anonymous", "stranger"),
    [
        ("open", "properties", 200, 200),
        ("members", "properties", 401, 404),
        ("members", "Moc.fits", 401, 404),
        ("shown", "properties", 401, 403),
        ("shown", "Norder0/Dir0/Npix6.png", 401, 403),
        ("tiny.object", "properties", 200, 200),
        ("tiny.secret", "properties", 401, 404),
        ("tiny.secret", "Norder3/Dir0/Npix425.png", 401, 404),
        ("tiny.secret", "Moc.fits", 401, 404),
    ],
)
async def test_rights(
    client: httpx.AsyncClient,
    people: People,
    hips: str,
    file: str,
    anonymous: int,
    stranger: int,
) -> None:
    path = f"/api/hips/{hips}/{file}"
    member = await client.get(path, headers=people.bearer("carol"))
    assert member.status_code == 200
    assert (await client.get(path)).status_code == anonymous
    assert (await client.get(path, headers=people.bearer("bob"))).status_code == stranger
    # Administrators may change rules, but read no more than others.
    assert (await client.get(path, headers=people.bearer("dora"))).status_code == stranger


async def test_a_density_is_drawn(client: httpx.AsyncClient, keys: np.ndarray) -> None:
    properties = parse_properties((await client.get("/api/hips/tiny.object/properties")).text)
    assert properties["hips_tile_width"] == "128"
    assert properties["hips_order"] == "3"
    assert float(properties["hips_initial_ra"]) == pytest.approx(RA, abs=0.1)
    area = 4 * np.pi * np.degrees(1) ** 2 / (12 * 4**10)
    total = 0.0
    for cell in sorted(set((keys >> (2 * 26)).tolist())):
        path = f"/api/hips/TINY.Object/Norder3/Dir0/Npix{cell}"
        answer = await client.get(f"{path}.fits")
        with fits.open(io.BytesIO(answer.content)) as hdus:
            total += hdus[0].data.sum(dtype=float) * area
        picture = Image.open(io.BytesIO((await client.get(f"{path}.png")).content))
        assert (picture.size, picture.mode) == ((128, 128), "RGBA")
    assert total == pytest.approx(COUNT, rel=1e-5)


@pytest.mark.parametrize("form", ["fits", "json", "ascii"])
async def test_a_coverage(
    client: httpx.AsyncClient, keys: np.ndarray, tmp_path: Path, form: str
) -> None:
    answer = await client.get(f"/api/moc/tiny.object?RESPONSEFORMAT={form}")
    assert answer.status_code == 200
    path = tmp_path / "moc"
    path.write_bytes(answer.content)
    moc = MOC.load(str(path), format=form)
    assert np.array_equal(
        np.sort(moc.to_order(10).flatten()), np.unique(keys >> (2 * 19)).astype(np.uint64)
    )
    again = await client.get(
        f"/api/moc/tiny.object?RESPONSEFORMAT={form}",
        headers={"If-None-Match": answer.headers["etag"]},
    )
    assert again.status_code == 304


@pytest.mark.parametrize(
    ("path", "anonymous", "stranger"),
    [
        ("/api/moc/tiny.secret", 401, 404),
        ("/api/moc/no.table", 401, 404),
        ("/api/moc/tiny.plain", 401, 404),
        ("/api/moc/tiny.object?RESPONSEFORMAT=votable", 400, 400),
    ],
)
async def test_no_coverage(
    client: httpx.AsyncClient, people: People, path: str, anonymous: int, stranger: int
) -> None:
    assert (await client.get(path)).status_code == anonymous
    assert (await client.get(path, headers=people.bearer("bob"))).status_code == stranger


async def test_an_empty_table_has_no_coverage(app: FastAPI, client: httpx.AsyncClient) -> None:
    context = app.state.api.context
    meta = context.catalog.find("tiny", "object").meta
    empty = replace(meta, name="empty", row_count=None)
    context.catalog.create_tables(SchemaMeta(name="tiny", tables=(empty,)))
    assert "tiny.empty" not in listed((await client.get("/api/hips/hipslist")).text)


async def test_a_token_for_images_reads_no_tables(app: FastAPI, client: httpx.AsyncClient) -> None:
    tokens = app.state.api.context.tokens
    made = tokens.create_for("bob", name="images", scopes=["read:image"], by=OPERATOR)
    headers = {"Authorization": f"Bearer {made.text}"}
    assert (await client.get("/api/hips/open/properties", headers=headers)).status_code == 200
    refused = await client.get("/api/hips/tiny.object/properties", headers=headers)
    assert refused.status_code == 403
    assert "read:tap" in refused.text


async def test_the_root_leads_to_the_page(client: httpx.AsyncClient) -> None:
    for path in ("/api/hips/open", "/api/hips/open/", "/api/hips/open/index.html"):
        answer = await client.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/sky?hips=open"


async def test_the_page_and_its_files(client: httpx.AsyncClient, people: People) -> None:
    page = await client.get("/sky?hips=<script>")
    assert page.status_code == 200
    assert "<script>" not in page.text.replace('<script src="', "")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "'unsafe-eval'" not in policy.replace("'wasm-unsafe-eval'", "")
    assert "http" not in policy
    logged_in = await client.get("/sky", headers=people.bearer("bob"))
    assert "Log out bob" in logged_in.text
    for name, kind in (("viewer.js", "text/javascript"), ("viewer.css", "text/css")):
        answer = await client.get(f"/sky/{name}")
        assert answer.headers["content-type"].startswith(kind)
        again = await client.get(f"/sky/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
    for name in ("sky.js", "..%2Fbase.html", "VERSION"):
        assert (await client.get(f"/sky/{name}")).status_code == 404


@pytest.mark.parametrize(
    ("hips", "order", "shape"),
    [("open", 3, (29 * 64, 27 * 64)), ("open", 0, (256, 192)), ("tiny.object", 3, (1856, 1728))],
)
async def test_all_tiles_of_a_low_order_are_one_file(
    client: httpx.AsyncClient, hips: str, order: int, shape: tuple[int, int]
) -> None:
    answer = await client.get(f"/api/hips/{hips}/Norder{order}/Allsky.fits")
    assert answer.headers["content-type"] == "image/fits"
    with fits.open(io.BytesIO(answer.content)) as hdus:
        values = hdus[0].data
    assert values.shape == shape
    cell = int(healpix_29([RA], [DEC])[0]) >> (2 * (29 - order))
    columns = shape[1] // 64
    row, column = shape[0] // 64 - 1 - cell // columns, cell % columns
    part = values[row * 64 : (row + 1) * 64, column * 64 : (column + 1) * 64]
    tile = await client.get(f"/api/hips/{hips}/Norder{order}/Dir0/Npix{cell}.fits")
    with fits.open(io.BytesIO(tile.content)) as hdus:
        pixels = hdus[0].data.astype(float)
    step = pixels.shape[0] // 64
    squares = pixels.reshape(64, step, 64, step)
    number = np.isfinite(squares).sum(axis=(1, 3))
    assert number.any()
    np.testing.assert_array_equal(np.isfinite(part), number > 0)
    # Of the coarser tiles that it is cut out of: means of means where some pixels are unknown.
    whole = number == (step**2 if order else number)
    means = np.nansum(squares, axis=(1, 3))[whole] / np.maximum(number[whole], 1)
    np.testing.assert_allclose(np.nan_to_num(part[whole]), means, rtol=1e-4, atol=1e-3)
    picture = await client.get(f"/api/hips/{hips}/Norder{order}/Allsky.png")
    shown = np.asarray(Image.open(io.BytesIO(picture.content)))
    assert shown.shape[:2] == shape
    # The picture's first row is its uppermost.
    assert ((shown[::-1][..., -1] > 0) <= np.isfinite(values)).all()
    again = await client.get(
        f"/api/hips/{hips}/Norder{order}/Allsky.png",
        headers={"If-None-Match": picture.headers["etag"]},
    )
    assert again.status_code == 304


async def link_to(client: httpx.AsyncClient, headers: dict[str, str], hips: str) -> str:
    answer = await client.post(f"/api/hips/{hips}/link", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return str(answer.json()["url"]).removeprefix("https://astrolabe.example")


@pytest.mark.parametrize("hips", ["members", "tiny.secret", "TINY.Secret"])
async def test_a_signed_link_opens_a_private_tree_for_programs(
    client: httpx.AsyncClient, people: People, hips: str
) -> None:
    link = await link_to(client, people.bearer("carol"), hips)
    properties = parse_properties((await client.get(f"{link}/properties")).text)
    assert properties["hips_service_url"] == f"https://astrolabe.example{link}"
    for file in ("Moc.fits", "Norder3/Allsky.png", "Norder3/Dir0/Npix425.png", "", "properties"):
        answer = await client.get(f"{link}/{file}")
        assert answer.status_code == 200, file
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["cache-control"].startswith("private")
        assert (await client.head(f"{link}/{file}")).status_code == 200
    assert (await client.get(link)).text == (await client.get(f"{link}/properties")).text
    # A wrong credential beside it changes nothing: the link is what counts.
    other = await client.get(f"{link}/properties", headers=people.bearer("bob"))
    assert other.status_code == 200
    assert (await client.get(f"{link}/Norder3/Dir0/Npix0.png")).status_code == 404


async def test_a_signed_tree_is_good_for_nothing_else(
    client: httpx.AsyncClient, people: People
) -> None:
    carol = people.bearer("carol")
    link = await link_to(client, carol, "members")
    place, credential, _ = link.rsplit("/", 2)
    key, seconds, signature = credential.removeprefix("~").split(".")
    plain = await client.post(
        "/auth/api/v1/links", json={"address": "/api/hips/members"}, headers=carol
    )
    of_resource = plain.json()["url"].partition("signed=")[2]
    flipped = ("0" if signature[0] != "0" else "1") + signature[1:]
    for address in (
        f"{place}/{credential}/shown/properties",
        f"{place}/{credential}/open/properties",
        f"{place}/{credential}/tiny.secret/properties",
        f"{place}/{credential}/MEMBERS/properties",
        f"{place}/~{key}.{int(seconds) + 60}.{signature}/members/properties",
        f"{place}/~{key}.{seconds}.{flipped}/members/properties",
        f"{place}/~{people.bearer('bob')['Authorization'][10:32]}.{seconds}.{signature}/members/a",
        f"{place}/~{of_resource}/members/properties",
        f"{place}/~/members/properties",
        f"{place}/~x/members/properties",
        f"/api/hips/members/properties?signed={credential.removeprefix('~')}",
        f"/api/moc/tiny.secret?signed={credential.removeprefix('~')}",
        f"{link}/properties?signed={credential.removeprefix('~')}",
    ):
        refused = await client.get(address)
        assert refused.status_code in {401, 404}, address
        assert "x-vo-authenticated" not in refused.headers
    # A link makes no link, and changes nothing.
    for method in ("POST", "PUT", "DELETE"):
        assert (await client.request(method, f"{link}/link")).status_code in {401, 404, 405}
    for up in ("..%2Fshown%2Fproperties", "../shown/properties", "%2e%2e/shown/properties"):
        answer = await client.get(f"{link}/{up}")
        assert answer.status_code in {401, 404}
    assert (await client.get(f"{link}/hips.json")).status_code == 404


async def test_a_signed_tree_ends(app: FastAPI, client: httpx.AsyncClient) -> None:
    context = app.state.api.context
    made = context.tokens.create_for("carol", name="map", scopes=["read:image"], by=OPERATOR)
    headers = {"Authorization": f"Bearer {made.text}"}
    link = await link_to(client, headers, "members")
    principal = context.authenticator.principal_of(made.info.key)
    over = context.signed_links.sign_tree(
        principal, "/api/hips/members", lifetime=timedelta(microseconds=1)
    )
    late = await client.get(f"{over.address}/properties")
    assert late.status_code == 401
    assert "has ended" in late.text
    # It reads what its maker may read now, and no longer than his token lives.
    assert (await client.get(f"{link}/properties")).status_code == 200
    rule = Resource.of_collection("members")
    context.rights.set_rule(rule, AccessRule(access=Access.PRIVATE, owner="alice"), by=OPERATOR)
    assert (await client.get(f"{link}/properties")).status_code == 404
    context.rights.set_rule(rule, ACCESS["members"], by=OPERATOR)
    assert (await client.get(f"{link}/properties")).status_code == 200
    context.tokens.revoke(made.info.key, by=OPERATOR)
    assert (await client.get(f"{link}/properties")).status_code == 401


async def test_only_who_may_read_a_tree_makes_a_link(
    app: FastAPI, client: httpx.AsyncClient, people: People
) -> None:
    assert (await client.post("/api/hips/open/link")).status_code == 401
    for who, hips, status in (
        ("bob", "members", 404),
        ("bob", "shown", 403),
        ("bob", "tiny.secret", 404),
        ("bob", "nothing", 404),
        ("bob", "open", 200),
        ("dora", "members", 404),
    ):
        answer = await client.post(f"/api/hips/{hips}/link", headers=people.bearer(who))
        assert answer.status_code == status, (who, hips)
    tokens = app.state.api.context.tokens
    made = tokens.create_for("carol", name="pictures", scopes=["read:image"], by=OPERATOR)
    images = {"Authorization": f"Bearer {made.text}"}
    assert (await client.post("/api/hips/tiny.secret/link", headers=images)).status_code == 403
