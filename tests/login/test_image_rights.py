"""Images of three collections, asked for by everybody through every service of images.

``open`` is for all, ``shown`` for a group but listed, ``hidden`` is one user's.  What one may not
see is not there; what one may see but not read is refused, and its links say so.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from astropy.io.votable import parse
from astropy.table import Table
from fastapi import FastAPI

from astrolabe.factory import ProcessContext
from astrolabe.identity.access import Access, AccessRule, Resource
from astrolabe.identity.authority import OPERATOR
from astrolabe.images.hips.making import HipsRequest
from astrolabe.images.importing import ImageImportOptions, run_image_import
from astrolabe_api.main import create_app
from tests.support.images import write_planes

from .support import People, client_of, make_people, settings_of

COLLECTIONS = ("hidden", "open", "shown")
SEEN = {
    "nobody": ("open", "shown"),
    "bob": ("open", "shown"),
    "carol": ("open", "shown"),
    "alice": ("hidden", "open", "shown"),
    "dora": ("open", "shown"),
}
READ = {
    "nobody": ("open",),
    "bob": ("open",),
    "carol": ("open", "shown"),
    "alice": ("hidden", "open", "shown"),
    "dora": ("open",),
}
"""alice owns the group and the collection `hidden`, carol is in the group, dora administers."""

# The first test makes the images and their HiPS.
pytestmark = [pytest.mark.timeout(60), pytest.mark.parametrize("who", sorted(SEEN))]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, People]:
    """Return a home with the images and a HiPS of each collection, and its people."""
    home = tmp_path_factory.mktemp("images")
    people = make_people(home)
    rules = {
        "hidden": AccessRule(access=Access.PRIVATE, owner="alice"),
        "open": AccessRule(access=Access.PUBLIC),
        "shown": AccessRule(access=Access.GROUP, group="astronomers", listed=True),
    }
    with ProcessContext.open(settings_of(home)) as context:
        for number, name in enumerate(COLLECTIONS):
            path = home / "files" / f"{name}.fits"
            path.parent.mkdir(exist_ok=True)
            write_planes(path, seed=number)
            options = ImageImportOptions(collection=name, workers=1)
            report = run_image_import([path], options, context.images, publish=False)
            assert not report.refused
            context.rights.set_rule(Resource.of_collection(name), rules[name], by=OPERATOR)
            context.images.hips.maker.make(HipsRequest(collection=name, order=3, threads=1))
        context.images.obscore.publish()
    return home, people


@pytest_asyncio.fixture(scope="module")
async def app(site: tuple[Path, People]) -> AsyncIterator[FastAPI]:
    app = create_app(settings_of(site[0]))
    async with app.router.lifespan_context(app):
        yield app


@pytest_asyncio.fixture
async def client(
    app: FastAPI, site: tuple[Path, People], who: str
) -> AsyncIterator[httpx.AsyncClient]:
    headers = {} if who == "nobody" else site[1].bearer(who)
    async with client_of(app, headers=headers) as made:
        yield made


def did(name: str) -> str:
    return f"ivo://astrolabe.invalid/{name}?{name}"


def status(who: str, name: str) -> int:
    """Return the status of an answer with pixels of a collection."""
    if name in READ[who]:
        return 200
    if who == "nobody":
        return 401
    return 403 if name in SEEN[who] else 404


def rows(response: httpx.Response) -> Table:
    assert response.status_code == 200, response.text
    return parse(io.BytesIO(response.content)).get_first_table().to_table()


async def query(client: httpx.AsyncClient, adql: str) -> Table:
    parameters = {"LANG": "ADQL", "QUERY": adql, "RESPONSEFORMAT": "votable/td"}
    return rows(await client.post("/api/tap/sync", data=parameters))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "adql",
    [
        "SELECT obs_collection FROM ivoa.ObsCore",
        "SELECT obs_collection FROM ivoa.ObsCore WHERE 1=INTERSECTS(s_region, CIRCLE(53, -28, 2))",
        "SELECT x.obs_collection FROM (SELECT * FROM ivoa.ObsCore) AS x",
        "SELECT obs_collection FROM ivoa.ObsCore WHERE 1 = 0 OR calib_level >= -5 OR 1 = 1",
        "SELECT a.obs_collection FROM ivoa.ObsCore AS a JOIN ivoa.ObsCore AS b USING (obs_id)",
        "SELECT obs_collection FROM ivoa.ObsCore WHERE obs_id IN (SELECT obs_id FROM ivoa.ObsCore)",
        "SELECT obs_collection FROM ivoa.ObsCore GROUP BY obs_collection",
    ],
    ids=["all", "region", "subquery", "or", "join", "in", "groups"],
)
async def test_rows_of_obscore(client: httpx.AsyncClient, who: str, adql: str) -> None:
    assert sorted(map(str, (await query(client, adql))["obs_collection"])) == list(SEEN[who])


@pytest.mark.asyncio
async def test_counts_of_obscore(client: httpx.AsyncClient, who: str) -> None:
    counted = await query(client, "SELECT COUNT(*) AS n FROM ivoa.ObsCore")
    assert list(counted["n"]) == [len(SEEN[who])]
    least = await query(client, "SELECT MIN(obs_collection) AS n FROM ivoa.ObsCore")
    assert str(least["n"][0]) == SEEN[who][0]


@pytest.mark.asyncio
async def test_image_searches(client: httpx.AsyncClient, who: str) -> None:
    found = rows(await client.get("/api/sia/query"))
    assert sorted(map(str, found["obs_collection"])) == list(SEEN[who])
    for name in COLLECTIONS:
        found = rows(await client.get("/api/sia/query", params={"ID": did(name)}))
        assert len(found) == (name in SEEN[who])


@pytest.mark.asyncio
async def test_links(client: httpx.AsyncClient, who: str) -> None:
    ids = {"ID": [did(name) for name in COLLECTIONS]}
    links = rows(await client.get("/api/datalink/links", params=ids))
    for name in COLLECTIONS:
        of_it = links[links["ID"] == did(name)]
        if name not in SEEN[who]:
            assert [str(row["error_message"])[:13] for row in of_it] == ["NotFoundFault"]
            continue
        (this,) = (row for row in of_it if row["semantics"] == "#this")
        assert bool(this["link_authorized"]) == (name in READ[who])


def cutout(name: str, **more: Any) -> dict[str, Any]:
    return {"ID": did(name), "CIRCLE": "53.1 -27.8 0.001", **more}


@pytest.mark.asyncio
@pytest.mark.parametrize("name", COLLECTIONS)
async def test_pixels(client: httpx.AsyncClient, who: str, name: str) -> None:
    whole = await client.get(f"/api/images/{name}/{name}")
    part = await client.get("/api/cutout/sync", params=cutout(name))
    picture = await client.get("/api/cutout/sync", params=cutout(name, RESPONSEFORMAT="png"))
    assert [r.status_code for r in (whole, part, picture)] == [status(who, name)] * 3
    assert (whole.content[:6] == b"SIMPLE") == (name in READ[who])
    if whole.status_code == 200:
        assert (await client.head(f"/api/images/{name}/{name}")).headers["content-length"] == str(
            len(whole.content)
        )


@pytest.mark.asyncio
@pytest.mark.parametrize("name", COLLECTIONS)
async def test_a_part_is_refused_for_a_cutout_of_several(
    client: httpx.AsyncClient, who: str, name: str
) -> None:
    ids = [did("open"), did(name)] if name != "open" else [did("open")]
    asked = cutout(name, RESPONSEFORMAT="tar") | {"ID": ids}
    assert (await client.get("/api/cutout/sync", params=asked)).status_code == status(who, name)


@pytest.mark.asyncio
async def test_hips(client: httpx.AsyncClient, who: str) -> None:
    listed = (await client.get("/api/hips/hipslist")).text
    for name in COLLECTIONS:
        assert (f"/api/hips/{name}\n" in listed) == (name in READ[who])
        answer = await client.get(f"/api/hips/{name}/properties")
        assert (answer.status_code == 200) == (name in READ[who])
        # That a tree exists of what one may not read is nobody's business.
        assert answer.status_code in {200, 401, 403, 404}


@pytest.mark.asyncio
async def test_what_programs_are_told(client: httpx.AsyncClient, who: str) -> None:
    document = (await client.get("/.well-known/astrolabe")).json()
    assert [c["name"] for c in document["collections"]] == list(SEEN[who])
