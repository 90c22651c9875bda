"""Geometry in DuckDB against brute force by astropy and by exact vectors."""

from __future__ import annotations

import math
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolabe.adql import check_query
from astrolabe.core.errors import AdqlTypeError, AdqlUnsupportedError

from .support import LOOKUP, Sky, emit

_RNG = np.random.default_rng(20251122)


def _positions() -> tuple[np.ndarray, np.ndarray]:
    """Points over the whole sky, dense at the poles, at longitude 0 and around (10, 20)."""
    n = 1500
    lon = _RNG.uniform(0, 360, n)
    lat = np.degrees(np.arcsin(_RNG.uniform(-1, 1, n)))
    near_lon = (10 + _RNG.normal(0, 5, 600)) % 360
    near_lat = np.clip(20 + _RNG.normal(0, 5, 600), -90, 90)
    pole_lon, pole_lat = _RNG.uniform(0, 360, 300), 90 - np.abs(_RNG.normal(0, 4, 300))
    edge_lon, edge_lat = _RNG.normal(0, 3, 300) % 360, _RNG.normal(0, 4, 300)
    lon = np.concatenate([lon, near_lon, pole_lon, pole_lon, edge_lon, [0, 0, 0, 359.9999999]])
    lat = np.concatenate([lat, near_lat, pole_lat, -pole_lat, edge_lat, [90, -90, 0, 0]])
    return lon, lat


LON, LAT = _positions()


@pytest.fixture(scope="module")
def points() -> Any:
    connection = duckdb.connect(":memory:", config={"threads": 1})
    data = {"ra": LON, "dec": LAT, "objectId": np.arange(len(LON))}
    connection.register("arrays", _arrow(data))
    connection.execute('CREATE TABLE "object" AS SELECT * FROM arrays')
    yield connection
    connection.close()


def _arrow(data: dict[str, np.ndarray]) -> Any:
    return pa.table(data)


def _selected(points: Any, condition: str) -> np.ndarray:
    text = f"SELECT objectId FROM dr1.object WHERE {condition}"
    found = points.execute(emit(check_query(text, LOOKUP))).fetchnumpy()["objectId"]
    mask = np.zeros(len(LON), dtype=bool)
    mask[np.asarray(found)] = True
    return mask


def _separation(lon: float, lat: float) -> np.ndarray:
    centre = SkyCoord(lon * u.deg, lat * u.deg)
    return np.asarray(SkyCoord(LON * u.deg, LAT * u.deg).separation(centre).deg)


CONES = [
    (10.0, 20.0, 3.0),
    (0.0, 0.0, 2.5),
    (359.9, -1.0, 5.0),
    (123.0, 89.0, 3.0),
    (50.0, -90.0, 7.0),
    (200.0, 30.0, 89.9),
    (200.0, 30.0, 90.0),
    (200.0, 30.0, 120.0),
    (200.0, 30.0, 179.9),
    (200.0, 30.0, 180.0),
]


