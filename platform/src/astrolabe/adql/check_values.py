"""Checks value expressions: names, types, arguments; builds their typed trees."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from astrolabe.adql import check_geometry, hints
from astrolabe.adql.check_context import CheckContext, identifier_of
from astrolabe.adql.functions import (
    AGGREGATES,
    GEOMETRY_FUNCTIONS,
    SCALAR_FUNCTIONS,
    Result,
    Scalar,
)
from astrolabe.adql.kinds import (
    GEOMETRIES,
    INTEGERS,
    NUMBERS,
    arithmetic_kind,
    describe,
)
from astrolabe.adql.names import nearest
from astrolabe.adql.scope import Scope
from astrolabe.adql.tree import (
    Aggregate,
    Binary,
    Call,
    ColumnRef,
    Expr,
    GeometryColumn,
    Kind,
    Literal,
    Negate,
)
from astrolabe.core.errors import AdqlSyntaxError, UnknownFunctionError
from astrolabe.tables.model import Column, Datatype

__all__ = ["ValueChecker"]

_ARITHMETIC: dict[type[exp.Expr], str] = {
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.DPipe: "||",
}


class ValueChecker:
    """Checks the values of one SELECT.

    Parameters
    ----------
    context
        Of the whole query.
    scope
        What names mean here.
    """

    def __init__(self, context: CheckContext, scope: Scope) -> None:
        self._context = context
        self._scope = scope
        self._no_aggregates = ""  # says why aggregate functions may not stand here
        self._values: dict[type[exp.Expr], Callable[[exp.Expr], Expr]] = {
            exp.Column: self._column,
            exp.Literal: self._literal,
            exp.Null: self._null,
            exp.Neg: self._negate,
            exp.Paren: self._plus,
            exp.Anonymous: self._call,
            **dict.fromkeys(_ARITHMETIC, self._binary),
        }

    # --- entry -----------------------------------------------------------------------------------

    def value(self, node: exp.Expr, *, aggregates: str = "") -> Expr:
        """Check a value; `aggregates` says why aggregate functions may not stand here."""
        before, self._no_aggregates = self._no_aggregates, aggregates
        try:
            return self._value(node)
        finally:
            self._no_aggregates = before

    def _value(self, node: exp.Expr) -> Expr:
        check = self._values.get(type(node))
        if check is None:
            self._context.unsupported(f"{type(node).__name__} is not a value in ADQL", node)
        self._context.climb(1, node)
        try:
            return check(node)
        finally:
            self._context.height -= 1

    # --- values ----------------------------------------------------------------------------------

    def _column(self, node: exp.Expr) -> Expr:
        self._context.only_args(node, "this", "table", "db", "catalog")
        qualifiers = tuple(
            identifier_of(node.args[part])
            for part in ("table", "db", "catalog")
            if node.args.get(part)
        )
        if self._context.syntax_only:
            column = Column(name=str(node.this.this), datatype=Datatype.CHAR, arraysize="*")
            return ColumnRef(Kind.NULL, "", column)
        found = self._scope.resolve(identifier_of(node.this), qualifiers, self._context.where(node))
        self.note_uses(found)
        return found

    def note_uses(self, expr: Expr) -> None:
        """Note that the query reads the columns in `expr`."""
        if isinstance(expr, ColumnRef):
            self._context.note_use(expr)
        elif isinstance(expr, GeometryColumn):
            self._context.note_use(expr.reference)
        elif isinstance(expr, Call):
            for argument in expr.args:
                self.note_uses(argument)

    def _literal(self, node: exp.Expr) -> Expr:
        self._context.only_args(node, "this", "is_string")
        text = str(node.this)
        if node.args.get("is_string"):
            return Literal(Kind.STRING, text)
        if text.isdigit():
            number = int(text)
            if number < 2**31:
                return Literal(Kind.INTEGER, number)
            if number < 2**63:
                return Literal(Kind.BIGINT, number)
        value = float(text)
        if value in (float("inf"), float("-inf")):
            self._context.type_error(f"The number {text} is too large", node)
        return Literal(Kind.DOUBLE, value)

    def _null(self, node: exp.Expr) -> Expr:
        self._context.only_args(node)
        return Literal(Kind.NULL, None)

    def _negate(self, node: exp.Expr) -> Expr:
        self._context.only_args(node, "this")
        operand = self._number(node.this, "A sign stands before")
        if isinstance(operand, Literal) and isinstance(operand.value, int | float):
            return Literal(operand.kind, -operand.value)
        kind = Kind.INTEGER if operand.kind == Kind.SMALLINT else operand.kind
        return Negate(kind, operand)

    def _plus(self, node: exp.Expr) -> Expr:
        """Take off a plus sign; the parser keeps it as parentheses."""
        self._context.only_args(node, "this")
        return self._number(node.this, "A sign stands before")

    def _number(self, node: exp.Expr, need: str) -> Expr:
        value = self._value(node)
        if value.kind not in NUMBERS and value.kind != Kind.NULL:
            self._context.type_error(f"{need} a number, not {describe(value.kind)}", node)
        return value

    def _binary(self, node: exp.Expr) -> Expr:
        """Check a chain of operators; the left spine by a loop, chains may be long."""
        spine: list[exp.Expr] = []
        current = node
        while type(current) in _ARITHMETIC:
            self._context.only_args(current, "this", "expression")
            spine.append(current)
            current = current.this
        self._context.climb(len(spine), node)
        left, left_node = self._value(current), current
        for step in reversed(spine):
            right = self._value(step.expression)
            left = self._operation(_ARITHMETIC[type(step)], left, right, left_node, step.expression)
            left_node = step
        self._context.height -= len(spine)
        return left

    def _operation(
        self, operator: str, left: Expr, right: Expr, left_node: exp.Expr, right_node: exp.Expr
    ) -> Expr:
        wanted = frozenset([Kind.STRING]) if operator == "||" else NUMBERS
        for operand, node in ((left, left_node), (right, right_node)):
            if operand.kind not in wanted and operand.kind != Kind.NULL:
                need = "a string" if operator == "||" else "a number"
                self._context.type_error(
                    f"The operator {operator} needs {need}, not {describe(operand.kind)}", node
                )
        kind = Kind.STRING if operator == "||" else arithmetic_kind(left.kind, right.kind)
        return Binary(kind, operator, left, right)  # type: ignore[arg-type]  # one of five by table

    def _call(self, node: exp.Expr) -> Expr:
        self._context.only_args(node, "this", "expressions")
        name = str(node.this)
        if name in AGGREGATES:
            return self._aggregate(node, name)
        if name in GEOMETRY_FUNCTIONS:
            return check_geometry.check_call(self._context, name, node, self._value)
        scalar = SCALAR_FUNCTIONS.get(name)
        if scalar is None:
            raise self._unknown_function(node, name)
        return self._scalar(node, name, scalar)

    def _unknown_function(self, node: exp.Expr, name: str) -> UnknownFunctionError:
        known = [*SCALAR_FUNCTIONS, *AGGREGATES, *GEOMETRY_FUNCTIONS]
        other = hints.FUNCTIONS.get(name)
        near = (other,) if other else nearest(name, known)
        return UnknownFunctionError(
            f"There is no function {name}", position=self._context.where(node), suggestions=near
        )

    def _scalar(self, node: exp.Expr, name: str, scalar: Scalar) -> Expr:
        nodes = node.expressions
        if len(nodes) < scalar.least or (scalar.most is not None and len(nodes) > scalar.most):
            most = "or more" if scalar.most is None else f"to {scalar.most}"
            count = f"{scalar.least}" if scalar.least == scalar.most else f"{scalar.least} {most}"
            raise AdqlSyntaxError(
                f"{name} takes {count} argument{'' if count == '1' else 's'}, not {len(nodes)}",
                position=self._context.where(node),
            )
        arguments = tuple(self._value(argument) for argument in nodes)
        if scalar.result == Result.COMMON:
            return Call(self._common_kind(name, arguments, nodes), name, arguments)
        for index, (argument, argument_node) in enumerate(zip(arguments, nodes, strict=True)):
            self._check_argument(name, scalar, index, argument, argument_node)
        if scalar.result == Result.STRING:
            return Call(Kind.STRING, name, arguments)
        kind = Kind.DOUBLE
        if scalar.result == Result.SAME and arguments[0].kind != Kind.NULL:
            kind = arithmetic_kind(arguments[0].kind, arguments[0].kind)
        return Call(kind, name, arguments)

    def _check_argument(
        self, name: str, scalar: Scalar, index: int, argument: Expr, node: exp.Expr
    ) -> None:
        kind = argument.kind
        if kind == Kind.NULL:
            return
        if index in scalar.integers:
            if kind not in INTEGERS:
                self._context.type_error(f"{name} needs a whole number here", node)
        elif scalar.argument == Kind.STRING:
            if kind != Kind.STRING:
                self._context.type_error(f"{name} needs a string, not {describe(kind)}", node)
        elif kind not in NUMBERS:
            self._context.type_error(f"{name} needs a number, not {describe(kind)}", node)

    def _common_kind(self, name: str, arguments: tuple[Expr, ...], nodes: list[exp.Expr]) -> Kind:
        kind = Kind.NULL
        for argument, node in zip(arguments, nodes, strict=True):
            if argument.kind in GEOMETRIES or argument.kind == Kind.ARRAY:
                self._context.type_error(f"{name} takes no {argument.kind} values", node)
            if kind in (Kind.NULL, argument.kind):
                kind = argument.kind
            elif kind in NUMBERS and argument.kind in NUMBERS:
                kind = arithmetic_kind(kind, argument.kind)
            elif argument.kind != Kind.NULL:
                self._context.type_error(
                    f"{name} needs values of one type, not {describe(kind)} and"
                    f" {describe(argument.kind)}",
                    node,
                )
        return kind

    def _aggregate(self, node: exp.Expr, name: str) -> Expr:
        if self._no_aggregates:
            raise AdqlSyntaxError(
                f"{name} may not stand {self._no_aggregates}",
                position=self._context.where(node),
            )
        nodes = node.expressions
        if len(nodes) != 1:
            raise AdqlSyntaxError(
                f"{name} takes 1 argument, not {len(nodes)}", position=self._context.where(node)
            )
        argument = nodes[0]
        if isinstance(argument, exp.Star):
            return Aggregate(Kind.BIGINT, name, None)
        distinct = isinstance(argument, exp.Distinct)
        if distinct:
            argument = argument.expressions[0]
        operand = self.value(argument, aggregates="inside another aggregate function")
        return Aggregate(self._aggregate_kind(name, operand, argument), name, operand, distinct)

    def _aggregate_kind(self, name: str, operand: Expr, node: exp.Expr) -> Kind:
        kind = operand.kind
        if name == "COUNT":
            return Kind.BIGINT
        if name in ("MIN", "MAX"):
            if kind in GEOMETRIES or kind in (Kind.ARRAY, Kind.BOOLEAN):
                self._context.type_error(f"{name} has no order for {describe(kind)}", node)
            return kind
        if kind not in NUMBERS and kind != Kind.NULL:
            self._context.type_error(f"{name} needs a number, not {describe(kind)}", node)
        return Kind.BIGINT if name == "SUM" and kind in INTEGERS else Kind.DOUBLE
