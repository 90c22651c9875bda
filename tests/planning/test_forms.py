"""However a condition is written, the plan is the same."""

from __future__ import annotations

import numpy as np
import pytest

from astrolabe.catalogs.engine import FileScan

from .survey import Survey, make_survey

CIRCLE = [
    "1=CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2))",
    "CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) = 1",
    "CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', 1, 0.5, 2)) = 1",
    "CONTAINS(POINT(ra, dec), CIRCLE(POINT(1, 0.5), 2)) = 1",
    "CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) <> 0",
    "CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) > 0",
    "CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) >= 1",
    "0 < CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2))",
    "0 != CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2))",
    "NOT (0 = CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)))",
    "NOT (NOT 1 = CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)))",
    "NOT CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) <> 1",
    "CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) IN (1)",
    "CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) NOT IN (0, 5)",
    "CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) BETWEEN 1 AND 2",
    "1 - CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) = 0",
    "-CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) = -1",
    "CONTAINS(POINT(1, 0.5), CIRCLE(ra, dec, 2)) = 1",
    "INTERSECTS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) = 1",
    "INTERSECTS(CIRCLE(1, 0.5, 2), POINT(ra, dec)) = 1",
    "1 = INTERSECTS(CIRCLE(ra, dec, 2), POINT(1, 0.5))",
    "1 = INTERSECTS(CIRCLE(ra, dec, 0.5), CIRCLE(1, 0.5, 1.5))",
    "DISTANCE(POINT(ra, dec), POINT(1, 0.5)) <= 2",
    "DISTANCE(POINT(ra, dec), POINT(1, 0.5)) < 2",
    "DISTANCE(POINT(1, 0.5), POINT(ra, dec)) < 2",
    "DISTANCE(ra, dec, 1, 0.5) < 2",
    "DISTANCE(1, 0.5, ra, dec) < 2",
    "2 > DISTANCE(POINT(ra, dec), POINT(1, 0.5))",
    "2 >= DISTANCE(POINT(ra, dec), POINT(1, 0.5))",
    "DISTANCE(POINT(ra, dec), POINT(1, 0.5)) BETWEEN 0 AND 2",
    "NOT DISTANCE(POINT(ra, dec), POINT(1, 0.5)) > 2",
    "NOT (2 < DISTANCE(POINT(ra, dec), POINT(1, 0.5)) OR mag > 99)",
    "DISTANCE(POINT(ra, dec), POINT(1, 0.5)) <= 7200/3600.",
    "DISTANCE(POINT(ra, dec), POINT(1, 0.5)) <= 1 + 1",
    "DISTANCE(POINT(ra, dec), POINT(1, 0.5)) <= DEGREES(RADIANS(2))",
    "DISTANCE(POINT(ra, dec), POINT(2 - 1, -(-0.5))) <= SQRT(4)",
    "CONTAINS(POINT(COORD1(POINT(ra, dec)), dec), CIRCLE(1, 0.5, 2)) = 1",
    "CONTAINS(CENTROID(CIRCLE(ra, dec, 7)), CIRCLE(1, 0.5, 2)) = 1",
    "CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) = 1 AND mag < 99",
    "mag < 99 AND (mag > 0 AND CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) = 1)",
    (
        "(CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) = 1 AND mag < 20)"
        " OR (CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) = 1 AND mag >= 20)"
    ),
    "CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) = 1 OR 1 = 0",
    "CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) = 1 AND 1 = 1",
]
BOX = [
    "ra BETWEEN 1 AND 3 AND dec BETWEEN -1 AND 0.5",
    "dec BETWEEN -1 AND 0.5 AND ra BETWEEN 1 AND 3",
    "ra >= 1 AND ra <= 3 AND dec >= -1 AND dec <= 0.5",
    "ra > 1 AND 3 > ra AND dec > -1 AND NOT dec > 0.5",
    "NOT (ra < 1 OR ra > 3) AND NOT (dec NOT BETWEEN -1 AND 0.5)",
    "NOT (ra NOT BETWEEN 1 AND 3 OR dec < -1 OR dec > 0.5)",
    "COORD1(POINT(ra, dec)) BETWEEN 1 AND 3 AND COORD2(POINT(ra, dec)) BETWEEN -1 AND 0.5",
    "ra BETWEEN 1 AND 3 AND dec BETWEEN -1.0 AND 1/2.",
    "ra BETWEEN 0 AND 3 AND dec BETWEEN -1 AND 0.5 AND ra BETWEEN 1 AND 300",
]
IDS = [
    "id = 1000000000000777",
    "1000000000000777 = id",
    "id IN (1000000000000777)",
    "id = 1000000000000777.0",
    "id BETWEEN 1000000000000777 AND 1000000000000777",
    "id >= 1000000000000777 AND id <= 1000000000000777",
    "id > 1000000000000776 AND id < 1000000000000778",
    "NOT id <> 1000000000000777",
    "id = 1000000000000000 + 777",
    "id IN (1000000000000777, 3, 4) AND id > 1000",
    "id = 1000000000000777 OR id = 1000000000000777",
    "id > 1000000000000776.5 AND id < 1000000000000777.5",
]


