"""Sync cutouts through the front door: pixels, positions, planes, forms, errors, rights."""

from __future__ import annotations

import asyncio
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from fastapi import FastAPI
from PIL import Image

from astrolabe.factory import ProcessContext
from astrolabe.images.soda import writing
from astrolabe_api.main import create_app
from tests.api.conftest import serving
from tests.api.support import RawClient
from tests.api.xsd import assert_valid

from .conftest import BANDS, CENTRE, Survey, did, soda_settings
from .support import SYNC, assert_same_sky, label_of, opened, pairs, placed

pytestmark = pytest.mark.asyncio

CIRCLE = f"{CENTRE[0]} {CENTRE[1]} 0.001"


async def test_a_circle_is_cut_with_its_position_and_its_source(
    client: httpx.AsyncClient, survey: Survey
) -> None:
    answer = await client.get(SYNC, params={"ID": did("coadds", "r"), "CIRCLE": CIRCLE})
    with opened(answer) as hdus:
        (hdu,) = hdus
        original = survey.header("r", 1)
        x0, y0 = placed(hdu.header, original)
        height, width = hdu.data.shape
        # 0.001 deg are 18 pixels of 0.2 arcsec.
        assert 36 <= width <= 38
        assert 36 <= height <= 38
        expected = survey.data("r", 1)[y0 : y0 + height, x0 : x0 + width]
        np.testing.assert_array_equal(hdu.data, expected)
        assert_same_sky(hdu.header, original, hdu.data.shape)
        assert hdu.header["SRCDID"] == did("coadds", "r")
        assert hdu.header["SRCREL"] == "dr7"
        assert CIRCLE in hdu.header["CUTREG"]
    assert answer.headers["content-disposition"] == ('attachment; filename="coadds.r.cutout.fits"')
    assert int(answer.headers["content-length"]) == len(answer.content)


@pytest.mark.parametrize("path", ["/api/cutout", "/api/cutout/sync"])
@pytest.mark.parametrize("form", ["url", "form", "multipart"])
async def test_parameters_come_in_every_way(
    client: httpx.AsyncClient, path: str, form: str
) -> None:
    wanted = {"id": did("coadds", "r"), "circle": CIRCLE}
    match form:
        case "url":
            answer = await client.get(path, params=wanted)
        case "form":
            answer = await client.post(path, data=wanted)
        case _:
            parts = {name: (None, value) for name, value in wanted.items()}
            answer = await client.post(path, files=parts)
    with opened(answer) as hdus:
        assert hdus[0].data.shape == (38, 38) or hdus[0].data.shape[0] >= 36


async def test_shapes_of_pos_mean_the_same_as_their_own_parameters(
    client: httpx.AsyncClient,
) -> None:
    ra, dec = CENTRE
    polygon = f"{ra - 0.001} {dec} {ra + 0.001} {dec} {ra} {dec + 0.001}"
    for shape, value in (("CIRCLE", CIRCLE), ("POLYGON", polygon)):
        by_name = await client.get(SYNC, params={"ID": did("coadds", "r"), shape: value})
        by_pos = await client.get(
            SYNC, params={"ID": did("coadds", "r"), "POS": f"{shape} {value}"}
        )
        with opened(by_name) as first, opened(by_pos) as second:
            np.testing.assert_array_equal(first[0].data, second[0].data)
            assert first[0].header["CRPIX1"] == second[0].header["CRPIX1"]


async def test_a_range_crosses_right_ascension_zero(
    client: httpx.AsyncClient, survey: Survey
) -> None:
    answer = await client.get(
        SYNC, params={"ID": did("odd", "zero"), "POS": "RANGE 359.999 0.001 4.999 5.001"}
    )
    with opened(answer) as hdus:
        original = survey.header("zero", 0)
        x0, y0 = placed(hdus[0].header, original)
        height, width = hdus[0].data.shape
        corners = WCS(original).all_world2pix(
            [[ra, dec] for ra in (-0.001, 0.001) for dec in (4.999, 5.001)], 0
        )
        # All four corners are in it, and it is no larger than they need.
        assert (corners >= [x0 - 0.5, y0 - 0.5]).all()
        assert (corners <= [x0 + width - 0.5, y0 + height - 0.5]).all()
        assert np.ptp(corners, axis=0)[0] + 2 >= width
        assert np.ptp(corners, axis=0)[1] + 2 >= height


