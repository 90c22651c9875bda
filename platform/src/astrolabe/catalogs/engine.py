"""The contract between the planner and an engine.

An engine gets a checked query and, for each occurrence of a table in it, where its rows are; it
gives back Arrow record batches.  Only :mod:`astrolabe.factory` names an implementation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from astrolabe.adql.tree import CheckedQuery
from astrolabe.catalogs.model import RowFilter
from astrolabe.catalogs.pairs import CircleTerms, PairTest, RowCircles, RowShapes, ShapeColumn
from astrolabe.tables.model import Column

__all__ = [
    "ArrowScan",
    "CancelToken",
    "Engine",
    "FileScan",
    "Kept",
    "PairScan",
    "QueryPlan",
    "ResultStream",
    "Scan",
]


class CancelToken(Protocol):
    """How a running query is told to stop; may be set from any thread, any number of times."""

    @property
    def is_set(self) -> bool:
        """Whether the query is to stop."""

    def raise_if_set(self) -> None:
        """Raise the reason (`QueryTimeoutError`, `CancelledError`) if the query is to stop."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FileScan:
    """Read a table from Parquet files.

    Parameters
    ----------
    paths
        Absolute paths of the only files that may be opened.
    healpix_ranges : (n, 2) or None
        Rows outside these half-open ranges of ``_healpix_29`` cannot match; `None` for all rows.
        The exact condition is in the query and is always applied.
    groups
        For each of `paths`, the numbers (from 0) of the only row groups that can match; `None`
        where the list would be too long to be worth it: then any row group may match.
    costly
        Whether the query's condition costs so much a row that rows outside of `healpix_ranges`
        should not be given to it.
    row_filter
        The only rows that may be read: part of the scan, since no query may see others.
    estimated_rows
        Rows of those row groups, before any condition.
    estimated_bytes
        Compressed bytes of the needed columns in those row groups.
    """

    paths: tuple[str, ...]
    healpix_ranges: npt.NDArray[np.int64] | None = None
    groups: tuple[tuple[int, ...], ...] | None = None
    costly: bool = False
    row_filter: RowFilter | None = None
    estimated_rows: int | None = None
    estimated_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArrowScan:
    """Read a table from memory."""

    data: pa.Table


class Kept(Enum):
    """Which rows of a table that is joined by pairs are given."""

    PAIRS = "pairs"
    """Each row once for every row of the other table that it makes a pair with."""
    ALL = "all"
    """The same, and once those that make no pair."""
    ANY = "any"
    """Each row that makes a pair, once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairScan:
    """Read the rows of a table that pass a test with rows of another one, which are in memory.

    Parameters
    ----------
    rows
        Where the table's rows are.
    columns
        Those of its columns that are given, beside `partner`.
    partner
        Name of a column for the numbers of the other table's rows (int64; NULL without a pair).
    mine
        The circles or polygons of the table's rows.
    others
        Those of the other table: polygons if these are circles.
    test
        What is asked of each pair.
    kept
        Which rows are given.
    """

    rows: FileScan | ArrowScan
    columns: tuple[Column, ...]
    partner: str
    mine: CircleTerms | ShapeColumn
    others: RowCircles | RowShapes
    test: PairTest
    kept: Kept


Scan = FileScan | ArrowScan | PairScan


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QueryPlan:
    """Everything that an engine needs.

    Parameters
    ----------
    query
        The checked query.
    scans
        For each key of ``query.tables``, where its rows are.
    row_limit
        Rows to give at most, after the query's own TOP; `None` for all.  A caller who wants to
        know whether there are more asks for one row more than it will show.
    """

    query: CheckedQuery
    scans: dict[str, Scan]
    row_limit: int | None = None


class ResultStream(Protocol):
    """A running query's rows.  `close` may be called at any time and from any thread."""

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of the batches: :func:`astrolabe.tables.model.arrow_type` a column."""

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield batches as they are made; memory does not grow with the result."""

    def close(self) -> None:
        """Stop the query if it runs and free what it holds."""


class Engine(Protocol):
    """Runs plans.  Safe to use from many threads."""

    def execute(self, plan: QueryPlan, cancel: CancelToken) -> ResultStream:
        """Start a plan; returns once the first rows or an error can be told.

        Raises
        ------
        AdqlTypeError
            Raised if a value does not fit (overflow, division by zero where that is an error).
        QueryTimeoutError, CancelledError
            Raised if `cancel` was set.
        OverloadError
            Raised if the engine is out of memory for this query.
        """

    def close(self) -> None:
        """End every running query and free the engine."""