@pytest.fixture(scope="module")
def survey() -> Survey:
    return make_survey()


def select(condition: str) -> str:
    return f"SELECT id FROM sky.object WHERE {condition}"


def same(one: FileScan, two: FileScan) -> bool:
    return one.paths == two.paths and one.groups == two.groups


@pytest.mark.parametrize("condition", CIRCLE)
def test_every_form_of_a_circle(survey: Survey, condition: str) -> None:
    expected = survey.scan(select(CIRCLE[0]))
    found = survey.scan(select(condition))
    assert same(found, expected)
    assert found.estimated_rows is not None
    assert 0 < found.estimated_rows < 1200
    everything, pruned, ranged = survey.answers(select(condition))
    assert 20 < len(everything) < 1000
    assert pruned == ranged == everything


@pytest.mark.parametrize("condition", BOX)
def test_every_form_of_a_range_of_coordinates(survey: Survey, condition: str) -> None:
    assert same(survey.scan(select(condition)), survey.scan(select(BOX[0])))
    everything, pruned, ranged = survey.answers(select(condition))
    assert len(everything) > 20
    assert pruned == ranged == everything
    rows = survey.scan(select(condition)).estimated_rows
    assert rows is not None
    assert rows < 500


@pytest.mark.parametrize("condition", IDS)
def test_every_form_of_an_id(survey: Survey, condition: str) -> None:
    assert same(survey.scan(select(condition)), survey.scan(select(IDS[0])))
    everything, pruned, ranged = survey.answers(select(condition))
    assert everything == pruned == ranged == [(1000000000000777,)]


@pytest.mark.parametrize(
    ("circle", "polygon"),
    [
        ("CIRCLE(1, 0.5, 1.42)", "POLYGON(0, -0.5, 2, -0.5, 2, 1.5, 0, 1.5)"),
        ("CIRCLE(1, 0.5, 1.42)", "POLYGON('ICRS', 0, 1.5, 2, 1.5, 2, -0.5, 0, -0.5)"),
        ("CIRCLE(1, 0.5, 1.42)", "POLYGON(POINT(0, -.5), POINT(2, -.5), POINT(2, 1.5))"),
        ("CIRCLE(1, 0.5, 1.42)", "BOX(1, 0.5, 2, 2)"),
        ("CIRCLE(1, 0.5, 1.42)", "BOX(POINT(1, 0.5), 2, 2)"),
        ("CIRCLE(0, 90, 5)", "POLYGON(0, 85, 120, 85, 240, 85)"),
        ("CIRCLE(0, 0, 3)", "POLYGON(359, -1, 1, -1, 0, 2)"),
    ],
)
def test_polygons_and_boxes(survey: Survey, circle: str, polygon: str) -> None:
    around = survey.scan(select(f"1 = CONTAINS(POINT(ra, dec), {circle})"))
    condition = select(f"1 = CONTAINS(POINT(ra, dec), {polygon})")
    inside = survey.scan(condition)
    assert inside.estimated_rows is not None
    assert around.estimated_rows is not None
    assert inside.estimated_rows <= around.estimated_rows + 100
    everything, pruned, ranged = survey.answers(condition)
    assert len(everything) > 5
    assert everything == pruned == ranged


@pytest.mark.parametrize(
    "condition",
    [
        "0 = CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2))",
        "CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) >= 0",
        "CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) < 1",
        "NOT 1 = CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2))",
        "DISTANCE(POINT(ra, dec), POINT(1, 0.5)) > 2",
        "DISTANCE(POINT(ra, dec), POINT(1, 0.5)) <> 2",
        "DISTANCE(POINT(ra, dec), POINT(1, 0.5)) < 180",
        "DISTANCE(POINT(ra, dec), POINT(1, 0.5)) < mag / 10",
        "CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) = 1 OR mag < 20",
        "CONTAINS(POINT(ra, dec), CIRCLE(mag, 0.5, 2)) = 1",
        "CONTAINS(POINT(dec, dec), CIRCLE(1, 0.5, 2)) = 1",
        "CONTAINS(POINT(ra, mag), CIRCLE(1, 0.5, 2)) = 1",
        "CONTAINS(POINT(ra + 1, dec), CIRCLE(1, 0.5, 2)) = 1",
        "CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) = CONTAINS(POINT(ra, dec), CIRCLE(9, 9, 1))",
        "ra <> 5",
        "ra NOT IN (5, 6)",
        "ra < dec",
        "NOT (ra > 5 AND mag < 20)",
        "id <> 1000000000000777",
        "id NOT IN (1000000000000777)",
        "parent = 1000000000000777",
        "id = parent",
        "id + 1 = 1000000000000777",
        "mag IS NULL OR id = 5",
    ],
)
def test_what_says_nothing_leaves_all(survey: Survey, condition: str) -> None:
    scan = survey.scan(select(condition))
    assert scan.estimated_rows == len(survey.data["object"])
    everything, pruned, ranged = survey.answers(select(condition))
    assert everything == pruned == ranged


