"""The embedded engine: one DuckDB a process, shut off from everything but its plans' files."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sqlglot import exp
from typing_extensions import override

from astrolabe.adql.emit_duckdb import to_duckdb
from astrolabe.adql.tree import TableSource
from astrolabe.catalogs.engine import (
    ArrowScan,
    CancelToken,
    Engine,
    FileScan,
    PairScan,
    QueryPlan,
    ResultStream,
)
from astrolabe.catalogs.engines.pair_rows import pair_rows
from astrolabe.catalogs.engines.plan_files import PlanFileSystem, plan_address
from astrolabe.catalogs.engines.row_groups import RowGroupReader
from astrolabe.catalogs.engines.scan_rows import read_scan
from astrolabe.catalogs.model import RowFilter
from astrolabe.core.errors import (
    AdqlTypeError,
    AstrolabeError,
    InternalError,
    OverloadError,
    StorageFullError,
)
from astrolabe.core.logging import get_logger
from astrolabe.core.storage import is_full_disk
from astrolabe.tables.model import HEALPIX_COLUMN, storage_type

__all__ = ["DuckDBEngine"]

_BATCH_ROWS = 50_000
_MAX_PUSHED_RANGES = 64
_SMALL_ROWS = 200_000
_WATCH_SECONDS = 0.02

_log = get_logger(__name__)


class DuckDBEngine(Engine):
    """Runs plans on DuckDB.

    Parameters
    ----------
    memory_bytes
        Memory limit of the engine.
    threads
        Threads that it may use.
    spill
        Folder of its temporary files: the only place that it can write to.
    spill_bytes
        Largest size of them.
    reader
        Reads the row groups of small plans.
    small_plan_bytes
        Plans of at most so many compressed bytes are read row group by row group; larger ones
        are given to DuckDB as a list of files.
    """

    def __init__(
        self,
        *,
        memory_bytes: int,
        threads: int,
        spill: Path,
        spill_bytes: int,
        reader: RowGroupReader,
        small_plan_bytes: int,
    ) -> None:
        spill.mkdir(parents=True, exist_ok=True)
        self._files = PlanFileSystem()
        self._reader = reader
        self._small_plan_bytes = small_plan_bytes
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": f"{memory_bytes}B",
                "threads": threads,
                "temp_directory": str(spill),
                "max_temp_directory_size": f"{spill_bytes}B",
                "preserve_insertion_order": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )
        self._connection.register_filesystem(self._files)
        for setting in (
            "parquet_metadata_cache=true",
            "allowed_directories=['plan://']",
            "enable_external_access=false",
            "lock_configuration=true",
        ):
            self._connection.execute(f"SET {setting}")
        self._watcher = _Watcher()
        # A small result is copied once more; it is still the quickest way to it.
        warnings.filterwarnings("ignore", message="Arrow output on a DB-API result")

    @override
    def execute(self, plan: QueryPlan, cancel: CancelToken) -> ResultStream:
        cancel.raise_if_set()
        with ExitStack() as stack:
            cursor = self._connection.cursor()
            stack.callback(cursor.close)
            sources = {
                source.key: self._rows_of(source, plan, stack, cancel)
                for source in plan.query.tables
            }
            relations = {
                key: rows if isinstance(rows, exp.Expression) else _registered(cursor, key, rows)
                for key, rows in sources.items()
            }
            sql = to_duckdb(plan.query, relations)
            if plan.row_limit is not None:
                # Around, not inside: the query's own TOP and ORDER BY stay what they are.
                sql = f"SELECT * FROM ({sql}) LIMIT {int(plan.row_limit)}"  # noqa: S608 - ours
            stack.enter_context(self._watcher.watching(cursor, cancel))
            stream = _Stream(cursor, sql, cancel, stack.pop_all(), whole=_is_small(sources))
        stream.begin()
        return stream

    @override
    def close(self) -> None:
        self._watcher.close()
        self._connection.close()

    def _rows_of(
        self, source: TableSource, plan: QueryPlan, stack: ExitStack, cancel: CancelToken
    ) -> pa.Table | pa.RecordBatchReader | exp.Expression:
        """Return the rows of one table, or what the engine reads them from."""
        scan = plan.scans[source.key]
        columns = sorted(plan.query.used_columns[source.key])
        if isinstance(scan, ArrowScan):
            return scan.data
        if isinstance(scan, PairScan):
            return pair_rows(scan, self._reader, cancel)
        if not scan.paths:
            return _empty(source, columns)
        if (
            columns
            and scan.groups is not None
            and scan.estimated_bytes is not None
            and scan.estimated_bytes <= self._small_plan_bytes
        ):
            return read_scan(self._reader, scan, columns)
        stack.enter_context(self._files.listing(scan.paths))
        return _file_relation(scan, columns)


def _is_small(
    sources: Mapping[str, pa.Table | pa.RecordBatchReader | exp.Expression],
) -> bool:
    """Tell whether a result cannot be large: it has one table, with few rows, in memory."""
    return len(sources) == 1 and all(
        isinstance(rows, pa.Table) and rows.num_rows <= _SMALL_ROWS for rows in sources.values()
    )


class _Stream(ResultStream):
    """A running DuckDB query.  All of DuckDB is called by one thread at a time.

    A result that is known to be small is made `whole`: streaming costs DuckDB two milliseconds
    more, which is a third of a cone.
    """

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        sql: str,
        cancel: CancelToken,
        resources: ExitStack,
        *,
        whole: bool,
    ) -> None:
        self._whole = whole
        self._cursor = cursor
        self._sql = sql
        self._cancel = cancel
        self._resources = resources
        self._lock = threading.Lock()
        self._closing = False
        self._closed = False
        self._schema: pa.Schema | None = None
        self._reader: pa.RecordBatchReader | None = None
        self._first: pa.RecordBatch | None = None

    def begin(self) -> None:
        """Run the query up to its first rows."""
        try:
            with self._lock, _Translated(self._cancel):
                self._reader = self._start()
                self._schema = self._reader.schema
                self._first = next(self._reader, None)
        except BaseException:
            self.close()
            raise

    def _start(self) -> pa.RecordBatchReader:
        if not self._whole:
            reader: pa.RecordBatchReader = self._cursor.sql(self._sql).to_arrow_reader(_BATCH_ROWS)
            return reader
        table = self._cursor.execute(self._sql).to_arrow_table()
        if table is None:
            raise InternalError("The engine gave no rows and no error.")
        return table.to_reader(_BATCH_ROWS)

    @property
    @override
    def schema(self) -> pa.Schema:
        if self._schema is None:
            raise InternalError("A result's schema was asked for before the query ran.")
        return self._schema

    @override
    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            batch, self._first = self._first, None
            while batch is not None:
                yield batch
                with self._lock, _Translated(self._cancel):
                    batch = self._next()
        finally:
            self.close()

    def _next(self) -> pa.RecordBatch | None:
        if self._closing or self._reader is None:
            return None
        self._cancel.raise_if_set()
        return next(self._reader, None)

    @override
    def close(self) -> None:
        if self._closed:
            return
        self._closing = True
        while not self._lock.acquire(timeout=_WATCH_SECONDS):
            # Another thread is in the engine; an interrupt may come too early, so say it again.
            with suppress(duckdb.ConnectionException):
                self._cursor.interrupt()
        try:
            if not self._closed:
                self._closed = True
                self._reader = None
                self._first = None
                self._resources.close()
        finally:
            self._lock.release()


class _Translated:
    """Turns DuckDB's errors into ours."""

    def __init__(self, cancel: CancelToken) -> None:
        self._cancel = cancel

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is None or isinstance(error, AstrolabeError):
            return
        self._cancel.raise_if_set()
        text = str(error)
        if isinstance(error, duckdb.OutOfMemoryException):
            if "max_temp_directory_size" in text or "No space left" in text:
                raise StorageFullError(
                    "The query needs more room for temporary files than there is. Ask for less "
                    "at once: fewer columns, a smaller region, no large ORDER BY or GROUP BY."
                ) from error
            raise OverloadError(
                "The query needs more memory than one query may have. Ask for less at once: a "
                "smaller region, fewer groups, no ORDER BY over many rows."
            ) from error
        if isinstance(error, duckdb.ConversionException | duckdb.OutOfRangeException):
            raise AdqlTypeError(f"A value does not fit: {_first_line(text)}") from error
        if isinstance(error, duckdb.InvalidInputException) and "overflow" in text.lower():
            raise AdqlTypeError(f"A value does not fit: {_first_line(text)}") from error
        if isinstance(error, duckdb.IOException | OSError) and is_full_disk(error):
            raise StorageFullError("There is no room left for the query's files.") from error
        if isinstance(error, duckdb.Error | OSError | pa.ArrowException):
            _log.error("engine_failed", error=text)
            raise InternalError("The engine failed to run the query.") from error


