"""Columns of polygons in ADQL: the same answers by every way, and as a judge of our own says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrolabe.catalogs.cancel import QueryCancel
from astrolabe.catalogs.importing import ImportOptions, run_import
from astrolabe.catalogs.query import QueryRequest
from astrolabe.factory import ProcessContext
from astrolabe.identity import ANONYMOUS
from astrolabe.tables.model import Column, Datatype, TableMeta, arrow_type
from tests.support.tiny import MemorySource, open_context, sky_points

Floats = npt.NDArray[np.float64]

COUNT = 1_200
COLUMNS = (
    Column(name="id", datatype=Datatype.INT),
    Column(name="ra", datatype=Datatype.DOUBLE, unit="deg", ucd="pos.eq.ra"),
    Column(name="dec", datatype=Datatype.DOUBLE, unit="deg", ucd="pos.eq.dec"),
    Column(name="shape", datatype=Datatype.DOUBLE, arraysize="*", xtype="polygon"),
    Column(name="disk", datatype=Datatype.DOUBLE, arraysize="3", xtype="circle"),
)
META = TableMeta(schema="s", name="image", columns=COLUMNS, ra_column="ra", dec_column="dec")


def vectors(lon_deg: Any, lat_deg: Any) -> Floats:
    lon, lat = np.radians(lon_deg), np.radians(lat_deg)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)


def around(place: tuple[float, float], radii_deg: Floats, turn: float) -> Floats:
    """Return corners (lon, lat) at distances from a place, evenly around it."""
    ra, dec = place
    center = vectors(ra, dec)
    east = np.array([-np.sin(np.radians(ra)), np.cos(np.radians(ra)), 0.0])
    north = np.cross(center, east)
    angle = turn + np.arange(len(radii_deg)) * 2 * np.pi / len(radii_deg)
    sideways = np.cos(angle)[:, None] * east + np.sin(angle)[:, None] * north
    radius = np.radians(radii_deg)[:, None]
    at = np.cos(radius) * center + np.sin(radius) * sideways
    lon = np.degrees(np.arctan2(at[:, 1], at[:, 0])) % 360
    return np.stack([lon, np.degrees(np.arcsin(np.clip(at[:, 2], -1, 1)))], 1)


def footprints() -> tuple[list[int], Floats, Floats, list[list[float] | None]]:
    """Make stars and squares of all sizes, some at the poles and across longitude 0."""
    rng = np.random.default_rng(11)
    ra, dec = sky_points(COUNT, seed=12)
    near = [(0.0, 0.0), (10.0, 89.9), (200.0, -89.5), (359.99, 40.0)]
    for i, (lon, lat) in enumerate(near * 40):
        ra[i], dec[i] = (lon + rng.normal(0, 0.3)) % 360, np.clip(lat + rng.normal(0, 0.3), -90, 90)
    shapes: list[list[float] | None] = []
    for i in range(COUNT):
        size = 10 ** rng.uniform(-2, 0) if rng.random() > 0.01 else rng.uniform(5, 50)
        count = int(rng.integers(3, 9))
        radii = size * (rng.uniform(0.4, 1, count) if i % 2 else np.ones(count))
        shapes.append(around((ra[i], dec[i]), radii, rng.uniform(0, 6)).ravel().tolist())
    shapes[700] = None
    shapes[701] = [float("nan")] * 6
    # Far from its row's position, as nothing forbids.
    shapes[702] = around(((ra[702] + 90) % 360, 0.0), np.ones(4), 0.0).ravel().tolist()
    return list(range(COUNT)), ra, dec, shapes


@pytest.fixture(scope="module")
def made() -> tuple[list[int], Floats, Floats, list[list[float] | None]]:
    return footprints()


def import_footprints(context: ProcessContext, made: Any, *, name: str = "image") -> None:
    ids, ra, dec, shapes = made
    disks = [None if i == 5 else [ra[i], dec[i], 0.3] for i in ids]
    nowhere = {900, 901}
    values: list[Any] = [
        ids,
        [None if i in nowhere else x for i, x in enumerate(ra.tolist())],
        [None if i in nowhere else x for i, x in enumerate(dec.tolist())],
        shapes,
        disks,
    ]
    data = pa.table(
        [pa.array(v, arrow_type(c)) for v, c in zip(values, COLUMNS, strict=True)],
        schema=pa.schema([(c.name, arrow_type(c)) for c in COLUMNS]),
    )
    options = ImportOptions(
        schema="s",
        table=name,
        declared=replace(META, name=name),
        keep_unplaced=True,
        margin_arcsec=0.0,
        rows_per_file=1_000,
        rows_per_group=100,
    )
    run_import(MemorySource(COLUMNS, data), options, context.catalog)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, made: Any) -> Iterator[ProcessContext]:
    home = tmp_path_factory.mktemp("small") / "home"
    with open_context(home, engine={"memory_fraction": 0.02, "threads": 2}) as context:
        import_footprints(context, made)
        yield context


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory, made: Any) -> Iterator[ProcessContext]:
    """A context in which DuckDB answers everything."""
    home = tmp_path_factory.mktemp("behind") / "home"
    engine = {"memory_fraction": 0.02, "threads": 2, "small_plan_rows": 0}
    with open_context(home, engine=engine) as context:
        import_footprints(context, made)
        yield context


def found(context: ProcessContext, condition: str) -> set[int]:
    running = context.queries.start(
        QueryRequest(query=f"SELECT id FROM s.image WHERE {condition}"),
        principal=ANONYMOUS,
        cancel=QueryCancel(),
    )
    return {int(row["id"]) for batch in running for row in batch.to_pylist()}


# --- the judge: everything in the gnomonic plane around the constant shape -----------------------


def plane(center: Floats, at: Floats) -> Floats | None:
    """Project unit vectors (n, 3) to the plane at a centre; `None` if one is not in sight."""
    depth = at @ center
    if (depth <= 0.02).any():
        return None
    helper = np.array([0.0, 0.0, 1.0]) if abs(center[2]) < 0.9 else np.array([1.0, 0.0, 0.0])
    east = np.cross(helper, center)
    east /= np.linalg.norm(east)
    return np.stack([at @ east, at @ np.cross(center, east)], 1) / depth[:, None]


def within(point: Floats, corners: Floats) -> bool:
    """Tell by winding angles whether a point of the plane is in a polygon."""
    away = corners - point
    following = np.roll(away, -1, axis=0)
    cross = away[:, 0] * following[:, 1] - away[:, 1] * following[:, 0]
    total = np.arctan2(cross, (away * following).sum(1)).sum()
    return bool(abs(total) > np.pi)


def sides_cross(one: Floats, two: Floats) -> bool:
    def turn(a: Floats, b: Floats, c: Floats) -> Floats:
        return np.asarray(
            (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1])
            - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])
        )

    a, b = one[:, None], np.roll(one, -1, axis=0)[:, None]
    c, d = two[None], np.roll(two, -1, axis=0)[None]
    apart = (turn(a, b, c) > 0) != (turn(a, b, d) > 0)
    return bool((apart & ((turn(c, d, a) > 0) != (turn(c, d, b) > 0))).any())


def meets(shape: list[float] | None, other: Floats) -> bool:
    """Tell whether a polygon has something in common with another one (corners in degrees)."""
    if shape is None or not np.isfinite(shape).all():
        return False
    center = vectors(*other.T).sum(0)
    center /= np.linalg.norm(center)
    mine = plane(center, vectors(shape[0::2], shape[1::2]))
    its = plane(center, vectors(*other.T))
    assert its is not None
    if mine is None:
        # The judge sees half the sky: such a shape is drawn into sight by cutting its sides.
        return meets_by_points(shape, other)
    return (
        any(within(p, its) for p in mine)
        or any(within(p, mine) for p in its)
        or sides_cross(mine, its)
    )


def meets_by_points(shape: list[float], other: Floats) -> bool:
    """The same from the shape's own middle."""
    at = vectors(shape[0::2], shape[1::2])
    center = at.sum(0) / np.linalg.norm(at.sum(0))
    mine, its = plane(center, at), plane(center, vectors(*other.T))
    if mine is None or its is None:
        return False
    return (
        any(within(p, its) for p in mine)
        or any(within(p, mine) for p in its)
        or sides_cross(mine, its)
    )


