"""Child tables: places and ids pass through joins, and the answers stay what they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrolabe.catalogs.importing import key_index
from astrolabe.factory import ProcessContext
from astrolabe.tables.model import Datatype
from tests.support.plans import ask_unpruned, groups_read
from tests.support.tiny import ask, import_columns, open_context, sky_points

pytestmark = pytest.mark.timeout(120)

OBJECTS, SOURCES, STRAYS = 4_000, 16_000, 40
FIRST_ID = 1 << 58
SMALL = {"rows_per_file": 2_000, "rows_per_group": 100}


def make_tables(
    context: ProcessContext, *, objects: int, sources: int, strays: int, seed: int, **options: Any
) -> None:
    """Import objects, and two tables of their children.

    Sources scatter by a fifth of an arcsecond; strays are anywhere. A twentieth of them have no
    object id, as many one that no object has. Forced sources lie where their objects do.
    """
    rng = np.random.default_rng(seed)
    crowd = objects // 4
    parts = [sky_points(objects - 2 * crowd, seed=seed)]
    parts += [
        sky_points(crowd, seed=seed + k, near=near) for k, near in ((1, (0, 90, 2)), (2, (0, 0, 2)))
    ]
    ra, dec = (np.concatenate(values) for values in zip(*parts, strict=True))
    ids = FIRST_ID + rng.permutation(objects) * 7
    import_columns(
        context,
        "d",
        "object",
        {
            "objectId": (Datatype.LONG, ids),
            "ra": (Datatype.DOUBLE, ra),
            "dec": (Datatype.DOUBLE, dec),
            "mag": (Datatype.FLOAT, rng.uniform(15, 25, objects)),
        },
        id_column="objectId",
        **options,
    )
    own = rng.integers(0, objects, sources)
    scatter = rng.normal(0, 0.2 / 3600, (2, sources))
    lat = np.clip(dec[own] + scatter[1], -90, 90)
    lon = (ra[own] + scatter[0] / np.maximum(np.cos(np.radians(lat)), 1e-3)) % 360
    lon[:strays], lat[:strays] = sky_points(strays, seed=seed + 9)
    parents: list[int | None] = ids[own].tolist()
    for k in range(0, sources, 20):
        parents[k] = None
        parents[(k + 7) % sources] = FIRST_ID - 1 - k % 50
    children = {"director": "d.object", "director_key": "objectId"} | options
    import_columns(
        context,
        "d",
        "source",
        {
            "sourceId": (Datatype.LONG, rng.permutation(sources)),
            "objectId": (Datatype.LONG, parents),
            "ra": (Datatype.DOUBLE, lon),
            "dec": (Datatype.DOUBLE, lat),
            "flux": (Datatype.FLOAT, rng.normal(0, 1, sources)),
        },
        id_column="sourceId",
        **children,
    )
    again = rng.integers(0, objects, sources)
    import_columns(
        context,
        "d",
        "forced",
        {
            "forcedId": (Datatype.LONG, np.arange(sources)),
            "objectId": (Datatype.LONG, ids[again]),
            "ra": (Datatype.DOUBLE, ra[again]),
            "dec": (Datatype.DOUBLE, dec[again]),
            "visit": (Datatype.INT, rng.integers(0, 9, sources)),
        },
        id_column="forcedId",
        **children,
    )


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessContext]:
    home = tmp_path_factory.mktemp("children") / "home"
    with open_context(home, engine={"memory_fraction": 0.02, "threads": 2}) as context:
        make_tables(context, objects=OBJECTS, sources=SOURCES, strays=STRAYS, seed=11, **SMALL)
        yield context


# WHERE, ON, USING and NATURAL; outer joins; more tables, subqueries, aggregates; ids.
FORMS = """
SELECT o.objectId AS a, s.sourceId AS b FROM d.object AS o, d.source AS s WHERE o.objectId =
    s.objectId AND {o};
SELECT o.objectId AS a, s.sourceId AS b FROM d.object AS o JOIN d.source AS s ON s.objectId =
    o.objectId WHERE {o};
SELECT o.objectId AS a, s.sourceId AS b FROM d.source AS s JOIN d.object AS o ON s.objectId =
    o.objectId AND {o};
