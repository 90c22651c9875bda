"""Sets of integers as sorted half-open ranges: cells of order 29, or identifiers.

A set is an int64 array of shape (n, 2): ``[start, end)`` in each row, sorted, apart from each
other (no two touch).  All of it is NumPy without loops over the ranges.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from astrolabe.sky.healpix import CELLS_29

__all__ = [
    "ALL_SKY",
    "NO_RANGES",
    "Ranges",
    "in_ranges",
    "intersect_ranges",
    "limit_ranges",
    "normalize_ranges",
    "overlaps_ranges",
    "union_ranges",
]

Ranges = npt.NDArray[np.int64]

ALL_SKY: Ranges = np.array([[0, CELLS_29]], dtype=np.int64)
"""Every cell of order 29."""
ALL_SKY.flags.writeable = False

NO_RANGES: Ranges = np.empty((0, 2), dtype=np.int64)
"""The empty set."""


def normalize_ranges(ranges: npt.ArrayLike) -> Ranges:
    """Return ranges of any order, overlapping, touching or empty, as a set.

    Examples
    --------
    >>> normalize_ranges([[5, 7], [0, 2], [2, 3], [9, 9]])
    array([[0, 3],
           [5, 7]])
    """
    given = np.asarray(ranges, dtype=np.int64).reshape(-1, 2)
    given = given[given[:, 0] < given[:, 1]]
    if len(given) < 2:
        return given
    given = given[np.argsort(given[:, 0], kind="stable")]
    reach = np.maximum.accumulate(given[:, 1])
    first = np.concatenate(([True], given[1:, 0] > reach[:-1]))
    last = np.concatenate((first[1:], [True]))
    return np.stack((given[first, 0], reach[last]), axis=1)


def union_ranges(*sets: Ranges) -> Ranges:
    """Return what is in any of the sets."""
    return normalize_ranges(np.concatenate(sets)) if sets else NO_RANGES


def intersect_ranges(first: Ranges, second: Ranges) -> Ranges:
    """Return what is in both sets.

    Examples
    --------
    >>> intersect_ranges(np.array([[0, 5], [8, 12]]), np.array([[3, 10]]))
    array([[ 3,  5],
           [ 8, 10]])
    """
    # Range i of `first` meets the ranges low[i]:high[i] of `second`.
    low = np.searchsorted(second[:, 1], first[:, 0], side="right")
    high = np.searchsorted(second[:, 0], first[:, 1], side="left")
    count = np.maximum(high - low, 0)
    of_first = np.repeat(np.arange(len(first)), count)
    offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    of_second = np.repeat(low, count) + offset
    start = np.maximum(first[of_first, 0], second[of_second, 0])
    end = np.minimum(first[of_first, 1], second[of_second, 1])
    return np.stack((start, end), axis=1)


def limit_ranges(ranges: Ranges, max_ranges: int) -> Ranges:
    """Return a superset of at most `max_ranges` ranges, made by closing the smallest gaps."""
    if len(ranges) <= max_ranges:
        return ranges
    gaps = ranges[1:, 0] - ranges[:-1, 1]
    keep = np.sort(np.argsort(gaps, kind="stable")[len(gaps) - (max(max_ranges, 1) - 1) :])
    start = np.concatenate((ranges[:1, 0], ranges[keep + 1, 0]))
    end = np.concatenate((ranges[keep, 1], ranges[-1:, 1]))
    return np.stack((start, end), axis=1)


def in_ranges(values: npt.ArrayLike, ranges: Ranges) -> npt.NDArray[np.bool_]:
    """Tell which values (n,) are in the set."""
    wanted = np.asarray(values, dtype=np.int64)
    return overlaps_ranges(wanted, wanted, ranges)


def overlaps_ranges(
    first: npt.NDArray[np.int64], last: npt.NDArray[np.int64], ranges: Ranges
) -> npt.NDArray[np.bool_]:
    """Tell which intervals ``first..last`` (n,), both ends included, meet the set."""
    if not len(ranges):
        return np.zeros(len(first), dtype=np.bool_)
    index = np.searchsorted(ranges[:, 1], first, side="right")
    start = np.append(ranges[:, 0], np.iinfo(np.int64).max)[index]
    # Past the last range there is nothing, not even the largest integer.
    return np.asarray((start <= last) & (index < len(ranges)), dtype=np.bool_)