@pytest.mark.parametrize("image", ["bare", "lost"])
async def test_an_image_without_a_position_comes_whole(
    client: httpx.AsyncClient, survey: Survey, image: str
) -> None:
    asked = {"ID": did("odd", image)}
    region = await client.get(SYNC, params={**asked, "CIRCLE": CIRCLE})
    assert (region.status_code, label_of(region)) == (400, "UsageError")
    assert "no position" in region.text
    picture = await client.get(SYNC, params={**asked, "RESPONSEFORMAT": "png"})
    assert picture.headers["content-type"] == "image/png"
    with opened(await client.get(SYNC, params=asked)) as hdus:
        np.testing.assert_array_equal(hdus[0].data, survey.data(image, 0))
        assert hdus[0].header["CUTREG"] == "whole image"


async def test_planes_come_as_extensions(client: httpx.AsyncClient, survey: Survey) -> None:
    answer = await client.get(
        SYNC,
        params={
            "ID": did("coadds", "g"),
            "CIRCLE": CIRCLE,
            "PLANES": "image,mask,variance",
        },
    )
    with opened(answer) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "IMAGE", "MASK", "VARIANCE"]
        assert hdus[0].header["SRCDID"] == did("coadds", "g")
        for number in (1, 2, 3):
            original = survey.header("g", number)
            x0, y0 = placed(hdus[number].header, original)
            height, width = hdus[number].data.shape
            expected = survey.data("g", number)[y0 : y0 + height, x0 : x0 + width]
            np.testing.assert_array_equal(hdus[number].data, expected)
            assert_same_sky(hdus[number].header, original, hdus[number].data.shape)


async def test_compressed_cutouts_lose_nothing(client: httpx.AsyncClient) -> None:
    wanted = {"ID": did("coadds", "g"), "CIRCLE": CIRCLE, "PLANES": "image,mask"}
    plain = await client.get(SYNC, params=wanted)
    answer = await client.get(SYNC, params={**wanted, "RESPONSEFORMAT": "fits.fz"})
    with opened(plain) as expected, opened(answer) as hdus:
        assert isinstance(hdus[1], fits.CompImageHDU)
        for name in ("IMAGE", "MASK"):
            np.testing.assert_array_equal(hdus[name].data, expected[name].data)
            assert hdus[name].header["CRPIX1"] == expected[name].header["CRPIX1"]


async def test_a_cube_is_cut_along_its_wavelengths(
    client: httpx.AsyncClient, survey: Survey
) -> None:
    answer = await client.get(
        SYNC, params={"ID": did("odd", "cube"), "BAND": "4.8e-7 6.1e-7", "PLANES": "image,mask"}
    )
    with opened(answer) as hdus:
        np.testing.assert_array_equal(hdus["IMAGE"].data, survey.data("cube", 0)[1:3])
        assert hdus["IMAGE"].header["CRPIX3"] == 0.0
        np.testing.assert_array_equal(hdus["MASK"].data, survey.data("cube", 1))


