"""Images compressed by tiles (FITS 4.0, section 10): where each tile is and how it is packed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from astrolabe.core.errors import ImageInvalidError
from astrolabe.images.files import ByteSource
from astrolabe.images.fits.cards import FitsHeader, format_card
from astrolabe.images.fits.headers import Hdu

__all__ = [
    "MAX_TILE_PIXELS",
    "Compression",
    "Dither",
    "Packing",
    "TileIndex",
    "image_header",
    "read_tile_index",
]

MAX_TILE_PIXELS: Final = 1 << 25
"""A tile of more pixels is refused: a few bytes may stand for all of them."""
MAX_TILES: Final = 1 << 26
"""An image of more tiles is refused."""

Int64s = npt.NDArray[np.int64]


class Compression(StrEnum):
    """ZCMPTYPE."""

    RICE_1 = "RICE_1"
    GZIP_1 = "GZIP_1"
    GZIP_2 = "GZIP_2"
    PLIO_1 = "PLIO_1"
    HCOMPRESS_1 = "HCOMPRESS_1"
    NOCOMPRESS = "NOCOMPRESS"


class Dither(StrEnum):
    """How floats were made integers: ZQUANTIZ."""

    NONE = "NO_DITHER"
    SUBTRACTIVE_1 = "SUBTRACTIVE_DITHER_1"
    SUBTRACTIVE_2 = "SUBTRACTIVE_DITHER_2"


class Packing(IntEnum):
    """The column in which a tile's bytes are."""

    COMPRESSED = 0
    GZIP = 1
    RAW = 2


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TileIndex:
    """All tiles of an image; arrays (n,) in the order of the tiles, x running fastest.

    Parameters
    ----------
    compression
        Of the tiles in the column COMPRESSED_DATA.
    shape
        Of a tile in NumPy's order; those at the far edges are smaller.
    offset, length
        Of each tile's bytes in the file.
    packing
        `Packing` of each tile; `None` if all are COMPRESSED.
    item_size
        Bytes of an element of COMPRESSED_DATA: 2 where it holds 16-bit integers (PLIO).
    raw_dtype
        Type of the pixels of `Packing.RAW` tiles, big-endian.
    scale, zero
        Of quantised floats; `None` where pixels are kept without loss.
    blank
        The quantised integer that stands for NaN, of each tile or of all; `None` if none does.
    dither
        How floats were quantised.
    seed
        ZDITHER0.
    block_size, byte_pix
        Of Rice's algorithm.
    smooth
        Whether HCOMPRESS smoothes.
    h_scale
        HCOMPRESS's scale.
    """

    compression: Compression
    shape: tuple[int, ...]
    offset: Int64s
    length: Int64s
    packing: npt.NDArray[np.uint8] | None = None
    item_size: int = 1
    raw_dtype: str = ""
    scale: npt.NDArray[np.float64] | None = None
    zero: npt.NDArray[np.float64] | None = None
    blank: npt.NDArray[np.int32] | int | None = None
    dither: Dither = Dither.NONE
    seed: int = 0
    block_size: int = 32
    byte_pix: int = 4
    smooth: int = 0
    h_scale: int = 0

    @property
    def is_quantised(self) -> bool:
        """Whether floats are kept as scaled integers."""
        return self.scale is not None

    def pack(self, arrays: list[bytes]) -> dict[str, Any]:
        """Return what is needed to make this again; arrays are appended to `arrays`."""
        entry: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN}
        for name, dtype in _ARRAYS.items():
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                arrays.append(np.ascontiguousarray(value, dtype=dtype).tobytes())
                value = {"count": len(value)}
            entry[name] = value
        return entry

    @classmethod
    def unpack(
        cls, entry: dict[str, Any], take: Callable[[str, int], npt.NDArray[Any]]
    ) -> TileIndex:
        """Return the tiles that `pack` described; `take` gives the arrays in their order."""
        made = {name: entry[name] for name in _PLAIN}
        for name, dtype in _ARRAYS.items():
            value = entry[name]
            made[name] = take(dtype, value["count"]) if isinstance(value, dict) else value
        made["shape"] = tuple(made["shape"])
        made["compression"] = Compression(made["compression"])
        made["dither"] = Dither(made["dither"])
        return cls(**made)


_PLAIN: Final = (
    "compression",
    "shape",
    "item_size",
    "raw_dtype",
    "dither",
    "seed",
    "block_size",
    "byte_pix",
    "smooth",
    "h_scale",
)
_ARRAYS: Final = {
    "offset": "<i8",
    "length": "<i8",
    "packing": "<u1",
    "scale": "<f8",
    "zero": "<f8",
    "blank": "<i4",
}

