"""Headers of stamps: what all stamps of an image have in common, and what is pasted into each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from astrolabe.images.fits.cards import CARD, FitsHeader, format_card
from astrolabe.images.wcs_cards import is_wcs_keyword, shift_slopes
from astrolabe.images.writers.fits import own_cards

__all__ = ["STAMP_KEYWORDS", "MovingCard", "compact_header", "moving_cards", "stamp_cards"]

Bytes = npt.NDArray[np.uint8]

STAMP_KEYWORDS: Final = ("STAMPID", "STAMPROW", "STAMPRA", "STAMPDEC")
"""What each stamp says of its position in the table."""

_ABOUT: Final = re.compile(
    r"(BUNIT|OBJECT|TELESCOP|INSTRUME|DETECTOR|DETNAM|CCDNUM|FILTER[0-9]*|BAND|EXPTIME|EXPID|VISIT"
    r"|EXPNUM|AIRMASS|GAIN[AB]?|RDNOISE[AB]?|SATURATE|SATURATA|SATURATB|MAGZERO|MAGZPT|PHOTZP|ZPT"
    r"|PHOTFLAM|PHOTPLAM|PHOTMODE|SEEING|FWHM|PSF_FWHM|BLANK_OK|MP_[A-Z]+)\Z"
)

_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")
_FIXED: Final = 20  # characters of a number in FITS' fixed format
_REST: Final = " " * (CARD - 10 - _FIXED)
_ROW_COMMENT: Final = " / row of the table of positions, from 1".ljust(len(_REST))
_DEG_COMMENT: Final = " / [deg] ICRS, as asked for".ljust(len(_REST))


@dataclass(frozen=True, slots=True)
class MovingCard:
    """A card whose number moves with the first pixel of a stamp.

    Parameters
    ----------
    keyword
        ``CRPIX1`` and its like.
    axis
        0 if it moves with the first pixel's x, 1 with its y.
    base
        Its number where the first pixel is that of the image.
    slope
        What is added to it for each pixel.
    """

    keyword: str
    axis: int
    base: float
    slope: float

    def pasted(self, first: npt.NDArray[np.int64]) -> Bytes:
        """Return the card for each first pixel along its axis; (n, 80) characters."""
        if len(first) == 1:
            values, places = first, np.zeros(1, dtype=np.int64)
        else:
            values, places = np.unique(first, return_inverse=True)
        # A stamp's number is as exact as a double is: each different one is written by itself.
        head = f"{self.keyword:<8}= "
        parts = []
        for value in (self.base + self.slope * values).tolist():
            text = repr(value)
            if len(text) <= _FIXED and "e" not in text:
                parts.append(f"{head}{text:>20}{_REST}")
            else:
                parts.append(format_card(self.keyword, value))
        cards = "".join(parts)
        return np.frombuffer(cards.encode("ascii"), np.uint8).reshape(-1, CARD)[places]


def moving_cards(header: FitsHeader, x_axis: int, y_axis: int, axes: int) -> list[MovingCard]:
    """Return the cards of an image's header that move when pixels are cut away in front.

    Parameters
    ----------
    header
        Of the image.
    x_axis, y_axis
        The axes of the sky, counted as in FITS from 0.
    axes
        How many axes there are.
    """
    return [
        MovingCard(keyword, (x_axis, y_axis).index(axis), float(header.number(keyword, 0.0)), slope)
        for keyword, axis, slope in shift_slopes(header.keywords, axes)
        if axis in (x_axis, y_axis)
    ]


def compact_header(header: FitsHeader) -> FitsHeader:
    """Return the cards that a stamp keeps of its image: the WCS, and what the pixels mean.

    A survey's header has some hundred cards, several times the pixels of a small stamp.
    """
    return FitsHeader(own_cards(header.picked(_kept_places(header.keywords))))


@lru_cache(maxsize=128)  # the images of a survey have the same keywords
def _kept_places(keywords: tuple[str, ...]) -> tuple[int, ...]:
    kept: list[int] = []
    keep = False
    for place, keyword in enumerate(keywords):
        # What continues a long string goes with it.
        if keyword != "CONTINUE":
            keep = is_wcs_keyword(keyword) or _ABOUT.match(keyword) is not None
        if keep:
            kept.append(place)
    return tuple(kept)


def stamp_cards(
    rows: npt.NDArray[np.int64],
    ids: tuple[str, ...],
    ra_deg: npt.NDArray[np.float64],
    dec_deg: npt.NDArray[np.float64],
) -> Bytes:
    """Return the cards of `STAMP_KEYWORDS` for each stamp.

    Parameters
    ----------
    rows : (n,)
        Rows of the positions, from 0.
    ids, ra_deg, dec_deg
        Of all positions.

    Returns
    -------
    (n, 4 * 80) characters; a row counts from 1 as in the index.
    """
    lines = []
    places = zip(rows.tolist(), ra_deg[rows].tolist(), dec_deg[rows].tolist(), strict=True)
    for row, ra, dec in places:
        name = ids[row]
        if not name.isascii() or not name.isprintable():
            name = _UNPRINTABLE.sub("?", name)
        # 34 quotes, doubled, fill the card.
        name = name[:68] if "'" not in name else name[:34].replace("'", "''")
        quoted = f"'{name:<8}'"
        lines.append(
            f"STAMPID = {quoted:<70}"
            f"STAMPROW= {row + 1:20d}{_ROW_COMMENT}"
            f"STAMPRA = {ra:20.12f}{_DEG_COMMENT}"
            f"STAMPDEC= {dec:20.12f}{_DEG_COMMENT}"
        )
    text = "".join(lines).encode("ascii")
    return np.frombuffer(text, np.uint8).reshape(-1, len(STAMP_KEYWORDS) * CARD)
