"""Unpacks tiles with the codecs that astropy compiles from CFITSIO, guarded against broken bytes.

Those are private to astropy but have no public door, and going through `astropy.io.fits` for each
cutout costs several milliseconds.  Tests hold every result against astropy's own.

The compiled codecs trust the streams: what a stream says of its own size is checked here before.
"""

from __future__ import annotations

import math
import struct
import threading
import zlib
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.io.fits.hdu.compressed import _compression as compiled

from astrolabe.core.errors import ImageInvalidError
from astrolabe.images.fits.tiles import Compression, Dither, Packing, TileIndex

__all__ = ["dequantise", "is_quantised_tile", "unpack_tile"]

_HCOMPRESS_LOCK: Final = threading.Lock()
_HCOMPRESS_MAGIC: Final = b"\xdd\x99"
_GZIP_WINDOW: Final = 32 + zlib.MAX_WBITS  # zlib and gzip headers alike
_BYTE_PIX: Final = frozenset({1, 2, 4})


def unpack_tile(
    tiles: TileIndex, number: int, data: bytes, shape: tuple[int, ...], bitpix: int
) -> npt.NDArray[Any]:
    """Unpack one tile.

    Parameters
    ----------
    tiles
        The tiles of the image.
    number
        Of the tile.
    data
        Its bytes in the file.
    shape
        Of this tile, in NumPy's order.
    bitpix
        ZBITPIX.

    Returns
    -------
    ndarray
        Pixels as FITS stores them, before BSCALE and BZERO, in the machine's byte order; what was
        blank in floats is NaN.  Of a tile that `is_quantised_tile` the integers that `dequantise`
        makes floats of: that costs as much as unpacking, and mostly few pixels are needed.

    Raises
    ------
    ImageInvalidError
        Raised if the bytes are broken.
    """
    try:
        return _decode(tiles, number, data, shape, bitpix)
    except ImageInvalidError:
        raise
    except (ValueError, TypeError, OverflowError, zlib.error, compiled.CfitsioException) as exc:
        raise ImageInvalidError(f"Tile {number} of the image cannot be unpacked: {exc}.") from exc


def is_quantised_tile(tiles: TileIndex, number: int) -> bool:
    """Tell whether a tile holds scaled integers in the place of floats."""
    return tiles.is_quantised and (
        tiles.packing is None or tiles.packing[number] == Packing.COMPRESSED
    )


