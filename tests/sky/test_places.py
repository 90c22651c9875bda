"""Many circles at once: which points they hold, and which cells cover them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolabe.sky.cover import BORDER, INSIDE, OUTSIDE, Cells
from astrolabe.sky.healpix import healpix_29
from astrolabe.sky.near import Caps, SortedPoints, near_pairs
from astrolabe.sky.places import Places
from astrolabe.sky.ranges import ALL_SKY, in_ranges
from astrolabe.sky.shapes import Polygons
from astrolabe.sky.vectors import arc_length_rad, unit_vectors

Floats = npt.NDArray[np.float64]


def sky(count: int, seed: int) -> tuple[Floats, Floats]:
    """Return positions all over the sky, some in a heap across RA 0, some at the poles."""
    rng = np.random.default_rng(seed)
    ra = rng.uniform(0, 360, count)
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    heap = count // 3
    ra[:heap], dec[:heap] = rng.normal(0, 1, heap) % 360, rng.normal(30, 1, heap)
    dec[heap : heap + 10] = np.where(rng.random(10) < 0.5, 90.0, -89.9)
    return ra, dec


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    size=st.sampled_from([0.0, 1e-6, 0.3, 5.0, 100.0]),
    spread=st.sampled_from([0.0, 3.0]),
    local=st.booleans(),
)
def test_all_pairs_are_found_once(seed: int, size: float, spread: float, *, local: bool) -> None:
    ra, dec = sky(60, seed)
    if local:
        ra, dec = ra[:20], dec[:20]
    radius = np.radians(size) * 10 ** np.random.default_rng(seed).uniform(-spread, 0, len(ra))
    radius[0] = -1.0
    points = np.concatenate([unit_vectors(*sky(200, seed + 1)), unit_vectors(ra, dec)])
    caps = Caps(unit_vectors(ra, dec), radius)
    found = [
        pair
        for cap, point in near_pairs(caps, SortedPoints.of(points))
        for pair in zip(cap.tolist(), point.tolist(), strict=True)
    ]
    apart = arc_length_rad(caps.centers[:, np.newaxis], points[np.newaxis])
    wanted = {tuple(pair) for pair in np.argwhere(apart <= radius[:, np.newaxis]).tolist()}
    allowed = {tuple(pair) for pair in np.argwhere(apart <= radius[:, np.newaxis] + 1e-8).tolist()}
    assert len(found) == len(set(found))
    assert wanted <= set(found) <= allowed


def test_nothing_is_near_nothing() -> None:
    none = np.empty((0, 3))
    some = unit_vectors([1.0], [2.0])
    assert list(near_pairs(Caps(none, np.empty(0)), SortedPoints.of(some))) == []
    assert list(near_pairs(Caps(some, np.ones(1)), SortedPoints.of(none))) == []
    assert len(Places(none, np.empty(0)).ranges()) == 0


@pytest.mark.parametrize("size", [0.0, 0.01, 2.0, 40.0, 70.0], ids=str)
def test_ranges_hold_what_the_places_do(size: float) -> None:
    places = Places(unit_vectors(*sky(90, 3)), np.full(90, size))
    ra, dec = sky(4_000, 4)
    ra[:90], dec[:90] = sky(90, 3)
    inside = places.contains(ra, dec)
    apart = arc_length_rad(unit_vectors(ra, dec)[:, np.newaxis], places.centers[np.newaxis])
    assert inside[np.degrees(apart.min(axis=1)) <= size].all()
    assert not inside[np.degrees(apart.min(axis=1)) > size + 1e-6].any()
    ranges = places.ranges()
    assert in_ranges(healpix_29(ra, dec), ranges)[inside].all()
    if size == 0.01:
        assert (ranges[:, 1] - ranges[:, 0]).sum() < 1e-3 * ALL_SKY[0, 1]
    wide = places.widened(1.0)
    assert in_ranges(healpix_29(ra, dec), wide.ranges())[wide.contains(ra, dec)].all()


def test_cells_are_told_from_places() -> None:
    places = Places(unit_vectors([10.0, 200.0], [0.0, 50.0]), np.array([5.0, 1.0]))
    cells = Cells(unit_vectors([10.5, 15.0, 100.0, 200.0], [0.0, 0.0, 0.0, 50.0]), np.radians(2.0))
    assert places.classify(cells).tolist() == [INSIDE, BORDER, OUTSIDE, BORDER]


def test_places_are_equal_if_they_are_the_same() -> None:
    def made(radius: float) -> Any:
        return Places(unit_vectors([1.0, 2.0], [3.0, 4.0]), np.array([1.0, radius]))

    assert made(1.0) == made(1.0)
    assert made(1.0) != made(2.0)
    assert len({made(1.0), made(1.0), made(2.0)}) == 2


def test_each_polygon_is_judged_against_its_own_circle() -> None:
    rng = np.random.default_rng(8)
    ra, dec = sky(60, 9)
    angles = np.sort(rng.uniform(0, 2 * np.pi, (60, 5)), axis=1)
    flat = np.stack(
        [ra[:, None] + np.cos(angles), np.clip(dec[:, None] + np.sin(angles), -89.99, 89.99)], 2
    )
    polygons = Polygons.of_degrees(flat.ravel(), np.full(60, 5))
    centers = unit_vectors(ra + rng.uniform(-1, 1, 60), np.clip(dec, -89, 89))
    radius = np.radians(rng.uniform(0, 2, 60))
    radius[:3] = np.pi
    for name in ("near", "meet_circle", "hold_circle", "in_circle"):
        together = getattr(polygons, name)(centers, radius)
        alone = [bool(getattr(polygons, name)(centers[i], float(radius[i]))[i]) for i in range(60)]
        assert together.tolist() == alone
    together = polygons.hold(centers)
    assert together.tolist() == [bool(polygons.hold(centers[i])[i]) for i in range(60)]
    assert 0 < together.sum() < 60
