"""Which HDUs of a file are images, and which are the masks and variances that belong to them.

Names are those of ``EXTTYPE`` (Rubin's pipelines), ``DES_EXT`` (Dark Energy Survey) and
``EXTNAME``.  Weights, inverse variances and standard deviations are not variances: they are taken
only where they are asked for by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from astrolabe.images.fits.index import PlaneIndex
from astrolabe.images.model import PlaneKind

__all__ = ["DEFAULT_PLANES", "ImagePlanes", "PlaneNames", "group_planes"]

PlaneNames = Mapping[PlaneKind, tuple[str, ...]]

DEFAULT_PLANES: Final[PlaneNames] = {
    PlaneKind.IMAGE: ("IMAGE", "SCI"),
    PlaneKind.MASK: ("MASK", "MSK", "DQ", "DQMASK", "MASKBITS", "FLAGS"),
    PlaneKind.VARIANCE: ("VARIANCE", "VAR"),
}

_NO_PICTURES: Final = frozenset({"WCSDVARR", "D2IMARR"})
"""Look-up tables of distortions are kept as images."""
_NO_VARIANCE: Final = {
    "WEIGHT": "weights",
    "WGT": "weights",
    "WHT": "weights",
    "IVAR": "inverse variances",
    "INVVAR": "inverse variances",
    "ERR": "standard deviations",
    "ERROR": "standard deviations",
    "SIGMA": "standard deviations",
}
_AFTER_STEM: Final = re.compile(r"[-_. ]?(?:\d+|[A-Z]\d+|R\d\d_?S\d\d)\Z")
"""A number or a detector, not a word: VAR_POISSON is no variance of its own."""
_NAME_KEYWORDS: Final = ("EXTTYPE", "DES_EXT", "EXTNAME")


@dataclass(slots=True)
class ImagePlanes:
    """One image of a file: the numbers of its HDUs.

    Parameters
    ----------
    planes
        Number of the HDU of each plane; the image's is always there.
    label
        What tells it from the other images of the file: EXTNAME, CCDNUM or the HDU's number.
    shape
        Pixels along each axis in NumPy's order, the last being x.
    """

    planes: dict[PlaneKind, int]
    label: str
    shape: tuple[int, ...]
    suffix: str = field(default="", repr=False)


def group_planes(
    pixels: Iterable[PlaneIndex], names: PlaneNames = DEFAULT_PLANES
) -> tuple[list[ImagePlanes], list[str]]:
    """Find the images of a file.

    Parameters
    ----------
    pixels
        All HDUs with pixels, in the order of the file.
    names
        What EXTTYPE, DES_EXT or EXTNAME say of each kind of plane, in any case of letters and with
        or without a number or detector after them (``SCI``, ``MASK_12``).  An HDU number as text
        (``"2"``) names that HDU.

    Returns
    -------
    The images in the order of the file, and what was passed over, one sentence each.

    Notes
    -----
    Where an HDU says that it is an image, those that say nothing are passed over; in a file in
    which none does (a camera's detectors, each with its own name), all with two axes are images.
    A mask or a variance belongs to the image of the same EXTVER or the same suffix, else to the
    last image before it that has the same shape and none yet.
    """
    pictures = [
        hdu for hdu in pixels if _is_picture(hdu.shape) and hdu.name.upper() not in _NO_PICTURES
    ]
    kinds = {hdu.hdu: _kind(hdu, names) for hdu in pictures}
    named = any(kind is PlaneKind.IMAGE for kind in kinds.values())
    images: list[ImagePlanes] = []
    others: list[tuple[PlaneIndex, PlaneKind]] = []
    notes: list[str] = []
    for hdu in pictures:
        kind = kinds[hdu.hdu]
        meaning = None if kind is not None else _meaning(hdu)
        if kind is PlaneKind.IMAGE or (kind is None and not named and meaning is None):
            images.append(
                ImagePlanes({PlaneKind.IMAGE: hdu.hdu}, _label(hdu), hdu.shape, _suffix(hdu))
            )
        elif kind is not None:
            others.append((hdu, kind))
        elif meaning is not None:
            notes.append(f"{hdu.name} holds {meaning}, not variances: not taken as a plane")
    for hdu, kind in others:
        owner = _owner(images, hdu, kind)
        if owner is None:
            notes.append(f"{hdu.name or f'HDU {hdu.hdu}'}, a {kind}, belongs to no image")
        else:
            owner.planes[kind] = hdu.hdu
    _make_labels_differ(images)
    return images, notes


def _is_picture(shape: tuple[int, ...]) -> bool:
    # Spectra (all axes but one of length 1) are no images of the sky.
    return sum(length > 1 for length in shape) >= 2


def _words(hdu: PlaneIndex) -> list[str]:
    found = [str(hdu.header.get(keyword, "")).strip().upper() for keyword in _NAME_KEYWORDS]
    return [word for word in found if word]


def _stem(word: str) -> str:
    """Return a name without the number or detector after it."""
    return _AFTER_STEM.sub("", word)


def _kind(hdu: PlaneIndex, names: PlaneNames) -> PlaneKind | None:
    for kind, wanted in names.items():
        if str(hdu.hdu) in wanted:
            return kind
    for word in _words(hdu):
        for form in (word, _stem(word)):
            for kind, wanted in names.items():
                if any(form == name.upper() for name in wanted):
                    return kind
    return None


def _meaning(hdu: PlaneIndex) -> str | None:
    """Return what the HDU holds that only looks like a variance."""
    for word in _words(hdu):
        meaning = _NO_VARIANCE.get(word) or _NO_VARIANCE.get(_stem(word))
        if meaning is not None:
            return meaning
    return None


def _suffix(hdu: PlaneIndex) -> str:
    """Return what follows the kind of plane in the name, with EXTVER."""
    name = hdu.name.upper()
    version = hdu.header.get("EXTVER", "")
    return f"{name[len(_stem(name)) :].strip('-_. ')}|{version}"


def _owner(images: Sequence[ImagePlanes], hdu: PlaneIndex, kind: PlaneKind) -> ImagePlanes | None:
    free = [image for image in images if kind not in image.planes and image.shape == hdu.shape]
    suffix = _suffix(hdu)
    same = [image for image in free if image.suffix == suffix]
    if len(same) == 1 and suffix != "|":
        return same[0]
    before = [image for image in free if image.planes[PlaneKind.IMAGE] < hdu.hdu]
    if before:
        return before[-1]
    return free[0] if free else None


def _label(hdu: PlaneIndex) -> str:
    name = hdu.name
    if name and _stem(name.upper()) not in {"IMAGE", "SCI", "PRIMARY", "COMPRESSED"}:
        return name
    for keyword in ("CCDNUM", "DETECTOR", "EXTVER"):
        value = hdu.header.get(keyword)
        if value is not None and not isinstance(value, bool | float):
            return str(value)
    return name or str(hdu.hdu)


def _make_labels_differ(images: Sequence[ImagePlanes]) -> None:
    seen: dict[str, int] = {}
    for image in images:
        key = image.label.lower()
        seen[key] = seen.get(key, 0) + 1
    for image in images:
        if seen[image.label.lower()] > 1:
            image.label = str(image.planes[PlaneKind.IMAGE])
