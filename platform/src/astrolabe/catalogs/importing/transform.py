"""From a source's batches to rows as they are stored, with the cell of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from astrolabe.catalogs.importing.columns import ColumnPlan, PlannedColumn
from astrolabe.catalogs.importing.files import row_schema
from astrolabe.catalogs.importing.positions import positions_of, validate, wrap_column
from astrolabe.catalogs.importing.rejects import RejectsFile
from astrolabe.core.errors import ImportRefusedError
from astrolabe.sky.healpix import healpix_29
from astrolabe.tables.conform import fit, is_ascii
from astrolabe.tables.model import Datatype, arrow_type, storage_type

__all__ = ["UNPLACED_CELL", "RowTransform"]

Keys = npt.NDArray[np.int64]

UNPLACED_CELL = 0
"""Where rows without a position are kept."""


class RowTransform:
    """Turns batches of a source into rows of the table.

    Parameters
    ----------
    plan
        What becomes of each column.
    wrap
        Bring right ascensions into [0, 360).
    keep_unplaced
        Keep the rows whose position is null.
    rejects
        Gets the rows without a valid position.
    """

    def __init__(
        self,
        plan: ColumnPlan,
        *,
        wrap: bool,
        rejects: RejectsFile,
        keep_unplaced: bool = False,
    ) -> None:
        self._plan = plan
        self._wrap = wrap
        self._keep_unplaced = keep_unplaced
        self._rejects = rejects
        self._next_row = 1
        self._ascii = {
            planned.column.name
            for planned in plan.columns
            if planned.column.datatype is Datatype.CHAR and not planned.column.is_timestamp
        }
        self.non_ascii: set[str] = set()
        self.schema = row_schema([p.column for p in plan.columns])

    def __call__(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, Keys]:
        """Return the rows that can be stored, with their cells at order 29 (n,).

        The cells of a table without positions are the numbers of the rows, which keeps its order.

        Raises
        ------
        ImportRefusedError
            Raised if a value does not fit its declared type, or a row is rejected in a strict
            import.
        """
        first_row = self._next_row
        self._next_row += batch.num_rows
        if self._plan.positions is None or self._plan.position_sources is None:
            keys = np.arange(first_row, self._next_row, dtype=np.int64)
            return self._rows(batch.columns, batch.num_rows, {}, first_row), keys
        columns = list(batch.columns)
        lon, lat = self._plan.position_sources
        if self._wrap and self._plan.positions.is_final:
            columns[lon] = wrap_column(columns[lon])
        ra_deg, dec_deg = positions_of(
            self._plan.positions, columns[lon], columns[lat], wrap=self._wrap
        )
        codes = validate(ra_deg, dec_deg)
        unplaced = None
        if codes is not None:
            if self._keep_unplaced:
                unplaced = _nulls(columns[lon]) & _nulls(columns[lat])
                codes[unplaced] = 0
            good = codes == 0
            if not good.all():
                self._rejects.add(batch, codes, first_row)
            kept = np.flatnonzero(good)
            columns = [column.take(kept) for column in columns]
            ra_deg, dec_deg = ra_deg[good], dec_deg[good]
            unplaced = None if unplaced is None else unplaced[good]
        keys = _cells(ra_deg, dec_deg, unplaced)
        computed = {"ra": ra_deg, "dec": dec_deg}
        return self._rows(columns, len(keys), computed, first_row), keys

    def _rows(
        self,
        columns: Sequence[pa.Array[Any]],
        count: int,
        computed: dict[str, npt.NDArray[np.float64]],
        first_row: int,
    ) -> pa.RecordBatch:
        arrays = []
        for planned in self._plan.columns:
            stored = storage_type(planned.column)
            if planned.computed is not None:
                arrays.append(pa.array(computed[planned.computed]).cast(stored))
            elif planned.source is None:
                arrays.append(pa.array([None] * count, stored))
            else:
                array = _stored(planned, columns[planned.source], stored, first_row)
                self._note_non_ascii(planned.column.name, array)
                arrays.append(array)
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _note_non_ascii(self, name: str, array: pa.Array[Any]) -> None:
        """Remember ``char`` columns that hold more than ASCII, which VOTable 1.5 forbids."""
        if name in self._ascii and not is_ascii(array):
            self._ascii.discard(name)
            self.non_ascii.add(name)


def _nulls(array: pa.Array[Any]) -> npt.NDArray[np.bool_]:
    return np.asarray(array.is_null().to_numpy(zero_copy_only=False), dtype=np.bool_)


def _cells(
    ra_deg: npt.NDArray[np.float64],
    dec_deg: npt.NDArray[np.float64],
    unplaced: npt.NDArray[np.bool_] | None,
) -> Keys:
    """Return the cell of each row; rows without a position go to the first one of the sky.

    Where they lie means nothing: no condition on a position is ever true of them.
    """
    if unplaced is None:
        return healpix_29(ra_deg, dec_deg)
    keys = np.full(len(ra_deg), UNPLACED_CELL, dtype=np.int64)
    placed = ~unplaced
    keys[placed] = healpix_29(ra_deg[placed], dec_deg[placed])
    return keys


def _stored(
    planned: PlannedColumn, array: pa.Array[Any], stored: pa.DataType, first_row: int
) -> pa.Array[Any]:
    column = planned.column
    try:
        # First into the declared type, which is where a value may fail to fit.
        declared: pa.Array[Any] = fit(array, arrow_type(column))
        kept: pa.Array[Any] = declared if declared.type == stored else fit(declared, stored)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
        size = "" if column.arraysize is None else f"[{column.arraysize}]"
        raise ImportRefusedError(
            f"A value of column {column.name!r} after row {first_row - 1} does not fit its type "
            f"{column.datatype}{size}: {str(exc).splitlines()[0]}."
        ) from exc
    return kept
