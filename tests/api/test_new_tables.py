"""A table that another process has published is there for the next request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio

from astrolabe.catalogs.importing import ImportOptions, run_import
from astrolabe.factory import ProcessContext
from astrolabe_api.main import create_app

from .conftest import ADDRESS, SOURCE, MemorySource, serving, small_settings

pytestmark = pytest.mark.timeout(90)


def publish(home: Path, name: str) -> None:
    """Import a table as the command does: with a catalog store of its own."""
    rows: dict[str, Any] = {
        "sourceId": np.arange(3),
        "objectId": np.arange(3),
        "ra": np.full(3, 10.0),
        "dec": np.zeros(3),
        "flux": np.ones(3),
    }
    options = ImportOptions(
        schema="late", table=name, ra_column="ra", dec_column="dec", margin_arcsec=0.0, threads=1
    )
    with ProcessContext.open(small_settings(home)) as context:
        run_import(MemorySource(SOURCE, rows), options, context.catalog)


@pytest_asyncio.fixture
async def late(tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, Path]]:
    """A gateway that looks for new tables once in an hour, and its home."""
    app = create_app(small_settings(tmp_path / "home"))
    async with serving(app) as client:
        catalog = app.state.api.context.catalog
        catalog._check_seconds = 3600.0
        catalog.view(fresh=True)
        yield client, tmp_path / "home"


REQUESTS: dict[str, Callable[[str], str]] = {
    "query": lambda name: (
        f"{ADDRESS}/api/tap/sync?LANG=ADQL&QUERY=SELECT+COUNT(*)+FROM+late.{name}&FORMAT=csv"
    ),
    "description": lambda name: f"{ADDRESS}/api/tap/tables/late.{name}",
    "cone": lambda name: f"{ADDRESS}/api/scs/late.{name}?RA=10&DEC=0&SR=1",
    "cone-capabilities": lambda name: f"{ADDRESS}/api/scs/late.{name}/capabilities",
    "coverage": lambda name: f"{ADDRESS}/api/hips/late.{name}/Moc.fits",
}


@pytest.mark.asyncio
@pytest.mark.parametrize("request_name", REQUESTS)
async def test_a_new_table_is_there_at_once(
    late: tuple[httpx.AsyncClient, Path], request_name: str
) -> None:
    client, home = late
    address = REQUESTS[request_name]
    missing = await client.get(address("one"))
    assert missing.status_code in {400, 404}, missing.text
    publish(home, "one")
    found = await client.get(address("one"))
    assert found.status_code == 200, found.text


@pytest.mark.asyncio
async def test_health_knows_every_table_when_the_survey_is_made(
    late: tuple[httpx.AsyncClient, Path],
) -> None:
    client, home = late
    publish(home, "one")
    victim = next((home / "tables").rglob("Npix=*.parquet"))
    victim.write_bytes(b"this is no Parquet file")
    (home / "demo.json").write_text('{"state": "ready"}')
    assert (await client.get("/health")).status_code == 503
