"""Joins of positions with footprints: the same rows as when each pair is judged by itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrolabe.catalogs.cancel import QueryCancel
from astrolabe.catalogs.engine import FileScan, Kept, PairScan, QueryPlan
from astrolabe.catalogs.pairs import pairs_of
from astrolabe.catalogs.query import QueryRequest
from astrolabe.catalogs.uploads import UPLOAD_SCHEMA, UploadedTable
from astrolabe.core.errors import CancelledError
from astrolabe.factory import ProcessContext
from astrolabe.identity import ANONYMOUS
from astrolabe.sky.ranges import ALL_SKY
from astrolabe.tables.model import Column, Datatype, TableMeta, arrow_type
from tests.query.test_footprints import (
    PLACES,
    around,
    footprints,
    holds,
    import_footprints,
    in_reach,
    vectors,
)
from tests.support.tiny import import_columns, open_context, sky_points

STARS = 3_000
NEAR = [(0.0, 0.0), (10.0, 89.9), (200.0, -89.5), (359.99, 40.0)]
POINTS = (
    Column(name="name", datatype=Datatype.INT),
    Column(name="ra", datatype=Datatype.DOUBLE, unit="deg"),
    Column(name="dec", datatype=Datatype.DOUBLE, unit="deg"),
    Column(name="arcsec", datatype=Datatype.DOUBLE),
    Column(name="row", datatype=Datatype.INT),
)
SHAPES = (
    Column(name="name", datatype=Datatype.INT),
    Column(name="outline", datatype=Datatype.DOUBLE, arraysize="*", xtype="polygon"),
)


def reach_deg(shape: list[float]) -> float:
    at = vectors(shape[0::2], shape[1::2])
    return float(np.degrees(np.arccos(np.clip(at @ at[0], -1, 1))).max())


@pytest.fixture(scope="module")
def made() -> Any:
    return footprints()


@pytest.fixture(scope="module")
def stars() -> tuple[Any, Any]:
    ra, dec = sky_points(STARS, seed=21)
    rng = np.random.default_rng(22)
    for i in range(600):
        lon, lat = NEAR[i % 4]
        ra[i] = (lon + rng.normal(0, 0.3)) % 360
        dec[i] = np.clip(lat + rng.normal(0, 0.3), -90, 90)
    return ra, dec


@pytest.fixture(scope="module")
def context(
    tmp_path_factory: pytest.TempPathFactory, made: Any, stars: Any
) -> Iterator[ProcessContext]:
    home = tmp_path_factory.mktemp("pairs") / "home"
    with open_context(home, engine={"memory_fraction": 0.02, "threads": 2}) as opened:
        import_footprints(opened, made)
        small = [s if s is not None and reach_deg(s) < 1.0 else None for s in made[3]]
        import_footprints(opened, (*made[:3], small), name="tile")
        import_columns(
            opened,
            "s",
            "star",
            {
                "id": (Datatype.LONG, np.arange(STARS)),
                "ra": (Datatype.DOUBLE, stars[0]),
                "dec": (Datatype.DOUBLE, stars[1]),
                "n": (Datatype.INT, np.arange(STARS) % 10),
            },
            id_column="id",
            rows_per_file=1_000,
            rows_per_group=200,
        )
        yield opened


def uploaded(name: str, columns: tuple[Column, ...], values: list[list[Any]]) -> UploadedTable:
    meta = TableMeta(schema=UPLOAD_SCHEMA, name=name, columns=columns)
    arrays = [pa.array(v, arrow_type(c)) for v, c in zip(values, columns, strict=True)]
    data = pa.table(arrays, schema=pa.schema([(c.name, arrow_type(c)) for c in columns]))
    return UploadedTable(meta=meta, data=data)


def points(places: list[Any], arcsec: float | None = 60.0) -> UploadedTable:
    """Make a table of positions in which None stands for NULL."""
    count = range(len(places))
    ra, dec = ([None if p is None else p[k] for p in places] for k in (0, 1))
    names = list(count)
    return uploaded("t", POINTS, [names, ra, dec, [arcsec] * len(places), names])


def rows(context: ProcessContext, query: str, *uploads: UploadedTable) -> list[tuple[Any, ...]]:
    running = context.queries.start(
        QueryRequest(query=query, uploads=uploads), principal=ANONYMOUS, cancel=QueryCancel()
    )
    found = [tuple(row.values()) for batch in running for row in batch.to_pylist()]
    return sorted(found, key=repr)


@pytest.fixture
def plans(context: ProcessContext, monkeypatch: pytest.MonkeyPatch) -> list[QueryPlan]:
    """Return a list that the plans of all queries are put into."""
    seen: list[QueryPlan] = []
    engine = context.queries._engine
    execute = engine.execute

    def watched(plan: QueryPlan, cancel: Any) -> Any:
        seen.append(plan)
        return execute(plan, cancel)

    monkeypatch.setattr(engine, "execute", watched)
    return seen


def pair_scans(plans: list[QueryPlan]) -> list[PairScan]:
    return [scan for plan in plans for scan in plan.scans.values() if isinstance(scan, PairScan)]


def brute(made: Any, places: list[Any]) -> list[tuple[int, int]]:
    return sorted(
        (
            (name, i)
            for name, place in enumerate(places)
            if place is not None
            for i in in_reach(made, place, 0.0)
            if holds(made[3][i], *place)
        ),
        key=repr,
    )


EASY = settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@EASY
@given(places=st.lists(PLACES | st.none(), min_size=0, max_size=12))
def test_points_in_footprints(context: ProcessContext, made: Any, places: list[Any]) -> None:
    wanted = brute(made, places)
    table = points(places)
    join = "SELECT t.name, o.id FROM TAP_UPLOAD.t AS t JOIN s.image AS o ON"
    comma = "SELECT t.name, o.id FROM s.image AS o, TAP_UPLOAD.t AS t WHERE"
    assert rows(context, f"{join} 1 = CONTAINS(POINT(t.ra, t.dec), o.shape)", table) == wanted
    assert rows(context, f"{comma} INTERSECTS(o.shape, POINT(t.ra, t.dec)) > 0", table) == wanted


BRUTE = "(({}) OR o.id < -1)"
"""A form that is not understood, so that the engine judges each pair."""
CONDITIONS = [
    ("CONTAINS(POINT(t.ra, t.dec), o.shape) = 1", None),
    ("INTERSECTS(CIRCLE(t.ra, t.dec, 0.25), o.shape) = 1", None),
    ("INTERSECTS(o.shape, CIRCLE(t.ra, -(-t.dec), t.arcsec / 3600)) = 1", 900.0),
    ("CONTAINS(CIRCLE(t.ra, t.dec, 0.1), o.shape) = 1", None),
    ("CONTAINS(o.shape, CIRCLE(t.ra, t.dec, 1.5)) = 1", None),
    ("CONTAINS(o.shape, CIRCLE(t.ra, t.dec, t.arcsec)) = 1", 181.0),
    ("INTERSECTS(o.shape, CIRCLE(t.ra, t.dec, t.arcsec)) = 1", 200.0),
    ("INTERSECTS(o.shape, CIRCLE(t.ra, t.dec, t.arcsec)) = 1", -0.1),
    ("CONTAINS(CIRCLE(t.ra, t.dec, t.arcsec), o.shape) = 1", -0.1),
    ("CONTAINS(o.shape, CIRCLE(t.ra, t.dec, t.arcsec)) = 1", None),
]
SOME = [(0.0, 0.0), (10.0, 89.9), None, (200.0, -89.5), (359.99, 40.0), (12.0, 90.0)]


@pytest.mark.parametrize("number", range(len(CONDITIONS)))
def test_each_predicate_is_judged_as_the_engine_does(
    context: ProcessContext, plans: list[QueryPlan], number: int
) -> None:
    condition, size = CONDITIONS[number]
    table = points([*SOME, (float("nan"), 1.0)], arcsec=size)
    # Those near the poles and across 0, some missing, and one far from its row's position.
    query = (
        "SELECT t.name, o.id FROM TAP_UPLOAD.t AS t JOIN s.image AS o"
        " ON {} WHERE o.id < 60 OR o.id BETWEEN 700 AND 703 OR o.id IN (900, 901)"
    )
    found = rows(context, query.format(condition), table)
    assert len(pair_scans(plans)) == 1
    assert found == rows(context, query.format(BRUTE.format(condition)), table)
    assert len(pair_scans(plans)) == 1


FORMS = [
    "SELECT t.name, o.id FROM TAP_UPLOAD.t AS t LEFT JOIN s.image AS o ON {p} AND o.id < 100",
    "SELECT t.name, o.id FROM s.image AS o RIGHT JOIN TAP_UPLOAD.t AS t ON {p} AND o.id < 100",
    "SELECT t.name, o.id FROM s.image AS o LEFT JOIN TAP_UPLOAD.t AS t ON {p} WHERE o.id < 100",
    (
        "SELECT t.name, o.id FROM s.image AS o LEFT JOIN TAP_UPLOAD.t AS t ON {p}"
        " WHERE o.id < 100 AND t.name IS NULL"
    ),
    (
        "SELECT o.id FROM s.image AS o WHERE o.id < 100 AND"
        " EXISTS (SELECT t.name FROM TAP_UPLOAD.t AS t WHERE {p})"
    ),
    (
        "SELECT t.name FROM TAP_UPLOAD.t AS t WHERE"
        " EXISTS (SELECT o.id FROM s.image AS o WHERE {p} AND o.id < 100)"
    ),
    (
        "SELECT t.name FROM TAP_UPLOAD.t AS t WHERE"
        " NOT EXISTS (SELECT o.id FROM s.image AS o WHERE o.id < 100 AND {p})"
    ),
    (
        "SELECT t.name, COUNT(*) AS n FROM TAP_UPLOAD.t AS t, s.image AS o"
        " WHERE {p} AND o.id < 100 GROUP BY t.name"
    ),
    (
        "SELECT COUNT(*) AS n FROM s.image AS o WHERE o.id < 100 AND"
        " EXISTS (SELECT t.name FROM TAP_UPLOAD.t AS t WHERE {p})"
    ),
    (
        "SELECT t.name, o.id, x.id AS other FROM TAP_UPLOAD.t AS t JOIN s.image AS o ON {p}"
        " LEFT JOIN s.image AS x ON x.id = o.id + 1 AND x.id > 50 WHERE o.id < 100"
    ),
    (
        "SELECT q.name, q.id FROM (SELECT t.name, o.id FROM TAP_UPLOAD.t AS t JOIN s.image AS o"
        " ON {p} WHERE o.id < 100) AS q"
    ),
    (
        "SELECT t.name, o.id, o.shape FROM TAP_UPLOAD.t AS t JOIN s.image AS o ON {p}"
        " AND t.name > 0 WHERE o.id < 100"
    ),
    (
        "SELECT t.name, o.id FROM TAP_UPLOAD.t AS t LEFT JOIN (TAP_UPLOAD.u AS u JOIN s.image AS o"
        " ON u.row = MOD(o.id, 5)) ON {p} AND o.id < 100"
    ),
]


@pytest.mark.parametrize("number", range(len(FORMS)))
def test_each_form_of_join_has_the_rows_of_the_engine(
    context: ProcessContext, plans: list[QueryPlan], number: int
) -> None:
    condition = "INTERSECTS(CIRCLE(t.ra, t.dec, 0.2), o.shape) = 1"
    table = points(SOME)
    other = UploadedTable(
        meta=TableMeta(schema=UPLOAD_SCHEMA, name="u", columns=POINTS), data=points(SOME).data
    )
    found = rows(context, FORMS[number].format(p=condition), table, other)
    assert len(pair_scans(plans)) == 1
    unseen = f"({condition} OR o.id < -1)"
    assert found == rows(context, FORMS[number].format(p=unseen), table, other)


NOT_PAIRED = [
    "SELECT t.name, o.id FROM TAP_UPLOAD.t AS t FULL JOIN s.image AS o ON {p}",
    "SELECT t.name, o.id FROM s.image AS o LEFT JOIN TAP_UPLOAD.t AS t ON {p} AND t.name > 1",
    "SELECT t.name, o.id FROM TAP_UPLOAD.t AS t, s.image AS o WHERE {p} OR t.name = o.id",
    "SELECT t.name, o.id FROM TAP_UPLOAD.t AS t, s.image AS o WHERE NOT {p} AND o.id < 5",
    (
        "SELECT o.id FROM s.image AS o WHERE"
        " NOT EXISTS (SELECT t.name FROM TAP_UPLOAD.t AS t WHERE {p})"
    ),
]


@pytest.mark.parametrize("number", range(len(NOT_PAIRED)))
def test_what_pairs_alone_cannot_answer_is_left_to_the_engine(
    context: ProcessContext, plans: list[QueryPlan], number: int
) -> None:
    condition = "CONTAINS(POINT(t.ra, t.dec), o.shape) = 1"
    found = rows(context, NOT_PAIRED[number].format(p=condition), points([(0.0, 0.0), None]))
    assert pair_scans(plans) == []
    assert found


def test_footprints_of_an_upload_find_rows_of_a_catalog(
    context: ProcessContext, stars: Any, plans: list[QueryPlan]
) -> None:
    outlines = [around(place, np.array([0.5, 0.2, 0.6, 0.3, 0.5]), 1.0) for place in NEAR]
    areas: list[Any] = [outline.ravel().tolist() for outline in outlines]
    table = uploaded("a", SHAPES, [list(range(6)), [*areas, None, [float("nan")] * 6]])
    query = (
        "SELECT a.name, s.id FROM s.star AS s, TAP_UPLOAD.a AS a"
        " WHERE CONTAINS(POINT(s.ra, s.dec), a.outline) = 1"
    )
    at = vectors(*stars)
    wanted = sorted(
        (
            (name, i)
            for name, (area, place) in enumerate(zip(areas, NEAR, strict=True))
            for i in np.flatnonzero(at @ vectors(*place) > np.cos(np.radians(1.0))).tolist()
            if holds(area, float(stars[0][i]), float(stars[1][i]))
        ),
        key=repr,
    )
    assert rows(context, query, table) == wanted
    (scan,) = pair_scans(plans)
    assert isinstance(scan.rows, FileScan)
    assert scan.rows.estimated_rows is not None
    assert scan.rows.estimated_rows < STARS


def test_the_side_that_conditions_leave_few_rows_of_is_read_first(
    context: ProcessContext, made: Any, stars: Any, plans: list[QueryPlan]
) -> None:
    chosen = next(i for i in range(100) if len(made[3][i]) > 8 and reach_deg(made[3][i]) < 1)
    query = (
        "SELECT s.id FROM s.star AS s JOIN s.image AS o"
        f" ON CONTAINS(POINT(s.ra, s.dec), o.shape) = 1 WHERE o.id = {chosen}"
    )
    shape = made[3][chosen]
    wanted = [(i,) for i in range(600) if holds(shape, float(stars[0][i]), float(stars[1][i]))]
    assert rows(context, query) == sorted(wanted, key=repr)
    first, second = plans
    assert [source.table.name for source in first.query.tables] == ["image"]
    (scan,) = pair_scans([second])
    assert scan.kept is Kept.PAIRS
    assert {column.name for column in scan.columns} == {"id"}

    plans.clear()
    near = "SELECT s.id, o.id AS image FROM s.star AS s, s.image AS o WHERE s.n = 3 AND s.id < 60"
    condition = "INTERSECTS(CIRCLE(s.ra, s.dec, 0.1), o.shape) = 1"
    found = rows(context, f"{near} AND {condition} AND o.id < 80")
    assert len(pair_scans(plans)) == 1
    assert found == rows(context, f"{near} AND ({condition} OR o.id < -1) AND o.id < 80")
    assert found


def test_a_table_whose_rows_may_be_replaced_by_nulls_is_not_read_first(
    context: ProcessContext, plans: list[QueryPlan]
) -> None:
    query = (
        "SELECT s.id, o.id AS image FROM s.image AS o LEFT JOIN s.star AS s"
        " ON CONTAINS(POINT(s.ra, s.dec), o.shape) = 1 AND s.n = 3 WHERE o.id < 3"
    )
    found = rows(context, query)
    assert {image for _, image in found} == {0, 1, 2}
    assert all("star" not in {t.table.name for t in plan.query.tables} for plan in plans[:-1])


def test_only_the_parts_of_the_table_that_matter_are_read(
    context: ProcessContext, plans: list[QueryPlan]
) -> None:
    rows(
        context,
        "SELECT t.name, o.id FROM TAP_UPLOAD.t AS t JOIN s.tile AS o"
        " ON CONTAINS(POINT(t.ra, t.dec), o.shape) = 1",
        points([(100.0, 20.0), (101.0, 20.0)]),
    )
    (scan,) = pair_scans(plans)
    assert isinstance(scan.rows, FileScan)
    ranges = scan.rows.healpix_ranges
    assert ranges is not None
    assert (ranges[:, 1] - ranges[:, 0]).sum() < 0.02 * ALL_SKY[0, 1]


def test_two_uploads_are_joined_as_well(context: ProcessContext, plans: list[QueryPlan]) -> None:
    squares = [around(place, np.full(4, 0.4), 0.3) for place in NEAR]
    fixed = (SHAPES[0], replace(SHAPES[1], arraysize="8"))
    values: list[Any] = [outline.ravel().tolist() for outline in squares]
    areas = uploaded("a", fixed, [list(range(5)), [*values, None]])
    query = (
        "SELECT t.name, a.name AS shape, a.outline FROM TAP_UPLOAD.t AS t, TAP_UPLOAD.a AS a"
        " WHERE 1 = {}"
    )
    condition = "CONTAINS(POINT(t.ra, t.dec), a.outline)"
    found = rows(context, query.format(condition), points(SOME), areas)
    assert [row[:2] for row in found] == [(0, 0), (1, 1), (3, 2), (4, 3), (5, 1)]
    assert [row[2] for row in found] == [pytest.approx(values[row[1]]) for row in found]
    assert len(pair_scans(plans)) == 1


def test_what_a_table_calls_its_columns_does_not_matter(
    context: ProcessContext, plans: list[QueryPlan]
) -> None:
    """`row` and `pair` are names of columns that joins add."""
    more = (Column(name=name, datatype=Datatype.INT) for name in ("ROW", "pair"))
    columns = (*POINTS[1:3], *more)
    table = uploaded("t", columns, [[0.0, 10.0], [0.0, 89.9], [7, 8], [1, 2]])
    query = 'SELECT t."ROW" AS r, t.pair AS p, COUNT(*) AS n FROM TAP_UPLOAD.t AS t'
    query += ' JOIN s.image AS o ON {} = 1 GROUP BY t."ROW", t.pair'
    condition = "CONTAINS(POINT(t.ra, t.dec), o.shape)"
    found = rows(context, query.format(condition), table)
    assert [(r, p) for r, p, _ in found] == [(7, 1), (8, 2)]
    assert len(pair_scans(plans)) == 1


def test_rows_that_are_not_wanted_are_not_made(context: ProcessContext) -> None:
    query = (
        "SELECT TOP 3 t.name, o.id FROM TAP_UPLOAD.t AS t, s.image AS o"
        " WHERE INTERSECTS(CIRCLE(t.ra, t.dec, 40), o.shape) = 1"
    )
    assert len(rows(context, query, points(SOME))) == 3
    running = context.queries.start(
        QueryRequest(query=query.replace("TOP 3 ", ""), uploads=(points(SOME),)),
        principal=ANONYMOUS,
        cancel=QueryCancel(),
    )
    assert next(iter(running)).num_rows > 0
    running.close()


def test_a_join_stops_when_it_is_told_to(
    context: ProcessContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancel = QueryCancel()
    judged = pairs_of

    def cancelled(*args: Any, **more: Any) -> Any:
        cancel.cancel()
        return judged(*args, **more)

    monkeypatch.setattr("astrolabe.catalogs.engines.pair_rows.pairs_of", cancelled)
    query = (
        "SELECT t.name, o.id FROM TAP_UPLOAD.t AS t, s.image AS o"
        " WHERE INTERSECTS(CIRCLE(t.ra, t.dec, 40), o.shape) = 1"
    )
    request = QueryRequest(query=query, uploads=(points(SOME),))
    with pytest.raises(CancelledError):
        list(context.queries.start(request, principal=ANONYMOUS, cancel=cancel))


def test_very_many_joins_are_looked_through(context: ProcessContext) -> None:
    joined = "".join(f" JOIN s.star AS x{i} ON x{i}.id = s.id" for i in range(60))
    query = (
        f"SELECT COUNT(*) AS n FROM s.star AS s{joined}, s.image AS o"
        " WHERE s.id = 1 AND o.id = 2 AND CONTAINS(POINT(s.ra, s.dec), o.shape) = 1"
    )
    assert len(rows(context, query)) == 1
