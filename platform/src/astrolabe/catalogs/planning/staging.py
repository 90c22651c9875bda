"""The small side of a join: one table's own rows, read before the rest of a query is planned.

A join of pairs needs one of its tables in memory.  Where neither is, the one that the query's own
conditions leave few rows of can be read first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from astrolabe.adql.kinds import GEOMETRIES, kind_of
from astrolabe.adql.tree import (
    And,
    Call,
    CheckedQuery,
    ColumnRef,
    Expr,
    GeometryColumn,
    Join,
    Kind,
    Relation,
    Select,
    SelectItem,
    TableSource,
    walk,
)

__all__ = ["own_rows"]


def own_rows(checked: CheckedQuery, key: str) -> CheckedQuery | None:
    """Return the query for the rows of one table that its own conditions leave.

    Parameters
    ----------
    checked
        The whole query.
    key
        Of the `TableSource`.

    Returns
    -------
    CheckedQuery or None
        It gives every column that the whole query reads, by its raw name; `None` where rows of
        nulls can stand in for the table's, so that its conditions cannot be asked of it alone.
    """
    select = next(
        (
            node
            for node in walk(checked.root)
            if isinstance(node, Select) and node.source is not None and _has(node.source, key)
        ),
        None,
    )
    if select is None or select.source is None or key not in set(_kept(select.source)):
        return None
    source = next(table for table in checked.tables if table.key == key)
    terms = [
        term
        for condition in (select.where, *_inner_conditions(select.source, key))
        for term in _terms(condition)
        if _is_own(term, key)
    ]
    wanted = checked.used_columns[key]
    columns = tuple(column for column in source.table.columns if column.name in wanted)
    items = []
    for column in columns:
        kind = kind_of(column)
        plain = ColumnRef(kind, key, column)
        shown: Expr = GeometryColumn(kind, plain) if kind in GEOMETRIES else plain
        items.append(SelectItem(shown, column))
    where = None
    if terms:
        where = terms[0] if len(terms) == 1 else And(Kind.BOOLEAN, tuple(terms))
    return CheckedQuery(
        text=checked.text,
        root=Select(items=tuple(items), source=source, where=where),
        columns=columns,
        tables=(source,),
        used_columns={key: wanted},
    )


def _terms(condition: Expr | None) -> Sequence[Expr]:
    if isinstance(condition, And):
        return [part for term in condition.terms for part in _terms(term)]
    return [] if condition is None else [condition]


def _is_own(term: Expr, key: str) -> bool:
    """Tell whether a condition can be asked of one table's rows by themselves, and only once."""
    sources = set()
    for node in walk(term):
        if isinstance(node, Select) or (isinstance(node, Call) and node.name == "RAND"):
            return False
        if isinstance(node, ColumnRef):
            sources.add(node.source)
    return sources == {key}


def _has(source: Relation, key: str) -> bool:
    if isinstance(source, Join):
        return _has(source.left, key) or _has(source.right, key)
    return isinstance(source, TableSource) and source.key == key


def _kept(source: Relation) -> Iterator[str]:
    """Yield the keys of the tables of which no row of nulls can stand in."""
    if isinstance(source, TableSource):
        yield source.key
    elif isinstance(source, Join):
        if source.how in ("inner", "cross", "left"):
            yield from _kept(source.left)
        if source.how in ("inner", "cross", "right"):
            yield from _kept(source.right)


def _inner_conditions(source: Relation, key: str) -> Iterator[Expr | None]:
    """Yield what the inner joins around a table ask for."""
    if isinstance(source, Join) and _has(source, key):
        if source.how == "inner":
            yield source.condition
        yield from _inner_conditions(source.left, key)
        yield from _inner_conditions(source.right, key)
