"""Mosaics as clients ask for them: estimates, jobs, rights, limits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import numpy as np
import pytest
import pytest_asyncio
from astropy.io import fits
from fastapi import FastAPI

from astrolabe.config import ImageSettings, Settings
from astrolabe.factory import ProcessContext
from astrolabe.identity.access import Access, AccessRule, Resource
from astrolabe.identity.authority import OPERATOR
from astrolabe.images.model import ImageCollection, ImageKey
from astrolabe_api.main import create_app
from tests.api.conftest import serving
from tests.api.rights_support import RECENT, guarded_settings, token_of
from tests.mosaic.fields import DEC, RA, write_field

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("worker")]

UWS = "{http://www.ivoa.net/xml/UWS/v1.0}"
HREF = "{http://www.w3.org/1999/xlink}href"
CIRCLE = f"{RA} {DEC} 0.02"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def did(collection: str, image_id: str) -> str:
    return f"ivo://astrolabe.invalid/{collection}?{image_id}"


def mosaic_settings(home: Path) -> Settings:
    settings = guarded_settings(home, quotas={"anonymous_bytes_per_day": None})
    limits = ImageSettings(mosaic_mpix=0.05, mosaic_images=4, job_mpix=1.0)
    return settings.model_copy(update={"images": limits})


def _fill(context: ProcessContext, files: Path) -> None:
    images = context.images
    folder = context.settings.paths.images
    records = []
    for name, listed in (("visits", None), ("many", None), ("secret", False), ("listed", True)):
        images.store.ensure_collection(ImageCollection(name=name, created=NOW))
        if listed is not None:
            rule = AccessRule(access=Access.GROUP, group="team", listed=listed)
            context.rights.set_rule(Resource.of_collection(name), rule, by=OPERATOR)
    wanted: list[tuple[str, str, dict[str, Any]]] = [
        ("visits", "v1", {}),
        ("visits", "v2", {"t_min": 60100.0, "t_max": 60100.5}),
        ("visits", "g1", {"band": "g", "em_min": 4e-7, "em_max": 5.5e-7}),
        ("secret", "s1", {}),
        ("listed", "l1", {}),
        *(("many", f"m{n}", {}) for n in range(5)),
    ]
    for collection, image_id, changes in wanted:
        path = files / f"{collection}_{image_id}.fits"
        record = write_field(path, folder, angle_deg=10.0)
        records.append(
            replace(
                record,
                key=ImageKey(collection, image_id),
                obscore={**record.obscore, "obs_id": image_id, **changes},
            )
        )
    images.store.put(records)
    images.obscore.publish()


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with visits of one place, and ada who is in the team that may read all."""
    made = tmp_path_factory.mktemp("mosaic")
    with ProcessContext.open(mosaic_settings(made)) as context:
        for name in ("ada", "bob"):
            context.users.create(name, by=RECENT, groups=())
        context.groups.create("team", by=OPERATOR, owner="ada")
        _fill(context, tmp_path_factory.mktemp("files"))
    return made


@pytest.fixture(scope="session")
def tokens(home: Path) -> dict[str, dict[str, str]]:
    with ProcessContext.open(mosaic_settings(home)) as context:
        made = {name: token_of(context, name, scopes=("read:image",)) for name in ("ada", "bob")}
    return {"anonymous": {}, **made}


@pytest.fixture(scope="module")
def app(home: Path) -> FastAPI:
    return create_app(mosaic_settings(home))


@pytest_asyncio.fixture(scope="module")
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(app) as client:
        yield client


@pytest.fixture(scope="module")
def worker(home: Path) -> Iterator[None]:
    with ProcessContext.open(mosaic_settings(home)) as context, context.worker():
        yield


async def run(
    client: httpx.AsyncClient, *, headers: Mapping[str, str] | None = None, **sent: Any
) -> tuple[ET.Element, str]:
    """Run a job to its end; return its document and its address."""
    made = await client.post("/api/mosaic", data={"PHASE": "RUN", **sent}, headers=headers)
    assert made.status_code == 303, made.text
    place = made.headers["location"]
    for _ in range(10):
        answer = await client.get(place, params={"WAIT": "3"}, headers=headers)
        document = ET.fromstring(answer.content)  # noqa: S314 - our own answer
        if document.findtext(f"{UWS}phase") not in {"PENDING", "QUEUED", "EXECUTING"}:
            break
    return document, place


