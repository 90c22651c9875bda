"""Picks the cards that a WCS is made of, and moves them when pixels are cut out."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from astrolabe.images.fits.cards import CardValue, FitsHeader

__all__ = [
    "bare_header",
    "broken_number",
    "is_wcs_keyword",
    "shift_slopes",
    "shifted_header",
    "wcs_cards",
]

_WCS: Final = re.compile(
    r"(WCSAXES|CTYPE\d+|CUNIT\d+|CRVAL\d+|CRPIX\d+|CDELT\d+|CROTA\d+|CNAME\d+|CRDER\d+|CSYER\d+"
    r"|PC\d+_\d+|CD\d+_\d+|PV\d+_\d+|PS\d+_\d+|PROJP\d+|LONPOLE|LATPOLE|WCSNAME|RADESYS|EQUINOX"
    r"|RESTFRQ|RESTWAV|SPECSYS|SSYSOBS|SSYSSRC|VELOSYS|ZSOURCE|VELANGL|VELREF)[A-Z]?\Z"
    r"|(RADECSYS|EPOCH|RESTFREQ|NAXIS\d*|BITPIX|SIMPLE|XTENSION"
    r"|OBSGEO-[XYZLBH]|OBSORBIT|DATE-(OBS|BEG|AVG|END)|MJD-(OBS|BEG|AVG|END)|MJDREF[IF]?|JDREF[IF]?"
    r"|DATEREF|TIMESYS|TREFPOS|TREFDIR|TIMEUNIT|TIMEOFFS|TIMEPIXR|PLEPHEM|JEPOCH|BEPOCH|TSTART|TSTOP"
    r"|[AB]P?_(ORDER|DMAX|\d_\d)|WAT\d+_\d+|D2IMEXT|D2IMERR\d*|D2IMDIS\d+|D2IM\d+|D2IMARR|AXISCORR"
    r"|CPDIS\d+[A-Z]?|CQDIS\d+[A-Z]?|DP\d+[A-Z]?|DQ\d+[A-Z]?|CPERR\d+[A-Z]?"
    r"|AMD[XY]\d+|PPO\d+|CNPIX\d|PLTRA[HMS]|PLTDEC(SN|D|M|S)|[XY]PIXELSZ|PLTSCALE)\Z"
)
_STORAGE: Final = re.compile(
    r"(SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|GROUPS|EXTEND|BLOCKED|BSCALE|BZERO|BLANK|INHERIT"
    r"|CHECKSUM|DATASUM|DATAMIN|DATAMAX|NEXTEND|(DATA|BIAS|TRIM)SEC|END)\Z"
)
_TIMES: Final = re.compile(r"(DATE|MJD|OBSGEO|TIMESYS)")
_LINEAR: Final = re.compile(r"(CRVAL\d+|CRPIX\d+|CDELT\d+|CROTA\d+|PC\d+_\d+|CD\d+_\d+)\Z")
_CRPIX: Final = re.compile(r"CRPIX(\d+)[A-Z]?\Z")
_LTV: Final = re.compile(r"(LTV|CNPIX)(\d)\Z")
# What makes a header one that has a WCS at all.
_ESSENTIAL: Final = re.compile(r"(CTYPE\d+[A-Z]?|AMDX1)\Z")


@lru_cache(maxsize=4096)  # the images of a survey have the same keywords
def is_wcs_keyword(keyword: str) -> bool:
    """Whether a keyword may belong to a WCS."""
    return _WCS.match(keyword) is not None


def broken_number(header: FitsHeader) -> str:
    """Return the first keyword of a WCS whose value is no finite number; nothing if all are.

    wcslib passes over such a card and takes the default: the image would lie at position 0, 0.
    """
    for keyword in _linear_keywords(header.keywords):
        value = header.get(keyword)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not math.isfinite(value):
            return keyword
    return ""


# What keywords alone tell is kept: the images of a survey have the same ones.
_KNOWN_HEADERS: Final = 128


@lru_cache(maxsize=_KNOWN_HEADERS)
def _linear_keywords(keywords: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(filter(_LINEAR.match, keywords))


@lru_cache(maxsize=_KNOWN_HEADERS)
def _wcs_places(keywords: tuple[str, ...]) -> tuple[int, ...] | None:
    """Return the places of the cards of a WCS, `None` if there is none."""
    if not any(_ESSENTIAL.match(keyword) for keyword in keywords):
        return None
    kept: list[int] = []
    of_wcs = False
    for place, keyword in enumerate(keywords):
        # What continues a long string goes with it.
        of_wcs = of_wcs if keyword == "CONTINUE" else is_wcs_keyword(keyword)
        if of_wcs:
            kept.append(place)
    return tuple(kept)


def wcs_cards(header: FitsHeader) -> FitsHeader | None:
    """Return the cards of a header's WCS, or `None` if it has none."""
    places = _wcs_places(header.keywords)
    return None if places is None else header.picked(places)


