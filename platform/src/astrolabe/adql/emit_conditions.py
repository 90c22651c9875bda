"""Conditions in DuckDB's SQL.

NOT is pushed inward to the comparisons, where it is exact for three-valued logic; so every
comparison knows whether it stands negated and can take NaN for NULL.
"""

from __future__ import annotations

from abc import abstractmethod

from sqlglot import exp
from typing_extensions import override

from astrolabe.adql import sql
from astrolabe.adql.comparisons import MIRRORED, OPPOSITE
from astrolabe.adql.emit_geometry import GeometryEmitter
from astrolabe.adql.emit_values import is_nan_possible
from astrolabe.adql.tree import (
    And,
    Between,
    Call,
    Comparison,
    Exists,
    Expr,
    InList,
    InSubquery,
    IsNull,
    Like,
    Literal,
    Not,
    Or,
    Select,
)
from astrolabe.core.errors import InternalError

__all__ = ["ConditionEmitter", "predicate_sense"]


class ConditionEmitter(GeometryEmitter):
    """Emits search conditions."""

    @abstractmethod
    def select(
        self, select: Select, *, existence: bool = False, comparable: bool = False
    ) -> exp.Expression:
        """Emit a subquery.

        `existence` says that only whether it has rows matters, `comparable` that its values are
        compared, so that NaN must be NULL.
        """

    def condition(  # noqa: PLR0911 - one return a case
        self, expr: Expr, *, negated: bool = False
    ) -> exp.Expression:
        """Emit a condition, or its negation."""
        match expr:
            case And(_, terms) | Or(_, terms):
                parts = [self.condition(term, negated=negated) for term in terms]
                together = isinstance(expr, And) is not negated
                return sql.all_of(parts) if together else sql.any_of(parts)
            case Not(_, operand):
                return self.condition(operand, negated=not negated)
            case Comparison():
                return self._comparison(expr, negated=negated)
            case Between():
                return self._between(expr, negated=negated)
            case InList() | InSubquery():
                return self._in(expr, negated=negated)
            case Like():
                return self._like(expr, negated=negated)
            case IsNull(_, operand, inner):
                return self._is_null(operand, negated=inner is not negated)
            case Exists(_, query):
                node = exp.Exists(this=self.select(query, existence=True))
                return exp.Not(this=node) if negated else node
            case _:
                pass
        raise InternalError(f"{type(expr).__name__} is no condition")

    def _comparison(self, expr: Comparison, *, negated: bool) -> exp.Expression:
        operator = OPPOSITE[expr.operator] if negated else expr.operator
        for left, right, shown in (
            (expr.left, expr.right, operator),
            (expr.right, expr.left, MIRRORED[operator]),
        ):
            if isinstance(left, Call) and left.name in ("CONTAINS", "INTERSECTS"):
                sense = predicate_sense(shown, right)
                if sense is not None:
                    return self.predicate(left, negated=not sense)
            if isinstance(left, Call) and left.name == "DISTANCE":
                return self.distance_condition(left, shown, right)
        return self.compared(expr.left, operator, expr.right)

    @override
    def compared(self, left: Expr, operator: str, right: Expr) -> exp.Expression:
        """Emit a comparison in which NaN counts as NULL."""
        one, two = self.value(left), self.value(right)
        parts = [sql.compare(one, operator, two)]
        left_nan, right_nan = is_nan_possible(left), is_nan_possible(right)
        if left_nan and (operator in (">", ">=", "<>") or (operator == "=" and right_nan)):
            parts.append(self.is_number(one, left.kind))
        if right_nan and operator in ("<", "<=", "<>"):
            parts.append(self.is_number(two, right.kind))
        return sql.all_of(parts)

    def _between(self, expr: Between, *, negated: bool) -> exp.Expression:
        operand, low, high = expr.operand, expr.low, expr.high
        if expr.negated is not negated:
            return sql.any_of([self.compared(operand, "<", low), self.compared(operand, ">", high)])
        return sql.all_of([self.compared(operand, ">=", low), self.compared(operand, "<=", high)])

    def _in(self, expr: InList | InSubquery, *, negated: bool) -> exp.Expression:
        operand = self.comparable(expr.operand)
        node: exp.Expression
        if isinstance(expr, InSubquery):
            node = exp.In(
                this=operand, query=exp.Subquery(this=self.select(expr.query, comparable=True))
            )
        else:
            items = [self.comparable(item) for item in expr.items]
            node = exp.In(this=operand, expressions=items)
        return exp.Not(this=exp.Paren(this=node)) if expr.negated is not negated else node

    def _like(self, expr: Like, *, negated: bool) -> exp.Expression:
        node_type = exp.ILike if expr.ignore_case else exp.Like
        node = node_type(
            this=sql.parenthesis(self.value(expr.operand)),
            expression=sql.parenthesis(self.value(expr.pattern)),
        )
        return exp.Not(this=exp.Paren(this=node)) if expr.negated is not negated else node

    def _is_null(self, operand: Expr, *, negated: bool) -> exp.Expression:
        node = exp.Is(this=sql.parenthesis(self.value(operand)), expression=exp.Null())
        if not is_nan_possible(operand):
            return exp.Not(this=node) if negated else node
        if negated:
            return self.is_number(self.value(operand), operand.kind)
        not_a_number = sql.function("isnan", self.value(operand))
        return sql.any_of([node, not_a_number])


def predicate_sense(operator: str, other: Expr) -> bool | None:
    """Return what ``predicate operator other`` asks of a predicate that is 1 or 0.

    `True` that it holds, `False` that it does not, `None` that the comparison is not with a number
    or holds or fails either way.
    """
    if not isinstance(other, Literal) or not isinstance(other.value, int | float):
        return None
    true, false = (_holds(value, operator, other.value) for value in (1, 0))
    return None if true is false else true


def _holds(value: int, operator: str, limit: float) -> bool:
    return {
        "=": value == limit,
        "<>": value != limit,
        "<": value < limit,
        "<=": value <= limit,
        ">": value > limit,
        ">=": value >= limit,
    }[operator]
