"""The index of a bundle: a row for each stamp, and for each position that has none, with why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from astrolabe.images.stamps.request import StampPositions
from astrolabe.tables.model import Column, Datatype, Info, ResultHeader, arrow_type

__all__ = ["StampIndex", "index_header"]

IntArray = npt.NDArray[np.int64]

_COLUMNS: Final = (
    Column(
        name="row",
        datatype=Datatype.LONG,
        description="Row of the table of positions, from 1",
    ),
    Column(name="id", datatype=Datatype.CHAR, arraysize="*", description="What the row is called"),
    Column(name="ra", datatype=Datatype.DOUBLE, unit="deg", description="ICRS, as asked for"),
    Column(name="dec", datatype=Datatype.DOUBLE, unit="deg", description="ICRS, as asked for"),
    Column(
        name="name",
        datatype=Datatype.CHAR,
        arraysize="*",
        description="Where the stamp is in this bundle; empty if there is none",
    ),
    Column(
        name="image", datatype=Datatype.CHAR, arraysize="*", description="Identifier of the image"
    ),
    Column(
        name="x", datatype=Datatype.DOUBLE, unit="pix",
        description="Where the position lies on the image, from 0",
    ),
    Column(
        name="y", datatype=Datatype.DOUBLE, unit="pix",
        description="Where the position lies on the image, from 0",
    ),
    Column(
        name="x0", datatype=Datatype.LONG, unit="pix",
        description="The image's pixel that is the first of the stamp, from 0",
    ),
    Column(
        name="y0", datatype=Datatype.LONG, unit="pix",
        description="The image's pixel that is the first of the stamp, from 0",
    ),
    Column(name="width", datatype=Datatype.LONG, unit="pix", description="Pixels along x"),
    Column(name="height", datatype=Datatype.LONG, unit="pix", description="Pixels along y"),
    Column(
        name="inside",
        datatype=Datatype.DOUBLE,
        description="Which part of the stamp lies on the image; the rest is NaN, or 0 in integers",
    ),
    Column(
        name="reason",
        datatype=Datatype.CHAR,
        arraysize="*",
        description="Why there is no stamp; empty if there is one",
    ),
)  # fmt: skip


def index_header(infos: Sequence[Info] = ()) -> ResultHeader:
    """Return the columns of an index."""
    return ResultHeader(columns=_COLUMNS, infos=tuple(infos), table_name="index")


class StampIndex:
    """Collects what became of each position.

    Parameters
    ----------
    positions
        All that were asked for.

    Notes
    -----
    Of 800 images with one stamp each, 800 small tables would cost as much as reading the pixels:
    notes are made a table when there are many.
    """

    def __init__(self, positions: StampPositions) -> None:
        self._positions = positions
        self._seen = np.zeros(len(positions.ids), dtype=np.bool_)
        self._parts: list[pa.Table] = []
        self._notes: list[_Note] = []
        self._noted = 0

    def add(
        self,
        rows: IntArray,
        image: str,
        *,
        names: Sequence[str],
        x: npt.NDArray[np.float64],
        y: npt.NDArray[np.float64],
        first: tuple[IntArray, IntArray],
        size: tuple[int, int],
        inside: npt.NDArray[np.float64],
    ) -> None:
        """Note stamps that were written."""
        self._add(_Note(rows, image, names=names, places=(x, y, *first, inside), size=size))

    def add_failed(self, rows: IntArray, image: str, reason: str) -> None:
        """Note stamps that could not be made."""
        self._add(_Note(rows, image, reason=reason))

    def missing(self) -> IntArray:
        """Return the rows of which nothing was noted yet."""
        return np.flatnonzero(~self._seen)

    def table(self) -> pa.Table:
        """Return all that was noted, by row and image."""
        self._pack()
        if not self._parts:
            return _SCHEMA.empty_table()
        return pa.concat_tables(self._parts).sort_by([("row", "ascending"), ("image", "ascending")])

    def _add(self, note: _Note) -> None:
        if not len(note.rows):
            return
        self._seen[note.rows] = True
        self._notes.append(note)
        self._noted += len(note.rows)
        if self._noted >= _PACKED_AT_ONCE:
            self._pack()

    def _pack(self) -> None:
        """Make what was noted last a table."""
        notes, self._notes, self._noted = self._notes, [], 0
        if not notes:
            return
        counts = np.array([len(note.rows) for note in notes])
        rows = np.concatenate([note.rows for note in notes])
        positions = self._positions
        values: dict[str, Any] = {
            "row": rows + 1,
            "id": [positions.ids[row] for row in rows.tolist()],
            "ra": positions.ra_deg[rows],
            "dec": positions.dec_deg[rows],
            "name": [name for note in notes for name in note.names or [""] * len(note.rows)],
            "image": np.repeat(np.array([note.image for note in notes], dtype=object), counts),
            "reason": np.repeat(np.array([note.reason for note in notes], dtype=object), counts),
        }
        # What there is only of a stamp is null where there is none.
        none = np.repeat([note.places is None for note in notes], counts)
        for number, name in enumerate(("x", "y", "x0", "y0", "inside")):
            parts = [
                np.zeros(len(note.rows)) if note.places is None else note.places[number]
                for note in notes
            ]
            values[name] = np.ma.MaskedArray(np.concatenate(parts), mask=none)
        for number, name in enumerate(("width", "height")):
            sides = np.repeat([note.size[number] for note in notes], counts)
            values[name] = np.ma.MaskedArray(sides, mask=none)
        self._parts.append(
            pa.Table.from_arrays(
                [_array(values[field.name], field.type) for field in _SCHEMA],
                schema=_SCHEMA,
            )
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Note:
    """What became of some rows on one image."""

    rows: IntArray
    image: str
    names: Sequence[str] = ()
    places: tuple[npt.NDArray[Any], ...] | None = None
    size: tuple[int, int] = (0, 0)
    reason: str = ""


def _array(values: Any, kind: pa.DataType) -> pa.Array[Any]:  # noqa: ANN401 - what Arrow takes
    if isinstance(values, np.ma.MaskedArray):
        return pa.array(values.data, mask=np.ma.getmaskarray(values)).cast(kind)
    return pa.array(values, kind)


_PACKED_AT_ONCE: Final = 5_000
_SCHEMA: Final = pa.schema([(column.name, arrow_type(column)) for column in _COLUMNS])
