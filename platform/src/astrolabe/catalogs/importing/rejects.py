"""The rows that an import leaves out, kept in a file with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from astrolabe.catalogs.importing.positions import REJECTIONS
from astrolabe.core.errors import ImportRefusedError

__all__ = ["RejectsFile"]


class RejectsFile:
    """Counts rejected rows and writes them as they came, with the row's number and the reason.

    The file appears under its name only when :meth:`keep` is called; until then, and if the
    import fails, there is at most a file beside it with ``.part`` added, which is removed.

    Parameters
    ----------
    path
        ``.csv`` or ``.parquet``.
    strict
        Refuse the first rejected row.
    """

    def __init__(self, path: Path, *, strict: bool) -> None:
        if path.suffix.lower() not in (".csv", ".parquet"):
            raise ImportRefusedError(
                f"The rejects file {path} must end in .parquet or .csv, which says its format."
            )
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._strict = strict
        self._counts: Counter[int] = Counter()
        self._writer: pq.ParquetWriter | pacsv.CSVWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._writer is not None:
            self._writer.close()
            self._part.unlink(missing_ok=True)

    @property
    def count(self) -> int:
        """Rows rejected so far."""
        return self._counts.total()

    @property
    def reasons(self) -> Mapping[str, int]:
        """How many rows were rejected for each reason."""
        return {REJECTIONS[code - 1].reason: n for code, n in sorted(self._counts.items())}

    def explain(self) -> str:
        """Return the reasons with their counts and hints, for a message."""
        parts = []
        for code, n in sorted(self._counts.items()):
            rejection = REJECTIONS[code - 1]
            hint = "" if rejection.hint is None else f" ({rejection.hint})"
            parts.append(f"{n} with {rejection.reason}{hint}")
        return "; ".join(parts)

    def add(self, batch: pa.RecordBatch, codes: npt.NDArray[np.uint8], first_row: int) -> None:
        """Add the rows of `batch` whose code is not 0.

        Parameters
        ----------
        batch
            As the source gave it.
        codes : (n,)
            1 + index into the rejections.
        first_row
            Number of the batch's first row in the source, from 1.

        Raises
        ------
        ImportRefusedError
            Raised if the import is strict.
        """
        chosen = np.flatnonzero(codes)
        self._counts.update(codes[chosen].tolist())
        if self._strict:
            raise ImportRefusedError(
                f"Row {first_row + int(chosen[0])} cannot be stored, and --strict allows no "
                f"rejected rows: {self.explain()} up to row {first_row + batch.num_rows - 1}."
            )
        rows = batch.take(chosen)
        reasons = pa.array([rejection.reason for rejection in REJECTIONS])
        table = pa.table(
            [
                pa.array(chosen + first_row),
                reasons.take(codes[chosen].astype(np.int64) - 1),
                *rows.columns,
            ],
            names=["reject_row", "reject_reason", *rows.schema.names],
        )
        self._write(table)

    def keep(self) -> Path | None:
        """Finish the file and give it its name; return that, `None` if no row was rejected."""
        if self._writer is None:
            return None
        self._writer.close()
        self._writer = None
        self._part.replace(self._path)
        return self._path

    def _write(self, table: pa.Table) -> None:
        if self._path.suffix.lower() == ".csv":
            table = pa.table([_flat(column) for column in table.columns], names=table.column_names)
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = (
                pacsv.CSVWriter(self._part, table.schema)
                if self._path.suffix.lower() == ".csv"
                else pq.ParquetWriter(self._part, table.schema, compression="zstd")
            )
        self._writer.write_table(table)


def _flat(column: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any] | pa.Array[Any]:
    """Write arrays as text, since CSV has none."""
    if not pa.types.is_nested(column.type):
        return column
    return pa.array([None if v is None else str(v) for v in column.to_pylist()], pa.string())
