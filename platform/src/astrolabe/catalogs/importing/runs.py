"""Sorted runs: how more rows than fit in memory are brought into order.

Rows are collected until a run is full, sorted by an int64 key and, if there will be more than one
run, spilled to a file.  Any range of keys can then be gathered from all runs, so that the parts of
the result are made one after the other, each from what it needs, whatever the distribution is.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import ipc

__all__ = ["MemoryRun", "Run", "RunBuilder", "RunSlice", "gather"]

Keys = npt.NDArray[np.int64]

# Rows of a record batch in a spill file: what is read in vain at each end of a slice, against the
# cost of a batch (some microseconds a column).
_SPILL_BATCH_ROWS = 8192


class Run(Protocol):
    """Rows sorted by their keys, ascending; rows of equal keys keep the order of arrival."""

    @property
    def keys(self) -> Keys:
        """The keys, (n,) ascending."""

    def rows(self, start: int, stop: int) -> pa.Table:
        """Return rows ``start:stop``; may be called from any thread."""


class MemoryRun:
    """A run held in memory."""

    def __init__(self, keys: Keys, table: pa.Table) -> None:
        self._keys = keys
        self._table = table

    @property
    def keys(self) -> Keys:
        """The keys, (n,) ascending."""
        return self._keys

    def rows(self, start: int, stop: int) -> pa.Table:
        """Return rows ``start:stop``."""
        return self._table.slice(start, stop - start)


class _FileRun:
    """A run in two files: keys that are mapped, rows that are read when asked for."""

    def __init__(self, path: Path, keys: Keys, table: pa.Table) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._length = len(keys)
        np.save(path.with_suffix(".npy"), keys)
        with pa.OSFile(str(path), "wb") as sink, ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=_SPILL_BATCH_ROWS)
        # Read, not mapped: mapped pages of all runs would count as this process's memory.
        self._file = pa.OSFile(str(path), "rb")
        self._reader = ipc.open_file(self._file)
        self._keys: Keys | None = None

    @property
    def keys(self) -> Keys:
        """The keys, (n,) ascending."""
        if self._keys is None:
            self._keys = np.load(self._path.with_suffix(".npy"), mmap_mode="r")
        return self._keys

    def rows(self, start: int, stop: int) -> pa.Table:
        """Return rows ``start:stop``."""
        first, last = start // _SPILL_BATCH_ROWS, (stop - 1) // _SPILL_BATCH_ROWS
        with self._lock:
            batches = [self._reader.get_batch(i) for i in range(first, last + 1)]
        table = pa.Table.from_batches(batches)
        return table.slice(start - first * _SPILL_BATCH_ROWS, stop - start)


class RunBuilder:
    """Collects rows and makes runs of them.

    A full run is sorted and spilled by a thread of its own while the next one fills; at most two
    exist at a time.  If all rows fit in one run, nothing is spilled.

    Parameters
    ----------
    schema
        Of the rows.
    folder
        Where spill files go; made when the first one is written.
    run_bytes
        Size at which a run is full (bytes in memory).
    """

    def __init__(self, schema: pa.Schema, *, folder: Path, run_bytes: int) -> None:
        self._schema = schema
        self._folder = folder
        self._run_bytes = run_bytes
        self._lock = threading.Lock()
        self._batches: list[pa.RecordBatch] = []
        self._keys: list[Keys] = []
        self._bytes = 0
        self._runs: list[Run] = []
        self._sorting: Future[Run] | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="sort-run")
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)

    def add(self, batch: pa.RecordBatch, keys: Keys) -> None:
        """Add rows with their keys (n,); may be called from any thread."""
        if batch.num_rows == 0:
            return
        with self._lock:
            self._batches.append(batch)
            self._keys.append(keys)
            self._bytes += batch.nbytes + keys.nbytes
            self.rows += batch.num_rows
            if self._bytes >= self._run_bytes:
                self._flush()

    def finish(self) -> list[Run]:
        """Return all runs; nothing may be added afterwards."""
        with self._lock:
            if self._batches and not self._runs and self._sorting is None:
                self._runs.append(MemoryRun(*self._sorted(*self._take())))
            elif self._batches:
                self._flush()
            self._collect()
            return self._runs

    def _take(self) -> tuple[list[pa.RecordBatch], list[Keys]]:
        taken = self._batches, self._keys
        self._batches, self._keys, self._bytes = [], [], 0
        return taken

    def _flush(self) -> None:
        self._collect()
        batches, keys = self._take()
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"run-{len(self._runs):05d}.arrow"
        self._sorting = self._executor.submit(self._spill, path, batches, keys)

    def _collect(self) -> None:
        if self._sorting is not None:
            self._runs.append(self._sorting.result())
            self._sorting = None

    def _spill(self, path: Path, batches: list[pa.RecordBatch], keys: list[Keys]) -> Run:
        sorted_keys, table = self._sorted(batches, keys)
        return _FileRun(path, sorted_keys, table)

    def _sorted(self, batches: list[pa.RecordBatch], keys: list[Keys]) -> tuple[Keys, pa.Table]:
        table = pa.Table.from_batches(batches, schema=self._schema)
        batches.clear()  # the columns are freed one by one below
        all_keys = np.concatenate(keys)
        if np.all(all_keys[:-1] <= all_keys[1:]):
            # In one chunk, since a spill file finds rows by the number of their batch.
            return all_keys, table.combine_chunks()
        order = np.argsort(all_keys, kind="stable")
        return all_keys[order], _reordered(table, order)


class RunSlice:
    """The rows of several runs whose keys lie in one range, in the order of their keys.

    Parameters
    ----------
    runs
        All runs.
    start, stop
        Half-open range of keys.
    """

    def __init__(self, runs: Sequence[Run], start: int, stop: int) -> None:
        parts = [(run, *_bounds(run.keys, start, stop)) for run in runs]
        self._parts = [part for part in parts if part[2] > part[1]]
        lengths = [hi - lo for _, lo, hi in self._parts]
        self._offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        joined = [run.keys[lo:hi] for run, lo, hi in self._parts]
        self._order: npt.NDArray[np.intp] | None = None
        if len(joined) == 1:
            self.keys = np.asarray(joined[0])
        elif joined:
            keys = np.concatenate(joined)
            self._order = np.argsort(keys, kind="stable")
            self.keys = keys[self._order]
        else:
            self.keys = np.empty(0, dtype=np.int64)
        self._cursor = np.zeros(len(self._parts), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.keys)

    def pieces(self, rows: int) -> PieceIterator:
        """Yield (keys, table) of at most `rows` rows, in order; can be done once."""
        return PieceIterator(self, rows)

    def piece(self, start: int, stop: int) -> pa.Table:
        """Return rows ``start:stop``; pieces must be asked for one after the other."""
        if self._order is None:
            run, lo, _ = self._parts[0]
            return run.rows(lo + start, lo + stop)
        # Runs are sorted and the sort is stable: a piece takes a contiguous stretch of each run.
        chosen = self._order[start:stop]
        of_run = np.searchsorted(self._offsets, chosen, side="right") - 1
        taken = np.bincount(of_run, minlength=len(self._parts))
        tables, base = [], np.zeros(len(self._parts), dtype=np.int64)
        position = 0
        for i, (run, lo, _) in enumerate(self._parts):
            if taken[i]:
                first = lo + int(self._cursor[i])
                tables.append(run.rows(first, first + int(taken[i])))
            base[i] = position - self._offsets[i] - self._cursor[i]
            position += int(taken[i])
        self._cursor += taken
        return _reordered(pa.concat_tables(tables), chosen + base[of_run])


class PieceIterator:
    """Iterates over a `RunSlice` in pieces of bounded size."""

    def __init__(self, whole: RunSlice, rows: int) -> None:
        self._whole = whole
        self._rows = rows
        self._next = 0

    def __iter__(self) -> PieceIterator:
        return self

    def __next__(self) -> tuple[Keys, pa.Table]:
        start = self._next
        if start >= len(self._whole):
            raise StopIteration
        stop = min(start + self._rows, len(self._whole))
        self._next = stop
        return self._whole.keys[start:stop], self._whole.piece(start, stop)


def gather(runs: Sequence[Run], start: int, stop: int) -> RunSlice:
    """Return the rows of all `runs` whose keys lie in ``[start, stop)``, in order."""
    return RunSlice(runs, start, stop)


def _bounds(keys: Keys, start: int, stop: int) -> tuple[int, int]:
    lo, hi = np.searchsorted(keys, np.array([start, stop], dtype=np.int64))
    return int(lo), int(hi)


def _reordered(table: pa.Table, order: npt.NDArray[np.intp]) -> pa.Table:
    """Return the rows of `table` in another order, column by column to bound the extra memory."""
    columns = []
    for column in table.columns:
        chunk = column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
        columns.append(chunk.take(order))
    return pa.Table.from_arrays(columns, schema=table.schema)
