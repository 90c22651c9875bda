"""Cuts the stamps of one image: strips of it are read once, and windows taken out of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from astrolabe.images.fits.cards import FitsHeader
from astrolabe.images.model import PlaneKind
from astrolabe.images.reader import Plane

__all__ = ["PlaneWindows", "StampBlock", "StampPlane", "Strip", "cut_strip", "strips"]

AnyArray = npt.NDArray[Any]
IntArray = npt.NDArray[np.int64]

_STRIP_BYTES: Final = 24 << 20
"""Pixels of a strip in memory, and of the stamps that are cut out of it."""
_STRIP_STAMPS: Final = 1_000
_SPARSE: Final = 0.6


@dataclass(frozen=True, slots=True, eq=False)
class StampPlane:
    """One plane of an image from which stamps are cut.

    Parameters
    ----------
    kind
        Which.
    plane
        Its pixels.
    header
        The cards that its stamps keep.
    """

    kind: PlaneKind
    plane: Plane
    header: FitsHeader

    @property
    def lead(self) -> tuple[int, ...]:
        """Pixels along the axes before y and x; stamps have all of them."""
        return self.plane.shape[:-2]


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """Stamps of one size that lie near each other on an image.

    Parameters
    ----------
    width, height
        Of each (pixels).
    rows, x, y : (n,)
        The rows of their positions, and the first pixel of each; outside the image where a stamp
        goes over its edge.
    sparse
        Whether each is read by itself, because they lie far from each other.
    """

    width: int
    height: int
    rows: IntArray
    x: IntArray
    y: IntArray
    sparse: bool

    def __len__(self) -> int:
        return len(self.rows)


class PlaneWindows:
    """The windows of one plane that become stamps.

    Parameters
    ----------
    source
        The plane.
    shape
        Of each stamp.
    windows
        One array a stamp, views of what was read where possible.
    """

    def __init__(
        self, source: StampPlane, shape: tuple[int, ...], windows: Sequence[AnyArray]
    ) -> None:
        self.source = source
        self.shape = shape
        self.windows = windows

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return self.source.plane.dtype

    def copy_to(self, out: AnyArray) -> None:
        """Copy all stamps to an array (n, *shape), whatever its byte order and strides."""
        # A copy each, with its conversion, is twice as fast as one fancy index over all.
        for place, window in zip(out, self.windows, strict=True):
            place[...] = window


@dataclass(frozen=True, slots=True, eq=False)
class StampBlock:
    """Stamps of one size, cut from one image.

    Parameters
    ----------
    strip
        Where they are.
    planes
        Their pixels.
    """

    strip: Strip
    planes: tuple[PlaneWindows, ...]

    def __len__(self) -> int:
        return len(self.strip)


def strips(
    planes: Sequence[StampPlane], rows: IntArray, x: IntArray, y: IntArray, sides: IntArray
) -> Iterator[Strip]:
    """Divide the stamps of an image into strips that fit into memory.

    Parameters
    ----------
    planes
        What is cut.
    rows, x, y, sides : (n,)
        Row, first pixel and side of each stamp.
    """
    if len(rows) == 1:
        side = int(sides[0])
        yield Strip(width=side, height=side, rows=rows, x=x, y=y, sparse=True)
        return
    depth = sum(_depth(plane) for plane in planes)
    width = planes[0].plane.shape[-1]
    for side in np.unique(sides).tolist():
        chosen = np.flatnonzero(sides == side)
        chosen = chosen[np.lexsort((x[chosen], y[chosen]))]
        own = side * side * depth
        most = max(1, min(_STRIP_STAMPS, _STRIP_BYTES // own))
        tall = max(2 * side, _STRIP_BYTES // max(1, (width + 2 * side) * depth))
        begin = 0
        while begin < len(chosen):
            first_y = int(y[chosen[begin]])
            end = int(np.searchsorted(y[chosen], first_y + tall - side, side="right"))
            some = chosen[begin : min(max(end, begin + 1), begin + most)]
            begin += len(some)
            yield Strip(
                width=side,
                height=side,
                rows=rows[some],
                x=x[some],
                y=y[some],
                sparse=_is_sparse(planes[0].plane, x[some], y[some], side),
            )


def cut_strip(planes: Sequence[StampPlane], strip: Strip) -> StampBlock:
    """Read the pixels of a strip's stamps.

    Pixels outside the image are NaN, or 0 where pixels are integers.

    Raises
    ------
    ImageInvalidError
        Raised if the file is broken or was changed.
    """
    return StampBlock(strip, tuple(_windows(plane, strip) for plane in planes))


def _windows(plane: StampPlane, strip: Strip) -> PlaneWindows:
    width, height = strip.width, strip.height
    places = zip(strip.x.tolist(), strip.y.tolist(), strict=True)
    if strip.sparse:
        windows = [_read(plane.plane, x, y, width, height) for x, y in places]
    else:
        left, below = int(strip.x.min()), int(strip.y.min())
        right, above = int(strip.x.max()) + width, int(strip.y.max()) + height
        # Tiles of a strip would push all others out of the cache; nobody needs them again.
        pixels = _read(plane.plane, left, below, right - left, above - below, keep=False)
        windows = [
            pixels[..., y - below : y - below + height, x - left : x - left + width]
            for x, y in places
        ]
    return PlaneWindows(plane, (*plane.lead, height, width), windows)


def _read(plane: Plane, x: int, y: int, width: int, height: int, *, keep: bool = True) -> AnyArray:
    """Read a box of the last two axes that may go over the edges of the image."""
    image_height, image_width = plane.shape[-2:]
    left, right = max(x, 0), min(x + width, image_width)
    below, above = max(y, 0), min(y + height, image_height)
    lead = tuple((0, length) for length in plane.shape[:-2])
    is_inside = right > left and above > below
    if is_inside and (right - left, above - below) == (width, height):
        return plane.read((*lead, (below, above), (left, right)), keep=keep)
    fill = np.nan if plane.dtype.kind == "f" else 0
    room = np.full((*plane.shape[:-2], height, width), fill, dtype=plane.dtype)
    if is_inside:
        pixels = plane.read((*lead, (below, above), (left, right)), keep=keep)
        room[..., below - y : above - y, left - x : right - x] = pixels
    return room


def _depth(plane: StampPlane) -> int:
    """Return the bytes of a pixel of the sky, all leading axes together."""
    return int(np.prod(plane.lead, dtype=np.int64)) * plane.plane.dtype.itemsize


def _is_sparse(plane: Plane, x: IntArray, y: IntArray, side: int) -> bool:
    """Tell whether reading each stamp by itself unpacks fewer pixels than reading them all."""
    tiles = plane.index.tiles
    tile_height, tile_width = (1, 1) if tiles is None else tiles.shape[-2:]
    touched_rows = (-(-side // tile_height) + 1) * tile_height
    touched_columns = min((-(-side // tile_width) + 1) * tile_width, plane.shape[-1] + side)
    single = len(x) * touched_rows * touched_columns
    together = (np.ptp(y) + side) * (np.ptp(x) + side)
    return bool(len(x) == 1 or single < _SPARSE * together)


def inside_fraction(strip: Strip, shape: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return which part of each stamp of a strip lies on an image of the shape (y, x)."""
    height, width = shape[-2:]
    across = np.minimum(strip.x + strip.width, width) - np.maximum(strip.x, 0)
    along = np.minimum(strip.y + strip.height, height) - np.maximum(strip.y, 0)
    pixels = np.maximum(across, 0) * np.maximum(along, 0)
    return np.asarray(pixels / (strip.width * strip.height), dtype=np.float64)
