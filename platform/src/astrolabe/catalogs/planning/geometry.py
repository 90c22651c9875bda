"""Positions and shapes in a query's expressions.

Two kinds of geometry matter to the planner: those that are the same for every row, and circles
around a table's own positions (a bare position is such a circle of radius 0).  Each predicate
between one of each says that the position is within the circle's radius of the constant shape,
whichever way round it is written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from astrolabe.adql import tree
from astrolabe.adql.tree import Call, ColumnRef, Expr, TableSource
from astrolabe.catalogs.planning.folding import number
from astrolabe.catalogs.planning.restrictions import FREE, IMPOSSIBLE, Bounds, Restriction
from astrolabe.core.errors import BadParameterError
from astrolabe.sky import regions
from astrolabe.sky.regions import Region

__all__ = ["Geometry"]

_REAL_DEG = 5e-5
# How far a 32-bit position may be from itself when an engine computes in 32 bits.


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """Understands geometries.

    Parameters
    ----------
    tables
        The tables by `TableSource` key.
    derived
        For each `SubquerySource` key, the expressions behind those of its columns of which a
        condition may be asked inside the subquery as well as outside.
    """

    tables: Mapping[str, TableSource]
    derived: Mapping[str, Mapping[str, Expr]]

    def resolved(self, expr: Expr) -> Expr:
        """Return `expr` with columns of subqueries replaced by what they are made of."""
        if isinstance(expr, ColumnRef):
            inner = self.derived.get(expr.source, {}).get(expr.column.name)
            return expr if inner is None else self.resolved(inner)
        if isinstance(expr, tree.GeometryColumn):
            behind = self.resolved(expr.reference)
            return behind if behind is not expr.reference else expr
        changed: dict[str, object] = {}
        for name in tree.field_names(type(expr)):
            value = getattr(expr, name)
            if isinstance(value, Expr):
                new = self.resolved(value)
                if new is not value:
                    changed[name] = new
            elif isinstance(value, tuple):
                parts = tuple(self.resolved(p) if isinstance(p, Expr) else p for p in value)
                if any(new is not old for new, old in zip(parts, value, strict=True)):
                    changed[name] = parts
        simple = replace(expr, **changed) if changed else expr  # type: ignore[arg-type] # by name
        return _simplified(simple)

    def predicate(self, call: Call) -> Bounds:
        """Return what is known of rows for which CONTAINS or INTERSECTS (resolved) is 1."""
        first, second = call.args
        found = [
            self._near(circle, radius, shape)
            for circle, shape in ((first, second), (second, first))
            if (radius := self._radius(circle)) is not None
        ]
        found += [
            self._meets(shape, other)
            for shape, other in ((first, second), (second, first))
            if isinstance(shape, tree.GeometryColumn)
        ]
        return Bounds.all_of(found)

    def _meets(self, shape: tree.GeometryColumn, other: Expr) -> Bounds:
        """Say of the table in one of whose columns `shape` is that it meets a constant shape."""
        column = shape.reference
        if column.source not in self.tables:
            return FREE
        region = constant_region(other)
        if region is None:
            return FREE
        return Bounds({column.source: Restriction(footprints=((column.column.name, region),))})

    def distance_at_most(self, call: Call, distance_deg: float) -> Bounds:
        """Return what is known of rows for which DISTANCE (resolved) is at most `distance_deg`."""
        if distance_deg < 0.0:
            return IMPOSSIBLE
        first, second = call.args
        return Bounds.all_of(
            self._near(point, distance_deg, other)
            for point, other in ((first, second), (second, first))
        )

    def _near(self, circle: Expr, radius_deg: float, shape: Expr) -> Bounds:
        """Say of the table at whose positions `circle` is that they are near a constant shape."""
        key = self._position_of(circle.center if isinstance(circle, tree.Circle) else circle)
        if key is None:
            return FREE
        region = _widened(constant_region(shape), radius_deg + self._uncertainty_deg(key))
        return FREE if region is None else Bounds({key: Restriction(regions=(region,))})

    def _radius(self, geometry: Expr) -> float | None:
        """Return the radius if this is a circle around a position: 0 for the bare position."""
        if isinstance(geometry, tree.Circle):
            radius = number(geometry.radius)
            return radius if radius is not None and radius >= 0.0 else None
        return 0.0

    def _position_of(self, point: Expr) -> str | None:
        """Return the key of the table whose main position `point` is."""
        if not isinstance(point, tree.Point):
            return None
        lon, lat = point.lon, point.lat
        if not (isinstance(lon, ColumnRef) and isinstance(lat, ColumnRef)):
            return None
        source = self.tables.get(lon.source)
        if source is None or lat.source != lon.source:
            return None
        names = (lon.column.name, lat.column.name)
        return source.key if names == (source.table.ra_column, source.table.dec_column) else None

    def _uncertainty_deg(self, key: str) -> float:
        table = self.tables[key].table
        columns = (table.column(table.ra_column or ""), table.column(table.dec_column or ""))
        short = any(c is not None and c.datatype.value == "float" for c in columns)
        return _REAL_DEG if short else 0.0


def constant_region(shape: Expr) -> Region | None:
    """Return the region that `shape` is in every row, `None` if it is not surely one.

    A degenerate box is given as the circle around it.
    """
    try:
        match shape:
            case tree.Point():
                place = _constant_point(shape)
                return None if place is None else regions.Circle(*place, 0.0)
            case tree.Circle(_, center, radius):
                place, size = _constant_point(center), number(radius)
                if place is not None and size is not None:
                    return regions.Circle(*place, size)
            case tree.Polygon(_, vertices):
                places = [_constant_point(vertex) for vertex in vertices]
                known = [place for place in places if place is not None]
                if len(known) == len(places):
                    lon, lat = np.array(known).T
                    return regions.Polygon(lon, lat)
            case tree.Box(_, center, width, height):
                return _constant_box(_constant_point(center), number(width), number(height))
            case _:
                pass
    except BadParameterError:
        # The engine tells the user, or has rules of its own for such a shape.
        return None
    return None


def _constant_box(
    center: tuple[float, float] | None, width: float | None, height: float | None
) -> Region | None:
    if center is None or width is None or height is None:
        return None
    if width > 0.0 and height > 0.0:
        return regions.Box(*center, width, height)
    if width < 0.0 or height < 0.0:
        return None
    return regions.Circle(*center, min(math.hypot(width, height) / 2.0 * 1.01, 180.0))


def _constant_point(point: Expr) -> tuple[float, float] | None:
    if not isinstance(point, tree.Point):
        return None
    lon, lat = number(point.lon), number(point.lat)
    return None if lon is None or lat is None else (lon, lat)


def _widened(region: Region | None, by_deg: float) -> Region | None:
    """Return a region that holds every position within a distance of `region`."""
    if region is None or by_deg == 0.0:
        return region
    if isinstance(region, regions.Circle):
        size = region.radius_deg + by_deg
        return regions.Circle(region.ra_deg, region.dec_deg, size) if size < 180.0 else None
    cap = region.bounding_cap()
    if cap is None or cap.radius_rad + math.radians(by_deg) >= math.pi:
        return None
    x, y, z = cap.center.tolist()
    return regions.Circle(
        math.degrees(math.atan2(y, x)),
        math.degrees(math.atan2(z, math.hypot(x, y))),
        math.degrees(cap.radius_rad) * (1.0 + 1e-12) + by_deg,
    )


def _simplified(expr: Expr) -> Expr:
    """Return COORD1, COORD2 and CENTROID of what is at hand as that itself."""
    if isinstance(expr, Call) and len(expr.args) == 1:
        match expr.name, expr.args[0]:
            case "COORD1", tree.Point(_, lon, _):
                return lon
            case "COORD2", tree.Point(_, _, lat):
                return lat
            case "CENTROID", tree.Circle(_, center, _):
                return center
            case "CENTROID", tree.Point() as point:
                return point
            case _:
                pass
    return expr
