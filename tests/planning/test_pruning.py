from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolabe.catalogs.model import PartitionIndex, TableVersion
from astrolabe.catalogs.planning.plan import scan_table
from astrolabe.catalogs.planning.pruning import prune
from astrolabe.catalogs.planning.restrictions import Restriction
from astrolabe.sky.healpix import CELLS_29
from astrolabe.sky.ranges import Ranges, in_ranges, normalize_ranges
from astrolabe.sky.regions import Circle, Polygon

from .survey import large_version, make_index

CELLS = st.integers(0, CELLS_29 - 1)
PAIRS = st.lists(st.tuples(CELLS, st.integers(1, CELLS_29 // 20)), max_size=4)


def as_ranges(pairs: list[tuple[int, int]]) -> Ranges:
    return normalize_ranges([(start, start + length) for start, length in pairs])


@given(
    st.lists(CELLS, min_size=1, max_size=120),
    PAIRS,
    st.sampled_from([0, 1, 3]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=120, deadline=None)
def test_no_row_is_lost_and_no_row_group_read_in_vain(
    cells: list[int], pairs: list[tuple[int, int]], order: int, random: object
) -> None:
    rows = np.sort(np.array(cells, dtype=np.int64))
    rng = np.random.default_rng(int(random.random() * 1000))  # type: ignore[attr-defined] # Random
    ids = rng.permutation(len(rows)).astype(np.int64)
    index = make_index(rows, ids, order=order, group_rows=5)
    cell_set = as_ranges(pairs)
    id_set = normalize_ranges([(3, 6), (40, 41)])
    group = np.repeat(np.arange(len(index.group_rows)), index.group_rows)
    for by_cells in (cell_set, None):
        for by_ids in (id_set, None):
            selection = prune(index, cells=by_cells, ids=by_ids)
            wanted = np.ones(len(rows), dtype=bool)
            if by_cells is not None:
                wanted &= in_ranges(rows, by_cells)
            if by_ids is not None:
                wanted &= in_ranges(ids, by_ids)
            assert set(group[wanted]) <= set(selection.groups.tolist())
            assert selection.rows == index.group_rows[selection.groups].sum()
            assert selection.size_bytes == selection.rows * 100
            files = np.searchsorted(index.first_group, selection.groups, side="right") - 1
            assert selection.files.tolist() == sorted(set(files.tolist()))
    for number in prune(index, cells=cell_set, ids=None).groups.tolist():
        low, high = index.group_healpix_min[number], index.group_healpix_max[number]
        assert any(start <= high and low < end for start, end in cell_set.tolist())


@given(st.lists(CELLS, min_size=2, max_size=80), PAIRS)
@settings(max_examples=60, deadline=None)
def test_files_of_one_pixel_may_overlap(cells: list[int], pairs: list[tuple[int, int]]) -> None:
    # What came later stands in files of its own after those of the same pixel.
    half = len(cells) // 2
    first, second = (
        np.sort(np.array(part, dtype=np.int64)) for part in (cells[:half], cells[half:])
    )
    one, two = (make_index(part, part, order=0, group_rows=5) for part in (first, second))
    both = joined(one, two)
    wanted = as_ranges(pairs)
    selection = prune(both, cells=wanted, ids=None)
    rows = np.concatenate((first, second))
    group = np.repeat(np.arange(len(both.group_rows)), both.group_rows)
    assert set(group[in_ranges(rows, wanted)]) <= set(selection.groups.tolist())


def joined(one: PartitionIndex, two: PartitionIndex) -> PartitionIndex:
    arrays = {
        name: np.concatenate((getattr(one, name), getattr(two, name)))
        for name in PartitionIndex.__dataclass_fields__
        if name not in ("paths", "first_group")
    }
    return PartitionIndex(
        paths=one.paths + two.paths,
        first_group=np.concatenate((one.first_group, two.first_group[1:] + one.first_group[-1])),
        **arrays,
    )


def test_extremes_of_ids() -> None:
    largest = np.iinfo(np.int64).max
    ids = np.array([-5, 0, 7, largest], dtype=np.int64)
    index = make_index(np.arange(4, dtype=np.int64), ids, order=0, group_rows=1)
    for ranges, expected in (
        ([[0, 1]], [1]),
        ([[7, largest]], [2, 3]),
        ([[-5, -4], [0, 1], [1, 2], [3, 4], [9, largest]], [0, 1, 3]),
        ([[-5, -4], [0, 1], [2, 3], [5, 6], [9, 10]], [0, 1]),
        (np.empty((0, 2)), []),
    ):
        selection = prune(index, cells=None, ids=np.array(ranges, dtype=np.int64).reshape(-1, 2))
        assert selection.groups.tolist() == expected


def test_ids_without_statistics_leave_all() -> None:
    rows = np.arange(10, dtype=np.int64)
    index = replace(make_index(rows, rows, order=0), group_id_min=None, group_id_max=None)
    assert prune(index, cells=None, ids=np.array([[3, 4]])).rows == 10


@pytest.fixture(scope="module")
def large() -> TableVersion:
    return large_version()


def test_a_small_region_of_many_partitions_is_a_few_files(large: TableVersion) -> None:
    for region in (Circle(10, 20, 0.1), Polygon([10, 11, 11, 10], [5, 5, 6, 6])):
        scan = scan_table(large, Restriction(regions=(region,)), frozenset(["ra", "dec"]))
        assert scan.groups is not None
        assert len(scan.paths) < 50


def test_long_selections_are_not_listed(large: TableVersion) -> None:
    scan = scan_table(large, Restriction(regions=(Circle(10, 20, 60),)), frozenset(["ra"]))
    assert scan.groups is None
    assert 40_000 < len(scan.paths) < 70_000
    assert scan.healpix_ranges is not None
    assert len(scan.healpix_ranges) <= 64
