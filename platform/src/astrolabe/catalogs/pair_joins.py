"""Joins of positions with footprints, made ready before a query is planned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

import pyarrow as pa

from astrolabe.adql.deep import call_with_deep_stack
from astrolabe.adql.tree import CheckedQuery
from astrolabe.catalogs.planning.pairing import (
    PairedQuery,
    PairJoin,
    find_pair_joins,
    paired_query,
)
from astrolabe.catalogs.planning.staging import own_rows

__all__ = ["MOST_STAGED_ROWS", "ReadRows", "SizeOf", "with_pairs"]

MOST_STAGED_ROWS: Final = 100_000
"""Rows of a table that are read into memory to be joined with those of another."""

ReadRows = Callable[[CheckedQuery, int], pa.Table | None]
"""Reads the rows of a small query of one table; `None` if they are more than a number."""

SizeOf = Callable[[CheckedQuery], int]
"""Tells how many rows such a query looks at."""


def with_pairs(
    checked: CheckedQuery,
    memory_tables: Mapping[str, pa.Table],
    *,
    size_of: SizeOf,
    read: ReadRows,
) -> PairedQuery | None:
    """Return a query with its joins of positions and footprints answered pair by pair.

    Where neither side of such a join is in memory, the one that the query's own conditions leave
    few rows of is read first.

    Parameters
    ----------
    checked
        The query.
    memory_tables
        By `TableSource` key, tables whose rows are in memory.
    size_of, read
        How large the rows of one table are, and the rows.

    Returns
    -------
    PairedQuery or None
        `None` if it has no such join.
    """
    joins = find_pair_joins(checked)
    if not joins:
        return None
    memory = dict(memory_tables)
    for join in joins:
        sides = {join.circles[0], join.shapes[0]}
        if sides & memory.keys():
            continue
        for key, query in _candidates(checked, join, size_of):
            rows = read(query, MOST_STAGED_ROWS)
            if rows is not None:
                memory[key] = rows
                break
    return paired_query(checked, joins, memory)


def _candidates(
    checked: CheckedQuery, join: PairJoin, size_of: SizeOf
) -> list[tuple[str, CheckedQuery]]:
    """Return the sides of a join that may be read first, the more promising one first."""
    found = []
    for key in join.streamed:
        other = join.other(key)
        query = call_with_deep_stack(partial(own_rows, checked, other))
        if query is None:
            continue
        size = size_of(query)
        has_condition = query.root.where is not None
        if has_condition or size <= MOST_STAGED_ROWS:
            order = (size > MOST_STAGED_ROWS, not has_condition, size)
            found.append((order, other, query))
    found.sort(key=lambda each: each[0])
    return [(other, query) for _, other, query in found]
