"""DataLink, cutouts and service descriptors through pyvo and STILTS, on real images."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import astropy.units as u
import httpx
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from pyvo.dal import SCSService, TAPService
from pyvo.dal.adhoc import DatalinkResults, DatalinkService, SodaQuery

from astrolabe.catalogs.importing import ImportOptions, run_import
from astrolabe.config import load_settings
from astrolabe.factory import ProcessContext
from astrolabe.tables.model import Column, Datatype
from tests.api.conftest import MemorySource
from tests.support.images import CENTER, write_planes
from tests.support.platform import RunningPlatform, run_astrolabe, running_platform

pytestmark = [
    pytest.mark.client,
    pytest.mark.timeout(300),
    # pyvo leaves the connections of streamed answers to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

OBJECTS = 20
VISITS = 5
FIRST_ID = 2**60
IMAGES = ("a", "b", "c")

_POSITION = (
    Column(name="ra", datatype=Datatype.DOUBLE, unit="deg", ucd="pos.eq.ra;meta.main"),
    Column(name="dec", datatype=Datatype.DOUBLE, unit="deg", ucd="pos.eq.dec;meta.main"),
)
_OBJECT = (
    Column(name="objectId", datatype=Datatype.LONG, ucd="meta.id;meta.main", principal=True),
    *_POSITION,
)
_FORCED = (
    Column(name="forcedId", datatype=Datatype.LONG, ucd="meta.id;meta.main"),
    Column(name="objectId", datatype=Datatype.LONG, ucd="meta.id.parent"),
    Column(name="mjd", datatype=Datatype.DOUBLE, unit="d", ucd="time.epoch"),
    *_POSITION,
)


def _import_tables(home: Path) -> None:
    rng = np.random.default_rng(5)
    ids = np.arange(OBJECTS) + FIRST_ID
    ra = CENTER[0] + rng.uniform(-0.002, 0.002, OBJECTS)
    dec = CENTER[1] + rng.uniform(-0.002, 0.002, OBJECTS)
    parents = np.tile(np.arange(OBJECTS), VISITS)
    forced = {
        "forcedId": np.arange(len(parents)),
        "objectId": ids[parents],
        "mjd": 60_000.0 + np.arange(len(parents)),
        "ra": ra[parents],
        "dec": dec[parents],
    }
    with ProcessContext.open(load_settings(home=home)) as context:
        for source, options in (
            (
                MemorySource(_OBJECT, {"objectId": ids, "ra": ra, "dec": dec}),
                ImportOptions(
                    schema="dr1", table="object", id_column="objectId", ra_column="ra",
                    dec_column="dec",
                ),
            ),
            (
                MemorySource(_FORCED, forced),
                ImportOptions(
                    schema="dr1", table="forced", id_column="forcedId", ra_column="ra",
                    dec_column="dec", director="dr1.object", director_key="objectId",
                ),
            ),
        ):  # fmt: skip
            run_import(source, options, context.catalog)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    """A platform with three images of three planes, and rows that lie on them."""
    home = tmp_path_factory.mktemp("datalink") / "home"
    files = tmp_path_factory.mktemp("files")
    for seed, name in enumerate(IMAGES):
        write_planes(files / f"{name}.fits", seed=seed)
    _import_tables(home)
    run_astrolabe(
        "image", "import", str(files), "--collection", "sky", "--public", "--home", str(home),
        "--documentation", "https://survey.example/sky",
    )  # fmt: skip
    with running_platform(home) as platform:
        yield platform


@pytest.fixture(scope="module")
def tap(platform: RunningPlatform) -> TAPService:
    return TAPService(platform.tap)


@pytest.fixture(scope="module")
def links(tap: TAPService) -> list[DatalinkResults]:
    """The links of all images, by the descriptor in a result of TAP."""
    found = tap.search("SELECT obs_publisher_did, s_ra, s_dec FROM ivoa.ObsCore")
    assert len(found) == len(IMAGES)
    return list(found.iter_datalinks())


def test_pyvo_follows_the_descriptor_of_a_result_to_the_links_of_its_rows(
    links: list[DatalinkResults],
) -> None:
    assert len(links) == len(IMAGES)
    for found in links:
        dids = {record.id for record in found}
        assert dids == {found.original_row["obs_publisher_did"]}
        semantics = {record.semantics for record in found}
        assert semantics >= {"#this", "#preview", "#cutout", "#error", "#auxiliary"}


def test_pyvo_downloads_the_image(links: list[DatalinkResults]) -> None:
    for found in links:
        (this,) = [record for record in found if record.semantics == "#this"]
        data = this.getdataset().read()
        assert len(data) == this.content_length
        with fits.open(BytesIO(data)) as file:
            assert [hdu.name for hdu in file[1:]] == ["IMAGE", "MASK", "VARIANCE"]


def test_pyvo_cuts_out_of_the_image_that_the_row_is_about(links: list[DatalinkResults]) -> None:
    """Of many rows in one document, each record's cutout is that of its own image."""
    shown = []
    for found in links:
        (record,) = [
            r for r in found if r.semantics == "#cutout" and r.content_type == "application/fits"
        ]
        circle = (CENTER[0] * u.deg, CENTER[1] * u.deg, 0.001 * u.deg)
        with fits.open(BytesIO(record.processed(circle=circle).read())) as cutout:
            (hdu,) = [hdu for hdu in cutout if hdu.data is not None]
            x, y = WCS(hdu.header).world_to_pixel(SkyCoord(*CENTER, unit="deg"))
            height, width = hdu.data.shape
            assert -1 < x < width
            assert -1 < y < height
            shown.append((found.original_row["obs_publisher_did"], hdu.data))
    for did, data in shown:
        name = did.partition("?")[2]
        whole = next(f for f in links if f.original_row["obs_publisher_did"] == did)
        (this,) = [record for record in whole if record.semantics == "#this"]
        with fits.open(BytesIO(this.getdataset().read())) as file:
            image = file["IMAGE"].data
            height, width = data.shape
            windows = np.lib.stride_tricks.sliding_window_view(image, (height, width))
            assert (windows == data).all(axis=(2, 3)).any(), name


