"""A catalog with light curves, images of three kinds of rights, and the application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
from fastapi import FastAPI

from astrolabe.catalogs.importing import ImportOptions, run_import
from astrolabe.factory import ProcessContext
from astrolabe.identity.access import Access, AccessRule, Resource
from astrolabe.identity.authority import OPERATOR
from astrolabe.images.model import ImageCollection, ImageKey, ImageRecord, PlaneKind
from astrolabe.tables.model import Column, Datatype
from astrolabe_api.main import create_app
from tests.api.conftest import MemorySource, serving
from tests.api.rights_support import RECENT, guarded_settings, token_of

OBJECTS = 300
VISITS = 12
FIRST_ID = 2**60
CENTRE = (150.0, 2.0)
BANDS = ("g", "r", "i")
NOW = datetime(2026, 1, 1, tzinfo=UTC)

_ID = Column(name="objectId", datatype=Datatype.LONG, ucd="meta.id;meta.main", principal=True)
_RA = Column(name="ra", datatype=Datatype.DOUBLE, unit="deg", ucd="pos.eq.ra;meta.main")
_DEC = Column(name="dec", datatype=Datatype.DOUBLE, unit="deg", ucd="pos.eq.dec;meta.main")
_NAME = Column(name="name", datatype=Datatype.CHAR, arraysize="*", ucd="meta.id;meta.main")
_MAG = Column(name="mag", datatype=Datatype.FLOAT, unit="mag", ucd="phot.mag")
OBJECT = (_ID, _RA, _DEC, _MAG)
NAMED = (_NAME, _RA, _DEC)
FORCED = (
    Column(name="forcedId", datatype=Datatype.LONG, ucd="meta.id;meta.main"),
    Column(name="objectId", datatype=Datatype.LONG, ucd="meta.id.parent"),
    Column(name="band", datatype=Datatype.CHAR, arraysize="*", ucd="meta.id;instr.filter"),
    Column(name="mjd", datatype=Datatype.DOUBLE, unit="d", ucd="time.epoch;obs.exposure"),
    _RA,
    _DEC,
    Column(
        name="flux", datatype=Datatype.DOUBLE, unit="nJy", ucd="phot.flux.density", principal=True
    ),
)


def object_ids() -> list[int]:
    return [FIRST_ID + n for n in range(OBJECTS)]


def _rows() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    rng = np.random.default_rng(3)
    ra = CENTRE[0] + rng.uniform(-0.4, 0.4, OBJECTS)
    dec = CENTRE[1] + rng.uniform(-0.4, 0.4, OBJECTS)
    ids = np.array(object_ids())
    objects = {"objectId": ids, "ra": ra, "dec": dec, "mag": rng.normal(20, 1, OBJECTS)}
    named = {"name": [f"it's {n} & <all>" for n in range(OBJECTS)], "ra": ra, "dec": dec}
    parents = np.repeat(np.arange(OBJECTS), VISITS)
    visits = np.tile(np.arange(VISITS), OBJECTS)
    forced = {
        "forcedId": np.arange(len(parents)),
        "objectId": ids[parents],
        "band": [BANDS[v % 3] for v in visits],
        # Stored in no order of time.
        "mjd": 60_000.0 + (visits * 7) % VISITS,
        "ra": ra[parents],
        "dec": dec[parents],
        "flux": rng.normal(100, 1, len(parents)),
    }
    return objects, named, forced


def square(ra: float, dec: float, half: float) -> list[float]:
    """Return the corners of a field, counter-clockwise."""
    corners = ((-half, -half), (half, -half), (half, half), (-half, half))
    return [x for east, north in corners for x in (ra + east, dec + north)]


def image(collection: str, image_id: str, **changes: Any) -> ImageRecord:
    """Return an image around `CENTRE`; `changes` go to its ObsCore values or its fields."""
    obscore: dict[str, Any] = {
        "dataproduct_type": "image",
        "calib_level": 3,
        "obs_title": f"{image_id} of <{collection}>",
        "s_ra": CENTRE[0],
        "s_dec": CENTRE[1],
        "s_region": square(*CENTRE, 0.5),
        "em_min": 5.5e-7,
        "em_max": 7.0e-7,
        "t_min": 60_000.0,
        "t_max": 60_010.5,
        "band": "r",
    }
    fields: dict[str, Any] = {
        "size_bytes": 123_456,
        "planes": {PlaneKind.IMAGE: 1, PlaneKind.MASK: 2, PlaneKind.VARIANCE: 3},
        "progenitors": (),
    }
    obscore |= {k: v for k, v in changes.items() if k not in fields}
    fields |= {k: v for k, v in changes.items() if k in fields}
    return ImageRecord(
        key=ImageKey(collection, image_id),
        uri=f"/nowhere/{collection}/{image_id}.fits",
        md5="0" * 32,
        signature="1",
        index_path="x",
        obscore=obscore,
        imported=NOW,
        **fields,
    )


def _images() -> list[ImageRecord]:
    coadds = [
        image(
            "coadds",
            f"patch-{band}",
            band=band,
            em_min=(4 + n) * 1e-7,
            progenitors=("visits/v1", "visits/v2", "secret/s1", "no such/..//thing"),
        )
        for n, band in enumerate(BANDS)
    ]
    # Farther away from everything: where both cover a row, this one is not the better one.
    coadds.append(image("coadds", "beside-r", s_ra=CENTRE[0] + 0.5, s_region=square(150.5, 2, 0.7)))
    visits = [image("visits", f"v{n}", calib_level=2, planes={PlaneKind.IMAGE: 0}) for n in (1, 2)]
    bare = image(
        "visits",
        "noise",
        planes={PlaneKind.IMAGE: 0},
        **dict.fromkeys(("s_ra", "s_dec", "s_region", "em_min", "t_min")),
    )
    spectral = image("visits", "spectra", planes={PlaneKind.IMAGE: 0}, s_region=None, t_min=None)
    return [*coadds, *visits, bare, spectral, image("secret", "s1"), image("listed", "l1")]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with dr1.object, dr1.named, dr1.forced and published images."""
    home = tmp_path_factory.mktemp("links")
    objects, named, forced = _rows()
    sky: dict[str, Any] = {"ra_column": "ra", "dec_column": "dec", "margin_arcsec": 0.0}
    tables: list[tuple[str, tuple[Column, ...], dict[str, Any], dict[str, Any]]] = [
        ("object", OBJECT, objects, {"id_column": "objectId"}),
        ("named", NAMED, named, {"id_column": "name"}),
        (
            "forced",
            FORCED,
            forced,
            {"id_column": "forcedId", "director": "dr1.object", "director_key": "objectId"},
        ),
    ]
    with ProcessContext.open(guarded_settings(home)) as context:
        for name, columns, rows, options in tables:
            run_import(
                MemorySource(columns, rows),
                ImportOptions(schema="dr1", table=name, threads=1, **sky, **options),
                context.catalog,
            )
        for name in ("ada", "bob"):
            context.users.create(name, by=RECENT, groups=())
        context.groups.create("team", by=OPERATOR, owner="ada")
        store = context.images.store
        for name, documentation in (
            ("coadds", "https://survey.example/coadds?a=1&b=2"),
            ("visits", None),
            ("secret", None),
            ("listed", None),
        ):
            store.ensure_collection(
                ImageCollection(name=name, documentation=documentation, created=NOW)
            )
        for name, is_listed in (("secret", False), ("listed", True)):
            rule = AccessRule(access=Access.GROUP, group="team", listed=is_listed)
            context.rights.set_rule(Resource.of_collection(name), rule, by=OPERATOR)
        store.put(_images())
        context.images.obscore.publish()
    return home


@pytest.fixture(scope="module")
def app(home: Path) -> FastAPI:
    return create_app(guarded_settings(home))


@pytest_asyncio.fixture(scope="module")
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(app) as client:
        yield client


@pytest.fixture(scope="session")
def tokens(home: Path) -> dict[str, dict[str, str]]:
    """Headers of callers: nobody, ada who is in the team, bob who is not."""
    with ProcessContext.open(guarded_settings(home)) as context:
        made = {
            name: token_of(context, name, scopes=("read:tap", "read:image"))
            for name in ("ada", "bob")
        }
        narrow = token_of(context, "ada", scopes=("read:tap",))
        images = token_of(context, "ada", scopes=("read:image",))
        return {"anonymous": {}, **made, "narrow": narrow, "images": images}
