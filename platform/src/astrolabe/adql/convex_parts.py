"""Cuts a polygon on the sphere into convex parts, for which being inside is plain arithmetic."""

from __future__ import annotations

from typing import TypeAlias

from astrolabe.adql.spherical import SphericalPolygon, Vector

__all__ = ["MAX_VERTICES", "convex_parts"]

MAX_VERTICES = 60
"""Polygons with more vertices are not cut: the parts would be as much work as the whole."""

_Point: TypeAlias = tuple[float, float]


def convex_parts(polygon: SphericalPolygon) -> tuple[SphericalPolygon, ...] | None:
    """Return convex polygons that together cover exactly the inside of `polygon`.

    Returns
    -------
    tuple or None
        `None` if the polygon crosses itself, fits in no hemisphere or has too many vertices.
    """
    cap = polygon.cap()
    if cap is None or cap.cosine < 0.05 or len(polygon.vertices) > MAX_VERTICES:
        return None
    # Seen from the sphere's centre on a plane, great circles are straight lines.
    plane = [_projected(vertex, *cap.frame()) for vertex in polygon.vertices]
    if _crosses_itself(plane):
        return None
    order = list(range(len(plane)))
    if sum(_turn((0.0, 0.0), plane[i - 1], plane[i]) for i in order) < 0:
        order.reverse()
    triangles = _ears(plane, order)
    if triangles is None:
        return None
    parts = [
        SphericalPolygon(tuple(polygon.vertices[i] for i in part))
        for part in _merged(plane, triangles)
    ]
    if any(part.inward_normals() is None for part in parts):
        return None
    return tuple(parts)


def _projected(vertex: Vector, pole: Vector, east: Vector, north: Vector) -> _Point:
    depth = sum(a * b for a, b in zip(vertex, pole, strict=True))
    return (
        sum(a * b for a, b in zip(vertex, east, strict=True)) / depth,
        sum(a * b for a, b in zip(vertex, north, strict=True)) / depth,
    )


def _turn(a: _Point, b: _Point, c: _Point) -> float:
    """Twice the area of a triangle, positive if it goes round counter-clockwise."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _crosses_itself(plane: list[_Point]) -> bool:
    count = len(plane)
    for i in range(count):
        a, b = plane[i], plane[(i + 1) % count]
        for j in range(i + 2, count):
            if (j + 1) % count == i:
                continue
            c, d = plane[j], plane[(j + 1) % count]
            if _turn(a, b, c) * _turn(a, b, d) <= 0 and _turn(c, d, a) * _turn(c, d, b) <= 0:
                return True
    return False


def _ears(plane: list[_Point], order: list[int]) -> list[list[int]] | None:
    """Cut triangles off a counter-clockwise simple polygon until nothing is left."""
    triangles: list[list[int]] = []
    rest = list(order)
    while len(rest) > 3:
        for position in range(len(rest)):
            ear = [rest[position - 1], rest[position], rest[(position + 1) % len(rest)]]
            a, b, c = (plane[i] for i in ear)
            if _turn(a, b, c) <= 0:
                continue
            others = (plane[i] for i in rest if i not in ear)
            if any(
                _turn(a, b, p) >= 0 and _turn(b, c, p) >= 0 and _turn(c, a, p) >= 0 for p in others
            ):
                continue
            triangles.append(ear)
            del rest[position]
            break
        else:
            return None
    triangles.append(rest)
    return triangles


def _merged(plane: list[_Point], parts: list[list[int]]) -> list[list[int]]:
    """Join parts that share a side as long as they stay convex."""
    changed = True
    while changed:
        changed = False
        for i, one in enumerate(parts):
            for j in range(i + 1, len(parts)):
                joined = _joined(one, parts[j])
                if joined is not None and _is_convex(plane, joined):
                    parts[i] = joined
                    del parts[j]
                    changed = True
                    break
            if changed:
                break
    return parts


def _joined(one: list[int], two: list[int]) -> list[int] | None:
    """Return two parts that share a side as one, going round the same way."""
    for i, a in enumerate(one):
        b = one[(i + 1) % len(one)]
        for j, c in enumerate(two):
            if c == b and two[(j + 1) % len(two)] == a:
                ahead = one[i + 1 :] + one[: i + 1]  # from b round to a
                other = two[j + 1 :] + two[: j + 1]  # from a round to b
                return ahead + other[1:-1]
    return None


def _is_convex(plane: list[_Point], part: list[int]) -> bool:
    count = len(part)
    return all(
        _turn(plane[part[i]], plane[part[(i + 1) % count]], plane[part[(i + 2) % count]]) > 0
        for i in range(count)
    )