def dequantise(
    tiles: TileIndex,
    number: int,
    values: npt.NDArray[Any],
    part: tuple[slice, ...],
    out: npt.NDArray[Any],
) -> None:
    """Write the floats of a part of a tile.

    Parameters
    ----------
    tiles
        The tiles of the image.
    number
        Of the tile.
    values
        All its integers, as `unpack_tile` gave them.
    part
        The part, from and to which pixel of the tile along each axis.
    out
        Where its floats go, in the part's shape; what was blank becomes NaN.

    Raises
    ------
    ImageInvalidError
        Raised if the image is none of floats.

    Notes
    -----
    FITS 4.0, section 10.2.  The random numbers that a dither took away depend on a pixel's place
    in its tile, so that those of a part are found without the pixels before it.
    """
    if tiles.scale is None or tiles.zero is None or out.dtype.kind != "f":
        raise ImageInvalidError("Only floating-point images can be quantised.")
    lead = 0
    while lead < values.ndim - 1 and values.shape[lead] == 1:
        lead += 1
    # Tiles of a cube mostly are single planes: their rows are what is gone through.
    values, out, part = values[(0,) * lead], out[(0,) * lead], part[lead:]
    blank = tiles.blank if not isinstance(tiles.blank, np.ndarray) else int(tiles.blank[number])
    scale, zero = float(tiles.scale[number]), float(tiles.zero[number])
    begin, end, _ = part[0].indices(values.shape[0])
    row_pixels = math.prod(values.shape[1:])
    step = max(1, _PIXELS_AT_ONCE // row_pixels)
    for first in range(begin, end, step):
        last = min(first + step, end)
        some = values[(slice(first, last), *part[1:])]
        floats = some.astype(np.float64)
        # What does not fit becomes infinite, as it does in CFITSIO.
        with np.errstate(all="ignore"):
            if tiles.dither is not Dither.NONE:
                dither = _dither(number + tiles.seed, first * row_pixels, last * row_pixels)
                floats -= dither.reshape(last - first, *values.shape[1:])[:, *part[1:]]
                floats += 0.5
            floats *= scale
            floats += zero
            if tiles.dither is Dither.SUBTRACTIVE_2:
                floats[some == _ZERO] = 0.0
            if blank is not None:
                floats[some == blank] = np.nan
            out[first - begin : last - begin] = floats


def _dither(row: int, first: int, last: int) -> npt.NDArray[np.float32]:
    """Return the random numbers of the pixels from `first` to before `last` of a tile.

    Parameters
    ----------
    row
        Of the tile in its table, from 1, with ZDITHER0 - 1 added.
    """
    numbers, begins = _random_numbers()
    seed = (row - 1) % len(numbers)
    parts: list[npt.NDArray[np.float32]] = []
    place = 0
    while place < last:
        run = numbers[begins[seed] :]
        parts.append(run[max(first - place, 0) : last - place])
        place += len(run)
        seed = (seed + 1) % len(numbers)
    return np.concatenate(parts)


@cache
def _random_numbers() -> tuple[npt.NDArray[np.float32], list[int]]:
    """Return the 10,000 numbers of FITS 4.0, appendix I, and where a tile begins for each seed."""
    seed, numbers = 1, []
    for _ in range(_RANDOM_NUMBERS):
        seed = seed * 16807 % 2147483647
        numbers.append(seed / 2147483647)
    made = np.array(numbers, dtype=np.float32)
    return made, (made * np.float32(500.0)).astype(np.int64).tolist()


_RANDOM_NUMBERS: Final = 10_000
_ZERO: Final = -2147483646  # stands for exactly 0 where SUBTRACTIVE_DITHER_2 was used
_PIXELS_AT_ONCE: Final = 1 << 18


def _decode(
    tiles: TileIndex, number: int, data: bytes, shape: tuple[int, ...], bitpix: int
) -> npt.NDArray[Any]:
    packing = Packing.COMPRESSED if tiles.packing is None else Packing(int(tiles.packing[number]))
    target = np.dtype(_NATIVE[bitpix])
    pixels = math.prod(shape)
    if packing is Packing.GZIP:
        raw = _gunzip(data, pixels)
        return _as_numbers(raw, pixels, bitpix, lossless=True).reshape(shape).astype(target)
    if packing is Packing.RAW:
        return np.frombuffer(data, dtype=tiles.raw_dtype).reshape(shape).astype(target)
    values = _unpack(tiles, data, shape, bitpix)
    if tiles.is_quantised:
        if target.kind != "f":
            raise ImageInvalidError("Only floating-point images can be quantised.")
        return values.astype(values.dtype.newbyteorder("="), copy=False)
    blank = tiles.blank if not isinstance(tiles.blank, np.ndarray) else int(tiles.blank[number])
    if blank is not None and target.kind == "f":
        blanked = values == blank
        result = values.astype(target)
        result[blanked] = np.nan
        return result
    return values.astype(target, copy=False)


_NATIVE: Final = {8: "u1", 16: "i2", 32: "i4", 64: "i8", -32: "f4", -64: "f8"}


def _unpack(tiles: TileIndex, data: bytes, shape: tuple[int, ...], bitpix: int) -> npt.NDArray[Any]:
    """Return the numbers of a tile from the column COMPRESSED_DATA."""
    pixels = math.prod(shape)
    lossless = not tiles.is_quantised
    match tiles.compression:
        case Compression.RICE_1:
            return _unrice(tiles, data, pixels).reshape(shape)
        case Compression.GZIP_1:
            raw = _gunzip(data, pixels)
            return _as_numbers(raw, pixels, bitpix, lossless=lossless).reshape(shape)
        case Compression.GZIP_2:
            raw = _gunzip(data, pixels)
            shuffled = np.frombuffer(raw, dtype=np.uint8)
            plain = shuffled.reshape(max(len(raw) // pixels, 1), -1).T.tobytes()
            return _as_numbers(plain, pixels, bitpix, lossless=lossless).reshape(shape)
        case Compression.NOCOMPRESS:
            return _as_numbers(data, pixels, bitpix, lossless=lossless).reshape(shape)
        case Compression.PLIO_1:
            return _unplio(data, pixels).reshape(shape)
        case Compression.HCOMPRESS_1:
            return _unhcompress(tiles, data, shape).reshape(shape)


def _gunzip(data: bytes, pixels: int) -> bytes:
    """Unpack, and refuse more bytes than the widest pixels need."""
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    raw = unpacker.decompress(data, pixels * 8 + 1)
    if len(raw) > pixels * 8:
        raise ImageInvalidError("A tile unpacks to more bytes than its pixels have.")
    return raw


def _as_numbers(raw: bytes, pixels: int, bitpix: int, *, lossless: bool) -> npt.NDArray[Any]:
    """Read big-endian numbers of the width that the count of bytes tells."""
    width = len(raw) // pixels
    if width * pixels != len(raw) or width not in {1, 2, 4, 8}:
        raise ImageInvalidError(f"A tile of {pixels} pixels unpacks to {len(raw)} bytes.")
    kind = "f" if bitpix < 0 and lossless and width >= 4 else "u" if width == 1 else "i"
    return np.frombuffer(raw, dtype=f">{kind}{width}")


def _unrice(tiles: TileIndex, data: bytes, pixels: int) -> npt.NDArray[Any]:
    width = tiles.byte_pix
    if width not in _BYTE_PIX or not 1 <= tiles.block_size <= 1024:
        raise ImageInvalidError(
            f"Rice's algorithm has BYTEPIX {width} and BLOCKSIZE {tiles.block_size}."
        )
    if len(data) < width:
        raise ImageInvalidError("A tile is cut off.")
    try:
        raw = compiled.decompress_rice_1_c(data, tiles.block_size, width, pixels)
    except compiled.CfitsioException as exc:
        raise ImageInvalidError(f"A tile is broken: {exc}.") from exc
    # 8-bit pixels are unsigned in FITS.
    return np.frombuffer(raw, dtype=f"{'u' if width == 1 else 'i'}{width}", count=pixels)


def _unplio(data: bytes, pixels: int) -> npt.NDArray[np.int32]:
    words = np.frombuffer(data[: len(data) // 2 * 2], dtype=">i2").astype(np.int16)
    if len(words) < 5:
        raise ImageInvalidError("A tile is cut off.")
    said = int(words[2]) if words[2] > 0 else (int(words[4]) << 15) + int(words[3])
    if not 0 <= said <= len(words):
        raise ImageInvalidError(f"A tile says that it has {said} words; it has {len(words)}.")
    raw = compiled.decompress_plio_1_c(words.tobytes(), pixels)
    return np.frombuffer(raw, dtype=np.int32, count=pixels)


def _unhcompress(tiles: TileIndex, data: bytes, shape: tuple[int, ...]) -> npt.NDArray[np.int32]:
    sides = tuple(length for length in shape if length != 1)
    if len(sides) != 2 or len(data) < 14 or data[:2] != _HCOMPRESS_MAGIC:
        raise ImageInvalidError("A tile is no HCOMPRESS stream of two axes.")
    # The codec makes room for the sides that we give but fills those that the stream names.
    said = struct.unpack(">ii", data[2:10])
    if said != sides:
        raise ImageInvalidError(f"A tile of {sides} pixels holds a stream of {said}.")
    # It lets go of the interpreter's lock, and keeps its place in variables of the library.
    with _HCOMPRESS_LOCK:
        raw = compiled.decompress_hcompress_1_c(data, *sides, tiles.h_scale, tiles.smooth, 8)
    return np.frombuffer(raw, dtype=np.int32, count=math.prod(sides))
