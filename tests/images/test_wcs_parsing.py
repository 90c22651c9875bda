"""The quick way to a WCS gives what astropy's own gives, or leaves it to that."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from astrolabe.images.fits.cards import FitsHeader
from astrolabe.images.wcs_cards import wcs_cards
from astrolabe.images.wcs_parsing import plain_wcs
from tests.support.images import WCS_KINDS, wcs_header

PIXELS = np.random.default_rng(1).uniform(-20.0, 200.0, (40, 2))


def cards_of(header: fits.Header) -> FitsHeader:
    cards = wcs_cards(FitsHeader.from_astropy(header))
    assert cards is not None
    return cards


def astropys(header: fits.Header) -> WCS:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what astropy mends
        return WCS(header)


def changed(kind: str, **cards: Any) -> fits.Header:
    header = wcs_header(kind)
    for keyword, value in cards.items():
        header[keyword] = value
    return header


@pytest.mark.parametrize("kind", WCS_KINDS)
def test_the_quick_way_gives_the_same_wcs(kind: str) -> None:
    header = wcs_header(kind)
    quick, slow = plain_wcs(cards_of(header)), astropys(header)
    assert quick is not None
    assert quick.wcs.compare(slow.wcs)
    expected = slow.all_pix2world(PIXELS, 0)
    assert np.array_equal(quick.all_pix2world(PIXELS, 0), expected, equal_nan=True)
    assert (quick.sip is None) == (slow.sip is None)


def test_sip_with_inverse_polynomials_is_kept() -> None:
    header = changed("sip", AP_ORDER=3, BP_ORDER=2, AP_1_0=1e-6, BP_0_2=-2e-6)
    quick, slow = plain_wcs(cards_of(header)), astropys(header)
    assert quick is not None
    for name in ("a", "b", "ap", "bp", "crpix"):
        assert np.array_equal(getattr(quick.sip, name), getattr(slow.sip, name))


@pytest.mark.parametrize(
    "header",
    [
        changed("sip", A_ORDER="two"),
        changed("sip", CTYPE1="RA---TAN", CTYPE2="DEC--TAN"),
        changed("tan", CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP"),
        changed("tan", PV1_1=1.0, PV1_4=1e-3, PV2_1=1.0),
        changed("tan", CPDIS1="LOOKUP"),
        changed("tan", WAT1_001="wtype=tnx axtype=ra"),
        changed("tan", CUNIT1="furlong"),
        changed("tan", CTYPE3="WAVE-TAB"),
    ],
    ids=["order", "sip-untold", "no-sip", "scamp", "lookup", "tnx", "unit", "tab"],
)
def test_what_astropy_must_look_at_is_left_to_it(header: fits.Header) -> None:
    if header.get("CTYPE3"):
        header["CTYPE1"], header["CTYPE3"] = header["CTYPE3"], header["CTYPE1"]
    assert plain_wcs(cards_of(header)) is None