_RENAMED: Final = {
    "ZSIMPLE": "SIMPLE",
    "ZTENSION": "XTENSION",
    "ZEXTEND": "EXTEND",
    "ZBLOCKED": "BLOCKED",
    "ZHECKSUM": "CHECKSUM",
    "ZDATASUM": "DATASUM",
}
_OF_TABLE: Final = re.compile(
    r"(XTENSION|SIMPLE|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TFIELDS|THEAP|EXTEND|BLOCKED|CHECKSUM|DATASUM"
    r"|(TTYPE|TFORM|TUNIT|TNULL|TSCAL|TZERO|TDISP|TDIM|TBCOL)\d+"
    r"|Z(IMAGE|CMPTYPE|MASKCMP|QUANTIZ|DITHER0|BLANK|SCALE|ZERO|BITPIX|PCOUNT|GCOUNT|SIMPLE|TENSION"
    r"|EXTEND|BLOCKED|HECKSUM|DATASUM)|Z(NAXIS|TILE|NAME|VAL)\d*)\Z"
)


def image_header(table: FitsHeader) -> FitsHeader:
    """Return the header of a compressed image as it was before it was compressed.

    Parameters
    ----------
    table
        The header of the binary table (FITS 4.0, section 10.1.1).
    """
    axes = table.integer("ZNAXIS")
    primary = "ZSIMPLE" in table
    bitpix = table.integer("ZBITPIX")
    cards = [
        format_card("SIMPLE", value=True) if primary else format_card("XTENSION", "IMAGE"),
        format_card("BITPIX", bitpix),
        format_card("NAXIS", axes),
    ]
    if not 0 <= axes <= 999:
        raise ImageInvalidError(f"ZNAXIS is {axes}; it must be from 0 to 999.")
    cards += [format_card(f"NAXIS{i}", table.integer(f"ZNAXIS{i}")) for i in range(1, axes + 1)]
    if not primary:
        cards += [format_card("PCOUNT", 0), format_card("GCOUNT", 1)]
    for keyword, card in zip(table, table.cards, strict=True):
        if keyword == "EXTNAME" and table.get("EXTNAME") == "COMPRESSED_IMAGE":
            continue
        if keyword in _RENAMED and keyword not in {"ZSIMPLE", "ZTENSION"}:
            cards.append(_RENAMED[keyword].ljust(8) + card[8:])
        elif not _OF_TABLE.match(keyword):
            cards.append(card)
    header = FitsHeader(cards)
    if bitpix > 0 and "BLANK" not in header:
        blank = table.get("ZBLANK")
        if blank is None and "ZBLANK" in _column_names(table):
            blank = -(1 << (bitpix - 1))
        if blank is not None:
            header = header.replaced({"BLANK": blank})
    return header


