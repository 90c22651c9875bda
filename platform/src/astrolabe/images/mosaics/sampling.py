"""One image of a mosaic: its pixels on the grid, on the scale of the mosaic."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from astrolabe.core.errors import BadParameterError
from astrolabe.images.model import PlaneKind
from astrolabe.images.mosaics.grid import OutputGrid
from astrolabe.images.mosaics.planning import PlacedImage
from astrolabe.images.mosaics.request import MosaicRequest
from astrolabe.images.mosaics.resampling import Block, PixelMap, map_block, resample
from astrolabe.images.reader import ImageReader, OpenImage
from astrolabe.images.wcs import ImageWcs

__all__ = ["ImageSampler"]

Values = npt.NDArray[np.float32]

_NO_DATA: Final = frozenset({"BAD", "CR", "NO_DATA", "EDGE", "SENSOR_EDGE", "UNMASKEDNAN"})
"""Names of mask bits (MP_...) without good data; saturated stars are better than holes."""
_MOST_BOX_PIXELS: Final = 16_000_000


class ImageSampler:
    """One image for the blocks of a grid.

    Parameters
    ----------
    reader
        Reads it.
    placed
        The image, and by what its pixels are multiplied.
    request
        Says how to resample, and which pixels are left out.
    grid
        The grid.
    is_surface
        Whether values are of a solid angle or a beam; else they are of a pixel and grow with it.
    level
        What is taken from each pixel after the multiplication: its background, too bright by this.
    """

    def __init__(
        self,
        reader: ImageReader,
        placed: PlacedImage,
        request: MosaicRequest,
        grid: OutputGrid,
        *,
        is_surface: bool,
        level: float = 0.0,
    ) -> None:
        self._image = reader.open(placed.record)
        self._wcs = _wcs_of(self._image)
        self._request = request
        self._grid = grid
        self._factor = placed.factor
        self._level = level
        self._bits = _bad_bits(self._image) if request.mask_bits is None else request.mask_bits
        self._is_surface = is_surface
        ratio = grid.wcs.pixel_scale_arcsec / self._wcs.pixel_scale_arcsec
        # A coarser grid must take in all pixels under it, not every so-many-th.
        self._binning = max(int(ratio), 1) if math.isfinite(ratio) else 1

    @property
    def pixel_arcsec2(self) -> float:
        """Area of a pixel of the image, in its middle (arcsec2)."""
        return self._wcs.pixel_scale_arcsec**2

    def fill(self, part: Block, whole: Block, values: Values, variance: Values | None) -> None:
        """Resample the image onto a part of a block; divide it if that needs too much memory."""
        pixel_map = map_block(self._grid, part, self._wcs)
        shape = self._wcs.sky_shape
        box = pixel_map.box(shape)
        if box is None:
            return
        (y, y_stop), (x, x_stop) = box
        pixels = (y_stop - y) * (x_stop - x)
        if pixels > _MOST_BOX_PIXELS and max(part.height, part.width) > 1:
            for half in _halves(part):
                self.fill(half, whole, values, variance)
            return
        planes, corner = self._read(box, shape, with_variance=variance is not None)
        found = resample(planes, corner, self._binning, pixel_map, self._request.resampling)
        where = np.s_[
            part.y - whole.y : part.y - whole.y + part.height,
            part.x - whole.x : part.x - whole.x + part.width,
        ]
        area = self._area(pixel_map)
        values[where] = (found[0] * self._factor - self._level) * area
        if variance is not None:
            variance[where] = found[1] * (self._factor * area) ** 2

    def _area(self, pixel_map: PixelMap) -> npt.NDArray[np.float64] | float:
        """Return by what to multiply: values a pixel grow with the pixel, others do not."""
        return 1.0 if self._is_surface else pixel_map.area()

    def _read(
        self,
        box: tuple[tuple[int, int], tuple[int, int]],
        shape: tuple[int, int],
        *,
        with_variance: bool,
    ) -> tuple[Values, tuple[int, int]]:
        step = self._binning
        # Bins begin at whole multiples, whatever the block is.
        (y, y_stop), (x, x_stop) = ((low - low % step, high) for low, high in box)
        y_stop, x_stop = (
            min(high + -high % step, length)
            for high, length in zip((y_stop, x_stop), shape, strict=True)
        )
        planes = self._image.planes
        wanted = ((y, y_stop), (x, x_stop))
        kinds = [PlaneKind.IMAGE] + ([PlaneKind.VARIANCE] if with_variance else [])
        data = np.stack([planes[kind].read(wanted).astype(np.float32) for kind in kinds])
        if PlaneKind.MASK in planes and self._bits:
            bad = (planes[PlaneKind.MASK].read(wanted) & self._bits) != 0
            data[:, bad] = np.nan
        return _binned(data, step), (y, x)


def _binned(planes: Values, step: int) -> Values:
    """Return the means of squares of pixels; what does not fill one at the end has its own."""
    if step == 1:
        return planes
    count, height, width = planes.shape
    padded = np.full(
        (count, height + -height % step, width + -width % step), np.nan, dtype=np.float32
    )
    padded[:, :height, :width] = planes
    squares = padded.reshape(count, padded.shape[1] // step, step, padded.shape[2] // step, step)
    known = np.isfinite(squares)
    number = known.sum(axis=(2, 4))
    total = np.where(known, squares, 0).sum(axis=(2, 4), dtype=np.float64)
    means = np.full(number.shape, np.nan)
    np.divide(total, number, out=means, where=number > 0)
    if count > 1:
        # The variance of a mean of n pixels.
        means[1] /= np.maximum(number[1], 1)
    return means.astype(np.float32)


def _halves(part: Block) -> tuple[Block, Block]:
    if part.height >= part.width:
        half = part.height // 2
        return (
            Block(part.y, part.x, half, part.width),
            Block(part.y + half, part.x, part.height - half, part.width),
        )
    half = part.width // 2
    return (
        Block(part.y, part.x, part.height, half),
        Block(part.y, part.x + half, part.height, part.width - half),
    )


def _wcs_of(image: OpenImage) -> ImageWcs:
    wcs = image.wcs
    if wcs is None or not wcs.has_sky:
        raise BadParameterError(f"The image {image.record.key.path} has no place on the sky.")
    if len(image.image.shape) != 2:
        raise BadParameterError(
            f"The image {image.record.key.path} has {len(image.image.shape)} axes; mosaics are "
            "made of images with two."
        )
    return wcs


def _bad_bits(image: OpenImage) -> int:
    """Return the bits of the mask that its header names as without good data."""
    plane = image.planes.get(PlaneKind.MASK)
    if plane is None:
        return 0
    bits = 0
    for keyword in plane.header:
        if keyword.startswith("MP_") and keyword[3:] in _NO_DATA:
            number = plane.header.number(keyword, -1)
            if 0 <= number < 31:
                bits |= 1 << int(number)
    return bits
