"""Small pieces of DuckDB SQL as sqlglot nodes, with arithmetic on constants done at once.

A number that is known when the SQL is made is a Python float, everything else a node: `Term`.
Nodes may stand in several places of a tree; nothing here changes a node after it is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from sqlglot import exp

__all__ = [
    "Term",
    "absolute",
    "add",
    "all_of",
    "any_of",
    "arctan2",
    "balanced_sum",
    "cast",
    "column",
    "compare",
    "cosine",
    "divide",
    "dot",
    "function",
    "identifier",
    "integer",
    "multiply",
    "negate_condition",
    "number",
    "parenthesis",
    "product_of",
    "radians",
    "sine",
    "square",
    "square_root",
    "string",
    "subtract",
    "to_sql",
]

Term = float | exp.Expression

_TYPES: dict[str, exp.DataType] = {
    "BIGINT": exp.DataType(this=exp.DataType.Type.BIGINT),
    "INTEGER": exp.DataType(this=exp.DataType.Type.INT),
    "SMALLINT": exp.DataType(this=exp.DataType.Type.SMALLINT),
    "REAL": exp.DataType(this=exp.DataType.Type.FLOAT),
    "DOUBLE": exp.DataType(this=exp.DataType.Type.DOUBLE),
    "VARCHAR": exp.DataType(this=exp.DataType.Type.VARCHAR),
    "BOOLEAN": exp.DataType(this=exp.DataType.Type.BOOLEAN),
    "TIMESTAMP": exp.DataType(this=exp.DataType.Type.TIMESTAMP),
    "DOUBLE[]": exp.DataType(
        this=exp.DataType.Type.ARRAY,
        expressions=[exp.DataType(this=exp.DataType.Type.DOUBLE)],
        nested=True,
    ),
}


def identifier(name: str) -> exp.Identifier:
    """Return a name, always in quotes."""
    return exp.Identifier(this=name, quoted=True)


def column(table: str, name: str) -> exp.Column:
    """Return ``"table"."name"``."""
    return exp.Column(this=identifier(name), table=identifier(table))


def cast(node: exp.Expression, type_name: str) -> exp.Expression:
    """Return `node` as a value of an SQL type."""
    return exp.Cast(this=node, to=_TYPES[type_name])


def function(name: str, *args: Term) -> exp.Expression:
    """Return a call of a function."""
    return exp.Anonymous(this=name, expressions=[to_sql(arg) for arg in args])


def string(text: str) -> exp.Expression:
    """Return a string."""
    return exp.Literal.string(text)


def integer(value: int) -> exp.Expression:
    """Return a whole number."""
    return exp.Literal(this=str(value), is_string=False)


def number(value: float) -> exp.Expression:
    """Return a number of type DOUBLE: DuckDB takes ``1.5`` for a DECIMAL, ``1.5e0`` not."""
    if not math.isfinite(value):
        name = "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
        return cast(exp.Literal.string(name), "DOUBLE")
    text = repr(float(value))
    return exp.Literal(this=text if "e" in text else text + "e0", is_string=False)


def to_sql(term: Term) -> exp.Expression:
    """Return a term as a node."""
    return term if isinstance(term, exp.Expression) else number(term)


def parenthesis(node: exp.Expression) -> exp.Expression:
    """Return `node` in parentheses if it consists of parts."""
    if isinstance(node, exp.Column | exp.Literal | exp.Anonymous | exp.Paren | exp.Cast | exp.Var):
        return node
    return exp.Paren(this=node)


def _operation(
    node: type[exp.Expression], left: Term, right: Term, compute: Callable[[float, float], float]
) -> Term:
    if not isinstance(left, exp.Expression) and not isinstance(right, exp.Expression):
        return compute(left, right)
    return node(this=parenthesis(to_sql(left)), expression=parenthesis(to_sql(right)))


def add(left: Term, right: Term) -> Term:
    """Return ``left + right``."""
    if right == 0.0 and not isinstance(right, exp.Expression):
        return left
    if left == 0.0 and not isinstance(left, exp.Expression):
        return right
    return _operation(exp.Add, left, right, lambda a, b: a + b)


def subtract(left: Term, right: Term) -> Term:
    """Return ``left - right``."""
    return _operation(exp.Sub, left, right, lambda a, b: a - b)


def multiply(left: Term, right: Term) -> Term:
    """Return ``left * right``; a constant factor of one is left out."""
    if left == 1.0 and not isinstance(left, exp.Expression):
        return right
    if right == 1.0 and not isinstance(right, exp.Expression):
        return left
    return _operation(exp.Mul, left, right, lambda a, b: a * b)


def divide(left: Term, right: Term) -> Term:
    """Return ``left / right``; a constant `right` is never 0."""
    return _operation(exp.Div, left, right, lambda a, b: a / b)


def _unary(name: str, term: Term, compute: Callable[[float], float]) -> Term:
    return function(name, term) if isinstance(term, exp.Expression) else compute(term)


def sine(term: Term) -> Term:
    """Return the sine of an angle in radians."""
    return _unary("sin", term, math.sin)


def cosine(term: Term) -> Term:
    """Return the cosine of an angle in radians."""
    return _unary("cos", term, math.cos)


def square_root(term: Term) -> Term:
    """Return the square root."""
    return _unary("sqrt", term, math.sqrt)


def absolute(term: Term) -> Term:
    """Return the absolute value."""
    return _unary("abs", term, abs)


def radians(term: Term) -> Term:
    """Return an angle in radians that is given in degrees."""
    return _unary("radians", term, math.radians)


def arctan2(y: Term, x: Term) -> Term:
    """Return the angle of the vector (x, y) in radians."""
    if isinstance(y, exp.Expression) or isinstance(x, exp.Expression):
        return function("atan2", y, x)
    return math.atan2(y, x)


def square(term: Term) -> Term:
    """Return the square."""
    return multiply(term, term)


def dot(left: Iterable[Term], right: Iterable[Term]) -> Term:
    """Return the scalar product of two vectors."""
    total: Term = 0.0
    for a, b in zip(left, right, strict=True):
        if a == 0.0 and not isinstance(a, exp.Expression):
            continue
        total = add(total, multiply(a, b))
    return total


def balanced_sum(terms: list[Term]) -> exp.Expression:
    """Return a sum whose tree is shallow, however many terms it has."""
    if len(terms) == 1:
        return to_sql(terms[0])
    middle = len(terms) // 2
    return exp.Add(
        this=parenthesis(balanced_sum(terms[:middle])),
        expression=parenthesis(balanced_sum(terms[middle:])),
    )


def product_of(conditions: Iterable[exp.Expression]) -> exp.Expression:
    """Return 1 where all conditions hold, else 0, by multiplication."""
    factors = [cast(condition, "INTEGER") for condition in conditions]
    result = factors[0]
    for factor in factors[1:]:
        result = exp.Mul(this=result, expression=factor)
    return result


_COMPARE: dict[str, type[exp.Expression]] = {
    "=": exp.EQ,
    "<>": exp.NEQ,
    "<": exp.LT,
    "<=": exp.LTE,
    ">": exp.GT,
    ">=": exp.GTE,
}


def compare(left: Term, operator: str, right: Term) -> exp.Expression:
    """Return a comparison."""
    return _COMPARE[operator](this=parenthesis(to_sql(left)), expression=parenthesis(to_sql(right)))


def all_of(terms: Iterable[exp.Expression]) -> exp.Expression:
    """Return the AND of conditions, at least one."""
    return _join(exp.And, list(terms))


def any_of(terms: Iterable[exp.Expression]) -> exp.Expression:
    """Return the OR of conditions, at least one."""
    return _join(exp.Or, list(terms))


def _join(node: type[exp.Expression], terms: list[exp.Expression]) -> exp.Expression:
    result = terms[0]
    if len(terms) > 1:
        wrapped = [
            exp.Paren(this=term) if isinstance(term, exp.Connector) else term for term in terms
        ]
        result = wrapped[0]
        for term in wrapped[1:]:
            result = node(this=result, expression=term)
    return result


def negate_condition(node: exp.Expression) -> exp.Expression:
    """Return NOT of a condition."""
    return exp.Not(this=exp.Paren(this=node))
