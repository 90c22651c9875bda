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
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.io.fits.hdu.compressed import _compression as compiled

from astrolabe.core.errors import ImageInvalidError
from astrolabe.images.fits.tiles import Compression, Dither, Packing, TileIndex

__all__ = ["decode_tile"]

_HCOMPRESS_LOCK: Final = threading.Lock()
_HCOMPRESS_MAGIC: Final = b"\xdd\x99"
_DITHER_CODE: Final = {Dither.SUBTRACTIVE_1: 1, Dither.SUBTRACTIVE_2: 2}
_GZIP_WINDOW: Final = 32 + zlib.MAX_WBITS  # zlib and gzip headers alike
_BYTE_PIX: Final = frozenset({1, 2, 4})


def decode_tile(
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
        Pixels as FITS stores them, before BSCALE and BZERO, in the machine's byte order; floats
        are no longer quantised, what was blank in them is NaN.

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
    blank = tiles.blank if not isinstance(tiles.blank, np.ndarray) else int(tiles.blank[number])
    if not tiles.is_quantised:
        if blank is not None and target.kind == "f":
            blanked = values == blank
            result = values.astype(target)
            result[blanked] = np.nan
            return result
        return values.astype(target, copy=False)
    return _dequantise(tiles, number, values, blank, target)


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


def _dequantise(
    tiles: TileIndex,
    number: int,
    values: npt.NDArray[Any],
    blank: int | None,
    target: np.dtype[Any],
) -> npt.NDArray[Any]:
    if tiles.scale is None or tiles.zero is None or target.kind != "f":
        raise ImageInvalidError("Only floating-point images can be quantised.")
    scale, zero = float(tiles.scale[number]), float(tiles.zero[number])
    blanked = None if blank is None else values == blank
    if tiles.dither is Dither.NONE:
        result = (values * scale + zero).astype(target, copy=False)
    else:
        unquantise = (
            compiled.unquantize_float_c if target.itemsize == 4 else (compiled.unquantize_double_c)
        )
        native = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
        data = unquantise(
            native.tobytes(), number + tiles.seed, native.size, scale, zero,
            _DITHER_CODE[tiles.dither], 0, 0, 0.0, native.dtype.itemsize,
        )  # fmt: skip
        result = np.frombuffer(bytearray(data), dtype=target).reshape(values.shape)
    if blanked is not None and blanked.any():
        result[blanked] = np.nan
    return result


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
