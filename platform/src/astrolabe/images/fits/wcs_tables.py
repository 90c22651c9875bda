"""HDUs that an image's WCS refers to: look-up tables of distortions and ``-TAB`` axes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from astrolabe.core.errors import ImageInvalidError
from astrolabe.images.files import ByteSource, BytesSource
from astrolabe.images.fits.cards import BLOCK, CARD, FitsHeader, format_card
from astrolabe.images.fits.headers import Hdu, scan_hdus

__all__ = ["EMPTY_PRIMARY", "needed_tables", "read_wcs_tables", "shifted_tables"]

MAX_TABLE_BYTES: Final = 64 << 20
"""WCS tables of more, altogether, are refused."""

EMPTY_PRIMARY: Final = (
    "".join(
        [
            format_card("SIMPLE", value=True),
            format_card("BITPIX", 8),
            format_card("NAXIS", 0),
            format_card("EXTEND", value=True),
            "END",
        ]
    )
    .ljust(BLOCK)
    .encode("ascii")
)
"""A primary HDU without data."""

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
    parts = [EMPTY_PRIMARY]
    for hdu in wanted:
        length = hdu.data_offset + hdu.data_size - hdu.header_offset
        data = source.read(hdu.header_offset, length)
        parts.append(data + b"\0" * (-length % BLOCK))
    return b"".join(parts)


def shifted_tables(tables: bytes, first: Sequence[int]) -> bytes:
    """Return the tables of an image from which pixels were cut away in front.

    Parameters
    ----------
    tables
        A FITS file, as `read_wcs_tables` gives it.
    first
        The first pixel that was kept along each FITS axis, from 0; x comes first.

    Returns
    -------
    bytes
        The HDUs without the primary one.  CRVALn of a look-up image is a pixel of the image that
        it belongs to, and moves with it; tables of ``-TAB`` axes have no pixels.
    """
    source = BytesSource("wcs tables", tables)
    parts: list[bytes] = []
    for hdu in scan_hdus(source)[1:]:
        size = -(-hdu.data_size // BLOCK) * BLOCK
        data = tables[hdu.data_offset : hdu.data_offset + size]
        header = hdu.header
        if hdu.name in _LOOKUP_NAMES:
            moved = {
                f"CRVAL{i}": header.number(f"CRVAL{i}", 0.0) - step
                for i, step in enumerate(first, start=1)
                if i <= header.integer("NAXIS")
            }
            header = header.replaced(moved, without=frozenset({"CHECKSUM", "DATASUM"}))
        text = header.text + "END".ljust(CARD)
        parts.append(text.ljust(-(-len(text) // BLOCK) * BLOCK).encode("ascii") + data)
    return b"".join(parts)


def _is_tabular(header: FitsHeader, keyword: str) -> bool:
    axis = keyword[2:].partition("_")[0]
    return "-TAB" in str(header.get(f"CTYPE{axis}", ""))
