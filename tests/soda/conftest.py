"""Images of several kinds and rights, people, and the application over them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
from astrolabe.images.model import ImageCollection, ImageKey, PlaneKind
from astrolabe.tables.model import Datatype
from astrolabe_api.main import create_app
from tests.api.conftest import serving
from tests.api.rights_support import RECENT, guarded_settings, token_of
from tests.support.images import make_record, star_field, wcs_header, write_planes
from tests.support.tiny import import_columns

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CENTRE = (53.1, -27.8)
PLANES = {PlaneKind.IMAGE: 1, PlaneKind.MASK: 2, PlaneKind.VARIANCE: 3}
BANDS = ("g", "r", "i")
WAVELENGTHS = (4e-7, 5e-7, 6e-7, 7e-7)


def did(collection: str, image_id: str) -> str:
    """Return the identifier of an image."""
    return f"ivo://astrolabe.invalid/{collection}?{image_id}"


def soda_settings(home: Path, **images: Any) -> Settings:
    """Return settings with small limits of images."""
    limits = {"sync_mpix": 0.5, "job_mpix": 2.0, "job_cutouts": 40, "job_stamps": 200}
    settings = guarded_settings(home, quotas={"anonymous_bytes_per_day": None})
    return settings.model_copy(update={"images": ImageSettings(**(limits | images))})


def region_of(ra: float, dec: float, half: float = 0.006) -> list[float]:
    """Return a footprint that surely holds an image of these tests."""
    wide = half / np.cos(np.radians(dec))
    return [
        ra - wide,
        dec - half,
        ra + wide,
        dec - half,
        ra + wide,
        dec + half,
        ra - wide,
        dec + half,
    ]


def write_cube(path: Path) -> None:
    """Write a cube of four wavelengths with a mask that is one for all."""
    header = wcs_header("tan", (60, 70))
    header["CTYPE3"], header["CUNIT3"] = "WAVE", "m"
    header["CRPIX3"], header["CRVAL3"], header["CD3_3"] = 1.0, WAVELENGTHS[0], 1e-7
    cube = np.arange(4 * 60 * 70, dtype=np.float32).reshape(4, 60, 70)
    mask = fits.ImageHDU(np.eye(60, 70, dtype=np.uint8), wcs_header("tan", (60, 70)), name="MASK")
    fits.HDUList([fits.PrimaryHDU(cube, header), mask]).writeto(path)


def write_at_zero(path: Path) -> None:
    """Write an image around right ascension 0."""
    header = wcs_header("tan", (150, 180))
    header["CRVAL1"], header["CRVAL2"] = 0.0, 5.0
    fits.PrimaryHDU(star_field(), header).writeto(path)


def _write_files(folder: Path) -> None:
    for seed, band in enumerate(BANDS, start=1):
        write_planes(folder / f"{band}.fits", seed=seed, cards={"FILTER": band})
    for name in ("secret", "listed", "cut", "other"):
        write_planes(folder / f"{name}.fits", seed=9)
    write_cube(folder / "cube.fits")
    write_at_zero(folder / "zero.fits")
    fits.PrimaryHDU(star_field()).writeto(folder / "bare.fits")
    lost = wcs_header("tan", (150, 180))
    lost["CTYPE1"], lost["CTYPE2"] = "RA---XXX", "DEC--XXX"
    fits.PrimaryHDU(star_field(), lost).writeto(folder / "lost.fits")


def fill(context: ProcessContext, folder: Path) -> None:
    """Register all images, and who may read which."""
    images = context.images
    for name in ("coadds", "odd", "secret", "listed"):
        release = "dr7" if name == "coadds" else None
        images.store.ensure_collection(ImageCollection(name=name, release=release, created=NOW))
    for name, is_listed in (("secret", False), ("listed", True)):
        rule = AccessRule(access=Access.GROUP, group="team", listed=is_listed)
        context.rights.set_rule(Resource.of_collection(name), rule, by=OPERATOR)
    here = {"s_ra": CENTRE[0], "s_dec": CENTRE[1], "s_region": region_of(*CENTRE)}
    bare: dict[str, Any] = {}
    wanted: list[tuple[str, str, Mapping[PlaneKind, int], dict[str, Any]]] = [
        *(("coadds", band, PLANES, {**here, "band": band}) for band in BANDS),
        ("odd", "cube", {PlaneKind.IMAGE: 0, PlaneKind.MASK: 1}, here),
        ("odd", "zero", {PlaneKind.IMAGE: 0}, {"s_region": region_of(0.0, 5.0)}),
        ("odd", "bare", {PlaneKind.IMAGE: 0}, bare),
        ("odd", "lost", {PlaneKind.IMAGE: 0}, bare),
        ("odd", "cut", PLANES, here),
        ("odd", "gone", PLANES, here),
        ("secret", "s1", PLANES, here),
        ("listed", "l1", PLANES, here),
    ]
    files = {"s1": "secret", "l1": "listed", "gone": "other"}
    records = []
    for collection, image_id, planes, obscore in wanted:
        path = folder / f"{files.get(image_id, image_id)}.fits"
        record = make_record(
            path,
            context.settings.paths.images,
            planes=planes,
            image_id=f"{collection}.{image_id}",
            obscore={"dataproduct_type": "image", "calib_level": 3, **obscore},
        )
        records.append(replace(record, key=ImageKey(collection, image_id)))
    images.store.put(records)
    images.obscore.publish()
    # What goes wrong after an import.
    (folder / "other.fits").unlink()
    whole = (folder / "cut.fits").read_bytes()
    (folder / "cut.fits").write_bytes(whole[: len(whole) // 2])


@dataclass(frozen=True)
class Survey:
    """A home, and the files of its images."""

    home: Path
    files: Path

    def data(self, name: str, hdu: int) -> Any:
        """Return the pixels of an image as astropy reads them."""
        with fits.open(self.files / f"{name}.fits") as opened:
            return opened[hdu].data.copy()

    def header(self, name: str, hdu: int) -> fits.Header:
        """Return the header of an image as astropy reads it."""
        with fits.open(self.files / f"{name}.fits") as opened:
            return opened[hdu].header.copy()


@pytest.fixture(scope="session")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Survey:
    """A home with images of three kinds of rights, and ada who is in the team that may read all."""
    made = Survey(tmp_path_factory.mktemp("soda"), tmp_path_factory.mktemp("files"))
    _write_files(made.files)
    with ProcessContext.open(soda_settings(made.home)) as context:
        for name in ("ada", "bob"):
            context.users.create(name, by=RECENT, groups=())
        context.groups.create("team", by=OPERATOR, owner="ada")
        fill(context, made.files)
        rng = np.random.default_rng(5)
        import_columns(
            context,
            "dr1",
            "star",
            {
                "id": (Datatype.LONG, np.arange(30) + 2**60),
                "ra": (Datatype.DOUBLE, CENTRE[0] + rng.uniform(-0.003, 0.003, 30)),
                "dec": (Datatype.DOUBLE, CENTRE[1] + rng.uniform(-0.003, 0.003, 30)),
            },
            id_column="id",
        )
    return made


@pytest.fixture(scope="session")
def tokens(survey: Survey) -> dict[str, dict[str, str]]:
    """Headers of callers."""
    with ProcessContext.open(soda_settings(survey.home)) as context:
        scopes = ("read:tap", "read:image")
        made = {name: token_of(context, name, scopes=scopes) for name in ("ada", "bob")}
    return {"anonymous": {}, **made}


@pytest.fixture(scope="module")
def app(survey: Survey) -> FastAPI:
    return create_app(soda_settings(survey.home))


@pytest_asyncio.fixture(scope="module")
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(app) as client:
        yield client


@pytest.fixture(scope="module")
def worker(survey: Survey) -> Iterator[None]:
    """A worker that runs jobs."""
    with ProcessContext.open(soda_settings(survey.home)) as context, context.worker():
        yield
