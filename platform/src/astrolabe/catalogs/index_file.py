"""The partition index of one version as a Parquet file: one row a row group.

What belongs to a file (its path, pixel, rows) is repeated in each of its row groups' rows, which
costs next to nothing after encoding and leaves one plain table that any tool can read.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from astrolabe.catalogs.model import PartitionIndex
from astrolabe.core.errors import InternalError

__all__ = ["INDEX_FILE_NAME", "IndexCache", "empty_index", "read_index", "write_index"]

INDEX_FILE_NAME = "partition_index.parquet"
_FORMAT_KEY = b"astrolabe.partition_index"
_FORMAT = b"1"
_PATH_BYTES = 120  # a short text and its place in a tuple, for the cache's account
_Int64s = npt.NDArray[np.int64]


def empty_index() -> PartitionIndex:
    """Return the index of a table without rows."""
    none = np.empty(0, dtype=np.int64)
    return PartitionIndex(
        paths=(),
        order=np.empty(0, dtype=np.uint8),
        pixel=none,
        rows=none,
        size_bytes=none,
        healpix_min=none,
        healpix_max=none,
        first_group=np.zeros(1, dtype=np.int64),
        group_rows=none,
        group_bytes=none,
        group_healpix_min=none,
        group_healpix_max=none,
    )


def write_index(index: PartitionIndex, path: Path) -> None:
    """Write `index` to `path`.

    Raises
    ------
    InternalError
        Raised if its arrays do not fit together, or if a file has no row group.
    """
    problem = _inconsistency(index)
    if problem:
        raise InternalError(f"The partition index for {path} is not consistent: {problem}.")
    file_of_group = np.repeat(np.arange(len(index.paths)), np.diff(index.first_group))
    paths = pa.DictionaryArray.from_arrays(
        pa.array(file_of_group, pa.int32()), pa.array(index.paths, pa.string())
    )
    columns: dict[str, Any] = {
        "file": pa.array(file_of_group, pa.int32()),
        "path": paths,
        "order": pa.array(index.order[file_of_group].astype(np.int32)),
        "pixel": pa.array(index.pixel[file_of_group]),
        "file_rows": pa.array(index.rows[file_of_group]),
        "file_bytes": pa.array(index.size_bytes[file_of_group]),
        "file_healpix_min": pa.array(index.healpix_min[file_of_group]),
        "file_healpix_max": pa.array(index.healpix_max[file_of_group]),
        "rows": pa.array(index.group_rows),
        "bytes": pa.array(index.group_bytes),
        "healpix_min": pa.array(index.group_healpix_min),
        "healpix_max": pa.array(index.group_healpix_max),
    }
    if index.group_id_min is not None and index.group_id_max is not None:
        columns["id_min"] = pa.array(index.group_id_min)
        columns["id_max"] = pa.array(index.group_id_max)
    table = pa.table(columns).replace_schema_metadata({_FORMAT_KEY: _FORMAT})
    numbers = [name for name in columns if name != "path"]
    # One dictionary column among plain ones; the stubs know only of all or none.
    encodings: dict[str, Any] = {
        "use_dictionary": ["path"],
        "column_encoding": dict.fromkeys(numbers, "DELTA_BINARY_PACKED"),
    }
    pq.write_table(table, path, compression="zstd", **encodings)


def read_index(path: Path) -> PartitionIndex:
    """Read the index that :func:`write_index` wrote.

    Raises
    ------
    InternalError
        Raised if the file is not a partition index of this format.
    """
    try:
        file = pq.ParquetFile(path)
        if (file.schema_arrow.metadata or {}).get(_FORMAT_KEY) != _FORMAT:
            raise InternalError(f"{path} is not a partition index that this version can read.")
        table = file.read(use_threads=False)
    except (OSError, pa.ArrowInvalid) as exc:
        raise InternalError(f"The partition index {path} cannot be read: {exc}") from exc
    arrays = {
        name: table[name].to_numpy() for name in table.column_names if name not in {"path", "file"}
    }
    file_of_group = table["file"].to_numpy()
    first = np.flatnonzero(np.diff(file_of_group, prepend=-1)).astype(np.int64)
    paths = table["path"].take(first).cast(pa.string()).to_pylist()
    return PartitionIndex(
        paths=tuple(str(path) for path in paths),
        order=arrays["order"][first].astype(np.uint8),
        pixel=arrays["pixel"][first],
        rows=arrays["file_rows"][first],
        size_bytes=arrays["file_bytes"][first],
        healpix_min=arrays["file_healpix_min"][first],
        healpix_max=arrays["file_healpix_max"][first],
        first_group=np.append(first, len(file_of_group)).astype(np.int64),
        group_rows=arrays["rows"],
        group_bytes=arrays["bytes"],
        group_healpix_min=arrays["healpix_min"],
        group_healpix_max=arrays["healpix_max"],
        group_id_min=arrays.get("id_min"),
        group_id_max=arrays.get("id_max"),
    )


def _inconsistency(index: PartitionIndex) -> str | None:
    files, groups = len(index.paths), len(index.group_rows)
    per_file = (index.order, index.pixel, index.rows, index.size_bytes)
    per_group = (index.group_bytes, index.group_healpix_min, index.group_healpix_max)
    if any(len(a) != files for a in (*per_file, index.healpix_min, index.healpix_max)):
        return "its file arrays differ in length"
    ids = tuple(a for a in (index.group_id_min, index.group_id_max) if a is not None)
    if len(ids) == 1 or any(len(a) != groups for a in (*per_group, *ids)):
        return "its row group arrays differ in length"
    bounds: _Int64s = index.first_group
    if len(bounds) != files + 1 or bounds[0] != 0 or bounds[-1] != groups:
        return "first_group does not cover the row groups"
    if files and int(np.diff(bounds).min()) < 1:
        return "a file has no row group"
    if files and not np.array_equal(np.add.reduceat(index.group_rows, bounds[:-1]), index.rows):
        return "a file's rows are not the sum of its row groups'"
    return None


class IndexCache:
    """Indexes in memory, the least recently used dropped first.

    Parameters
    ----------
    max_bytes
        Memory to hold at most (bytes); the index used last always stays.
    """

    def __init__(self, max_bytes: int = 256 * 1024 * 1024) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._held: OrderedDict[Path, tuple[PartitionIndex, int]] = OrderedDict()
        self._bytes = 0

    @property
    def held_bytes(self) -> int:
        """Memory that the held indexes take (bytes, estimated)."""
        return self._bytes

    def get(
        self, path: Path, load: Callable[[Path], PartitionIndex] = read_index
    ) -> PartitionIndex:
        """Return the index at `path`, from memory if it is there.

        Two threads that ask at the same moment may both read the file; neither waits.
        """
        with self._lock:
            found = self._held.get(path)
            if found is not None:
                self._held.move_to_end(path)
                return found[0]
        index = load(path)
        with self._lock:
            if path not in self._held:
                self._held[path] = (index, _memory(index))
                self._bytes += self._held[path][1]
            while self._bytes > self._max_bytes and len(self._held) > 1:
                _, (_, freed) = self._held.popitem(last=False)
                self._bytes -= freed
        return index


def _memory(index: PartitionIndex) -> int:
    arrays = (getattr(index, name) for name in index.__slots__ if name != "paths")
    return sum(int(a.nbytes) for a in arrays if a is not None) + _PATH_BYTES * len(index.paths)