@pytest.mark.parametrize(
    "condition",
    [
        "1 = 0",
        "NOT 1 = 1",
        "1 = NULL",
        "id = NULL",
        "NOT id = NULL",
        "CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) = 2",
        "CONTAINS(POINT(ra, dec), CIRCLE(1, 0.5, 2)) IS NULL AND 1 > 2",
        "DISTANCE(POINT(ra, dec), POINT(1, 0.5)) < -1",
        "DISTANCE(POINT(ra, dec), POINT(1, 0.5)) < 1 AND DISTANCE(ra, dec, 20, 0.5) < 1",
        "ra > 3 AND ra < 2",
        "ra > 400",
        "dec < -91",
        "id = 5.5",
        "id = 1000000000000777 AND id = 1000000000000778",
        "id IN (1, 2, 3)",
    ],
)
def test_what_cannot_be_reads_nothing(survey: Survey, condition: str) -> None:
    scan = survey.scan(select(condition))
    assert scan.paths == ()
    assert scan.groups == ()
    assert scan.estimated_rows == 0
    assert survey.answers(select(condition)) == ([], [], [])


def test_linear_expressions_are_solved(survey: Survey) -> None:
    for one, other in (
        ("DISTANCE(ra, dec, 1, 0.5) * 3600 < 7200", "DISTANCE(ra, dec, 1, 0.5) < 2"),
        ("3600 * DISTANCE(ra, dec, 1, 0.5) < 7200", "DISTANCE(ra, dec, 1, 0.5) < 2"),
        ("-DISTANCE(ra, dec, 1, 0.5) > -2", "DISTANCE(ra, dec, 1, 0.5) < 2"),
        ("5 - DISTANCE(ra, dec, 1, 0.5) > 3", "DISTANCE(ra, dec, 1, 0.5) < 2"),
        ("RADIANS(2) > DISTANCE(ra, dec, 1, 0.5) * PI() / 180", "DISTANCE(ra, dec, 1, 0.5) < 2"),
        ("ra / 15 BETWEEN 0.1 AND 0.2", "ra BETWEEN 1.5 AND 3"),
        ("dec + 10 > 12 AND 90 - dec > 87", "dec BETWEEN 2 AND 3"),
    ):
        assert same(survey.scan(select(one)), survey.scan(select(other))), one
        everything, pruned, ranged = survey.answers(select(one))
        assert everything == pruned == ranged
        assert everything


def test_predicates_in_one_sum(survey: Survey) -> None:
    first, second = "CIRCLE(1, 0.5, 1)", "CIRCLE(1.5, 0.5, 1)"
    both = f"CONTAINS(POINT(ra, dec), {first}) + CONTAINS(POINT(ra, dec), {second})"
    union = f"1=CONTAINS(POINT(ra, dec), {first}) OR 1=CONTAINS(POINT(ra, dec), {second})"
    meeting = f"1=CONTAINS(POINT(ra, dec), {first}) AND 1=CONTAINS(POINT(ra, dec), {second})"
    assert same(survey.scan(select(f"{both} >= 1")), survey.scan(select(union)))
    assert same(survey.scan(select(f"{both} = 2")), survey.scan(select(meeting)))
    everything, pruned, ranged = survey.answers(select(f"{both} >= 1"))
    assert everything == pruned == ranged


def test_long_list_of_ids_reads_only_their_row_groups(survey: Survey) -> None:
    ids = survey.data["object"]["id"].to_numpy()[np.arange(0, 1000, 250)]
    query = select(f"id IN ({', '.join(map(str, ids))}, 5, -3)")
    everything, pruned, ranged = survey.answers(query)
    assert everything == pruned == ranged
    assert len(everything) == len(ids)
    many = select(f"id IN ({', '.join(map(str, range(10**15, 10**15 + 300)))})")
    assert len(survey.answers(many)[1]) == 300


def test_largest_integers(survey: Survey) -> None:
    largest = 2**63 - 1
    for condition in (f"id <= {largest}", f"id >= -{largest}", f"id < {largest}"):
        assert survey.scan(select(condition)).estimated_rows == len(survey.data["object"])
    assert survey.scan(select(f"id > {largest - 9}")).estimated_rows == 0


def test_ids_meet_positions(survey: Survey) -> None:
    rows = survey.data["object"]
    place = f"{rows['ra'][100].as_py()!r}, {rows['dec'][100].as_py()!r}"
    near = f"DISTANCE(POINT(ra, dec), POINT({place})) < 0.001"
    query = select(f"id = {rows['id'][100].as_py()} AND {near}")
    scan = survey.scan(query)
    assert scan.groups is not None
    assert sum(map(len, scan.groups)) == 1
    assert survey.answers(query)[1] == [(rows["id"][100].as_py(),)]


def test_deeply_nested_conditions_are_understood(survey: Survey) -> None:
    near = "DISTANCE(ra, dec, 1, 0.5) < 2"
    nested = near
    for _ in range(60):
        nested = f"(mag < 99 AND ({nested} OR 1 = 0))"
    assert same(survey.scan(select(nested)), survey.scan(select(near)))
    assert same(survey.scan(select("NOT (" * 60 + near + ")" * 60)), survey.scan(select(near)))
