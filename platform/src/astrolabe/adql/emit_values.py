"""Values in DuckDB's SQL, each of exactly the type that the checked tree says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from sqlglot import exp

from astrolabe.adql import sql
from astrolabe.adql.kinds import FLOATS, INTEGERS
from astrolabe.adql.tree import (
    Aggregate,
    Binary,
    Call,
    ColumnRef,
    Expr,
    Kind,
    Literal,
    Negate,
    walk,
)
from astrolabe.core.errors import InternalError

__all__ = ["ValueEmitter", "is_nan_possible"]

_TYPE_OF_KIND = {
    Kind.BOOLEAN: "BOOLEAN",
    Kind.SMALLINT: "INTEGER",
    Kind.INTEGER: "INTEGER",
    Kind.BIGINT: "BIGINT",
    Kind.REAL: "REAL",
    Kind.DOUBLE: "DOUBLE",
    Kind.STRING: "VARCHAR",
    Kind.TIMESTAMP: "TIMESTAMP",
    Kind.NULL: "VARCHAR",
}
_OF_DOUBLES = {
    "ACOS": "acos",
    "ASIN": "asin",
    "ATAN": "atan",
    "ATAN2": "atan2",
    "COS": "cos",
    "COT": "cot",
    "DEGREES": "degrees",
    "EXP": "exp",
    "LOG": "ln",
    "LOG10": "log10",
    "MOD": "mod",
    "PI": "pi",
    "POWER": "pow",
    "RADIANS": "radians",
    "SIN": "sin",
    "SQRT": "sqrt",
    "TAN": "tan",
}
_KEEPING_KIND = {
    "ABS": "abs",
    "CEILING": "ceil",
    "FLOOR": "floor",
    "ROUND": "round",
    "TRUNCATE": "trunc",
}
_OPERATORS: dict[str, type[exp.Expression]] = {"+": exp.Add, "-": exp.Sub, "*": exp.Mul}
_GEOMETRY_CALLS = frozenset(
    ["AREA", "CENTROID", "CONTAINS", "COORD1", "COORD2", "COORDSYS", "DISTANCE", "INTERSECTS"]
)


def is_nan_possible(expr: Expr) -> bool:
    """Whether `expr` may be NaN."""
    if expr.kind not in FLOATS or isinstance(expr, Literal):
        return False
    return not (isinstance(expr, Call) and expr.name in ("PI", "RAND"))


class ValueEmitter(ABC):
    """Emits values; geometry and conditions come with the subclasses."""

    _group_terms: tuple[Expr, ...] = ()

    @contextmanager
    def grouped_by(self, terms: tuple[Expr, ...]) -> Iterator[None]:
        """Emit `terms` inside the block as GROUP BY has them, or the engine does not know them."""
        before = self._group_terms
        self._group_terms = tuple(term for term in terms if is_nan_possible(term))
        try:
            yield
        finally:
            self._group_terms = before

    def value(self, expr: Expr) -> exp.Expression:
        """Emit a value."""
        if self._group_terms and expr in self._group_terms:
            with self.grouped_by(()):
                return self.comparable(expr)
        return self._ungrouped_value(expr)

    def _ungrouped_value(self, expr: Expr) -> exp.Expression:  # noqa: PLR0911 - one return a case
        match expr:
            case ColumnRef(_, source, column):
                return sql.column(source, column.name)
            case Literal():
                return self._literal(expr)
            case Binary():
                return self._binary(expr)
            case Negate(kind, operand):
                return exp.Neg(this=sql.parenthesis(self.cast_value(operand, kind)))
            case Call(_, name) if name in _GEOMETRY_CALLS:
                return self.geometry_value(expr)
            case Call():
                return self._call(expr)
            case Aggregate():
                return self._aggregate(expr)
            case _:
                pass
        return self.geometry_value(expr)

    @abstractmethod
    def geometry_value(self, expr: Expr) -> exp.Expression:
        """Emit a geometry, or a function of geometries, as a value."""

    def comparable(self, expr: Expr) -> exp.Expression:
        """Emit a value for grouping, ordering or aggregates: NaN becomes NULL."""
        if expr in self._group_terms:
            return self.value(expr)
        node = self.value(expr)
        if not is_nan_possible(expr):
            return node
        return exp.Case(ifs=[exp.If(this=self.is_number(node, expr.kind), true=node)])

    @staticmethod
    def is_number(node: exp.Expression, kind: Kind = Kind.DOUBLE) -> exp.Expression:
        """Emit the condition that a floating-point value is not NaN.

        DuckDB takes NaN for larger than infinity; this form, unlike ``isnan``, is pushed down to
        files as a range.
        """
        if kind != Kind.REAL:
            return sql.compare(node, "<=", float("inf"))
        return sql.compare(node, "<=", sql.cast(sql.string("Infinity"), "REAL"))

    def cast_value(self, expr: Expr, kind: Kind) -> exp.Expression:
        """Emit a value as one of another kind of number."""
        if isinstance(expr, Literal):
            if kind in FLOATS and isinstance(expr.value, int):
                node = sql.number(float(expr.value))
                return sql.cast(node, "REAL") if kind == Kind.REAL else node
            if kind == expr.kind:
                return self._literal(expr)
        node = self.value(expr)
        if expr.kind == kind and kind != Kind.SMALLINT:
            return node
        return sql.cast(node, _TYPE_OF_KIND[kind])

    def double(self, expr: Expr) -> exp.Expression:
        """Emit a value as DOUBLE."""
        return self.cast_value(expr, Kind.DOUBLE)

    def _literal(self, expr: Literal) -> exp.Expression:
        value = expr.value
        if value is None:
            return exp.Null()
        if isinstance(value, bool):
            return exp.Boolean(this=value)
        if isinstance(value, str):
            node = sql.string(value)
            return sql.cast(node, "TIMESTAMP") if expr.kind == Kind.TIMESTAMP else node
        if isinstance(value, int):
            node = sql.integer(value)
            return sql.cast(node, "BIGINT") if expr.kind == Kind.BIGINT else node
        return sql.number(value)

    def _binary(self, expr: Binary) -> exp.Expression:
        """Emit a chain of operators; the left spine by a loop."""
        spine = [expr]
        while isinstance(spine[-1].left, Binary):
            spine.append(spine[-1].left)
        node = self._operand(spine[-1].left, spine[-1])
        previous: Expr = spine[-1].left
        for step in reversed(spine):
            if previous is not spine[-1].left and previous.kind != step.kind:
                node = sql.cast(node, _TYPE_OF_KIND[step.kind])
            node = self._operation(step, node)
            previous = step
        return node

    def _operand(self, operand: Expr, step: Binary) -> exp.Expression:
        if step.operator == "||":
            return (
                self.value(operand)
                if operand.kind != Kind.NULL
                else sql.cast(exp.Null(), "VARCHAR")
            )
        return self.cast_value(operand, step.kind)

    def _operation(self, step: Binary, left: exp.Expression) -> exp.Expression:
        right = self._operand(step.right, step)
        left = sql.parenthesis(left)
        if step.operator == "||":
            return exp.DPipe(this=left, expression=sql.parenthesis(right), safe=False)
        if step.operator == "/":
            if step.kind in INTEGERS:
                return exp.IntDiv(this=left, expression=self._not_zero(step.right, right))
            return exp.Div(this=left, expression=sql.parenthesis(right))
        return _OPERATORS[step.operator](this=left, expression=sql.parenthesis(right))

    @staticmethod
    def _not_zero(divisor: Expr, node: exp.Expression) -> exp.Expression:
        """Emit a divisor with NULL for 0."""
        if isinstance(divisor, Literal) and divisor.value != 0:
            return sql.parenthesis(node)
        zero = sql.integer(0)
        if any(isinstance(part, Binary) and part.operator == "/" for part in walk(divisor)):
            # NULLIF names its argument twice, and again in each divisor within: bind it once.
            bound = exp.Column(this=sql.identifier("d"))
            body = exp.Case(ifs=[exp.If(this=sql.compare(bound, "<>", zero), true=bound)])
            each = exp.Lambda(this=body, expressions=[sql.identifier("d")])
            many = function_list_transform(node, each)
            return exp.Bracket(this=many, expressions=[sql.integer(1)], offset=1)
        return exp.Nullif(this=node, expression=zero)

    def _call(self, expr: Call) -> exp.Expression:
        name = expr.name
        if name in _OF_DOUBLES:
            return sql.function(_OF_DOUBLES[name], *(self.double(arg) for arg in expr.args))
        if name in _KEEPING_KIND:
            return self._keeping_kind(expr)
        if name in ("LOWER", "UPPER"):
            return sql.function(name.lower(), self.cast_value(expr.args[0], Kind.STRING))
        if name == "COALESCE":
            return exp.Coalesce(
                this=self._coalesced(expr.args[0], expr.kind),
                expressions=[self._coalesced(arg, expr.kind) for arg in expr.args[1:]],
            )
        if name == "RAND":
            return self._random(expr)
        raise InternalError(f"The function {name} cannot be emitted")

    def _coalesced(self, arg: Expr, kind: Kind) -> exp.Expression:
        if arg.kind == kind and kind != Kind.SMALLINT:
            return self.comparable(arg)
        return sql.cast(self.comparable(arg), _TYPE_OF_KIND[kind])

    def _keeping_kind(self, expr: Call) -> exp.Expression:
        first = self.cast_value(expr.args[0], expr.kind)
        if expr.kind in INTEGERS and expr.name in ("CEILING", "FLOOR"):
            return first
        rest = [self.cast_value(arg, Kind.INTEGER) for arg in expr.args[1:]]
        if expr.kind in INTEGERS and expr.name in ("ROUND", "TRUNCATE") and not rest:
            return first
        return sql.function(_KEEPING_KIND[expr.name], first, *rest)

    def _random(self, expr: Call) -> exp.Expression:
        """Emit RAND; with a seed a number that depends on the seed alone, on any engine.

        The first 13 hexadecimal digits of the MD5 of the seed's digits, over 2^52.
        """
        if not expr.args:
            return sql.function("random")
        seed = sql.cast(self.cast_value(expr.args[0], Kind.BIGINT), "VARCHAR")
        digits = sql.function("substr", sql.function("md5", seed), sql.integer(1), sql.integer(13))
        whole = sql.cast(exp.DPipe(this=sql.string("0x"), expression=digits, safe=False), "BIGINT")
        return exp.Div(this=sql.cast(whole, "DOUBLE"), expression=sql.number(2.0**52))

    def _aggregate(self, expr: Aggregate) -> exp.Expression:
        operand = expr.operand
        if operand is None:
            return exp.Count(this=exp.Star())
        node = self.comparable(operand)
        if expr.name in ("SUM", "AVG") and expr.kind == Kind.DOUBLE and operand.kind != Kind.DOUBLE:
            node = sql.cast(node, "DOUBLE")
        if expr.distinct:
            node = exp.Distinct(expressions=[node])
        result = sql.function(expr.name.lower(), node)
        return (
            sql.cast(result, "BIGINT")
            if expr.name == "SUM" and expr.kind == Kind.BIGINT
            else result
        )


def function_list_transform(value: exp.Expression, each: exp.Expression) -> exp.Expression:
    """Return ``list_transform([value], each)``: binds a value to a name within an expression."""
    return sql.function("list_transform", exp.Array(expressions=[value]), each)
