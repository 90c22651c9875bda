"""The small side of a join: one table's own rows, read before the rest of a query is planned.

A join of pairs needs one of its tables in memory.  Where neither is, the one that the query's own
conditions leave few rows of can be read first.
"""

from __future__ import annotations

from collections.abc import Iterator

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
    walk,
)
from astrolabe.catalogs.planning.from_clauses import (
    joined_tables,
    kept_tables,
    relations,
    terms_of,
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
            if isinstance(node, Select)
            and node.source is not None
            and key in joined_tables(node.source)
        ),
        None,
    )
    if select is None or select.source is None or key not in kept_tables(select.source):
        return None
    source = next(table for table in checked.tables if table.key == key)
    terms = [
        term
        for condition in (select.where, *_inner_conditions(select.source, key))
        for term in terms_of(condition)
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


def _is_own(term: Expr, key: str) -> bool:
    """Tell whether a condition can be asked of one table's rows by themselves, and only once."""
    sources = set()
    for node in walk(term):
        if isinstance(node, Select) or (isinstance(node, Call) and node.name == "RAND"):
            return False
        if isinstance(node, ColumnRef):
            sources.add(node.source)
    return sources == {key}


def _inner_conditions(source: Relation, key: str) -> Iterator[Expr | None]:
    """Yield what the inner joins around a table ask for."""
    for node in relations(source):
        if isinstance(node, Join) and node.how == "inner" and key in joined_tables(node):
            yield node.condition