def holds(shape: list[float] | None, lon: float, lat: float) -> bool:
    if shape is None or not np.isfinite(shape).all():
        return False
    at = vectors(shape[0::2], shape[1::2])
    center = at.sum(0) / np.linalg.norm(at.sum(0))
    place = vectors(lon, lat)
    mine = plane(center, at)
    assert mine is not None
    if place @ center <= 0.02:
        return False
    point = plane(center, place[None])
    assert point is not None
    return within(point[0], mine)


def in_reach(made: Any, at_deg: tuple[float, float], size_deg: float) -> list[int]:
    """Return the shapes whose corners are near enough to matter, so that few are judged."""
    place, chosen = vectors(*at_deg), []
    for i, shape in enumerate(made[3]):
        if shape is None or not np.isfinite(shape).all():
            continue
        at = vectors(shape[0::2], shape[1::2])
        away = np.degrees(np.arccos(np.clip([at[0] @ place, *(at @ at[0])], -1, 1)))
        if away[0] <= away[1:].max() + size_deg + 0.01:
            chosen.append(i)
    return chosen


PLACES = st.tuples(st.floats(0, 359.999), st.floats(-89.9, 89.9)) | st.sampled_from(
    [(0.0, 0.0), (10.0, 89.9), (200.0, -89.5), (359.99, 40.0), (12.0, 90.0), (45.0, 0.0)]
)
EASY = settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.slow
@EASY
@given(place=PLACES)
def test_points(small: ProcessContext, made: Any, place: Any) -> None:
    lon, lat = place
    condition = f"CONTAINS(POINT({lon!r}, {lat!r}), shape) = 1"
    wanted = {i for i in in_reach(made, place, 0.0) if holds(made[3][i], lon, lat)}
    assert found(small, condition) == wanted


