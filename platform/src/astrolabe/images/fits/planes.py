"""Pixels of any box of an image, reading only what the box needs."""

from __future__ import annotations

import itertools
import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from astrolabe.core.errors import BadParameterError, ImageInvalidError
from astrolabe.images.files import ByteSource
from astrolabe.images.fits.codecs import dequantise, is_quantised_tile, unpack_tile
from astrolabe.images.fits.index import PlaneIndex
from astrolabe.images.fits.tiles import TileIndex

__all__ = ["Box", "TileCache", "box_pixels", "box_shape", "read_box", "tiles_of_box", "whole_box"]

Box = tuple[tuple[int, int], ...]
"""First pixel and the one after the last of each axis, in NumPy's order (x is the last axis)."""

_MOST_BROKEN: Final = 10_000
_ENTRY_BYTES: Final = 200  # of a cached tile beside its pixels


class TileCache:
    """Unpacked tiles that were last used, up to a number of bytes; for many threads.

    Parameters
    ----------
    limit_bytes
        Memory for them; 0 keeps nothing.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._tiles: OrderedDict[tuple[str, int, int], npt.NDArray[Any]] = OrderedDict()
        self._bytes = 0
        self._broken: OrderedDict[tuple[str, int, int], str] = OrderedDict()

    @property
    def used_bytes(self) -> int:
        """Memory of what is kept now."""
        return self._bytes

    def get(self, key: tuple[str, int, int]) -> npt.NDArray[Any] | None:
        """Return a tile by file (with its version), HDU and number; not to be changed."""
        if not self._limit:
            return None
        with self._lock:
            found = self._tiles.get(key)
            if found is not None:
                self._tiles.move_to_end(key)
            return found

    def why_broken(self, key: tuple[str, int, int]) -> str | None:
        """Return what was wrong with a tile that could not be unpacked."""
        return self._broken.get(key)

    def put_broken(self, key: tuple[str, int, int], reason: str) -> None:
        """Remember that a tile is broken: the codecs leave some memory behind at each try."""
        with self._lock:
            self._broken[key] = reason
            while len(self._broken) > _MOST_BROKEN:
                self._broken.popitem(last=False)

    def put(self, key: tuple[str, int, int], tile: npt.NDArray[Any]) -> None:
        """Keep a tile, unless it alone would take a quarter of all room."""
        size = tile.nbytes + _ENTRY_BYTES
        if size * 4 > self._limit:
            return
        tile.flags.writeable = False
        with self._lock:
            old = self._tiles.pop(key, None)
            if old is not None:
                self._bytes -= old.nbytes + _ENTRY_BYTES
            self._tiles[key] = tile
            self._bytes += size
            while self._bytes > self._limit:
                _, gone = self._tiles.popitem(last=False)
                self._bytes -= gone.nbytes + _ENTRY_BYTES


def whole_box(shape: Sequence[int]) -> Box:
    """Return the box of all pixels."""
    return tuple((0, length) for length in shape)


def box_shape(box: Box) -> tuple[int, ...]:
    """Return how many pixels a box has along each axis."""
    return tuple(stop - start for start, stop in box)


def box_pixels(box: Box) -> int:
    """Return how many pixels a box has."""
    return math.prod(box_shape(box))


def read_box(
    plane: PlaneIndex,
    source: ByteSource,
    box: Box,
    *,
    cache: TileCache | None = None,
    token: str = "",
    keep: bool = True,
) -> npt.NDArray[Any]:
    """Read the pixels of a box.

    Parameters
    ----------
    plane
        The image.
    source
        Its file.
    box
        Within the image.
    cache
        Of unpacked tiles.
    token
        Names the file and its version in the cache.
    keep
        Whether tiles that are unpacked go into the cache.

    Returns
    -------
    ndarray
        Of the shape of the box and of type `PlaneIndex.dtype`; it belongs to the caller.

    Raises
    ------
    BadParameterError
        Raised if the box does not lie within the image.
    ImageInvalidError
        Raised if the file is broken.
    """
    inside = len(box) == len(plane.shape) and all(
        0 <= start <= stop <= length
        for (start, stop), length in zip(box, plane.shape, strict=False)
    )
    if not inside:
        raise BadParameterError(f"The box {box} does not lie in an image of {plane.shape} pixels.")
    if box_pixels(box) == 0:
        return np.empty(box_shape(box), dtype=plane.dtype)
    if plane.tiles is None:
        return _scale(plane, _read_plain(plane, source, box))
    stored = _read_tiles(plane, source, box, cache, token, keep=keep)
    return _scale(plane, stored) if plane.is_scaled else stored


def tiles_of_box(plane: PlaneIndex, box: Box) -> npt.NDArray[np.int64]:
    """Return the numbers of the tiles that a box of a compressed image needs."""
    return np.array([number for number, _ in _tile_places(plane, box)], dtype=np.int64)


def _read_plain(plane: PlaneIndex, source: ByteSource, box: Box) -> npt.NDArray[Any]:
    """Read an image that is not compressed: runs of pixels that follow each other in the file."""
    dtype, shape = plane.stored_dtype, plane.shape
    extent = box_shape(box)
    # Axes from `inner` on are taken whole, so that one run goes over all of them.
    inner = len(shape) - 1
    while inner > 0 and box[inner] == (0, shape[inner]):
        inner -= 1
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    run = math.prod(extent[inner:])
    starts = np.array([box[inner][0] * strides[inner]], dtype=np.int64)
    for axis in range(inner - 1, -1, -1):
        steps = np.arange(*box[axis], dtype=np.int64) * strides[axis]
        starts = (steps[:, np.newaxis] + starts[np.newaxis]).ravel()
    offsets = plane.data_offset + starts * dtype.itemsize
    size = run * dtype.itemsize
    parts = source.read_ranges([(offset, size) for offset in offsets.tolist()])
    raw = parts[0] if len(parts) == 1 else b"".join(parts)
    return np.frombuffer(raw, dtype=dtype).reshape(extent)


def _read_tiles(
    plane: PlaneIndex,
    source: ByteSource,
    box: Box,
    cache: TileCache | None,
    token: str,
    *,
    keep: bool,
) -> npt.NDArray[Any]:
    assert plane.tiles is not None  # noqa: S101 - asked by the caller
    result = np.empty(box_shape(box), dtype=plane.stored_dtype.newbyteorder("="))
    missing: list[tuple[int, Box]] = []
    for number, place in _tile_places(plane, box):
        tile = cache.get((token, plane.hdu, number)) if cache is not None else None
        if tile is None:
            missing.append((number, place))
        else:
            _paste(plane.tiles, number, result, box, tile, place)
    ranges = [
        (int(plane.tiles.offset[number]), int(plane.tiles.length[number])) for number, _ in missing
    ]
    for first in range(0, len(missing), _TILES_AT_ONCE):
        some = slice(first, first + _TILES_AT_ONCE)
        for (number, place), data in zip(
            missing[some], source.read_ranges(ranges[some]), strict=True
        ):
            key = (token, plane.hdu, number)
            tile = _decode(plane, key, data, box_shape(place), cache, keep=keep)
            _paste(plane.tiles, number, result, box, tile, place)
    return result


def _decode(
    plane: PlaneIndex,
    key: tuple[str, int, int],
    data: bytes,
    shape: tuple[int, ...],
    cache: TileCache | None,
    *,
    keep: bool,
) -> npt.NDArray[Any]:
    assert plane.tiles is not None  # noqa: S101 - asked by the caller
    if cache is None:
        return unpack_tile(plane.tiles, key[2], data, shape, plane.bitpix)
    reason = cache.why_broken(key)
    if reason is not None:
        raise ImageInvalidError(reason)
    try:
        tile = unpack_tile(plane.tiles, key[2], data, shape, plane.bitpix)
    except ImageInvalidError as exc:
        cache.put_broken(key, exc.message)
        raise
    if keep:
        cache.put(key, tile)
    return tile


_TILES_AT_ONCE: Final = 1024


def _tile_places(plane: PlaneIndex, box: Box) -> list[tuple[int, Box]]:
    """Return number and place of each tile that a box touches."""
    assert plane.tiles is not None  # noqa: S101 - asked by the caller
    number_step = 1
    axes: list[list[tuple[int, tuple[int, int]]]] = []
    for (start, stop), length, tile in zip(
        reversed(box), reversed(plane.shape), reversed(plane.tiles.shape), strict=True
    ):
        axes.append(
            [
                (i * number_step, (i * tile, min((i + 1) * tile, length)))
                for i in range(start // tile, -(-stop // tile))
            ]
        )
        number_step *= -(-length // tile)
    axes.reverse()
    return [
        (sum(number for number, _ in parts), tuple(place for _, place in parts))
        for parts in itertools.product(*axes)
    ]


def _paste(
    tiles: TileIndex,
    number: int,
    result: npt.NDArray[Any],
    box: Box,
    tile: npt.NDArray[Any],
    place: Box,
) -> None:
    """Copy what a tile at `place` has of the box."""
    to: list[slice] = []
    of: list[slice] = []
    for (start, stop), (tile_start, tile_stop) in zip(box, place, strict=True):
        first, last = max(start, tile_start), min(stop, tile_stop)
        to.append(slice(first - start, last - start))
        of.append(slice(first - tile_start, last - tile_start))
    if is_quantised_tile(tiles, number):
        dequantise(tiles, number, tile, tuple(of), result[tuple(to)])
    else:
        result[tuple(to)] = tile[tuple(of)]


def _scale(plane: PlaneIndex, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Apply BSCALE, BZERO and BLANK (FITS 4.0, section 4.4.2.5)."""
    target = plane.dtype
    if not plane.is_scaled:
        return stored.astype(target)
    if plane.offset_dtype is not None:
        # An offset of half the range turns the highest bit round.
        unsigned = stored.astype(np.dtype(f"u{target.itemsize}"))
        top = np.array(1 << (8 * target.itemsize - 1), dtype=unsigned.dtype)
        return np.asarray((unsigned ^ top).view(target))
    blanked = None
    if plane.blank is not None and plane.bitpix > 0:
        blanked = stored == plane.blank
    result = stored.astype(target)
    if plane.bscale != 1.0:
        np.multiply(result, plane.bscale, result)
    if plane.bzero != 0.0:
        result += plane.bzero
    if blanked is not None:
        result[blanked] = np.nan
    return result
