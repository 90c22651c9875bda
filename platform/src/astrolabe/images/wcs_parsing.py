"""The WCS of plain headers without astropy's detours.

`astropy.wcs.WCS` looks for distortions, tables and old SCAMP headers before wcslib reads the cards,
card by card and several times, which takes milliseconds.  A header that has nothing of that but SIP
goes to wcslib at once; any other, and any that wcslib refuses, is left to astropy.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS, Sip, Wcsprm

from astrolabe.images.fits.cards import FitsHeader

__all__ = ["plain_wcs"]

# Look-up tables, -TAB axes, and what IRAF and the DSS have in the place of a matrix.
_SPECIAL: Final = re.compile(
    r"(C[PQ]DIS|CPERR|D[PQ]\d|D2IM|AXISCORR|PS\d+_|AMD|PPO|CNPIX|PLTRA|WAT)"
)
_SIP: Final = re.compile(r"([AB]P?)_(ORDER|DMAX|(\d)_(\d))\Z")
_SIP_ORDERS: Final = range(2, 10)  # astropy takes polynomials below for none
_PROJECTION_NUMBER: Final = re.compile(r"PV\d+_\d+[A-Z]?\Z")


def plain_wcs(cards: FitsHeader) -> WCS | None:
    """Return the WCS of a header, or `None` if astropy must look at it.

    Parameters
    ----------
    cards
        Those of the WCS.

    Notes
    -----
    wcslib's parser is not made for several threads: the caller sees to that.
    """
    keywords = _look_at(cards.keywords)
    types = [str(cards.get(f"CTYPE{axis}", "")) for axis in (1, 2)]
    # Polynomials that SCAMP wrote before TPV had a name; astropy knows how to tell them.
    is_old = keywords.has_projection_numbers and any("TAN" in name for name in types)
    if keywords.is_special or is_old or any("-TAB" in name for name in types):
        return None
    sip = None
    if keywords.of_sip or any("-SIP" in name for name in types):
        sip = _sip(cards)
        if sip is None or not all("-SIP" in name for name in types):
            return None
        # wcslib would apply the polynomials a second time.
        cards = cards.replaced({}, without=keywords.of_sip)
    try:
        parsed = Wcsprm(header=cards.text.encode("ascii"), relax=True)
        parsed.fix()
        parsed.set()
    except Exception:  # noqa: BLE001 - wcslib's errors have many classes; astropy says what is wrong
        return None
    if sip is not None and parsed.naxis != 2:
        return None
    wcs = WCS(naxis=parsed.naxis)
    wcs.wcs = parsed
    wcs.sip = sip
    sizes = [cards.get(f"NAXIS{axis}") for axis in range(1, parsed.naxis + 1)]
    if all(isinstance(size, int) for size in sizes):
        wcs.pixel_shape = tuple(sizes)
    return wcs


class _Keywords(NamedTuple):
    """What the keywords of a header tell without their values."""

    is_special: bool
    has_projection_numbers: bool
    of_sip: frozenset[str]


@lru_cache(maxsize=128)  # the images of a survey have the same keywords
def _look_at(keywords: tuple[str, ...]) -> _Keywords:
    return _Keywords(
        is_special=any(map(_SPECIAL.match, keywords)),
        has_projection_numbers=any(map(_PROJECTION_NUMBER.match, keywords)),
        of_sip=frozenset(filter(_SIP.match, keywords)),
    )


def _sip(cards: FitsHeader) -> Sip | None:
    """Return the polynomials of a header that has them as the convention says, else `None`."""
    matrices = {name: _matrix(cards, name) for name in ("A", "B", "AP", "BP")}
    if matrices["A"] is None or matrices["B"] is None:
        return None
    if (matrices["AP"] is None) != (matrices["BP"] is None):
        return None
    crpix = [cards.get(f"CRPIX{axis}") for axis in (1, 2)]
    if not all(isinstance(value, (int, float)) for value in crpix):
        return None
    return Sip(*matrices.values(), tuple(crpix))


def _matrix(cards: FitsHeader, name: str) -> npt.NDArray[np.float64] | None:
    order = cards.get(f"{name}_ORDER")
    if not isinstance(order, int) or order not in _SIP_ORDERS:
        return None
    matrix = np.zeros((order + 1, order + 1))
    for i in range(order + 1):
        for j in range(order + 1 - i):
            value = cards.get(f"{name}_{i}_{j}", 0.0)
            if not isinstance(value, (int, float)):
                return None
            matrix[i, j] = value
    return matrix