class _Watcher:
    """One thread that interrupts queries whose token is set.

    An interrupt that comes before the query runs is lost, so it is repeated until the query has
    answered.
    """

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._watched: dict[int, tuple[duckdb.DuckDBPyConnection, CancelToken]] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="query-watcher", daemon=True)
        self._thread.start()

    def watching(self, cursor: duckdb.DuckDBPyConnection, cancel: CancelToken) -> ExitStack:
        """Watch a query until the returned stack closes."""
        key = id(cursor)
        with self._lock:
            self._watched[key] = (cursor, cancel)
            self._lock.notify()
        stack = ExitStack()
        stack.callback(self._forget, key)
        return stack

    def close(self) -> None:
        """Interrupt every query and end the thread."""
        with self._lock:
            self._closed = True
            for cursor, _ in self._watched.values():
                cursor.interrupt()
            self._lock.notify()

    def _forget(self, key: int) -> None:
        with self._lock:
            self._watched.pop(key, None)

    def _run(self) -> None:
        while True:
            with self._lock:
                if self._closed:
                    return
                for cursor, cancel in self._watched.values():
                    if cancel.is_set:
                        cursor.interrupt()
                self._lock.wait(_WATCH_SECONDS if self._watched else None)


def _first_line(text: str) -> str:
    line = text.strip().splitlines()[0]
    return line.partition(": ")[2] or line


