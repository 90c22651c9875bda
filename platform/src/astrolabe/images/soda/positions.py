"""A table of positions around which stamps are cut or images are searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy import units
from numpy.typing import NDArray

from astrolabe.catalogs.uploads import UploadedTable
from astrolabe.core.errors import TooLargeError, UploadInvalidError
from astrolabe.tables.model import Column

__all__ = ["POSITIONS_TABLE", "Positions", "read_positions"]

POSITIONS_TABLE: Final = "positions"
"""What the table is called in UPLOAD."""

_ID_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Positions:
    """Positions of one table, in its order.

    Parameters
    ----------
    ra_deg, dec_deg : (n,)
        ICRS; NaN where the table has none.
    size_deg : (n,), optional
        Width and height of each stamp; NaN where the table has none.
    radius_deg : (n,), optional
        Radius of a circle around each, for searches; NaN where the table has none.
    ids
        What each is called, as the table has it; its number from 1 where that has no name.
    """

    ra_deg: NDArray[np.float64]
    dec_deg: NDArray[np.float64]
    size_deg: NDArray[np.float64] | None
    radius_deg: NDArray[np.float64] | None = None
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)


def read_positions(tables: Sequence[UploadedTable], *, most: int | None = None) -> Positions:
    """Read the table of positions of a request.

    Right ascension, declination, size and radius are the columns ``ra``, ``dec``, ``size`` and
    ``radius`` (any case; else for the first two those with the UCDs of main positions), in degrees
    unless their unit says something else; names are the column ``id``, or that of the UCD of main
    identifiers.

    Parameters
    ----------
    tables
        What UPLOAD named.
    most
        Most rows of a job; `None` where what may be uploaded is limit enough.

    Raises
    ------
    UploadInvalidError
        Raised if there is another table, no position, or a unit that is no angle.
    TooLargeError
        Raised if there are too many rows.
    """
    table = _only(tables)
    if most is not None and table.data.num_rows > most:
        raise TooLargeError(
            f"The table has {table.data.num_rows:,} positions; one job cuts at most {most:,} "
            "stamps (setting images.job_stamps). Divide the table."
        )
    if table.data.num_rows == 0:
        raise UploadInvalidError("The table of positions has no rows.")
    ra = _degrees(table, _required(table, "ra", "pos.eq.ra"))
    dec = _degrees(table, _required(table, "dec", "pos.eq.dec"))
    size, radius = _find(table, "size", None), _find(table, "radius", None)
    wrong = np.isfinite(dec) & (np.abs(dec) > 90)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UploadInvalidError(
            f"Row {row + 1} of the table of positions has the declination {dec[row]:g}; "
            "declinations are degrees from -90 to 90."
        )
    return Positions(
        ra_deg=np.mod(ra, 360.0),
        dec_deg=dec,
        size_deg=None if size is None else _degrees(table, size),
        radius_deg=None if radius is None else _degrees(table, radius),
        ids=_ids(table),
    )


def _only(tables: Sequence[UploadedTable]) -> UploadedTable:
    for table in tables:
        if table.meta.name.lower() == POSITIONS_TABLE and len(tables) == 1:
            return table
    names = ", ".join(repr(table.meta.name[:64]) for table in tables[:5])
    raise UploadInvalidError(
        f"UPLOAD names {names}; one table is taken, called {POSITIONS_TABLE!r}: "
        f"UPLOAD={POSITIONS_TABLE},param:part."
    )


def _find(table: UploadedTable, name: str, ucd: str | None) -> Column | None:
    columns = table.meta.columns
    named = [column for column in columns if column.name.lower() == name]
    if ucd is None or named:
        return named[0] if named else None
    meant = [c for c in columns if (c.ucd or "").lower().replace(" ", "").split(";")[0] == ucd]
    main = [c for c in meant if "meta.main" in (c.ucd or "").lower()]
    if len(main) == 1:
        return main[0]
    return meant[0] if len(meant) == 1 else None


def _required(table: UploadedTable, name: str, ucd: str) -> Column:
    found = _find(table, name, ucd)
    if found is None:
        have = ", ".join(column.name for column in table.meta.columns[:20])
        raise UploadInvalidError(
            f"The table of positions has no column {name!r} and not one of the UCD {ucd}; it has "
            f"{have[:500]}."
        )
    return found


def _degrees(table: UploadedTable, column: Column) -> NDArray[np.float64]:
    array = table.data.column(column.name)
    if not (pa.types.is_floating(array.type) or pa.types.is_integer(array.type)):
        raise UploadInvalidError(
            f"The column {column.name!r} of the table of positions is no column of numbers: give "
            "decimal degrees."
        )
    numbers: pa.ChunkedArray[Any] = pc.cast(array, pa.float64(), safe=False)
    # Null becomes NaN.
    values: NDArray[np.float64] = np.asarray(numbers.to_numpy(), dtype=np.float64)
    unit = (column.unit or "deg").strip()
    if unit.lower() in {"deg", "degree", "degrees"}:
        return values
    try:
        return values * float(units.Unit(unit).to(units.deg))
    except (ValueError, TypeError, units.UnitConversionError) as exc:
        raise UploadInvalidError(
            f"The unit {unit[:50]!r} of the column {column.name!r} is no angle; give degrees."
        ) from exc


def _ids(table: UploadedTable) -> tuple[str, ...]:
    count = table.data.num_rows
    column = _find(table, "id", "meta.id")
    if column is None:
        return tuple(str(number) for number in range(1, count + 1))
    texts: list[Any] = pc.cast(table.data.column(column.name), pa.string()).to_pylist()
    return tuple(
        str(number) if text is None or not text.strip() else text.strip()[:_ID_CHARACTERS]
        for number, text in enumerate(texts, start=1)
    )
