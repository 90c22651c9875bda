"""Queries that are answered without reading a row."""

from __future__ import annotations

import pyarrow as pa

from astrolabe.adql.tree import Aggregate, CheckedQuery, ColumnRef, Expr, TableSource
from astrolabe.catalogs.model import CatalogView, PartitionIndex
from astrolabe.tables.model import TableMeta, arrow_type

__all__ = ["metadata_answer"]


def metadata_answer(checked: CheckedQuery, view: CatalogView) -> pa.Table | None:
    """Return the whole answer if the catalog's own figures hold it, else `None`.

    That is ``SELECT COUNT(*), MIN(id), MAX(id) FROM table``, any of the three in any order, where
    ``id`` is an integer main identifier: its limits in each row group are exact.

    Parameters
    ----------
    checked
        The query.
    view
        The catalog; tables that are not in it (uploads, TAP_SCHEMA) are not answered for.
    """
    root = checked.root
    source = root.source
    plain = (
        root.where is None
        and not root.group_by
        and root.having is None
        and root.top != 0
        and not root.offset
    )
    if not (plain and isinstance(source, TableSource) and root.items):
        return None
    # The index is loaded for those queries only that it can answer.
    if not all(_is_known(item.expr, source.table) for item in root.items):
        return None
    version = view.table(source.table.schema, source.table.name)
    if version is None or version.row_filter is not None:
        return None
    values = [_value(item.expr, version.index) for item in root.items]
    if None in values:
        return None
    arrays = [
        pa.array([value], type=arrow_type(column))
        for value, column in zip(values, checked.columns, strict=True)
    ]
    return pa.table(arrays, names=[column.name for column in checked.columns])


def _is_known(expr: Expr, table: TableMeta) -> bool:
    """Tell whether the index may hold the value of an item."""
    if not isinstance(expr, Aggregate):
        return False
    if expr.operand is None:
        return expr.name == "COUNT"
    return (
        expr.name in ("MIN", "MAX")
        and isinstance(expr.operand, ColumnRef)
        and expr.operand.column.name == table.id_column
    )


def _value(expr: Expr, index: PartitionIndex) -> int | None:
    if not isinstance(expr, Aggregate) or expr.operand is None:
        return int(index.rows.sum())
    limits = index.group_id_min if expr.name == "MIN" else index.group_id_max
    if limits is None or not len(limits):
        return None
    return int(limits.min() if expr.name == "MIN" else limits.max())
