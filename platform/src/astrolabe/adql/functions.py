"""The functions that ADQL 2.1 has (section 2.3), geometry apart."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from astrolabe.adql.tree import Kind

__all__ = ["AGGREGATES", "GEOMETRY_FUNCTIONS", "SCALAR_FUNCTIONS", "Result", "Scalar"]


class Result(StrEnum):
    """How the kind of a function's result follows from its arguments."""

    DOUBLE = "double"
    SAME = "same"  # as the first argument; SMALLINT becomes INTEGER
    STRING = "string"
    COMMON = "common"  # what all arguments have in common


@dataclass(frozen=True, slots=True)
class Scalar:
    """A function of single values.

    Parameters
    ----------
    least, most
        Number of arguments; `most` is `None` for any number.
    result
        Kind of the result.
    argument
        STRING for strings, NULL for anything, DOUBLE for numbers.
    integers
        Indices of arguments that must be whole numbers.
    """

    least: int
    most: int | None
    result: Result = Result.DOUBLE
    argument: Kind = Kind.DOUBLE
    integers: frozenset[int] = frozenset()


_SECOND = frozenset([1])

SCALAR_FUNCTIONS: dict[str, Scalar] = {
    "ABS": Scalar(1, 1, Result.SAME),
    "ACOS": Scalar(1, 1),
    "ASIN": Scalar(1, 1),
    "ATAN": Scalar(1, 1),
    "ATAN2": Scalar(2, 2),
    "CEILING": Scalar(1, 1, Result.SAME),
    "COALESCE": Scalar(1, None, Result.COMMON, Kind.NULL),
    "COS": Scalar(1, 1),
    "COT": Scalar(1, 1),
    "DEGREES": Scalar(1, 1),
    "EXP": Scalar(1, 1),
    "FLOOR": Scalar(1, 1, Result.SAME),
    "LOG": Scalar(1, 1),
    "LOG10": Scalar(1, 1),
    "LOWER": Scalar(1, 1, Result.STRING, Kind.STRING),
    "MOD": Scalar(2, 2),
    "PI": Scalar(0, 0),
    "POWER": Scalar(2, 2),
    "RADIANS": Scalar(1, 1),
    "RAND": Scalar(0, 1, integers=frozenset([0])),
    "ROUND": Scalar(1, 2, Result.SAME, integers=_SECOND),
    "SIN": Scalar(1, 1),
    "SQRT": Scalar(1, 1),
    "TAN": Scalar(1, 1),
    "TRUNCATE": Scalar(1, 2, Result.SAME, integers=_SECOND),
    "UPPER": Scalar(1, 1, Result.STRING, Kind.STRING),
}
"""Functions of single values by name."""

AGGREGATES = frozenset(["AVG", "COUNT", "MAX", "MIN", "SUM"])
"""The aggregate functions (ADQL calls them set functions)."""

GEOMETRY_FUNCTIONS = frozenset(
    [
        "AREA",
        "BOX",
        "CENTROID",
        "CIRCLE",
        "CONTAINS",
        "COORD1",
        "COORD2",
        "COORDSYS",
        "DISTANCE",
        "INTERSECTS",
        "POINT",
        "POLYGON",
    ]
)
"""The geometry functions, checked by :mod:`astrolabe.adql.check_geometry`."""
