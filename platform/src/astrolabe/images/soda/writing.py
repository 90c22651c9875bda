"""One cutout as the bytes of a file; large ones piece by piece."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Final

import numpy as np
import numpy.typing as npt

from astrolabe.core.errors import TooLargeError
from astrolabe.images.cutouts import Cutout, Stencil, box_of, cut_box, cut_header, provenance_cards
from astrolabe.images.fits.cards import CardValue, format_card
from astrolabe.images.fits.planes import Box, box_pixels
from astrolabe.images.fits.wcs_tables import shifted_tables
from astrolabe.images.model import PlaneKind
from astrolabe.images.reader import OpenImage, Plane
from astrolabe.images.soda.cutting import Cutting
from astrolabe.images.soda.formats import FormKind
from astrolabe.images.writers.fits import (
    FitsPlane,
    compressed_fits,
    fits_file,
    header_block,
    own_cards,
    padding,
    primary_header,
    storage_of,
    stored_pixels,
    structure,
)
from astrolabe.images.writers.pictures import PictureForm, PictureStyle, draw, flat_image

__all__ = ["Part", "color_picture", "cutout_chunks", "fits_planes"]

_BLOCK_PIXELS: Final = 4_000_000
"""A cutout of more is read and written in blocks of so many pixels."""

_PICTURE_PIXELS: Final = 16_000_000
"""A picture of more is drawn smaller: no screen shows it, and drawing takes much memory."""


class Part:
    """What a stencil has of an image; nothing is read before that is asked for.

    Parameters
    ----------
    image
        The image.
    stencil
        What is cut out of it.
    planes
        Which planes.
    authority
        Of identifiers in the header.

    Raises
    ------
    NoOverlapError
        Raised if the two have nothing in common.
    BadParameterError
        Raised if the stencil is about positions and the image has none.
    """

    def __init__(
        self, image: OpenImage, stencil: Stencil, planes: Sequence[PlaneKind], *, authority: str
    ) -> None:
        self.image = image
        self.stencil = stencil
        self.planes = tuple(planes)
        self.box = box_of(image, stencil)
        self.provenance = provenance_cards(image.record, stencil, authority=authority)

    @property
    def pixels(self) -> int:
        """How many pixels all planes have together."""
        return sum(self._pixels_of(plane) for plane in self._open)

    @property
    def size_bytes(self) -> int:
        """How many bytes they are in memory."""
        return sum(self._pixels_of(plane) * plane.dtype.itemsize for plane in self._open)

    def read(self, max_pixels: float) -> Cutout:
        """Return the pixels of all planes.

        Raises
        ------
        TooLargeError, BadParameterError, ImageInvalidError
            Raised as by `astrolabe.images.cutouts.cut_box`.
        """
        return cut_box(
            self.image,
            self.box,
            planes=self.planes,
            max_pixels=max_pixels,
            provenance=self.provenance,
            stencil=self.stencil,
        )

    @property
    def _open(self) -> list[Plane]:
        # What is missing is told by `read`, with its name.
        return [self.image.planes[kind] for kind in self.planes if kind in self.image.planes]

    def _pixels_of(self, plane: Plane) -> int:
        return min(box_pixels(self.box), math.prod(plane.shape))


def cutout_chunks(
    part: Part, form: FormKind, style: PictureStyle, cutting: Cutting, *, max_pixels: float
) -> Iterator[bytes]:
    """Yield one cutout in a form that holds one.

    Parameters
    ----------
    part
        What is cut.
    form
        FITS, compressed FITS or a picture.
    style
        How a picture is drawn.
    cutting
        The request that it belongs to; it counts the pixels before they are read.
    max_pixels
        The most that a form takes that has to be made as a whole.

    Raises
    ------
    TooLargeError, QuotaExceededError
        Raised if it is more than the request or its caller may have.
    BadParameterError, ImageInvalidError
        Raised if the image lacks a plane or is broken.
    """
    pixels = part.pixels
    cutting.begin(pixels, part.size_bytes)
    missing = any(kind not in part.image.planes for kind in part.planes)
    if form is FormKind.FITS and pixels > _BLOCK_PIXELS and not missing:
        yield from _in_blocks(part, cutting)
        return
    if form.is_picture and pixels > _PICTURE_PIXELS and not missing:
        yield draw(_small_image(part, cutting), PictureForm(form.value), style)
        return
    _require_small(pixels, form, max_pixels)
    cutout = part.read(max_pixels)
    cutting.cancel.raise_if_set()
    if form.is_picture:
        (plane,) = cutout.planes.values()
        yield draw(plane.data, PictureForm(form.value), style)
        return
    if form is FormKind.COMPRESSED:
        yield compressed_fits(fits_planes(cutout), common=part.provenance)
        return
    # The header of a plane that is alone says it already, with comments.
    alone = len(cutout.planes) == 1
    yield fits_file(fits_planes(cutout), common={} if alone else part.provenance)


def fits_planes(cutout: Cutout) -> list[FitsPlane]:
    """Return the planes of a cutout as a writer of FITS takes them."""
    return [
        FitsPlane(kind.value.upper(), plane.data, plane.header, cutout.wcs_tables)
        for kind, plane in cutout.planes.items()
    ]


def color_picture(
    parts: Sequence[Part],
    form: FormKind,
    style: PictureStyle,
    cutting: Cutting,
    *,
    max_pixels: float,
) -> bytes:
    """Return one picture in colours of what a stencil has of three images.

    Raises
    ------
    TooLargeError, QuotaExceededError, BadParameterError, ImageInvalidError
        Raised as by `cutout_chunks`.
    """
    # Resampling brings half a second of imports, which few processes need.
    from astrolabe.images.writers.rgb import Band, draw_rgb  # noqa: PLC0415

    pixels = sum(part.pixels for part in parts)
    cutting.begin(pixels, sum(part.size_bytes for part in parts))
    _require_small(pixels, form, max_pixels)
    most = len(parts) * _PICTURE_PIXELS
    if pixels > most:
        raise TooLargeError(
            f"The three images have {pixels / 1e6:,.1f} million pixels in the region; a picture in "
            f"colours is made of at most {most / 1e6:,.0f} million. Ask for a smaller region."
        )
    bands = []
    for part in parts:
        cutout = part.read(max_pixels)
        cutting.cancel.raise_if_set()
        (plane,) = cutout.planes.values()
        wcs = cutout.wcs
        has_sky = wcs is not None and wcs.has_sky
        bands.append(Band(plane.data, wcs.wcs.celestial if wcs is not None and has_sky else None))
    return draw_rgb(bands, PictureForm(form.value), style)


def _require_small(pixels: int, form: FormKind, max_pixels: float) -> None:
    if pixels > max_pixels:
        raise TooLargeError(
            f"The cutout has {pixels / 1e6:,.1f} million pixels; as {form.value} it is made as a "
            f"whole and may have {max_pixels / 1e6:,.1f} million (setting images.sync_mpix). Ask "
            "for a smaller region, or for RESPONSEFORMAT=fits in a job."
        )


def _small_image(part: Part, cutting: Cutting) -> npt.NDArray[np.float32]:
    """Return the means of square blocks of a plane's pixels, so many that a picture has its size.

    The pixels are read strip by strip.
    """
    (kind,) = part.planes
    plane = part.image.planes[kind]
    if plane.shape != part.image.image.shape:
        # A mask that is one for all channels of a cube is small.
        cutout = cut_box(part.image, part.box, planes=(kind,))
        return flat_image(cutout.planes[kind].data)
    *lead, (low, high), (left, right) = part.box
    width = right - left
    side = max(1, math.ceil(math.sqrt((high - low) * width / _PICTURE_PIXELS)))
    depth = math.prod(stop - start for start, stop in lead) * width
    rows = max(side, _BLOCK_PIXELS // depth // side * side)
    strips = []
    for start in range(low, high, rows):
        cutting.cancel.raise_if_set()
        box = (*lead, (start, min(start + rows, high)), (left, right))
        strips.append(_block_means(flat_image(plane.read(box)), side))
    return np.concatenate(strips)


def _block_means(image: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float32]:
    """Return the means of the finite pixels of square blocks; NaN where there is none."""
    if side == 1:
        return image
    finite = np.isfinite(image)
    sums, counts = (
        np.add.reduceat(
            np.add.reduceat(values, np.arange(0, image.shape[0], side), axis=0),
            np.arange(0, image.shape[1], side),
            axis=1,
        )
        for values in (np.where(finite, image, 0).astype(np.float64), finite.astype(np.float64))
    )
    means = np.full(sums.shape, np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means.astype(np.float32)


def _in_blocks(part: Part, cutting: Cutting) -> Iterator[bytes]:
    """Yield a FITS file as `fits_file` writes it, with only a few million pixels in memory."""
    image = part.image
    alone = len(part.planes) == 1
    tables = image.image.index.wcs_tables
    end = shifted_tables(tables, [start for start, _ in reversed(part.box)]) if tables else b""
    if not alone:
        yield primary_header(part.provenance)
    for kind in part.planes:
        plane = image.planes[kind]
        if plane.shape != image.image.shape:
            # A mask that is one for all channels of a cube is as small as one of them.
            cutout = cut_box(image, part.box, planes=(kind,), provenance=part.provenance)
            shared = cutout.planes[kind]
            content = stored_pixels(shared.data).tobytes()
            name = kind.value.upper()
            cards = structure(shared.data.dtype, shared.data.shape, extension=name)
            yield header_block([*cards, *own_cards(shared.header)]) + content
            yield padding(len(content))
            continue
        yield _header(part, kind, plane, alone=alone, extend=bool(end), common=part.provenance)
        for block in _blocks(part.box, _BLOCK_PIXELS):
            cutting.cancel.raise_if_set()
            yield stored_pixels(plane.read(block)).tobytes()
        yield padding(box_pixels(part.box) * storage_of(plane.dtype).stored.itemsize)
    yield end


def _header(
    part: Part,
    kind: PlaneKind,
    plane: Plane,
    *,
    alone: bool,
    extend: bool,
    common: Mapping[str, CardValue],
) -> bytes:
    shape = tuple(stop - start for start, stop in part.box)
    header = cut_header(plane, part.box, common)
    cards = structure(plane.dtype, shape, extension=None if alone else kind.value.upper())
    if alone and extend:
        cards.insert(3 + len(shape), format_card("EXTEND", value=True))
    return header_block([*cards, *own_cards(header)])


def _blocks(box: Box, most: int) -> Iterator[Box]:
    """Divide a box into boxes of at most about `most` pixels, in the order of the pixels."""
    lengths = [stop - start for start, stop in box]
    axis, inner = len(box) - 1, 1
    while axis > 0 and inner * lengths[axis] <= most:
        inner *= lengths[axis]
        axis -= 1
    step = max(1, most // inner)
    outer = [[(at, at + 1) for at in range(start, stop)] for start, stop in box[:axis]]
    start, stop = box[axis]
    steps = [(at, min(at + step, stop)) for at in range(start, stop, step)]
    for lead in product(*outer):
        for piece in steps:
            yield (*lead, piece, *box[axis + 1 :])
