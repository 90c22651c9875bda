"""The values of all tiles of one band, in a folder: only what has changed is made anew."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from mocpy import MOC

from astrolabe.images.hips.coverage import MOC_FORMS, moc_bytes, moc_of_cells, read_moc
from astrolabe.images.hips.tiles import (
    FloatTile,
    Tile,
    average_of_children,
    fits_bytes,
    read_fits_tile,
    write_atomically,
)

__all__ = ["COVERAGE_STEPS", "BandTiles", "affected", "link_unchanged"]

COVERAGE_STEPS: Final = 4
"""How much finer than the finest tiles the coverage is."""

_BATCH: Final = 256
_MOC_FILE: Final = "Moc.fits"

MakeTile = Callable[[Tile], FloatTile | None]
Tell = Callable[[int], None]


def affected(leaves: set[Tile]) -> dict[int, list[Tile]]:
    """Return the tiles of all orders that show something of `leaves`, by order, sorted."""
    if not leaves:
        return {}
    order = next(iter(leaves)).order
    found = {order: sorted(leaves)}
    for above in range(order - 1, -1, -1):
        found[above] = sorted({tile.parent for tile in found[above + 1]})
    return found


def link_unchanged(old: Path, new: Path, changed: set[Tile]) -> None:
    """Take the files of all tiles but `changed` from an older generation: the same files."""
    for folder, _, names in os.walk(old):
        for name in names:
            path = Path(folder, name).relative_to(old)
            parsed = Tile.parse(path.as_posix())
            if parsed is None or parsed[0] in changed:
                continue
            target = new / path
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(Path(folder, name), target)


class BandTiles:
    """The FITS tiles of one band.

    Parameters
    ----------
    root
        Where they go.
    order, width
        The finest order, and pixels along a side of a tile.
    unit
        Of the values.
    threads
        How many tiles to make at once.
    """

    def __init__(
        self, root: Path, *, order: int, width: int, unit: str | None, threads: int
    ) -> None:
        self.root = root
        self._order = order
        self._width = width
        self._unit = unit
        self._threads = threads

    def make(
        self, leaves: set[Tile], make_tile: MakeTile, *, previous: Path | None, tell: Tell
    ) -> None:
        """Make the tiles `leaves` of the finest order and all above them.

        Parameters
        ----------
        make_tile
            Gives the values of a tile; called in several threads.
        previous
            Where the other tiles are taken from.
        tell
            Called with the number of leaves made since the last call.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        by_order = affected(leaves)
        coverage = MOC.new_empty(self._order + COVERAGE_STEPS)
        if previous is not None:
            link_unchanged(previous, self.root, {t for tiles in by_order.values() for t in tiles})
            if (previous / _MOC_FILE).exists():
                gone = moc_of_cells(self._order, [tile.pixel for tile in leaves])
                coverage = read_moc(previous / _MOC_FILE).difference(gone)
        for cells in self._in_threads(by_order.get(self._order, []), make_tile, tell):
            coverage = coverage.union(moc_of_cells(self._order + COVERAGE_STEPS, cells))
        for order in range(self._order - 1, -1, -1):
            for tile in by_order.get(order, []):
                self._make_above(tile)
        write_atomically(self.root / _MOC_FILE, moc_bytes(coverage, MOC_FORMS[0]))

    def read(self, tile: Tile) -> FloatTile | None:
        """Return the values of a tile, `None` if there is none."""
        return read_fits_tile(self.root / tile.path("fits"), self._width)

    @property
    def coverage(self) -> MOC:
        """Where there are values."""
        return read_moc(self.root / _MOC_FILE)

    def sample(self, most: int = 12) -> npt.NDArray[np.float32]:
        """Return values (n,) of some tiles of the finest order, all finite."""
        folder = self.root / f"Norder{self._order}"
        paths = sorted(folder.glob("Dir*/Npix*.fits")) if folder.is_dir() else []
        chosen = paths[:: max(1, len(paths) // most)][:most]
        values = [
            tile[np.isfinite(tile)]
            for tile in (read_fits_tile(path, self._width) for path in chosen)
            if tile is not None
        ]
        return np.concatenate(values) if values else np.empty(0, dtype=np.float32)

    def _in_threads(
        self, leaves: Sequence[Tile], make_tile: MakeTile, tell: Tell
    ) -> Iterator[npt.NDArray[np.int64]]:
        """Make tiles; yield the cells that they cover, some hundred tiles at a time."""

        def make(tile: Tile) -> npt.NDArray[np.int64]:
            values = make_tile(tile)
            if values is None or not np.isfinite(values).any():
                return np.empty(0, dtype=np.int64)
            self._write(tile, values)
            return _covered(tile, values)

        with ThreadPoolExecutor(self._threads, thread_name_prefix="hips") as executor:
            for start in range(0, len(leaves), _BATCH):
                found = []
                for cells in executor.map(make, leaves[start : start + _BATCH]):
                    found.append(cells)
                    tell(1)
                yield np.concatenate(found)

    def _make_above(self, tile: Tile) -> None:
        children: Mapping[Tile, FloatTile | None] = {
            child: self.read(child) for child in tile.children
        }
        known = {child: values for child, values in children.items() if values is not None}
        if known:
            self._write(tile, average_of_children(known, self._width))

    def _write(self, tile: Tile, values: FloatTile) -> None:
        write_atomically(self.root / tile.path("fits"), fits_bytes(tile, values, self._unit))


def _covered(tile: Tile, values: FloatTile) -> npt.NDArray[np.int64]:
    """Return the cells of the coverage that have a value."""
    side = 1 << COVERAGE_STEPS
    block = values.shape[0] // side
    known = np.isfinite(values).reshape(side, block, side, block).any(axis=(1, 3))
    rows, columns = np.nonzero(known)
    x, y = side - 1 - rows, columns
    inside = np.zeros(len(x), dtype=np.int64)
    for bit in range(COVERAGE_STEPS):
        inside |= ((x >> bit) & 1) << (2 * bit) | ((y >> bit) & 1) << (2 * bit + 1)
    return (tile.pixel << (2 * COVERAGE_STEPS)) + inside