@pytest.mark.parametrize("cone", CONES, ids=str)
def test_every_form_of_a_cone_finds_the_same_as_astropy(
    points: Any, cone: tuple[float, float, float]
) -> None:
    lon, lat, radius = cone
    expected = _separation(lon, lat) <= radius + 1e-11  # some points lie on the border
    forms = [
        f"1 = CONTAINS(POINT('ICRS', ra, dec), CIRCLE('ICRS', {lon}, {lat}, {radius}))",
        f"CONTAINS(POINT(ra, dec), CIRCLE(POINT({lon}, {lat}), {radius})) = 1",
        f"0 <> CONTAINS(POINT(ra, dec), CIRCLE({lon}, {lat}, {radius}))",
        f"NOT (0 = CONTAINS(POINT(ra, dec), CIRCLE({lon}, {lat}, {radius})))",
        f"CONTAINS(POINT(ra, dec), CIRCLE({lon}, {lat}, {radius})) > 0",
        f"DISTANCE(POINT(ra, dec), POINT({lon}, {lat})) <= {radius}",
        f"DISTANCE(ra, dec, {lon}, {lat}) < {radius}",
        f"{radius} > DISTANCE({lon}, {lat}, ra, dec)",
        f"NOT DISTANCE(ra, dec, {lon}, {lat}) > {radius}",
        f"1 = INTERSECTS(POINT(ra, dec), CIRCLE({lon}, {lat}, {radius}))",
        f"1 = INTERSECTS(CIRCLE({lon}, {lat}, {radius}), POINT(ra, dec))",
        f"DISTANCE(ra, dec, {lon}, {lat}) <= {radius} + 0 * ra",
        f"1 = CONTAINS(POINT(ra, dec), CIRCLE({lon}, {lat}, {radius} + 0 * dec))",
        f"1 = CONTAINS(POINT({lon}, {lat}), CIRCLE(ra, dec, {radius}))",
    ]
    for form in forms:
        assert np.array_equal(_selected(points, form), expected), form
    outside = [
        f"0 = CONTAINS(POINT(ra, dec), CIRCLE({lon}, {lat}, {radius}))",
        f"NOT 1 = CONTAINS(POINT(ra, dec), CIRCLE({lon}, {lat}, {radius}))",
        f"DISTANCE(ra, dec, {lon}, {lat}) > {radius}",
        f"DISTANCE(ra, dec, {lon}, {lat}) >= {radius}",
        f"0 = CONTAINS(POINT(ra, dec), CIRCLE({lon}, {lat}, {radius} + 0 * dec))",
    ]
    for form in outside:
        assert np.array_equal(_selected(points, form), ~expected), form


def test_tiny_cones_and_points_on_the_border() -> None:
    connection = duckdb.connect(":memory:", config={"threads": 1})
    connection.execute('CREATE TABLE "object" (ra DOUBLE, "dec" DOUBLE)')
    offsets = [0.0, 1e-10, 1e-9, 0.9e-8, 1e-8, 1.1e-8, 1e-7]
    connection.executemany(
        'INSERT INTO "object" VALUES (?, ?)', [(150.0, 30.0 + offset) for offset in offsets]
    )
    text = "SELECT count(*) AS n FROM dr1.object WHERE DISTANCE(ra, dec, 150, 30) <= {}"

    def count(radius: float) -> int:
        query = check_query(text.format(repr(radius)), LOOKUP)
        return int(connection.execute(emit(query)).fetchall()[0][0])

    assert count(1e-8) == 5
    assert count(0.0) == 1
    assert count(0.5e-8) == 3
    # exactly on the border: due north of the centre by the radius
    for radius in (0.1, 1.0, 17.3, 60.0):
        connection.execute('DELETE FROM "object"')
        connection.execute('INSERT INTO "object" VALUES (10.0, ?)', [5.0 + radius])
        condition = f"1 = CONTAINS(POINT(ra, dec), CIRCLE(10, 5, {radius}))"
        query = f"SELECT count(*) AS n FROM dr1.object WHERE {condition}"
        assert connection.execute(emit(check_query(query, LOOKUP))).fetchall() == [(1,)]
    connection.close()


def _vectors(lon: Any, lat: Any) -> np.ndarray:
    a, d = np.radians(lon), np.radians(lat)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)


def _winding_inside(vertices: list[tuple[float, float]]) -> np.ndarray:
    """Inside by the sum of the angles under which the sides are seen: an independent way."""
    p = _vectors(LON, LAT)
    v = _vectors(*np.array(vertices, dtype=float).T)
    total = np.zeros(len(p))
    for a, b in zip(v, np.roll(v, -1, axis=0), strict=True):
        ta = a - p * (p @ a)[:, None]
        tb = b - p * (p @ b)[:, None]
        cross = np.einsum("ij,ij->i", p, np.cross(ta, tb))
        total += np.arctan2(cross, np.einsum("ij,ij->i", ta, tb))
    turns = np.rint(total / (2 * math.pi)).astype(int)
    # A point of which the opposite is inside sees the polygon turn too.
    mean = v.sum(axis=0)
    inside: np.ndarray = (np.abs(turns) % 2 == 1) & (p @ mean > 0)
    return inside


