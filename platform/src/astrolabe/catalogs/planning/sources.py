"""From a whole query to the restriction of each table in it.

Which conditions may be asked of a table before it is joined:

* WHERE: of every table in its FROM, on either side of any join.  A row that cannot fulfil it would
  be dropped at the end, and so would the row of nulls that stands in for it.
* ON of an inner join: of the tables on both sides.
* ON of a left (right) join: of the tables on the right (left) side only; rows of the other side
  stay whether they match or not.
* ON of a full join: of none.
* What is asked of a subquery's columns is asked of the tables behind them, unless TOP, OFFSET or a
  GROUP BY of other columns stands between: there, fewer rows would mean other rows.

A condition of a subquery that names a table outside of it says nothing of that table.  Columns that
must be equal are collected by the same rules (see :mod:`astrolabe.catalogs.planning.joins`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from astrolabe.adql.deep import call_with_deep_stack
from astrolabe.adql.tree import (
    Aggregate,
    CheckedQuery,
    Expr,
    Join,
    Node,
    Relation,
    Select,
    SubquerySource,
    TableSource,
    field_names,
    walk,
)
from astrolabe.catalogs.planning.conditions import Conditions
from astrolabe.catalogs.planning.geometry import Geometry
from astrolabe.catalogs.planning.joins import Equalities, KeyColumn, equal_pairs, values_behind
from astrolabe.catalogs.planning.restrictions import NOTHING, Bounds, Restriction

__all__ = ["Known", "known_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What a query says of the rows that matter to it.

    Parameters
    ----------
    restrictions
        By `TableSource` key; tables of which nothing is known are not in it.
    partners
        For a column, the columns of other tables that must have its value, near ones first.
    """

    restrictions: Mapping[str, Restriction]
    partners: Mapping[KeyColumn, tuple[KeyColumn, ...]]


def known_of(checked: CheckedQuery) -> Known:
    """Return what is known of the rows that a query can use.

    Parameters
    ----------
    checked
        The query.

    """
    return call_with_deep_stack(lambda: _collected(checked))


def _collected(checked: CheckedQuery) -> Known:
    tables = {source.key: source for source in checked.tables}
    derived = {
        node.key: _columns_behind(node.query)
        for node in walk(checked.root)
        if isinstance(node, SubquerySource)
    }
    equalities = Equalities(tables, values_behind(checked.root))
    collector = _Collector(Conditions(tables, Geometry(tables, derived)), equalities)
    for node in walk(checked.root):
        if isinstance(node, Select):
            collector.take_select(node)
    return Known(collector.found, equalities.closure())


class _Collector:
    """Gathers the restrictions of all tables."""

    def __init__(self, conditions: Conditions, equalities: Equalities) -> None:
        self.found: dict[str, Restriction] = {}
        self._conditions = conditions
        self._equalities = equalities

    def take_select(self, select: Select) -> None:
        """Take what WHERE, TOP and the joins of one SELECT say (not of those inside it)."""
        if select.source is None:
            return
        if select.top == 0:
            self._take(Bounds(possible=False), select.source)
        self._take_condition(select.where, select.source)
        for node in _relations(select.source):
            if isinstance(node, Join):
                if node.how == "inner":
                    self._take_condition(node.condition, node.left, node.right)
                elif node.how == "left":
                    self._take_condition(node.condition, node.right)
                elif node.how == "right":
                    self._take_condition(node.condition, node.left)

    def _take_condition(self, condition: Expr | None, *sides: Relation) -> None:
        if condition is None:
            return
        self._take(self._conditions.bounds(condition), *sides)
        inside = frozenset(_keys_inside(*sides))
        resolved = self._conditions.geometry.resolved
        for first, second, mutual in equal_pairs(condition):
            self._equalities.add(resolved(first), second, inside)
            if mutual:
                self._equalities.add(resolved(second), first, inside)

    def _take(self, bounds: Bounds, *sides: Relation) -> None:
        for key in _keys_inside(*sides):
            restriction = bounds.tables.get(key) if bounds.possible else NOTHING
            if restriction is not None:
                known = self.found.get(key)
                self.found[key] = restriction if known is None else known.met_with(restriction)


def _relations(source: Relation) -> Iterator[Relation]:
    """Yield a FROM clause and the relations joined in it, without looking into subqueries."""
    yield source
    if isinstance(source, Join):
        yield from _relations(source.left)
        yield from _relations(source.right)


def _keys_inside(*sources: Relation) -> Iterator[str]:
    """Yield the keys of the tables whose rows make up the relations, through subqueries in FROM."""
    for source in sources:
        for node in _relations(source):
            if isinstance(node, TableSource):
                yield node.key
            elif isinstance(node, SubquerySource) and node.query.source is not None:
                yield from _keys_inside(node.query.source)


def _columns_behind(select: Select) -> Mapping[str, Expr]:
    """Return the expressions of a subquery's columns that a condition may be passed to."""
    if select.top is not None or select.offset:
        return {}
    found: dict[str, Expr] = {}
    twice: set[str] = set()
    for item in select.items:
        name = item.column.name
        if name in found:
            twice.add(name)
        found[name] = item.expr
    grouped = bool(select.group_by) or any(_aggregates(item.expr) for item in select.items)
    return {
        name: expr
        for name, expr in found.items()
        if name not in twice and (not grouped or expr in select.group_by)
    }


def _aggregates(node: Node) -> bool:
    """Tell whether an expression holds an aggregate of its own query."""
    if isinstance(node, Aggregate):
        return True
    if isinstance(node, Select):
        return False
    for name in field_names(type(node)):
        value = getattr(node, name)
        parts = value if isinstance(value, tuple) else (value,)
        if any(isinstance(part, Node) and _aggregates(part) for part in parts):
            return True
    return False
