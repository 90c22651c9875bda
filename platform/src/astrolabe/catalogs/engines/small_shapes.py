"""Conditions on a column of polygons, evaluated with NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from astrolabe.adql.constants import constant_value
from astrolabe.adql.spherical import box_corners, is_range_box
from astrolabe.adql.tree import Box, Call, Circle, Expr, GeometryColumn, Kind, Point, Polygon
from astrolabe.catalogs.pairs import known_polygons
from astrolabe.core.errors import BadParameterError
from astrolabe.sky import regions
from astrolabe.sky.cover import Cap
from astrolabe.sky.shapes import Polygons
from astrolabe.sky.vectors import FloatArray, unit_vectors

__all__ = ["ShapeTest", "shape_test"]

_Bools = npt.NDArray[np.bool_]

ShapeTest = Callable[["pa.ChunkedArray[Any]"], tuple[_Bools, _Bools]]
"""Tells which polygons (n,) of a column fulfil a predicate, and which are polygons at all."""

_Question = Callable[[Polygons], _Bools]


def shape_test(call: Call) -> tuple[GeometryColumn, ShapeTest] | None:
    """Return what evaluates CONTAINS or INTERSECTS of a column of polygons and a constant shape.

    Returns
    -------
    column
        The column.
    test
        The predicate without regard to NULL.
    `None` if the call is another one, or one that needs the engine that knows all shapes.
    """
    first, second = call.args
    if isinstance(second, GeometryColumn):
        column, shape, column_is_first = second, first, False
    elif isinstance(first, GeometryColumn):
        column, shape, column_is_first = first, second, True
    else:
        return None
    if column.kind != Kind.POLYGON:
        return None
    within = call.name == "CONTAINS" and column_is_first
    around = call.name == "CONTAINS" and not column_is_first
    asked = _question(shape, within=within, around=around)
    if asked is None:
        return None
    cap, question = asked
    return column, lambda array: _answered(array, cap, question)


def _question(shape: Expr, *, within: bool, around: bool) -> tuple[Cap, _Question] | None:
    """Return a circle around a constant shape, and what is asked of polygons in its reach."""
    match shape:
        case Point():
            place = _place(shape)
            if place is not None:
                return Cap(place, 0.0), _point_question(place, within=within)
        case Circle(_, center, size):
            place, radius_deg = _place(center), constant_value(size)
            if place is not None and radius_deg is not None and 0.0 <= radius_deg <= 180.0:
                radius = math.radians(radius_deg)
                asked = _circle_question(place, radius, within=within, around=around)
                return Cap(place, radius), asked
        case _:
            corners = _corners(shape)
            if corners is not None:
                return _polygon_question(corners, within=within, around=around)
    return None


def _polygon_question(
    corners: list[tuple[float, float]], *, within: bool, around: bool
) -> tuple[Cap, _Question] | None:
    lon, lat = np.array(corners).T
    try:
        cap = regions.Polygon(lon, lat).bounding_cap()
    except BadParameterError:
        return None
    if cap is None:
        return None  # it does not fit in a hemisphere
    vectors = unit_vectors(lon, lat)
    if within:
        return cap, lambda polygons: polygons.in_polygon(vectors)
    if around:
        return cap, lambda polygons: polygons.hold_polygon(vectors)
    return cap, lambda polygons: polygons.meet(vectors)


def _point_question(place: FloatArray, *, within: bool) -> _Question:
    if within:
        return lambda polygons: np.zeros(len(polygons), dtype=np.bool_)
    return lambda polygons: polygons.hold(place)


def _circle_question(
    place: FloatArray, radius_rad: float, *, within: bool, around: bool
) -> _Question:
    if within:
        return lambda polygons: polygons.in_circle(place, radius_rad)
    if around:
        return lambda polygons: polygons.hold_circle(place, radius_rad)
    return lambda polygons: polygons.meet_circle(place, radius_rad)


def _place(shape: Expr) -> FloatArray | None:
    if not isinstance(shape, Point):
        return None
    lon, lat = constant_value(shape.lon), constant_value(shape.lat)
    return None if lon is None or lat is None else unit_vectors(lon, lat)


def _corners(shape: Expr) -> list[tuple[float, float]] | None:
    match shape:
        case Box(_, Point(_, lon, lat), width, height):
            numbers = [constant_value(value) for value in (lon, lat, width, height)]
            known = [number for number in numbers if number is not None]
            if len(known) < len(numbers) or is_range_box(*known[1:]):
                return None
            return list(box_corners(*known))
        case Polygon(_, vertices):
            corners = []
            for vertex in vertices:
                if not isinstance(vertex, Point):
                    return None
                lon_deg, lat_deg = constant_value(vertex.lon), constant_value(vertex.lat)
                if lon_deg is None or lat_deg is None:
                    return None
                corners.append((lon_deg, lat_deg))
            return corners
        case _:
            return None


def _answered(array: pa.ChunkedArray[Any], cap: Cap, question: _Question) -> tuple[_Bools, _Bools]:
    found = np.zeros(len(array), dtype=np.bool_)
    known, polygons = known_polygons(array)
    if len(polygons):
        near = np.flatnonzero(polygons.near(cap.center, cap.radius_rad))
        if len(near):
            found[np.flatnonzero(known)[near]] = question(polygons.taken(near))
    return found, known
