"""Cutouts as jobs: N x M results, bundles, stamps around tables, rights, parts of results."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Mapping
from io import BytesIO
from typing import Any
from xml.etree import ElementTree as ET

import httpx
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from astrolabe.core.errors import TooLargeError
from astrolabe.factory import ProcessContext
from astrolabe.jobs.control import RunningJob
from astrolabe.jobs.model import JobParameter

from .conftest import BANDS, CENTRE, Survey, did, soda_settings
from .support import JOBS, assert_same_sky, label_of, opened, pairs, placed

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("worker")]

UWS = "{http://www.ivoa.net/xml/UWS/v1.0}"
HREF = "{http://www.w3.org/1999/xlink}href"
CIRCLES = [f"{CENTRE[0]} {CENTRE[1]} 0.001", f"{CENTRE[0]} {CENTRE[1] + 1} 0.001"]


async def run(
    client: httpx.AsyncClient, *, headers: Mapping[str, str] | None = None, **sent: Any
) -> tuple[ET.Element, list[tuple[str, str]]]:
    """Run a job to its end; return its document, and ids and addresses of its results."""
    files = sent.pop("files", None)
    data: dict[str, Any] = {"PHASE": "RUN", **sent}
    made = await client.post(JOBS, data=data, files=files, headers=headers)
    assert made.status_code == 303, made.text
    place = made.headers["location"]
    for _ in range(10):
        answer = await client.get(place, params={"WAIT": "3"}, headers=headers)
        document = ET.fromstring(answer.content)  # noqa: S314 - our own answer
        phase = document.findtext(f"{UWS}phase")
        if phase not in {"PENDING", "QUEUED", "EXECUTING"}:
            break
    results = [(entry.attrib["id"], entry.attrib[HREF]) for entry in document.iter(f"{UWS}result")]
    return document, results


def phase_of(document: ET.Element) -> str | None:
    return document.findtext(f"{UWS}phase")


def message_of(document: ET.Element) -> str:
    return document.findtext(f"{UWS}errorSummary/{UWS}message") or ""


async def test_every_image_with_every_stencil_is_a_result(
    client: httpx.AsyncClient, survey: Survey
) -> None:
    document, results = await run(
        client, ID=[did("coadds", band) for band in BANDS], CIRCLE=CIRCLES
    )
    assert phase_of(document) == "COMPLETED", message_of(document)
    assert [name for name, _ in results] == [f"cutout-{n}" for n in range(1, 7)]
    kinds = [entry.attrib["mime-type"] for entry in document.iter(f"{UWS}result")]
    assert kinds == ["application/fits", "text/plain; charset=utf-8"] * 3
    for (_, address), band in zip(results[::2], BANDS, strict=True):
        answer = await client.get(address)
        with opened(answer) as hdus:
            original = survey.header(band, 1)
            x0, y0 = placed(hdus[0].header, original)
            height, width = hdus[0].data.shape
            expected = survey.data(band, 1)[y0 : y0 + height, x0 : x0 + width]
            np.testing.assert_array_equal(hdus[0].data, expected)
            assert_same_sky(hdus[0].header, original, hdus[0].data.shape)
        assert f"coadds.{band}.cutout-" in answer.headers["content-disposition"]
    for (_, address), band in zip(results[1::2], BANDS, strict=True):
        text = (await client.get(address)).text
        assert text.startswith("UsageError: ")
        assert "outside" in text
        assert did("coadds", band) in text
        assert CIRCLES[1] in text


async def test_a_part_of_a_result_can_be_had(client: httpx.AsyncClient) -> None:
    _, results = await run(client, ID=did("coadds", "r"), CIRCLE=CIRCLES[0])
    ((_, address),) = results
    whole = await client.get(address)
    part = await client.get(address, headers={"Range": "bytes=0-79"})
    assert (part.status_code, part.content) == (206, whole.content[:80])
    assert part.headers["content-range"] == f"bytes 0-79/{len(whole.content)}"
    same = await client.get(address, headers={"If-None-Match": whole.headers["etag"]})
    assert same.status_code == 304
    head = await client.head(address)
    assert int(head.headers["content-length"]) == len(whole.content)
    assert (await client.get(f"{address}x")).status_code == 404


async def test_a_bundle_is_one_result(client: httpx.AsyncClient) -> None:
    document, results = await run(
        client, ID=[did("coadds", band) for band in BANDS], CIRCLE=CIRCLES, RESPONSEFORMAT="tar"
    )
    assert phase_of(document) == "COMPLETED", message_of(document)
    assert [name for name, _ in results] == ["cutouts"]
    answer = await client.get(results[0][1])
    assert answer.headers["content-type"] == "application/x-tar"
    with tarfile.open(fileobj=BytesIO(answer.content)) as tar:
        names = tar.getnames()
    assert len(names) == 4
    assert names[-1] == "index.ecsv"


def csv_of(*rows: str) -> dict[str, tuple[str, bytes, str]]:
    return {"table": ("stars.csv", "\n".join(rows).encode(), "text/csv")}


def members_of(answer: httpx.Response) -> dict[str, bytes]:
    assert answer.status_code == 200, answer.text[:500]
    with tarfile.open(fileobj=BytesIO(answer.content)) as tar:
        return {m.name: f.read() for m in tar if (f := tar.extractfile(m)) is not None}


async def test_stamps_are_cut_around_a_table(client: httpx.AsyncClient, survey: Survey) -> None:
    ra, dec = CENTRE
    document, results = await run(
        client,
        ID=[did("coadds", band) for band in BANDS],
        UPLOAD="positions,param:table",
        RESPONSEFORMAT="tar",
        SIZE=str(21 * 0.2 / 3600),
        files=csv_of(
            "id,ra,dec,size",
            f"first/../../x,{ra},{dec},",
            f"second,{ra},{dec + 0.002},{11 * 0.2 / 3600}",
            f"far,{ra},{dec + 5},",
            "nowhere,,,",
        ),
    )
    assert phase_of(document) == "COMPLETED", message_of(document)
    members = members_of(await client.get(results[0][1]))
    index = Table.read(members.pop("index.ecsv").decode(), format="ascii.ecsv")
    assert len(members) == 6
    assert not any("/" in name or name.startswith(".") for name in members)
    made = index[[not reason for reason in index["reason"]]]
    assert sorted(set(made["row"])) == [1, 2]
    failed = {row["row"]: row["reason"] for row in index if row["reason"]}
    assert failed.keys() == {3, 4}
    for row in made:
        band = str(row["image"]).rpartition("?")[2]
        with fits.open(BytesIO(members[row["name"]])) as hdus:
            side = 21 if row["row"] == 1 else 11
            assert hdus[0].data.shape == (side, side)
            original = survey.header(band, 1)
            x0, y0 = placed(hdus[0].header, original)
            assert (x0, y0) == (row["x0"], row["y0"])
            expected = survey.data(band, 1)[y0 : y0 + side, x0 : x0 + side]
            np.testing.assert_array_equal(hdus[0].data, expected)
            assert_same_sky(hdus[0].header, original, hdus[0].data.shape)


async def result_of(client: httpx.AsyncClient, query: str) -> str:
    """Run a query as a job; return the address of its result."""
    made = await client.post(
        "/api/tap/async", data={"PHASE": "RUN", "LANG": "ADQL", "QUERY": query}
    )
    job = made.headers["location"]
    waited = await client.get(f"{job}/phase", params={"WAIT": "5"})
    while waited.text in {"QUEUED", "EXECUTING"}:
        waited = await client.get(f"{job}/phase", params={"WAIT": "5"})
    assert waited.text == "COMPLETED"
    return f"{job}/results/result"


async def test_the_result_of_a_query_gives_images(client: httpx.AsyncClient) -> None:
    """Of ObsCore, read with the caller's rights: what he may only see gives no stamps."""
    images = await result_of(
        client,
        "SELECT obs_publisher_did, obs_collection FROM ivoa.ObsCore "
        "WHERE band IN ('g', 'i') OR obs_collection IN ('listed', 'secret')",
    )
    document, results = await run(
        client,
        UPLOAD=f"positions,param:table;images,{images}",
        RESPONSEFORMAT="tar",
        files=csv_of("id,ra,dec", f"one,{CENTRE[0]},{CENTRE[1]}"),
    )
    assert phase_of(document) == "COMPLETED", message_of(document)
    members = members_of(await client.get(results[0][1]))
    index = Table.read(members.pop("index.ecsv").decode(), format="ascii.ecsv")
    assert set(index["image"]) == {did("coadds", "g"), did("coadds", "i")}
    assert len(members) == 2


