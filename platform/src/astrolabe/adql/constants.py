"""Values that a query fixes before it reads a row."""

from __future__ import annotations

import math

from astrolabe.adql.kinds import INTEGERS
from astrolabe.adql.tree import Binary, Box, Call, Circle, Expr, Literal, Negate, Point, Polygon

__all__ = ["constant_value", "is_constant_geometry"]


def constant_value(expr: Expr) -> float | None:  # noqa: PLR0911 - one return a case
    """Return the number that `expr` always is, `None` if it depends on a row or is no number.

    Signs, the four operations, ``PI()``, ``RADIANS`` and ``DEGREES`` are understood.
    """
    if isinstance(expr, Literal):
        value = expr.value
        return (
            float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
        )
    if isinstance(expr, Negate):
        operand = constant_value(expr.operand)
        return None if operand is None else -operand
    if isinstance(expr, Binary):
        return _constant_binary(expr)
    if isinstance(expr, Call):
        if expr.name == "PI":
            return math.pi
        if expr.name in ("RADIANS", "DEGREES"):
            angle = constant_value(expr.args[0])
            if angle is None:
                return None
            return math.radians(angle) if expr.name == "RADIANS" else math.degrees(angle)
    return None


def _constant_binary(expr: Binary) -> float | None:
    left, right = constant_value(expr.left), constant_value(expr.right)
    if left is None or right is None:
        return None
    if expr.operator == "+":
        return left + right
    if expr.operator == "-":
        return left - right
    if expr.operator == "*":
        return left * right
    whole = expr.kind in INTEGERS
    if expr.operator != "/" or right == 0 or whole:
        return None  # integer division follows rules of its own
    return left / right


def is_constant_geometry(expr: Expr) -> bool:
    """Whether `expr` is a geometry that is the same for every row."""
    match expr:
        case Point(_, lon, lat):
            return constant_value(lon) is not None and constant_value(lat) is not None
        case Circle(_, center, radius):
            return is_constant_geometry(center) and constant_value(radius) is not None
        case Polygon(_, vertices):
            return all(is_constant_geometry(vertex) for vertex in vertices)
        case Box(_, center, width, height):
            return is_constant_geometry(center) and (
                constant_value(width) is not None and constant_value(height) is not None
            )
        case _:
            pass
    return False
