"""A catalog with a table of each kind that cone search has to cope with, and the application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio
from fastapi import FastAPI

from astrolabe.catalogs.importing import ImportOptions, run_import
from astrolabe.factory import ProcessContext
from astrolabe.tables.model import Column, Datatype
from astrolabe_api.main import create_app
from tests.api.conftest import MemorySource, serving, small_settings

ROWS = 3000
CENTRE = (0.0, 5.0)
"""The rows lie around this point, on both sides of the meridian."""

ID = Column(name="objectId", datatype=Datatype.LONG, ucd="meta.id;meta.main", principal=True)
RA = Column(name="ra", datatype=Datatype.DOUBLE, unit="deg", ucd="pos.eq.ra;meta.main")
DEC = Column(name="dec", datatype=Datatype.DOUBLE, unit="deg", ucd="pos.eq.dec;meta.main")
MAG = Column(name="mag", datatype=Datatype.FLOAT, unit="mag", ucd="phot.mag", principal=True)
SIZE = Column(name="size", datatype=Datatype.SHORT, description="Needs quotes in ADQL")
OTHER = Column(name="raOld", datatype=Datatype.DOUBLE, unit="deg", ucd="POS_EQ_RA_MAIN")
NAME = Column(name="name", datatype=Datatype.CHAR, arraysize="*", description="a < b & c")


@pytest.fixture(scope="session")
def rows() -> dict[str, Any]:
    rng = np.random.default_rng(11)
    ra = (CENTRE[0] + rng.uniform(-1, 1, ROWS)) % 360.0
    return {
        "objectId": np.arange(ROWS) + 2**60 + 1,
        "ra": ra,
        "dec": CENTRE[1] + rng.uniform(-1, 1, ROWS),
        "mag": rng.normal(20, 1, ROWS).astype("f4"),
        "size": (np.arange(ROWS) % 50).astype("i2"),
        "raOld": ra,
        "name": [None if n % 5 == 0 else f"<star & {n}>" for n in range(ROWS)],
    }


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory, rows: dict[str, Any]) -> Path:
    """A home with dr1.object, dr1.plain (no identifier), dr1.named (text) and dr1.log (no sky)."""
    home = tmp_path_factory.mktemp("cones")
    sky: dict[str, Any] = {"ra_column": "ra", "dec_column": "dec"}
    tables: list[tuple[str, tuple[Column, ...], dict[str, Any]]] = [
        ("object", (ID, RA, DEC, MAG, SIZE, OTHER, NAME), {"id_column": "objectId", **sky}),
        ("plain", (RA, DEC, SIZE), sky),
        ("named", (NAME, RA, DEC), {"id_column": "name", **sky}),
        ("log", (SIZE, NAME), {"no_position": True}),
    ]
    with ProcessContext.open(small_settings(home)) as context:
        for table, columns, options in tables:
            data = {c.name: rows[c.name] for c in columns}
            if table == "named":
                data["name"] = [f"S {n}" for n in range(ROWS)]
            run_import(
                MemorySource(columns, data),
                ImportOptions(schema="dr1", table=table, margin_arcsec=0.0, threads=1, **options),
                context.catalog,
            )
    return home


@pytest.fixture(scope="module")
def app(home: Path) -> FastAPI:
    return create_app(small_settings(home))


@pytest_asyncio.fixture(scope="module")
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(app) as client:
        yield client
