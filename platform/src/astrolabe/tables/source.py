"""What a reader of any file format gives to the import and to uploads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from astrolabe.tables.model import Column, CoordinateSystem

__all__ = ["SourceMeta", "TableSource"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMeta:
    """What a source says of itself before its rows are read.

    Parameters
    ----------
    columns
        Declared columns, in the source's order and with its names.
    name, description
        Of the table, if the source has them.
    coordinate_system
        Frame as the source declares it (``ICRS``, ``FK5``, ``galactic``), with its epoch.
    row_count
        Number of rows if known before reading.
    notes
        What the source holds and the columns do not (columns of types that no table can hold).
    """

    columns: tuple[Column, ...]
    name: str | None = None
    description: str | None = None
    coordinate_system: CoordinateSystem | None = None
    row_count: int | None = None
    notes: tuple[str, ...] = ()


class TableSource(Protocol):
    """A table that can be read once or more, batch by batch.

    Every batch has exactly the declared columns, in order, each in the Arrow type that
    :func:`astrolabe.tables.model.arrow_type` names for it (``uint8`` for ``unsignedByte``, never a
    float for an integer).  Memory does not grow with the number of rows.
    """

    @property
    def meta(self) -> SourceMeta:
        """The declared columns and table metadata."""

    def batches(self, *, max_rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order.

        Raises
        ------
        ImportRefusedError
            Raised if the source is broken; the message names the file and the place in it.
        """