def bare_header(header: FitsHeader, primary: FitsHeader | None = None) -> FitsHeader:
    """Return a header without what says how pixels are stored, nor what is true of all of them.

    Parameters
    ----------
    header
        Of an image.
    primary
        Of the file's primary HDU; its cards follow if the image's header has INHERIT = T, but for
        those of a WCS: positions are those of the image's own header.
    """
    cards = [
        card
        for keyword, card in zip(header, header.cards, strict=True)
        if not _STORAGE.match(keyword)
    ]
    if primary is not None and header.get("INHERIT") is True:
        cards += [
            card
            for keyword, card in zip(primary, primary.cards, strict=True)
            if not _STORAGE.match(keyword)
            and keyword not in {"", "COMMENT", "HISTORY", "EXTNAME"}
            and keyword not in header
            and (_TIMES.match(keyword) or not is_wcs_keyword(keyword))
        ]
    while cards and not cards[-1].strip():
        cards.pop()
    return FitsHeader(cards)


def shifted_header(header: FitsHeader, first: Sequence[int]) -> dict[str, CardValue]:
    """Return the WCS keywords that change when pixels are cut away in front.

    Parameters
    ----------
    header
        Of the whole image.
    first
        The first pixel that is kept along each FITS axis, from 0; x comes first.

    Returns
    -------
    dict
        CRPIXn of the WCS and of all its alternatives (a missing one counts as 0), LTVn, which IRAF
        keeps for the same end, and the corner of a scanned plate.  SIP, TPV and the others refer
        to CRPIXn and need nothing else.
    """
    return {
        keyword: header.number(keyword, 0.0) + slope * first[axis]
        for keyword, axis, slope in shift_slopes(header.keywords, len(first))
        if first[axis] or not keyword.startswith("CRPIX")
    }


@lru_cache(maxsize=_KNOWN_HEADERS)
def shift_slopes(keywords: tuple[str, ...], axes: int) -> tuple[tuple[str, int, int], ...]:
    """Return the keywords that change when pixels are cut away in front.

    Parameters
    ----------
    keywords
        Of the whole image.
    axes
        How many axes may be cut, from the first on.

    Returns
    -------
    tuple
        Of each keyword, the axis (from 0) whose first pixel it moves with, and what is added to
        its number for each pixel that is cut away.
    """
    slopes: list[tuple[str, int, int]] = []
    known = frozenset(keywords)
    alternatives = {""}
    for keyword in dict.fromkeys(keywords):
        found = _LTV.match(keyword)
        if found is not None and 1 <= int(found[2]) <= axes:
            slopes.append((keyword, int(found[2]) - 1, -1 if found[1] == "LTV" else 1))
        found = _CRPIX.match(keyword)
        if found is not None:
            alternatives.add(keyword[len("CRPIX") + len(found[1]) :])
        elif keyword.startswith("CTYPE"):
            alternatives.add(keyword.removeprefix("CTYPE").lstrip("0123456789"))
    for letter in sorted(alternatives):
        numbered = [
            f"{name}{i}{letter}" for name in ("CTYPE", "CRPIX", "CRVAL") for i in range(1, axes + 1)
        ]
        if not known.isdisjoint(numbered):
            slopes += [(f"CRPIX{i + 1}{letter}", i, -1) for i in range(axes)]
    return tuple(slopes)
