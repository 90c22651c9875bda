"""HDUs that an image's WCS refers to: look-up tables of distortions and ``-TAB`` axes."""

from __future__ import annotations

import re
from typing import Final

from astrolabe.core.errors import ImageInvalidError
from astrolabe.images.files import ByteSource
from astrolabe.images.fits.cards import BLOCK, FitsHeader, format_card
from astrolabe.images.fits.headers import Hdu

__all__ = ["needed_tables", "read_wcs_tables"]

MAX_TABLE_BYTES: Final = 64 << 20
"""WCS tables of more, altogether, are refused."""

_DISTORTION: Final = re.compile(r"(CPDIS|CQDIS|D2IMDIS)[0-9]+[A-Z]?\Z")
_TABLE: Final = re.compile(r"PS[0-9]+_0[A-Z]?\Z")
_LOOKUP_NAMES: Final = frozenset({"WCSDVARR", "D2IMARR"})


def needed_tables(header: FitsHeader) -> frozenset[str]:
    """Return the EXTNAMEs of the tables that the WCS of a header needs."""
    names: set[str] = set()
    for keyword in header:
        if _DISTORTION.match(keyword) and str(header.get(keyword, "")).upper() == "LOOKUP":
            names |= _LOOKUP_NAMES
        elif keyword == "D2IMEXT":
            names.add("D2IMARR")
        elif _TABLE.match(keyword) and _is_tabular(header, keyword):
            names.add(str(header.get(keyword, "")).strip())
    return frozenset(names)


def read_wcs_tables(source: ByteSource, header: FitsHeader, hdus: tuple[Hdu, ...]) -> bytes:
    """Return the HDUs that a header's WCS needs as a FITS file without an image in front.

    Raises
    ------
    ImageInvalidError
        Raised if they are larger than `MAX_TABLE_BYTES`.
    """
    names = needed_tables(header)
    wanted = [hdu for hdu in hdus if hdu.number and hdu.name in names]
    if not wanted:
        return b""
    size = sum(hdu.data_offset - hdu.header_offset + hdu.data_size for hdu in wanted)
    if size > MAX_TABLE_BYTES:
        raise ImageInvalidError(
            f"The tables of the WCS have {size:,} bytes; at most {MAX_TABLE_BYTES:,} are read."
        )
    parts = [_empty_primary()]
    for hdu in wanted:
        length = hdu.data_offset + hdu.data_size - hdu.header_offset
        data = source.read(hdu.header_offset, length)
        parts.append(data + b"\0" * (-length % BLOCK))
    return b"".join(parts)


def _is_tabular(header: FitsHeader, keyword: str) -> bool:
    axis = keyword[2:].partition("_")[0]
    return "-TAB" in str(header.get(f"CTYPE{axis}", ""))


def _empty_primary() -> bytes:
    cards = [format_card("SIMPLE", value=True), format_card("BITPIX", 8), format_card("NAXIS", 0)]
    return "".join([*cards, "END"]).ljust(BLOCK).encode("ascii")
