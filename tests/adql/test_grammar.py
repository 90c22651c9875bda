"""What is ADQL and what is not, without a schema."""

from __future__ import annotations

import re

import pytest

from astrolabe.adql import check_syntax
from astrolabe.core.errors import AdqlSyntaxError, AdqlUnsupportedError, QueryError

ACCEPTED = '''
SELECT a FROM t
select A from T
SELECT ALL a FROM t
SELECT DISTINCT TOP 5 a FROM t
SELECT TOP 0 * FROM s.t
SELECT t.*, u.a FROM t, u
SELECT s.t.* FROM s.t
SELECT a AS b, c d, "e" "f g" FROM "my table" AS "T"
SELECT "he said ""hi""" FROM t
SELECT 'it''s', '', '--' FROM t
SELECT 1, 1., .5, 1.5, 1e5, 1.5E-3, .5e+2 FROM t
SELECT -a, +a, a - -1, a + (-b) FROM t
SELECT a -- the first
SELECT a FROM t -- and the last
SELECT a + b * c / d - e FROM t
SELECT a || 'x' || b FROM t
SELECT a FROM t WHERE a = 1 AND b <> 2 OR NOT c != 3
SELECT a FROM t WHERE (a < 1 OR (b > 2)) AND (c + d) <= (e)
SELECT a FROM t WHERE a BETWEEN 1 AND 2 AND b NOT BETWEEN 3 AND 4
SELECT a FROM t WHERE a IN (1, 2) AND b NOT IN ('x')
SELECT a FROM t WHERE a IN (SELECT b FROM u) AND EXISTS (SELECT * FROM v WHERE v.x = t.a)
SELECT a FROM t WHERE a LIKE 'x%' AND b NOT LIKE '_y' OR c ILIKE 'Z' OR d NOT ILIKE 'q'
SELECT a FROM t WHERE a IS NULL AND b IS NOT NULL
SELECT NULL FROM t
SELECT a FROM t JOIN u ON t.x = u.x
SELECT a FROM t INNER JOIN u USING (x, y)
SELECT a FROM t LEFT OUTER JOIN u ON t.x = u.x RIGHT JOIN v USING (z) FULL JOIN w ON 1 = 1
SELECT a FROM t NATURAL JOIN u NATURAL LEFT OUTER JOIN v
SELECT a FROM t JOIN u
SELECT a FROM (t JOIN u ON t.x = u.x) JOIN (v NATURAL JOIN w) ON t.y = v.y
SELECT a FROM t, (u JOIN v USING (x))
SELECT q.a FROM (SELECT a FROM t) AS q, (SELECT b FROM u) r
SELECT a FROM ((SELECT a FROM t)) AS q
(SELECT a FROM t)
SELECT COUNT(*), COUNT(DISTINCT a), SUM(ALL b), AVG(c), MIN(d), MAX(e) FROM t
SELECT a, COUNT(*) FROM t GROUP BY a HAVING COUNT(*) > 1
SELECT a FROM t ORDER BY a, b DESC, 1 ASC, t.c, a + b
SELECT a FROM t ORDER BY a OFFSET 10
SELECT TOP 3 a FROM t OFFSET 2
SELECT ABS(a), CEILING(a), DEGREES(a), EXP(a), FLOOR(a), LOG(a), LOG10(a), MOD(a, 2) FROM t
SELECT PI(), POWER(a, 2), RADIANS(a), RAND(), RAND(3), ROUND(a), ROUND(a, 2) FROM t
SELECT SQRT(a), TRUNCATE(a), TRUNCATE(a, 1), ACOS(a), ASIN(a), ATAN(a), ATAN2(a, b) FROM t
SELECT COS(a), COT(a), SIN(a), TAN(a), LOWER(b), UPPER(b), COALESCE(a, b, 0) FROM t
SELECT POINT(a, b), POINT('ICRS', a, b), POINT('', a, b), POINT('ICRS GEOCENTER', a, b) FROM t
SELECT CIRCLE(a, b, 1), CIRCLE('ICRS', a, b, 1), CIRCLE(POINT(a, b), 1), CIRCLE('', c, 1) FROM t
SELECT BOX(a, b, 1, 2), BOX('ICRS', a, b, 1, 2), BOX(POINT(a, b), 1, 2) FROM t
SELECT POLYGON(1, 2, 3, 4, 5, 7), POLYGON('ICRS', POINT(1, 2), POINT(3, 4), POINT(5, 7)) FROM t
SELECT DISTANCE(POINT(a, b), POINT(c, d)), DISTANCE(a, b, c, d) FROM t
SELECT AREA(CIRCLE(a, b, 1)), CENTROID(c), COORD1(p), COORD2(p), COORDSYS(p) FROM t
SELECT a FROM t WHERE 1 = CONTAINS(POINT(a, b), CIRCLE(1, 2, 3)) AND INTERSECTS(c, d) = 0
SELECT a FROM t;
'''

