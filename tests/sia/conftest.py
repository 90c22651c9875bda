"""Images of every sort without pixels, and the application over them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from astrolabe.factory import ProcessContext
from astrolabe.identity.access import Access, AccessRule, Resource
from astrolabe.identity.authority import OPERATOR
from astrolabe.images.model import ImageCollection, ImageKey, ImageRecord, PlaneKind
from astrolabe_api.main import create_app
from tests.api.conftest import serving, small_settings

BANDS = {"g": (4.0e-7, 5.5e-7), "r": (5.5e-7, 7.0e-7), "i": (6.9e-7, 8.2e-7)}
RELEASED = datetime(2026, 6, 1, tzinfo=UTC)


def square(ra: float, dec: float, half: float = 0.1) -> list[float]:
    """Return the corners of a small square, counter-clockwise."""
    corners = ((half, -half), (half, half), (-half, half), (-half, -half))
    return [x for east, north in corners for x in ((ra + east) % 360.0, dec + north)]


def images() -> list[ImageRecord]:
    """Return images one degree from each other along the equator, across RA 0."""
    made = []
    for number, ra in enumerate((358.0, 359.0, 0.0, 1.0, 2.0, 3.0)):
        band = "gri"[number % 3]
        low, high = BANDS[band]
        values: dict[str, Any] = {
            "dataproduct_type": "image",
            "dataproduct_subtype": "visit",
            "calib_level": 2 + number % 2,
            "obs_id": f"visit-{number}",
            "target_name": "O'Hara's field" if number == 3 else None,
            "s_ra": ra,
            "s_dec": 0.0,
            "s_fov": 0.2 + number / 10,
            "s_region": square(ra, 0.0),
            "s_resolution": 0.6 + number / 10,
            "s_pixel_scale": 0.2,
            "t_min": 61000.0 + number,
            "t_max": 61000.5 + number,
            "t_exptime": 30.0 * (number + 1),
            "t_resolution": 30.0,
            "em_min": low,
            "em_max": high,
            "em_res_power": 4.0,
            "band": band,
            "facility_name": "Rubin",
            "instrument_name": "LSSTCam" if number else "ComCam",
            "pol_states": "/I/Q/" if number == 1 else None,
        }
        made.append(record("visits", f"v{number}.{band}", values, released=RELEASED))
    lost = {"dataproduct_type": "image", "calib_level": 1, "obs_id": "lost", "t_min": 61000.2}
    made.append(record("visits", "lost", lost | {"t_max": 61000.3}))
    cube = {
        "dataproduct_type": "cube",
        "calib_level": 3,
        "obs_id": "cube",
        "s_ra": 180.0,
        "s_dec": 89.95,
        "s_region": square(180.0, 89.85, 0.05),
    }
    made.append(record("cubes", "cube", cube))
    made.append(record("secret", "hidden", {**cube, "s_ra": 0.0, "s_dec": 0.0} | square_at_zero()))
    return made


def square_at_zero() -> dict[str, Any]:
    """Return a footprint that every search around (0, 0) finds."""
    return {"s_region": square(0.0, 0.0)}


def record(
    collection: str, image_id: str, values: dict[str, Any], *, released: datetime | None = None
) -> ImageRecord:
    """Return a record of an image without a file."""
    return ImageRecord(
        key=ImageKey(collection, image_id),
        uri=f"/nowhere/{image_id}.fits",
        size_bytes=4_000_000,
        md5=None,
        signature="1",
        index_path=f"{image_id}.idx",
        planes={PlaneKind.IMAGE: 0},
        released=released,
        obscore=values,
        imported=RELEASED,
    )


@pytest.fixture(scope="session")
def sia_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose ivoa.ObsCore describes the images; the collection `secret` is private."""
    home = tmp_path_factory.mktemp("sia")
    with ProcessContext.open(small_settings(home)) as context:
        for name in ("visits", "cubes", "secret"):
            context.images.store.ensure_collection(ImageCollection(name=name, created=RELEASED))
        context.images.store.put(images())
        rule = AccessRule(access=Access.PRIVATE, owner="ada")
        context.rights.set_rule(Resource.of_collection("secret"), rule, by=OPERATOR)
        context.images.obscore.publish()
    return home


@pytest.fixture(scope="module")
def app(sia_home: Path) -> FastAPI:
    return create_app(small_settings(sia_home))


@pytest_asyncio.fixture(scope="module")
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(app) as opened:
        yield opened
