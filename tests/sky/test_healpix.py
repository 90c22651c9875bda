from __future__ import annotations

import numpy as np
import pytest
from cdshealpix import nested
from hats.pixel_math import spatial_index as hats
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolabe.core.errors import BadParameterError
from astrolabe.sky.healpix import (
    CELLS_29,
    MAX_ORDER,
    cell_centers,
    cell_radius_rad,
    cell_range,
    healpix_29,
    order_for_size,
    parent,
    valid_positions,
)
from astrolabe.sky.vectors import arc_length_rad, unit_vectors

LON = st.floats(0.0, 360.0, exclude_max=True, allow_subnormal=False)
LAT = st.floats(-90.0, 90.0, allow_subnormal=False)


def sky(n: int, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 360, n), np.rad2deg(np.arcsin(rng.uniform(-1, 1, n)))


def test_index_is_that_of_hats() -> None:
    ra, dec = sky(20_000)
    ours = healpix_29(ra, dec)
    assert ours.dtype == np.int64
    np.testing.assert_array_equal(ours, hats.compute_spatial_index(ra, dec))
    assert ours.min() >= 0
    assert ours.max() < CELLS_29


@given(st.lists(st.tuples(LON, LAT), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_index_is_that_of_hats_at_special_places(points: list[tuple[float, float]]) -> None:
    ra, dec = np.array(points).T
    np.testing.assert_array_equal(healpix_29(ra, dec), hats.compute_spatial_index(ra, dec))


@pytest.mark.parametrize("ra", [0.0, 45.0, 90.0, 180.0, 359.99999999999994])
@pytest.mark.parametrize("dec", [-90.0, -41.810314895778596, 0.0, 41.810314895778596, 90.0])
def test_index_on_borders_of_base_cells(ra: float, dec: float) -> None:
    assert healpix_29([ra], [dec])[0] == hats.compute_spatial_index([ra], [dec])[0]


def test_float32_positions_give_the_index_of_their_exact_values() -> None:
    ra, dec = (a.astype(np.float32) for a in sky(100))
    np.testing.assert_array_equal(
        healpix_29(ra, dec), healpix_29(ra.astype(np.float64), dec.astype(np.float64))
    )


def test_right_ascension_is_wrapped() -> None:
    np.testing.assert_array_equal(
        healpix_29([-10.0, 370.0, 360.0], [5.0, 5.0, 5.0]),
        healpix_29([350.0, 10.0, 0.0], [5.0, 5.0, 5.0]),
    )


@pytest.mark.parametrize(
    ("ra", "dec"),
    [(np.nan, 0.0), (0.0, np.nan), (np.inf, 0.0), (0.0, 90.0000001), (0.0, -91.0), (0.0, -np.inf)],
)
def test_position_off_the_sky_is_named(ra: float, dec: float) -> None:
    with pytest.raises(BadParameterError, match=r"1 of 3 positions .* index 1"):
        healpix_29([1.0, ra, 2.0], [1.0, dec, 2.0])
    assert valid_positions([1.0, ra, 2.0], [1.0, dec, 2.0]).tolist() == [True, False, True]


def test_lengths_must_agree() -> None:
    with pytest.raises(BadParameterError, match="as many"):
        healpix_29([1.0, 2.0], [1.0])


def test_no_positions() -> None:
    assert healpix_29([], []).shape == (0,)


@pytest.mark.parametrize("order", [0, 1, 5, 13, 29])
def test_cells_nest(order: int) -> None:
    index = healpix_29(*sky(1000))
    pixel = parent(index, order)
    ranges = cell_range(order, pixel)
    assert ((ranges[:, 0] <= index) & (index < ranges[:, 1])).all()
    assert (ranges[:, 1] - ranges[:, 0] == 4 ** (MAX_ORDER - order)).all()
    np.testing.assert_array_equal(parent(pixel, 0, from_order=order), parent(index, 0))
    ra, dec = sky(1000)
    np.testing.assert_array_equal(pixel, hats.compute_spatial_index(ra, dec, order))


def test_ranges_of_cells_of_several_orders() -> None:
    assert cell_range([0, 1], [11, 47]).tolist() == [
        [11 << 58, CELLS_29],
        [47 << 56, CELLS_29],
    ]


@pytest.mark.parametrize("order", [0, 1, 2, 3, 7, 16, 29])
def test_centres_are_those_of_cdshealpix_and_no_point_is_further_than_the_radius(
    order: int,
) -> None:
    n = 12 * 4**order
    pixel = np.arange(n) if n < 3000 else np.random.default_rng(3).integers(0, n, 3000)
    centers = cell_centers(order, pixel)
    furthest = 0.0
    for dx in (0.0, 0.25, 0.5, 0.9999999):
        for dy in (0.0, 0.5, 0.9999999):
            lon, lat = nested.healpix_to_lonlat(pixel, order, dx, dy)
            distance = arc_length_rad(centers, unit_vectors(lon.deg, lat.deg))
            furthest = max(furthest, float(distance.max()))
            if dx == dy == 0.5:
                assert distance.max() < 4e-15
    assert furthest <= cell_radius_rad(order) * (1 + 1e-6)
    assert furthest > cell_radius_rad(order) * 0.97


def test_order_for_size() -> None:
    assert order_for_size(360.0) == 0
    assert order_for_size(58.0) == 1
    assert order_for_size(0.1) == 10
    assert order_for_size(0.0) == MAX_ORDER
    assert order_for_size(1e-12) == MAX_ORDER
