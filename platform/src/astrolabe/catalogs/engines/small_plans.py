"""Small queries of one table, answered from its row groups with NumPy and Arrow.

A cone, an object by its id or a light curve reads one or a few row groups.  To plan such a query
and run it takes a database several times as long as the reading; here it costs next to nothing.
Whatever is more than this goes to the engine behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import override

from astrolabe.adql.kinds import FLOATS, INTEGERS
from astrolabe.adql.tree import (
    CheckedQuery,
    ColumnRef,
    Expr,
    GeometryColumn,
    Kind,
    TableSource,
)
from astrolabe.catalogs.engine import CancelToken, Engine, FileScan, QueryPlan, ResultStream
from astrolabe.catalogs.engines.row_groups import RowGroupReader
from astrolabe.catalogs.engines.scan_rows import chosen_rows
from astrolabe.catalogs.engines.small_conditions import (
    Condition,
    NotSmallError,
    Rows,
    compile_condition,
)
from astrolabe.tables.model import Column, storage_type

__all__ = ["SmallPlanEngine"]

_BATCH_ROWS = 50_000
_ORDERED = frozenset([*FLOATS, *INTEGERS, Kind.STRING, Kind.TIMESTAMP])


@dataclass(frozen=True, slots=True)
class _Program:
    """A query in the terms of this engine.

    Parameters
    ----------
    condition, tested
        What rows must fulfil, if anything, and the columns that it reads.
    shown
        Raw name of the column behind each output column.
    order
        Raw name and direction of each term of ORDER BY.
    top, offset
        Of the query.
    """

    condition: Condition | None
    tested: frozenset[str]
    shown: tuple[str, ...]
    order: tuple[tuple[str, bool], ...]
    top: int | None
    offset: int


class SmallPlanEngine(Engine):
    """Runs the small plans of single tables itself and leaves all others to another engine.

    Parameters
    ----------
    reader
        Reads row groups.
    behind
        Runs everything else.
    most_rows
        Rows of the row groups that a plan may have to be small.
    """

    def __init__(self, *, reader: RowGroupReader, behind: Engine, most_rows: int) -> None:
        self._reader = reader
        self._behind = behind
        self._most_rows = most_rows

    @override
    def execute(self, plan: QueryPlan, cancel: CancelToken) -> ResultStream:
        scan = self._small_scan(plan)
        program = None if scan is None else _program(plan.query)
        if scan is None or program is None:
            return self._behind.execute(plan, cancel)
        schema = pa.schema(
            [
                (item.column.name, storage_type(column))
                for item in plan.query.root.items
                if (column := _plain_column(item.expr)) is not None
            ]
        )
        stream = _Stream(self._reader, scan, program, schema, plan.row_limit, cancel)
        stream.begin()
        return stream

    @override
    def close(self) -> None:
        """Close the files that are open; the engine behind is closed by who made it."""
        self._reader.close()

    def _small_scan(self, plan: QueryPlan) -> FileScan | None:
        scans = list(plan.scans.values())
        if len(scans) != 1:
            return None
        (scan,) = scans
        if not isinstance(scan, FileScan) or scan.groups is None or scan.estimated_rows is None:
            return None
        return scan if scan.estimated_rows <= self._most_rows else None


def _program(query: CheckedQuery) -> _Program | None:
    """Return a query in the terms of this engine, `None` if it is more than that."""
    root = query.root
    if not isinstance(root.source, TableSource):
        return None
    if root.group_by or root.having is not None or root.distinct:
        return None
    columns = [_plain_column(item.expr) for item in root.items]
    shown = [column.name for column in columns if column is not None]
    order = [
        (term.expr.column.name, term.descending)
        for term in root.order_by
        if isinstance(term.expr, ColumnRef) and term.expr.kind in _ORDERED
    ]
    if len(shown) != len(root.items) or len(order) != len(root.order_by):
        return None
    condition, tested = None, frozenset[str]()
    if root.where is not None:
        try:
            condition, tested = compile_condition(root.where)
        except NotSmallError:
            return None
    return _Program(
        condition=condition,
        tested=tested,
        shown=tuple(shown),
        order=tuple(order),
        top=root.top,
        offset=root.offset or 0,
    )


def _plain_column(expr: Expr) -> Column | None:
    """Return the column that an item shows as it is stored."""
    if isinstance(expr, GeometryColumn):
        expr = expr.reference
    return expr.column if isinstance(expr, ColumnRef) else None


class _Stream(ResultStream):
    """The rows of a small plan, read row group by row group."""

    def __init__(
        self,
        reader: RowGroupReader,
        scan: FileScan,
        program: _Program,
        schema: pa.Schema,
        row_limit: int | None,
        cancel: CancelToken,
    ) -> None:
        self._reader = reader
        self._scan = scan
        self._program = program
        self._schema = schema
        limits = [limit for limit in (program.top, row_limit) if limit is not None]
        self._limit = min(limits, default=None)
        self._cancel = cancel
        self._closed = False
        self._rows = self._ordered() if program.order else self._limited(self._groups())
        self._first: pa.Table | None = None

    def begin(self) -> None:
        """Find the first rows, so that what goes wrong until then is known at once."""
        self._cancel.raise_if_set()
        self._first = next(self._rows, None)

    @property
    @override
    def schema(self) -> pa.Schema:
        return self._schema

    @override
    def __iter__(self) -> Iterator[pa.RecordBatch]:
        rows, self._first = self._first, None
        while rows is not None and not self._closed:
            yield from self._shown(rows)
            rows = next(self._rows, None)

    @override
    def close(self) -> None:
        # The generator may run in another thread: it looks at this between row groups.
        self._closed = True

    def _shown(self, rows: pa.Table) -> list[pa.RecordBatch]:
        """Return rows as the query names and orders their columns, as few batches."""
        columns = [rows.column(name) for name in self._program.shown]
        fitting = [c.cast(f.type) for c, f in zip(columns, self._schema, strict=True)]
        table = pa.Table.from_arrays(fitting, schema=self._schema)
        return table.combine_chunks().to_batches(max_chunksize=_BATCH_ROWS)

    def _groups(self) -> Iterator[pa.Table]:
        """Yield the rows that fulfil the condition, a row group at a time, without order."""
        program = self._program
        wanted = sorted({*program.shown, *(name for name, _ in program.order)})
        tested = sorted(program.tested)
        rest = [name for name in wanted if name not in program.tested]
        groups = self._scan.groups or ()
        for path, numbers in zip(self._scan.paths, groups, strict=True):
            for number in numbers:
                self._cancel.raise_if_set()
                if self._closed:
                    return
                chosen = chosen_rows(self._reader, self._scan, path, number)
                if chosen is not None and not chosen.any():
                    continue
                if program.condition is None:
                    table = pa.table(self._reader.read_group(path, number, wanted))
                    yield table if chosen is None else table.filter(pa.array(chosen))
                    continue
                columns = self._reader.read_group(path, number, tested)
                count = len(next(iter(columns.values())))
                found = self._found(columns, count, chosen)
                if not len(found):
                    continue
                if rest:
                    columns |= self._reader.read_group(path, number, rest)
                table = pa.table({name: columns[name] for name in wanted})
                yield table if len(found) == count else table.take(pa.array(found, pa.int64()))

    def _found(
        self,
        columns: dict[str, pa.ChunkedArray[Any]],
        count: int,
        chosen: npt.NDArray[np.bool_] | None,
    ) -> npt.NDArray[np.int64]:
        """Return the numbers of the rows that fulfil the condition, among those chosen."""
        condition = self._program.condition
        if condition is None or chosen is None:
            holds = (
                np.ones(count, np.bool_) if condition is None else condition(Rows(columns, count))
            )
            return np.flatnonzero(holds)
        rows = np.flatnonzero(chosen)
        numbers = pa.array(rows, pa.int64())
        some = {name: column.take(numbers) for name, column in columns.items()}
        return np.asarray(rows[np.flatnonzero(condition(Rows(some, len(rows))))], dtype=np.int64)

    def _limited(self, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """Yield rows from the query's OFFSET up to its limit, gathered to batches."""
        skip, left = self._program.offset, self._limit
        waiting: list[pa.Table] = []
        gathered = 0
        for table in tables:
            rows = table.slice(skip)
            skip = max(0, skip - table.num_rows)
            if left is not None:
                rows = rows.slice(0, left)
                left -= rows.num_rows
            if rows.num_rows:
                waiting.append(rows)
                gathered += rows.num_rows
            if gathered >= _BATCH_ROWS:
                yield pa.concat_tables(waiting)
                waiting, gathered = [], 0
            if left == 0:
                break
        if waiting:
            yield pa.concat_tables(waiting)

    def _ordered(self) -> Iterator[pa.Table]:
        """Yield all rows in the query's order; NULL and NaN come last, as Arrow has it."""
        tables = list(self._groups())
        if not tables:
            return
        table = pa.concat_tables(tables)
        keys: list[tuple[str, Literal["ascending", "descending"]]] = []
        by = {}
        for place, (name, descending) in enumerate(self._program.order):
            by[str(place)] = table.column(name)
            keys.append((str(place), "descending" if descending else "ascending"))
        order = pc.sort_indices(pa.table(by), sort_keys=keys)
        yield from self._limited(iter([table.take(order)]))
