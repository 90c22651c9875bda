"""Tiles of a HiPS: where their pixels are, their files, and what is in those (HiPS 1.0, section 4).

A tile of order k is a HEALPix cell of that order, divided into ``width`` times ``width`` cells.
Arrays here are in the order of FITS: the first row is the lowest one of a picture.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from PIL import Image

from astrolabe.core.errors import InternalError
from astrolabe.core.ids import new_request_id
from astrolabe.sky.healpix import points_in_cells

__all__ = [
    "MAX_HIPS_ORDER",
    "TILE_WIDTH",
    "FloatTile",
    "Tile",
    "average_of_children",
    "child_part",
    "fits_bytes",
    "order_of_scale",
    "pixel_scale_arcsec",
    "png_bytes",
    "read_fits_tile",
    "sky_grid",
    "write_atomically",
]

FloatTile = npt.NDArray[np.float32]

TILE_WIDTH: Final = 512
"""Pixels along a side of the tiles of images."""

MAX_HIPS_ORDER: Final = 20
"""Finest order of tiles: pixels of order 29, the finest that HEALPix indexes of 64 bits have."""

_BLOCK: Final = 2880
_DIRECTORY_TILES: Final = 10_000
_CELL_DEG: Final = 58.632302  # mean width of a cell of order 0
_PATH: Final = re.compile(
    r"Norder(?P<order>[0-9]{1,2})/Dir(?P<dir>[0-9]{1,19})/Npix(?P<pixel>[0-9]{1,19})"
    r"\.(?P<extension>fits|png|jpg)\Z",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """The cell of a tile.

    Parameters
    ----------
    order, pixel
        Of the HEALPix cell (NESTED).
    """

    order: int
    pixel: int

    def path(self, extension: str) -> str:
        """Return the path of its file in the tree."""
        folder = self.pixel // _DIRECTORY_TILES * _DIRECTORY_TILES
        return f"Norder{self.order}/Dir{folder}/Npix{self.pixel}.{extension}"

    @property
    def parent(self) -> Tile:
        """The tile of the next coarser order that this one is a quarter of."""
        return Tile(self.order - 1, self.pixel >> 2)

    @property
    def children(self) -> tuple[Tile, ...]:
        """The four tiles of the next finer order."""
        return tuple(Tile(self.order + 1, 4 * self.pixel + part) for part in range(4))

    @classmethod
    def parse(cls, path: str) -> tuple[Tile, str] | None:
        """Return the tile and the extension that a path in a tree means; `None` if it is none."""
        found = _PATH.match(path)
        if found is None:
            return None
        tile = cls(int(found["order"]), int(found["pixel"]))
        is_cell = tile.order <= MAX_HIPS_ORDER and tile.pixel < 12 << (2 * tile.order)
        # One path for a tile: leading zeros or another folder are other names.
        return (tile, found["extension"]) if is_cell and tile.path(found[4]) == path else None


def pixel_scale_arcsec(order: int, width: int = TILE_WIDTH) -> float:
    """Return the mean size of a pixel of the tiles of an order (arcsec)."""
    return _CELL_DEG * 3600.0 / (1 << order) / width


def order_of_scale(scale_arcsec: float, width: int = TILE_WIDTH) -> int:
    """Return the coarsest order whose pixels are no larger than `scale_arcsec`."""
    order = 0
    while order < MAX_HIPS_ORDER and pixel_scale_arcsec(order, width) > scale_arcsec:
        order += 1
    return order


def sky_grid(
    tile: Tile, rows: npt.NDArray[np.float64], columns: npt.NDArray[np.float64], width: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return where points of a tile are on the sky.

    Parameters
    ----------
    tile
        The tile.
    rows, columns : broadcast to (...)
        Pixels in the order of FITS, 0-based; a whole number is the centre of a pixel.
    width
        Pixels along a side.

    Returns
    -------
    ra_deg, dec_deg : (...)
        ICRS.
    """
    # The origin of a FITS tile is the cell's eastern corner; rows run to the south-west.
    x_share = 1.0 - (rows + 0.5) / width
    y_share = (columns + 0.5) / width
    vectors = points_in_cells(tile.order, tile.pixel, x_share, y_share)
    ra = np.degrees(np.arctan2(vectors[..., 1], vectors[..., 0])) % 360.0
    across = np.hypot(vectors[..., 0], vectors[..., 1])
    return ra, np.degrees(np.arctan2(vectors[..., 2], across))


