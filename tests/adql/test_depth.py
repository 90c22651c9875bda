"""Very deep and very long queries are answered or refused, clearly and quickly."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from astrolabe.adql import check_query, check_syntax
from astrolabe.core.errors import AdqlSyntaxError, QueryError

from .support import LOOKUP, Sky, emit


def _nested(opening: str, inner: str, closing: str, depth: int) -> str:
    return opening * depth + inner + closing * depth


DEEP: dict[str, Callable[[int], str]] = {
    "parentheses": lambda n: f"SELECT {_nested('(', '1', ')', n)} AS x FROM dr1.object",
    "functions": lambda n: f"SELECT {_nested('ABS(', '1', ')', n)} AS x FROM dr1.object",
    "conditions": lambda n: f"SELECT ra FROM dr1.object WHERE {_nested('(', 'ra > 1', ')', n)}",
    "negations": lambda n: f"SELECT ra FROM dr1.object WHERE {_nested('NOT (', 'ra > 1', ')', n)}",
    "signs": lambda n: f"SELECT {_nested('-(', 'ra', ')', n)} AS x FROM dr1.object",
    "sums": lambda n: f"SELECT {_nested('(1 + ', 'ra', ')', n)} AS x FROM dr1.object",
    "subqueries": lambda n: _nested("SELECT * FROM (", "SELECT ra FROM dr1.object", ") AS q", n),
    "mixed": lambda n: (
        "SELECT ra FROM dr1.object WHERE "
        + _nested("(ra > 1 OR NOT (dec < 2 AND ", "ra > 1", "))", n)
    ),
}


@pytest.mark.parametrize("kind", DEEP)
def test_ten_thousand_levels_are_refused_at_once(kind: str) -> None:
    start = time.monotonic()
    with pytest.raises(AdqlSyntaxError, match="nested") as caught:
        check_query(DEEP[kind](10_000), LOOKUP)
    assert caught.value.position is not None
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("kind", DEEP)
def test_a_hundred_levels_work(sky: Sky, kind: str) -> None:
    text = DEEP[kind](40 if kind in ("subqueries", "mixed") else 95)
    assert sky.rows(text)


def test_chains_without_parentheses_are_bounded() -> None:
    for text in ("NOT " * 10_000 + "ra > 1", "- " * 10_000 + "ra > 1"):
        with pytest.raises(AdqlSyntaxError):
            check_query("SELECT ra FROM dr1.object WHERE " + text, LOOKUP)


@pytest.mark.slow
@pytest.mark.parametrize("joiner", [" AND ", " OR "])
def test_long_chains_of_conditions_work(sky: Sky, joiner: str) -> None:
    text = "SELECT COUNT(*) AS n FROM dr1.object WHERE {}"
    terms = [f"ra <> {n}.25" for n in range(5000)]
    assert emit(check_query(text.format(joiner.join(terms)), LOOKUP)).count("<>") == 5000
    # DuckDB's own time to plan ANDs grows with their square.
    assert sky.rows(text.format(joiner.join(terms[1:300]))) == [(5,)]


def test_long_lists_work(sky: Sky) -> None:
    numbers = ", ".join(str(n) for n in range(5000))
    ((count,),) = sky.rows(f"SELECT COUNT(*) AS n FROM dr1.object WHERE objectId IN ({numbers})")
    assert count == 5


@pytest.mark.slow
@pytest.mark.parametrize("operator", ["+", "*", "||"])
def test_long_chains_of_operators_are_answered_or_refused(sky: Sky, operator: str) -> None:
    value = "'a'" if operator == "||" else "1"
    expression = f" {operator} ".join([value] * 150)
    assert sky.value(expression) in (150, 1, "a" * 150)
    with pytest.raises(QueryError, match="simplify"):
        check_query(f"SELECT {f' {operator} '.join([value] * 5000)} AS x FROM dr1.object", LOOKUP)


def test_deep_queries_work_from_many_threads_and_deep_stacks() -> None:
    text = DEEP["functions"](150)

    def at_depth(levels: int) -> str:
        return emit(check_query(text, LOOKUP)) if levels == 0 else at_depth(levels - 1)

    with ThreadPoolExecutor(4) as pool:
        results = set(pool.map(at_depth, [0, 100, 300, 500] * 3))
    assert len(results) == 1
    assert sys.getrecursionlimit() >= 1000


def test_parsing_is_safe_in_threads() -> None:
    texts = [f"SELECT TOP {n} ra AS c{n} FROM dr1.object WHERE ra > {n}" for n in range(200)]
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda text: check_query(text, LOOKUP).columns[0].name, texts))
    assert names == [f"c{n}" for n in range(200)]
    check_syntax(texts[0])
