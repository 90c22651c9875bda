"""Checks conditions: comparisons and what else makes up WHERE, ON and HAVING."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

from sqlglot import exp

from astrolabe.adql.check_context import CheckContext
from astrolabe.adql.check_values import ValueChecker
from astrolabe.adql.kinds import GEOMETRIES, NUMBERS, describe
from astrolabe.adql.scope import Scope
from astrolabe.adql.tree import (
    And,
    Between,
    Comparison,
    Exists,
    Expr,
    InList,
    InSubquery,
    IsNull,
    Kind,
    Like,
    Literal,
    Not,
    Or,
    Select,
)
from astrolabe.core.errors import AdqlSyntaxError

__all__ = ["ExpressionChecker", "QueryChecker"]

QueryChecker = Callable[[exp.Expr, Scope | None, bool], Select]
"""Checks a subquery; the flag says that only the existence of rows matters."""

_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
_TIMESTAMP = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)?Z?\Z", re.ASCII
)


class ExpressionChecker(ValueChecker):
    """Checks the values and conditions of one SELECT.

    Parameters
    ----------
    context
        Of the whole query.
    scope
        What names mean here.
    check_query
        Checks a subquery in this scope.
    """

    def __init__(self, context: CheckContext, scope: Scope, check_query: QueryChecker) -> None:
        super().__init__(context, scope)
        self._check_query = check_query
        self._conditions: dict[type[exp.Expr], Callable[[exp.Expr], Expr]] = {
            exp.And: self._connected,
            exp.Or: self._connected,
            exp.Not: self._not,
            exp.Between: self._between,
            exp.In: self._in,
            exp.Exists: self._exists,
            exp.Like: self._like,
            exp.ILike: self._like,
            exp.Is: self._is_null,
            **dict.fromkeys(_COMPARISONS, self._comparison),
        }

    def condition(self, node: exp.Expr, *, aggregates: str = "") -> Expr:
        """Check a search condition."""
        before, self._no_aggregates = self._no_aggregates, aggregates
        try:
            return self._condition(node)
        finally:
            self._no_aggregates = before

    def _condition(self, node: exp.Expr) -> Expr:
        check = self._conditions.get(type(node))
        if check is None:
            self._context.unsupported(f"{type(node).__name__} is not a condition in ADQL", node)
        self._context.climb(1, node)
        try:
            return check(node)
        finally:
            self._context.height -= 1

    def _connected(self, node: exp.Expr) -> Expr:
        """Check a chain of AND or of OR; the left spine by a loop, chains may be long."""
        joined = type(node)
        terms: list[exp.Expr] = []
        current = node
        while type(current) is joined:
            self._context.only_args(current, "this", "expression")
            terms.append(current.expression)
            current = current.this
        terms.append(current)
        made = And if joined is exp.And else Or
        flat: list[Expr] = []
        for term in reversed(terms):
            checked = self._condition(term)
            flat.extend(checked.terms if isinstance(checked, made) else (checked,))
        return made(Kind.BOOLEAN, tuple(flat))

    def _not(self, node: exp.Expr) -> Expr:
        self._context.only_args(node, "this")
        inner = self._condition(node.this)
        match inner:
            case Between(kind, operand, low, high, negated):
                return Between(kind, operand, low, high, not negated)
            case InList(kind, operand, items, negated):
                return InList(kind, operand, items, not negated)
            case InSubquery(kind, operand, query, negated):
                return InSubquery(kind, operand, query, not negated)
            case Like(kind, operand, pattern, negated, ignore_case):
                return Like(kind, operand, pattern, not negated, ignore_case)
            case IsNull(kind, operand, negated):
                return IsNull(kind, operand, not negated)
            case _:
                pass
        return Not(Kind.BOOLEAN, inner)

    def _comparison(self, node: exp.Expr) -> Expr:
        self._context.only_args(node, "this", "expression")
        operator = _COMPARISONS[type(node)]
        left, right = self._matched(
            self._value(node.this), self._value(node.expression), node.this, node.expression
        )
        for side in (left, right):
            if side.kind == Kind.BOOLEAN and operator not in ("=", "<>"):
                self._context.type_error("Booleans have no order; compare with = or <>", node)
        return Comparison(Kind.BOOLEAN, operator, left, right)  # type: ignore[arg-type]  # one of six by table

    def _matched(
        self, left: Expr, right: Expr, left_node: exp.Expr, right_node: exp.Expr
    ) -> tuple[Expr, Expr]:
        """Check that two values can be compared; literals become timestamps or booleans."""
        for value, node in ((left, left_node), (right, right_node)):
            if value.kind in GEOMETRIES or value.kind == Kind.ARRAY:
                self._context.type_error(
                    f"{describe(value.kind).capitalize()} cannot be compared"
                    + (
                        "; use CONTAINS, INTERSECTS or DISTANCE" if value.kind in GEOMETRIES else ""
                    ),
                    node,
                )
        if left.kind in (Kind.TIMESTAMP, Kind.BOOLEAN):
            right = self._as_kind(right, left.kind, right_node)
        elif right.kind in (Kind.TIMESTAMP, Kind.BOOLEAN):
            left = self._as_kind(left, right.kind, left_node)
        kinds = {left.kind, right.kind} - {Kind.NULL}
        if self._context.syntax_only:
            return left, right
        if len(kinds) == 2 and not kinds <= NUMBERS:
            self._context.type_error(
                f"{describe(left.kind).capitalize()} cannot be compared with"
                f" {describe(right.kind)}",
                left_node,
            )
        return left, right

    def _as_kind(self, value: Expr, kind: Kind, node: exp.Expr) -> Expr:
        if not isinstance(value, Literal) or value.kind not in (Kind.STRING, Kind.INTEGER):
            return value
        if kind == Kind.BOOLEAN:
            found = _BOOLEANS.get(str(value.value).strip().lower())
            if found is None:
                self._context.type_error("A boolean is compared with 'true' or 'false'", node)
            return Literal(Kind.BOOLEAN, found)
        if value.kind == Kind.INTEGER:
            return value
        return Literal(Kind.TIMESTAMP, self._timestamp(str(value.value), node))

    def _timestamp(self, text: str, node: exp.Expr) -> str:
        message = f"{text!r} is no timestamp; write 'YYYY-MM-DDThh:mm:ss[.ffffff]' (UTC)"
        if not _TIMESTAMP.match(text):
            self._context.type_error(message, node)
        try:
            moment = datetime.fromisoformat(text.removesuffix("Z"))
        except ValueError:
            self._context.type_error(message, node)
        return moment.isoformat(sep="T", timespec="microseconds")

    def _between(self, node: exp.Expr) -> Expr:
        self._context.only_args(node, "this", "low", "high")
        operand = self._value(node.this)
        operand, low = self._matched(
            operand, self._value(node.args["low"]), node.this, node.args["low"]
        )
        operand, high = self._matched(
            operand, self._value(node.args["high"]), node.this, node.args["high"]
        )
        if operand.kind == Kind.BOOLEAN:
            self._context.type_error("Booleans have no order; compare with = or <>", node)
        return Between(Kind.BOOLEAN, operand, low, high)

    def _in(self, node: exp.Expr) -> Expr:
        self._context.only_args(node, "this", "expressions", "query")
        operand = self._value(node.this)
        query_node = node.args.get("query")
        if query_node is not None:
            query = self._check_query(query_node, self._scope, False)
            if len(query.items) != 1:
                raise AdqlSyntaxError(
                    f"The subquery of IN must have one column, not {len(query.items)}",
                    position=self._context.where(query_node),
                )
            self._matched(operand, query.items[0].expr, node.this, query_node)
            return InSubquery(Kind.BOOLEAN, operand, query)
        items = []
        for item_node in node.expressions:
            operand, item = self._matched(operand, self._value(item_node), node.this, item_node)
            items.append(item)
        return InList(Kind.BOOLEAN, operand, tuple(items))

    def _exists(self, node: exp.Expr) -> Expr:
        self._context.only_args(node, "this")
        return Exists(Kind.BOOLEAN, self._check_query(node.this, self._scope, True))

    def _like(self, node: exp.Expr) -> Expr:
        self._context.only_args(node, "this", "expression")
        operand, pattern = self._value(node.this), self._value(node.expression)
        for value, value_node in ((operand, node.this), (pattern, node.expression)):
            if value.kind not in (Kind.STRING, Kind.NULL):
                self._context.type_error(
                    f"LIKE needs a string, not {describe(value.kind)}", value_node
                )
        return Like(Kind.BOOLEAN, operand, pattern, ignore_case=isinstance(node, exp.ILike))

    def _is_null(self, node: exp.Expr) -> Expr:
        self._context.only_args(node, "this", "expression")
        return IsNull(Kind.BOOLEAN, self._value(node.this))