REFUSED: list[tuple[str, type[QueryError], str]] = [
    ("", AdqlSyntaxError, "begins with SELECT"),
    ("   -- nothing", AdqlSyntaxError, "begins with SELECT"),
    ("SELECT a FROM t LIMIT 5", AdqlUnsupportedError, "TOP"),
    ("SELECT a FROM t WHERE b = 1 LIMIT 5", AdqlUnsupportedError, "TOP"),
    ("SELECT a FROM t ORDER BY a FETCH FIRST 5 ROWS ONLY", AdqlUnsupportedError, "TOP"),
    ("SELECT CASE WHEN a = 1 THEN 2 END FROM t", AdqlUnsupportedError, "CASE"),
    ("SELECT a FROM t WHERE b % 2 = 0", AdqlUnsupportedError, "MOD"),
    ("SELECT a::int FROM t", AdqlUnsupportedError, "CAST"),
    ("SELECT a ^ 2 FROM t", AdqlUnsupportedError, "POWER"),
    ("SELECT a & b FROM t", AdqlUnsupportedError, "bitwise"),
    ("SELECT a | b FROM t", AdqlUnsupportedError, r"\|\|"),
    ("SELECT a FROM t WHERE a == 1", AdqlUnsupportedError, "single ="),
    ("SELECT `a` FROM t", AdqlUnsupportedError, "double quotes"),
    ("SELECT a[1] FROM t", AdqlUnsupportedError, "arrays"),
    ("SELECT a /* no */ FROM t", AdqlUnsupportedError, "--"),
    ("SELECT a # no\nFROM t", AdqlUnsupportedError, "--"),
    ("SELECT rank() OVER (ORDER BY a) FROM t", AdqlUnsupportedError, "window"),
    ("INSERT INTO t VALUES (1)", AdqlUnsupportedError, "only reads"),
    ("DROP TABLE t", AdqlUnsupportedError, "only reads"),
    ("SELECT a INTO b FROM t", AdqlUnsupportedError, "only reads"),
    ("SELECT a FROM t; SELECT b FROM u", AdqlSyntaxError, "One query"),
    ("SELECT a FROM t; DROP TABLE t", AdqlUnsupportedError, "only reads"),
    ("SELECT a FROM t;;", AdqlSyntaxError, ""),
    ("SELECT a, FROM t", AdqlSyntaxError, "column or a value"),
    ("SELECT FROM t", AdqlSyntaxError, "column or a value"),
    ("SELECT a", AdqlSyntaxError, "FROM"),
    ("SELECT a FROM", AdqlSyntaxError, "table's name"),
    ("SELECT a FROM t WHERE", AdqlSyntaxError, "value"),
    ("SELECT a FROM t WHERE a < 2 AND", AdqlSyntaxError, "value"),
    ("SELECT a FROM t WHERE (a < 2", AdqlSyntaxError, "\\)"),
    ("SELECT a FROM t WHERE a < 2)", AdqlSyntaxError, "end of the query"),
    ("SELECT a FROM t WHERE a", AdqlSyntaxError, "not a condition"),
    ("SELECT a FROM t WHERE CONTAINS(a, b)", AdqlSyntaxError, "1 = CONTAINS"),
    ("SELECT a = 1 FROM t", AdqlSyntaxError, "."),
    ("SELECT (a = 1) FROM t", AdqlSyntaxError, "not a value"),
    ("SELECT a FROM t WHERE 1 < a < 3", AdqlSyntaxError, "not a value"),
    ("SELECT a FROM t WHERE NOT NOT a = 1", AdqlSyntaxError, "one NOT"),
    ("SELECT + - a FROM t", AdqlSyntaxError, "one sign"),
    ("SELECT a FROM t WHERE a IS 3", AdqlSyntaxError, "IS NULL"),
    ("SELECT a FROM t WHERE a IN ()", AdqlSyntaxError, "value"),
    ("SELECT a FROM t WHERE a IN (1,)", AdqlSyntaxError, "value"),
    ("SELECT a FROM t WHERE a IN 5", AdqlSyntaxError, "parentheses"),
    ("SELECT a FROM t WHERE EXISTS z", AdqlSyntaxError, "subquery"),
    ("SELECT a FROM t WHERE (a, b) = (1, 2)", AdqlUnsupportedError, "column by column"),
    ("SELECT a FROM t WHERE a = (SELECT max(b) FROM u)", AdqlUnsupportedError, "subquery"),
    ("SELECT a FROM t WHERE a = ANY (SELECT b FROM u)", AdqlUnsupportedError, "EXISTS"),
    ("SELECT a FROM t WHERE a = true", AdqlUnsupportedError, "'true'"),
    ("SELECT a FROM t WHERE a LIKE 'x' ESCAPE '!'", AdqlUnsupportedError, "ESCAPE"),
    ("SELECT 'a' 'b' FROM t", AdqlSyntaxError, "\\|\\|"),
    ("SELECT 'a FROM t", AdqlSyntaxError, "never closed"),
    ('SELECT "a FROM t', AdqlSyntaxError, "never closed"),
    ('SELECT "" FROM t', AdqlSyntaxError, "empty"),
    ("SELECT _a FROM t", AdqlSyntaxError, '"_a"'),
    ("SELECT size FROM t", AdqlSyntaxError, '"size"'),
    ("SELECT a AS max FROM t", AdqlSyntaxError, '"max"'),
    ("SELECT a FROM table", AdqlSyntaxError, '"table"'),
    ("SELECT gr\u00fcn FROM t", AdqlSyntaxError, "\u00fc"),
    ("SELECT $a FROM t", AdqlSyntaxError, "\\$"),
    ("SELECT 0x1F FROM t", AdqlSyntaxError, "0x1F"),
    ("SELECT 1.2.3 FROM t", AdqlSyntaxError, "1.2"),
    ("SELECT 1e FROM t", AdqlSyntaxError, "1e"),
    ('SELECT "a"b FROM t', AdqlSyntaxError, "space"),
    ("SELECT TOP x a FROM t", AdqlSyntaxError, "whole number"),
    ("SELECT TOP -1 a FROM t", AdqlSyntaxError, "whole number"),
    ("SELECT TOP 1.5 a FROM t", AdqlSyntaxError, "whole number"),
    ("SELECT TOP 99999999999999999999 a FROM t", AdqlSyntaxError, "too large"),
    ("SELECT TOP 5 DISTINCT a FROM t", AdqlSyntaxError, "DISTINCT"),
    ("SELECT *, a FROM t", AdqlSyntaxError, "whole SELECT list"),
    ("SELECT a, * FROM t", AdqlSyntaxError, "value"),
    ("SELECT a FROM t OFFSET x", AdqlSyntaxError, "whole number"),
    ("SELECT a.b.c.d.e FROM t", AdqlSyntaxError, "at most"),
    ("SELECT a FROM b.c.d.e", AdqlSyntaxError, "at most"),
    ("SELECT a FROM (SELECT b FROM t)", AdqlSyntaxError, "alias"),
    ("SELECT a FROM (t)", AdqlSyntaxError, "join"),
    ("SELECT a FROM t CROSS JOIN u", AdqlUnsupportedError, "comma"),
    ("SELECT a FROM t LEFT JOIN u", AdqlSyntaxError, "ON or USING"),
    ("SELECT a FROM t NATURAL JOIN u ON a = b", AdqlSyntaxError, "end of the query"),
    ("SELECT a FROM t JOIN u ON a", AdqlSyntaxError, "not a condition"),
    ("SELECT a FROM t JOIN u USING (t.a)", AdqlSyntaxError, "without a table"),
    ("SELECT a FROM t TABLESAMPLE 5", AdqlUnsupportedError, "TABLESAMPLE"),
    ("SELECT a FROM f(3)", AdqlUnsupportedError, "table functions"),
    ("SELECT a FROM t ORDER BY a NULLS FIRST", AdqlUnsupportedError, "nulls come last"),
    ("SELECT ABS() FROM t", AdqlSyntaxError, "1 argument"),
    ("SELECT ABS(a, b) FROM t", AdqlSyntaxError, "1 argument"),
    ("SELECT ABS(DISTINCT a) FROM t", AdqlSyntaxError, "DISTINCT"),
    ("SELECT SUM(*) FROM t", AdqlSyntaxError, "value"),
    ("SELECT PI FROM t", AdqlSyntaxError, "reserved"),
    ("SELECT COUNT() FROM t", AdqlSyntaxError, "1 argument"),
    ("SELECT POLYGON(1, 2, 3, 4, 5) FROM t", AdqlSyntaxError, "pairs"),
    ("SELECT POLYGON(1, 2, 3, 4) FROM t", AdqlSyntaxError, "3 vertices"),
    ("SELECT POINT(1) FROM t", AdqlSyntaxError, "2 arguments"),
    ("SELECT DISTANCE(a, b, c) FROM t", AdqlSyntaxError, "2 or 4"),
    ("SELECT a FROM t UNION SELECT b FROM u", AdqlUnsupportedError, "UNION"),
    ("SELECT a FROM t EXCEPT SELECT b FROM u", AdqlUnsupportedError, "EXCEPT"),
    ("SELECT a FROM (SELECT a FROM t INTERSECT SELECT b FROM u) AS q", AdqlUnsupportedError, "IN"),
    ("WITH x AS (SELECT a FROM t) SELECT a FROM x", AdqlUnsupportedError, "WITH"),
    ("SELECT CAST(a AS INTEGER) FROM t", AdqlUnsupportedError, "CAST"),
    ("SELECT IN_UNIT(a, 'deg') FROM t", AdqlUnsupportedError, "IN_UNIT"),
    ("SELECT REGION('CIRCLE 1 2 3') FROM t", AdqlUnsupportedError, "REGION"),
    ("SELECT a FROM t WHERE b = 1 GARBAGE", AdqlSyntaxError, "end of the query"),
    ("SELECT a FROM t GROUP a", AdqlSyntaxError, "BY"),
    ("EXPLAIN SELECT a FROM t", AdqlUnsupportedError, "only reads"),
    ("hello", AdqlSyntaxError, "SELECT"),
    ("SELECT a FROM t WHERE b = {x}", AdqlSyntaxError, "no meaning"),
    ("SELECT a FROM t WHERE b = %s", AdqlUnsupportedError, "MOD"),
    ("SELECT a FROM t WHERE b = ?", AdqlUnsupportedError, "parameters"),
    ("SELECT a FROM t WHERE b = :x", AdqlUnsupportedError, "parameters"),
]


