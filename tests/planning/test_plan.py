from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from astrolabe.catalogs.engine import ArrowScan, FileScan
from astrolabe.catalogs.model import TableVersion
from astrolabe.catalogs.planning import metadata_answer, plan_query
from astrolabe.core.errors import UnknownTableError

from .survey import Survey, column, make_index, make_survey, table_meta

NEAR = "DISTANCE(POINT(ra, dec), POINT(1, 0)) < 2"


@pytest.fixture(scope="module")
def survey() -> Survey:
    return make_survey()


def changed(survey: Survey, name: str, version: TableVersion) -> Survey:
    return replace(survey, versions={**survey.versions, name: version})


def test_paths_are_absolute_and_groups_belong_to_them(survey: Survey) -> None:
    scan = survey.scan(f"SELECT id FROM sky.object WHERE {NEAR}")
    index = survey.versions["object"].index
    assert scan.groups is not None
    assert len(scan.groups) == len(scan.paths) > 1
    total = 0
    for path, groups in zip(scan.paths, scan.groups, strict=True):
        assert path.startswith("/survey/object/dataset/Norder=1/")
        number = index.paths.index(path.removeprefix("/survey/object/"))
        first, end = index.first_group[number], index.first_group[number + 1]
        assert groups
        assert all(0 <= group < end - first for group in groups)
        total += sum(int(index.group_rows[first + group]) for group in groups)
    assert scan.estimated_rows == total < len(survey.data["object"])
    assert scan.healpix_ranges is not None


def test_bytes_are_those_of_the_needed_columns(survey: Survey) -> None:
    size = {}
    for columns in ("mag", "id", "id, mag", "*"):
        scan = survey.scan(f"SELECT {columns} FROM sky.object")
        assert scan.estimated_bytes is not None
        size[columns] = scan.estimated_bytes
    assert size["mag"] < size["id"] < size["id, mag"] < size["*"]
    assert size["id, mag"] == pytest.approx(size["id"] + size["mag"], abs=2)
    assert size["*"] < survey.versions["object"].index.group_bytes.sum()


def test_all_of_a_table(survey: Survey) -> None:
    scan = survey.scan("SELECT * FROM sky.object")
    assert len(scan.paths) == len(survey.versions["object"].index.paths)
    assert scan.healpix_ranges is None
    assert scan.estimated_rows == len(survey.data["object"])


def test_tables_in_memory(survey: Survey) -> None:
    checked = survey.check("SELECT o.id FROM sky.object AS o, sky.source AS s WHERE o.id = s.id")
    rows = pa.table({"id": [1]})
    plan = plan_query(checked, survey, {"t1": rows}, row_limit=11)
    assert isinstance(plan.scans["t0"], FileScan)
    in_memory = plan.scans["t1"]
    assert isinstance(in_memory, ArrowScan)
    assert in_memory.data is rows
    assert plan.row_limit == 11
    assert plan.query is checked


def test_table_that_is_gone(survey: Survey) -> None:
    checked = survey.check("SELECT id FROM sky.object")
    with pytest.raises(UnknownTableError, match=r"sky\.object"):
        plan_query(checked, replace(survey, versions={}), {}, row_limit=None)


def test_table_not_sorted_by_position_is_read_whole(survey: Survey) -> None:
    unsorted = replace(survey.versions["object"], positions_sorted=False)
    scan = changed(survey, "object", unsorted).scan(f"SELECT id FROM sky.object WHERE {NEAR}")
    assert scan.healpix_ranges is None
    assert scan.estimated_rows == len(survey.data["object"])
    # Statistics of ids do not depend on the order.
    scan = changed(survey, "object", unsorted).scan("SELECT id FROM sky.object WHERE id = 10")
    assert scan.paths == ()


def test_table_without_positions(survey: Survey) -> None:
    meta = table_meta("visit", column("id"), column("ra"), column("dec"), positions=False)
    cells = np.zeros(30, dtype=np.int64)
    version = TableVersion(
        meta=meta,
        version=1,
        snapshot_id=None,
        root="/survey/visit/",
        index=make_index(cells, np.arange(30)),
        positions_sorted=False,
    )
    scan = changed(survey, "visit", version).scan(f"SELECT id FROM sky.visit WHERE {NEAR}")
    assert scan.estimated_rows == 30
    assert scan.paths[0].startswith("/survey/visit/dataset/")
    assert scan.healpix_ranges is None


