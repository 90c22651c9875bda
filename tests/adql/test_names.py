"""What names mean."""

from __future__ import annotations

import time

import pytest

from astrolabe.adql import check_query
from astrolabe.core.errors import (
    AdqlSyntaxError,
    AdqlTypeError,
    QueryError,
    UnknownColumnError,
    UnknownFunctionError,
    UnknownTableError,
)
from astrolabe.tables.model import TableMeta

from .support import LOOKUP, OBJECT, Lookup, Sky, column


@pytest.mark.parametrize(
    "text",
    [
        "SELECT OBJECTID, Ra FROM DR1.Object",
        'SELECT "objectId", object."ra" FROM dr1.object',
        'SELECT dr1.object.ra, "dr1"."object".dec FROM "dr1"."object"',
        "SELECT o.ra, O.dec FROM dr1.object AS o",
        'SELECT "O".ra FROM dr1.object AS "O"',
        'SELECT "size", "_RAJ2000" FROM dr1.object',
        "SELECT name FROM obs.field",
        'SELECT name FROM obs."Field"',
        "SELECT q.x FROM (SELECT ra AS x FROM dr1.object) AS q",
        "SELECT a.ra, b.ra FROM dr1.object AS a JOIN dr1.source AS b ON a.objectId = b.objectId",
        "SELECT objectId FROM dr1.object JOIN dr1.source USING (objectId)",
        "SELECT flux FROM dr1.object NATURAL JOIN dr1.source",
        "SELECT ra FROM dr1.object WHERE EXISTS (SELECT * FROM dr1.source WHERE flux > g_mag)",
        "SELECT ra FROM dr1.object AS o WHERE band IN (SELECT 1 FROM dr1.source WHERE flux > band)",
        "SELECT ra AS x FROM dr1.object ORDER BY x",
        "SELECT ra AS x, COUNT(*) FROM dr1.object GROUP BY x",
    ],
)
def test_names_are_found(text: str) -> None:
    check_query(text, LOOKUP)


@pytest.mark.parametrize(
    ("text", "error", "suggestions", "where"),
    [
        ("SELECT ra FROM dr1.objekt", UnknownTableError, ("dr1.object",), (1, 16)),
        ("SELECT ra FROM object", UnknownTableError, ("dr1.object",), (1, 16)),
        ('SELECT name FROM obs."field"', UnknownTableError, ("obs.Field",), (1, 18)),
        ("SELECT ra FROM cat.dr1.object", UnknownTableError, None, (1, 16)),
        ("SELECT objectid2\nFROM dr1.object", UnknownColumnError, ("objectId",), (1, 8)),
        ("SELECT ra,\n  dex FROM dr1.object", UnknownColumnError, ("dec",), (2, 3)),
        ('SELECT "objectid" FROM dr1.object', UnknownColumnError, ("objectId",), (1, 8)),
        ("SELECT siez FROM dr1.object", UnknownColumnError, ('"size"',), (1, 8)),
        ("SELECT p.ra FROM dr1.object AS o", UnknownTableError, None, (1, 8)),
        ("SELECT object.ra FROM dr1.object AS o", UnknownTableError, None, (1, 8)),
        ("SELECT p.* FROM dr1.object AS o", UnknownTableError, None, (1, 8)),
        ("SELECT SQROOT(ra) FROM dr1.object", UnknownFunctionError, ("SQRT",), (1, 8)),
        ("SELECT ln(ra) FROM dr1.object", UnknownFunctionError, ("LOG",), (1, 8)),
        ("SELECT ra FROM dr1.object, dr1.source", UnknownColumnError, (), (1, 8)),
        (
            "SELECT o.ra FROM dr1.object JOIN dr1.source AS o USING (nothing)",
            QueryError,
            None,
            None,
        ),
        ("SELECT 1 AS x FROM dr1.object ORDER BY y", UnknownColumnError, None, (1, 40)),
        ("SELECT q.y FROM (SELECT ra AS x FROM dr1.object) AS q", UnknownColumnError, None, (1, 8)),
        (
            "SELECT q.x FROM dr1.object AS o, (SELECT o.ra AS x FROM dr1.source) AS q",
            UnknownTableError,
            None,
            (1, 42),
        ),
        (
            "SELECT 1 AS x FROM dr1.object AS a JOIN dr1.source AS b ON c.ra = 1, dr1.source AS c",
            UnknownTableError,
            None,
            (1, 60),
        ),
    ],
)
def test_unknown_names_say_where_and_what_is_near(
    text: str,
    error: type[QueryError],
    suggestions: tuple[str, ...] | None,
    where: tuple[int, int] | None,
) -> None:
    with pytest.raises(error) as caught:
        check_query(text, LOOKUP)
    if suggestions is not None:
        assert caught.value.suggestions[: len(suggestions)] == suggestions
    position = caught.value.position
    assert position is not None
    if where is not None:
        assert (position.line, position.column) == where


def test_ambiguous_names_say_what_they_may_be() -> None:
    with pytest.raises(UnknownColumnError, match=r"o\.ra or s\.ra"):
        check_query("SELECT ra FROM dr1.object AS o, dr1.source AS s", LOOKUP)


def test_the_same_name_twice_in_from_is_refused() -> None:
    with pytest.raises(AdqlSyntaxError, match="alias"):
        check_query("SELECT 1 AS x FROM dr1.object, dr1.object", LOOKUP)
    with pytest.raises(AdqlSyntaxError, match="alias"):
        check_query("SELECT 1 AS x FROM dr1.object AS a, dr1.source AS A", LOOKUP)


def test_default_schema() -> None:
    query = check_query("SELECT ra FROM object", LOOKUP, default_schema="dr1")
    assert query.tables[0].table is OBJECT


