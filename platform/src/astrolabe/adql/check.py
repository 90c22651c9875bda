"""From a query's text to its checked tree: the entrance of the package."""

from __future__ import annotations

from sqlglot import exp

from astrolabe.adql.checker import check_tree
from astrolabe.adql.deep import call_with_deep_stack
from astrolabe.adql.dialect import Adql
from astrolabe.adql.names import SchemaLookup
from astrolabe.adql.tree import CheckedQuery
from astrolabe.core.errors import AdqlSyntaxError

__all__ = ["check_query", "check_syntax", "parse"]

_DIALECT = Adql()


def parse(text: str) -> exp.Select:
    """Parse one ADQL query into sqlglot's nodes, as :class:`AdqlParser` describes them.

    Raises
    ------
    AdqlSyntaxError
        Raised if the text is not one ADQL query.
    AdqlUnsupportedError
        Raised for what other dialects have and ADQL lacks, and for optional parts that are not
        offered; names the ADQL way.
    """
    trees = _DIALECT.parse(text)
    if len(trees) != 1 or not isinstance(trees[0], exp.Select):
        raise AdqlSyntaxError("There is no query; it begins with SELECT")
    return trees[0]


def check_query(
    text: str, lookup: SchemaLookup, *, default_schema: str | None = None
) -> CheckedQuery:
    """Parse a query and check it against the schema.

    Safe to call from many threads.

    Parameters
    ----------
    text
        One ADQL query; a semicolon may end it.
    lookup
        The tables that the user may read.
    default_schema
        Raw name of the schema where unqualified tables are looked for after `lookup` itself found
        none.

    Raises
    ------
    QueryError
        Raised if the query is wrong: one of its subclasses, each with position and, for names,
        suggestions.
    """

    def work() -> CheckedQuery:
        return check_tree(parse(text), text, lookup, default_schema)

    return call_with_deep_stack(work)


def check_syntax(text: str) -> None:
    """Check all of a query that can be checked without a schema.

    Names are taken to exist and columns to have the type that is needed; everything else is
    checked as in :func:`check_query`.

    Raises
    ------
    QueryError
        Raised if the query is wrong.
    """

    def work() -> CheckedQuery:
        return check_tree(parse(text), text, None, None)

    call_with_deep_stack(work)