def test_empty_table(survey: Survey) -> None:
    none = np.empty(0, dtype=np.int64)
    version = replace(survey.versions["object"], index=make_index(none, none), snapshot_id=None)
    empty = changed(survey, "object", version)
    for condition in ("", f" WHERE {NEAR}", " WHERE id = 5"):
        scan = empty.scan(f"SELECT id FROM sky.object{condition}")
        assert scan.paths == ()
        assert scan.groups == ()
        assert scan.estimated_rows == scan.estimated_bytes == 0


def test_no_rows_are_read_when_none_are_asked_for(survey: Survey) -> None:
    checked = survey.check("SELECT id FROM sky.object")
    scan = plan_query(checked, survey, {}, row_limit=0).scans["t0"]
    assert isinstance(scan, FileScan)
    assert scan.paths == ()


def test_position_columns_of_any_name(survey: Survey) -> None:
    meta = survey.versions["object"].meta
    odd = replace(
        meta,
        columns=tuple(
            replace(c, name={"ra": "_RAJ2000"}.get(c.name, c.name)) for c in meta.columns
        ),
        ra_column="_RAJ2000",
    )
    view = changed(survey, "object", replace(survey.versions["object"], meta=odd))
    found = view.scan(
        'SELECT id FROM sky.object WHERE DISTANCE(POINT("_RAJ2000", dec), POINT(1, 0)) < 2'
    )
    expected = survey.scan(f"SELECT id FROM sky.object WHERE {NEAR}")
    assert found.groups == expected.groups


@pytest.mark.parametrize(
    "query",
    [
        "SELECT COUNT(*) FROM sky.object",
        "SELECT COUNT(*) AS n FROM sky.object",
        "SELECT COUNT(*) AS n FROM sky.object AS o",
        "SELECT DISTINCT COUNT(*) AS n FROM sky.object",
        "SELECT TOP 5 COUNT(*) AS n FROM sky.object ORDER BY n",
    ],
)
def test_count_is_answered_from_metadata(survey: Survey, query: str) -> None:
    checked = survey.check(query)
    answer = metadata_answer(checked, survey)
    assert answer is not None
    assert answer.column_names == [column.name for column in checked.columns]
    assert answer.column(0).to_pylist() == [len(survey.data["object"])]
    assert answer.schema.field(0).type == pa.int64()
    assert survey.answers(query)[0] == [(len(survey.data["object"]),)]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT MIN(id) AS low, MAX(id) AS high, COUNT(*) AS n FROM sky.object",
        "SELECT MAX(o.id) AS high FROM sky.object AS o",
        "SELECT MIN(DISTINCT id) AS low FROM sky.object",
    ],
)
def test_limits_of_the_main_id_are_answered_from_metadata(survey: Survey, query: str) -> None:
    checked = survey.check(query)
    answer = metadata_answer(checked, survey)
    assert answer is not None
    assert [tuple(row.values()) for row in answer.to_pylist()] == survey.answers(query)[0]


def test_limits_of_ids_that_the_index_does_not_know_are_read(survey: Survey) -> None:
    version = survey.versions["object"]
    unknown = replace(version, index=replace(version.index, group_id_min=None, group_id_max=None))
    without = replace(survey, versions={"object": unknown})
    checked = survey.check("SELECT MIN(id) AS low FROM sky.object")
    assert metadata_answer(checked, without) is None


@pytest.mark.parametrize(
    "query",
    [
        "SELECT MIN(mag) AS m FROM sky.object",
        "SELECT MIN(id + 1) AS m FROM sky.object",
        "SELECT SUM(id) AS s FROM sky.object",
        "SELECT COUNT(id) AS n FROM sky.object",
        "SELECT COUNT(*) AS n FROM sky.object WHERE mag < 20",
        "SELECT COUNT(*) AS n FROM sky.object GROUP BY id",
        "SELECT COUNT(*) AS n FROM sky.object HAVING COUNT(*) > 5",
        "SELECT TOP 0 COUNT(*) AS n FROM sky.object",
        "SELECT COUNT(*) AS n, MAX(mag) AS m FROM sky.object",
        "SELECT COUNT(*) AS n FROM sky.object AS a, sky.source AS b",
        "SELECT COUNT(*) AS n FROM (SELECT id FROM sky.object) AS q",
        "SELECT COUNT(*) + 1 AS n FROM sky.object",
        "SELECT id FROM sky.object",
    ],
)
def test_other_queries_are_not_answered_from_metadata(survey: Survey, query: str) -> None:
    assert metadata_answer(survey.check(query), survey) is None


def test_count_of_a_table_that_is_not_in_the_catalog(survey: Survey) -> None:
    checked = survey.check("SELECT COUNT(*) AS n FROM sky.object")
    assert metadata_answer(checked, replace(survey, versions={})) is None