async def test_the_result_of_a_query_gives_positions(client: httpx.AsyncClient) -> None:
    positions = await result_of(client, "SELECT id, ra, dec FROM dr1.star ORDER BY id")
    document, results = await run(
        client,
        COLLECTION="coadds",
        FILTER="r",
        UPLOAD=f"positions,{positions}",
        RESPONSEFORMAT="tar",
        SIZE="0.0003",
    )
    assert phase_of(document) == "COMPLETED", message_of(document)
    members = members_of(await client.get(results[0][1]))
    index = Table.read(members.pop("index.ecsv").decode(), format="ascii.ecsv")
    assert len(members) == 30
    assert {str(i) for i in index["id"]} == {str(2**60 + n) for n in range(30)}
    assert set(index["image"]) == {did("coadds", "r")}


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({}, "ID is missing"),
        ({"ID": did("coadds", "none")}, "no image"),
        ({"ID": did("secret", "s1")}, "no image"),
        ({"ID": did("coadds", "r"), "CIRCLE": "1 2 3 4"}, "CIRCLE takes"),
        ({"ID": did("odd", "cut")}, "import it again"),
        ({"ID": did("odd", "cube"), "PLANES": "variance"}, "no plane variance"),
        (
            {"ID": did("coadds", "r"), "CIRCLE": [f"1 2 0.{n:03d}" for n in range(1, 42)]},
            "images.job_cutouts",
        ),
        (
            {"ID": did("coadds", "r"), "UPLOAD": "positions,param:t", "RESPONSEFORMAT": "tar"},
            "no such multipart part",
        ),
        (
            {
                "ID": did("coadds", "r"),
                "UPLOAD": "positions,https://elsewhere.example/table",
                "RESPONSEFORMAT": "tar",
            },
            "only this platform's own",
        ),
        (
            {
                "ID": did("coadds", "r"),
                "UPLOAD": "positions,file:///etc/passwd",
                "RESPONSEFORMAT": "tar",
            },
            "only this platform's own",
        ),
        (
            {"COLLECTION": "secret", "UPLOAD": "positions,param:table", "RESPONSEFORMAT": "tar"},
            "no collection",
        ),
    ],
    ids=[
        "nothing", "unknown", "hidden", "circle", "truncated", "no-plane", "too-many", "no-part",
        "elsewhere", "file", "hidden-collection",
    ],
)  # fmt: skip
async def test_a_job_that_cannot_be_done_says_why(
    client: httpx.AsyncClient, sent: dict[str, Any], words: str
) -> None:
    files = csv_of("ra,dec", "1,2") if sent.get("UPLOAD", "").endswith(":table") else None
    document, results = await run(client, **sent, files=files)
    assert phase_of(document) == "ERROR"
    assert words in message_of(document)
    assert not results
    job = document.findtext(f"{UWS}jobId")
    error = await client.get(f"{JOBS}/{job}/error")
    assert re.match(r"(UsageError|Error|AuthorizationError): ", error.text)


