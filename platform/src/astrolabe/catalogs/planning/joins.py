"""Which columns must be equal to which, for a row to matter.

``target <- partner`` says: a row of the target's table matters only if some row of the partner's
table has the target's value.  Inner joins and WHERE say it both ways; ON of a LEFT join says it of
the right side only, whose rows are gone unless they match; ``x IN (SELECT y ...)`` says it of x.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from astrolabe.adql.tree import (
    And,
    ColumnRef,
    Comparison,
    Expr,
    InList,
    InSubquery,
    Kind,
    Not,
    Or,
    Select,
    SubquerySource,
    TableSource,
    walk,
)

__all__ = ["Equalities", "KeyColumn", "equal_pairs", "values_behind"]

KeyColumn = tuple[str, str]
"""Key of a `TableSource` and raw name of one of its columns."""

_INTEGERS = frozenset([Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT])


def equal_pairs(condition: Expr, *, wanted: bool = True) -> Iterator[tuple[Expr, Expr, bool]]:
    """Yield what must be equal if `condition` is TRUE or, with `wanted` false, FALSE.

    Yields
    ------
    first, second, mutual
        Each value of `first` must be one of `second` and, if `mutual`, the other way round.
    """
    match condition:
        case And(_, terms) if wanted:
            for term in terms:
                yield from equal_pairs(term)
        case Or(_, terms) if not wanted:
            for term in terms:
                yield from equal_pairs(term, wanted=False)
        case Not(_, operand):
            yield from equal_pairs(operand, wanted=not wanted)
        case Comparison(_, operator, left, right) if operator == ("=" if wanted else "<>"):
            yield left, right, True
        case InList(_, operand, (item,), negated) if negated != wanted:
            yield operand, item, True
        case InSubquery(_, operand, query, negated) if negated != wanted and len(query.items) == 1:
            yield operand, query.items[0].expr, False
        case _:
            pass


def values_behind(root: Select) -> dict[str, Mapping[str, Expr]]:
    """Return, for each subquery in FROM, the columns whose values are those of another column.

    TOP, GROUP BY and DISTINCT leave fewer values, never others.
    """
    found: dict[str, Mapping[str, Expr]] = {}
    for node in walk(root):
        if isinstance(node, SubquerySource):
            names = [item.column.name for item in node.query.items]
            found[node.key] = {
                item.column.name: item.expr
                for item in node.query.items
                if isinstance(item.expr, ColumnRef) and names.count(item.column.name) == 1
            }
    return found


@dataclass(slots=True)
class Equalities:
    """Collects ``target <- partner`` of a whole query.

    Parameters
    ----------
    tables
        The tables by `TableSource` key.
    values
        For each subquery, the columns behind its columns (`values_behind`).
    """

    tables: Mapping[str, TableSource]
    values: Mapping[str, Mapping[str, Expr]]
    _partners: dict[KeyColumn, dict[KeyColumn, None]] = field(default_factory=dict)

    def add(self, target: Expr, partner: Expr, inside: Collection[str]) -> None:
        """Say that the target's value must be one of the partner's.

        Parameters
        ----------
        target
            Resolved to a column of a table of which conditions may be asked.
        partner
            As it stands.
        inside
            Keys of the tables that the condition may restrict.
        """
        if not (isinstance(target, ColumnRef) and target.source in inside):
            return
        other = self._column(partner)
        if other is None or other.source == target.source:
            return
        if target.kind not in _INTEGERS or other.kind not in _INTEGERS:
            return
        own = (target.source, target.column.name)
        self._partners.setdefault(own, {})[other.source, other.column.name] = None

    def closure(self) -> dict[KeyColumn, tuple[KeyColumn, ...]]:
        """Return for each target all columns that its value must be in, near ones first."""
        found = {}
        for target in self._partners:
            seen = {target: None}
            for column in _growing(seen):
                for partner in self._partners.get(column, ()):
                    seen.setdefault(partner)
            found[target] = tuple(column for column in seen if column[0] != target[0])
        return found

    def _column(self, expr: Expr) -> ColumnRef | None:
        """Return the column of a table that has all values of `expr`."""
        while isinstance(expr, ColumnRef):
            if expr.source in self.tables:
                return expr
            inner = self.values.get(expr.source, {}).get(expr.column.name)
            if inner is None:
                return None
            expr = inner
        return None


def _growing(seen: dict[KeyColumn, None]) -> Iterator[KeyColumn]:
    """Yield the keys of `seen`, also those that are added on the way."""
    done = 0
    while done < len(seen):
        todo = list(seen)[done:]
        done += len(todo)
        yield from todo