def _check(points: Any, forms: dict[str, np.ndarray], unsure: np.ndarray) -> None:
    """Compare; points on the border itself are for tests of their own."""
    for form, answer in forms.items():
        found = _selected(points, form)
        wrong = np.flatnonzero((found != answer) & ~unsure)
        assert not wrong.size, (form, LON[wrong][:3], LAT[wrong][:3])


def _on_border(vertices: list[tuple[float, float]]) -> np.ndarray:
    p = _vectors(LON, LAT)
    v = _vectors(*np.array(vertices, dtype=float).T)
    normals = np.cross(v, np.roll(v, -1, axis=0))
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    near: np.ndarray = (np.abs(p @ normals.T) < 1e-9).any(axis=1)
    return near


POLYGONS: dict[str, list[tuple[float, float]]] = {
    "square": [(5, 15), (15, 15), (15, 25), (5, 25)],
    "square clockwise": [(5, 25), (15, 25), (15, 15), (5, 15)],
    "triangle over 0": [(355, -5), (5, -4), (1, 6)],
    "arrow": [(5, 15), (15, 15), (15, 25), (10, 18), (5, 25)],
    "comb": [(0, 10), (20, 10), (20, 30), (16, 30), (15, 14), (12, 30), (8, 30), (7, 13), (0, 30)],
    "north pole": [(0, 85), (120, 84), (240, 86)],
    "pole on the border": [(0, 90), (20, 70), (340, 70)],
    "south pole star": [(0, -80), (60, -87), (120, -80), (180, -87), (240, -80), (300, -87)],
    "bow tie": [(5, 15), (15, 25), (15, 15), (5, 25)],
    "large": [(300, -40), (60, -40), (60, 40), (0, 60), (300, 40)],
    "large notch": [(290, -50), (70, -50), (70, 50), (0, 5), (290, 50)],
}


@pytest.mark.parametrize("name", POLYGONS)
def test_polygons_find_the_same_as_the_angles_seen_from_each_point(points: Any, name: str) -> None:
    vertices = POLYGONS[name]
    expected = _winding_inside(vertices)
    numbers = ", ".join(f"{lon}, {lat}" for lon, lat in vertices)
    as_points = ", ".join(f"POINT({lon}, {lat})" for lon, lat in vertices)
    from_rows = ", ".join(f"{lon} + 0 * ra, {lat}" for lon, lat in vertices)
    forms = {
        f"1 = CONTAINS(POINT(ra, dec), POLYGON({numbers}))": expected,
        f"1 = CONTAINS(POINT(ra, dec), POLYGON('ICRS', {as_points}))": expected,
        f"1 = INTERSECTS(POLYGON({numbers}), POINT(ra, dec))": expected,
        f"0 = CONTAINS(POINT(ra, dec), POLYGON({numbers}))": ~expected,
        f"NOT 1 = CONTAINS(POINT(ra, dec), POLYGON({numbers}))": ~expected,
        f"1 = CONTAINS(POINT(ra, dec), POLYGON({from_rows}))": expected,
    }
    _check(points, forms, _on_border(vertices))


def test_border_and_vertices_are_inside(sky: Sky) -> None:
    polygon = "POLYGON(0, 0, 10, 0, 10, 10, 5, 3, 0, 10)"
    for lon, lat in [(0, 0), (10, 0), (10, 10), (5, 3), (0, 10), (5, 0), (0, 5), (10, 4)]:
        assert sky.value(f"CONTAINS(POINT({lon}, {lat}), {polygon})") == 1
        assert sky.value(f"CONTAINS(POINT({lon} + 0 * ra, {lat}), {polygon})") == 1
    assert sky.value(f"CONTAINS(POINT(5 + 0 * ra, 9), {polygon})") == 0


