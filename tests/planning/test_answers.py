"""A planned query answers what the query on all rows answers; hypothesis makes the queries."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .survey import Survey, make_survey

SURVEY = make_survey(n=1500, seed=3)
SMALL = make_survey(n=150, seed=8)

LON = st.one_of(
    st.integers(0, 3_600_000).map(lambda x: x / 10_000), st.sampled_from([0.0, 359.9, 90.0])
)
LAT = st.one_of(
    st.integers(-900_000, 900_000).map(lambda x: x / 10_000), st.sampled_from([0.0, 89.5, -90.0])
)
RADIUS = st.sampled_from([0.0, 0.01, 0.5, 2.0, 10.0, 45.0, 120.0, 180.0])
COMPARISON = st.sampled_from(["<", "<=", ">", ">=", "=", "<>"])


@st.composite
def shapes(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(["circle", "box", "polygon"]))
    if kind == "circle":
        return f"CIRCLE({draw(LON)}, {draw(LAT)}, {draw(RADIUS)})"
    if kind == "box":
        width, height = st.sampled_from([0.5, 5, 60, 200, 360]), st.sampled_from([0.5, 5, 60])
        return f"BOX({draw(LON)}, {draw(LAT)}, {draw(width)}, {draw(height)})"
    west, east = draw(st.sampled_from([0, 350, 100])), draw(st.sampled_from([3, 60, 220]))
    low, high = draw(st.sampled_from([-5, 80, -60])), draw(st.sampled_from([6, 85, -70]))
    return f"POLYGON({west}, {low}, {east}, {low}, {east}, {high})"


@st.composite
def simple_conditions(draw: st.DrawFn, alias: str) -> str:
    point = f"POINT({alias}ra, {alias}dec)"
    id_value = st.integers(10**15 - 2, 10**15 + 5000)
    forms = (
        f"CONTAINS({point}, {{shape}}) {{flag}}",
        f"1 = INTERSECTS({{shape}}, {point})",
        f"0 = INTERSECTS({{shape}}, {point})",
        f"DISTANCE({point}, POINT({{lon}}, {{lat}})) {{op}} {{radius}}",
        f"{alias}ra {{op}} {{lon}}",
        f"{alias}dec BETWEEN {{lat}} AND {{lat2}}",
        f"{alias}id {{op}} {{id}}",
        f"{alias}mag {{op}} 20",
    )
    return draw(st.sampled_from(forms)).format(
        shape=draw(shapes()),
        flag=draw(st.sampled_from(["= 1", "<> 0", "> 0", "= 0"])),
        op=draw(COMPARISON),
        radius=draw(RADIUS),
        lon=draw(LON),
        lat=draw(LAT),
        lat2=draw(LAT),
        id=draw(id_value),
    )


@st.composite
def conditions(draw: st.DrawFn, alias: str, depth: int = 2) -> str:
    form = draw(st.sampled_from(["simple", "AND", "OR", "NOT"])) if depth else "simple"
    if form == "simple":
        return draw(simple_conditions(alias))
    first = draw(conditions(alias, depth - 1))
    if form == "NOT":
        return f"NOT ({first})"
    return f"({first} {form} {draw(conditions(alias, depth - 1))})"


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("table", ["object", "source"])
@given(condition=conditions(""))
@settings(max_examples=20, deadline=None)
def test_one_table(table: str, condition: str) -> None:
    everything, pruned, ranged = SURVEY.answers(f"SELECT id FROM sky.{table} WHERE {condition}")
    assert pruned == everything
    assert ranged == everything


@pytest.mark.slow
@pytest.mark.timeout(60)
@given(
    st.sampled_from(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]),
    conditions("o."),
    conditions("s."),
    st.one_of(conditions("o."), conditions("s.")),
)
@settings(max_examples=15, deadline=None)
def test_joins(how: str, first: str, second: str, where: str) -> None:
    query = (
        f"SELECT o.id, s.id AS sid FROM sky.object AS o {how} sky.source AS s"
        f" ON o.id = s.parent AND {first} AND {second} WHERE {where} OR o.id IS NULL"
    )
    everything, pruned, ranged = SMALL.answers(query)
    assert pruned == everything
    assert ranged == everything
    query = query.removesuffix(" OR o.id IS NULL")
    everything, pruned, ranged = SMALL.answers(query)
    assert pruned == everything
    assert ranged == everything


NEAR = "DISTANCE(POINT({0}ra, {0}dec), POINT(1, 0)) < 5"


@pytest.mark.parametrize(
    ("query", "t0_pruned", "t1_pruned"),
    [
        # WHERE reaches both sides of every join.
        ("FROM sky.object AS o LEFT JOIN sky.source AS s ON o.id=s.parent WHERE {o}", True, False),
        ("FROM sky.object AS o LEFT JOIN sky.source AS s ON o.id=s.parent WHERE {s}", False, True),
        ("FROM sky.object AS o FULL JOIN sky.source AS s ON o.id=s.parent WHERE {s}", False, True),
        ("FROM sky.object AS o, sky.source AS s WHERE o.id=s.parent AND {o} AND {s}", True, True),
        # ON reaches what does not stay by itself.
        ("FROM sky.object AS o JOIN sky.source AS s ON o.id=s.parent AND {o} AND {s}", True, True),
        ("FROM sky.object AS o LEFT JOIN sky.source AS s ON o.id=s.parent AND {o}", False, False),
        ("FROM sky.object AS o LEFT JOIN sky.source AS s ON o.id=s.parent AND {s}", False, True),
        ("FROM sky.object AS o RIGHT JOIN sky.source AS s ON o.id=s.parent AND {o}", True, False),
        ("FROM sky.object AS o RIGHT JOIN sky.source AS s ON o.id=s.parent AND {s}", False, False),
        ("FROM sky.object AS o FULL JOIN sky.source AS s ON o.id=s.parent AND {o}", False, False),
        # IS NULL does not reject the rows of nulls.
        (
            (
                "FROM sky.object AS o LEFT JOIN sky.source AS s ON o.id=s.parent"
                " WHERE {s} OR s.id IS NULL"
            ),
            False,
            False,
        ),
    ],
)
def test_where_a_condition_reaches_in_joins(
    query: str,
    t0_pruned: bool,  # noqa: FBT001 - a column of the table above
    t1_pruned: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    text = "SELECT o.id, s.id AS sid " + query.format(o=NEAR.format("o."), s=NEAR.format("s."))
    for key, name, pruned in (("t0", "object", t0_pruned), ("t1", "source", t1_pruned)):
        rows = SMALL.scan(text, key).estimated_rows
        assert rows is not None
        assert (rows < len(SMALL.data[name])) == pruned
    everything, by_groups, by_ranges = SMALL.answers(text)
    assert everything == by_groups == by_ranges
    assert everything


@pytest.mark.parametrize(
    ("query", "pruned"),
    [
        ("SELECT id FROM (SELECT id, ra, dec FROM sky.object) AS q WHERE {q}", True),
        ("SELECT id FROM (SELECT id, ra, dec FROM sky.object WHERE {}) AS q", True),
        ("SELECT id FROM (SELECT DISTINCT id, ra, dec FROM sky.object) AS q WHERE {q}", True),
        (("SELECT x FROM (SELECT id AS x, ra AS dec, dec AS ra FROM sky.object) AS q"
         " WHERE DISTANCE(POINT(q.dec, q.ra), POINT(1, 0)) < 5"), True),
        (("SELECT x FROM (SELECT id AS x, ra AS dec, dec AS ra FROM sky.object) AS q"
         " WHERE {q}"), False),
        (("SELECT id FROM (SELECT id, CONTAINS(POINT(ra, dec), CIRCLE(1, 0, 5)) AS c"
         " FROM sky.object) AS q WHERE c = 1"), True),
        (("SELECT id FROM (SELECT id, ra, dec FROM (SELECT * FROM sky.object) AS p) AS q"
         " WHERE {q}"), True),
        # Fewer rows inside would be other rows inside.
        (("SELECT id FROM (SELECT TOP 50 id, ra, dec FROM sky.object ORDER BY id) AS q"
         " WHERE {q}"), False),
        (("SELECT n FROM (SELECT COUNT(*) AS n, MIN(ra) AS ra, MIN(dec) AS dec"
         " FROM sky.object) AS q WHERE {q}"), False),
        (("SELECT n FROM (SELECT id, COUNT(*) AS n FROM sky.object GROUP BY id) AS q"
         " WHERE id < 1000000000000010"), True),
        (("SELECT n FROM (SELECT parent, MIN(id) AS id, COUNT(*) AS n FROM sky.object"
         " GROUP BY parent)"
         " AS q WHERE id < 1000000000000010"), False),
        ("SELECT COUNT(*) AS n FROM sky.object WHERE {}", True),
        ("SELECT TOP 3 id FROM sky.object WHERE {} ORDER BY id", True),
        # A condition on an outer table inside a subquery says nothing of it.
        (("SELECT id FROM sky.object AS o WHERE NOT EXISTS (SELECT 1 FROM sky.source AS s"
         " WHERE s.parent = o.id AND {o})"), False),
        (("SELECT id FROM sky.object AS o WHERE id IN (SELECT parent FROM sky.source AS s"
         " WHERE {s})"), False),
    ],
)  # fmt: skip
def test_where_a_condition_reaches_in_subqueries(
    query: str,
    pruned: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    text = query.format(
        NEAR.format(""), q=NEAR.format("q."), o=NEAR.format("o."), s=NEAR.format("s.")
    )
    rows = SMALL.scan(text).estimated_rows
    assert rows is not None
    assert (rows < len(SMALL.data["object"])) == pruned
    everything, by_groups, by_ranges = SMALL.answers(text)
    assert everything == by_groups == by_ranges


def test_inner_tables_of_subqueries_in_conditions_are_pruned() -> None:
    text = (
        "SELECT id FROM sky.object AS o WHERE id IN"
        f" (SELECT parent FROM sky.source AS s WHERE {NEAR.format('s.')})"
    )
    rows = SMALL.scan(text, "t1").estimated_rows
    assert rows is not None
    assert rows < len(SMALL.data["source"])


@pytest.mark.parametrize(
    "query",
    [
        "SELECT COUNT(*) AS n FROM sky.object WHERE 1 = 0",
        "SELECT o.id, s.id AS sid FROM sky.object AS o LEFT JOIN sky.source AS s ON 1 = 0",
        (
            "SELECT o.id, q.n FROM sky.object AS o"
            " LEFT JOIN (SELECT COUNT(*) AS n FROM sky.source) AS q ON 1 = 0"
        ),
        "SELECT TOP 0 id FROM sky.object",
    ],
)
def test_impossible_conditions(query: str) -> None:
    everything, by_groups, by_ranges = SMALL.answers(query)
    assert everything == by_groups == by_ranges


def test_survey_is_worth_testing_on() -> None:
    survey: Survey = SURVEY
    assert len(survey.versions["object"].index.paths) == 48
    assert len(survey.versions["source"].index.group_rows) > 150
