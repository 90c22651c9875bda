"""The index of a bundle: a row for each stamp, and for each position that has none, with why."""

from __future__ import annotations

from collections.abc import Sequence
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
    """

    def __init__(self, positions: StampPositions) -> None:
        self._positions = positions
        self._seen = np.zeros(len(positions.ids), dtype=np.bool_)
        self._parts: list[pa.Table] = []

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
        count = len(rows)
        self._add(
            rows,
            image,
            {
                "name": pa.array(names, pa.string()),
                "x": x,
                "y": y,
                "x0": first[0],
                "y0": first[1],
                "width": np.full(count, size[0]),
                "height": np.full(count, size[1]),
                "inside": inside,
                "reason": pa.array([""] * count, pa.string()),
            },
        )

    def add_failed(self, rows: IntArray, image: str, reason: str) -> None:
        """Note stamps that could not be made."""
        self._add(rows, image, {"reason": pa.array([reason] * len(rows), pa.string())})

    def missing(self) -> IntArray:
        """Return the rows of which nothing was noted yet."""
        return np.flatnonzero(~self._seen)

    def table(self) -> pa.Table:
        """Return all that was noted, by row and image."""
        if not self._parts:
            return self._schema().empty_table()
        return pa.concat_tables(self._parts).sort_by([("row", "ascending"), ("image", "ascending")])

    def _add(self, rows: IntArray, image: str, values: dict[str, Any]) -> None:
        if not len(rows):
            return
        self._seen[rows] = True
        positions = self._positions
        values = {
            "row": rows + 1,
            "id": pa.array([positions.ids[row] for row in rows.tolist()], pa.string()),
            "ra": positions.ra_deg[rows],
            "dec": positions.dec_deg[rows],
            "image": pa.array([image] * len(rows), pa.string()),
            **values,
        }
        schema = self._schema()
        arrays = [
            pa.array(values[field.name], field.type)
            if field.name in values
            else (
                pa.array([""] * len(rows), field.type)
                if pa.types.is_string(field.type)
                else pa.nulls(len(rows), field.type)
            )
            for field in schema
        ]
        self._parts.append(pa.Table.from_arrays(arrays, schema=schema))

    @staticmethod
    def _schema() -> pa.Schema:
        return pa.schema([(column.name, arrow_type(column)) for column in _COLUMNS])
