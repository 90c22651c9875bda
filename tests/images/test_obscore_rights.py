"""Rows of ``ivoa.ObsCore`` are seen by those who may know of their collections, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from astrolabe.catalogs.cancel import QueryCancel
from astrolabe.catalogs.query import QueryRequest
from astrolabe.core.clock import utc_now
from astrolabe.factory import ProcessContext
from astrolabe.identity import ANONYMOUS, Principal
from astrolabe.identity.access import Access, AccessRule, Resource
from astrolabe.identity.authority import OPERATOR, PLATFORM
from astrolabe.images.model import ImageCollection, ImageKey, ImageRecord, PlaneKind
from astrolabe.tables.model import arrow_type
from tests.support.tiny import open_context

BOB = Principal(username="bob", groups=frozenset(), scopes=frozenset({"read:tap"}))
ANN = replace(BOB, username="ann", groups=frozenset({"deepers"}))
RULES = {
    "open": AccessRule(access=Access.PUBLIC),
    "shown": AccessRule(access=Access.PRIVATE, owner="eve", listed=True),
    "deep": AccessRule(access=Access.GROUP, group="deepers"),
    "secret": AccessRule(access=Access.PRIVATE, owner="eve"),
}
SEEN = [
    pytest.param(ANONYMOUS, {"open", "shown"}, id="anonymous"),
    pytest.param(BOB, {"open", "shown"}, id="user"),
    pytest.param(ANN, {"open", "shown", "deep"}, id="member"),
    pytest.param(replace(BOB, username="eve"), {"open", "shown", "secret"}, id="owner"),
    pytest.param(PLATFORM, set(RULES), id="platform"),
]
SQUARE = "POLYGON(9, -2, 13, -2, 13, 2, 9, 2)"


def record(image_id: str, collection: str) -> ImageRecord:
    return ImageRecord(
        key=ImageKey(collection, image_id),
        uri=f"/data/{collection}/{image_id}.fits",
        size_bytes=28_800,
        md5=None,
        signature="1 1",
        index_path=f"indexes/{image_id}",
        planes={PlaneKind.IMAGE: 1},
        obscore={
            "s_ra": 11.0,
            "s_dec": 0.0,
            "s_region": [10.0, -1.0, 12.0, -1.0, 12.0, 1.0, 10.0, 1.0],
            "t_min": float(len(collection)),
            "s_xel1": 100,
        },
        imported=utc_now(),
    )


def publish(context: ProcessContext) -> None:
    store = context.images.store
    for name in RULES:
        store.ensure_collection(ImageCollection(name=name, created=utc_now()))
        store.put([record(f"{name}{i}", name) for i in range(3)])
    for name, rule in RULES.items():
        context.rights.set_rule(Resource.of_collection(name), rule, by=OPERATOR)
    context.images.obscore.publish()


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessContext]:
    home = tmp_path_factory.mktemp("rights") / "home"
    with open_context(home, engine={"memory_fraction": 0.02, "threads": 2}) as made:
        publish(made)
        yield made


@pytest.fixture(scope="module")
def large_plans(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessContext]:
    """A context in which every query goes to the engine as a list of files."""
    home = tmp_path_factory.mktemp("rights") / "home"
    engine = {"memory_fraction": 0.02, "threads": 2, "small_plan_mb": 0, "small_plan_rows": 0}
    with open_context(home, engine=engine) as made:
        publish(made)
        yield made


def ask(context: ProcessContext, query: str, principal: Principal) -> list[dict[str, Any]]:
    running = context.queries.start(
        QueryRequest(query=query), principal=principal, cancel=QueryCancel()
    )
    schema = pa.schema([(c.name, arrow_type(c)) for c in running.header.columns])
    return pa.Table.from_batches(running, schema=schema).to_pylist()


QUERIES = {
    "plain": "SELECT obs_collection AS c FROM ivoa.ObsCore",
    "star": "SELECT t.c FROM (SELECT obs_collection AS c, o.* FROM ivoa.ObsCore AS o) AS t",
    "small": "SELECT obs_collection AS c FROM ivoa.ObsCore WHERE t_min > 0",
    "small-ordered": "SELECT obs_collection AS c FROM ivoa.ObsCore ORDER BY obs_id DESC",
    "geometry": f"SELECT obs_collection AS c FROM ivoa.ObsCore WHERE INTERSECTS(s_region,"
    f" {SQUARE}) = 1",
    "position": "SELECT obs_collection AS c FROM ivoa.ObsCore WHERE DISTANCE(s_ra, s_dec,"
    " 11, 0) < 1",
    "expression": "SELECT LOWER(obs_collection) AS c FROM ivoa.ObsCore WHERE s_xel1 + 1 = 101",
    "distinct": "SELECT DISTINCT obs_collection AS c FROM ivoa.ObsCore",
    "grouped": "SELECT obs_collection AS c, COUNT(*) AS n FROM ivoa.ObsCore GROUP BY"
    " obs_collection",
    "alias": 'SELECT "A b".obs_collection AS c FROM ivoa.ObsCore AS "A b"',
    "quoted": 'SELECT obs_collection AS c FROM "ivoa"."ObsCore"',
    "bare": "SELECT obs_collection AS c FROM ObsCore",
    "self-join": "SELECT b.obs_collection AS c FROM ivoa.ObsCore a JOIN ivoa.ObsCore b ON"
    " a.s_xel1 = b.s_xel1",
    "left-join": "SELECT b.obs_collection AS c FROM TAP_SCHEMA.tables t LEFT JOIN"
    " ivoa.ObsCore b ON 1 = 1",
    "comma": "SELECT b.obs_collection AS c FROM TAP_SCHEMA.schemas, ivoa.ObsCore b",
    "nested": "SELECT c FROM (SELECT c FROM (SELECT obs_collection AS c FROM ivoa.ObsCore)"
    " AS a) AS b",
    "in": "SELECT obs_collection AS c FROM ivoa.ObsCore WHERE obs_id IN (SELECT obs_id FROM"
    " ivoa.ObsCore)",
    "named": "SELECT obs_collection AS c FROM ivoa.ObsCore WHERE obs_collection = 'secret'"
    " OR 1 = 1",
    "negated": "SELECT obs_collection AS c FROM ivoa.ObsCore WHERE NOT obs_collection ="
    " 'open' OR 0 = 0",
    "top": "SELECT TOP 100 obs_collection AS c FROM ivoa.ObsCore",
}


@pytest.mark.parametrize(("principal", "seen"), SEEN)
@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_no_query_shows_other_rows(
    context: ProcessContext, query: str, principal: Principal, seen: set[str]
) -> None:
    assert {row["c"] for row in ask(context, query, principal)} == seen


@pytest.mark.parametrize(("principal", "seen"), SEEN[:3])
@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_nor_where_the_engine_reads_the_files_itself(
    large_plans: ProcessContext, query: str, principal: Principal, seen: set[str]
) -> None:
    assert {row["c"] for row in ask(large_plans, query, principal)} == seen


COUNTS = {
    "count": "SELECT COUNT(*) AS n FROM ivoa.ObsCore",
    "count-column": "SELECT COUNT(obs_id) AS n FROM ivoa.ObsCore",
    "count-where": "SELECT COUNT(*) AS n FROM ivoa.ObsCore WHERE s_xel1 = 100",
    "count-nested": "SELECT COUNT(*) AS n FROM (SELECT s_ra FROM ivoa.ObsCore) AS t",
    "exists": "SELECT COUNT(*) * 3 AS n FROM (SELECT DISTINCT obs_collection FROM ivoa.ObsCore o"
    " WHERE EXISTS (SELECT 1 FROM ivoa.ObsCore i WHERE i.obs_id = o.obs_id)) AS t",
}


@pytest.mark.parametrize(("principal", "seen"), SEEN)
@pytest.mark.parametrize("query", COUNTS.values(), ids=COUNTS.keys())
def test_nor_how_many_there_are(
    context: ProcessContext, query: str, principal: Principal, seen: set[str]
) -> None:
    assert ask(context, query, principal) == [{"n": 3 * len(seen)}]


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("SELECT MAX(t_min) AS x FROM ivoa.ObsCore", id="largest"),
        pytest.param(
            "SELECT MAX(x) AS x FROM (SELECT TOP 50 t_min AS x FROM ivoa.ObsCore) AS t",
            id="largest-nested",
        ),
    ],
)
def test_nor_a_value_of_theirs(context: ProcessContext, query: str) -> None:
    assert ask(context, query, PLATFORM) == [{"x": 6.0}]
    assert ask(context, query, BOB) == [{"x": 5.0}]


def test_a_hidden_row_cannot_be_told_from_one_that_is_not_there(context: ProcessContext) -> None:
    query = "SELECT 1 AS x FROM TAP_SCHEMA.schemas WHERE EXISTS"
    query += " (SELECT 1 FROM ivoa.ObsCore WHERE obs_id = '{}')"
    assert ask(context, query.format("open1"), BOB) != []
    assert ask(context, query.format("secret1"), BOB) == []
    assert ask(context, query.format("nothing"), BOB) == []


def test_metadata_do_not_count_hidden_rows(context: ProcessContext) -> None:
    def rows(principal: Principal) -> list[int | None]:
        return [
            table.row_count
            for schema in context.readable.view(principal).schemas
            for table in schema.tables
            if table.name == "ObsCore"
        ]

    assert rows(BOB) == [None]
    assert rows(PLATFORM) == [12]


def test_views_are_shared_by_those_who_may_see_the_same(context: ProcessContext) -> None:
    view = context.readable.view
    assert view(BOB) is view(replace(BOB, username="zoe"))
    assert view(BOB) is not view(ANN)
    assert context.readable.hides_something()


def test_a_change_of_rights_shows_without_publishing_again(tmp_path: Path) -> None:
    with open_context(tmp_path / "home", engine={"memory_fraction": 0.02}) as context:
        publish(context)
        query = QUERIES["distinct"]
        assert {row["c"] for row in ask(context, query, BOB)} == {"open", "shown"}
        rule = AccessRule(access=Access.PRIVATE, owner="eve")
        context.rights.set_rule(Resource.of_collection("open"), rule, by=OPERATOR)
        assert {row["c"] for row in ask(context, query, BOB)} == {"shown"}
        for name in RULES:
            context.rights.set_rule(Resource.of_collection(name), rule, by=OPERATOR)
        assert ask(context, query, BOB) == []
        for name in RULES:
            context.rights.set_rule(
                Resource.of_collection(name), AccessRule(access=Access.PUBLIC), by=OPERATOR
            )
        assert {row["c"] for row in ask(context, query, BOB)} == set(RULES)


def test_rows_of_a_collection_that_is_gone_are_seen_by_nobody(tmp_path: Path) -> None:
    with open_context(tmp_path / "home", engine={"memory_fraction": 0.02}) as context:
        publish(context)
        context.images.store.remove_collection("open")
    with open_context(tmp_path / "home", engine={"memory_fraction": 0.02}) as context:
        assert {row["c"] for row in ask(context, QUERIES["distinct"], BOB)} == {"shown"}
        context.images.obscore.publish()
        assert {row["c"] for row in ask(context, QUERIES["distinct"], BOB)} == {"shown"}


@pytest.mark.parametrize("default", ["users", "private"])
def test_the_table_is_there_whatever_the_default_access(tmp_path: Path, default: str) -> None:
    with open_context(
        tmp_path / "home", engine={"memory_fraction": 0.02}, auth={"default_access": default}
    ) as context:
        publish(context)
        assert {row["c"] for row in ask(context, QUERIES["distinct"], ANONYMOUS)} == {
            "open",
            "shown",
        }


def test_a_rule_of_the_table_itself_holds_too(tmp_path: Path) -> None:
    with open_context(tmp_path / "home", engine={"memory_fraction": 0.02}) as context:
        publish(context)
        rule = AccessRule(access=Access.USERS)
        context.rights.set_rule(Resource.of_table("ivoa", "ObsCore"), rule, by=OPERATOR)
        assert context.readable.view(ANONYMOUS).table("ivoa", "ObsCore") is None
        assert {row["c"] for row in ask(context, QUERIES["distinct"], BOB)} == {"open", "shown"}