SELECT objectId AS a, s.sourceId AS b FROM d.object AS o JOIN d.source AS s USING (objectId)
    WHERE {s};
SELECT o.mag AS a, f.b FROM d.object AS o NATURAL JOIN (SELECT objectId, forcedId AS b FROM
    d.forced) AS f WHERE {o};
SELECT o.objectId AS a, s.sourceId AS b FROM d.object AS o JOIN d.source AS s ON NOT (s.objectId
    <> o.objectId) WHERE {s} AND {o2};
SELECT o.objectId AS a, s.sourceId AS b FROM d.object AS o LEFT JOIN d.source AS s ON s.objectId
    = o.objectId WHERE {o};
SELECT o.objectId AS a, s.sourceId AS b FROM d.object AS o LEFT JOIN d.source AS s ON s.objectId
    = o.objectId AND {s} WHERE o.dec > 80;
SELECT o.objectId AS a, s.sourceId AS b FROM d.source AS s LEFT JOIN d.object AS o ON s.objectId
    = o.objectId AND {o} WHERE s.dec < -60;
SELECT o.objectId AS a, s.sourceId AS b FROM d.object AS o RIGHT JOIN d.source AS s ON
    s.objectId = o.objectId WHERE {s};
SELECT o.objectId AS a, s.sourceId AS b FROM d.object AS o FULL JOIN d.source AS s ON s.objectId
    = o.objectId AND {o} WHERE s.dec < -70 OR o.dec > 89.5;
SELECT o.objectId AS a, s.sourceId AS b FROM d.object AS o LEFT JOIN d.source AS s ON s.objectId
    = o.objectId WHERE {o} AND s.objectId IS NULL;
SELECT s.sourceId AS a, f.forcedId AS b FROM d.object AS o JOIN d.source AS s ON s.objectId =
    o.objectId JOIN d.forced AS f ON f.objectId = o.objectId WHERE {s};
SELECT s.sourceId AS a, f.forcedId AS b FROM d.source AS s JOIN d.forced AS f ON s.objectId =
    f.objectId WHERE {s};
SELECT s.sourceId AS a, s.objectId AS b FROM d.source AS s WHERE s.objectId IN (SELECT
    o.objectId FROM d.object AS o WHERE {o});
SELECT s.sourceId AS a, s.objectId AS b FROM d.source AS s WHERE s.dec < -75 AND s.objectId NOT
    IN (SELECT o.objectId FROM d.object AS o WHERE {o});
SELECT o.objectId AS a, o.mag AS b FROM d.object AS o WHERE {o} AND EXISTS (SELECT 1 FROM
    d.source AS s WHERE s.objectId = o.objectId AND s.flux > 0);
SELECT o.objectId AS a, o.mag AS b FROM d.object AS o WHERE {o} AND NOT EXISTS (SELECT 1 FROM
    d.source AS s WHERE s.objectId = o.objectId);
SELECT o.objectId AS a, n.b FROM d.object AS o JOIN (SELECT objectId, COUNT(*) AS b FROM
    d.source GROUP BY objectId) AS n ON n.objectId = o.objectId WHERE {o};
SELECT b.objectId AS a, s.sourceId AS b FROM (SELECT TOP 50 o.objectId FROM d.object AS o WHERE
    {o} ORDER BY o.objectId) AS b JOIN d.source AS s ON s.objectId = b.objectId;
SELECT COUNT(*) AS a, SUM(s.sourceId) AS b FROM d.object AS o JOIN d.source AS s ON s.objectId =
    o.objectId WHERE {o};
SELECT s.sourceId AS a, s.objectId AS b FROM d.source AS s WHERE s.objectId = {id};
SELECT s.sourceId AS a, s.objectId AS b FROM d.source AS s WHERE s.objectId IN ({id}, {id2});
SELECT s.sourceId AS a, o.objectId AS b FROM d.source AS s JOIN d.object AS o ON s.objectId =
    o.objectId WHERE o.objectId = {id} OR o.objectId = {id2};
SELECT s.sourceId AS a, o.objectId AS b FROM d.source AS s LEFT JOIN d.object AS o ON s.objectId
    = o.objectId WHERE s.sourceId BETWEEN {n} AND {n} + 5;
