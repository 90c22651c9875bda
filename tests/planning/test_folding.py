from __future__ import annotations

import math

import pytest

from astrolabe.adql.tree import Binary, Call, ColumnRef, Expr, Kind, Literal, Negate
from astrolabe.catalogs.planning.folding import (
    NULL,
    UNKNOWN,
    Linear,
    Value,
    compare,
    fold,
    linear,
    number,
)

from .survey import column

X = ColumnRef(Kind.DOUBLE, "t0", column("x"))


def lit(value: int | float | str | None) -> Literal:  # noqa: PYI041 - they differ here
    kind = Kind.NULL if value is None else Kind.STRING
    if isinstance(value, int):
        kind = Kind.BIGINT
    elif isinstance(value, float):
        kind = Kind.DOUBLE
    return Literal(kind, value)


def op(operator: str, left: Expr, right: Expr, kind: Kind = Kind.DOUBLE) -> Binary:
    return Binary(kind, operator, left, right)  # type: ignore[arg-type] # one of the operators


def call(name: str, *args: Expr) -> Call:
    return Call(Kind.DOUBLE, name, args)


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (lit(5), 5),
        (lit(2**62 + 1), 2**62 + 1),
        (lit(None), NULL),
        (Negate(Kind.DOUBLE, lit(1.5)), -1.5),
        (Negate(Kind.DOUBLE, lit(None)), NULL),
        (op("/", lit(10), lit(3600.0)), 10 / 3600),
        (op("/", lit(10), lit(4), Kind.BIGINT), UNKNOWN),
        (op("/", lit(10), lit(5), Kind.BIGINT), 2),
        (op("/", lit(10.0), lit(0)), UNKNOWN),
        (op("/", lit(10), lit(4), Kind.DOUBLE), 2.5),
        (op("+", op("*", lit(2), lit(3), Kind.BIGINT), lit(1), Kind.BIGINT), 7),
        (op("-", lit(1), lit(None)), NULL),
        (op("-", X, lit(None)), UNKNOWN),
        (op("||", lit("a"), lit("b")), UNKNOWN),
        (call("PI"), math.pi),
        (call("SQRT", lit(4.0)), 2.0),
        (call("SQRT", lit(-4.0)), UNKNOWN),
        (call("SQRT", lit(None)), NULL),
        (call("POWER", lit(10), lit(400.0)), UNKNOWN),
        (call("COT", lit(0.0)), UNKNOWN),
        (call("RAND"), UNKNOWN),
        (call("SQRT", X), UNKNOWN),
        (X, UNKNOWN),
    ],
)
def test_fold(expr: Expr, expected: Value) -> None:
    assert fold(expr) == expected
    assert type(fold(expr)) is type(expected)


def test_assumed_values_are_used() -> None:
    assert fold(op("+", X, lit(1)), {X: 2}) == 3
    assert number(X) is None
    assert number(lit(math.inf)) is None
    assert number(lit(3)) == 3.0


@pytest.mark.parametrize(
    ("operator", "left", "right", "expected"),
    [
        ("=", 1, 1.0, True),
        ("<>", 1, 1.0, False),
        ("<", 1, 2, True),
        (">=", 1, 2, False),
        # As doubles they are equal, and so an engine compares them.
        ("=", 2**53 + 1, 2.0**53, True),
        ("=", 2**53 + 1, 2**53, False),
        ("=", NULL, 1, NULL),
        ("<>", UNKNOWN, NULL, NULL),
        ("=", UNKNOWN, 1, UNKNOWN),
        ("=", math.nan, 1.0, UNKNOWN),
        ("=", "a", "a", True),
        ("<>", "a", "a", False),
        ("=", "a", "a ", UNKNOWN),
        ("<", "a", "b", UNKNOWN),
        ("=", True, 1, UNKNOWN),
        ("=", 10**400, 1.0, UNKNOWN),
    ],
)
def test_compare(operator: str, left: Value, right: Value, expected: Value) -> None:
    assert compare(operator, left, right) is expected


@pytest.mark.parametrize(
    ("expr", "slope", "offset"),
    [
        (X, 1, 0),
        (Negate(Kind.DOUBLE, X), -1, 0),
        (op("*", lit(3600), X), 3600, 0),
        (op("/", X, lit(4.0)), 0.25, 0),
        (op("-", lit(90), X), -1, 90),
        (op("+", op("*", op("-", X, lit(1)), lit(2)), lit(5)), 2, 3),
    ],
)
def test_linear(expr: Expr, slope: float, offset: float) -> None:
    found = linear(expr, lambda e: e is X)
    assert found == Linear(X, slope, offset)
    assert found.solve(slope * 7.0 + offset) == 7.0


@pytest.mark.parametrize(
    "expr",
    [
        op("/", lit(1), X),
        op("*", X, X),
        op("*", X, lit(0)),
        op("/", X, lit(0)),
        op("+", X, lit(1), Kind.BIGINT),
        op("+", X, lit(None)),
        call("SQRT", X),
        lit(5),
    ],
)
def test_not_linear(expr: Expr) -> None:
    assert linear(expr, lambda e: e is X) is None