def test_larger_side_of_a_polygon_is_outside(points: Any) -> None:
    # The vertices of a hemisphere and more: the smaller side is inside, in either order.
    one = _selected(points, "1=CONTAINS(POINT(ra, dec), POLYGON(0,-10, 90,-10, 180,-10, 270,-10))")
    two = _selected(points, "1=CONTAINS(POINT(ra, dec), POLYGON(270,-10, 180,-10, 90,-10, 0,-10))")
    assert np.array_equal(one, two)
    assert not one[LAT > 0].any()
    assert one[LAT < -20].all()


BOXES = [
    (10.0, 20.0, 8.0, 6.0),
    (0.0, 0.0, 4.0, 4.0),
    (358.0, 10.0, 10.0, 20.0),
    (10.0, 80.0, 30.0, 30.0),
    (0.0, 0.0, 360.0, 180.0),
    (100.0, 0.0, 200.0, 60.0),
    (100.0, -85.0, 20.0, 20.0),
]


@pytest.mark.parametrize("box", BOXES, ids=str)
def test_boxes(points: Any, box: tuple[float, float, float, float]) -> None:
    lon, lat, width, height = box
    if width >= 180 or abs(lat) + height / 2 >= 90:
        offset = np.abs((LON - lon + 180) % 360 - 180)
        pole = np.abs(LAT) == 90
        expected = ((offset <= width / 2) | pole) & (np.abs(LAT - lat) <= height / 2)
        unsure = np.zeros(len(LON), dtype=bool)
    else:
        w, h = width / 2, height / 2
        corners = [(lon - w, lat - h), (lon + w, lat - h), (lon + w, lat + h), (lon - w, lat + h)]
        expected, unsure = _winding_inside(corners), _on_border(corners)
    text = f"{lon}, {lat}, {width}, {height}"
    forms = {
        f"1 = CONTAINS(POINT(ra, dec), BOX('ICRS', {text}))": expected,
        f"1 = INTERSECTS(BOX(POINT({lon}, {lat}), {width}, {height}), POINT(ra, dec))": expected,
        f"0 = CONTAINS(POINT(ra, dec), BOX({text}))": ~expected,
        f"1 = CONTAINS(POINT(ra, dec), BOX({lon} + 0 * ra, {lat}, {width}, {height}))": expected,
        f"0 = CONTAINS(POINT(ra, dec), BOX({lon} + 0 * ra, {lat}, {width}, {height}))": ~expected,
    }
    _check(points, forms, unsure)


_LON = st.floats(0, 360, allow_nan=False, exclude_max=True)
_LAT = st.floats(-90, 90, allow_nan=False)


_SKY = Sky()


@settings(max_examples=30, deadline=None)
@given(_LON, _LAT, _LON, _LAT)
def test_distances_agree_with_astropy(a: float, b: float, c: float, d: float) -> None:
    expected = SkyCoord(a * u.deg, b * u.deg).separation(SkyCoord(c * u.deg, d * u.deg)).deg
    for text in (
        f"DISTANCE({a!r}, {b!r}, {c!r}, {d!r})",
        f"DISTANCE({a!r} + 0*ra, {b!r}, {c!r}, {d!r})",
    ):
        assert _SKY.value(text) == pytest.approx(expected, abs=1e-11)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(_LON, _LAT), min_size=3, max_size=7, unique=True), _LON, _LAT)
def test_constant_and_general_polygons_agree(
    vertices: list[tuple[float, float]], lon: float, lat: float
) -> None:
    """The arithmetic for constant polygons against the general form, for polygons not too large."""
    centre = _vectors(lon, lat)
    near = [(x, y) for x, y in vertices if _vectors(x, y) @ centre > 0.3]
    numbers = ", ".join(f"{x!r}, {y!r}" for x, y in near)
    moved = ", ".join(f"{x!r} + 0 * ra, {y!r}" for x, y in near)
    if len(near) < 3:
        return
    try:
        fixed = _SKY.value(f"CONTAINS(POINT({lon!r} + 0 * ra, {lat!r}), POLYGON({numbers}))")
    except AdqlTypeError:
        return  # no polygon
    assert fixed == _SKY.value(f"CONTAINS(POINT({lon!r}, {lat!r}), POLYGON({moved}))")