@pytest.mark.parametrize("form", ["png", "jpeg"])
async def test_pictures_are_drawn(client: httpx.AsyncClient, form: str) -> None:
    answer = await client.get(
        SYNC,
        params={
            "ID": did("coadds", "r"),
            "CIRCLE": CIRCLE,
            "RESPONSEFORMAT": form,
            "STRETCH": "log",
            "LIMITS": "90 200",
            "CMAP": "viridis",
        },
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"image/{form}"
    assert answer.headers["content-disposition"].startswith("inline")
    picture = Image.open(BytesIO(answer.content))
    assert picture.format == form.upper()
    assert min(picture.size) >= 36
    assert len(np.unique(np.asarray(picture.convert("L")))) > 20


@pytest.mark.parametrize("planes", ["image", "mask"])
@pytest.mark.parametrize("name", ["coadds:r", "odd:cube"])
async def test_pictures_of_large_cutouts_are_drawn_smaller(
    client: httpx.AsyncClient,
    survey: Survey,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    planes: str,
) -> None:
    monkeypatch.setattr(writing, "_PICTURE_PIXELS", 1000)
    monkeypatch.setattr(writing, "_BLOCK_PIXELS", 3000)
    collection, _, image_id = name.partition(":")
    limits = {"image": "90 130" if image_id == "r" else "0 17000", "mask": "0 4"}[planes]
    answer = await client.get(
        SYNC,
        params={
            "ID": did(collection, image_id),
            "PLANES": planes,
            "RESPONSEFORMAT": "png",
            "STRETCH": "linear",
            "LIMITS": limits,
        },
    )
    assert answer.status_code == 200
    shown = np.asarray(Image.open(BytesIO(answer.content)).convert("L"))[::-1]
    if (image_id, planes) == ("cube", "mask"):
        assert shown.shape == (60, 70)
        return
    pixels = survey.data(
        image_id, planes == "mask" if image_id == "cube" else 1 + (planes == "mask")
    )
    pixels = pixels.mean(axis=0) if pixels.ndim == 3 else pixels.astype(float)
    side = int(np.ceil(np.sqrt(pixels.size / 1000)))
    assert shown.shape == tuple(-(-length // side) for length in pixels.shape)
    low, high = (float(limit) for limit in limits.split())
    first = pixels[:side, :side].mean()
    last = pixels[pixels.shape[0] // side * side - side :, :side][:side].mean()
    for mean, pixel in ((first, shown[0, 0]), (last, shown[pixels.shape[0] // side - 1, 0])):
        assert abs(np.clip((mean - low) / (high - low), 0, 1) * 255 - pixel) < 2


async def test_three_images_make_a_picture_in_colours(client: httpx.AsyncClient) -> None:
    ids = ",".join(did("coadds", band) for band in reversed(BANDS))
    answer = await client.get(SYNC, params={"RGB": ids, "CIRCLE": CIRCLE, "RESPONSEFORMAT": "png"})
    assert answer.status_code == 200
    colours = np.asarray(Image.open(BytesIO(answer.content)).convert("RGB")).astype(int)
    assert min(colours.shape[:2]) >= 36
    # Different noise in each band is colour.
    assert (colours[..., 0] != colours[..., 2]).mean() > 0.2


async def test_a_tar_holds_every_image_with_every_stencil(
    client: httpx.AsyncClient, survey: Survey
) -> None:
    far = f"{CENTRE[0]} {CENTRE[1] + 1} 0.001"
    answer = await client.get(
        SYNC,
        params=pairs(
            ID=[did("coadds", band) for band in BANDS], CIRCLE=[CIRCLE, far], RESPONSEFORMAT="tar"
        ),
    )
    assert answer.status_code == 200
    with tarfile.open(fileobj=BytesIO(answer.content)) as tar:
        files = {
            member.name: member_file.read()
            for member in tar
            if (member_file := tar.extractfile(member)) is not None
        }
    index = Table.read(files["index.ecsv"].decode(), format="ascii.ecsv")
    assert list(index["number"]) == [1, 2, 3, 4, 5, 6]
    assert [bool(reason) for reason in index["reason"]] == [False, True] * 3
    assert all("outside" in reason for reason in index["reason"][1::2])
    for row, band in zip(index[::2], BANDS, strict=True):
        assert row["image"] == did("coadds", band)
        with fits.open(BytesIO(files[row["name"]])) as hdus:
            x0, y0 = placed(hdus[0].header, survey.header(band, 1))
            height, width = hdus[0].data.shape
            expected = survey.data(band, 1)[y0 : y0 + height, x0 : x0 + width]
            np.testing.assert_array_equal(hdus[0].data, expected)


@pytest.mark.parametrize("form", ["mef", "zarr"])
async def test_other_bundles_hold_several_too(client: httpx.AsyncClient, form: str) -> None:
    answer = await client.get(
        SYNC,
        params=pairs(
            ID=[did("coadds", "g"), did("coadds", "r")], CIRCLE=CIRCLE, RESPONSEFORMAT=form
        ),
    )
    if form == "zarr":
        assert answer.headers["content-type"] == "application/zip"
        with zipfile.ZipFile(BytesIO(answer.content)) as store:
            assert store.testzip() is None
            assert any("cutouts" in name for name in store.namelist())
        return
    with opened(answer) as hdus:
        assert [type(hdu).__name__ for hdu in hdus[1:]] == ["ImageHDU", "ImageHDU", "BinTableHDU"]
        index = hdus["INDEX"].data
        assert [hdus[name].data.shape for name in index["name"]] == [
            hdu.data.shape for hdu in hdus[1:3]
        ]


@pytest.mark.parametrize("planes", ["image", "image,mask,variance"])
@pytest.mark.parametrize("name", ["coadds:r", "odd:cube"])
async def test_large_cutouts_are_written_in_blocks_alike(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, name: str, planes: str
) -> None:
    collection, _, image_id = name.partition(":")
    if image_id == "cube":
        planes = planes.removesuffix(",variance")
    wanted = {"ID": did(collection, image_id), "PLANES": planes}
    whole = await client.get(SYNC, params=wanted)
    monkeypatch.setattr(writing, "_BLOCK_PIXELS", 1000)
    answer = await client.get(SYNC, params=wanted)
    with opened(whole) as expected, opened(answer) as hdus:
        for ours, theirs in zip(hdus, expected, strict=True):
            del ours.header["DATE"], theirs.header["DATE"]
            assert ours.header.tostring(sep="\n") == theirs.header.tostring(sep="\n")
            np.testing.assert_array_equal(ours.data, theirs.data)
    assert len(whole.content) == len(answer.content)


@pytest.mark.parametrize(
    "region",
    ["CIRCLE 53.1 10 0.1", "CIRCLE 233.1 27.8 0.1", "RANGE 60 61 -30 -29", "RANGE 0 360 80 90"],
    ids=["north", "antipode", "range", "pole"],
)
async def test_what_does_not_overlap_has_no_body(client: httpx.AsyncClient, region: str) -> None:
    answer = await client.get(SYNC, params={"ID": did("coadds", "r"), "POS": region})
    assert answer.status_code == 204
    assert answer.content == b""
    bundle = await client.get(
        SYNC, params={"ID": did("coadds", "r"), "POS": region, "RESPONSEFORMAT": "tar"}
    )
    assert bundle.status_code == 204


async def test_wavelengths_beside_the_cube_do_not_overlap(client: httpx.AsyncClient) -> None:
    answer = await client.get(SYNC, params={"ID": did("odd", "cube"), "BAND": "1e-3 2e-3"})
    assert answer.status_code == 204


@pytest.mark.parametrize(
    ("parameters", "status", "label", "words"),
    [
        ({}, 400, "UsageError", "ID is missing"),
        ({"ID": "../../etc/passwd"}, 400, "UsageError", "not the identifier"),
        ({"ID": did("coadds", "..%2f..%2fetc%2fpasswd")}, 400, "UsageError", "not the id"),
        ({"ID": did("coadds", "none")}, 404, "UsageError", "no image"),
        ({"ID": did("nowhere", "r")}, 404, "UsageError", "no image"),
        ({"ID": did("coadds", "r"), "CIRCLE": "53.1 -27.8 3arcsec"}, 400, "UsageError", "number"),
        ({"ID": did("coadds", "r"), "CIRCLE": "1 2"}, 400, "UsageError", "CIRCLE takes"),
        ({"ID": did("odd", "bare"), "CIRCLE": CIRCLE}, 400, "UsageError", "no position"),
        ({"ID": did("odd", "cube"), "PLANES": "variance"}, 400, "UsageError", "no plane variance"),
        (
            {"ID": did("odd", "cube"), "PLANES": "variance", "RESPONSEFORMAT": "tar"},
            400,
            "UsageError",
            "no plane variance",
        ),
        ({"ID": did("odd", "cut")}, 500, "Error", "import it again"),
        ({"ID": did("odd", "cut"), "RESPONSEFORMAT": "tar"}, 500, "Error", "import it again"),
        (
            {"ID": did("coadds", "r"), "CIRCLE": [CIRCLE, "1 2 0.1"]},
            400,
            "MultiValuedParamNotSupported",
            "2 cutouts",
        ),
        (
            {"ID": [did("coadds", "r"), did("coadds", "g")]},
            400,
            "MultiValuedParamNotSupported",
            "2 cutouts",
        ),
        (
            {"ID": did("coadds", "r"), "UPLOAD": "positions,param:t", "RESPONSEFORMAT": "tar"},
            400,
            "UsageError",
            "needs a job",
        ),
        ({"ID": did("coadds", "r"), "RESPONSEFORMAT": "exe"}, 400, "UsageError", "forms"),
    ],
    ids=[
        "nothing", "path", "path-in-id", "unknown-image", "unknown-collection", "unit", "short",
        "no-position", "no-plane", "no-plane-in-tar", "truncated", "truncated-in-tar",
        "two-circles", "two-images", "upload", "form",
    ],
)  # fmt: skip
async def test_errors_are_text_with_a_label(
    client: httpx.AsyncClient,
    tokens: dict[str, dict[str, str]],
    parameters: dict[str, Any],
    status: int,
    label: str,
    words: str,
) -> None:
    answer = await client.get(SYNC, params=pairs(**parameters), headers=tokens["bob"])
    assert answer.status_code == status
    assert label_of(answer) == label
    assert words in answer.text
    assert str(Path.home()) not in answer.text
    posted = await client.post(SYNC, data=parameters, headers=tokens["bob"])
    assert (posted.status_code, posted.text) == (answer.status_code, answer.text)


async def test_errors_are_json_for_who_asks_for_that(client: httpx.AsyncClient) -> None:
    answer = await client.get(SYNC, headers={"Accept": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["code"] == "bad-parameter"


@pytest.mark.parametrize("image", ["gone", "cut"])
async def test_a_file_that_was_lost_or_broken_is_no_fault_of_the_user(
    client: httpx.AsyncClient, survey: Survey, image: str
) -> None:
    whole = await client.get(f"/api/images/odd/{image}")
    cutout = await client.get(SYNC, params={"ID": did("odd", image)})
    assert label_of(cutout) == "Error"
    for answer in (whole, cutout):
        assert answer.status_code == 500
        # Where the platform keeps its files is nobody's business.
        assert str(survey.files) not in answer.text


async def test_too_much_is_refused_before_it_is_read(survey: Survey) -> None:
    app = create_app(soda_settings(survey.home, sync_mpix=0.02))
    half_the_sky = {"ID": did("coadds", "r"), "POS": "RANGE 0 360 -90 0"}
    async with serving(app) as client:
        answer = await client.get(SYNC, params=half_the_sky)
        picture = await client.get(SYNC, params={**half_the_sky, "RESPONSEFORMAT": "png"})
        planes = await client.get(
            SYNC,
            params={
                "ID": did("coadds", "r"),
                "CIRCLE": f"{CENTRE[0]} {CENTRE[1]} 0.0025",
                "PLANES": "image,mask,variance",
            },
        )
        small = await client.get(SYNC, params={"ID": did("coadds", "r"), "CIRCLE": CIRCLE})
    for refused in (answer, picture, planes):
        assert refused.status_code == 413
        assert label_of(refused) == "UsageError"
        assert "images.sync_mpix" in refused.text
    assert small.status_code == 200


async def test_colours_of_too_much_are_refused(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "_PICTURE_PIXELS", 1000)
    ids = ",".join(did("coadds", band) for band in BANDS)
    answer = await client.get(SYNC, params={"RGB": ids, "RESPONSEFORMAT": "png"})
    assert answer.status_code == 413
    assert "in colours" in answer.text


async def test_ten_thousand_stencils_are_refused(client: httpx.AsyncClient) -> None:
    many = [("CIRCLE", f"{n / 100} 1 0.1") for n in range(10_000)]
    wanted = [("ID", did("coadds", "r")), ("RESPONSEFORMAT", "tar"), *many]
    body = "&".join(f"{k}={v.replace(' ', '+').replace('?', '%3F')}" for k, v in wanted)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    posted = await client.post(SYNC, content=body, headers=form)
    some = await client.post(SYNC, data=dict([*wanted[:2], ("CIRCLE", [v for _, v in many[:41]])]))
    for refused in (posted, some):
        assert refused.status_code in {400, 413}
        assert label_of(refused) == "UsageError"
    assert "images.job_cutouts" in some.text


@pytest.mark.parametrize(
    ("caller", "image", "status", "label"),
    [
        ("anonymous", did("coadds", "r"), 200, None),
        ("anonymous", did("secret", "s1"), 401, "AuthenticationError"),
        ("anonymous", did("listed", "l1"), 401, "AuthenticationError"),
        ("bob", did("secret", "s1"), 404, "UsageError"),
        ("bob", did("listed", "l1"), 403, "AuthorizationError"),
        ("ada", did("secret", "s1"), 200, None),
        ("ada", did("listed", "l1"), 200, None),
    ],
    ids=lambda value: str(value).rpartition("/")[2],
)
async def test_only_who_may_read_an_image_gets_a_part(
    client: httpx.AsyncClient,
    tokens: dict[str, dict[str, str]],
    caller: str,
    image: str,
    status: int,
    label: str | None,
) -> None:
    headers = tokens[caller]
    answer = await client.get(SYNC, params={"ID": image, "CIRCLE": CIRCLE}, headers=headers)
    assert answer.status_code == status
    assert label is None or label_of(answer) == label
    assert ("www-authenticate" in answer.headers) == (status == 401)
    # Not in colours or in a bundle either, and HEAD tells no more.
    rgb = ",".join([did("coadds", "g"), image, did("coadds", "i")])
    coloured = await client.get(
        SYNC, params={"RGB": rgb, "CIRCLE": CIRCLE, "RESPONSEFORMAT": "png"}, headers=headers
    )
    bundled = await client.get(
        SYNC,
        params=pairs(ID=[did("coadds", "g"), image], CIRCLE=CIRCLE, RESPONSEFORMAT="tar"),
        headers=headers,
    )
    head = await client.head(SYNC, params={"ID": image, "CIRCLE": CIRCLE}, headers=headers)
    assert {coloured.status_code, bundled.status_code, head.status_code} == {status}


async def test_what_is_cut_counts_as_read(survey: Survey) -> None:
    settings = soda_settings(survey.home)
    quotas = settings.quotas.model_copy(update={"anonymous_bytes_per_day": 100_000})
    app = create_app(settings.model_copy(update={"quotas": quotas}))
    wanted = {"ID": did("coadds", "r")}
    async with serving(app) as client:
        # 150 x 180 pixels of 4 bytes are more than the quota.
        refused = await client.get(SYNC, params=wanted)
        small = await client.get(SYNC, params={**wanted, "CIRCLE": CIRCLE})
    assert refused.status_code == 429
    assert label_of(refused) == "ServiceUnavailable"
    assert "retry-after" in refused.headers
    assert small.status_code == 200


async def test_the_work_ends_when_the_client_leaves(
    survey: Survey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle of many cutouts is left after the cutout that is being made."""
    app = create_app(soda_settings(survey.home))
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    counted: list[int] = []
    original = writing.Part.read

    def read(part: writing.Part, max_pixels: float) -> Any:
        counted.append(1)
        loop.call_soon_threadsafe(begun.set)
        if len(counted) == 2:
            left.result(timeout=5)
        return original(part, max_pixels)

    monkeypatch.setattr(writing.Part, "read", read)
    circles = "&".join(f"CIRCLE=53.1+-27.8+{0.0005 + n / 1e6}" for n in range(30))
    query = f"ID={did('coadds', 'r').replace('?', '%3F')}&RESPONSEFORMAT=tar&{circles}"
    async with serving(app):
        leaver = RawClient(app, path=SYNC, query=query)
        left = asyncio.run_coroutine_threadsafe(asyncio.sleep(0.2), loop)
        leaver.start()
        await begun.wait()
        leaver.leave()
        await asyncio.wait([leaver.task] if leaver.task else [], timeout=5)
    assert 1 <= len(counted) <= 3


async def test_head_finds_the_images_and_cuts_nothing(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise AssertionError("pixels were read")

    monkeypatch.setattr(writing.Part, "read", refuse)
    answer = await client.head(SYNC, params={"ID": did("coadds", "r")})
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "application/fits"


async def test_capabilities_name_both_ways(client: httpx.AsyncClient, tmp_path: Path) -> None:
    answer = await client.get("/api/cutout/capabilities")
    assert answer.status_code == 200
    assert_valid(answer.content, tmp_path)
    for standard, path in (("sync-1.0", "sync"), ("async-1.0", "async")):
        assert f'standardID="ivo://ivoa.net/std/SODA#{standard}"' in answer.text
        assert f"https://astrolabe.example/api/cutout/{path}</accessURL>" in answer.text
    available = await client.get("/api/cutout/availability")
    assert_valid(available.content, tmp_path)
    assert "<vosi:available>true</vosi:available>" in available.text


async def test_bundles_leave_no_files_behind(survey: Survey) -> None:
    """What sync bundles were made in is gone."""
    with ProcessContext.open(soda_settings(survey.home)) as context:
        assert not list(context.settings.paths.spill.glob("cutouts-*"))


async def test_the_service_runs_alone(survey: Survey) -> None:
    app: FastAPI = create_app(soda_settings(survey.home), services=["soda"])
    assert "/api/cutout/sync" in app.openapi()["paths"]
