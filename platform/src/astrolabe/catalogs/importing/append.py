"""The rows that a table has already, when more are appended to it."""

from __future__ import annotations

import os
import threading
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from astrolabe.catalogs.importing.files import WrittenFile, partition_path
from astrolabe.catalogs.importing.partitions import Partitions
from astrolabe.catalogs.importing.runs import Run
from astrolabe.catalogs.model import TableVersion
from astrolabe.tables.model import HEALPIX_COLUMN

__all__ = ["Existing"]

Cells = npt.NDArray[np.int64]

_DATASET = "dataset/"
_OPEN_FILES = 16


class Existing:
    """The files of the version that rows are appended to.

    Files that get no new rows are linked into the new version, the others are read as one more
    sorted run.

    Parameters
    ----------
    version
        The version that readers see now.
    """

    def __init__(self, version: TableVersion) -> None:
        self.version = version
        self.root = Path(version.root) if version.index.paths else None
        index = version.index
        self.partitions = Partitions(
            index.order.astype(np.int64), index.pixel.astype(np.int64), index.rows
        )
        self._rows_before = np.concatenate([[0], np.cumsum(index.rows, dtype=np.int64)])
        self._run = lru_cache(maxsize=_OPEN_FILES)(self._open)

    @property
    def is_positioned(self) -> bool:
        """Whether the table has positions."""
        return self.version.meta.ra_column is not None

    def count(self, starts: Cells, stops: Cells) -> Cells:
        """Count rows in HEALPix pixels, given as ranges of cells at order 29."""
        # A pixel either holds whole partitions or lies inside one.
        first = np.searchsorted(self.partitions.start, starts, side="left")
        last = np.searchsorted(self.partitions.stop, stops, side="right")
        total = self._rows_before[np.maximum(first, last)] - self._rows_before[first]
        inside = np.searchsorted(self.partitions.stop, starts, side="right")
        for i in np.flatnonzero((first >= last) & (inside < len(self.partitions))):
            leaf = int(inside[i])
            if self.partitions.start[leaf] <= starts[i]:
                keys = self._run(leaf).keys
                lo, hi = np.searchsorted(keys, np.array([starts[i], stops[i]]))
                total[i] = hi - lo
        return np.asarray(total, dtype=np.int64)

    def runs(self, start: int, stop: int) -> list[Run]:
        """Return the files that overlap a range of cells at order 29, as sorted runs."""
        first = int(np.searchsorted(self.partitions.stop, start, side="right"))
        last = int(np.searchsorted(self.partitions.start, stop, side="left"))
        return [self._run(i) for i in range(first, last)]

    def link(self, dataset: Path, order: int, pixel: int) -> WrittenFile:
        """Link the file of a partition into another version's ``dataset/``."""
        path = partition_path(order, pixel)
        index = self.version.index
        own = np.flatnonzero((index.order == order) & (index.pixel == pixel))
        return self._linked(dataset, index.paths[int(own[0])], path, order, pixel)

    def link_all(self, dataset: Path) -> list[WrittenFile]:
        """Link every file under the name that it has."""
        return [
            self._linked(dataset, path, path.removeprefix(_DATASET), 0, 0)
            for path in self.version.index.paths
        ]

    def link_margins(
        self, margin: str, dataset: Path, partitions: Partitions, chosen: npt.NDArray[np.bool_]
    ) -> list[WrittenFile]:
        """Link the margins of the chosen partitions (p,) from the margin catalog of this name."""
        linked = []
        if self.root is not None:
            old = self.root.parent / margin / "dataset"
            for i in np.flatnonzero(chosen):
                order, pixel = int(partitions.order[i]), int(partitions.pixel[i])
                path = partition_path(order, pixel)
                if (old / path).exists():
                    _link(old / path, dataset / path)
                    linked.append(WrittenFile.read(dataset, order=order, pixel=pixel, path=path))
        return linked

    def has_margin(self, margin: str) -> bool:
        """Whether the version has a margin catalog of this name."""
        return self.root is not None and (self.root.parent / margin / "hats.properties").exists()

    def _linked(self, dataset: Path, source: str, path: str, order: int, pixel: int) -> WrittenFile:
        assert self.root is not None  # noqa: S101 - there is a file, so there is a root
        _link(self.root / source, dataset / path)
        return WrittenFile.read(dataset, order=order, pixel=pixel, path=path)

    def _open(self, leaf: int) -> Run:
        assert self.root is not None  # noqa: S101 - there is a file, so there is a root
        return _ParquetRun(self.root / self.version.index.paths[leaf])


class _ParquetRun:
    """A file of the table as a sorted run."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetFile(path)
        self._lock = threading.Lock()
        footer = self._file.metadata
        rows = [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
        self._first_row = np.concatenate([[0], np.cumsum(rows, dtype=np.int64)])
        self._columns = [name for name in self._file.schema_arrow.names if name != HEALPIX_COLUMN]
        keys = self._file.read(columns=[HEALPIX_COLUMN], use_threads=False)
        self._keys: Cells = keys.column(0).to_numpy()

    @property
    def keys(self) -> Cells:
        """The keys, (n,) ascending."""
        return self._keys

    def rows(self, start: int, stop: int) -> pa.Table:
        """Return rows ``start:stop``."""
        first = int(np.searchsorted(self._first_row, start, side="right")) - 1
        last = int(np.searchsorted(self._first_row, stop, side="left"))
        with self._lock:
            table = self._file.read_row_groups(
                list(range(first, last)), columns=self._columns, use_threads=False
            )
        return table.slice(start - int(self._first_row[first]), stop - start)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, target)
