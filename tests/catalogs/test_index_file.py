"""The partition index comes back as it was written, and memory for indexes is bounded."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolabe.catalogs.index_file import (
    INDEX_FILE_NAME,
    IndexCache,
    empty_index,
    read_index,
    write_index,
)
from astrolabe.catalogs.model import PartitionIndex
from astrolabe.core.errors import InternalError


def _index(groups_per_file: list[int], *, ids: bool = True) -> PartitionIndex:
    files, groups = len(groups_per_file), sum(groups_per_file)
    bounds = np.concatenate([[0], np.cumsum(groups_per_file)]).astype(np.int64)
    number = np.arange(groups, dtype=np.int64)
    rows = number % 5 + 1
    per_file = np.arange(files, dtype=np.int64)
    return PartitionIndex(
        paths=tuple(f"dataset/Norder=5/Dir=0/Npix={i}.parquet" for i in range(files)),
        order=np.full(files, 5, dtype=np.uint8),
        pixel=per_file,
        rows=np.add.reduceat(rows, bounds[:-1]) if files else per_file,
        size_bytes=per_file + 1000,
        healpix_min=per_file * 4**24,
        healpix_max=per_file * 4**24 + 7,
        first_group=bounds,
        group_rows=rows,
        group_bytes=number + 10,
        group_healpix_min=number * 3,
        group_healpix_max=number * 3 + 2,
        group_id_min=-number if ids else None,
        group_id_max=number if ids else None,
    )


def _assert_same(one: PartitionIndex, other: PartitionIndex) -> None:
    for field in fields(PartitionIndex):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if field.name == "paths" or left is None:
            assert left == right
        else:
            assert left.dtype == right.dtype, field.name
            np.testing.assert_array_equal(left, right)


@given(st.lists(st.integers(1, 6), max_size=12), st.booleans())
@settings(max_examples=30, deadline=None)
def test_round_trip(groups_per_file: list[int], ids: bool) -> None:  # noqa: FBT001 - hypothesis
    import tempfile  # noqa: PLC0415 - tmp_path is not fresh for each example

    with tempfile.TemporaryDirectory() as folder:
        index = _index(groups_per_file, ids=ids)
        write_index(index, Path(folder) / INDEX_FILE_NAME)
        _assert_same(index, read_index(Path(folder) / INDEX_FILE_NAME))


def test_large_index_reads_quickly(tmp_path: Path) -> None:
    index = _index([1] * 100_000)
    write_index(index, tmp_path / "index")
    assert (tmp_path / "index").stat().st_size < 20 * len(index.paths)
    _assert_same(index, read_index(tmp_path / "index"))


@pytest.mark.parametrize(
    "change",
    [
        {"paths": ("one",)},
        {"rows": np.array([1, 1], dtype=np.int64)},
        {"first_group": np.array([0, 0, 3], dtype=np.int64)},
        {"first_group": np.array([0, 3], dtype=np.int64)},
        {"group_bytes": np.array([1], dtype=np.int64)},
        {"group_id_max": None},
    ],
)
def test_inconsistent_index_is_not_written(tmp_path: Path, change: dict[str, Any]) -> None:
    broken = replace(_index([2, 1]), **change)
    with pytest.raises(InternalError, match="not consistent"):
        write_index(broken, tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_broken_and_foreign_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / "index"
    path.write_bytes(b"no parquet")
    with pytest.raises(InternalError, match="cannot be read"):
        read_index(path)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(InternalError, match="not a partition index"):
        read_index(path)
    with pytest.raises(InternalError, match="cannot be read"):
        read_index(tmp_path / "nothing")


def test_cache_is_bounded_and_keeps_what_was_used_last(tmp_path: Path) -> None:
    loaded: list[str] = []

    def load(path: Path) -> PartitionIndex:
        loaded.append(path.name)
        return _index([1] * 100)

    cache = IndexCache(max_bytes=60_000)
    first = cache.get(tmp_path / "a", load)
    one = cache.held_bytes
    assert 20_000 < one < 30_000
    assert cache.get(tmp_path / "a", load) is first
    cache.get(tmp_path / "b", load)
    cache.get(tmp_path / "a", load)
    cache.get(tmp_path / "c", load)  # b goes
    assert cache.held_bytes == 2 * one
    cache.get(tmp_path / "a", load)
    cache.get(tmp_path / "b", load)
    assert loaded == ["a", "b", "c", "b"]
    tiny = IndexCache(max_bytes=1)
    assert tiny.get(tmp_path / "a", load) is tiny.get(tmp_path / "a", load)


def test_empty_index_is_consistent(tmp_path: Path) -> None:
    write_index(empty_index(), tmp_path / "index")
    _assert_same(empty_index(), read_index(tmp_path / "index"))
