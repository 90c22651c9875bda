"""Conditions on footprints: what they say of footprints around a region's border."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import BadParameterError
from astrolabe.factory import ProcessContext
from astrolabe.images.model import ImageCollection, ImageKey, ImageRecord, PlaneKind
from astrolabe.images.obscore.search import footprint_condition
from astrolabe.sky.regions import Box, Circle, Everything, Polygon, Region, Widened, Zone
from tests.support.tiny import ask, open_context

HALF = 0.05
PLACES = {
    "zero": (0.0, 0.0),
    "west": (355.0, 0.0),
    "east": (5.0, 0.0),
    "far": (180.0, 0.0),
    "north": (0.0, 60.0),
    "pole": (0.0, 89.99),
    "south": (120.0, -89.99),
    "edge-in": (5.04, 0.0),
    "edge-out": (5.06, 0.0),
    "arc-in": (30.0, 59.96),
    "arc-out": (30.0, 59.94),
}


def record(name: str, place: tuple[float, float] | None) -> ImageRecord:
    values = {}
    if place is not None:
        lon, lat = place
        low, high = max(lat - HALF, -90.0), min(lat + HALF, 90.0)
        west, east = (lon - HALF) % 360, (lon + HALF) % 360
        region = [west, low, east, low, east, high, west, high]
        if abs(lat) > 89:
            rim = 89.9 if lat > 0 else -89.9
            region = [x for lon in (0.0, 120.0, 240.0) for x in (lon, rim)]
        values = {"s_ra": lon, "s_dec": lat, "s_region": region}
    return ImageRecord(
        key=ImageKey("deep", name),
        uri=f"/data/{name}.fits",
        size_bytes=28_800,
        md5=None,
        signature="1 1",
        index_path=name,
        planes={PlaneKind.IMAGE: 1},
        obscore=values,
        imported=utc_now(),
    )


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessContext]:
    home = tmp_path_factory.mktemp("search") / "home"
    with open_context(home, engine={"memory_fraction": 0.02, "threads": 2}) as made:
        store = made.images.store
        store.ensure_collection(ImageCollection(name="deep", created=utc_now()))
        store.put([record(name, place) for name, place in PLACES.items()] + [record("none", None)])
        made.images.obscore.publish()
        yield made


ALL = set(PLACES)
NEAR = {"zero", "west", "east", "edge-in"}
CASES = [
    pytest.param(Zone(355.0, 10.0, -1.0, 1.0), NEAR, id="across-zero"),
    pytest.param(Zone(-5.0, 10.0, -1.0, 1.0), NEAR, id="across-zero-negative"),
    pytest.param(Zone(0.0, 360.0, -1.0, 1.0), {*NEAR, "edge-out", "far"}, id="band"),
    pytest.param(
        Zone(0.0, 360.0, 60.0, 90.0), {"north", "pole", "arc-in"}, id="polar-cap"
    ),
    pytest.param(Zone(0.0, 90.0, 60.0, 90.0), {"north", "pole", "arc-in"}, id="polar-quarter"),
    pytest.param(Zone(170.0, 90.0, 60.0, 90.0), {"pole"}, id="other-quarter"),
    pytest.param(Zone(0.0, 360.0, -90.0, 90.0), ALL, id="whole-sky"),
    pytest.param(
        Zone(10.0, 340.0, -90.0, 90.0), {"far", "pole", "south", "arc-in", "arc-out"}, id="wide"
    ),
    pytest.param(Zone(0.0, 0.0, 0.0, 0.0), {"zero"}, id="no-extent"),
    pytest.param(Circle(0.0, 0.0, 5.0), NEAR, id="circle"),
    pytest.param(Circle(0.0, 0.0, 0.0), {"zero"}, id="circle-of-no-size"),
    pytest.param(Circle(0.0, 0.0, 180.0), ALL, id="circle-of-all"),
    pytest.param(Polygon([359, 1, 1, 359], [-1, -1, 1, 1]), {"zero"}, id="polygon"),
    pytest.param(Box(0.0, 0.0, 2.0, 2.0), {"zero"}, id="box"),
    pytest.param(Everything(), ALL, id="everything"),
]  # fmt: skip


@pytest.mark.parametrize(("region", "wanted"), CASES)
def test_footprints_that_meet_a_region(
    context: ProcessContext, region: Region, wanted: set[str]
) -> None:
    condition = footprint_condition(region, "o")
    found = ask(context, f"SELECT o.obs_id FROM ivoa.ObsCore AS o WHERE {condition}")
    assert set(found.column("obs_id").to_pylist()) == wanted


def test_several_regions_in_one_query(context: ProcessContext) -> None:
    conditions = [footprint_condition(Circle(lon, 0.0, 0.1)) for lon in (0.0, 180.0)]
    found = ask(context, f"SELECT obs_id FROM ivoa.ObsCore WHERE {' OR '.join(conditions)}")
    assert set(found.column("obs_id").to_pylist()) == {"zero", "far"}


def test_other_regions_are_refused() -> None:
    with pytest.raises(BadParameterError, match="circles, polygons and ranges"):
        footprint_condition(Widened(Circle(0.0, 0.0, 1.0), 1.0))