def read_tile_index(source: ByteSource, hdu: Hdu, shape: tuple[int, ...]) -> TileIndex:
    """Read the table of the tiles of a compressed image.

    Parameters
    ----------
    source
        The file.
    hdu
        The binary table.
    shape
        Of the image, in NumPy's order.

    Raises
    ------
    ImageInvalidError
        Raised if the table cannot be that of an image of this shape.
    """
    header = hdu.header
    compression = _compression(header)
    tile_shape = _tile_shape(header, shape)
    rows = math.prod(-(-length // tile) for length, tile in zip(shape, tile_shape, strict=True))
    width, count = header.integer("NAXIS1"), header.integer("NAXIS2")
    if count < rows or rows > MAX_TILES:
        raise ImageInvalidError(
            f"An image of the shape {shape} has {rows:,} tiles of {tile_shape}, but its table has "
            f"{count:,} rows (at most {MAX_TILES:,} are read)."
        )
    columns = _columns(header, width)
    table = np.frombuffer(source.read(hdu.data_offset, width * rows), dtype=np.uint8)
    rows_of = table.reshape(rows, width)
    heap = hdu.data_offset + header.integer("THEAP", width * count)
    found = _Descriptors(rows_of, columns, heap, hdu.data_offset + hdu.data_size)
    offset, length, packing = found.places()
    settings = _settings(header)
    scale, zero, blank = _quantisation(header, found, rows)
    return TileIndex(
        compression=compression,
        shape=tile_shape,
        offset=offset,
        length=length,
        packing=packing,
        item_size=found.item_size("COMPRESSED_DATA"),
        raw_dtype=found.raw_dtype(),
        scale=scale,
        zero=zero,
        blank=blank,
        dither=_dither(header),
        seed=header.integer("ZDITHER0", 0),
        block_size=int(settings.get("BLOCKSIZE", 32)),
        byte_pix=int(settings.get("BYTEPIX", 4)),
        smooth=int(settings.get("SMOOTH", 0)),
        h_scale=int(settings.get("SCALE", 0)),
    )


def _quantisation(
    header: FitsHeader, found: _Descriptors, rows: int
) -> tuple[
    npt.NDArray[np.float64] | None,
    npt.NDArray[np.float64] | None,
    npt.NDArray[np.int32] | int | None,
]:
    """Return scale and zero of each tile, and what stands for no value."""
    scale, zero = found.values("ZSCALE", "<f8"), found.values("ZZERO", "<f8")
    if scale is None and zero is None and "ZSCALE" in header:
        # One scale for the whole image stands in the header.
        scale = np.full(rows, float(header.number("ZSCALE", 1.0)))
        zero = np.full(rows, float(header.number("ZZERO", 0.0)))
    if (scale is None) != (zero is None):
        raise ImageInvalidError("The image has one of ZSCALE and ZZERO without the other.")
    blank = found.values("ZBLANK", "<i4")
    if blank is None:
        blank = header.get("ZBLANK", header.get("BLANK"))
        if blank is not None and not isinstance(blank, int):
            raise ImageInvalidError(f"ZBLANK or BLANK is {blank!r}, which is no integer.")
    return scale, zero, blank


@dataclass(frozen=True, slots=True)
class _Column:
    start: int
    code: str
    descriptor: str  # "P" or "Q", or nothing for a plain column


class _Descriptors:
    """Reads the columns of a table of tiles."""

    def __init__(
        self, rows: npt.NDArray[np.uint8], columns: dict[str, _Column], heap: int, end: int
    ) -> None:
        self._rows, self._columns, self._heap, self._end = rows, columns, heap, end

    def places(self) -> tuple[Int64s, Int64s, npt.NDArray[np.uint8] | None]:
        """Return offset and length (bytes) of each tile in the file, and its packing."""
        found = self._place("COMPRESSED_DATA")
        if found is None:
            raise ImageInvalidError("The compressed image has no column COMPRESSED_DATA.")
        offset, length = found
        packing = np.zeros(len(offset), dtype=np.uint8)
        for name, kind in (
            ("GZIP_COMPRESSED_DATA", Packing.GZIP),
            ("UNCOMPRESSED_DATA", Packing.RAW),
        ):
            other = self._place(name)
            if other is None:
                continue
            use = (length == 0) & (other[1] > 0)
            offset, length = np.where(use, other[0], offset), np.where(use, other[1], length)
            packing[use] = kind
        if (length <= 0).any() or (offset < self._heap).any():
            raise ImageInvalidError("A tile of the compressed image has no bytes.")
        if (length > self._end).any() or (offset > self._end - length).any():
            raise ImageInvalidError(
                "A tile of the compressed image lies beyond the end of its data: the file is "
                "truncated or its table is broken."
            )
        return offset, length, packing if packing.any() else None

    def values(self, name: str, dtype: str) -> npt.NDArray[Any] | None:
        """Return a column of numbers, if it is there."""
        column = self._columns.get(name)
        if column is None:
            return None
        kind = np.dtype(_NUMBERS[column.code])
        return self._bytes(column.start, kind.itemsize).view(kind).ravel().astype(dtype)

    def item_size(self, name: str) -> int:
        return np.dtype(_NUMBERS[self._columns[name].code]).itemsize

    def raw_dtype(self) -> str:
        column = self._columns.get("UNCOMPRESSED_DATA")
        return "" if column is None else _NUMBERS[column.code]

    def _place(self, name: str) -> tuple[Int64s, Int64s] | None:
        column = self._columns.get(name)
        if column is None:
            return None
        if not column.descriptor:
            raise ImageInvalidError(f"The column {name} has no arrays of variable length.")
        kind = ">i4" if column.descriptor == "P" else ">i8"
        pair = self._bytes(column.start, 2 * np.dtype(kind).itemsize).view(kind)
        size = np.dtype(_NUMBERS[column.code]).itemsize
        elements = pair[:, 0].astype(np.int64)
        if (elements < 0).any() or (elements > self._end).any():
            raise ImageInvalidError(f"The column {name} has an array that the file cannot hold.")
        return pair[:, 1].astype(np.int64) + self._heap, elements * size

    def _bytes(self, start: int, size: int) -> npt.NDArray[np.uint8]:
        return np.ascontiguousarray(self._rows[:, start : start + size])


_NUMBERS: Final = {
    "B": ">u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8",
}  # fmt: skip
_SIZES: Final = {"L": 1, "X": 1, "B": 1, "A": 1, "I": 2, "J": 4, "E": 4, "K": 8, "D": 8, "C": 8,
                 "M": 16, "P": 8, "Q": 16}  # fmt: skip
_FORM: Final = re.compile(r"(\d*)([LXBAIJEKDCMPQ])([LXBAIJEKDCM]?)")


def _columns(header: FitsHeader, width: int) -> dict[str, _Column]:
    """Return the columns that tiles need, with the byte at which each begins in a row."""
    count = header.integer("TFIELDS")
    if not 0 <= count <= 999:
        raise ImageInvalidError(f"TFIELDS is {count}; it must be from 0 to 999.")
    columns: dict[str, _Column] = {}
    start = 0
    for i in range(1, count + 1):
        form = str(header.get(f"TFORM{i}", "")).strip()
        parts = _FORM.match(form)
        if parts is None:
            raise ImageInvalidError(f"TFORM{i} is {form!r}, which is no format of a column.")
        repeat = int(parts[1]) if parts[1] else 1
        descriptor = parts[2] if parts[2] in "PQ" else ""
        code = parts[3] if descriptor else parts[2]
        name = str(header.get(f"TTYPE{i}", "")).strip().upper()
        size = -(-repeat // 8) if parts[2] == "X" else repeat * _SIZES[parts[2]]
        if name in _NEEDED:
            if code not in _NUMBERS or repeat != 1:
                raise ImageInvalidError(f"The column {name} has the format {form!r}.")
            columns[name] = _Column(start, code, descriptor)
        start += size
    if start > width:
        raise ImageInvalidError(f"The columns need {start} bytes a row, but NAXIS1 is {width}.")
    return columns


_NEEDED: Final = frozenset(
    ["COMPRESSED_DATA", "GZIP_COMPRESSED_DATA", "UNCOMPRESSED_DATA", "ZSCALE", "ZZERO", "ZBLANK"]
)


def _column_names(header: FitsHeader) -> frozenset[str]:
    count = header.integer("TFIELDS", 0)
    return frozenset(
        str(header.get(f"TTYPE{i}", "")).strip().upper() for i in range(1, min(count, 999) + 1)
    )


def _compression(header: FitsHeader) -> Compression:
    name = str(header.get("ZCMPTYPE", "")).strip().upper()
    name = "RICE_1" if name == "RICE_ONE" else name
    try:
        return Compression(name)
    except ValueError:
        raise ImageInvalidError(
            f"ZCMPTYPE is {name!r}; known are {', '.join(Compression)}."
        ) from None


def _dither(header: FitsHeader) -> Dither:
    name = str(header.get("ZQUANTIZ", Dither.NONE)).strip().upper()
    try:
        return Dither.NONE if name == "NONE" else Dither(name)
    except ValueError:
        raise ImageInvalidError(f"ZQUANTIZ is {name!r}; known are {', '.join(Dither)}.") from None


def _tile_shape(header: FitsHeader, shape: tuple[int, ...]) -> tuple[int, ...]:
    axes = len(shape)
    default = [shape[-1]] + [1] * (axes - 1)
    tile = [header.integer(f"ZTILE{i}", default[i - 1]) for i in range(1, axes + 1)]
    tile_shape = tuple(reversed(tile))
    if min(tile_shape) < 1:
        raise ImageInvalidError(f"A tile has the shape {tile_shape}.")
    real = tuple(min(t, s) for t, s in zip(tile_shape, shape, strict=True))
    if math.prod(real) > MAX_TILE_PIXELS:
        raise ImageInvalidError(
            f"A tile has {math.prod(real):,} pixels; at most {MAX_TILE_PIXELS:,} are unpacked at "
            "once."
        )
    return real


def _settings(header: FitsHeader) -> dict[str, float]:
    found: dict[str, float] = {}
    for i in range(1, 1000):
        name = header.get(f"ZNAME{i}")
        if name is None:
            break
        found[str(name).strip().upper()] = header.number(f"ZVAL{i}", 0)
    return found