def child_part(child: Tile, width: int) -> tuple[slice, slice]:
    """Return the rows and columns of its parent's array that a tile covers."""
    half = width // 2
    # Even bit: to the north-east, against the rows; odd bit: to the north-west, along the columns.
    row = 0 if child.pixel & 1 else half
    column = half if child.pixel & 2 else 0
    return slice(row, row + half), slice(column, column + half)


def average_of_children(children: dict[Tile, FloatTile], width: int) -> FloatTile:
    """Return the tile above its children: each pixel the mean of the four that have a value.

    Parameters
    ----------
    children
        Arrays (width, width) of the children that there are; NaN where there is no value.
    """
    result = np.full((width, width), np.nan, dtype=np.float32)
    half = width // 2
    for tile, values in children.items():
        quads = values.reshape(half, 2, half, 2).transpose(0, 2, 1, 3).reshape(half, half, 4)
        known = np.isfinite(quads)
        number = known.sum(axis=-1)
        total = np.where(known, quads, np.float32(0)).sum(axis=-1, dtype=np.float64)
        mean = np.divide(total, number, out=np.full((half, half), np.nan), where=number > 0)
        result[child_part(tile, width)] = mean
    return result


def fits_bytes(
    tile: Tile, values: FloatTile, unit: str | None, *, names_tile: bool = True
) -> bytes:
    """Return the FITS file of a tile: 32-bit floats, NaN where there is no value.

    Parameters
    ----------
    names_tile
        Whether the header says which tile it is; else only its order.
    """
    header = fits.Header()
    header["SIMPLE"] = True
    header["BITPIX"] = -32
    header["NAXIS"] = 2
    header["NAXIS1"] = values.shape[1]
    header["NAXIS2"] = values.shape[0]
    header["ORDER"] = (tile.order, "HEALPix order of the tile")
    if names_tile:
        header["NPIX"] = (tile.pixel, "HEALPix cell of the tile (NESTED)")
    if unit:
        header["BUNIT"] = unit
    data = np.ascontiguousarray(values, dtype=">f4").tobytes()
    padding = b"\0" * (-len(data) % _BLOCK)
    cards: str = header.tostring()
    return cards.encode("ascii") + data + padding


def read_fits_tile(path: Path, width: int = TILE_WIDTH) -> FloatTile | None:
    """Read a tile that `fits_bytes` made; `None` if there is none.

    Raises
    ------
    InternalError
        Raised if it is not such a file.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    length = 4 * width * width
    if len(content) < _BLOCK + length or not content.startswith(b"SIMPLE"):
        raise InternalError(f"The tile {path} is broken; make the HiPS anew with --all.")
    values = np.frombuffer(content, dtype=">f4", count=width * width, offset=_BLOCK)
    return values.reshape(width, width).astype(np.float32)


def png_bytes(picture: npt.NDArray[np.uint8]) -> bytes:
    """Return a PNG of (h, w, 2) grey and alpha or (h, w, 4) colours and alpha.

    Parameters
    ----------
    picture
        In the order of FITS; the file's first row is the last one here.
    """
    buffer = io.BytesIO()
    upright = np.ascontiguousarray(picture[::-1])
    Image.fromarray(upright).save(buffer, format="PNG", compress_level=2)
    return buffer.getvalue()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{new_request_id()}")
    try:
        part.write_bytes(content)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
