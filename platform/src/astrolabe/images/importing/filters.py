"""Wavelengths of common filters, for headers that only name them.

Edges are those of about half the greatest throughput, in nanometres.  A collection's mapping may
name its own, which come first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["Band", "find_band"]


@dataclass(frozen=True, slots=True)
class Band:
    """A filter.

    Parameters
    ----------
    name
        Short name of the band, as ``g``.
    em_min, em_max
        Edges (m, vacuum).
    """

    name: str
    em_min: float
    em_max: float


def _centred(**bands: tuple[float, float]) -> dict[str, tuple[float, float]]:
    return {name: (c - width / 2, c + width / 2) for name, (c, width) in bands.items()}


_SYSTEMS: Final[Mapping[str, Mapping[str, tuple[float, float]]]] = {
    # Rubin Observatory: nominal edges of the filters (LSST Science Book, section 2.4).
    "lsst": {
        "u": (330.0, 400.0),
        "g": (402.0, 552.0),
        "r": (552.0, 691.0),
        "i": (691.0, 818.0),
        "z": (818.0, 922.0),
        "y": (950.0, 1080.0),
    },
    # Fukugita et al. 1996, AJ 111, 1748, table 2a.
    "sdss": _centred(
        u=(355.7, 59.9), g=(482.5, 137.9), r=(626.1, 138.2), i=(767.2, 153.5), z=(909.7, 137.0)
    ),
    # Tonry et al. 2012, ApJ 750, 99, table 4.
    "ps1": {
        "g": (414.0, 551.0),
        "r": (550.0, 689.0),
        "i": (690.0, 819.0),
        "z": (818.0, 922.0),
        "y": (918.0, 1001.0),
        "w": (433.0, 815.0),
    },
    # The centres and widths that DECam writes into FILTER itself.
    "decam": _centred(
        u=(350.0, 100.0),
        g=(472.0, 152.0),
        r=(641.5, 148.0),
        i=(783.5, 147.0),
        z=(926.0, 152.0),
        Y=(1009.5, 113.0),
    ),
    # Kawanomoto et al. 2018, PASJ 70, 66, table 2.
    "hsc": _centred(
        g=(475.4, 139.5), r=(617.5, 150.3), i=(771.1, 157.4), z=(889.8, 76.6), y=(976.2, 78.3)
    ),
    # Bessell 2005, ARA&A 43, 293, table 1.
    "johnson": _centred(
        U=(366.3, 65.0), B=(436.1, 89.0), V=(544.8, 84.0), R=(640.7, 158.0), I=(798.0, 154.0)
    ),
    # Cohen et al. 2003, AJ 126, 1090, table 2.
    "2mass": _centred(J=(1235.0, 162.0), H=(1662.0, 251.0), Ks=(2159.0, 262.0)),
    # Jarrett et al. 2011, ApJ 735, 112; widths of Wright et al. 2010.
    "wise": _centred(
        W1=(3352.6, 662.5), W2=(4602.8, 1042.3), W3=(11560.8, 5506.9), W4=(22088.3, 4101.3)
    ),
    # Morrissey et al. 2007, ApJS 173, 682.
    "galex": {"FUV": (134.4, 178.6), "NUV": (177.1, 283.1)},
    # WFC3 Instrument Handbook, tables 6.2 and 7.2.
    "wfc3": _centred(
        F275W=(270.4, 39.8),
        F336W=(335.5, 51.1),
        F438W=(432.5, 61.8),
        F475W=(477.3, 134.4),
        F555W=(530.8, 156.2),
        F606W=(588.7, 218.2),
        F625W=(624.2, 146.3),
        F775W=(764.7, 117.1),
        F814W=(802.4, 153.6),
        F105W=(1055.2, 265.0),
        F110W=(1153.4, 443.0),
        F125W=(1248.6, 284.5),
        F140W=(1392.3, 384.0),
        F160W=(1536.9, 268.3),
    ),
}

_INSTRUMENTS: Final = (
    (re.compile(r"lsst|latiss|comcam|rubin", re.IGNORECASE), "lsst"),
    (re.compile(r"decam", re.IGNORECASE), "decam"),
    (re.compile(r"hyper.?suprime|\bhsc\b", re.IGNORECASE), "hsc"),
    (re.compile(r"gpc1|gpc2|pan.?starrs|\bps1\b", re.IGNORECASE), "ps1"),
    (re.compile(r"sdss|sloan", re.IGNORECASE), "sdss"),
    (re.compile(r"2mass", re.IGNORECASE), "2mass"),
    (re.compile(r"wise", re.IGNORECASE), "wise"),
    (re.compile(r"galex", re.IGNORECASE), "galex"),
    (re.compile(r"wfc3", re.IGNORECASE), "wfc3"),
)
_WITHOUT_INSTRUMENT: Final = ("sdss", "johnson", "2mass", "wise", "galex", "wfc3")
_ALIASES: Final = {"K": "Ks", "KS": "Ks", "Y": "y"}

# "g DECam SDSS c0001 4720.0 1520.0": the centre and the width in Angstrom.
_DECAM: Final = re.compile(r"(\S+) DECam .*?([0-9]{4,5}\.[0-9]) ([0-9]{3,4}\.[0-9])\s*\Z")


def find_band(
    filter_name: str, *, instrument: str = "", own: Mapping[str, Band] | None = None
) -> Band | None:
    """Return the band that a header's filter means, `None` if it is not known.

    Parameters
    ----------
    filter_name
        As the header names it: ``g``, ``HSC-G``, ``r_57``, ``SDSS g'``, ``F814W``.
    instrument
        Instrument and telescope, which decide between filters of one name.
    own
        Bands of the collection by what the header says; these come first.
    """
    name = filter_name.strip()
    if own:
        found = own.get(name) or {key.lower(): band for key, band in own.items()}.get(name.lower())
        if found is not None:
            return found
    stated = _DECAM.match(name)
    if stated is not None:
        low, high = (float(stated[2]) + s * float(stated[3]) / 2 for s in (-1, 1))
        return Band(stated[1], low * 1e-10, high * 1e-10)
    known = next((s for pattern, s in _INSTRUMENTS if pattern.search(instrument)), None)
    systems = _WITHOUT_INSTRUMENT if known is None else (known,)
    for short in _short_names(name):
        for system in systems:
            edges = _SYSTEMS[system].get(short)
            if edges is not None:
                return Band(short, edges[0] * 1e-9, edges[1] * 1e-9)
    if known is None and name in {"y", "Y"}:
        low, high = _SYSTEMS["lsst"]["y"]
        return Band(name, low * 1e-9, high * 1e-9)
    return None


def _short_names(name: str) -> list[str]:
    """Return what a filter may be called in the tables, the best first."""
    # SDSS g', g_01, r.00000, HSC-G, g.MP9401
    bare = re.sub(r"(?i)\A(hsc|sdss|sloan|ps1|bessell|johnson|cousins|des|lsst)[-_. ]+", "", name)
    bare = re.sub(r"[-_. ].*\Z", "", bare).rstrip("'\u2019")
    found = [name, bare]
    if re.match(r"(?i)hsc-", name):
        found.append(bare.lower())
    if bare in _ALIASES:
        found.append(_ALIASES[bare])
    if re.fullmatch(r"(?i)(f\d+l?[pwmn]|w[1-4]|[fn]uv)", bare):
        found.append(bare.upper())
    return found
