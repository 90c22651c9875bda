"""Reading single row groups of Parquet files, with bounded caches of footers and of chunks.

A cone touches a few row groups of a few files.  Reading just these as Arrow costs a few
milliseconds; letting an engine open the files costs more than the query.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["RowGroupReader"]

_FOOTERS = 4096


class RowGroupReader:
    """Reads row groups.  Files are immutable, so nothing in the caches ever goes stale.

    Parameters
    ----------
    cache_bytes
        Memory for decoded column chunks.
    """

    def __init__(self, *, cache_bytes: int) -> None:
        self._cache_bytes = cache_bytes
        self._lock = threading.Lock()
        self._footers: OrderedDict[str, pq.FileMetaData] = OrderedDict()
        self._chunks: OrderedDict[tuple[str, int, str], pa.ChunkedArray[Any]] = OrderedDict()
        self._chunk_bytes = 0

    def read(
        self, paths: Sequence[str], groups: Sequence[Sequence[int]], columns: Sequence[str]
    ) -> pa.Table:
        """Read `columns` of the row groups ``groups[i]`` of ``paths[i]``.

        Returns
        -------
        pyarrow.Table
            The rows in file order.
        """
        parts = [
            self._read_group(path, group, columns)
            for path, wanted in zip(paths, groups, strict=True)
            for group in wanted
        ]
        if not parts:
            return self._schema(paths[0], columns).empty_table()
        return pa.concat_tables(parts)

    def _read_group(self, path: str, group: int, columns: Sequence[str]) -> pa.Table:
        found: dict[str, pa.ChunkedArray[Any]] = {}
        with self._lock:
            for name in columns:
                chunk = self._chunks.get((path, group, name))
                if chunk is not None:
                    self._chunks.move_to_end((path, group, name))
                    found[name] = chunk
        missing = [name for name in columns if name not in found]
        if missing:
            with self._open(path) as file:
                table = file.read_row_group(group, columns=missing, use_threads=False)
            for name in missing:
                found[name] = table.column(name)
            self._keep(path, group, {name: found[name] for name in missing})
        return pa.table({name: found[name] for name in columns})

    def _keep(self, path: str, group: int, chunks: dict[str, pa.ChunkedArray[Any]]) -> None:
        with self._lock:
            for name, chunk in chunks.items():
                key = (path, group, name)
                if key in self._chunks or chunk.nbytes > self._cache_bytes // 8:
                    continue
                self._chunks[key] = chunk
                self._chunk_bytes += chunk.nbytes
            while self._chunk_bytes > self._cache_bytes:
                _, dropped = self._chunks.popitem(last=False)
                self._chunk_bytes -= dropped.nbytes

    def _open(self, path: str) -> pq.ParquetFile:
        with self._lock:
            footer = self._footers.get(path)
            if footer is not None:
                self._footers.move_to_end(path)
        file = pq.ParquetFile(path, metadata=footer)
        if footer is None:
            with self._lock:
                self._footers[path] = file.metadata
                while len(self._footers) > _FOOTERS:
                    self._footers.popitem(last=False)
        return file

    def _schema(self, path: str, columns: Sequence[str]) -> pa.Schema:
        with self._open(path) as file:
            schema = file.schema_arrow
        return pa.schema([schema.field(name) for name in columns])
