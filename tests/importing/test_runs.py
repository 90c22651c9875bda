"""Sorted runs: any range of keys comes back complete and in order, from memory and from files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolabe.catalogs.importing.runs import RunBuilder, gather

_TYPES: dict[str, pa.DataType] = {
    "key": pa.int64(),
    "arrival": pa.int64(),
    "text": pa.string(),
}
_SCHEMA = pa.schema(_TYPES)


def _batch(keys: list[int], first: int) -> tuple[pa.RecordBatch, np.ndarray]:
    arrivals = list(range(first, first + len(keys)))
    texts = [None if k % 5 == 0 else f"row {k}" for k in keys]
    arrays: list[pa.Array[Any]] = [
        pa.array(keys, pa.int64()),
        pa.array(arrivals),
        pa.array(texts, pa.string()),
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA), np.array(keys, dtype=np.int64)


@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=12),
    run_bytes=st.sampled_from([1, 400, 3000, 1 << 30]),
    piece=st.integers(1, 50),
    bounds=st.tuples(st.integers(0, 41), st.integers(0, 41)),
)
def test_gathers_what_a_stable_sort_gives(
    batches: list[list[int]], run_bytes: int, piece: int, bounds: tuple[int, int]
) -> None:
    start, stop = min(bounds), max(bounds)
    with (
        tempfile.TemporaryDirectory() as folder,
        RunBuilder(_SCHEMA, folder=Path(folder) / "spill", run_bytes=run_bytes) as builder,
    ):
        arrived: list[tuple[int, int]] = []
        for keys in batches:
            builder.add(*_batch(keys, len(arrived)))
            arrived += [(key, len(arrived) + i) for i, key in enumerate(keys)]
        runs = builder.finish()
        expected = sorted(row for row in arrived if start <= row[0] < stop)
        pieces = list(gather(runs, start, stop).pieces(piece))
    found = [
        (key, arrival)
        for keys, table in pieces
        for key, arrival in zip(table["key"].to_pylist(), table["arrival"].to_pylist(), strict=True)
        if keys.tolist() == table["key"].to_pylist()
    ]
    assert found == expected
    assert all(table.num_rows <= piece for _, table in pieces)
    texts = [text for _, table in pieces for text in table["text"].to_pylist()]
    assert texts == [None if k % 5 == 0 else f"row {k}" for k, _ in expected]


def test_keeps_a_small_table_in_memory(tmp_path: Path) -> None:
    with RunBuilder(_SCHEMA, folder=tmp_path / "spill", run_bytes=1 << 20) as builder:
        builder.add(*_batch([3, 1, 2], 0))
        (run,) = builder.finish()
    assert run.keys.tolist() == [1, 2, 3]
    assert not (tmp_path / "spill").exists()


def test_sorted_batches_are_found_in_their_spill_file(tmp_path: Path) -> None:
    with RunBuilder(_SCHEMA, folder=tmp_path / "spill", run_bytes=4000) as builder:
        for first in range(0, 200, 10):
            builder.add(*_batch(list(range(first, first + 10)), first))
        runs = builder.finish()
    assert len(runs) > 1
    ((_, table),) = gather(runs, 35, 155).pieces(1000)
    assert table["arrival"].to_pylist() == list(range(35, 155))


def test_an_error_while_spilling_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "spill").mkdir()
    (tmp_path / "spill" / "run-00000.npy").mkdir()
    with RunBuilder(_SCHEMA, folder=tmp_path / "spill", run_bytes=1) as builder:
        builder.add(*_batch([1], 0))
        with pytest.raises(IsADirectoryError):
            builder.finish()
