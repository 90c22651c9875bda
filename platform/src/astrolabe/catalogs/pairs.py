"""Circles and polygons of two tables that are to be judged pair by pair.

A join on CONTAINS or INTERSECTS of positions with footprints, row by row in an engine, costs a
judgement for every pair of rows.  Here the rows of one table, which are in memory, are told apart
by where they are; the pairs that are near each other are found first and then judged many at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from astrolabe.adql.constants import constant_value
from astrolabe.adql.kinds import FLOATS, INTEGERS
from astrolabe.adql.tree import Binary, ColumnRef, Expr, Kind, Negate
from astrolabe.sky.cover import BORDER_TOLERANCE_RAD
from astrolabe.sky.near import Caps, SortedPoints, near_pairs
from astrolabe.sky.shapes import Polygons
from astrolabe.sky.vectors import FloatArray, arc_length_rad, unit_vectors
from astrolabe.tables.arrow import AnyArray
from astrolabe.tables.arrow import compute as pc

__all__ = [
    "CircleTerms",
    "PairTest",
    "RowCircles",
    "RowShapes",
    "ShapeColumn",
    "is_number_of",
    "known_polygons",
    "pairs_of",
]

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Columns = Mapping[str, AnyArray]

_MOST_JUDGED: Final = 1 << 15


class PairTest(Enum):
    """What is asked of a polygon and a circle."""

    MEETS = "meets"
    HOLDS = "holds"
    WITHIN = "within"


@dataclass(frozen=True, slots=True, eq=False)
class RowCircles:
    """Circles of the rows that have one.

    Parameters
    ----------
    rows : (n,)
        Numbers of the rows.
    centers : (n, 3)
        Unit vectors.
    radius_rad : (n,) or None
        Radii as they are given, negative ones too; `None` for points.
    """

    rows: Ints
    centers: FloatArray
    radius_rad: FloatArray | None
    points: SortedPoints
    """The centres once more, in an order in which they are found."""

    @property
    def largest_rad(self) -> float:
        """The largest radius, 0 for points."""
        if self.radius_rad is None or not len(self.radius_rad):
            return 0.0
        return max(0.0, float(self.radius_rad.max()))


@dataclass(frozen=True, slots=True, eq=False)
class RowShapes:
    """Polygons of the rows that have one.

    Parameters
    ----------
    rows : (n,)
        Numbers of the rows.
    polygons
        As many polygons.
    reaches
        A circle around each.
    """

    rows: Ints
    polygons: Polygons
    reaches: Caps


@dataclass(frozen=True, slots=True, eq=False)
class CircleTerms:
    """A point or circle that is made of the columns of one table.

    Parameters
    ----------
    lon, lat
        Of the point or centre (degrees): for each of them `is_number_of` holds.
    radius
        Likewise; `None` for a point.
    columns
        Raw names of the columns that they read.
    """

    lon: Expr
    lat: Expr
    radius: Expr | None
    columns: frozenset[str]

    def of(self, columns: Columns, count: int) -> RowCircles:
        """Return the circles of `count` rows; NULL, NaN and infinity make none."""
        lon, lat = _numbers(self.lon, columns, count), _numbers(self.lat, columns, count)
        radius = None if self.radius is None else _numbers(self.radius, columns, count)
        known = np.isfinite(lon) & np.isfinite(lat)
        if radius is not None:
            known &= np.isfinite(radius)
            radius = np.radians(radius[known])
        centers = unit_vectors(lon[known], lat[known])
        return RowCircles(np.flatnonzero(known), centers, radius, SortedPoints.of(centers))


@dataclass(frozen=True, slots=True, eq=False)
class ShapeColumn:
    """A column of polygons by its raw name."""

    name: str

    @property
    def columns(self) -> frozenset[str]:
        """Raw names of the columns that are read."""
        return frozenset([self.name])

    def of(self, columns: Columns, count: int) -> RowShapes:  # noqa: ARG002 - as circles have it
        """Return the polygons of rows; NULL, NaN and infinity make none."""
        known, polygons = known_polygons(columns[self.name])
        if not len(polygons):
            none = Caps(np.empty((0, 3)), np.empty(0))
            return RowShapes(np.empty(0, dtype=np.int64), polygons, none)
        return RowShapes(np.flatnonzero(known), polygons, Caps(*polygons.reaches))


def is_number_of(expr: Expr, source: str) -> bool:
    """Tell whether a number is made of constants and of columns of the source `source` alone.

    Only what has one value by every way of computing it: no integer division, no 32-bit arithmetic.
    """
    if constant_value(expr) is not None:
        return True
    match expr:
        case ColumnRef(kind, key, _):
            return key == source and (kind in INTEGERS or kind in FLOATS)
        case Negate(Kind.DOUBLE, operand):
            return is_number_of(operand, source)
        case Binary(Kind.DOUBLE, operator, left, right) if operator != "||":
            return is_number_of(left, source) and is_number_of(right, source)
        case _:
            return False


def _numbers(expr: Expr, columns: Columns, count: int) -> FloatArray:
    """Return the values (count,) of a number; NaN for NULL."""
    constant = constant_value(expr)
    if constant is not None:
        return np.full(count, constant)
    match expr:
        case ColumnRef(_, _, column):
            numbers = pc.cast(columns[column.name], pa.float64(), safe=False)
            return np.asarray(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)
        case Negate(_, operand):
            return -_numbers(operand, columns, count)
        case Binary(_, operator, left, right):
            one, two = _numbers(left, columns, count), _numbers(right, columns, count)
            with np.errstate(all="ignore"):
                return np.asarray(_ARITHMETIC[operator](one, two), dtype=np.float64)
        case _:
            raise TypeError(f"{type(expr).__name__} is no number of a row")


_ARITHMETIC: Final[Mapping[str, Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
}


def known_polygons(array: AnyArray) -> tuple[Bools, Polygons]:
    """Return which values of a column are polygons (NULL and NaN are none), and those that are.

    Parameters
    ----------
    array
        Lists of longitudes and latitudes in degrees, of a fixed or any length.
    """
    lists: AnyArray = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    flat = np.asarray(pc.list_flatten(lists).to_numpy(zero_copy_only=False), dtype=np.float64)
    lengths = pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False)
    counts = lengths.astype(np.int64)
    of_row = np.repeat(np.arange(len(counts)), counts)
    odd = np.bincount(of_row[~np.isfinite(flat)], minlength=len(counts)) > 0
    known = (counts > 0) & (counts % 2 == 0) & ~odd
    return known, Polygons.of_degrees(flat[known[of_row]], counts[known] // 2)


# --- pairs ---------------------------------------------------------------------------------------


def pairs_of(
    circles: RowCircles, shapes: RowShapes, test: PairTest, *, local: bool
) -> Iterator[tuple[Ints, Ints]]:
    """Yield the rows whose circle and polygon pass a test, in pieces of bounded size.

    Parameters
    ----------
    circles, shapes
        The circles and polygons.
    test
        What is asked.
    local
        Whether it is the circles that lie close together: polygons that are far from all of them
        are left out first.

    Yields
    ------
    of_circle, of_shape : (k,)
        Numbers of the rows of each pair.
    """
    if not len(circles.rows) or not len(shapes.rows):
        return
    reach = shapes.reaches.radius_rad + (circles.largest_rad + BORDER_TOLERANCE_RAD)
    caps = Caps(shapes.reaches.centers, reach)
    numbers = np.arange(len(caps))
    if local:
        around = Caps(circles.centers, np.zeros(len(circles.rows))).around()
        if around is not None:
            numbers = caps.meeting(around)
            caps = Caps(caps.centers[numbers], caps.radius_rad[numbers])
    for of_cap, of_point in near_pairs(caps, circles.points):
        for start in range(0, len(of_cap), _MOST_JUDGED):
            part = slice(start, start + _MOST_JUDGED)
            shape, circle = numbers[of_cap[part]], of_point[part]
            passed = _judged(circles, circle, shapes, shape, test)
            if passed.any():
                yield circles.rows[circle[passed]], shapes.rows[shape[passed]]


def _judged(
    circles: RowCircles, circle: Ints, shapes: RowShapes, shape: Ints, test: PairTest
) -> Bools:
    """Tell which pairs pass, by the rules of :mod:`astrolabe.adql.duckdb_regions`."""
    centers = circles.centers[circle]
    radius = np.zeros(len(circle)) if circles.radius_rad is None else circles.radius_rad[circle]
    apart = arc_length_rad(shapes.reaches.centers[shape], centers)
    reach = shapes.reaches.radius_rad[shape] + radius + BORDER_TOLERANCE_RAD
    passed = apart <= reach
    near = np.flatnonzero(passed)
    if not len(near):
        return np.asarray(passed, dtype=np.bool_)
    polygons, centers, radius = shapes.polygons.taken(shape[near]), centers[near], radius[near]
    if circles.radius_rad is None:
        answers = polygons.hold(centers)
    elif test is PairTest.HOLDS:
        answers = polygons.hold_circle(centers, radius)
    elif test is PairTest.WITHIN:
        answers = polygons.in_circle(centers, radius)
    else:
        answers = polygons.meet_circle(centers, radius) & (radius >= 0.0)
    passed[near] = answers
    return np.asarray(passed, dtype=np.bool_)
