"""One image made ready for stamps: which positions lie on it, where, and what stamps will say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from astrolabe.core.errors import ImageInvalidError
from astrolabe.images.fits.cards import CardValue, FitsHeader
from astrolabe.images.fits.wcs_tables import shifted_tables
from astrolabe.images.model import ImageRecord, PlaneKind
from astrolabe.images.reader import OpenImage
from astrolabe.images.stamps.cutting import StampPlane, Strip
from astrolabe.images.stamps.request import StampRequest
from astrolabe.images.stamps.template import MovingCard, compact_header, moving_cards
from astrolabe.images.wcs import ImageWcs
from astrolabe.images.wcs_cards import wcs_cards
from astrolabe.images.writers.bundles import safe_name

__all__ = ["StampImage", "open_for_stamps"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

_ID_CHARACTERS: Final = 20
_IMAGE_CHARACTERS: Final = 22


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class StampImage:
    """An image and the stamps that are to be cut from it.

    Parameters
    ----------
    record
        Of the image.
    did
        Its identifier.
    number
        Of the image in the request, from 1.
    planes
        What is cut, the science plane first.
    moving
        For each plane the cards that move with a stamp's first pixel.
    common
        What all its stamps say.
    rows, x, y : (n,)
        The positions on it: their rows and pixels (from 0).
    sides : (n,)
        Of each stamp (pixels).
    """

    record: ImageRecord
    did: str
    number: int
    planes: tuple[StampPlane, ...]
    moving: tuple[Sequence[MovingCard], ...]
    common: Mapping[str, CardValue]
    rows: IntArray
    x: FloatArray
    y: FloatArray
    sides: IntArray

    @property
    def first(self) -> tuple[IntArray, IntArray]:
        """The first pixel of each stamp, x and y; below 0 where it goes over the edge."""
        return first_pixel(self.x, self.sides), first_pixel(self.y, self.sides)

    @property
    def pixels(self) -> IntArray:
        """Pixels of all planes of each stamp."""
        lead = sum(int(np.prod(plane.lead, dtype=np.int64)) for plane in self.planes)
        return np.asarray(self.sides * self.sides * lead, dtype=np.int64)

    def tables(self, strip: Strip) -> npt.NDArray[np.uint8] | None:
        """Return the look-up tables of each stamp's WCS (n, bytes), `None` if it has none."""
        tables = self.planes[0].plane.index.wcs_tables
        if not tables:
            return None
        lead = [0] * (len(self.planes[0].plane.shape) - 2)
        moved = b"".join(
            shifted_tables(tables, [x, y, *lead])
            for x, y in zip(strip.x.tolist(), strip.y.tolist(), strict=True)
        )
        return np.frombuffer(moved, np.uint8).reshape(len(strip), -1)

    def names(self, rows: IntArray, ids: Sequence[str]) -> list[str]:
        """Return what stamps are called: unique, since a row has one stamp of an image."""
        image = safe_name(self.record.key.image_id, _IMAGE_CHARACTERS)
        return [
            f"{row + 1:06d}-{safe_name(ids[row], _ID_CHARACTERS)}-{self.number:05d}-{image}"
            for row in rows.tolist()
        ]


def first_pixel(center: FloatArray, sides: IntArray) -> IntArray:
    """Return the first pixel along an axis of stamps around pixels.

    The same rule as `astrolabe.images.cutouts.corners_around`.

    Parameters
    ----------
    center : (n,)
        Where the positions are, from 0; whole numbers are pixels' centres.
    sides : (n,)
        Pixels of each stamp.
    """
    return np.floor(center - (sides - 1) / 2.0 + 0.5).astype(np.int64)


def open_for_stamps(
    image: OpenImage,
    request: StampRequest,
    rows: IntArray,
    *,
    did: str,
    number: int,
    common: Mapping[str, CardValue],
) -> StampImage:
    """Find which positions lie on an image.

    Parameters
    ----------
    image
        The image.
    request
        What is asked for.
    rows
        Rows of the positions that may lie on it.
    did, number, common
        See `StampImage`.

    Raises
    ------
    ImageInvalidError
        Raised if the image has no position, if its first two axes are not those of the sky, or if
        its planes differ in size.
    """
    wcs = image.wcs
    if wcs is None or not wcs.has_sky:
        why = "there is no WCS in its header" if wcs is None else wcs.no_sky_reason
        raise ImageInvalidError(f"The image has no position: {why}.")
    axes = len(image.image.shape)
    if {wcs.x_axis, wcs.y_axis} != {axes - 1, axes - 2}:
        raise ImageInvalidError(
            "Stamps are cut from images whose first two axes are those of the sky; cut this one "
            "by a region (CIRCLE or POLYGON)."
        )
    planes = _planes(image, request.planes)
    height, width = image.image.shape[-2:]
    positions = request.positions
    x, y = wcs.to_pixel(positions.ra_deg[rows], positions.dec_deg[rows])
    with np.errstate(invalid="ignore"):
        on = (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)
    return StampImage(
        record=image.record,
        did=did,
        number=number,
        planes=planes,
        moving=tuple(tuple(moving_cards(plane.header, 0, 1, axes)) for plane in planes),
        common=common,
        rows=rows[on],
        x=x[on],
        y=y[on],
        sides=request.sides_px(rows[on], lambda: _scale(wcs)),
    )


def _planes(image: OpenImage, kinds: Sequence[PlaneKind]) -> tuple[StampPlane, ...]:
    wanted = [kind for kind in kinds if kind in image.planes]
    if not wanted:
        raise ImageInvalidError(f"The image has no plane {' or '.join(kinds)}.")
    shape = image.image.shape[-2:]
    found = []
    for kind in wanted:
        plane = image.planes[kind]
        if plane.shape[-2:] != shape:
            raise ImageInvalidError(
                f"The plane {kind.value} has {plane.shape} pixels, the image {image.image.shape}."
            )
        header = compact_header(plane.header)
        if kind is not PlaneKind.IMAGE and wcs_cards(plane.header) is None:
            # Masks and variances often leave their position to the image beside them.
            of_image = wcs_cards(image.image.header) or FitsHeader(())
            header = FitsHeader((*compact_header(of_image).cards, *header.cards))
        found.append(StampPlane(kind, plane, header))
    return tuple(found)


def _scale(wcs: ImageWcs) -> float:
    scale = wcs.pixel_scale_arcsec
    return scale if np.isfinite(scale) and scale > 0 else 1.0
