"""What is kept of a file so that a cutout reads neither its headers nor its tables of tiles.

The index is written when the file is imported.  It holds the header of each HDU, where pixels lie,
and for images compressed by tiles where each tile lies and how it is to be scaled.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from astrolabe.core.errors import ImageInvalidError
from astrolabe.images.files import ByteSource
from astrolabe.images.fits.cards import FitsHeader
from astrolabe.images.fits.headers import Hdu, scan_hdus
from astrolabe.images.fits.tiles import TileIndex, image_header, read_tile_index
from astrolabe.images.fits.wcs_tables import read_wcs_tables

__all__ = ["MAX_AXES", "FileIndex", "PlaneIndex", "build_index"]

MAX_AXES: Final = 8
"""An image of more axes is refused."""

_MAGIC: Final = b"ALFI0001"
_HEAD: Final = struct.Struct("<8sQQ")
_INDEX_LIMIT: Final = 1 << 30  # of an unpacked index (bytes)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PlaneIndex:
    """One image of a file.

    Parameters
    ----------
    hdu
        Its number, the primary one being 0.
    name
        EXTNAME, or nothing.
    header
        Of the image; of a compressed one as it is after decompression.
    shape
        Pixels along each axis in NumPy's order, the last axis being x.
    bitpix
        Of the pixels as they are stored (after decompression).
    bscale, bzero, blank
        Scaling of stored pixels, and the stored integer that stands for no value.
    data_offset
        Of the first pixel of an image that is not compressed (bytes).
    tiles
        Where the tiles of a compressed image are.
    wcs_tables
        HDUs, as a FITS file of their own, that the WCS of this image refers to (look-up tables of
        distortions, ``-TAB`` axes); mostly empty.
    """

    hdu: int
    name: str
    header: FitsHeader
    shape: tuple[int, ...]
    bitpix: int
    bscale: float = 1.0
    bzero: float = 0.0
    blank: int | None = None
    data_offset: int
    tiles: TileIndex | None = None
    wcs_tables: bytes = b""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels as they are read: scaled, in the machine's byte order.

        Integers that FITS keeps with an offset become unsigned (or signed bytes); others with
        scaling or with BLANK become float32 (8 and 16 bit) or float64, BLANK being NaN.
        """
        if self.offset_dtype is not None:
            return self.offset_dtype
        if self.is_scaled and self.bitpix > 0:
            return np.dtype(np.float64 if self.bitpix > 16 else np.float32)
        return np.dtype(self.stored_dtype.newbyteorder("="))

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """Type of the pixels as they are stored (big-endian)."""
        return np.dtype(_DTYPES[self.bitpix])

    @property
    def offset_dtype(self) -> np.dtype[Any] | None:
        """The integer type that BZERO alone stands for (FITS 4.0, table 11), if it does."""
        if self.bscale != 1.0:
            return None
        return _OFFSET_DTYPES.get((self.bitpix, self.bzero))

    @property
    def is_scaled(self) -> bool:
        """Whether stored pixels are something else than what is read."""
        has_blank = self.blank is not None and self.bitpix > 0
        return self.bscale != 1.0 or self.bzero != 0.0 or has_blank

    @property
    def size_bytes(self) -> int:
        """Memory of all pixels as they are read."""
        pixels = 1
        for length in self.shape:
            pixels *= length
        return pixels * self.dtype.itemsize


_DTYPES: Final = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
_OFFSET_DTYPES: Final[dict[tuple[int, float], np.dtype[Any]]] = {
    (8, -128.0): np.dtype(np.int8),
    (16, 32768.0): np.dtype(np.uint16),
    (32, 2147483648.0): np.dtype(np.uint32),
    (64, 9223372036854775808.0): np.dtype(np.uint64),
}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FileIndex:
    """All images of a file.

    Parameters
    ----------
    size
        Of the file (bytes); an index serves no file of another size.
    planes
        The images by the number of their HDU.
    headers
        Of all HDUs, tables included, as they are in the file.
    """

    size: int
    planes: Mapping[int, PlaneIndex]
    headers: tuple[FitsHeader, ...] = field(default=())

    def plane(self, hdu: int) -> PlaneIndex:
        """Return the image of an HDU.

        Raises
        ------
        ImageInvalidError
            Raised if that HDU has none.
        """
        found = self.planes.get(hdu)
        if found is None:
            there = ", ".join(map(str, self.planes)) or "none"
            raise ImageInvalidError(f"HDU {hdu} holds no image; those of the file are: {there}.")
        return found

    def to_bytes(self) -> bytes:
        """Return the index as it is kept in a file: a few kB, by zstd."""
        arrays: list[bytes] = []
        document = {
            "size": self.size,
            "planes": [_pack_plane(plane, arrays) for plane in self.planes.values()],
            # A compressed image's header is kept once more as it is in the file: 1 kB after zstd.
            "headers": [header.text for header in self.headers],
        }
        text = json.dumps(document, separators=(",", ":")).encode("ascii")
        body = b"".join([text, *arrays])
        packed: bytes = _codec().compress(body, asbytes=True)
        return _HEAD.pack(_MAGIC, len(text), len(body)) + packed

    @classmethod
    def from_bytes(cls, data: bytes) -> FileIndex:
        """Return the index that `to_bytes` gave.

        Raises
        ------
        ImageInvalidError
            Raised if `data` is no such index.
        """
        try:
            magic, text_size, size = _HEAD.unpack_from(data)
            if magic != _MAGIC or not text_size <= size <= _INDEX_LIMIT:
                raise ImageInvalidError("This is no index of an image of this version.")
            body = memoryview(_codec().decompress(data[_HEAD.size :], size, asbytes=True))
            document = json.loads(bytes(body[:text_size]))
            arrays = _Arrays(body[text_size:])
            planes = [_unpack_plane(entry, arrays) for entry in document["planes"]]
            return cls(
                size=document["size"],
                planes={plane.hdu: plane for plane in planes},
                headers=tuple(FitsHeader.from_text(text) for text in document["headers"]),
            )
        except (struct.error, ValueError, KeyError, TypeError, OSError, pa.ArrowException) as exc:
            raise ImageInvalidError(f"The index of an image is broken: {exc}.") from exc