_SQUARE = "POLYGON(0, 0, 10, 0, 10, 10, 0, 10)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("INTERSECTS(CIRCLE(5, 5, 1), CIRCLE(7, 5, 1.1))", 1),
        ("INTERSECTS(CIRCLE(5, 0, 1), CIRCLE(7, 0, 1))", 1),
        ("INTERSECTS(CIRCLE(5, 5, 1), CIRCLE(8, 5, 1))", 0),
        ("CONTAINS(CIRCLE(5, 5, 1), CIRCLE(5, 6, 2))", 1),
        ("CONTAINS(CIRCLE(5, 5, 1), CIRCLE(5, 6.1, 2))", 0),
        ("INTERSECTS(CIRCLE(12, 5, 2.1), _SQ_)", 1),
        ("INTERSECTS(CIRCLE(12, 5, 1.9), _SQ_)", 0),
        ("INTERSECTS(_SQ_, CIRCLE(5, 5, 0.1))", 1),
        ("INTERSECTS(_SQ_, CIRCLE(5, 5, 50))", 1),
        ("CONTAINS(CIRCLE(5, 5, 4), _SQ_)", 1),
        ("CONTAINS(CIRCLE(5, 5, 6), _SQ_)", 0),
        ("CONTAINS(_SQ_, CIRCLE(5, 5, 8))", 1),
        ("CONTAINS(_SQ_, CIRCLE(5, 5, 6))", 0),
        ("CONTAINS(_SQ_, CIRCLE(185, -5, 150))", 0),
        ("CONTAINS(_SQ_, CIRCLE(185, -5, 179.9))", 0),
        ("CONTAINS(_SQ_, CIRCLE(100, -5, 120))", 1),
        ("INTERSECTS(_SQ_, POLYGON(5, 5, 15, 5, 15, 6, 5, 6))", 1),
        ("INTERSECTS(_SQ_, POLYGON(-5, 4, 15, 4, 15, 6, -5, 6))", 1),
        ("INTERSECTS(_SQ_, POLYGON(11, 4, 15, 4, 15, 6))", 0),
        ("INTERSECTS(_SQ_, POLYGON(1, 1, 2, 1, 2, 2))", 1),
        ("CONTAINS(POLYGON(1, 1, 2, 1, 2, 2), _SQ_)", 1),
        ("CONTAINS(_SQ_, POLYGON(1, 1, 2, 1, 2, 2))", 0),
        ("CONTAINS(POLYGON(1, 1, 12, 1, 2, 2), _SQ_)", 0),
        ("CONTAINS(_SQ_, _SQ_)", 1),
        ("CONTAINS(BOX(5, 5, 2, 2), _SQ_)", 1),
        ("INTERSECTS(BOX(12, 5, 2, 2), _SQ_)", 0),
        ("CONTAINS(_SQ_, POINT(1, 1))", 0),
        ("CONTAINS(POINT(1, 1), POINT(361, 1))", 1),
    ],
)
def test_circles_and_polygons_meet(sky: Sky, text: str, expected: int) -> None:
    text = text.replace("_SQ_", _SQUARE)
    assert sky.value(text) == expected
    moved = text.replace("CIRCLE(", "CIRCLE(0 * ra + ").replace("POLYGON(", "POLYGON(0 * ra + ")
    assert sky.value(moved) == expected