async def test_what_one_image_lacks_does_not_end_the_others(client: httpx.AsyncClient) -> None:
    document, results = await run(
        client, ID=[did("odd", "cut"), did("odd", "cube"), did("coadds", "r")], PLANES="variance"
    )
    assert phase_of(document) == "COMPLETED", message_of(document)
    texts = [(await client.get(address)).content[:10] for _, address in results]
    assert texts[0].startswith(b"Error: ")
    assert texts[1].startswith(b"UsageError")
    assert texts[2].startswith(b"SIMPLE")


async def test_more_pixels_than_a_job_may_cut_end_it(survey: Survey) -> None:
    """The limit counts all results together, and nothing of the last one is kept."""
    settings = soda_settings(survey.home, job_mpix=0.05)
    with ProcessContext.open(settings) as context:
        jobs, runner = context.jobs, context.worker()._runners["soda"]

        parameters = [JobParameter("ID", did("coadds", band)) for band in BANDS]
        job = jobs.create("soda", parameters, owner=None)
        with pytest.raises(TooLargeError, match=r"images\.job_mpix"):
            runner.run(job, RunningJob(job))
        kept = sorted(p.name for p in (settings.paths.results / job.job_id).iterdir())
        assert kept == ["cutout-1.fits"]


async def test_a_job_has_the_rights_of_its_owner(
    client: httpx.AsyncClient, tokens: dict[str, dict[str, str]]
) -> None:
    document, results = await run(
        client, headers=tokens["ada"], ID=did("secret", "s1"), CIRCLE=CIRCLES[0]
    )
    assert phase_of(document) == "COMPLETED"
    (address,) = [address for _, address in results]
    assert (await client.get(address, headers=tokens["ada"])).status_code == 200
    for other in ("bob", "anonymous"):
        assert (await client.get(address, headers=tokens[other])).status_code == 404
    document, _ = await run(client, headers=tokens["bob"], ID=did("listed", "l1"))
    assert phase_of(document) == "ERROR"
    assert "may not read" in message_of(document)


