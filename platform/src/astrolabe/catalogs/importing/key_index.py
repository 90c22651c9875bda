"""Key indexes: for each value of an integer column, where its rows lie.

An index is made from runs that are sorted by the column, so that it costs bounded memory however
many rows there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from astrolabe.catalogs.importing.files import (
    FileSettings,
    PartitionFile,
    WrittenFile,
    build_index,
)
from astrolabe.catalogs.importing.partitions import Partitions
from astrolabe.catalogs.importing.runs import Run, gather
from astrolabe.catalogs.index_file import INDEX_FILE_NAME, write_index
from astrolabe.catalogs.model import INDEX_FIRST_CELL, INDEX_SPAN

__all__ = [
    "CELL",
    "Entries",
    "cell_schema",
    "has_largest",
    "index_schema",
    "keys_and_cells",
    "slices",
    "write_key_index",
]

Int64s = npt.NDArray[np.int64]

CELL = "cell"
# Rows of one value that lie in one pixel of this order (3 arcsec) share an entry.
_PLACE_SHIFT = 2 * (29 - 16)
_LARGEST = np.iinfo(np.int64).max
_ROWS_PER_GROUP = 8192
_ROWS_PER_FILE = 256 * _ROWS_PER_GROUP
_SAMPLE_ROWS = 1 << 18
_SLICE_ROWS = 1 << 20


def cell_schema() -> pa.Schema:
    """Return the schema of the rows of runs that are sorted by a key: the cell of each."""
    return pa.schema([pa.field(CELL, pa.int64())])


def slices(runs: Sequence[Run], *more: Sequence[Run]) -> Iterator[tuple[int, int]]:
    """Yield half-open ranges of keys, each with about a million rows of all the runs.

    A range holds all rows of its keys, so one that very many rows share makes a larger range.  The
    very largest integer is in none (see `has_largest`).
    """
    samples = [np.asarray(run.keys[::_SAMPLE_ROWS]) for part in (runs, *more) for run in part]
    if not samples:
        return
    bounds = np.sort(np.concatenate(samples))[:: max(_SLICE_ROWS // _SAMPLE_ROWS, 1)]
    edges = np.unique(np.append(bounds, [np.iinfo(np.int64).min, _LARGEST]))
    yield from zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)


def has_largest(runs: Sequence[Run]) -> bool:
    """Tell whether a row has the largest integer as its key, which no half-open range holds."""
    return any(len(run.keys) and int(run.keys[-1]) == _LARGEST for run in runs)


def keys_and_cells(runs: Sequence[Run], start: int, stop: int) -> tuple[Int64s, Int64s]:
    """Return the keys in ``[start, stop)``, rising, and the cell of each row; cells rise, too."""
    whole = gather(runs, start, stop)
    if not len(whole):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    keys = np.asarray(whole.keys)
    cells = whole.piece(0, len(whole)).column(CELL).to_numpy()
    if ((keys[1:] == keys[:-1]) & (cells[1:] < cells[:-1])).any():
        # Rows that were read in the order of their cells, as a table's are, need this not.
        order = np.lexsort((cells, keys))
        keys, cells = keys[order], cells[order]
    return keys, cells


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """Entries of an index: ``first[i]`` to ``last[i]`` are the cells of rows of ``keys[i]``."""

    keys: Int64s
    first: Int64s
    last: Int64s


def _entries(keys: Int64s, cells: Int64s, pixel_of: Int64s) -> tuple[Entries, Int64s]:
    """Join rows of one key, one place and one partition; also return the partition of each."""
    places = cells >> _PLACE_SHIFT
    news = np.concatenate(
        (
            [True],
            (keys[1:] != keys[:-1]) | (places[1:] != places[:-1]) | (pixel_of[1:] != pixel_of[:-1]),
        )
    )
    start = np.flatnonzero(news)
    end = np.append(start[1:], len(keys)) - 1
    return Entries(keys[start], cells[start], cells[end]), pixel_of[start]


def write_key_index(
    root: Path, column: str, runs: Sequence[Run], *, partitions: Partitions
) -> list[WrittenFile]:
    """Write the index of a column.

    Parameters
    ----------
    root
        Folder of the index; made here.
    column
        Name of the column.
    runs
        Sorted by its values, with the cells of the rows (`cell_schema`).
    partitions
        Of the table, named by each entry for readers of HATS.

    Returns
    -------
    list of WrittenFile
        Its files; none if no row has a value.
    """
    dataset = root / "dataset"
    dataset.mkdir(parents=True)
    writer = _IndexWriter(dataset, column)
    starts = partitions.start
    for begin, end in slices(runs):
        keys, cells = keys_and_cells(runs, begin, end)
        if len(keys):
            entries, own = _entries(keys, cells, np.searchsorted(starts, cells, side="right") - 1)
            writer.write(entries, partitions.order[own], partitions.pixel[own])
    files = writer.finish()
    index = build_index(files, id_column=column, positioned=False, prefix="dataset/")
    write_index(index, root / INDEX_FILE_NAME)
    return files


class _IndexWriter:
    """Writes entries to files of bounded size, in full row groups."""

    def __init__(self, dataset: Path, column: str) -> None:
        self._dataset = dataset
        self.schema = index_schema(column)
        self._held: list[pa.Table] = []
        self._rows = 0
        self._files: list[WrittenFile] = []

    def write(self, entries: Entries, order: Int64s, pixel: Int64s) -> None:
        self._held.append(
            pa.table(
                [
                    pa.array(entries.keys),
                    pa.array(entries.first),
                    pa.array(entries.last - entries.first),
                    pa.array(order.astype(np.uint8)),
                    pa.array(pixel.astype(np.uint64)),
                ],
                schema=self.schema,
            )
        )
        self._rows += len(entries.keys)
        while self._rows >= _ROWS_PER_FILE:
            self._flush(_ROWS_PER_FILE)

    def finish(self) -> list[WrittenFile]:
        if self._rows:
            self._flush(self._rows)
        return self._files

    def _flush(self, rows: int) -> None:
        whole = pa.concat_tables(self._held)
        path = f"index/part.{len(self._files):05d}.parquet"
        settings = FileSettings(
            rows_per_group=_ROWS_PER_GROUP, compression_level=3, dictionary_columns=("Norder",)
        )
        file = PartitionFile(
            self._dataset,
            path,
            order=0,
            pixel=0,
            schema=self.schema,
            settings=settings,
            positioned=False,
        )
        with file:
            file.write(None, whole.slice(0, rows))
        self._files.append(file.finished())
        self._held = [whole.slice(rows)]
        self._rows -= rows


def index_schema(column: str) -> pa.Schema:
    """Return the schema of an index's files, which HATS readers know but for one column."""
    return pa.schema(
        [
            pa.field(column, pa.int64()),
            pa.field(INDEX_FIRST_CELL, pa.int64()),
            pa.field(INDEX_SPAN, pa.int64()),
            pa.field("Norder", pa.uint8()),
            pa.field("Npix", pa.uint64()),
        ]
    )
