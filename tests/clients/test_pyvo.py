"""The demo survey through pyvo."""

from __future__ import annotations

import numpy as np
import pytest
import pyvo
from astropy.table import Table
from pyvo.dal import DALQueryError, TAPService

from tests.support.platform import RunningPlatform

pytestmark = [
    pytest.mark.client,
    pytest.mark.timeout(600),
    # pyvo leaves connections open when a constructor fails.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

CONE = (
    "SELECT objectId, coord_ra, coord_dec, r_psfFlux FROM demo.object "
    "WHERE CONTAINS(POINT(coord_ra, coord_dec), CIRCLE(150.1, 2.2, 0.1)) = 1"
)


@pytest.fixture(scope="module")
def service(demo_platform: RunningPlatform) -> TAPService:
    return pyvo.dal.TAPService(demo_platform.tap)


def test_a_sync_cone_gives_rows_with_units_and_ucds(service: TAPService) -> None:
    result = service.run_sync(CONE)
    assert len(result) > 100
    table = result.to_table()
    assert table["objectId"].dtype == np.int64
    assert str(table["r_psfFlux"].unit) == "nJy"
    assert result.getdesc("coord_ra").ucd == "pos.eq.ra;meta.main"
    distance = np.hypot(
        (table["coord_ra"] - 150.1) * np.cos(np.radians(2.2)), table["coord_dec"] - 2.2
    )
    assert distance.max() < 0.1001


def test_maxrec_truncates_and_says_so(service: TAPService) -> None:
    result = service.run_sync("SELECT objectId FROM demo.object", maxrec=7)
    assert len(result) == 7
    assert result.status[0] == "OVERFLOW"
    exact = service.run_sync("SELECT TOP 7 objectId FROM demo.object", maxrec=7)
    assert exact.status[0] == "OK"


def test_an_async_job_runs_and_is_deleted(service: TAPService) -> None:
    job = service.submit_job(CONE)
    assert job.phase == "PENDING"
    job.run()
    job.wait(phases=["COMPLETED", "ERROR"], timeout=60)
    job.raise_if_error()
    result = job.fetch_result()
    assert len(result) == len(service.run_sync(CONE))
    job.delete()
    with pytest.raises(pyvo.DALServiceError):
        pyvo.dal.AsyncTAPJob(job.url)


def test_run_async_does_it_all(service: TAPService) -> None:
    result = service.run_async("SELECT COUNT(*) AS n FROM demo.visit")
    assert result["n"][0] == 500


def test_an_async_job_that_fails_tells_why(service: TAPService) -> None:
    job = service.submit_job("SELECT nothing_there FROM demo.object")
    job.run()
    job.wait(phases=["COMPLETED", "ERROR"], timeout=60)
    assert job.phase == "ERROR"
    with pytest.raises(DALQueryError, match="nothing_there"):
        job.raise_if_error()


def test_job_settings_can_be_changed(service: TAPService) -> None:
    job = service.submit_job("SELECT TOP 1 visit FROM demo.visit")
    job.execution_duration = 30
    assert job.execution_duration.to_value("s") == 30
    job.query = "SELECT TOP 2 visit FROM demo.visit"
    job.run()
    job.wait(phases=["COMPLETED", "ERROR"], timeout=60)
    assert len(job.fetch_result()) == 2
    job.delete()


@pytest.mark.parametrize("run", ["run_sync", "run_async"])
def test_an_uploaded_table_is_joined(service: TAPService, run: str) -> None:
    mine = Table({"name": ["a", "b"], "ra": [150.1, 150.2], "dec": [2.2, 2.25]})
    query = (
        "SELECT u.name, COUNT(*) AS n FROM TAP_UPLOAD.mine AS u JOIN demo.object AS o "
        "ON DISTANCE(POINT(u.ra, u.dec), POINT(o.coord_ra, o.coord_dec)) < 0.05 GROUP BY u.name"
    )
    result = getattr(service, run)(query, uploads={"mine": mine})
    assert sorted(result["name"]) == ["a", "b"]
    assert min(result["n"]) > 20


def test_tables_and_their_columns_are_described(service: TAPService) -> None:
    tables = service.tables
    assert {"demo.object", "demo.source", "demo.forced_source", "demo.visit"} <= set(tables.keys())
    assert {"TAP_SCHEMA.tables", "TAP_SCHEMA.columns"} <= {
        name.replace("tap_schema", "TAP_SCHEMA")
        for name in tables.keys()  # noqa: SIM118
    }
    columns = {column.name: column for column in tables["demo.object"].columns}
    assert columns["coord_ra"].unit == "deg"
    assert "_healpix_29" not in columns


def test_every_example_runs(service: TAPService) -> None:
    examples = service.examples
    assert len(examples) >= 3
    for example in examples:
        assert example.execute() is not None


def test_limits_are_announced(service: TAPService) -> None:
    assert service.maxrec == 1_000_000
    assert service.hardlimit == 100_000_000
    assert {method.ivo_id for method in service.upload_methods} == {
        "ivo://ivoa.net/std/TAPRegExt#upload-inline",
        "ivo://ivoa.net/std/TAPRegExt#upload-http",
    }


def test_a_wrong_query_says_where_and_what_would_fit(service: TAPService) -> None:
    with pytest.raises(DALQueryError, match=r"line 1, column 8.*objectId"):
        service.run_sync("SELECT objectIdd FROM demo.object")


def test_light_curve_of_one_object(service: TAPService) -> None:
    busiest = service.run_sync("SELECT TOP 1 objectId FROM demo.object ORDER BY nVisits DESC")
    object_id = int(busiest["objectId"][0])
    curve = service.run_sync(
        "SELECT midpointMjdTai, band, psfFlux, psfFluxErr FROM demo.forced_source "
        f"WHERE objectId = {object_id} ORDER BY midpointMjdTai"
    )
    assert len(curve) > 10
    assert (np.diff(curve["midpointMjdTai"]) >= 0).all()
