"""FITS files of cutouts (FITS 4.0), written from the cards of a header and an array.

astropy's HDUs take milliseconds for a header of some hundred cards, because they look at each card.
A cutout's header is that of its image but for a few cards, so here the cards are pasted.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning

from astrolabe.core.errors import BadParameterError
from astrolabe.images.fits.cards import BLOCK, CardValue, FitsHeader, format_card

__all__ = [
    "FitsPlane",
    "Storage",
    "compressed_fits",
    "data_bytes",
    "fits_file",
    "header_block",
    "own_cards",
    "padding",
    "primary_header",
    "storage_of",
    "stored_pixels",
    "structure",
]

AnyArray = npt.NDArray[Any]

_STRUCTURAL: Final = re.compile(
    r"(SIMPLE|XTENSION|BITPIX|NAXIS[0-9]*|EXTEND|PCOUNT|GCOUNT|GROUPS|BSCALE|BZERO|BLANK|EXTNAME"
    r"|EXTVER|EXTLEVEL|INHERIT|CHECKSUM|DATASUM|ZHECKSUM|ZDATASUM|TFIELDS|THEAP|TTYPE[0-9]+"
    r"|TFORM[0-9]+|ZIMAGE|ZTILE[0-9]+|ZCMPTYPE|ZNAME[0-9]+|ZVAL[0-9]+|ZQUANTIZ|ZDITHER0|ZBLANK"
    r"|ZSIMPLE|ZTENSION|ZEXTEND|ZBITPIX|ZNAXIS[0-9]*|ZPCOUNT|ZGCOUNT|END)\Z"
)
_TILE: Final = 128  # of compressed cutouts (pixels)


@dataclass(frozen=True, slots=True)
class Storage:
    """How FITS keeps pixels of one type.

    Parameters
    ----------
    bitpix
        The type in the file.
    stored
        The same as a big-endian type of NumPy.
    bzero
        The offset by which FITS keeps integers whose sign its types do not have (table 11).
    """

    bitpix: int
    stored: np.dtype[Any]
    bzero: int = 0


_STORAGE: Final = {
    "b1": Storage(8, np.dtype(">u1")),
    "u1": Storage(8, np.dtype(">u1")),
    "i1": Storage(8, np.dtype(">u1"), -128),
    "i2": Storage(16, np.dtype(">i2")),
    "u2": Storage(16, np.dtype(">i2"), 2**15),
    "i4": Storage(32, np.dtype(">i4")),
    "u4": Storage(32, np.dtype(">i4"), 2**31),
    "i8": Storage(64, np.dtype(">i8")),
    "u8": Storage(64, np.dtype(">i8"), 2**63),
    "f2": Storage(-32, np.dtype(">f4")),
    "f4": Storage(-32, np.dtype(">f4")),
    "f8": Storage(-64, np.dtype(">f8")),
}


@dataclass(frozen=True, slots=True, eq=False)
class FitsPlane:
    """One image to be written.

    Parameters
    ----------
    name
        Its EXTNAME where it becomes an extension.
    data
        Pixels, the last axis being x.
    header
        All that is to be said of them; what describes the array itself is written anew.
    tables
        HDUs that the header's WCS refers to, each whole blocks long; they go into the same file.
    """

    name: str
    data: AnyArray
    header: FitsHeader
    tables: bytes = b""


def storage_of(dtype: npt.DTypeLike) -> Storage:
    """Return how FITS keeps pixels of a type.

    Raises
    ------
    BadParameterError
        Raised if it has no such type.
    """
    kind = np.dtype(dtype)
    found = _STORAGE.get(f"{kind.kind}{kind.itemsize}")
    if found is None:
        raise BadParameterError(f"FITS images cannot hold pixels of the type {kind}.")
    return found


def structure(
    dtype: npt.DTypeLike, shape: Sequence[int], *, extension: str | None = None
) -> list[str]:
    """Return the cards that describe an array.

    Parameters
    ----------
    dtype
        Of the pixels in memory.
    shape
        Pixels along each axis, the last being x.
    extension
        EXTNAME; `None` in the primary header.
    """
    return list(_structure(np.dtype(dtype), tuple(shape), extension))


@lru_cache(maxsize=256)
def _structure(
    dtype: np.dtype[Any], shape: tuple[int, ...], extension: str | None
) -> tuple[str, ...]:
    storage = storage_of(dtype)
    values: dict[str, CardValue] = {}
    values["SIMPLE" if extension is None else "XTENSION"] = True if extension is None else "IMAGE"
    values |= {"BITPIX": storage.bitpix, "NAXIS": len(shape)}
    values |= {f"NAXIS{n}": length for n, length in enumerate(reversed(shape), start=1)}
    if extension is not None:
        values |= {"PCOUNT": 0, "GCOUNT": 1, "EXTNAME": extension}
    if storage.bzero:
        values |= {"BSCALE": 1, "BZERO": storage.bzero}
    return tuple(format_card(keyword, value) for keyword, value in values.items())


def own_cards(header: FitsHeader) -> list[str]:
    """Return the cards of a header that do not describe its array."""
    cards = header.cards
    return [cards[place] for place in _own_places(header.keywords)]


@lru_cache(maxsize=128)  # the images of a survey have the same keywords
def _own_places(keywords: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(
        place for place, keyword in enumerate(keywords) if _STRUCTURAL.match(keyword) is None
    )


def header_block(cards: Sequence[str]) -> bytes:
    """Return cards as a whole header: END behind them, filled up to full blocks."""
    text = "".join(cards) + "END"
    return text.ljust(len(text) + -len(text) % BLOCK).encode("ascii", "replace")


def primary_header(values: Mapping[str, CardValue]) -> bytes:
    """Return the header of a file whose images are all in extensions."""
    cards = [
        *structure(np.uint8, ()),
        format_card("EXTEND", value=True),
        *(format_card(keyword, value) for keyword, value in values.items()),
    ]
    return header_block(cards)


def padding(size: int) -> bytes:
    """Return what fills data of `size` bytes up to full blocks."""
    return bytes(-size % BLOCK)


def fits_file(planes: Sequence[FitsPlane], *, common: Mapping[str, CardValue]) -> bytes:
    """Return a FITS file of one image, or of several as extensions.

    Parameters
    ----------
    planes
        A single one becomes the primary HDU.
    common
        What is said of all planes, in the primary header.
    """
    if len(planes) == 1:
        plane = planes[0]
        cards = [
            *structure(plane.data.dtype, plane.data.shape),
            *own_cards(plane.header.replaced(common)),
        ]
        if plane.tables:
            cards.insert(2 + plane.data.ndim + 1, format_card("EXTEND", value=True))
        return b"".join([header_block(cards), data_bytes(plane.data), plane.tables])
    parts = [primary_header(common)]
    for plane in planes:
        cards = [
            *structure(plane.data.dtype, plane.data.shape, extension=plane.name),
            *own_cards(plane.header),
        ]
        parts += [header_block(cards), data_bytes(plane.data)]
    # All planes of an image have one WCS: its tables are there once.
    parts.append(next((plane.tables for plane in planes if plane.tables), b""))
    return b"".join(parts)


def compressed_fits(planes: Sequence[FitsPlane], *, common: Mapping[str, CardValue]) -> bytes:
    """Return a FITS file of tile-compressed images that holds exactly the same pixels.

    Integers are compressed by Rice's algorithm, other types, which that would have to quantise, by
    gzip of their shuffled bytes (FITS 4.0, section 10.4).
    """
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for keyword, value in common.items():
        hdus[0].header[keyword] = value
    with warnings.catch_warnings():
        # Of keywords that astropy would write otherwise; they are as their file had them.
        warnings.simplefilter("ignore", VerifyWarning)
        for plane in planes:
            hdus.append(_compressed(plane))
        out = BytesIO()
        hdus.writeto(out, output_verify="silentfix")
    tables = next((plane.tables for plane in planes if plane.tables), b"")
    return out.getvalue() + tables


def _compressed(plane: FitsPlane) -> fits.CompImageHDU:
    data = plane.data.astype(np.uint8) if plane.data.dtype.kind == "b" else plane.data
    if data.dtype == np.float16:
        data = data.astype(np.float32)
    is_rice = data.dtype.kind in "iu" and data.dtype.itemsize <= 4
    return fits.CompImageHDU(
        data,
        header=FitsHeader(own_cards(plane.header)).to_astropy(),
        name=plane.name,
        compression_type="RICE_1" if is_rice else "GZIP_2",
        tile_shape=(*(1,) * (data.ndim - 2), *(min(_TILE, n) for n in data.shape[-2:])),
        quantize_level=0.0,
    )


def data_bytes(data: AnyArray) -> bytes:
    """Return pixels as they stand in a file, filled up to whole blocks."""
    content = stored_pixels(data).tobytes()
    return content + padding(len(content))


def stored_pixels(data: AnyArray) -> AnyArray:
    """Return pixels as FITS keeps them: big-endian, unsigned integers moved by their offset."""
    storage = storage_of(data.dtype)
    if storage.bzero:
        # Adding or taking away half the range turns the highest bit, and nothing else.
        unsigned = np.dtype(f"u{data.dtype.itemsize}")
        turned = data.view(unsigned) ^ unsigned.type(1 << (8 * data.dtype.itemsize - 1))
        data = turned.view(storage.stored.newbyteorder("="))
    return data.astype(storage.stored, copy=False)
