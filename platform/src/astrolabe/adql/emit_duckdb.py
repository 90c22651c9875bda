"""Writes a checked query as DuckDB's SQL.

The SQL is built from the checked tree alone: nothing of the user's text gets into it but values,
as literals.  Every expression has exactly the type that the checked tree says (casts see to it)
and follows ``docs/reference/adql.md`` where engines differ: integer division by zero is NULL,
impossible floating-point results are NaN, and NaN counts as NULL in every condition, in grouping,
ordering and aggregates (DuckDB itself takes NaN for the largest number and for equal to itself).
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from typing_extensions import override

from astrolabe.adql import sql
from astrolabe.adql.deep import call_with_deep_stack
from astrolabe.adql.emit_conditions import ConditionEmitter
from astrolabe.adql.tree import (
    CheckedQuery,
    Join,
    Relation,
    Select,
    SubquerySource,
    TableSource,
)
from astrolabe.core.errors import InternalError

__all__ = ["to_duckdb"]

_DIALECT = DuckDB()
_SIDES = {"left": "LEFT", "right": "RIGHT", "full": "FULL"}


def to_duckdb(query: CheckedQuery, relations: Mapping[str, exp.Expression]) -> str:
    """Return the SQL of a checked query for DuckDB.

    Parameters
    ----------
    query
        The checked query.
    relations
        For each key of ``query.tables`` what its rows are read from: a table, a table function or
        a subquery, as a sqlglot node without an alias.  It must give the columns of
        ``query.used_columns`` by their raw names.

    Returns
    -------
    str
        One SELECT whose columns are named and ordered as ``query.columns``.
    """
    return call_with_deep_stack(
        lambda: _DIALECT.generate(_Emitter(relations).select(query.root), copy=False)
    )


class _Emitter(ConditionEmitter):
    def __init__(self, relations: Mapping[str, exp.Expression]) -> None:
        super().__init__()
        self._relations = relations

    @override
    def select(
        self, select: Select, *, existence: bool = False, comparable: bool = False
    ) -> exp.Expression:
        value = self.comparable if select.distinct or comparable else self.value
        args: dict[str, object] = {}
        with self.grouped_by(select.group_by):
            args["expressions"] = [
                exp.Alias(
                    this=value(item.expr),
                    alias=sql.identifier(item.column.name),
                )
                for item in select.items
            ]
        if select.distinct:
            args["distinct"] = exp.Distinct()
        with self.grouped_by(()):
            args |= self._rows(select)
        with self.grouped_by(select.group_by):
            if select.having is not None:
                args["having"] = exp.Having(this=self.condition(select.having))
            if select.order_by and not existence:
                args["order"] = exp.Order(
                    expressions=[
                        exp.Ordered(
                            this=self.comparable(item.expr), desc=item.descending, nulls_first=False
                        )
                        for item in select.order_by
                    ]
                )
        if select.top is not None:
            args["limit"] = exp.Limit(expression=sql.integer(select.top))
        if select.offset is not None:
            args["offset"] = exp.Offset(expression=sql.integer(select.offset))
        return exp.Select(**args)

    def _rows(self, select: Select) -> dict[str, object]:
        """Emit what comes before the output: FROM, WHERE and GROUP BY."""
        args: dict[str, object] = {}
        if select.source is not None:
            args["from_"] = exp.From(this=self._relation(select.source))
        if select.where is not None:
            args["where"] = exp.Where(this=self.condition(select.where))
        if select.group_by:
            args["group"] = exp.Group(
                expressions=[self.comparable(term) for term in select.group_by]
            )
        return args

    def _relation(self, relation: Relation) -> exp.Expression:
        match relation:
            case TableSource(key, _):
                node = self._relations.get(key)
                if node is None:
                    raise InternalError(f"No relation was given for the source {key}")
                return _aliased(node, key)
            case SubquerySource(key, query):
                return exp.Subquery(this=self.select(query), alias=_alias(key))
            case Join():
                return self._join(relation)
            case _:
                pass
        raise InternalError(f"{type(relation).__name__} cannot be emitted")

    def _join(self, join: Join) -> exp.Expression:
        """Emit a chain of joins; the left spine by a loop, comma lists may be long."""
        spine = [join]
        while isinstance(spine[-1].left, Join):
            spine.append(spine[-1].left)
        first = self._relation(spine[-1].left)
        joins = []
        for step in reversed(spine):
            right = self._relation(step.right)
            if isinstance(step.right, Join):
                right = exp.Paren(this=right)
            if step.condition is None:
                joins.append(exp.Join(this=right, kind="CROSS"))
            else:
                joins.append(
                    exp.Join(
                        this=right,
                        side=_SIDES.get(step.how, ""),
                        kind="" if step.how in _SIDES else "INNER",
                        on=self.condition(step.condition),
                    )
                )
        first.set("joins", joins)
        return first


def _alias(key: str) -> exp.TableAlias:
    return exp.TableAlias(this=sql.identifier(key))


def _aliased(node: exp.Expression, key: str) -> exp.Expression:
    """Return a copy of a relation under an alias; the caller's node stays as it is."""
    if isinstance(node, exp.Select):
        return exp.Subquery(this=node, alias=_alias(key))
    if isinstance(node, exp.Subquery | exp.Table):
        copy = node.copy()
        copy.set("alias", _alias(key))
        return copy
    return exp.Table(this=node, alias=_alias(key))