SELECT s.sourceId AS a, f.forcedId AS b FROM d.source AS s JOIN d.forced AS f ON s.objectId =
    f.objectId WHERE s.objectId = {id};
SELECT s.sourceId AS a, f.forcedId AS b FROM d.source AS s JOIN d.object AS o ON s.objectId =
    o.objectId JOIN d.forced AS f ON f.objectId = o.objectId WHERE s.sourceId = {n};
SELECT a.sourceId AS a, b.sourceId AS b FROM d.source AS a JOIN d.source AS b ON a.objectId =
    b.objectId WHERE a.sourceId = {n}
""".split(";")  # noqa: SIM905 - easier to read
SHAPES = st.one_of(
    st.builds(
        "1 = CONTAINS(POINT({{0}}.ra, {{0}}.dec), CIRCLE({}, {}, {}))".format,
        st.sampled_from([0.0, 0.3, 120.0, 359.9]),
        st.sampled_from([0.0, 0.4, 89.7, -40.0]),
        st.sampled_from([0.0, 0.05, 1.0, 5.0, 60.0]),
    ),
    st.builds(
        "1 = CONTAINS(POINT({{0}}.ra, {{0}}.dec), BOX({}, {}, {}, 1.0))".format,
        st.sampled_from([0.0, 200.0]),
        st.sampled_from([0.0, 0.4, 88.0]),
        st.sampled_from([0.01, 2.0, 40.0]),
    ),
    st.builds(
        "1=INTERSECTS(POLYGON({0},-1, {0}+2,-1, {0}+1,2), POINT({{0}}.ra, {{0}}.dec))".format,
        st.sampled_from([0.0, 10.0, 358.0]),
    ),
    st.builds("{{0}}.dec > {}".format, st.sampled_from([-89.0, 0.0, 89.0])),
)


def rows(table: Any) -> list[tuple[Any, ...]]:
    return sorted(zip(*(column.to_pylist() for column in table.columns), strict=True), key=repr)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@given(
    shape=SHAPES,
    other=SHAPES,
    ids=st.tuples(*[st.integers(-60, OBJECTS * 7 + 2)] * 2),
    n=st.integers(-1, SOURCES),
)
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_answers_are_those_of_the_full_scan(
    survey: ProcessContext,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    shape: str,
    other: str,
    ids: tuple[int, int],
    n: int,
) -> None:
    query = form.format(
        o=shape.format("o"),
        s=shape.format("s"),
        o2=other.format("o"),
        id=FIRST_ID + ids[0] // 7 * 7,
        id2=FIRST_ID + ids[1],
        n=n,
    )
    assert rows(ask(survey, query)) == rows(ask_unpruned(survey, query, monkeypatch))


# --- what is read ----------------------------------------------------------------------------

CONE = "1 = CONTAINS(POINT({0}.ra, {0}.dec), CIRCLE(0.3, 0.4, 0.2))"
PAIRS = "SELECT o.objectId AS a, s.sourceId AS b FROM d.object AS o"


def group_count(context: ProcessContext, table: str) -> int:
    version = context.catalog.view().table("d", table)
    assert version is not None
    return len(version.index.group_rows)


@pytest.mark.parametrize(
    ("query", "few"),
    [
        (f"{PAIRS} JOIN d.source AS s ON s.objectId = o.objectId WHERE {CONE.format('o')}", "t1"),
        (f"{PAIRS} JOIN d.source AS s USING (objectId) WHERE {CONE.format('o')}", "t1"),
        (f"{PAIRS}, d.source AS s WHERE s.objectId = o.objectId AND {CONE.format('s')}", "t0"),
        (f"{PAIRS} LEFT JOIN d.source AS s USING (objectId) WHERE {CONE.format('o')}", "t1"),
    ],
)
def test_a_cone_on_one_side_reads_few_row_groups_of_the_other(
    survey: ProcessContext, query: str, few: str
) -> None:
    table = "source" if few == "t1" else "object"
    assert 0 < groups_read(survey, query)[few] <= group_count(survey, table) // 5


def test_the_cone_on_an_optional_side_reads_all_of_the_other(survey: ProcessContext) -> None:
    on = f"s.objectId = o.objectId AND {CONE.format('s')}"
    read = groups_read(survey, f"{PAIRS} LEFT JOIN d.source AS s ON {on}")
    assert read["t0"] == group_count(survey, "object")
    assert read["t1"] < group_count(survey, "source") // 5


def test_a_region_reaches_a_sibling_only_through_the_director(survey: ProcessContext) -> None:
    three = (
        "SELECT f.forcedId FROM d.source AS s JOIN d.object AS o ON s.objectId = o.objectId "
        f"JOIN d.forced AS f ON f.objectId = o.objectId WHERE {CONE.format('s')}"
    )
    assert groups_read(survey, three)["t2"] < group_count(survey, "forced") // 3
    # Two sources may share an object id that no object has: nothing says that they are near.
    two = (
        "SELECT f.forcedId FROM d.source AS s JOIN d.forced AS f ON s.objectId = f.objectId "
        f"WHERE {CONE.format('s')}"
    )
    assert groups_read(survey, two)["t1"] == group_count(survey, "forced")


def test_strays_are_found_and_only_their_row_groups_read(survey: ProcessContext) -> None:
    far = ask(
        survey,
        "SELECT o.objectId, s.sourceId, o.ra, o.dec FROM d.object AS o JOIN d.source AS s "
        "ON o.objectId = s.objectId WHERE DISTANCE(POINT(o.ra, o.dec), POINT(s.ra, s.dec)) > 1",
    ).to_pylist()
    assert len(far) > STRAYS // 2
    for row in far[::7]:
        near = f"1 = CONTAINS(POINT(o.ra, o.dec), CIRCLE({row['ra']}, {row['dec']}, 0.001))"
        query = f"{PAIRS} JOIN d.source AS s ON o.objectId = s.objectId WHERE {near}"
        assert row["sourceId"] in ask(survey, query)["b"].to_pylist()
        assert groups_read(survey, query)["t1"] < group_count(survey, "source") // 5


@pytest.mark.parametrize("column", ["objectId", "sourceId"])
def test_an_id_of_a_child_reads_few_row_groups(survey: ProcessContext, column: str) -> None:
    query = f"SELECT TOP 200 {column} AS id FROM d.source WHERE objectId >= {FIRST_ID}"
    for value in ask(survey, query)["id"].to_pylist()[::23]:
        query = f"SELECT sourceId FROM d.source WHERE {column} = {value}"
        # A light curve may lie on the border of row groups, or have a stray.
        assert 1 <= groups_read(survey, query)["t0"] <= 4
    assert groups_read(survey, f"SELECT sourceId FROM d.source WHERE {column} = -5")["t0"] == 0


def test_an_id_passes_to_the_children(survey: ProcessContext) -> None:
    query = f"{PAIRS} JOIN d.source AS s USING (objectId) WHERE o.objectId = {FIRST_ID + 7}"
    read = groups_read(survey, query)
    assert read["t0"] == 1
    assert 1 <= read["t1"] <= 4


# --- tables that change, and tiny ones -----------------------------------------------------------


def import_positions(
    context: ProcessContext,
    table: str,
    rows: Sequence[tuple[int | None, float, float]],
    **options: Any,
) -> None:
    """Import rows of (id or key, RA, Dec) as ``d.parent`` or as a child of it."""
    columns: dict[str, Any] = {
        "k": (Datatype.LONG, [row[0] for row in rows]),
        "ra": (Datatype.DOUBLE, [row[1] for row in rows]),
        "dec": (Datatype.DOUBLE, [row[2] for row in rows]),
    }
    if table == "parent":
        options["id_column"] = "k"
    else:
        columns["n"] = (Datatype.INT, np.arange(len(rows)))
        options |= {"id_column": "n"}
        if options.get("mode") != "append":
            options |= {"director": "d.parent", "director_key": "k"}
    import_columns(context, "d", table, columns, rows_per_file=8, rows_per_group=2, **options)


JOINED = (
    "SELECT p.k AS a, c.n AS b FROM d.parent AS p JOIN d.child AS c ON c.k = p.k "
    "WHERE 1 = CONTAINS(POINT({0}.ra, {0}.dec), CIRCLE(10, 0, 0.5))"
)


@pytest.mark.slow
def test_indexes_made_of_many_runs_slices_and_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"_SAMPLE_ROWS": 32, "_SLICE_ROWS": 128, "_ROWS_PER_GROUP": 60, "_ROWS_PER_FILE": 240}
    for name, value in sizes.items():
        monkeypatch.setattr(key_index, name, value)
    with open_context(tmp_path / "home") as context:
        # Runs of 256 kB: the rows of a table make two or more.
        options = {**SMALL, "memory_mb": 1}
        make_tables(context, objects=1_000, sources=20_000, strays=60, seed=4, **options)
        version = context.catalog.view(fresh=True).table("d", "source")
        assert version is not None
        assert len(version.key_indexes["objectId"].load().paths) > 5
        for form in FORMS:
            cones = {
                name: CONE.format(name[0]).replace("0.2))", "3))") for name in ("o", "s", "o2")
            }
            query = form.format(**cones, id=FIRST_ID + 70, id2=FIRST_ID + 700, n=123)
            assert rows(ask(context, query)) == rows(ask_unpruned(context, query, monkeypatch))


@pytest.mark.slow
def test_a_link_ends_with_the_version_of_the_director(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = [(k, float(k % 18 * 20), float(k // 18 * 10 - 50)) for k in range(180)]
    with open_context(tmp_path / "home") as context:
        import_positions(context, "parent", grid)
        import_positions(context, "child", grid)
        context.catalog.view(fresh=True)
        query = JOINED.format("p").replace("10, 0, 0.5", "20, 0, 0.5")
        assert groups_read(context, query) == {"t0": 1, "t1": 1}
        # Elsewhere now, and with other ids: what was measured does not hold any more.
        moved = [(k, (ra + 20) % 360, dec) for k, ra, dec in grid]
        import_positions(context, "parent", moved, mode="replace")
        context.catalog.view(fresh=True)
        assert groups_read(context, query)["t1"] > 80
        answer = rows(ask(context, query))
        assert answer == rows(ask_unpruned(context, query, monkeypatch))
        assert len(answer) == 1
        # Appended children are measured with those that were there.
        import_positions(context, "child", [(5, 200.0, 80.0), (None, 1.0, 1.0)], mode="append")
        context.catalog.view(fresh=True)
        version = context.catalog.view().table("d", "child")
        assert version is not None
        assert [link.version for link in version.links] == [2]
        answer = rows(ask(context, query))
        assert answer == rows(ask_unpruned(context, query, monkeypatch))


PLACES = st.tuples(
    st.sampled_from([0.0, 9.6, 10.0, 10.5, 190.0, 359.99]),
    st.sampled_from([-90.0, -0.4, 0.0, 90.0]),
)
OFFSETS = st.sampled_from([0.0, 0.0, 0.0, 1e-5, 5e-4, 0.01, 0.3, 40.0])


@pytest.mark.slow
@given(
    parents=st.lists(PLACES, min_size=1, max_size=30),
    children=st.lists(
        st.tuples(st.one_of(st.none(), st.integers(0, 33)), OFFSETS), min_size=1, max_size=60
    ),
)
@settings(
    max_examples=6,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_tiny_tables_of_any_kind(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    parents: list[tuple[float, float]],
    children: list[tuple[int | None, float]],
) -> None:
    with open_context(tmp_path_factory.mktemp("tiny") / "home") as context:
        import_positions(context, "parent", [(k, *place) for k, place in enumerate(parents)])
        beside = []
        for key, offset in children:
            ra, dec = parents[(key or 0) % len(parents)]
            beside.append((key, (ra + offset) % 360, dec))
        import_positions(context, "child", beside)
        context.catalog.view(fresh=True)
        ids = "SELECT c.n AS a, c.k AS b FROM d.child AS c WHERE c.k IN (0, 1, 33)"
        for query in (JOINED.format("p"), JOINED.format("c"), ids):
            assert rows(ask(context, query)) == rows(ask_unpruned(context, query, monkeypatch))
