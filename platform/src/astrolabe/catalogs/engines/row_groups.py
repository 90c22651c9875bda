"""Reading single row groups of Parquet files, with bounded caches of footers and of chunks.

A cone touches a few row groups of a few files.  Reading just these as Arrow costs a few
milliseconds; letting an engine open the files costs more than the query.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from astrolabe.core.errors import InternalError
from astrolabe.core.logging import get_logger

__all__ = ["RowGroupReader"]

_FOOTERS = 4096
_OPEN_FILES = 256
_PER_FILE = 2

_Chunks = dict[str, "pa.ChunkedArray[Any]"]

_log = get_logger(__name__)


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
        # Files that nobody reads from now: opening one costs as much as reading a column chunk.
        self._idle: OrderedDict[str, list[pq.ParquetFile]] = OrderedDict()
        self._idle_count = 0
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

        Raises
        ------
        InternalError
            Raised if a file cannot be read.
        """
        parts = [
            pa.table(self.read_group(path, group, columns))
            for path, wanted in zip(paths, groups, strict=True)
            for group in wanted
        ]
        if not parts:
            return self._schema(paths[0], columns).empty_table()
        return pa.concat_tables(parts)

    def read_group(self, path: str, group: int, columns: Sequence[str]) -> _Chunks:
        """Read some columns of one row group, each by its name.

        Raises
        ------
        InternalError
            Raised if the file cannot be read.
        """
        found: _Chunks = {}
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
            read = {name: table.column(name) for name in missing}
            self._keep(path, group, read)
            found |= read
            return {name: found[name] for name in columns}
        return found

    def rows_of(self, path: str, group: int) -> int:
        """Return how many rows a row group has.

        Raises
        ------
        InternalError
            Raised if the file cannot be read.
        """
        with self._open(path) as file:
            return file.metadata.row_group(group).num_rows

    def close(self) -> None:
        """Close the files that nobody reads from."""
        with self._lock:
            idle = [file for files in self._idle.values() for file in files]
            self._idle.clear()
            self._idle_count = 0
        for file in idle:
            file.close(force=True)

    def _keep(self, path: str, group: int, chunks: _Chunks) -> None:
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

    @contextmanager
    def _open(self, path: str) -> Iterator[pq.ParquetFile]:
        """Give a file to one reader alone, and keep it open for the next."""
        try:
            file = self._taken(path) or self._opened(path)
            try:
                yield file
            except BaseException:
                file.close(force=True)
                raise
        except (OSError, pa.ArrowException) as exc:
            _log.exception("file_unreadable", path=path)
            raise InternalError(
                "A file of this table cannot be read. Please tell those who run this service."
            ) from exc
        self._put_back(path, file)

    def _taken(self, path: str) -> pq.ParquetFile | None:
        with self._lock:
            files = self._idle.get(path)
            if not files:
                return None
            self._idle_count -= 1
            self._idle.move_to_end(path)
            return files.pop()

    def _opened(self, path: str) -> pq.ParquetFile:
        with self._lock:
            footer = self._footers.get(path)
            if footer is not None:
                self._footers.move_to_end(path)
        file = pq.ParquetFile(path, metadata=footer, pre_buffer=False)
        if footer is None:
            with self._lock:
                self._footers[path] = file.metadata
                while len(self._footers) > _FOOTERS:
                    self._footers.popitem(last=False)
        return file

    def _put_back(self, path: str, file: pq.ParquetFile) -> None:
        surplus = []
        with self._lock:
            files = self._idle.setdefault(path, [])
            if len(files) < _PER_FILE:
                files.append(file)
                self._idle_count += 1
            else:
                surplus.append(file)
            while self._idle_count > _OPEN_FILES:
                _, oldest = self._idle.popitem(last=False)
                self._idle_count -= len(oldest)
                surplus += oldest
        for one in surplus:
            one.close(force=True)

    def _schema(self, path: str, columns: Sequence[str]) -> pa.Schema:
        with self._open(path) as file:
            schema = file.schema_arrow
        return pa.schema([schema.field(name) for name in columns])
