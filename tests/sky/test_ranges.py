from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolabe.sky.ranges import (
    ALL_SKY,
    NO_RANGES,
    Ranges,
    in_ranges,
    intersect_ranges,
    limit_ranges,
    normalize_ranges,
    overlaps_ranges,
    union_ranges,
)

UNIVERSE = np.arange(-1, 41)
PAIRS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=8)


def members(pairs: list[tuple[int, int]]) -> set[int]:
    return {value for start, end in pairs for value in range(start, end)}


def contents(ranges: Ranges) -> set[int]:
    return set(UNIVERSE[in_ranges(UNIVERSE, ranges)].tolist())


def is_set(ranges: Ranges) -> bool:
    flat = ranges.ravel()
    return bool((np.diff(flat) > 0).all())


@given(PAIRS, PAIRS)
@settings(max_examples=150, deadline=None)
def test_ranges_behave_as_sets(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    a, b = normalize_ranges(first), normalize_ranges(second)
    assert is_set(a)
    assert contents(a) == members(first)
    assert is_set(union_ranges(a, b))
    assert contents(union_ranges(a, b)) == members(first) | members(second)
    assert is_set(intersect_ranges(a, b))
    assert contents(intersect_ranges(a, b)) == members(first) & members(second)


@given(PAIRS, st.integers(1, 6))
@settings(max_examples=100, deadline=None)
def test_limited_ranges_hold_all_of_the_given(pairs: list[tuple[int, int]], limit: int) -> None:
    given_ranges = normalize_ranges(pairs)
    limited = limit_ranges(given_ranges, limit)
    assert len(limited) == min(limit, len(given_ranges))
    assert is_set(limited)
    assert members(pairs) <= contents(limited)


def test_limit_closes_the_smallest_gaps() -> None:
    ranges = normalize_ranges([[0, 1], [10, 11], [12, 13], [40, 41]])
    assert limit_ranges(ranges, 3).tolist() == [[0, 1], [10, 13], [40, 41]]


@given(PAIRS, st.lists(st.tuples(st.integers(0, 40), st.integers(0, 10)), max_size=5))
@settings(max_examples=100, deadline=None)
def test_overlap_of_intervals(
    pairs: list[tuple[int, int]], intervals: list[tuple[int, int]]
) -> None:
    ranges = normalize_ranges(pairs)
    first = np.array([start for start, _ in intervals], dtype=np.int64)
    last = first + np.array([length for _, length in intervals], dtype=np.int64)
    expected = [
        bool(members(pairs) & set(range(a, b + 1))) for a, b in zip(first, last, strict=True)
    ]
    assert overlaps_ranges(first, last, ranges).tolist() == expected


def test_extremes() -> None:
    largest = np.iinfo(np.int64).max
    ranges = np.array([[5, largest]], dtype=np.int64)
    assert in_ranges([4, 5, largest - 1, largest], ranges).tolist() == [False, True, True, False]
    assert contents(NO_RANGES) == set()
    assert union_ranges().shape == (0, 2)
    assert in_ranges([0, ALL_SKY[0, 1] - 1, ALL_SKY[0, 1]], ALL_SKY).tolist() == [True, True, False]
