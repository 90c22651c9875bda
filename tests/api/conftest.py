"""A small catalog, and the whole application over it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest
import pytest_asyncio
from fastapi import FastAPI

from astrolabe.catalogs.importing import ImportOptions, run_import
from astrolabe.config import EngineSettings, LimitsSettings, ServerSettings, Settings, TapSettings
from astrolabe.factory import ProcessContext
from astrolabe.tables.model import Column, CoordinateSystem, Datatype, arrow_type
from astrolabe.tables.source import SourceMeta
from astrolabe_api.main import create_app

ADDRESS = "https://astrolabe.example"
ROWS = 6000
SOURCES = 12_000

OBJECT = (
    Column(name="objectId", datatype=Datatype.LONG, ucd="meta.id;meta.main", principal=True),
    Column(name="ra", datatype=Datatype.DOUBLE, unit="deg", ucd="pos.eq.ra;meta.main"),
    Column(name="dec", datatype=Datatype.DOUBLE, unit="deg", ucd="pos.eq.dec;meta.main"),
    Column(name="mag", datatype=Datatype.FLOAT, unit="mag", ucd="phot.mag", description="a < b"),
    Column(name="size", datatype=Datatype.SHORT, description="Needs quotes in ADQL"),
    Column(name="name", datatype=Datatype.CHAR, arraysize="*"),
)
SOURCE = (
    Column(name="sourceId", datatype=Datatype.LONG, ucd="meta.id;meta.main"),
    Column(name="objectId", datatype=Datatype.LONG),
    Column(name="ra", datatype=Datatype.DOUBLE, unit="deg", ucd="pos.eq.ra;meta.main"),
    Column(name="dec", datatype=Datatype.DOUBLE, unit="deg", ucd="pos.eq.dec;meta.main"),
    Column(name="flux", datatype=Datatype.DOUBLE, unit="nJy", ucd="phot.flux"),
)


class MemorySource:
    """A table in memory, as a reader would give it."""

    def __init__(self, columns: tuple[Column, ...], data: dict[str, Any]) -> None:
        self._columns = columns
        self._table = pa.table(
            [pa.array(data[c.name], type=arrow_type(c)) for c in columns],
            names=[c.name for c in columns],
        )

    @property
    def meta(self) -> SourceMeta:
        return SourceMeta(
            columns=self._columns,
            description="A table of tests & trials",
            coordinate_system=CoordinateSystem(epoch=2016.0),
            row_count=self._table.num_rows,
        )

    def batches(self, *, max_rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        yield from self._table.to_batches(max_chunksize=max_rows)


def small_settings(home: Path, **tap: Any) -> Settings:
    """Return settings for a small platform in `home`."""
    return Settings(
        home=home,
        server=ServerSettings(public_url=ADDRESS, title="Test & Trial"),
        engine=EngineSettings(memory_fraction=0.05, threads=1, workers=2),
        limits=LimitsSettings(request_mb=20),
        tap=TapSettings(**{"sync_seconds": 20, "wait_seconds": 20, "upload_mb": 5} | tap),
    )


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the tables dr1.object and dr1.source."""
    home = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(7)
    ids = np.arange(ROWS) + 2**60
    ra, dec = 10 + 2 * rng.random(ROWS), -1 + 2 * rng.random(ROWS)
    rows = {
        "objectId": ids,
        "ra": ra,
        "dec": dec,
        "mag": rng.normal(22, 1, ROWS).astype("f4"),
        "size": (np.arange(ROWS) % 100).astype("i2"),
        "name": [None if n % 7 == 0 else f"star {n} <&>" for n in range(ROWS)],
    }
    parents = np.arange(SOURCES) % ROWS
    children = {
        "sourceId": np.arange(SOURCES),
        "objectId": ids[parents],
        "ra": ra[parents],
        "dec": dec[parents],
        "flux": rng.random(SOURCES),
    }
    with ProcessContext.open(small_settings(home)) as context:
        options = {"ra_column": "ra", "dec_column": "dec", "margin_arcsec": 0.0, "threads": 1}
        run_import(
            MemorySource(OBJECT, rows),
            ImportOptions(schema="dr1", table="object", id_column="objectId", **options),  # type: ignore[arg-type]  # a mixed dict
            context.catalog,
        )
        run_import(
            MemorySource(SOURCE, children),
            ImportOptions(
                schema="dr1",
                table="source",
                id_column="sourceId",
                director="dr1.object",
                director_key="objectId",
                **options,  # type: ignore[arg-type]  # a mixed dict
            ),
            context.catalog,
        )
    return home


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Run the application's lifespan around a client of it."""
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=ADDRESS, timeout=30) as client:
            yield client


@pytest.fixture(scope="module")
def app(home: Path) -> FastAPI:
    """The whole application over the small catalog."""
    return create_app(small_settings(home))


@pytest_asyncio.fixture(scope="module")
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(app) as client:
        yield client


@pytest.fixture
def worker(home: Path) -> Iterator[None]:
    """A worker that runs async jobs."""
    with ProcessContext.open(small_settings(home)) as context, context.worker():
        yield
