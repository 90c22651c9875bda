"""The demo survey through astroquery's TapPlus, which Gaia's, JWST's and Euclid's users have."""

from __future__ import annotations

import pytest
from astropy.table import Table
from astroquery.utils.tap import TapPlus

from tests.support.platform import RunningPlatform

pytestmark = [
    pytest.mark.client,
    pytest.mark.timeout(600),
    # TapPlus leaves its files and connections open.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def tap(demo_platform: RunningPlatform) -> TapPlus:
    return TapPlus(url=demo_platform.tap)


def test_a_sync_job(tap: TapPlus) -> None:
    result = tap.launch_job("SELECT TOP 5 objectId, coord_ra FROM demo.object").get_results()
    assert isinstance(result, Table)
    assert len(result) == 5


def test_an_async_job(tap: TapPlus) -> None:
    job = tap.launch_job_async("SELECT COUNT(*) AS n FROM demo.visit")
    assert job.get_results()["n"][0] == 500


def test_load_tables(tap: TapPlus) -> None:
    tables = {table.name: table for table in tap.load_tables()}
    columns = {column.name for column in tables["demo.object"].columns}
    assert {"objectId", "coord_ra"} <= columns


def test_load_one_table(tap: TapPlus) -> None:
    table = tap.load_table("demo.visit")
    assert "band" in {column.name for column in table.columns}


def test_an_error_is_told(tap: TapPlus) -> None:
    with pytest.raises(Exception, match="no_such_column"):
        tap.launch_job("SELECT no_such_column FROM demo.object")


def test_a_failed_async_job_is_told(tap: TapPlus) -> None:
    with pytest.raises(Exception, match="no_such_column"):
        tap.launch_job_async("SELECT no_such_column FROM demo.object").get_results()


def test_an_upload(tap: TapPlus) -> None:
    mine = Table({"i": [1, 2, 3]})
    result = tap.launch_job(
        "SELECT SUM(i) AS total FROM tap_upload.mine",
        upload_resource=mine,
        upload_table_name="mine",
    ).get_results()
    assert result["total"][0] == 6
