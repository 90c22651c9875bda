"""The rows of a table that make pairs with rows in memory, as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from astrolabe.catalogs.engine import ArrowScan, CancelToken, FileScan, Kept, PairScan
from astrolabe.catalogs.engines.row_groups import RowGroupReader
from astrolabe.catalogs.engines.scan_rows import chosen_rows
from astrolabe.catalogs.pairs import RowCircles, RowShapes, pairs_of
from astrolabe.core.errors import InternalError
from astrolabe.tables.model import storage_type

__all__ = ["pair_rows"]

Ints = npt.NDArray[np.int64]

_BATCH_ROWS: Final = 20_000


def pair_rows(scan: PairScan, reader: RowGroupReader, cancel: CancelToken) -> pa.RecordBatchReader:
    """Return the rows of a scan; they are read, and pairs found, as they are asked for.

    Memory is that of a row group and of the pairs of a bounded number of rows.

    Parameters
    ----------
    scan
        What is wanted.
    reader
        Reads row groups.
    cancel
        Looked at between row groups.
    """
    schema = pa.schema(
        [
            *((column.name, storage_type(column)) for column in scan.columns),
            (scan.partner, pa.int64()),
        ]
    )
    return pa.RecordBatchReader.from_batches(schema, _batches(scan, reader, cancel, schema))


def _batches(
    scan: PairScan, reader: RowGroupReader, cancel: CancelToken, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    parts = (
        _parts_of_files(scan.rows, reader)
        if isinstance(scan.rows, FileScan)
        else _parts_in_memory(scan.rows)
    )
    waiting: list[pa.Table] = []
    gathered = 0
    for part in parts:
        cancel.raise_if_set()
        for rows, partners in _kept(scan, part):
            table = part.read([column.name for column in scan.columns], rows)
            numbers = pa.array(np.maximum(partners, 0), pa.int64(), mask=partners < 0)
            columns = [
                table.column(column.name).cast(schema.field(column.name).type)
                for column in scan.columns
            ]
            waiting.append(
                pa.Table.from_arrays([*columns, pa.chunked_array([numbers])], schema=schema)
            )
            gathered += len(rows)
            if gathered >= _BATCH_ROWS:
                yield from _joined(waiting)
                waiting, gathered = [], 0
    if waiting:
        yield from _joined(waiting)


def _joined(tables: list[pa.Table]) -> list[pa.RecordBatch]:
    return pa.concat_tables(tables).combine_chunks().to_batches(max_chunksize=_BATCH_ROWS)


# --- where the rows are --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Some rows of a table.

    Parameters
    ----------
    columns
        Those that were read already, of all rows of the part.
    chosen
        Numbers of the only rows that may be given, `None` for all.
    count
        Rows of the part, chosen or not.
    """

    columns: dict[str, Any]
    chosen: Ints | None
    count: int
    source: tuple[RowGroupReader, str, int] | None

    def known(self, names: list[str]) -> tuple[dict[str, Any], int]:
        """Return some columns of the chosen rows, and how many rows these are."""
        found = self._columns(names)
        if self.chosen is None:
            return found, self.count
        numbers = pa.array(self.chosen, pa.int64())
        return {name: column.take(numbers) for name, column in found.items()}, len(self.chosen)

    def read(self, names: list[str], rows: Ints) -> pa.Table:
        """Return some columns of rows, by their numbers among the chosen ones."""
        if not names:
            return pa.table({})
        numbers = pa.array(rows if self.chosen is None else self.chosen[rows], pa.int64())
        return pa.table(self._columns(names)).take(numbers)

    def _columns(self, names: list[str]) -> dict[str, Any]:
        missing = [name for name in names if name not in self.columns]
        if missing and self.source is not None:
            reader, path, group = self.source
            self.columns.update(reader.read_group(path, group, missing))
        return {name: self.columns[name] for name in names}


def _parts_of_files(scan: FileScan, reader: RowGroupReader) -> Iterator[_Part]:
    if scan.groups is None:
        raise InternalError("A join of pairs was planned without its row groups.")
    for path, numbers in zip(scan.paths, scan.groups, strict=True):
        for number in numbers:
            chosen = chosen_rows(reader, scan, path, number)
            if chosen is not None and not chosen.any():
                continue
            count = reader.rows_of(path, number) if chosen is None else len(chosen)
            rows = None if chosen is None or chosen.all() else np.flatnonzero(chosen)
            yield _Part({}, rows, count, (reader, path, number))


def _parts_in_memory(scan: ArrowScan) -> Iterator[_Part]:
    for start in range(0, scan.data.num_rows, _BATCH_ROWS):
        table = scan.data.slice(start, _BATCH_ROWS)
        columns = {name: table.column(name) for name in table.column_names}
        yield _Part(columns, None, table.num_rows, None)


# --- pairs ---------------------------------------------------------------------------------------


def _kept(scan: PairScan, part: _Part) -> Iterator[tuple[Ints, Ints]]:
    """Yield rows of a part with the numbers of their partners, -1 for none."""
    columns, count = part.known(sorted(scan.mine.columns))
    paired = np.zeros(count, dtype=np.bool_)
    for rows, partners in _pairs(scan, columns, count):
        paired[rows] = True
        if scan.kept is not Kept.ANY:
            for start in range(0, len(rows), _BATCH_ROWS):
                yield rows[start : start + _BATCH_ROWS], partners[start : start + _BATCH_ROWS]
    if scan.kept is Kept.PAIRS:
        return
    rest = np.flatnonzero(paired if scan.kept is Kept.ANY else ~paired)
    if len(rest):
        yield rest, np.full(len(rest), -1, dtype=np.int64)


def _pairs(scan: PairScan, columns: dict[str, Any], count: int) -> Iterator[tuple[Ints, Ints]]:
    """Yield (row, partner) of each pair that a part has."""
    mine, others = scan.mine.of(columns, count), scan.others
    if isinstance(mine, RowShapes) and isinstance(others, RowCircles):
        for partners, rows in pairs_of(others, mine, scan.test, local=False):
            yield rows, partners
    elif isinstance(mine, RowCircles) and isinstance(others, RowShapes):
        yield from pairs_of(mine, others, scan.test, local=True)
    else:
        raise InternalError("A join of pairs needs circles on one side and polygons on the other.")