def phase_of(document: ET.Element) -> str | None:
    return document.findtext(f"{UWS}phase")


def message_of(document: ET.Element) -> str:
    return document.findtext(f"{UWS}errorSummary/{UWS}message") or ""


async def test_a_coadd_of_chosen_visits_is_made(client: httpx.AsyncClient) -> None:
    asked: dict[str, Any] = {
        "COLLECTION": "visits",
        "CIRCLE": CIRCLE,
        "BAND": "r",
        "SCALE": "2",
    }
    estimate = (await client.get("/api/mosaic/estimate", params=asked)).json()
    assert (estimate["images"], estimate["images_not_readable"]) == (2, 0)
    assert estimate["combine"] == "weighted"
    document, place = await run(client, **asked)
    assert phase_of(document) == "COMPLETED", message_of(document)
    (result,) = document.iter(f"{UWS}result")
    assert result.attrib["mime-type"] == "application/fits"
    answer = await client.get(result.attrib[HREF])
    assert abs(len(answer.content) - estimate["result_bytes"]) < 30_000
    with fits.open(BytesIO(answer.content)) as hdus:
        assert hdus["IMAGE"].data.shape == (estimate["height"], estimate["width"])
        np.testing.assert_allclose(np.nanmax(hdus["WEIGHT"].data), 2.0, rtol=0.05)
        assert [hdus[0].header[f"PROG{n}"] for n in (1, 2)] == ["visits/v1", "visits/v2"]
    part = await client.get(f"{place}/results/mosaic", headers={"Range": "bytes=0-79"})
    assert part.status_code == 206
    assert part.content == answer.content[:80]
    assert '"images"' in ET.tostring(document, "unicode") or "images" in document.itertext()


async def test_a_job_says_when_it_will_end(client: httpx.AsyncClient) -> None:
    asked = {"COLLECTION": "visits", "CIRCLE": CIRCLE, "BAND": "r"}
    made = await client.post("/api/mosaic", data=asked)
    place = made.headers["location"]
    document = ET.fromstring((await client.get(place)).content)  # noqa: S314 - our own answer
    assert phase_of(document) == "PENDING"
    begun = datetime.now(UTC)
    quote = datetime.fromisoformat(document.findtext(f"{UWS}quote") or "")
    assert timedelta(0) < quote - begun < timedelta(minutes=1)
    alone = (await client.get(f"{place}/quote")).text
    assert abs(datetime.fromisoformat(alone) - quote) < timedelta(seconds=30)
    await client.post(f"{place}/phase", data={"PHASE": "RUN"})
    for _ in range(10):
        document = ET.fromstring((await client.get(place, params={"WAIT": "3"})).content)  # noqa: S314
        if phase_of(document) == "COMPLETED":
            break
    assert phase_of(document) == "COMPLETED"
    assert (await client.get(f"{place}/quote")).text == ""
    wrong = await client.post("/api/mosaic", data={"COLLECTION": "nothing", "CIRCLE": CIRCLE})
    assert (await client.get(wrong.headers["location"])).status_code == 200
    assert (await client.get(f"{wrong.headers['location']}/quote")).text == ""


@pytest.mark.parametrize(
    ("choice", "images"),
    [
        ({}, 3),
        ({"BAND": "g"}, 1),
        ({"BAND": "4.5e-7 4.6e-7"}, 1),
        ({"TIME": "60050 60200"}, 1),
        ({"TIME": "-Inf 60050"}, 2),
        ({"CIRCLE": f"{RA} {DEC} 0.001"}, 3),
    ],
    ids=["all", "band", "wavelengths", "after", "before", "small"],
)
async def test_images_are_chosen_by_band_and_time(
    client: httpx.AsyncClient, choice: dict[str, str], images: int
) -> None:
    asked = {"COLLECTION": "VISITS", "CIRCLE": CIRCLE, **choice}
    answer = await client.post("/api/mosaic/estimate", data=asked)
    assert answer.status_code == 200, answer.text
    assert answer.json()["images"] == images
    if "CIRCLE" not in choice:
        named = {
            **{name: value for name, value in asked.items() if name != "COLLECTION"},
            "ID": [did("visits", image) for image in ("v1", "v2", "g1")],
        }
        answer = await client.post("/api/mosaic/estimate", data=named)
        assert answer.json()["images"] == images


