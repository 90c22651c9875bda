"""Which columns of a result name rows of tables, so that services can be asked of these rows."""

from __future__ import annotations

from collections.abc import Iterator

from astrolabe.adql.tree import (
    CheckedQuery,
    ColumnRef,
    Expr,
    Join,
    Relation,
    Select,
    SubquerySource,
    TableSource,
)
from astrolabe.catalogs.light_curves import light_curve_tables
from astrolabe.catalogs.model import CatalogView
from astrolabe.catalogs.view import StoredView
from astrolabe.tables.model import IdentifierColumn, TableMeta

__all__ = ["OBSCORE_TABLE", "find_identifiers"]

OBSCORE_TABLE = "ivoa.obscore"
"""ObsCore's table in lower case: its rows are images."""

OBSCORE_ID_COLUMN = "obs_publisher_did"

_DEEPEST = 20


def find_identifiers(checked: CheckedQuery, view: CatalogView) -> tuple[IdentifierColumn, ...]:
    """Return the columns of a query's result that name rows of tables of `view`.

    A column does if it is a table's main identifier, or the key by which a table's rows belong to
    those of another.  Where two columns name rows of the same table, the first is returned.

    Parameters
    ----------
    checked
        The query.
    view
        The catalog as the caller may see it.
    """
    if not isinstance(view, StoredView):
        return ()
    found: dict[str, IdentifierColumn] = {}
    for item, column in zip(checked.root.items, checked.columns, strict=True):
        origin = _origin(item.expr, checked.root, _DEEPEST)
        if origin is None:
            continue
        for table in _tables_named(*origin, view):
            if table.qualified_name not in found:
                found[table.qualified_name] = IdentifierColumn(
                    column=column.name,
                    table=table.qualified_name,
                    light_curves=tuple(
                        found.meta.adql_name for found in light_curve_tables(view, table)
                    ),
                )
    return tuple(found.values())


def _is_image_id(table: TableMeta, column: str) -> bool:
    """Whether a column is ObsCore's identifier of an image, whatever the main id is."""
    return table.qualified_name.lower() == OBSCORE_TABLE and column.lower() == OBSCORE_ID_COLUMN


def _origin(expr: Expr, select: Select, depth: int) -> tuple[TableMeta, str] | None:
    """Return the table and the raw column that an expression is, if it is one."""
    if not isinstance(expr, ColumnRef) or select.source is None or depth == 0:
        return None
    for relation in _leaves(select.source):
        if isinstance(relation, TableSource) and relation.key == expr.source:
            return relation.table, expr.column.name
        if isinstance(relation, SubquerySource) and relation.key == expr.source:
            inner = next(
                (i for i in relation.query.items if i.column.name == expr.column.name), None
            )
            return None if inner is None else _origin(inner.expr, relation.query, depth - 1)
    return None


def _leaves(relation: Relation) -> Iterator[Relation]:
    if isinstance(relation, Join):
        yield from _leaves(relation.left)
        yield from _leaves(relation.right)
    else:
        yield relation


def _tables_named(table: TableMeta, column: str, view: StoredView) -> Iterator[TableMeta]:
    """Yield the tables whose rows a column names."""
    entry = view.entries.get((table.schema, table.name))
    if entry is None:
        return
    if table.id_column == column or _is_image_id(table, column):
        yield table
    named = [(link.table, link.director_key) for link in entry.links if link.key == column]
    named += [
        (key.target_table, key.columns[0][1])
        for key in table.keys
        if len(key.columns) == 1 and key.columns[0][0] == column
    ]
    for qualified, target_column in named:
        schema, _, name = qualified.partition(".")
        target = view.entries.get((schema, name))
        if target is not None and target.meta.id_column == target_column:
            yield target.meta
