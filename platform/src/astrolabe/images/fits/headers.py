"""Finds the HDUs of a file by its headers alone: bounded, and never trusting what they say.

A header may lie about the size of its data (a "FITS bomb") or a file may end in the middle.  Every
size is computed in exact integers and held against the size of the file before anything is read or
made room for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from astrolabe.core.errors import ImageInvalidError
from astrolabe.images.files import ByteSource
from astrolabe.images.fits.cards import BLOCK, CARD, FitsHeader

__all__ = ["MAX_HDUS", "MAX_HEADER_BYTES", "Hdu", "scan_hdus"]

MAX_HEADER_BYTES: Final = 8 << 20
"""A header of more is refused (100,000 cards)."""
MAX_HDUS: Final = 10_000
"""A file of more HDUs is refused."""

_MAX_AXES: Final = 999  # FITS 4.0, section 4.4.1
_FIRST_READ: Final = 4 * BLOCK
_END: Final = b"END".ljust(8)
_BITPIX: Final = frozenset({8, 16, 32, 64, -32, -64})
_BAD_BYTE: Final = re.compile(rb"[^\x20-\x7e]")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Hdu:
    """One header and where its data are.

    Parameters
    ----------
    number
        The primary one is 0.
    header
        As it is in the file.
    header_offset, data_offset
        In the file (bytes).
    data_size
        Bytes without the filling of the last block.
    """

    number: int
    header: FitsHeader
    header_offset: int
    data_offset: int
    data_size: int

    @property
    def name(self) -> str:
        """EXTNAME, or nothing."""
        return str(self.header.get("EXTNAME", "")).strip()

    @property
    def is_compressed(self) -> bool:
        """Whether it is an image compressed by tiles (FITS 4.0, section 10)."""
        return self.header.get("XTENSION") == "BINTABLE" and self.header.get("ZIMAGE") is True

    @property
    def is_image(self) -> bool:
        """Whether it holds pixels, compressed or not."""
        if self.is_compressed:
            return True
        if self.number and self.header.get("XTENSION") != "IMAGE":
            return False
        return self.data_size > 0 and self.header.get("GROUPS") is not True


def scan_hdus(source: ByteSource) -> tuple[Hdu, ...]:
    """Read all headers of a file and none of its data.

    Parameters
    ----------
    source
        The file.

    Raises
    ------
    ImageInvalidError
        Raised if it is no FITS file, if it ends before its data do, or if a header is broken or
        says what cannot be; with the number of the HDU.
    """
    found: list[Hdu] = []
    offset = 0
    while offset < source.size:
        if found and not _is_extension(source, offset):
            break  # special records may follow the last HDU (FITS 4.0, section 3.5)
        if len(found) == MAX_HDUS:
            raise ImageInvalidError(f"The file has more than {MAX_HDUS} HDUs.")
        hdu = _read_hdu(source, len(found), offset)
        found.append(hdu)
        offset = hdu.data_offset + -(-hdu.data_size // BLOCK) * BLOCK
    if not found:
        raise ImageInvalidError("The file is empty.")
    return tuple(found)


def _is_extension(source: ByteSource, offset: int) -> bool:
    return source.size - offset >= BLOCK and source.read(offset, 8) == b"XTENSION"


def _read_hdu(source: ByteSource, number: int, offset: int) -> Hdu:
    raw = _read_header(source, number, offset)
    header = FitsHeader(
        _BAD_BYTE.sub(b"?", raw[i : i + CARD]).decode("ascii") for i in range(0, len(raw), CARD)
    )
    data_offset = offset + -(-(len(raw) + CARD) // BLOCK) * BLOCK
    try:
        size = _data_size(header, is_primary=number == 0)
    except ImageInvalidError as exc:
        raise ImageInvalidError(f"HDU {number}: {exc.message}") from exc
    if data_offset + size > source.size:
        raise ImageInvalidError(
            f"HDU {number}: by its header its data end at byte {data_offset + size:,}, but the "
            f"file has {source.size:,} bytes: it is truncated, or the header is wrong."
        )
    return Hdu(
        number=number,
        header=header,
        header_offset=offset,
        data_offset=data_offset,
        data_size=size,
    )


def _read_header(source: ByteSource, number: int, offset: int) -> bytes:
    """Return the cards before END."""
    raw = bytearray()
    step = _FIRST_READ
    checked = 0
    while True:
        length = min(step, source.size - offset - len(raw))
        if length < CARD or len(raw) >= MAX_HEADER_BYTES:
            what = "the file" if length < CARD else f"{MAX_HEADER_BYTES >> 20} MB"
            raise ImageInvalidError(f"HDU {number}: there is no END card in {what}.")
        raw += source.read(offset + len(raw), length)
        if checked == 0:
            _check_start(bytes(raw[:BLOCK]), number)
        for place in range(checked, len(raw) - CARD + 1, CARD):
            if raw.startswith(_END, place):
                return bytes(raw[:place])
        checked = len(raw) - len(raw) % CARD
        step = min(step * 2, 1 << 20)


def _check_start(raw: bytes, number: int) -> None:
    if number or raw.startswith(b"SIMPLE  ="):
        return
    if raw.startswith(b"\x1f\x8b"):
        raise ImageInvalidError(
            "The file is compressed as a whole (gzip), so that no part of it can be read alone: "
            "unpack it, or compress it by tiles (fpack)."
        )
    raise ImageInvalidError("This is no FITS file: it does not begin with 'SIMPLE  ='.")


def _data_size(header: FitsHeader, *, is_primary: bool) -> int:
    """Return the bytes of the data (FITS 4.0, equation 2)."""
    bitpix = header.integer("BITPIX")
    if bitpix not in _BITPIX:
        raise ImageInvalidError(f"BITPIX is {bitpix}; it must be one of 8 16 32 64 -32 -64.")
    axes = header.integer("NAXIS")
    if not 0 <= axes <= _MAX_AXES:
        raise ImageInvalidError(f"NAXIS is {axes}; it must be from 0 to {_MAX_AXES}.")
    if axes == 0:
        return 0
    lengths = [header.integer(f"NAXIS{i}") for i in range(1, axes + 1)]
    groups, parameters = header.integer("GCOUNT", 1), header.integer("PCOUNT", 0)
    if min(*lengths, groups, parameters) < 0:
        raise ImageInvalidError("A length (NAXISn, GCOUNT or PCOUNT) is negative.")
    if is_primary and lengths[0] == 0 and header.get("GROUPS") is True:
        lengths = lengths[1:]
    elif is_primary:
        groups, parameters = 1, 0
    elements = 1
    for length in lengths:
        elements *= length
        # Exact integers grow without a bound: 999 axes of 2**63 would be a number of 8 kB.
        if elements > 1 << 62:
            raise ImageInvalidError(
                f"NAXISn multiply to more than {1 << 62:,} elements, which no file has."
            )
    return abs(bitpix) // 8 * groups * (parameters + elements)
