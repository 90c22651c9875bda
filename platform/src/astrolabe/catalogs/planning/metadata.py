"""Queries that are answered without reading a row."""

from __future__ import annotations

import pyarrow as pa

from astrolabe.adql.tree import Aggregate, CheckedQuery, TableSource
from astrolabe.catalogs.model import CatalogView
from astrolabe.tables.model import arrow_type

__all__ = ["metadata_answer"]


def metadata_answer(checked: CheckedQuery, view: CatalogView) -> pa.Table | None:
    """Return the whole answer if the catalog's own figures hold it, else `None`.

    That is now ``SELECT COUNT(*) FROM table``, under any name and as often as it is asked for.

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
    for item in root.items:
        if not (
            isinstance(item.expr, Aggregate)
            and item.expr.name == "COUNT"
            and item.expr.operand is None
        ):
            return None
    version = view.table(source.table.schema, source.table.name)
    if version is None:
        return None
    rows = int(version.index.rows.sum())
    arrays = [pa.array([rows], type=arrow_type(column)) for column in checked.columns]
    return pa.table(arrays, names=[column.name for column in checked.columns])