@pytest.mark.parametrize("who", ["anonymous", "bob", "ada"])
@pytest.mark.parametrize("way", ["collection", "id"])
@pytest.mark.parametrize("kind", ["secret", "listed"])
async def test_rights_hold(
    client: httpx.AsyncClient, tokens: dict[str, dict[str, str]], who: str, way: str, kind: str
) -> None:
    image = {"secret": "s1", "listed": "l1"}[kind]
    chosen = {"COLLECTION": kind} if way == "collection" else {"ID": did(kind, image)}
    asked: dict[str, Any] = {**chosen, "CIRCLE": CIRCLE}
    answer = await client.get("/api/mosaic/estimate", params=asked, headers=tokens[who])
    if who == "ada":
        assert answer.status_code == 200
    elif kind == "secret":
        # With a login there may be something of this name.
        assert answer.status_code == (401 if who == "anonymous" else 404)
    else:
        assert answer.status_code == (401 if who == "anonymous" else 403)
    document, _ = await run(client, headers=tokens[who], **asked)
    assert phase_of(document) == ("COMPLETED" if who == "ada" else "ERROR")


@pytest.mark.parametrize(
    ("asked", "status", "says"),
    [
        ({"COLLECTION": "visits", "CIRCLE": "10 10 0.01"}, 204, ""),
        ({"COLLECTION": "visits", "CIRCLE": f"{RA} {DEC} 1"}, 413, "images.mosaic_mpix"),
        ({"COLLECTION": "many", "CIRCLE": CIRCLE}, 413, "images.mosaic_images"),
        ({"COLLECTION": "nothing", "CIRCLE": CIRCLE}, 404, "no collection"),
        ({"ID": did("visits", "no"), "CIRCLE": CIRCLE}, 404, "no image"),
        ({"ID": did("visits", "../../etc/passwd"), "CIRCLE": CIRCLE}, 400, "not the id"),
        ({"COLLECTION": "visits", "POS": "RANGE 0 360 -90 90"}, 400, "HiPS"),
        ({"COLLECTION": "visits"}, 400, "POS, CIRCLE and POLYGON"),
    ],
    ids=["nowhere", "wide", "many", "collection", "image", "path", "all-sky", "no-region"],
)
async def test_what_cannot_be_made_is_refused(
    client: httpx.AsyncClient,
    tokens: dict[str, dict[str, str]],
    asked: dict[str, Any],
    status: int,
    says: str,
) -> None:
    answer = await client.get("/api/mosaic/estimate", params=asked, headers=tokens["bob"])
    assert answer.status_code == status, answer.text
    assert says in answer.text
    document, _ = await run(client, **asked)
    assert phase_of(document) == "ERROR"
    assert says in message_of(document)


async def test_a_mosaic_on_the_grid_of_a_header(client: httpx.AsyncClient) -> None:
    text = (
        "CTYPE1  = 'RA---SIN'\nCTYPE2  = 'DEC--SIN'\nNAXIS1  = 40\nNAXIS2  = 30\n"
        f"CRVAL1  = {RA}\nCRVAL2  = {DEC}\nCRPIX1  = 20\nCRPIX2  = 15\n"
        "CDELT1  = -0.001\nCDELT2  = 0.001"
    )
    document, place = await run(client, COLLECTION="visits", WCS=text, COMBINE="MEDIAN")
    assert phase_of(document) == "COMPLETED", message_of(document)
    answer = await client.get(f"{place}/results/mosaic")
    with fits.open(BytesIO(answer.content)) as hdus:
        assert hdus["IMAGE"].data.shape == (30, 40)
        assert hdus["IMAGE"].header["CTYPE1"] == "RA---SIN"
        assert hdus["WEIGHT"].data.max() == 3
