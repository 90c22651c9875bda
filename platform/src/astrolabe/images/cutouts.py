"""Cuts a part out of an image: the pixels and a header that says exactly where they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from astrolabe.core.errors import (
    BadParameterError,
    ImageInvalidError,
    NoOverlapError,
    TooLargeError,
)
from astrolabe.images.fits.cards import CardValue, FitsHeader
from astrolabe.images.fits.planes import Box, box_pixels, whole_box
from astrolabe.images.fits.wcs_tables import EMPTY_PRIMARY, shifted_tables
from astrolabe.images.model import ImageRecord, PlaneKind
from astrolabe.images.reader import OpenImage, Plane
from astrolabe.images.regions import SkyRegion
from astrolabe.images.sky_boxes import sky_box
from astrolabe.images.wcs import ImageWcs
from astrolabe.images.wcs_axes import EdgedAxis
from astrolabe.images.wcs_cards import shifted_header

__all__ = [
    "CutPlane",
    "Cutout",
    "Stencil",
    "box_around",
    "box_of",
    "corners_around",
    "cut",
    "cut_box",
    "cut_header",
    "provenance_cards",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stencil:
    """What to cut out of an image; what is not given is not cut.

    Parameters
    ----------
    region
        Of the sky (ICRS).
    band
        Wavelengths in vacuum (m), lowest and highest.
    time
        Times (MJD, UTC), first and last.
    pol
        Polarisation states, as ObsCore writes them.
    label
        What was asked for, in the words of the request; it stands in the header.
    """

    region: SkyRegion | None = None
    band: tuple[float, float] | None = None
    time: tuple[float, float] | None = None
    pol: tuple[str, ...] = ()
    label: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class CutPlane:
    """A part of one plane.

    Parameters
    ----------
    data
        Its pixels, in the machine's byte order.
    header
        Without what says how pixels are stored (SIMPLE, BITPIX, NAXISn, BSCALE and so on): who
        writes it adds that.
    box
        In the plane's own pixels.
    """

    data: npt.NDArray[Any]
    header: FitsHeader
    box: Box


@dataclass(frozen=True, slots=True, eq=False)
class Cutout:
    """A part of an image.

    Parameters
    ----------
    image
        Of which it is.
    stencil
        By which it was cut.
    planes
        Those that were asked for, in that order.
    wcs_tables
        Whole HDUs (of 2880-byte blocks) that the WCS refers to and that belong behind the planes
        in a FITS file; mostly empty.
    """

    image: OpenImage
    stencil: Stencil
    planes: Mapping[PlaneKind, CutPlane]
    wcs_tables: bytes = b""

    @property
    def wcs(self) -> ImageWcs | None:
        """The WCS of the part."""
        first = next(iter(self.planes.values()))
        return ImageWcs.of_image(
            first.header,
            first.data.shape,
            tables=EMPTY_PRIMARY + self.wcs_tables if self.wcs_tables else b"",
        )


def box_of(image: OpenImage, stencil: Stencil) -> Box:
    """Return the smallest box of pixels that holds what a stencil has of an image.

    Raises
    ------
    NoOverlapError
        Raised if the two have nothing in common.
    BadParameterError
        Raised if the stencil is about positions and the image has none.
    """
    plane = image.image
    box = list(whole_box(plane.shape))
    name = image.record.key.path
    if stencil.region is not None:
        sky = _sky_of(image)
        found = sky_box(sky, stencil.region)
        if found is None:
            raise NoOverlapError(f"The region lies outside of the image {name}.")
        box[sky.x_axis], box[sky.y_axis] = found[:2], found[2:]
    wcs = image.wcs
    if stencil.band is not None:
        _cut_axis(
            box,
            None if wcs is None else wcs.spectral,
            _Interval(*stencil.band, "BAND", ("em_min", "em_max")),
            image.record,
            "" if wcs is None else wcs.no_spectral_reason,
        )
    if stencil.time is not None:
        _cut_axis(
            box,
            None if wcs is None else wcs.time,
            _Interval(*stencil.time, "TIME", ("t_min", "t_max")),
            image.record,
        )
    if stencil.pol:
        _cut_polarisation(box, image, stencil.pol)
    return tuple(box)


def cut(
    image: OpenImage,
    stencil: Stencil,
    *,
    planes: Sequence[PlaneKind] = (PlaneKind.IMAGE,),
    max_pixels: float | None = None,
    authority: str = "",
    now: datetime | None = None,
) -> Cutout:
    """Cut a part out of an image.

    Parameters
    ----------
    image
        The image.
    stencil
        What to cut; an empty one gives the whole image.
    planes
        Which planes.
    max_pixels
        Of all planes together.
    authority
        Of the image's identifier in the header.
    now
        The time in the header; by default the present.

    Raises
    ------
    NoOverlapError
        Raised if image and stencil have nothing in common.
    TooLargeError
        Raised if there are more pixels than `max_pixels`; nothing has been read then.
    BadParameterError
        Raised if the image lacks a plane, or has no position and the stencil is about positions.
    ImageInvalidError
        Raised if the image's file is broken.
    """
    wanted = _planes_of(image, planes)
    box = box_of(image, stencil)
    return cut_box(
        image,
        box,
        planes=tuple(wanted),
        max_pixels=max_pixels,
        provenance=provenance_cards(image.record, stencil, authority=authority, now=now),
        stencil=stencil,
    )


def cut_box(
    image: OpenImage,
    box: Box,
    *,
    planes: Sequence[PlaneKind] = (PlaneKind.IMAGE,),
    max_pixels: float | None = None,
    provenance: Mapping[str, CardValue] | None = None,
    stencil: Stencil = Stencil(),
) -> Cutout:
    """Cut a box of pixels out of an image.

    Parameters
    ----------
    image
        The image.
    box
        Within the science plane, in NumPy's order.
    planes
        Which planes.
    max_pixels
        Of all planes together.
    provenance
        Cards for the header.
    stencil
        What the box was made of.

    Raises
    ------
    TooLargeError, BadParameterError, ImageInvalidError
        Raised as by `cut`.
    """
    boxes = {kind: _box_in(image, plane, box) for kind, plane in _planes_of(image, planes).items()}
    pixels = sum(box_pixels(part) for part in boxes.values())
    if max_pixels is not None and pixels > max_pixels:
        raise TooLargeError(
            f"The cutout has {pixels / 1e6:,.1f} million pixels; at most {max_pixels / 1e6:,.1f} "
            "million are cut out at once. Ask for a smaller region or for fewer planes."
        )
    cuts: dict[PlaneKind, CutPlane] = {}
    for kind, part in boxes.items():
        plane = image.planes[kind]
        data = plane.read(part)
        cuts[kind] = CutPlane(data, cut_header(plane, part, provenance), part)
    tables = image.image.index.wcs_tables
    return Cutout(
        image,
        stencil,
        cuts,
        shifted_tables(tables, [start for start, _ in reversed(box)]) if tables else b"",
    )


def cut_header(
    plane: Plane, box: Box, provenance: Mapping[str, CardValue] | None = None
) -> FitsHeader:
    """Return the header of a part of a plane, without what says how pixels are stored.

    Parameters
    ----------
    plane
        The plane.
    box
        The part.
    provenance
        Cards to put behind all others.
    """
    first = [start for start, _ in reversed(box)]
    values = shifted_header(plane.header, first)
    return plane.bare_header.replaced({**values, **(provenance or {})}, comments=_COMMENTS)


def provenance_cards(
    record: ImageRecord,
    stencil: Stencil,
    *,
    authority: str = "",
    now: datetime | None = None,
) -> dict[str, CardValue]:
    """Return what a cutout's header says of where it comes from."""
    cards: dict[str, CardValue] = {
        "SRCDID": record.key.did(authority) if authority else record.key.path,
        "CUTREG": stencil.label or "whole image",
    }
    if record.release:
        cards["SRCREL"] = record.release
    cards["DATE"] = (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return cards


_COMMENTS: Final = {
    "SRCDID": "image that this was cut from",
    "CUTREG": "what was asked for",
    "SRCREL": "release of that image",
    "DATE": "when this was cut (UTC)",
}


def corners_around(
    image: OpenImage,
    ra_deg: npt.ArrayLike,
    dec_deg: npt.ArrayLike,
    width_px: npt.ArrayLike,
    height_px: npt.ArrayLike,
) -> npt.NDArray[np.int64]:
    """Return the boxes of stamps around positions, whether they lie on the image or not.

    Parameters
    ----------
    image
        The image.
    ra_deg, dec_deg : (n,)
        ICRS degrees.
    width_px, height_px : (n,) or numbers
        Pixels of each stamp.

    Returns
    -------
    (n, 4)
        x_first, x_stop, y_first, y_stop; the position lies in the middle pixel of a stamp of odd
        size, and within half a pixel of the middle of one of even size.  Where the projection has
        no place for a position all are below -2**31.

    Raises
    ------
    BadParameterError
        Raised if the image has no position.
    """
    wcs = _sky_of(image)
    x, y = wcs.to_pixel(ra_deg, dec_deg)
    nowhere = ~(np.isfinite(x) & np.isfinite(y)) | (np.abs(x) > 2**31) | (np.abs(y) > 2**31)
    x, y = np.where(nowhere, -(2.0**40), x), np.where(nowhere, -(2.0**40), y)
    width = np.broadcast_to(np.asarray(width_px, dtype=np.int64), x.shape)
    height = np.broadcast_to(np.asarray(height_px, dtype=np.int64), y.shape)
    x_first = np.floor(x - (width - 1) / 2.0 + 0.5).astype(np.int64)
    y_first = np.floor(y - (height - 1) / 2.0 + 0.5).astype(np.int64)
    return np.column_stack((x_first, x_first + width, y_first, y_first + height))


def box_around(
    image: OpenImage, ra_deg: float, dec_deg: float, width_px: int, height_px: int
) -> Box:
    """Return the box of a stamp around a position, cut off at the image's borders.

    Parameters
    ----------
    image
        The image; axes beside the sky are taken whole.
    ra_deg, dec_deg
        ICRS degrees.
    width_px, height_px
        Pixels of the stamp.

    Raises
    ------
    NoOverlapError
        Raised if no pixel of the stamp lies on the image.
    BadParameterError
        Raised if the image has no position.
    """
    corner = corners_around(image, [ra_deg], [dec_deg], width_px, height_px)[0].tolist()
    wcs = _sky_of(image)
    height, width = wcs.sky_shape
    x = max(corner[0], 0), min(corner[1], width)
    y = max(corner[2], 0), min(corner[3], height)
    if x[0] >= x[1] or y[0] >= y[1]:
        raise NoOverlapError(
            f"The position {ra_deg:.6f} {dec_deg:+.6f} lies outside of the image "
            f"{image.record.key.path}."
        )
    box = list(whole_box(image.image.shape))
    box[wcs.x_axis], box[wcs.y_axis] = x, y
    return tuple(box)


def _sky_of(image: OpenImage) -> ImageWcs:
    wcs = image.wcs
    if wcs is None or not wcs.has_sky:
        reason = "its header has no WCS" if wcs is None else wcs.no_sky_reason
        raise BadParameterError(
            f"The image {image.record.key.path} has no position ({reason}), so that no region of "
            "the sky can be cut out of it; leave the region out to have all of it."
        )
    return wcs


def _planes_of(image: OpenImage, planes: Sequence[PlaneKind]) -> dict[PlaneKind, Plane]:
    wanted = {kind: image.planes.get(kind) for kind in planes}
    missing = [kind.value for kind, plane in wanted.items() if plane is None]
    if missing:
        there = ", ".join(kind.value for kind in image.planes)
        raise BadParameterError(
            f"The image {image.record.key.path} has no plane {' or '.join(missing)}; its planes "
            f"are: {there}."
        )
    return {kind: plane for kind, plane in wanted.items() if plane is not None}


def _box_in(image: OpenImage, plane: Plane, box: Box) -> Box:
    """Return the part of a plane that belongs to a box of the science plane."""
    shape = image.image.shape
    if plane.shape == shape:
        return box
    # A mask of a cube may be one for all its channels.
    wcs = image.wcs
    if wcs is not None and wcs.has_sky and plane.shape == wcs.sky_shape:
        return box[wcs.y_axis], box[wcs.x_axis]
    if box == whole_box(shape):
        return whole_box(plane.shape)
    raise ImageInvalidError(
        f"HDU {plane.hdu} of the image {image.record.key.path} has {plane.shape} pixels, the "
        f"science plane {shape}: no part of both can be cut out."
    )


@dataclass(frozen=True, slots=True)
class _Interval:
    low: float
    high: float
    parameter: str
    columns: tuple[str, str]  # of ObsCore, that say what the whole image has


def _cut_axis(
    box: list[tuple[int, int]],
    axis: EdgedAxis | None,
    interval: _Interval,
    record: ImageRecord,
    reason: str = "",
) -> None:
    """Cut an interval out of an axis, or see whether all of the image lies in it."""
    no_overlap = NoOverlapError(
        f"{interval.parameter} has nothing in common with the image {record.key.path}."
    )
    if axis is not None:
        found = axis.pixels(interval.low, interval.high)
        if found is None:
            raise no_overlap
        box[axis.axis] = found
        return
    limits = [record.obscore.get(name) for name in interval.columns]
    known = [value for value in limits if value is not None and math.isfinite(value)]
    if known and (max(known) < interval.low or min(known) > interval.high):
        raise no_overlap
    if reason:
        raise BadParameterError(
            f"{interval.parameter} cannot be cut out of the image {record.key.path}: {reason}."
        )


def _cut_polarisation(
    box: list[tuple[int, int]], image: OpenImage, wanted: tuple[str, ...]
) -> None:
    axis = None if image.wcs is None else image.wcs.polarisation
    no_overlap = NoOverlapError(
        f"The image {image.record.key.path} has none of the polarisation states "
        f"{', '.join(wanted)}."
    )
    if axis is not None:
        found = axis.pixels(wanted)
        if found is None:
            raise no_overlap
        box[axis.axis] = found
        return
    states = str(image.record.obscore.get("pol_states") or "").upper().split("/")
    known = {state for state in states if state}
    if known and not known & {state.upper() for state in wanted}:
        raise no_overlap