def test_areas_and_centroids(sky: Sky) -> None:
    whole = 4 * math.pi * math.degrees(1) ** 2
    cases = {
        "AREA(CIRCLE(10, 20, 180))": whole,
        "AREA(CIRCLE(10, 20, 1))": whole * math.sin(math.radians(0.5)) ** 2,
        "AREA(BOX(0, 0, 360, 180))": whole,
        "AREA(POLYGON(0, 0, 90, 0, 0, 90))": whole / 8,
        "AREA(POLYGON(0, 90, 90, 0, 0, 0))": whole / 8,
        "AREA(POLYGON(0, 0, 0.001, 0, 0.001, 0.001, 0, 0.001))": 1e-6,
        "COORD1(CENTROID(CIRCLE(10, 20, 3)))": 10,
        "COORD2(CENTROID(POLYGON(0, 0, 90, 0, 0, 90)))": math.degrees(math.asin(1 / math.sqrt(3))),
        "COORD1(CENTROID(POLYGON(355, -1, 5, -1, 5, 1, 355, 1)))": 0,
        "COORD1(POINT(7, 8))": 7,
        "COORD2(POINT('', 7, 8))": 8,
    }
    for text, expected in cases.items():
        value = sky.value(text)
        assert min(abs(value - expected), abs(value - expected - 360)) < 1e-9 + 1e-9 * expected, (
            text
        )
    assert sky.value("COORDSYS(POINT(ra, dec))") == "ICRS"


def test_area_of_a_polygon_agrees_with_counting(sky: Sky) -> None:
    """A third of the sky's points lie in a third of its area."""
    vertices = POLYGONS["large notch"]
    numbers = ", ".join(f"{lon}, {lat}" for lon, lat in vertices)
    count = 40_000
    index = np.arange(count) + 0.5
    lat = np.degrees(np.arcsin(1 - 2 * index / count))
    lon = np.degrees(math.pi * (1 + math.sqrt(5)) * index) % 360
    connection = duckdb.connect(":memory:", config={"threads": 1})
    connection.register("arrays", _arrow({"ra": lon, "dec": lat}))
    connection.execute('CREATE TABLE "object" AS SELECT * FROM arrays')
    text = (
        f"SELECT count(*) AS n FROM dr1.object WHERE 1=CONTAINS(POINT(ra, dec), POLYGON({numbers}))"
    )
    inside = connection.execute(emit(check_query(text, LOOKUP))).fetchall()[0][0]
    connection.close()
    assert sky.value(f"AREA(POLYGON({numbers}))") == pytest.approx(
        inside / count * 4 * math.pi * math.degrees(1) ** 2, rel=5e-3
    )


def test_geometry_columns(sky: Sky) -> None:
    def names(condition: str) -> list[str]:
        return [row[0] for row in sky.rows(f"SELECT name FROM obs.Field WHERE {condition}")]

    assert names("1=CONTAINS(POINT(10, 20), s_region)") == ["one"]
    assert names("0=CONTAINS(POINT(30, 20), s_region)") == ["one"]
    assert names("1=INTERSECTS(s_region, CIRCLE(12, 20, 1.5))") == ["one"]
    assert names("1=CONTAINS(center, disc)") == ["one"]
    assert names("DISTANCE(center, POINT(10, 21)) < 1.5") == ["one"]
    assert names("AREA(s_region) > 3 AND COORD1(center) = 10") == ["one"]
    assert sky.rows("SELECT s_region, disc FROM obs.Field WHERE name = 'none'") == [(None, None)]


