"""Expressions that have one value for the whole query, and those that are linear in one thing.

Conservative on purpose: what is not surely known is `UNKNOWN`, and the planner then leaves the
rows to the engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeGuard

from astrolabe.adql.tree import Binary, Call, Expr, Kind, Literal, Negate

__all__ = ["NULL", "UNKNOWN", "Linear", "Mark", "Value", "compare", "fold", "linear", "number"]


class Mark(Enum):
    """The two answers that are not a value."""

    UNKNOWN = "unknown"
    NULL = "null"


UNKNOWN: Final = Mark.UNKNOWN
"""The value depends on rows, or cannot surely be told before the query runs."""

NULL: Final = Mark.NULL
"""The value is SQL's NULL."""

Value = int | float | str | bool | Mark

_INTEGERS = frozenset([Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT])

# Functions of numbers that mean the same everywhere; errors of theirs are left to the engine.
_FUNCTIONS: dict[tuple[str, int], Callable[..., float]] = {
    ("ABS", 1): abs,
    ("ACOS", 1): math.acos,
    ("ASIN", 1): math.asin,
    ("ATAN", 1): math.atan,
    ("ATAN2", 2): math.atan2,
    ("COS", 1): math.cos,
    ("COT", 1): lambda angle: 1.0 / math.tan(angle),
    ("DEGREES", 1): math.degrees,
    ("EXP", 1): math.exp,
    ("LOG", 1): math.log,
    ("LOG10", 1): math.log10,
    ("PI", 0): lambda: math.pi,
    ("POWER", 2): math.pow,
    ("RADIANS", 1): math.radians,
    ("SIN", 1): math.sin,
    ("SQRT", 1): math.sqrt,
    ("TAN", 1): math.tan,
}
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def fold(expr: Expr, known: Mapping[Expr, Value] | None = None) -> Value:
    """Return the value that `expr` has in every row.

    Parameters
    ----------
    expr
        The expression.
    known
        Values to assume for some expressions.

    Returns
    -------
    Value
        Exact integers as `int`; `NULL`; `UNKNOWN` if it is not surely known.
    """
    if known and expr in known:
        return known[expr]
    if isinstance(expr, Literal):
        return NULL if expr.value is None else expr.value
    if isinstance(expr, Negate):
        value = fold(expr.operand, known)
        return -value if _is_number(value) else _no_number(value)
    if isinstance(expr, Binary):
        return _fold_binary(expr, known)
    if isinstance(expr, Call):
        return _fold_call(expr, known)
    return UNKNOWN


def number(expr: Expr) -> float | None:
    """Return the finite number that `expr` is in every row, `None` if it is not surely one."""
    value = fold(expr)
    if _is_number(value) and math.isfinite(value):
        return float(value)
    return None


def compare(operator: str, left: Value, right: Value) -> Value:
    """Return whether ``left operator right`` holds: a `bool`, `NULL` or `UNKNOWN`."""
    if left is NULL or right is NULL:
        return NULL
    if _is_number(left) and _is_number(right):
        return _compare_numbers(operator, left, right)
    # Whether blanks at the end or case make strings differ is the engine's rule.
    if isinstance(left, str) and left == right and operator in ("=", "<>"):
        return operator == "="
    return UNKNOWN


def _compare_numbers(operator: str, left: float, right: float) -> Value:
    try:
        if type(left) is not type(right):
            left, right = float(left), float(right)
        if math.isnan(left) or math.isnan(right):
            return UNKNOWN
    except OverflowError:
        return UNKNOWN
    return _COMPARISONS[operator](left, right)


@dataclass(frozen=True, slots=True)
class Linear:
    """``slope * leaf + offset`` with `leaf` that depends on rows; `slope` is never 0."""

    leaf: Expr
    slope: float = 1.0
    offset: float = 0.0

    @property
    def is_plain(self) -> bool:
        """Whether it is the leaf itself."""
        return self.slope == 1.0 and self.offset == 0.0

    def solve(self, value: float) -> float:
        """Return what the leaf must be for the whole to be `value`."""
        return (value - self.offset) / self.slope


def linear(expr: Expr, is_leaf: Callable[[Expr], bool]) -> Linear | None:
    """Return `expr` as a linear function of its one leaf, `None` if it is not surely one.

    Parameters
    ----------
    expr
        The expression.
    is_leaf
        Says which expressions are leaves.
    """
    if is_leaf(expr):
        return Linear(expr)
    if isinstance(expr, Negate):
        inner = linear(expr.operand, is_leaf)
        return None if inner is None else Linear(inner.leaf, -inner.slope, -inner.offset)
    # Arithmetic of integers may overflow or round; only that of floats is linear for sure.
    if not isinstance(expr, Binary) or expr.kind != Kind.DOUBLE:
        return None
    if (constant := number(expr.right)) is not None:
        inner, left_first = linear(expr.left, is_leaf), True
    elif (constant := number(expr.left)) is not None:
        inner, left_first = linear(expr.right, is_leaf), False
    else:
        return None
    return None if inner is None else _combine(expr.operator, inner, constant, first=left_first)


def _combine(operator: str, inner: Linear, constant: float, *, first: bool) -> Linear | None:
    leaf, slope, offset = inner.leaf, inner.slope, inner.offset
    if operator == "+":
        return Linear(leaf, slope, offset + constant)
    if operator == "-":
        if first:
            return Linear(leaf, slope, offset - constant)
        return Linear(leaf, -slope, constant - offset)
    if operator == "*" and constant != 0.0:
        return Linear(leaf, slope * constant, offset * constant)
    if operator == "/" and first and constant != 0.0:
        return Linear(leaf, slope / constant, offset / constant)
    return None


def _fold_binary(  # noqa: PLR0911 - one an operator
    expr: Binary, known: Mapping[Expr, Value] | None
) -> Value:
    left, right = fold(expr.left, known), fold(expr.right, known)
    if not (_is_number(left) and _is_number(right)):
        return _no_number(left, right)
    try:
        match expr.operator:
            case "+":
                return left + right
            case "-":
                return left - right
            case "*":
                return left * right
            case "/":
                return _divide(left, right, whole=expr.kind in _INTEGERS)
            case "||":
                return UNKNOWN
    except (OverflowError, ZeroDivisionError):
        return UNKNOWN


def _divide(left: float, right: float, *, whole: bool) -> Value:
    if not whole:
        return left / right
    # How integers are rounded is the engine's rule; without a rest there is nothing to round.
    if isinstance(left, int) and isinstance(right, int) and left % right == 0:
        return left // right
    return UNKNOWN


def _fold_call(expr: Call, known: Mapping[Expr, Value] | None) -> Value:
    function = _FUNCTIONS.get((expr.name, len(expr.args)))
    if function is None:
        return UNKNOWN
    values = [fold(arg, known) for arg in expr.args]
    if not all(_is_number(value) for value in values):
        return _no_number(*values)
    try:
        return function(*values)
    except (ValueError, OverflowError, ZeroDivisionError):
        return UNKNOWN


def _is_number(value: Value) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _no_number(*operands: Value) -> Value:
    """Return what an operation gives of operands that are not all numbers."""
    return NULL if NULL in operands and UNKNOWN not in operands else UNKNOWN
