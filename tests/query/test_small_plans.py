"""Small plans are answered by NumPy exactly as by DuckDB; hypothesis makes the queries."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolabe.adql import check_query
from astrolabe.catalogs.cancel import QueryCancel
from astrolabe.catalogs.engine import FileScan, QueryPlan
from astrolabe.catalogs.engines.small_plans import SmallPlanEngine
from astrolabe.catalogs.planning import plan_query
from astrolabe.core.errors import AdqlTypeError, CancelledError, InternalError
from astrolabe.factory import ProcessContext
from astrolabe.tables.model import Datatype
from tests.support.tiny import import_columns, open_context, sky_points

ROWS = 2_000


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessContext]:
    """A table in which everything that can be missing or no number is so somewhere."""
    home = tmp_path_factory.mktemp("small") / "home"
    with open_context(home, engine={"memory_fraction": 0.02, "threads": 2}) as made:
        rng = np.random.default_rng(11)
        ra, dec = sky_points(ROWS, near=(0.0, 0.0, 12.0), seed=6)
        special = [None, math.nan, math.inf, -math.inf, 0.0, -0.0]

        def some(values: Any, *others: Any) -> list[Any]:
            return [
                others[rng.integers(len(others))] if rng.random() < 0.2 else value.item()
                for value in values
            ]

        import_columns(
            made,
            "s",
            "odd",
            {
                "id": (Datatype.LONG, 10**15 + rng.permutation(ROWS)),
                "ra": (Datatype.DOUBLE, ra),
                "dec": (Datatype.DOUBLE, dec),
                # A second position, with gaps: that of a match, say.
                "ra2": (Datatype.DOUBLE, some(ra, None, math.nan)),
                "dec2": (Datatype.DOUBLE, some(dec, None, math.nan)),
                "mag": (Datatype.FLOAT, some(rng.normal(20, 2, ROWS).round(1), *special)),
                "flux": (Datatype.DOUBLE, some(rng.normal(0, 5, ROWS).round(1), *special)),
                "n": (Datatype.SHORT, some(rng.integers(-5, 5, ROWS), None)),
                "big": (
                    Datatype.LONG,
                    some(rng.integers(-3, 3, ROWS), None, 2**53 + 1, -(2**63) + 1),
                ),
                "name": (Datatype.CHAR, some(rng.choice(["a", "b", "a ", "ü"], ROWS), None, "")),
            },
            id_column="id",
            rows_per_file=700,
            rows_per_group=100,
        )
        yield made


def plan_of(context: ProcessContext, query: str, row_limit: int | None = None) -> QueryPlan:
    view = context.catalog.view()
    return plan_query(
        check_query(query, view), view, {}, row_limit=row_limit, row_groups=context.row_groups
    )


def rows_of(context: ProcessContext, plan: QueryPlan, *, small: bool) -> list[tuple[Any, ...]]:
    engine = context.engine if small else context.duckdb
    stream = engine.execute(plan, QueryCancel())
    table = pa.Table.from_batches(stream, schema=stream.schema)
    return [tuple(map(_comparable, row.values())) for row in table.to_pylist()]


def _comparable(value: Any) -> Any:
    return "NaN" if isinstance(value, float) and math.isnan(value) else value


def both(context: ProcessContext, query: str) -> tuple[list[Any], list[Any]]:
    plan = plan_of(context, query)
    found = []
    for small in (True, False):
        try:
            found.append(rows_of(context, plan, small=small))
        except AdqlTypeError as exc:
            found.append([(str(exc),)])
    return found[0], found[1]


NUMBER = st.sampled_from(["ra", "dec", "ra2", "mag", "flux", "n", "big", "id"])
CONSTANT = st.sampled_from(
    ["0", "-0.0", "3", "-2", "20", "19.7", "1e308", "9007199254740993", "0.1"]
)
SIGN = st.sampled_from(["<", "<=", ">", ">=", "=", "<>"])


@st.composite
def values(draw: st.DrawFn) -> str:
    form = draw(st.sampled_from(["column", "column", "constant", "step", "minus"]))
    if form == "column":
        return draw(NUMBER)
    if form == "constant":
        return draw(CONSTANT)
    if form == "minus":
        return f"(-{draw(NUMBER)})"
    sign = draw(st.sampled_from(["+", "-", "*"]))
    return f"({draw(NUMBER)} {sign} {draw(st.one_of(NUMBER, CONSTANT))})"


@st.composite
def regions(draw: st.DrawFn) -> str:
    lon, lat = draw(st.sampled_from([0, 359.5, 4])), draw(st.sampled_from([0, -3.5, 7]))
    size = draw(st.sampled_from([0.5, 3, 11]))
    form = draw(st.sampled_from(["CIRCLE({0}, {1}, {2})", "BOX({0}, {1}, {2}, 2)", "polygon"]))
    if form == "polygon":
        return f"POLYGON({lon}, {lat}, {lon + size}, {lat}, {lon + size}, {lat + size})"
    return form.format(lon, lat, size)


@st.composite
def simple(draw: st.DrawFn) -> str:
    pair = draw(st.sampled_from(["ra, dec", "ra2, dec2"]))
    no = draw(st.sampled_from(["", "NOT "]))
    forms = [
        lambda: f"{draw(values())} {draw(SIGN)} {draw(values())}",
        lambda: f"{draw(values())} {no}BETWEEN {draw(values())} AND {draw(values())}",
        lambda: f"{draw(st.sampled_from(['n', 'big', 'id']))} {no}IN (1, -2, 1000000000000003)",
        lambda: f"{draw(NUMBER)} IS {no}NULL",
        lambda: f"name IS {no}NULL",
        lambda: (
            f"name {draw(st.sampled_from(['=', '<>']))} '{draw(st.sampled_from(['a', 'ü', '']))}'"
        ),
        lambda: f"CONTAINS(POINT({pair}), {draw(regions())}) = {draw(st.sampled_from([0, 1]))}",
        lambda: f"1 = INTERSECTS({draw(regions())}, POINT({pair}))",
        lambda: (
            f"DISTANCE(POINT({pair}), POINT(1, 2)) {draw(SIGN)} {draw(st.sampled_from([1, 5.5]))}"
        ),
    ]
    return draw(st.sampled_from(forms))()


@st.composite
def conditions(draw: st.DrawFn, depth: int = 2) -> str:
    form = draw(st.sampled_from(["simple", "AND", "OR", "NOT"])) if depth else "simple"
    if form == "simple":
        return draw(simple())
    first = draw(conditions(depth - 1))
    return f"NOT ({first})" if form == "NOT" else f"({first} {form} {draw(conditions(depth - 1))})"


@pytest.mark.slow
@pytest.mark.timeout(60)
@given(conditions())
@settings(max_examples=150, deadline=None)
def test_same_rows(odd: ProcessContext, condition: str) -> None:
    ours, theirs = both(odd, f"SELECT id, mag, n, name FROM s.odd WHERE {condition}")
    assert sorted(ours, key=repr) == sorted(theirs, key=repr)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT id FROM s.odd WHERE CONTAINS(POINT(ra, dec), CIRCLE(0, 0, 2)) = 1",
        "SELECT * FROM s.odd WHERE id = 1000000000000007",
        "SELECT ra, dec FROM s.odd WHERE id IN (1000000000000007, 1000000000000008)",
        (
            "SELECT id FROM s.odd WHERE NOT (mag > 20 OR flux < 3) AND 1 = CONTAINS("
            "POINT(ra, dec), POLYGON(0, 0, 2, 0, 2, 2)) ORDER BY mag DESC, id"
        ),
        "SELECT TOP 5 id AS other FROM s.odd WHERE DISTANCE(POINT(ra, dec), POINT(0, 0)) < 1",
        "SELECT id FROM s.odd WHERE name = 'a' AND flux - 2 * mag < 0.5 ORDER BY name OFFSET 3",
        "SELECT id FROM s.odd",
    ],
)
def test_these_never_reach_the_engine_behind(
    odd: ProcessContext, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    expected = rows_of(odd, plan_of(odd, query), small=False)
    monkeypatch.setattr(odd.duckdb, "execute", None)
    ours = rows_of(odd, plan_of(odd, query), small=True)
    assert len(ours) == len(expected)
    if "TOP" not in query and "OFFSET" not in query:
        assert sorted(ours, key=repr) == sorted(expected, key=repr)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT mag + 1 AS m FROM s.odd",
        "SELECT COUNT(*) AS n FROM s.odd WHERE n > 1",
        "SELECT DISTINCT n FROM s.odd",
        "SELECT a.id FROM s.odd AS a JOIN s.odd AS b ON a.id = b.id",
        "SELECT id FROM s.odd WHERE name LIKE 'a%'",
        "SELECT id FROM s.odd WHERE SQRT(ra) > 1",
        "SELECT id FROM s.odd WHERE flux / mag > 1",
        "SELECT id FROM s.odd ORDER BY ABS(mag)",
    ],
)
def test_what_is_more_goes_to_the_engine_behind(odd: ProcessContext, query: str) -> None:
    asked = []

    class Behind:
        def execute(self, plan: QueryPlan, cancel: Any) -> Any:
            asked.append(plan)
            return odd.duckdb.execute(plan, cancel)

        def close(self) -> None:
            """Nothing of its own."""

    engine = SmallPlanEngine(reader=odd.row_groups, behind=Behind(), most_rows=10**6)
    engine.execute(plan_of(odd, query), QueryCancel()).close()
    assert len(asked) == 1


def test_a_plan_of_many_rows_goes_to_the_engine_behind(odd: ProcessContext) -> None:
    plan = plan_of(odd, "SELECT id FROM s.odd")
    engine = SmallPlanEngine(reader=odd.row_groups, behind=odd.duckdb, most_rows=ROWS - 1)
    assert type(engine.execute(plan, QueryCancel())) is type(
        odd.duckdb.execute(plan, QueryCancel())
    )
    assert type(odd.engine.execute(plan, QueryCancel())) is not type(
        engine.execute(plan, QueryCancel())
    )


@pytest.mark.parametrize("sort", ["mag", "flux DESC", "name, id", "n DESC, big, id", "id DESC"])
@pytest.mark.parametrize("row_limit", [None, 7, 5000])
def test_order_and_limits(odd: ProcessContext, sort: str, row_limit: int | None) -> None:
    column = sort.split(maxsplit=1)[0].rstrip(",")
    where = "WHERE 1 = CONTAINS(POINT(ra, dec), CIRCLE(0, 0, 9))"
    for query in (
        f"SELECT {column} FROM s.odd {where} ORDER BY {sort}",
        f"SELECT TOP 20 {column} FROM s.odd {where} ORDER BY {sort} OFFSET 13",
    ):
        plan = plan_of(odd, query, row_limit)
        ours, theirs = (rows_of(odd, plan, small=small) for small in (True, False))
        # NaN counts as NULL: which of the two comes first at the end is nobody's promise.
        assert [None if v == "NaN" else v for (v,) in ours] == [
            None if v == "NaN" else v for (v,) in theirs
        ]


def test_limits_hold_without_order(odd: ProcessContext) -> None:
    for top, offset, limit, expected in ((10, 0, None, 10), (10, 0, 4, 4), (3000, 1990, 50, 10)):
        query = f"SELECT TOP {top} id FROM s.odd OFFSET {offset}"
        assert len(rows_of(odd, plan_of(odd, query, limit), small=True)) == expected


def test_it_stops_when_it_is_told_to(odd: ProcessContext) -> None:
    cancel = QueryCancel()
    stream = odd.engine.execute(plan_of(odd, "SELECT TOP 1 id FROM s.odd"), cancel)
    stream.close()
    assert list(stream) == []
    cancel.cancel()
    with pytest.raises(CancelledError):
        odd.engine.execute(plan_of(odd, "SELECT id FROM s.odd"), cancel)


def test_a_file_that_is_gone_is_an_internal_error(odd: ProcessContext) -> None:
    plan = plan_of(odd, "SELECT id FROM s.odd")
    scan = plan.scans["t0"]
    assert isinstance(scan, FileScan)
    gone = tuple(f"{path}.gone" for path in scan.paths)
    broken = QueryPlan(
        query=plan.query,
        scans={"t0": FileScan(paths=gone, groups=scan.groups, estimated_rows=10)},
    )
    with pytest.raises(InternalError, match="cannot be read"):
        odd.engine.execute(broken, QueryCancel())
