"""What people write that is not ADQL, and the ADQL way to say it."""

from __future__ import annotations

__all__ = ["FUNCTIONS", "LATER", "OPERATORS", "STATEMENTS", "WORDS"]

OPERATORS: dict[str, str] = {
    "%": "ADQL has no operator %; write MOD(a, b), and in a LIKE pattern put % inside the string",
    "==": "ADQL compares with a single =",
    "::": "ADQL has no ::; types are converted with CAST(x AS type), which is not offered here yet",
    ":": "ADQL has no parameters or array slices; write the value itself",
    "?": "ADQL has no parameters; write the value itself",
    "@": "ADQL has no variables; write the value itself",
    "^": "ADQL has no operator ^; write POWER(a, b)",
    "&": "ADQL has no bitwise operators",
    "|": "ADQL has no bitwise operators; strings are joined with ||",
    "~": "ADQL has no operator ~; patterns are matched with LIKE or ILIKE",
    "!": "ADQL has no operator !; write NOT, or <> for 'not equal'",
    "`": 'ADQL quotes names with double quotes: "name"',
    "[": 'ADQL has no arrays or brackets; names are quoted with double quotes: "name"',
    "]": 'ADQL has no arrays or brackets; names are quoted with double quotes: "name"',
    "/*": "ADQL has no /* */ comments; begin each line of a comment with --",
    "#": "ADQL has no # comments; begin a comment with --",
}
"""Operators of other dialects, by their text."""

WORDS: dict[str, str] = {
    "LIMIT": "ADQL has no LIMIT; write SELECT TOP n ...",
    "FETCH": "ADQL has no FETCH; write SELECT TOP n ...",
    "CASE": "ADQL has no CASE",
    "WINDOW": "ADQL has no window functions",
    "OVER": "ADQL has no window functions",
    "QUALIFY": "ADQL has no QUALIFY",
    "INTERVAL": "ADQL has no INTERVAL literals",
    "CURRENT_TIMESTAMP": "ADQL has no CURRENT_TIMESTAMP; write a timestamp as a string,"
    " 'YYYY-MM-DDThh:mm:ss'",
    "TRUE": "ADQL 2.1 has no boolean literals; compare with the string 'true' or 'false'",
    "FALSE": "ADQL 2.1 has no boolean literals; compare with the string 'true' or 'false'",
    "ESCAPE": "ADQL has no LIKE ... ESCAPE",
    "ANY": "ADQL has no ANY; write IN (SELECT ...) or EXISTS (SELECT ...)",
    "SOME": "ADQL has no SOME; write IN (SELECT ...) or EXISTS (SELECT ...)",
    "ALL": "ADQL has no comparison with ALL; write NOT EXISTS (SELECT ...)",
    "CROSS": "ADQL has no CROSS JOIN; separate the tables with a comma",
    "SIMILAR": "ADQL has no SIMILAR TO; write LIKE",
    "NULLIF": "ADQL has no NULLIF",
    "INTO": "ADQL only reads; SELECT ... INTO is not possible",
    "SUBSTRING": "ADQL has no SUBSTRING; match strings with LIKE",
    "TRIM": "ADQL has no TRIM",
    "CONVERT": "ADQL has no CONVERT",
    "EXTRACT": "ADQL has no EXTRACT",
    "POSITION": "ADQL has no POSITION function; match strings with LIKE",
}
"""Words of SQL that ADQL lacks; every one is refused where a value or a clause could stand."""

STATEMENTS: frozenset[str] = frozenset(
    [
        "ALTER",
        "ATTACH",
        "CALL",
        "COPY",
        "CREATE",
        "DELETE",
        "DESCRIBE",
        "DROP",
        "EXECUTE",
        "EXPLAIN",
        "GRANT",
        "INSERT",
        "INSTALL",
        "LOAD",
        "MERGE",
        "PRAGMA",
        "REPLACE",
        "REVOKE",
        "SET",
        "SHOW",
        "TRUNCATE",
        "UPDATE",
        "VALUES",
    ]
)
"""First words of statements that are not queries."""

LATER: dict[str, str] = {
    "WITH": "WITH (common table expressions) is not offered here yet;"
    " write the subquery in FROM, with an alias",
    "UNION": "UNION is not offered here yet; run the queries one after the other",
    "EXCEPT": "EXCEPT is not offered here yet;"
    " write NOT EXISTS (SELECT ...) or NOT IN (SELECT ...)",
    "INTERSECT": "INTERSECT is not offered here yet; write EXISTS (SELECT ...) or IN (SELECT ...)",
    "CAST": "CAST is not offered here yet",
    "IN_UNIT": "IN_UNIT is not offered here yet; multiply by the factor between the units",
    "REGION": "REGION is not offered here; write POINT, CIRCLE, BOX or POLYGON",
}
"""Optional parts of ADQL 2.1 that are not there (yet)."""

FUNCTIONS: dict[str, str] = {
    "POW": "POWER",
    "LN": "LOG",
    "CEIL": "CEILING",
    "TRUNC": "TRUNCATE",
    "RANDOM": "RAND",
    "ARCCOS": "ACOS",
    "ARCSIN": "ASIN",
    "ARCTAN": "ATAN",
    "MEAN": "AVG",
    "LCASE": "LOWER",
    "UCASE": "UPPER",
    "IFNULL": "COALESCE",
    "NVL": "COALESCE",
}
"""Functions of other dialects by ADQL's name."""