@pytest.mark.parametrize(
    ("caller", "image", "label"),
    [
        ("bob", did("listed", "l1"), "AuthorizationError"),
        ("anonymous", did("listed", "l1"), "AuthenticationError"),
        ("bob", did("secret", "s1"), "UsageError"),
    ],
    ids=["forbidden", "no-login", "hidden"],
)
async def test_the_error_of_a_job_has_the_label_of_its_kind(
    client: httpx.AsyncClient,
    tokens: dict[str, dict[str, str]],
    caller: str,
    image: str,
    label: str,
) -> None:
    document, _ = await run(client, headers=tokens[caller], ID=image)
    job = document.findtext(f"{UWS}jobId")
    error = await client.get(f"{JOBS}/{job}/error", headers=tokens[caller])
    assert error.status_code == 200
    assert label_of(error) == label


async def test_a_collection_gives_only_what_its_reader_may_have(
    client: httpx.AsyncClient, tokens: dict[str, dict[str, str]]
) -> None:
    sent: dict[str, Any] = {
        "COLLECTION": "listed",
        "UPLOAD": "positions,param:table",
        "RESPONSEFORMAT": "tar",
    }
    table = csv_of("ra,dec", f"{CENTRE[0]},{CENTRE[1]}")
    counts = {}
    for name in ("ada", "bob"):
        _, results = await run(client, headers=tokens[name], **sent, files=table)
        counts[name] = len(members_of(await client.get(results[0][1], headers=tokens[name]))) - 1
    assert counts == {"ada": 1, "bob": 0}


async def test_parameters_can_be_added_before_the_job_runs(client: httpx.AsyncClient) -> None:
    made = await client.post(JOBS, data={"ID": did("coadds", "g")})
    place = made.headers["location"]
    sent = pairs(CIRCLE=CIRCLES[0], RESPONSEFORMAT="image/png", STRETCH="sqrt")
    await client.post(f"{place}/parameters", data=dict(sent))
    await client.post(f"{place}/phase", data={"PHASE": "RUN"})
    phase = "QUEUED"
    while phase in {"QUEUED", "EXECUTING"}:
        phase = (await client.get(f"{place}/phase", params={"WAIT": "3"})).text
    assert phase == "COMPLETED"
    answer = await client.get(f"{place}/results/cutout-1")
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG")
    deleted = await client.delete(place)
    assert deleted.status_code == 303
    assert (await client.get(place)).status_code == 404