@pytest.mark.slow
def test_no_position_is_neither_inside_nor_outside() -> None:
    connection = duckdb.connect(":memory:", config={"threads": 1})
    connection.execute(
        """CREATE TABLE "object" AS SELECT * FROM (VALUES
        (1::DOUBLE, 1::DOUBLE), (NULL, 1), (1, NULL),
        ('nan', 1), (1, 'nan'), ('nan', 'nan'), ('inf', 1)) t(ra, "dec")"""
    )
    regions = [
        "CIRCLE(1, 1, 0.1)",
        "CIRCLE(1, 1, 120)",
        "CIRCLE(50, 1, 1)",
        "CIRCLE(1, 1, 0 * ra + 2)",
        "BOX(1, 1, 1, 1)",
        "BOX(0, 0, 360, 180)",
        "BOX(90, 0, 1, 1)",
        "BOX(1 + 0 * ra, 1, 1, 1)",
        "POLYGON(0, 0, 2, 0, 1, 2)",
        "POLYGON(0, 0, 2, 0, 1, 2, 1, 1)",
        "POLYGON(9, 9, 8, 9, 8, 8)",
        "POLYGON(0, 0, 2, 2, 2, 0, 0, 2)",
        "POLYGON(0 * ra, 0, 2, 0, 1, 2)",
        "POINT(1, 1)",
    ]
    for region in regions:
        total = 0
        for form in ("1 = {}", "0 = {}", "NOT 1 = {}", "NOT 0 = {}"):
            for call in ("CONTAINS(POINT(ra, dec), {})", "INTERSECTS({}, POINT(ra, dec))"):
                condition = form.format(call.format(region))
                query = f"SELECT count(*) AS n FROM dr1.object WHERE {condition}"
                ((found,),) = connection.execute(emit(check_query(query, LOOKUP))).fetchall()
                assert found <= 1, condition
                total += found
        assert total == 4, region
    connection.close()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("POLYGON(0, 0, 10, 0, 10, 0, 0, 10)", "differ"),
        ("POLYGON(0, 0, 180, 0, 10, 10)", "opposite"),
        ("POLYGON(0, 0, 1, 0, 2, 0)", "no area"),
        ("CIRCLE(0, 0, -1)", "radius"),
        ("CIRCLE(0, 0, 181)", "radius"),
        ("POINT(0, 91)", "latitude"),
        ("BOX(0, 0, -1, 1)", "width"),
        ("CIRCLE('QUARK', 0, 0, 1)", "coordinate system"),
    ],
)
def test_impossible_geometries_are_refused(text: str, problem: str) -> None:
    with pytest.raises(AdqlTypeError, match=problem) as caught:
        check_query(f"SELECT {text} AS g FROM dr1.object", LOOKUP)
    assert caught.value.position is not None


def test_closed_polygons_are_accepted(sky: Sky) -> None:
    assert sky.value("CONTAINS(POINT(5, 5), POLYGON(0, 0, 10, 0, 10, 10, 0, 10, 0, 0))") == 1


def test_other_frames_are_refused_rather_than_misread() -> None:
    with pytest.raises(AdqlUnsupportedError, match="ICRS"):
        check_query("SELECT POINT('GALACTIC', ra, dec) AS g FROM dr1.object", LOOKUP)


def test_geometries_come_out_as_lists(sky: Sky) -> None:
    row = sky.rows(
        "SELECT POINT(ra, dec) AS p, CIRCLE(ra, dec, 1) AS c, POLYGON(0,0,1,0,1,1) AS g,"
        " BOX(10, 20, 2, 4) AS b, BOX(ra, dec, 2, 4) AS r FROM dr1.object WHERE objectId = 1"
    )
    box = [9.0, 18.0, 9.0, 22.0, 11.0, 22.0, 11.0, 18.0]
    assert row == [([10.0, 20.0], [10.0, 20.0, 1.0], [0.0, 0.0, 1.0, 0.0, 1.0, 1.0], box, box)]


def test_cross_match_is_a_range_join(sky: Sky) -> None:
    text = (
        "SELECT o.objectId, s.sourceId FROM dr1.object AS o, dr1.source AS s"
        " WHERE DISTANCE(o.ra, o.dec, s.ra, s.dec) < 0.001 ORDER BY s.sourceId"
    )
    assert sky.rows(text) == [(1, 100), (1, 101), (2, 102)]
    sky.connection.execute("SET nested_loop_join_threshold = 0")  # the tables are tiny
    plan = sky.connection.sql("EXPLAIN " + emit(check_query(text, LOOKUP))).fetchall()[0][1]
    assert "Nested" not in plan
    assert "Cross" not in plan