def _registered(
    cursor: duckdb.DuckDBPyConnection, key: str, data: pa.Table | pa.RecordBatchReader
) -> exp.Expression:
    name = f"memory_{key}"
    cursor.register(name, data)
    return exp.to_table(name)


def _empty(source: TableSource, columns: list[str]) -> pa.Table:
    wanted = [c for c in source.table.columns if c.name in columns] or source.table.columns[:1]
    return pa.schema([(column.name, storage_type(column)) for column in wanted]).empty_table()


def _file_relation(scan: FileScan, columns: list[str]) -> exp.Expression:
    files = exp.Array(expressions=[exp.Literal.string(plan_address(p)) for p in scan.paths])
    selected: list[exp.Expr] = [exp.column(name, quoted=True) for name in columns]
    if not selected:
        # COUNT(*) reads no column, but a subquery must have one.
        selected = [exp.alias_(exp.Literal.number(1), "_row")]
    query = exp.select(*selected).from_(exp.Anonymous(this="read_parquet", expressions=[files]))
    condition = _range_condition(scan.healpix_ranges)
    if condition is not None:
        query = query.where(condition)
    if scan.row_filter is not None:
        query = query.where(_filter_condition(scan.row_filter))
    return query.subquery()


def _filter_condition(row_filter: RowFilter) -> exp.Expr:
    allowed = [exp.Literal.string(value) for value in sorted(row_filter.values)]
    if not allowed:
        return exp.false()
    return exp.In(this=exp.column(row_filter.column, quoted=True), expressions=allowed)


def _range_condition(ranges: npt.NDArray[np.int64] | None) -> exp.Expr | None:
    if ranges is None or len(ranges) == 0:
        return None
    cell = exp.column(HEALPIX_COLUMN, quoted=True)
    return exp.or_(
        *(
            exp.and_(
                exp.GTE(this=cell.copy(), expression=exp.Literal.number(int(start))),
                exp.LT(this=cell.copy(), expression=exp.Literal.number(int(stop))),
            )
            for start, stop in _coarsened(ranges)
        )
    )


def _coarsened(ranges: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Join the ranges with the smallest gaps until there are few enough for a condition."""
    if len(ranges) <= _MAX_PUSHED_RANGES:
        return ranges
    gaps = ranges[1:, 0] - ranges[:-1, 1]
    kept = np.sort(np.argpartition(gaps, -(_MAX_PUSHED_RANGES - 1))[-(_MAX_PUSHED_RANGES - 1) :])
    starts = np.concatenate([ranges[:1, 0], ranges[kept + 1, 0]])
    stops = np.concatenate([ranges[kept, 1], ranges[-1:, 1]])
    return np.stack([starts, stops], axis=1)
