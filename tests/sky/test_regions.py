from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord, angular_separation
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolabe.core.errors import BadParameterError
from astrolabe.sky.healpix import CELLS_29, healpix_29
from astrolabe.sky.ranges import ALL_SKY, Ranges, in_ranges
from astrolabe.sky.regions import (
    Box,
    Circle,
    Everything,
    Intersection,
    Nothing,
    Polygon,
    Region,
    Union,
    Zone,
)

LON = st.one_of(st.floats(0.0, 360.0, allow_subnormal=False), st.sampled_from([0.0, 90.0, 359.999]))
LAT = st.one_of(
    st.floats(-90.0, 90.0, allow_subnormal=False), st.sampled_from([-90.0, 0.0, 89.9999, 90.0])
)
# From a microarcsecond to the whole sky, evenly in the logarithm.
SIZE = st.floats(-9.5, np.log10(180.0)).map(lambda power: float(min(10.0**power, 180.0)))
modest = settings(max_examples=60, deadline=None)


def all_sky(n: int = 20_000, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 360, n), np.rad2deg(np.arcsin(rng.uniform(-1, 1, n)))


def around(ra: float, dec: float, size: float, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Positions within about 1.5 sizes, many close to one size."""
    rng = np.random.default_rng(2)
    distance = size * np.concatenate((rng.uniform(0, 1.5, n), 1 + rng.normal(0, 1e-3, n)))
    center = SkyCoord(ra, dec, unit="deg")
    found = center.directional_offset_by(
        rng.uniform(0, 360, 2 * n) * u.deg, np.clip(distance, 0, 180) * u.deg
    )
    return found.ra.deg, found.dec.deg


def covers(region: Region, ra: np.ndarray, dec: np.ndarray, ranges: Ranges | None = None) -> bool:
    """Whether the cells of the region hold every position that it contains."""
    inside = region.contains(ra, dec)
    cells = region.ranges() if ranges is None else ranges
    return bool(in_ranges(healpix_29(ra[inside], dec[inside]), cells).all())


def sky_share(ranges: Ranges) -> float:
    return float((ranges[:, 1] - ranges[:, 0]).sum() / CELLS_29)


@given(LON, LAT, SIZE)
@modest
def test_circle_agrees_with_astropy_and_its_cells_hold_it(
    ra: float, dec: float, radius: float
) -> None:
    circle = Circle(ra, dec, radius)
    near, far = around(ra, dec, radius), all_sky(500)
    lon, lat = np.concatenate((near[0], far[0])), np.concatenate((near[1], far[1]))
    separation = np.rad2deg(
        angular_separation(np.deg2rad(ra), np.deg2rad(dec), np.deg2rad(lon), np.deg2rad(lat))
    )
    inside = circle.contains(lon, lat)
    # Doubles of positions in degrees are 1e-13 apart; on the border both answers are right.
    clear = np.abs(separation - radius) > 1e-11
    np.testing.assert_array_equal(inside[clear], separation[clear] <= radius)
    assert inside[np.abs(separation - radius) < 2e-12].all()
    assert covers(circle, lon, lat)
    assert covers(circle, np.array([ra]), np.array([dec]))


@pytest.mark.parametrize("radius", [1e-6 / 3600, 1e-3 / 3600, 1 / 3600, 0.1, 1, 20, 70, 120])
@pytest.mark.parametrize("center", [(0.0, 0.0), (359.9999, 41.8), (123.0, 90.0), (45.0, -89.9)])
def test_cells_of_a_circle_are_not_many_more_than_needed(
    center: tuple[float, float], radius: float
) -> None:
    ranges = Circle(*center, radius).ranges()
    area = (1 - np.cos(np.deg2rad(radius))) / 2
    # 0.2 mas are added on purpose.
    slack = (np.deg2rad(radius) + 3e-9) ** 2 / 4
    assert sky_share(ranges) < max(1.7 * area, 6 * slack if radius < 1e-5 else 0)
    assert 0 < len(ranges) <= 256


def test_border_positions_are_inside() -> None:
    assert Circle(10.0, 0.0, 1.0).contains([11.0, 9.0, 10.0], [0.0, 0.0, 1.0]).all()
    assert not Circle(10.0, 0.0, 1.0).contains([11.000000001], [0.0]).any()
    triangle = Polygon([10, 12, 12], [0, 0, 2])
    assert triangle.contains([10.0, 11.0, 12.0, 12.0], [0.0, 0.0, 1.0, 2.0]).all()
    assert not triangle.contains([11.0, 12.00000001], [-1e-8, 1.0]).any()
    assert Circle(10.0, 20.0, 0.0).contains([10.0, 10.0], [20.0, 20.000001]).tolist() == [
        True,
        False,
    ]


def test_whole_and_empty_sky() -> None:
    ra, dec = all_sky(100)
    assert Circle(10, 20, 180).contains(ra, dec).all()
    for region in (Circle(10, 20, 180), Box(0, 0, 360, 180), Everything(), Zone(0, 360, -90, 90)):
        np.testing.assert_array_equal(region.ranges(), ALL_SKY)
    assert Nothing().ranges().shape == (0, 2)
    assert not Nothing().contains(ra, dec).any()
    assert Everything().contains(ra, dec).all()


@given(LON, st.floats(0, 360), LAT, LAT)
@modest
def test_zone_is_a_range_of_longitudes_and_latitudes(
    west: float, width: float, lat1: float, lat2: float
) -> None:
    low, high = sorted((lat1, lat2))
    zone = Zone(west, width, low, high)
    lon, lat = all_sky(2000)
    # The corners, the middle of the sides, and both poles are where it is hardest.
    lon = np.append(lon, [west, west, west + width, west + width / 2, west])
    lat = np.append(lat, [low, high, low, high, (low + high) / 2])
    inside = zone.contains(lon, lat)
    assert inside[-5:].all()
    expected = np.zeros(len(lon) - 5, dtype=bool)
    for turn in (-360.0, 0.0, 360.0):
        expected |= (lon[:-5] + turn >= west) & (lon[:-5] + turn <= west + width)
    np.testing.assert_array_equal(inside[:-5], expected & (lat[:-5] >= low) & (lat[:-5] <= high))
    assert covers(zone, lon, lat)


@pytest.mark.parametrize(
    "zone",
    [
        Zone(350, 20, -5, 5),
        Zone(10, 0.001, 5, 5.001),
        Zone(0, 360, 89, 90),
        Zone(10, 200, -90, -60),
    ],
)
def test_cells_of_a_zone_are_not_many_more_than_needed(zone: Zone) -> None:
    low, high = np.sin(np.deg2rad([zone.lat_min_deg, zone.lat_max_deg]))
    share = zone.lon_width_deg / 360 * (high - low) / 2
    assert share <= sky_share(zone.ranges()) < 2.2 * share


@given(LON, st.floats(-80, 80), st.floats(1e-6, 120), st.floats(1e-6, 15))
@modest
def test_box_has_great_circle_sides(ra: float, dec: float, width: float, height: float) -> None:
    low, high = dec - height / 2, dec + height / 2
    box = Box(ra, dec, width, height)
    if abs(dec) + height / 2 >= 90:
        assert isinstance(box.shape, Zone)
        return
    # Independent: the latitude, at each longitude, of the great circle through two corners.
    rng = np.random.default_rng(4)
    aside = rng.uniform(-0.75, 0.75, 400) * width
    lat = dec + rng.uniform(-1.5, 1.5, 400) * height
    lat = np.clip(lat, -90, 90)

    def side(corner: float) -> np.ndarray:
        top = np.tan(np.deg2rad(corner)) / np.cos(np.deg2rad(width / 2))
        return np.asarray(np.rad2deg(np.arctan(top * np.cos(np.deg2rad(aside)))))

    distance = np.minimum.reduce(
        [np.abs(lat - side(low)), np.abs(lat - side(high)), np.abs(np.abs(aside) - width / 2)]
    )
    expected = (np.abs(aside) <= width / 2) & (lat >= side(low)) & (lat <= side(high))
    clear = distance > 1e-10
    inside = box.contains(ra + aside, lat)
    np.testing.assert_array_equal(inside[clear], expected[clear])
    assert covers(box, np.mod(ra + aside, 360), lat)


def test_box_over_a_pole_or_wider_than_half_the_sky_is_a_zone() -> None:
    polar = Box(10, 88, 20, 4)
    assert polar.contains([0.0, 20.0, 21.0, 10.0], [86.0, 89.9, 89.0, 85.9]).tolist() == [
        True,
        True,
        False,
        False,
    ]
    belt = Box(10, 0, 300, 10)
    assert belt.contains([220.0, 159.0, 161.0], [5.0, -5.0, 0.0]).tolist() == [True, True, False]


REGIONS = st.one_of(
    st.builds(Circle, LON, LAT, st.floats(0.1, 90)),
    st.builds(
        lambda west, width, low, height: Zone(west, width, low, min(low + height, 90)),
        LON,
        st.floats(0, 360),
        st.floats(-90, 90),
        st.floats(0, 60),
    ),
    st.builds(Box, LON, LAT, st.floats(0.1, 200), st.floats(0.1, 90)),
)


@given(st.lists(REGIONS, min_size=1, max_size=3), st.lists(REGIONS, min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_all_and_any_of_several(first: list[Region], second: list[Region]) -> None:
    ra, dec = all_sky(3000)
    both = Intersection([Union(first), Intersection(second)])
    expected = np.any([r.contains(ra, dec) for r in first], axis=0) & np.all(
        [r.contains(ra, dec) for r in second], axis=0
    )
    np.testing.assert_array_equal(both.contains(ra, dec), expected)
    assert covers(both, ra, dec)
    either = Union(first)
    assert covers(either, ra, dec)
    cap = either.bounding_cap()
    if cap is not None:
        x, y, z = cap.center
        circle = Circle(
            np.rad2deg(np.arctan2(y, x)),
            np.rad2deg(np.arcsin(np.clip(z, -1, 1))),
            np.rad2deg(cap.radius_rad) + 1e-9,
        )
        assert circle.contains(ra, dec)[either.contains(ra, dec)].all()


def test_narrow_meeting_of_wide_regions_has_few_cells() -> None:
    strip = Intersection([Zone(10, 0.01, -90, 90), Zone(0, 360, 5, 5.01), Zone(0, 180, -90, 90)])
    assert sky_share(strip.ranges()) < 10 * (0.01**2 / 41253)
    assert covers(strip, np.array([10.0, 10.01, 10.005]), np.array([5.0, 5.01, 5.005]))


def test_apart_regions_meet_nowhere() -> None:
    assert Intersection([Circle(10, 0, 1), Circle(20, 0, 1)]).ranges().shape == (0, 2)


def test_ranges_can_be_limited() -> None:
    region = Union([Circle(ra, 10, 0.5) for ra in range(0, 360, 10)])
    assert len(region.ranges(max_ranges=5)) == 5
    assert covers(region, *all_sky(), ranges=region.ranges(max_ranges=5))
    assert len(Circle(10, 10, 1).ranges(max_ranges=3)) == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Circle(10, 91, 1), "latitude"),
        (lambda: Circle(np.nan, 0, 1), "finite"),
        (lambda: Circle(10, 0, -1), "0 to 180"),
        (lambda: Circle(10, 0, 180.1), "0 to 180"),
        (lambda: Circle(10, 0, np.nan), "0 to 180"),
        (lambda: Box(10, 0, 0, 1), "above 0"),
        (lambda: Box(10, 0, 1, np.inf), "above 0"),
        (lambda: Zone(0, 361, 0, 1), "360"),
        (lambda: Zone(0, 1, 2, 1), "rise"),
        (lambda: Union([]), "one region"),
        (lambda: Polygon([0, 1], [0, 1]), "three"),
        (lambda: Polygon([0, 1, 2], [0, 1]), "three"),
        (lambda: Polygon([0, 1, np.nan], [0, 1, 0]), "finite"),
        (lambda: Polygon([0, 1, 1, 0], [0, 0, 1, 0]), "repeat"),
        (lambda: Polygon([0, 180, 90], [0, 0, 10]), "opposite"),
        (lambda: Polygon([0, 1, 2], [0, 0, 0]), "great circle"),
    ],
)
def test_impossible_shapes_are_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(BadParameterError, match=message):
        make()


def test_regions_are_equal_if_made_the_same_way() -> None:
    assert Circle(1, 2, 3) == Circle(1, 2, 3)
    assert Circle(1, 2, 3) != Circle(1, 2, 3.0000000000000004)
    assert len({Zone(0, 1, 2, 3), Zone(0, 1, 2, 3), Box(0, 1, 2, 3), Everything()}) == 3
    assert Union([Circle(1, 2, 3)]) != Intersection([Circle(1, 2, 3)])
    assert Polygon([0, 1, 1], [0, 0, 1]) == Polygon([0, 1, 1], [0, 0, 1])