def build_index(source: ByteSource) -> FileIndex:
    """Read headers and tables of tiles of a file, and none of its pixels.

    Parameters
    ----------
    source
        The file.

    Returns
    -------
    FileIndex
        Perhaps without images: tables are passed over.

    Raises
    ------
    ImageInvalidError
        Raised if the file is no FITS file, is broken or ends before its data do.
    """
    hdus = scan_hdus(source)
    planes: dict[int, PlaneIndex] = {}
    for hdu in hdus:
        if not hdu.is_image:
            continue
        try:
            planes[hdu.number] = _read_plane(source, hdu, hdus)
        except ImageInvalidError as exc:
            raise ImageInvalidError(f"HDU {hdu.number}: {exc.message}") from exc
    return FileIndex(size=source.size, planes=planes, headers=tuple(h.header for h in hdus))


def _read_plane(source: ByteSource, hdu: Hdu, hdus: tuple[Hdu, ...]) -> PlaneIndex:
    header = image_header(hdu.header) if hdu.is_compressed else hdu.header
    axes = header.integer("NAXIS")
    if not 1 <= axes <= MAX_AXES:
        raise ImageInvalidError(f"The image has {axes} axes; it may have from 1 to {MAX_AXES}.")
    shape = tuple(header.integer(f"NAXIS{i}") for i in range(axes, 0, -1))
    if min(shape) < 1:
        raise ImageInvalidError(f"The image has no pixels: its shape is {shape}.")
    bitpix = header.integer("BITPIX")
    if bitpix not in _DTYPES:
        raise ImageInvalidError(f"BITPIX is {bitpix}; it must be one of 8 16 32 64 -32 -64.")
    blank = header.get("BLANK")
    return PlaneIndex(
        hdu=hdu.number,
        name=str(header.get("EXTNAME", "")).strip(),
        header=header,
        shape=shape,
        bitpix=bitpix,
        bscale=float(header.number("BSCALE", 1.0)),
        bzero=float(header.number("BZERO", 0.0)),
        blank=blank if isinstance(blank, int) and bitpix > 0 else None,
        data_offset=hdu.data_offset,
        tiles=read_tile_index(source, hdu, shape) if hdu.is_compressed else None,
        wcs_tables=read_wcs_tables(source, header, hdus),
    )


def _pack_plane(plane: PlaneIndex, arrays: list[bytes]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        name: getattr(plane, name)
        for name in ("hdu", "name", "shape", "bitpix", "bscale", "bzero", "blank", "data_offset")
    }
    entry["header"] = plane.header.text
    entry["wcs_tables"] = len(plane.wcs_tables)
    arrays.append(plane.wcs_tables)
    entry["tiles"] = None if plane.tiles is None else plane.tiles.pack(arrays)
    return entry


def _unpack_plane(entry: dict[str, Any], arrays: _Arrays) -> PlaneIndex:
    tables = bytes(arrays.take(entry.pop("wcs_tables")))
    tiles = entry.pop("tiles")
    return PlaneIndex(
        header=FitsHeader.from_text(entry.pop("header")),
        shape=tuple(entry.pop("shape")),
        wcs_tables=tables,
        tiles=None if tiles is None else TileIndex.unpack(tiles, arrays.array),
        **entry,
    )


class _Arrays:
    """Hands out what was packed, in its order."""

    def __init__(self, body: memoryview) -> None:
        self._body, self._place = body, 0

    def take(self, size: int) -> memoryview:
        part = self._body[self._place : self._place + size]
        if len(part) != size:
            raise ImageInvalidError("The index of an image is cut off.")
        self._place += size
        return part

    def array(self, dtype: str, count: int) -> npt.NDArray[Any]:
        kind = np.dtype(dtype)
        return np.frombuffer(self.take(kind.itemsize * count), dtype=kind)


def _codec() -> pa.Codec:
    return pa.Codec("zstd", compression_level=6)