@pytest.mark.slow
@EASY
@given(place=PLACES, size=st.floats(0.05, 12), count=st.integers(3, 7), turn=st.floats(0, 6))
def test_polygons(
    small: ProcessContext, made: Any, place: Any, size: float, count: int, turn: float
) -> None:
    corners = around(place, np.full(count, size), turn)
    text = ", ".join(f"{x!r}" for x in corners.ravel().tolist())
    wanted = {i for i in in_reach(made, place, size) if meets(made[3][i], corners)}
    assert found(small, f"INTERSECTS(POLYGON({text}), shape) = 1") == wanted
    assert found(small, f"1 = INTERSECTS(shape, POLYGON({text}))") == wanted


SHAPES = [
    "POINT(359.9, 40.1)",
    "CIRCLE(0.2, 0.1, 0.3)",
    "CIRCLE(10, 89.9, 2)",
    "CIRCLE(120, -20, 100)",
    "BOX(359.9, 40, 1.5, 1)",
    "POLYGON(355, 35, 5, 35, 5, 45, 0, 37, 355, 45)",
    "POLYGON(100, -40, 160, -40, 160, 10, 100, 10)",
]
FORMS = [
    "INTERSECTS({}, shape) = 1",
    "CONTAINS({}, shape) = 1",
    "CONTAINS(shape, {}) = 1",
    "INTERSECTS(shape, {}) = 0",
    "NOT CONTAINS(shape, {}) = 1",
    "CONTAINS(shape, {}) <> 0 OR CONTAINS(POINT(12, 90), shape) = 1",
]


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES, ids=[f"shape{i}" for i in range(len(SHAPES))])
@pytest.mark.parametrize("form", FORMS, ids=[f"form{i}" for i in range(len(FORMS))])
def test_every_way_gives_the_same_rows(
    small: ProcessContext, behind: ProcessContext, form: str, shape: str
) -> None:
    condition = form.format(shape)
    # With an alternative that says nothing of places, DuckDB judges every row.
    rows = found(behind, f"({condition}) OR id < -1")
    assert found(small, condition) == rows


@pytest.mark.parametrize("shape", SHAPES[:4], ids=[f"shape{i}" for i in range(4)])
def test_the_engine_behind_reads_what_matters(
    small: ProcessContext, behind: ProcessContext, shape: str
) -> None:
    condition = f"INTERSECTS({shape}, shape) = 1"
    assert found(behind, condition) == found(small, condition) != set()


def test_columns_of_circles_are_found_too(small: ProcessContext, made: Any) -> None:
    _, ra, dec, _ = made
    apart = np.degrees(np.arccos(np.clip(vectors(ra, dec) @ vectors(0.0, 0.0), -1, 1)))
    wanted = set(np.flatnonzero(apart <= 0.8).tolist()) - {5}
    assert found(small, "INTERSECTS(disk, CIRCLE(0, 0, 0.5)) = 1") == wanted


def test_columns_of_subqueries_are_followed(small: ProcessContext) -> None:
    shape = "CIRCLE(0, 0, 0.5)"
    inner = "id IN (SELECT t.i FROM (SELECT id AS i, shape AS s FROM s.image) AS t WHERE"
    assert found(small, f"{inner} INTERSECTS(t.s, {shape}) = 1)") == found(
        small, f"INTERSECTS(shape, {shape}) = 1"
    )


def test_functions_of_a_column_of_polygons(small: ProcessContext) -> None:
    running = small.queries.start(
        QueryRequest(
            query="SELECT id, AREA(shape) AS a, COORD1(CENTROID(shape)) AS x, shape FROM s.image"
            " WHERE id IN (700, 702)"
        ),
        principal=ANONYMOUS,
        cancel=QueryCancel(),
    )
    rows = {row["id"]: row for batch in running for row in batch.to_pylist()}
    assert (rows[700]["a"], rows[700]["x"], rows[700]["shape"]) == (None, None, None)
    assert rows[702]["a"] == pytest.approx(2.0, rel=1e-3)
    assert len(rows[702]["shape"]) == 8
