"""Footprints are found by position: few row groups are read, and no row is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from astrolabe.catalogs.importing import ImportOptions, run_import
from astrolabe.catalogs.importing.footprints import reach_deg
from astrolabe.factory import ProcessContext
from astrolabe.tables.model import Column, Datatype, TableMeta, arrow_type
from tests.support.plans import ask_unpruned, groups_read
from tests.support.tiny import MemorySource, ask, open_context, sky_points

COUNT = 4_000
COLUMNS = (
    Column(name="id", datatype=Datatype.INT),
    Column(name="ra", datatype=Datatype.DOUBLE, unit="deg", ucd="pos.eq.ra"),
    Column(name="dec", datatype=Datatype.DOUBLE, unit="deg", ucd="pos.eq.dec"),
    Column(name="shape", datatype=Datatype.DOUBLE, arraysize="*", xtype="polygon"),
)
META = TableMeta(schema="s", name="image", columns=COLUMNS, ra_column="ra", dec_column="dec")
STRAYS = (7, 8)


def square(ra: float, dec: float, half: float) -> list[float]:
    wide = half / max(np.cos(np.radians(dec)), 0.05)
    low, high = max(dec - half, -89.9), min(dec + half, 89.9)
    corners = [ra - wide, low, ra + wide, low, ra + wide, high, ra - wide, high]
    return [x % 360 if i % 2 == 0 else x for i, x in enumerate(corners)]


def source(ids: range, *, stray_deg: float = 20.0) -> MemorySource:
    ra, dec = sky_points(len(ids), seed=ids.start + 1)
    shapes = [
        square(a, d, stray_deg if i in STRAYS else 0.2)
        for i, a, d in zip(ids, ra, np.clip(dec, -60, 60), strict=True)
    ]
    values: list[Any] = [list(ids), ra, np.clip(dec, -60, 60), shapes]
    data = pa.table(
        [pa.array(v, arrow_type(c)) for v, c in zip(values, COLUMNS, strict=True)],
        schema=pa.schema([(c.name, arrow_type(c)) for c in COLUMNS]),
    )
    return MemorySource(COLUMNS, data)


def import_images(context: ProcessContext, made: MemorySource, mode: Any = "create") -> None:
    options = ImportOptions(
        schema="s",
        table="image",
        mode=mode,
        declared=META,
        margin_arcsec=0.0,
        rows_per_file=1_000,
        rows_per_group=50,
    )
    run_import(made, options, context.catalog)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessContext]:
    home = tmp_path_factory.mktemp("footprints") / "home"
    with open_context(home, engine={"memory_fraction": 0.02, "threads": 2}) as made:
        import_images(made, source(range(COUNT)))
        yield made


CONDITIONS = {
    "point": "CONTAINS(POINT(100, 20), shape) = 1",
    "circle": "INTERSECTS(CIRCLE(100, 20, 1), shape) = 1",
    "turned": "1 = INTERSECTS(shape, CIRCLE(100, 20, 1))",
    "polygon": "INTERSECTS(shape, POLYGON(99, 19, 101, 19, 101, 21)) = 1",
    "within": "CONTAINS(shape, CIRCLE(100, 20, 1)) = 1",
    "either": "(INTERSECTS(shape, CIRCLE(100, 20, 1)) = 1"
    " OR INTERSECTS(shape, CIRCLE(50, 0, 1)) = 1)",
    "and": "INTERSECTS(shape, CIRCLE(100, 20, 1)) = 1"
    " AND INTERSECTS(shape, CIRCLE(100.1, 20, 1)) = 1",
    "negated": "NOT INTERSECTS(shape, CIRCLE(100, 20, 1)) = 0",
}


@pytest.mark.slow
@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS.keys())
def test_few_row_groups_are_read_and_no_row_is_lost(
    context: ProcessContext, condition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = f"SELECT id FROM s.image WHERE {condition}"
    assert groups_read(context, query)["t0"] <= 12
    assert groups_read(context, "SELECT id FROM s.image")["t0"] >= 80
    wanted = set(ask_unpruned(context, query, monkeypatch).column("id").to_pylist())
    found = ask(context, query)
    assert set(found.column("id").to_pylist()) == wanted
    assert found.num_rows == len(wanted)


@pytest.mark.parametrize(
    "condition",
    [
        pytest.param("INTERSECTS(shape, CIRCLE(100, 20, 1)) = 0", id="outside"),
        pytest.param("INTERSECTS(shape, CIRCLE(100, 20, 1)) = 1 OR id = 3", id="or-another"),
        pytest.param("INTERSECTS(shape, CIRCLE(ra, 20, 1)) = 1", id="shape-of-the-row"),
    ],
)
def test_other_conditions_read_all(context: ProcessContext, condition: str) -> None:
    assert groups_read(context, f"SELECT id FROM s.image WHERE {condition}")["t0"] >= 80


def test_a_stray_is_found_far_from_its_position(context: ProcessContext) -> None:
    (place,) = ask(context, "SELECT ra, dec FROM s.image WHERE id = 7").to_pylist()
    lon, lat = (place["ra"] + 15.0) % 360, place["dec"]
    query = f"SELECT id FROM s.image WHERE CONTAINS(POINT({lon}, {lat}), shape) = 1"
    assert 7 in ask(context, query).column("id").to_pylist()
    assert groups_read(context, query)["t0"] <= 12


def test_rows_that_are_added_are_found_too(tmp_path: Path) -> None:
    with open_context(tmp_path / "home", engine={"memory_fraction": 0.02}) as context:
        import_images(context, source(range(100, 400)))
        import_images(context, source(range(50)), "append")
        (place,) = ask(context, "SELECT ra, dec FROM s.image WHERE id = 8").to_pylist()
        lon, lat = (place["ra"] + 15.0) % 360, place["dec"]
        query = f"SELECT id FROM s.image WHERE CONTAINS(POINT({lon}, {lat}), shape) = 1"
        assert 8 in ask(context, query).column("id").to_pylist()


def test_reach_of_shapes() -> None:
    shapes = pa.array(
        [
            [0.0, 0.0, 2.0, 0.0, 0.0, 1.0],
            None,
            [float("nan")] * 6,
            [1.0, 2.0, 3.0],
            [0.0, 0.0, 100.0, 0.0, 0.0, 1.0],
            [0.0, 0.0, 2.0, 0.0, 0.0, 1.0],
            [],
        ]
    )
    ra = np.array([0.0, 0.0, 0.0, 0.0, 0.0, np.nan, 0.0])
    found = reach_deg(ra, np.zeros(7), shapes)
    np.testing.assert_allclose(found, [2.0, np.nan, np.nan, np.nan, 180.0, 180.0, np.nan])
    disks = reach_deg(np.zeros(1), np.zeros(1), pa.array([[3.0, 0.0, 0.5]]), is_circle=True)
    np.testing.assert_allclose(disks, [3.5])