def test_used_columns_are_those_that_are_read() -> None:
    query = check_query(
        "SELECT a.ra, COUNT(*) AS n FROM dr1.object AS a JOIN dr1.source AS b USING (objectId)"
        " WHERE 1 = CONTAINS(POINT(b.ra, b.dec), CIRCLE(1, 2, 3)) GROUP BY a.ra"
        " HAVING MAX(flux) > 1 ORDER BY MIN(a.g_mag)",
        LOOKUP,
    )
    used = {source.table.name: query.used_columns[source.key] for source in query.tables}
    assert used == {
        "object": {"objectId", "ra", "g_mag"},
        "source": {"objectId", "ra", "dec", "flux"},
    }


def test_existence_reads_no_columns() -> None:
    query = check_query(
        "SELECT COUNT(*) AS n FROM dr1.object WHERE EXISTS (SELECT * FROM dr1.source)", LOOKUP
    )
    assert set(query.used_columns.values()) == {frozenset()}


def test_star_shows_merged_columns_once_and_first(sky: Sky) -> None:
    text = "SELECT TOP 1 * FROM dr1.source AS s NATURAL JOIN dr1.source AS t"
    assert [c.name for c in check_query(text, LOOKUP).columns] == [
        "sourceId",
        "objectId",
        "ra",
        "dec",
        "flux",
    ]
    text = 'SELECT * FROM dr1.source AS s JOIN dr1.source AS t USING (objectId, "sourceId")'
    names = [c.name for c in check_query(text, LOOKUP).columns]
    assert names == ["objectId", "sourceId", "ra", "dec", "flux", "ra_2", "dec_2", "flux_2"]
    assert len(sky.rows(text)) == 4


def test_outer_joins_keep_the_columns_of_the_kept_side(sky: Sky) -> None:
    left = "SELECT objectId, flux FROM dr1.object LEFT JOIN dr1.source USING (objectId)"
    assert {row[0] for row in sky.rows(left)} == {1, 2, 3, 4, 5}
    right = "SELECT objectId, g_mag FROM dr1.object RIGHT JOIN dr1.source USING (objectId)"
    assert {row[0] for row in sky.rows(right)} == {1, 2, 9}
    full = "SELECT objectId FROM dr1.object FULL JOIN dr1.source USING (objectId)"
    assert {row[0] for row in sky.rows(full)} == {1, 2, 3, 4, 5, 9}


def test_nested_joins(sky: Sky) -> None:
    text = (
        "SELECT a.objectId FROM dr1.object AS a LEFT JOIN"
        " (dr1.source AS b JOIN dr1.source AS c ON b.sourceId = c.sourceId)"
        " ON a.objectId = b.objectId WHERE b.sourceId IS NULL ORDER BY a.objectId"
    )
    assert sky.rows(text) == [(3,), (4,), (5,)]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT ra, COUNT(*) AS n FROM dr1.object",
        "SELECT ra, dec FROM dr1.object GROUP BY ra",
        "SELECT ra + dec AS x FROM dr1.object GROUP BY ra",
        "SELECT COUNT(*) AS n FROM dr1.object ORDER BY ra",
        "SELECT band FROM dr1.object GROUP BY band HAVING ra > 1",
        "SELECT ra FROM dr1.object HAVING ra > 1",
        "SELECT ra FROM dr1.object WHERE MAX(ra) > 1",
        "SELECT MAX(MIN(ra)) AS x FROM dr1.object",
        "SELECT ra FROM dr1.object GROUP BY MAX(ra)",
        "SELECT MAX(ra) AS m FROM dr1.object GROUP BY m",
        "SELECT ra FROM dr1.object GROUP BY 1",
        "SELECT DISTINCT ra FROM dr1.object ORDER BY dec",
        "SELECT ra FROM dr1.object ORDER BY 2",
        "SELECT ra FROM dr1.object WHERE objectId IN (SELECT ra, dec FROM dr1.source)",
    ],
)
def test_rules_of_grouping_and_ordering(text: str) -> None:
    with pytest.raises(AdqlSyntaxError) as caught:
        check_query(text, LOOKUP)
    assert caught.value.position is not None


def test_grouping_by_expressions_and_correlated_columns(sky: Sky) -> None:
    assert sky.rows(
        "SELECT band * 2 AS b, COUNT(*) AS n FROM dr1.object GROUP BY band * 2 ORDER BY b"
    ) == [(2, 2), (4, 2), (6, 1)]
    assert sky.rows(
        "SELECT objectId FROM dr1.object AS o WHERE EXISTS (SELECT COUNT(*) FROM dr1.source AS s"
        " WHERE s.objectId = o.objectId GROUP BY s.objectId HAVING COUNT(*) > o.band) ORDER BY 1"
    ) == [(1,)]


def test_hostile_names_come_through() -> None:
    hostile = 'x"; DROP TABLE t; --'
    meta = TableMeta(schema='s"1', name="t'\n", columns=(column(hostile, "int"),))
    quoted = hostile.replace('"', '""')
    query = check_query(f'SELECT "{quoted}" FROM "s""1"."t\'\n"', Lookup(meta))
    assert query.columns[0].name == hostile
    with pytest.raises(AdqlTypeError):
        check_query(f'SELECT "{quoted}" || \'a\' AS x FROM "s""1"."t\'\n"', Lookup(meta))


def test_wide_tables_are_no_burden() -> None:
    wide = TableMeta(
        schema="s", name="wide", columns=tuple(column(f"c{n}", "double") for n in range(5000))
    )
    lookup = Lookup(wide)
    check_query("SELECT c1 FROM s.wide", lookup)
    start = time.process_time()
    for _ in range(10):
        check_query("SELECT c1, c4999 FROM s.wide WHERE c17 > 3", lookup)
    assert (time.process_time() - start) / 10 < 0.1
