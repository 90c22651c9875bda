from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st
from mocpy import MOC

from astrolabe.sky.healpix import CELLS_29, healpix_29
from astrolabe.sky.polygons import _Parity
from astrolabe.sky.ranges import in_ranges
from astrolabe.sky.regions import Polygon
from astrolabe.sky.vectors import normalized, unit_vectors

from .test_regions import all_sky, around, covers

modest = settings(max_examples=40, deadline=None)
CENTER = st.tuples(
    st.floats(0, 360, allow_subnormal=False), st.floats(-90, 90, allow_subnormal=False)
)


def ring(
    center: tuple[float, float], angles_deg: list[float], radii_deg: list[float]
) -> tuple[np.ndarray, np.ndarray]:
    # By vectors: astropy's offset takes an arcsine, which loses half of the digits at a pole.
    lon, lat = np.radians(center)
    angle, radius = np.radians(angles_deg), np.radians(radii_deg)
    middle = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    north = np.array([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)])
    east = np.array([-np.sin(lon), np.cos(lon), 0.0])
    away = np.outer(np.cos(angle), north) + np.outer(np.sin(angle), east)
    x, y, z = (np.cos(radius)[:, None] * middle + np.sin(radius)[:, None] * away).T
    return np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))


def winding_is_odd(polygon: Polygon, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Turn of the bearing to a point that walks along the border; with astropy's bearings."""
    points = SkyCoord(ra, dec, unit="deg")
    vertices = SkyCoord(polygon.ra_deg, polygon.dec_deg, unit="deg")
    bearing = np.array([points.position_angle(vertex).rad for vertex in vertices])
    turn = np.diff(bearing, axis=0, append=bearing[:1])
    total = np.sum((turn + np.pi) % (2 * np.pi) - np.pi, axis=0)
    middle = unit_vectors(polygon.ra_deg, polygon.dec_deg).sum(axis=0)
    # A position and its opposite turn alike; only one of them is near a small polygon.
    near = unit_vectors(ra, dec) @ middle > 0
    odd = np.rint(total / (2 * np.pi)).astype(int) % 2 == 1
    return np.asarray(odd & near)


@given(
    CENTER,
    st.lists(st.floats(0, 359.9), min_size=3, max_size=9, unique_by=round),
    st.lists(st.floats(0.2, 1.0), min_size=9, max_size=9),
    st.floats(-5, np.log10(70)),
    st.sampled_from(["star", "crossing"]),
)
@modest
def test_polygon_agrees_with_the_turn_of_bearings(
    center: tuple[float, float],
    angles: list[float],
    shares: list[float],
    log_size: float,
    kind: str,
) -> None:
    size = 10.0**log_size
    # Sorted angles make a star that may be concave; unsorted ones a border that crosses itself.
    order = angles if kind == "crossing" else sorted(angles)
    polygon = Polygon(*ring(center, order, [share * size for share in shares[: len(order)]]))
    ra, dec = around(*center, size, n=150)
    inside = polygon.contains(ra, dec)
    clear = polygon._sides.distance_rad(unit_vectors(ra, dec)) > 1e-12
    np.testing.assert_array_equal(inside[clear], winding_is_odd(polygon, ra, dec)[clear])
    assert covers(polygon, ra, dec)
    backwards = Polygon(polygon.ra_deg[::-1], polygon.dec_deg[::-1])
    np.testing.assert_array_equal(backwards.contains(ra, dec)[clear], inside[clear])


@given(
    CENTER,
    st.lists(st.floats(0, 359.9), min_size=3, max_size=6, unique_by=round),
    st.floats(-9, 1.8),
)
@modest
def test_vertices_and_sides_are_inside_and_covered(
    center: tuple[float, float], angles: list[float], log_size: float
) -> None:
    polygon = Polygon(*ring(center, sorted(angles), [10.0**log_size] * len(angles)))
    start = unit_vectors(polygon.ra_deg, polygon.dec_deg)
    middle = normalized(start + np.roll(start, -1, axis=0))
    points = np.concatenate((start, middle))
    ra = np.rad2deg(np.arctan2(points[:, 1], points[:, 0])) % 360
    dec = np.rad2deg(np.arctan2(points[:, 2], np.hypot(points[:, 0], points[:, 1])))
    assert polygon.contains(ra, dec).all()
    assert covers(polygon, ra, dec)


def test_poles_inside_and_the_zero_meridian_crossed() -> None:
    north = Polygon([0, 120, 240], [80, 80, 80])
    assert north.contains([0.0, 77.0, 180.0], [90.0, 90.0, 86.0]).all()
    assert not north.contains([0.0, 60.0], [79.0, 80.0]).any()
    south = Polygon([300, 60, 180], [-50, -50, -50])
    assert south.contains([5.0, 0.0], [-90.0, -80.0]).all()
    across = Polygon([359, 1, 1, 359], [-1, -1, 1, 1])
    assert across.contains([0.0, 359.5, 0.5, 360.0], [0.0, 0.5, -0.5, 0.0]).all()
    assert not across.contains([180.0, 2.0, 358.0], [0.0, 0.0, 0.0]).any()
    for polygon in (north, south, across):
        assert covers(polygon, *all_sky())


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("wind", [1, -1])
def test_interior_is_the_smaller_part_however_large_the_polygon(sign: int, wind: int) -> None:
    # A crown around the sky at about 10 degrees: wider than any hemisphere, the pole inside.
    lon = np.arange(0, 360, 20.0)[::wind]
    lat = sign * np.where(np.arange(18) % 2 == 0, 25.0, -2.0)
    polygon = Polygon(lon, lat)
    ra, dec = all_sky()
    # Independent: the latitude, at each longitude, of the side that passes there.
    order = np.argsort(lon)
    east, height = lon[order], np.tan(np.deg2rad(lat[order]))
    k = (ra // 20).astype(int)
    a, b = height[k], height[(k + 1) % 18]
    along = np.deg2rad(ra - east[k])
    side = (a * np.sin(np.deg2rad(20.0) - along) + b * np.sin(along)) / np.sin(np.deg2rad(20.0))
    edge = np.rad2deg(np.arctan(side))
    np.testing.assert_array_equal(polygon.contains(ra, dec), sign * dec > sign * edge)
    assert polygon.bounding_cap() is None
    assert covers(polygon, ra, dec)
    share = float((polygon.ranges()[:, 1] - polygon.ranges()[:, 0]).sum() / CELLS_29)
    assert share < 0.6


def test_positions_at_and_opposite_to_the_references_of_a_large_polygon() -> None:
    lon = np.arange(0, 360, 20.0)
    polygon = Polygon(lon, np.where(np.arange(18) % 2 == 0, 25.0, -2.0))
    judge = polygon._judge
    assert isinstance(judge, _Parity)
    points = np.array([axis * sign for axis in judge.references for sign in (1, -1)])
    dec = np.rad2deg(np.arcsin(points[:, 2]))
    ra = np.rad2deg(np.arctan2(points[:, 1], points[:, 0])) % 360
    assert (np.abs(dec) > 30).all()
    np.testing.assert_array_equal(polygon.contains(ra, dec), dec > 0)


def test_bow_tie_is_judged_by_the_even_odd_rule() -> None:
    bow_tie = Polygon([0, 2, 0, 2], [0, 0, 2, 2])
    # Its border goes (0,0) (2,0) (0,2) (2,2): the lower and the upper triangle are inside.
    assert bow_tie.contains([1.0, 1.0, 0.2, 1.8], [0.3, 1.7, 1.0, 1.0]).tolist() == [
        True,
        True,
        False,
        False,
    ]
    pentagram = Polygon(*ring((50, 60), [0, 144, 288, 72, 216], [5] * 5))
    assert not pentagram.contains([50.0], [60.0])[0]
    assert pentagram.contains([50.0], [63.0])[0]


def test_cells_agree_with_those_of_mocpy() -> None:
    polygon = Polygon([83, 85, 84.5, 82], [-5, -4, -6.5, -7])
    moc = MOC.from_polygon(polygon.ra_deg * u.deg, polygon.dec_deg * u.deg, max_depth=12)
    rng = np.random.default_rng(5)
    ra, dec = rng.uniform(81, 86, 20_000), rng.uniform(-8, -3, 20_000)
    inside = polygon.contains(ra, dec)
    assert 3000 < inside.sum() < 12_000
    assert moc.contains_lonlat(ra[inside] * u.deg, dec[inside] * u.deg).all()
    ours = in_ranges(healpix_29(ra, dec), polygon.ranges())
    assert ours[inside].all()
    assert ours.sum() < 1.5 * inside.sum()


def test_vertex_on_the_same_height_as_a_position_counts_once() -> None:
    diamond = Polygon([10, 11, 10, 9], [-1, 0, 1, 0])
    assert diamond.contains(np.linspace(9, 11, 41), np.zeros(41)).all()
    assert not diamond.contains([8.9, 11.1, 8.0, 12.0], [0.0, 0.0, 0.0, 0.0]).any()
    assert diamond.contains(np.full(41, 10.0), np.linspace(-1, 1, 41)).all()
