"""All tiles of a low order in one file, ``NorderK/Allsky.*``: what older clients begin with.

Small copies of the tiles stand side by side, as many in a row as the root of their number (27 for
the 768 tiles of order 3), the first one in the upper left corner.  They are cut out of tiles of a
coarser order, whose pixels are the means of theirs: an order of 768 tiles of 512 pixels needs the
12 of order 0.
"""

from __future__ import annotations

import io
import math
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from astrolabe.images.hips.density import DENSITY_WIDTH, DensityMap
from astrolabe.images.hips.pictures import encode
from astrolabe.images.hips.tiles import Tile, child_part, fits_bytes, read_fits_tile
from astrolabe.images.hips.trees import HipsTree

__all__ = [
    "MAX_ALLSKY_ORDER",
    "AllskyFiles",
    "allsky",
    "allsky_of_density",
    "allsky_of_tree",
    "has_allsky",
    "parse_allsky",
]

MAX_ALLSKY_ORDER: Final = 3
"""The finest order that has such a file; of the next one it would be four times as large."""

_PART: Final = 64  # pixels along a side of the copies
_PATH: Final = re.compile(r"Norder([0-9])/Allsky\.(fits|png|jpg)\Z", re.ASCII)
_KEPT: Final = 4

Pixels = npt.NDArray[Any]
ReadTile = Callable[[Tile], Pixels | None]


def parse_allsky(path: str, *, order: int) -> tuple[int, str] | None:
    """Return the order and the extension that a path in a tree means; `None` if it is no such file.

    Parameters
    ----------
    order
        The finest order of the tree.
    """
    found = _PATH.match(path)
    if found is None or int(found[1]) > min(order, MAX_ALLSKY_ORDER):
        return None
    return int(found[1]), found[2]


def allsky(order: int, width: int, read: ReadTile) -> Pixels | None:
    """Return small copies of all tiles of an order, in the order of FITS; `None` if there is none.

    Parameters
    ----------
    width
        Pixels along a side of a tile.
    read
        Gives the tiles of this order or coarser ones in the order of FITS: floats (width, width)
        with NaN where there is no value, or bytes (width, width, 4) of colours and alpha; `None`
        where there is no tile.
    """
    part = min(_PART, width)
    source = _source_order(order, width)
    number = 12 << (2 * order)
    columns = math.isqrt(number)
    rows = -(-number // columns)
    found: Pixels | None = None
    for pixel in range(12 << (2 * source)):
        tile = read(Tile(source, pixel))
        if tile is None:
            continue
        if found is None:
            empty = np.nan if tile.ndim == 2 else 0
            shape = (rows * part, columns * part, *tile.shape[2:])
            found = np.full(shape, empty, dtype=tile.dtype)
        first, last = (end << (2 * (order - source)) for end in (pixel, pixel + 1))
        for cell in range(first, last):
            copy = _shrunk(tile[_place(Tile(order, cell), source, width)], part)
            # The first row of a picture is the last one in the order of FITS.
            row, column = rows - 1 - cell // columns, cell % columns
            found[row * part : (row + 1) * part, column * part : (column + 1) * part] = copy
    return found


def has_allsky(tree: HipsTree, order: int, extension: str) -> bool:
    """Whether a tree has tiles that make such a file."""
    if extension not in tree.info.formats:
        return False
    source = _source_order(order, tree.info.width)
    return any((tree.folder / f"Norder{source}").glob(f"Dir*/Npix*.{extension}"))


def allsky_of_tree(tree: HipsTree, order: int, extension: str) -> bytes | None:
    """Return the file of a tree's tiles; `None` if there is none."""

    def read(tile: Tile) -> Pixels | None:
        path = tree.folder / tile.path(extension)
        if extension == "fits":
            return read_fits_tile(path, tree.info.width)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        with Image.open(io.BytesIO(content)) as picture:
            return np.asarray(picture.convert("RGBA"))[::-1]

    pixels = allsky(order, tree.info.width, read)
    return None if pixels is None else _file(order, pixels, extension)


def allsky_of_density(density: DensityMap, order: int, extension: str) -> bytes | None:
    """Return the file of a table's density; `None` if there are no rows."""
    draw: ReadTile = density.values if extension == "fits" else density.picture
    pixels = allsky(order, DENSITY_WIDTH, draw)
    return None if pixels is None else _file(order, pixels, extension, "deg-2")


class AllskyFiles:
    """The files last made, in memory, each made once at a time.  Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, bytes | None] = OrderedDict()

    def get(self, key: str, make: Callable[[], bytes | None]) -> bytes | None:
        """Return the file of a key, made if it is not there; `None` if there is nothing in it.

        Parameters
        ----------
        key
            Names the version of the tree and the file.
        """
        # One at a time, so that many who ask at once need the memory of one.
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            made = make()
            self._kept[key] = made
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return made


def _source_order(order: int, width: int) -> int:
    """Return the order of the tiles that copies of an order's tiles are cut out of."""
    return max(0, order - round(math.log2(max(width / _PART, 1.0))))


def _file(order: int, pixels: Pixels, extension: str, unit: str | None = None) -> bytes:
    if extension == "fits":
        return fits_bytes(Tile(order, 0), pixels, unit, names_tile=False)
    return encode(pixels, "png" if extension == "png" else "jpg")


def _place(tile: Tile, order: int, width: int) -> tuple[slice, slice]:
    """Return the rows and columns of a tile in the array of the coarser one that it lies in."""
    row = column = 0
    side = width >> (tile.order - order)
    size = side
    while tile.order > order:
        rows, columns = child_part(tile, 2 * size)
        row, column = row + rows.start, column + columns.start
        tile, size = tile.parent, 2 * size
    return slice(row, row + side), slice(column, column + side)


def _shrunk(pixels: Pixels, side: int) -> Pixels:
    """Return an array with `side` pixels along each side, each the mean of those that are known."""
    step = pixels.shape[0] // side
    if step == 1:
        return pixels
    squares = pixels.reshape(side, step, side, step, *pixels.shape[2:]).astype(np.float64)
    if pixels.ndim == 2:
        known = np.isfinite(squares)
        number = known.sum(axis=(1, 3))
        total = np.where(known, squares, 0.0).sum(axis=(1, 3))
        mean = np.divide(total, number, out=np.full((side, side), np.nan), where=number > 0)
        return np.asarray(mean, dtype=pixels.dtype)
    # Colours count as much as they cover.
    alpha = squares[..., -1:]
    cover = alpha.sum(axis=(1, 3))
    total = (squares[..., :-1] * alpha).sum(axis=(1, 3))
    color = np.divide(total, cover, out=np.zeros_like(total), where=cover > 0)
    mean = np.concatenate([color, cover / step**2], axis=-1)
    return np.asarray(np.rint(mean), dtype=np.uint8)