def _statements() -> list[str]:
    lines = [line for line in ACCEPTED.strip().splitlines() if line]
    return [line if "-- the first" not in line else line + "\nFROM t" for line in lines]


def test_a_byte_order_mark_is_blank() -> None:
    check_syntax("\ufeffSELECT a FROM t")


@pytest.mark.parametrize("text", _statements())
def test_adql_is_accepted(text: str) -> None:
    check_syntax(text)


@pytest.mark.parametrize(("text", "error", "message"), REFUSED, ids=[r[0] for r in REFUSED])
def test_the_rest_is_refused(text: str, error: type[QueryError], message: str) -> None:
    with pytest.raises(error) as caught:
        check_syntax(text)
    assert re.search(message, str(caught.value))


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("SELECT a\nFROM t\nLIMIT 5", 3, 1),
        ("SELECT a,\n  b % 2\nFROM t", 2, 5),
        ("SELECT a\r\nFROM t WHERE\r\n  c = 'x", 3, 7),
        ("SELECT a FROM t WHERE", 1, 22),
        ("SELECT  size FROM t", 1, 9),
        ("SELECT a FROM t WHERE x = 1 AND\n y", 2, 2),
        ("SELECT 'a\nb', c c c FROM t", 2, 9),
    ],
)
def test_errors_say_where(text: str, line: int, column: int) -> None:
    with pytest.raises(QueryError) as caught:
        check_syntax(text)
    position = caught.value.position
    assert position is not None
    assert (position.line, position.column) == (line, column)
    assert str(position) in str(caught.value)