def test_pyvo_finds_the_descriptor_that_a_row_names(links: list[DatalinkResults]) -> None:
    for found in links:
        process = found.get_first_proc()
        assert process.service_def.startswith("cutout")
        query = SodaQuery.from_resource(process, found.get_adhocservice_by_id(process.service_def))
        assert query["ID"] == found.original_row["obs_publisher_did"]
        assert {"CIRCLE", "PLANES"} <= {param.name for param in process.input_params}


def test_planes_come_by_their_own_links(links: list[DatalinkResults]) -> None:
    for record in links[0]:
        if record["local_semantics"] in {"mask", "variance"}:
            with fits.open(BytesIO(record.getdataset().read())) as file:
                (hdu,) = [hdu for hdu in file if hdu.data is not None]
                assert hdu.data.shape == (150, 180)


def test_the_preview_is_a_picture(links: list[DatalinkResults]) -> None:
    (record,) = [record for record in links[0] if record.semantics == "#preview"]
    assert record.getdataset().read()[:8] == b"\x89PNG\r\n\x1a\n"


def test_pyvo_asks_for_many_identifiers_at_once(platform: RunningPlatform) -> None:
    service = DatalinkService(f"{platform.address}/api/datalink/links")
    found = service.run_sync([f"ivo://astrolabe.invalid/sky?{name}" for name in IMAGES])
    assert len({record.id for record in found}) == len(IMAGES)


def test_cone_searches_lead_to_links_light_curves_and_cutouts(platform: RunningPlatform) -> None:
    found = SCSService(f"{platform.address}/api/scs/dr1.object").search(
        SkyCoord(*CENTER, unit="deg"), 0.01 * u.deg
    )
    assert len(found) == OBJECTS
    seen = 0
    for linked in found.iter_datalinks():
        row_id = linked.original_row["objectId"]
        by_name = {record["local_semantics"]: record for record in linked}
        curve = DatalinkResults.from_result_url(by_name["light-curve-dr1.forced"].access_url)
        assert {str(i) for i in curve["objectId"]} == {row_id}
        assert len(curve) == VISITS
        with fits.open(BytesIO(by_name["cutout-sky-r"].getdataset().read())) as cutout:
            assert any(hdu.data is not None for hdu in cutout)
        seen += 1
        if seen == 3:
            break
    assert seen == 3


def test_ids_that_are_numbers_lead_to_links_one_by_one(tap: TAPService) -> None:
    """pyvo matches answers to rows by their ids, and takes text for another id than a number."""
    found = tap.search("SELECT TOP 4 objectId FROM dr1.object")
    linked = list(found.iter_datalinks(preserve_order=True))
    assert [r.original_row["objectId"] for r in linked] == list(found["objectId"])
    assert all({record.id for record in r} == {str(r.original_row["objectId"])} for r in linked)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("links?ID=ivo://astrolabe.invalid/sky%3Fa", id="image"),
        pytest.param("links?ID=ivo://astrolabe.invalid/sky%3Fa&ID=nothing", id="fault"),
        pytest.param("links", id="itself"),
        pytest.param(f"dr1.object/links?ID={FIRST_ID}&ID={FIRST_ID + 1}&ID=1", id="rows"),
    ],
)
def test_stilts_finds_nothing_wrong_with_the_service(platform: RunningPlatform, path: str) -> None:
    run = subprocess.run(
        ["stilts", "datalinklint", f"votable={platform.address}/api/datalink/{path}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = (run.stdout + run.stderr).splitlines()
    assert any("rows checked" in line for line in lines), lines
    assert [line for line in lines if re.match(r"[EWF]-", line)] == []


def test_the_links_of_an_image_say_what_their_type_is(platform: RunningPlatform) -> None:
    response = httpx.head(f"{platform.address}/api/datalink/links?ID=ivo://astrolabe.invalid/sky?a")
    assert response.headers["content-type"] == "application/x-votable+xml;content=datalink"
