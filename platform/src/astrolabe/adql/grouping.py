"""The rule of grouping: beside aggregates, only what is the same within a group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from sqlglot import exp

from astrolabe.adql.check_context import CheckContext
from astrolabe.adql.tree import Aggregate, ColumnRef, Expr, Node, Select
from astrolabe.core.errors import AdqlSyntaxError
from astrolabe.tables.model import quote_name

__all__ = ["check_grouping"]


def check_grouping(
    context: CheckContext, select: Select, node: exp.Expr, own_keys: frozenset[str]
) -> None:
    """Refuse columns outside aggregate functions that are not in GROUP BY.

    Parameters
    ----------
    context
        Of the whole query.
    select
        The checked SELECT.
    node
        The same from the parser, for positions.
    own_keys
        Keys of its own sources; columns of SELECTs around it are constants here.
    """
    for term in select.group_by:
        if _has_aggregate(term):
            raise AdqlSyntaxError(
                "An aggregate function may not stand in GROUP BY",
                position=context.where(node.args["group"].expressions[0]),
            )
    grouped = bool(select.group_by) or any(_has_aggregate(expr) for expr in _outputs(select))
    if not grouped:
        if select.having is not None:
            raise AdqlSyntaxError(
                "HAVING needs GROUP BY or an aggregate function; conditions on rows go to WHERE",
                position=context.where(node.args["having"].this),
            )
        return
    keys = frozenset(select.group_by)
    places: list[tuple[Expr, exp.Expr]] = []
    if len(select.items) == len(node.expressions):
        places.extend(zip((item.expr for item in select.items), node.expressions, strict=True))
    else:
        places.extend((item.expr, node.expressions[0]) for item in select.items)
    if select.having is not None:
        places.append((select.having, node.args["having"].this))
    if select.order_by:
        order_nodes = node.args["order"].expressions
        places.extend(zip((item.expr for item in select.order_by), order_nodes, strict=True))
    for expr, place in places:
        loose = _loose_column(expr, keys, own_keys)
        if loose is not None:
            raise AdqlSyntaxError(
                f"The column {quote_name(loose.column.name)} is neither in GROUP BY nor inside an"
                " aggregate function",
                position=context.where(place),
            )


def _outputs(select: Select) -> Iterator[Expr]:
    for item in select.items:
        yield item.expr
    if select.having is not None:
        yield select.having
    for order in select.order_by:
        yield order.expr


def _has_aggregate(expr: Expr) -> bool:
    stack: list[Node] = [expr]
    while stack:
        current = stack.pop()
        if isinstance(current, Aggregate):
            return True
        stack.extend(_below(current))
    return False


def _loose_column(expr: Expr, keys: frozenset[Expr], own_keys: frozenset[str]) -> ColumnRef | None:
    """Return a column of `expr` that is not fixed within a group."""
    stack: list[Node] = [expr]
    while stack:
        current = stack.pop()
        if isinstance(current, Expr) and current in keys:
            continue
        if isinstance(current, Aggregate):
            continue
        if isinstance(current, ColumnRef):
            if current.source in own_keys:
                return current
            continue
        stack.extend(_below(current, subqueries=True))
    return None


def _below(node: Node, *, subqueries: bool = False) -> Iterator[Node]:
    for item in fields(node):
        value = getattr(node, item.name)
        if isinstance(value, Select) and not subqueries:
            continue
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            yield from (part for part in value if isinstance(part, Node))
