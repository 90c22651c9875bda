"""Adaptive partitions: disjoint, complete, as large as they may be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolabe.catalogs.importing.hats import Skymap
from astrolabe.catalogs.importing.partitions import (
    MAX_ORDER,
    Partitions,
    count_in_runs,
    divide,
)
from astrolabe.catalogs.importing.runs import MemoryRun, Run

_CELLS = st.one_of(
    st.integers(0, (12 << 58) - 1),
    st.integers(5 << 58, (5 << 58) + 1000),
    st.just((12 << 58) - 1),
)


def _runs(keys: list[int]) -> list[Run]:
    half = len(keys) // 2
    parts = (sorted(keys[:half]), sorted(keys[half:]))
    return [MemoryRun(np.array(part, dtype=np.int64), None) for part in parts]  # type: ignore[arg-type]  # rows are not asked for


@settings(max_examples=60, deadline=None)
@given(keys=st.lists(_CELLS, max_size=60), max_rows=st.integers(1, 10))
def test_each_row_lies_in_exactly_one_pixel(keys: list[int], max_rows: int) -> None:
    found = divide(count_in_runs(_runs(keys)), max_rows=max_rows)
    assert np.all(found.start[1:] >= found.stop[:-1])
    inside = [(found.start <= key) & (key < found.stop) for key in keys]
    assert all(mask.sum() == 1 for mask in inside)
    assert found.rows.tolist() == (np.sum(inside, axis=0).tolist() if keys else [])
    assert np.all((found.rows <= max_rows) | (found.order == MAX_ORDER))
    assert np.all(found.rows > 0)


@settings(max_examples=60, deadline=None)
@given(keys=st.lists(_CELLS, min_size=1, max_size=60), max_rows=st.integers(1, 10))
def test_no_pixel_could_be_larger(keys: list[int], max_rows: int) -> None:
    found = divide(count_in_runs(_runs(keys)), max_rows=max_rows)
    for order, pixel in zip(found.order.tolist(), found.pixel.tolist(), strict=True):
        if order:
            shift = 2 * (29 - order + 1)
            siblings = sum(1 for key in keys if key >> shift == pixel >> 2)
            assert siblings > max_rows


def test_keeps_pixels_that_exist() -> None:
    old = divide(count_in_runs(_runs([1, 2, 7 << 50, 9 << 50])), max_rows=1)
    keep = Partitions(old.order[:2], old.pixel[:2], old.rows[:2])
    found = divide(count_in_runs(_runs([1, 2, 7 << 50, 5 << 58])), max_rows=1000, keep=keep)
    kept = set(zip(keep.order.tolist(), keep.pixel.tolist(), strict=True))
    assert kept < set(zip(found.order.tolist(), found.pixel.tolist(), strict=True))
    assert (0, 5) in set(zip(found.order.tolist(), found.pixel.tolist(), strict=True))


def test_rows_at_one_place_end_the_division() -> None:
    found = divide(count_in_runs(_runs([123456789] * 50)), max_rows=3)
    assert found.order.tolist() == [MAX_ORDER]
    assert found.rows.tolist() == [50]


@pytest.mark.parametrize("filled", [0, 3, 600_000])
def test_a_skymap_comes_back(tmp_path: Path, filled: int) -> None:
    skymap = Skymap()
    skymap.counts[:filled] = np.arange(1, filled + 1)
    skymap.write(tmp_path)
    found = Skymap.read(tmp_path)
    assert found is not None
    assert np.array_equal(found.counts, skymap.counts)
