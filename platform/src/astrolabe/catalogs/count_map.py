"""How many rows a table has in each small piece of the sky: the source of its coverage.

Counted at order 10 (cells of 3.4 arcminutes) while a table is written, and kept beside its data
as HATS keeps maps of further orders (``hats_skymap_alt_orders``, ``skymap.K.fits``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from astrolabe.core.errors import InternalError
from astrolabe.sky.healpix import MAX_ORDER

__all__ = ["COUNT_ORDER", "CountMap"]

COUNT_ORDER: Final = 10
"""Order of the cells that rows are counted in."""

_KEYS_AT_ONCE: Final = 1_000_000
_PENDING_CELLS: Final = 2_000_000

Integers = npt.NDArray[np.int64]


class CountMap:
    """Counts the rows in each HEALPix cell of one order (NESTED, ICRS); holds filled cells only.

    Parameters
    ----------
    order
        Of the cells.
    """

    def __init__(self, order: int = COUNT_ORDER) -> None:
        self.order = order
        self._cells = np.empty(0, dtype=np.int64)
        self._counts = np.empty(0, dtype=np.int64)
        self._pending: list[tuple[Integers, Integers]] = []
        self._pending_cells = 0

    def add(self, keys: npt.ArrayLike) -> None:
        """Count rows at the ascending cells `keys` (n,) of order 29."""
        all_keys = np.asarray(keys)
        for first in range(0, len(all_keys), _KEYS_AT_ONCE):
            cells = all_keys[first : first + _KEYS_AT_ONCE] >> (2 * (MAX_ORDER - self.order))
            self._add(*_grouped(cells, np.ones(len(cells), dtype=np.int64)))

    @property
    def cells(self) -> Integers:
        """The cells that have rows, (n,) ascending."""
        self._merge()
        return self._cells

    @property
    def counts(self) -> Integers:
        """The rows in each of `cells`, (n,)."""
        self._merge()
        return self._counts

    def at(self, order: int) -> CountMap:
        """Return the same counts in cells of a coarser order."""
        coarser = CountMap(order)
        coarser._add(*_grouped(self.cells >> (2 * (self.order - order)), self.counts))
        return coarser

    @classmethod
    def read(cls, catalog: Path, order: int = COUNT_ORDER) -> CountMap | None:
        """Read the map of a version of a table; `None` if there is none of this order.

        Parameters
        ----------
        catalog
            The folder of the version's HATS catalog.
        order
            Of the cells.

        Raises
        ------
        InternalError
            Raised if there is one that cannot be read.
        """
        path = catalog / _file_name(order)
        if not path.exists():
            return None
        found = cls(order)
        try:
            with fits.open(path, memmap=False) as hdus:
                data = hdus[1].data
                found._cells = np.asarray(data["PIXEL"], dtype=np.int64)
                found._counts = np.asarray(data["VALUE"], dtype=np.int64)
        except (OSError, KeyError, IndexError, TypeError) as exc:
            raise InternalError(f"The map of counts {path} cannot be read: {exc}.") from exc
        return found

    def write(self, catalog: Path) -> None:
        """Write ``skymap.K.fits`` for the order K into the folder of a HATS catalog."""
        table = fits.BinTableHDU.from_columns(
            [
                fits.Column("PIXEL", "K", array=self.cells),
                fits.Column("VALUE", "K", array=self.counts),
            ]
        )
        # HEALPix maps in FITS as gamma-ray astronomy's data formats 0.3 have them.
        table.header.update(
            {
                "PIXTYPE": "HEALPIX",
                "ORDERING": "NESTED",
                "COORDSYS": "CEL",
                "NSIDE": 1 << self.order,
                "INDXSCHM": "EXPLICIT",
                "OBS_NPIX": len(self.cells),
            }
        )
        table.writeto(catalog / _file_name(self.order))

    def _add(self, cells: Integers, counts: Integers) -> None:
        self._pending.append((cells, counts))
        self._pending_cells += len(cells)
        # Seldom enough that what is merged again and again costs little in all.
        if self._pending_cells > max(_PENDING_CELLS, len(self._cells)):
            self._merge()

    def _merge(self) -> None:
        if not self._pending:
            return
        cells = np.concatenate([self._cells, *(cells for cells, _ in self._pending)])
        counts = np.concatenate([self._counts, *(counts for _, counts in self._pending)])
        self._pending.clear()
        self._pending_cells = 0
        order = np.argsort(cells, kind="stable")
        self._cells, self._counts = _grouped(cells[order], counts[order])


def _grouped(cells: Integers, counts: Integers) -> tuple[Integers, Integers]:
    """Return each of the ascending `cells` once, with the sum of its counts."""
    if not len(cells):
        return cells, counts
    starts = np.concatenate([[0], np.flatnonzero(np.diff(cells)) + 1])
    return cells[starts], np.add.reduceat(counts, starts)


def _file_name(order: int) -> str:
    return f"skymap.{order}.fits"
