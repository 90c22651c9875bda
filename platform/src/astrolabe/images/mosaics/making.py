"""Makes a mosaic block by block, straight into its file."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from astrolabe.core.errors import BadParameterError
from astrolabe.core.storage import full_disk_is_storage_full
from astrolabe.images.fits.cards import CardValue, format_card
from astrolabe.images.model import ImageRecord, PlaneKind
from astrolabe.images.mosaics.combining import Combiner
from astrolabe.images.mosaics.planning import MosaicPlan
from astrolabe.images.mosaics.request import Combine, MosaicRequest
from astrolabe.images.mosaics.resampling import Block, PixelMap, map_block, resample
from astrolabe.images.reader import ImageReader, OpenImage
from astrolabe.images.wcs import ImageWcs
from astrolabe.images.writers.fits import header_block, padding, primary_header, structure

__all__ = ["CancelToken", "MosaicMaker"]

Values = npt.NDArray[np.float32]

_NO_DATA: Final = frozenset({"BAD", "CR", "NO_DATA", "EDGE", "SENSOR_EDGE", "UNMASKEDNAN"})
"""Names of mask bits (MP_...) without good data; saturated stars are better than holes."""
_SURFACE: Final = ("arcsec", "sr", "beam", "deg")
_MOST_BOX_PIXELS: Final = 16_000_000


class CancelToken(Protocol):
    """Tells whether somebody still waits."""

    def raise_if_set(self) -> None:
        """Raise `QueryTimeoutError` or `CancelledError` if nobody does."""


class MosaicMaker:
    """Makes mosaics.

    Parameters
    ----------
    reader
        Reads images.
    authority
        Of identifiers.
    """

    def __init__(self, reader: ImageReader, *, authority: str) -> None:
        self._reader = reader
        self._authority = authority

    def make(
        self,
        request: MosaicRequest,
        plan: MosaicPlan,
        path: Path,
        *,
        cancel: CancelToken,
        progress: Callable[[int, int], None],
    ) -> int:
        """Write a mosaic; return how many images have pixels in it.

        Memory does not grow with the mosaic nor with the number of images.

        Parameters
        ----------
        progress
            Told how many blocks of how many are done.

        Raises
        ------
        BadParameterError
            Raised if images do not go together.
        NotFoundError, ImageInvalidError
            Raised if a file is gone or broken.
        StorageFullError
            Raised if there is no room.
        CancelledError, QueryTimeoutError
            Raised if nobody waits any more.
        """
        unit = _common_unit([image.record for image in plan.images])
        with full_disk_is_storage_full("a mosaic", clean_up=(path,)):
            image, weight = self._open(request, plan, unit, path)
            blocks = plan.blocks()
            used: set[tuple[str, str]] = set()
            for number, block in enumerate(blocks, start=1):
                values, weights = self._block(request, plan, block, unit, used, cancel)
                where = np.s_[block.y : block.y + block.height, block.x : block.x + block.width]
                image[where], weight[where] = values, weights
                progress(number, len(blocks))
            image.flush()
            weight.flush()
        return len(used)

    def _block(
        self,
        request: MosaicRequest,
        plan: MosaicPlan,
        block: Block,
        unit: str,
        used: set[tuple[str, str]],
        cancel: CancelToken,
    ) -> tuple[Values, Values]:
        combiner = Combiner(plan.combine, (block.height, block.width))
        for placed in plan.images:
            if not placed.meets(block):
                continue
            cancel.raise_if_set()
            sampler = _ImageSampler(self._reader, placed.record, request, plan, unit)
            values = np.full((block.height, block.width), np.nan, np.float32)
            variance = np.full_like(values, np.nan) if plan.combine is Combine.WEIGHTED else None
            sampler.fill(block, block, values, variance)
            if combiner.add(values, variance):
                used.add(placed.record.key.folded)
        return combiner.result()

    def _open(
        self, request: MosaicRequest, plan: MosaicPlan, unit: str, path: Path
    ) -> tuple[Any, Any]:
        """Write the headers; return the pixels of the file as arrays (height, width)."""
        cards = _about(request, plan, unit)
        for number, placed in enumerate(plan.images, start=1):
            cards[f"PROG{number}"] = placed.record.key.path
        primary = primary_header(cards)
        weighted = plan.combine is Combine.WEIGHTED
        units = {
            "IMAGE": unit,
            "WEIGHT": (f"1/({unit})**2" if unit else "") if weighted else "",
        }
        offsets = []
        data_bytes = plan.grid.pixels * 4
        with path.open("wb") as file:
            file.write(primary)
            file.flush()
            for name, own_unit in units.items():
                more = [format_card("BUNIT", own_unit)] if own_unit else []
                shape = structure(np.float32, plan.grid.shape, extension=name)
                file.write(header_block([*shape, *plan.grid.header.cards, *more]))
                file.flush()
                offsets.append(file.tell())
                size = data_bytes + len(padding(data_bytes))
                # Reserved, not a hole: a full disk is an error here, and kills who writes later.
                os.posix_fallocate(file.fileno(), file.tell(), size)
                file.seek(size, os.SEEK_CUR)
        image, weight = (
            np.memmap(path, dtype=">f4", mode="r+", offset=offset, shape=plan.grid.shape)
            for offset in offsets
        )
        return image, weight


class _ImageSampler:
    """One image for the blocks of a mosaic."""

    def __init__(
        self,
        reader: ImageReader,
        record: ImageRecord,
        request: MosaicRequest,
        plan: MosaicPlan,
        unit: str,
    ) -> None:
        self._image = reader.open(record)
        self._wcs = _wcs_of(self._image)
        self._request = request
        self._plan = plan
        self._bits = _bad_bits(self._image) if request.mask_bits is None else request.mask_bits
        self._is_surface = any(word in unit.lower() for word in _SURFACE)
        ratio = plan.grid.wcs.pixel_scale_arcsec / self._wcs.pixel_scale_arcsec
        # A coarser grid must take in all pixels under it, not every so-many-th.
        self._binning = max(int(ratio), 1) if math.isfinite(ratio) else 1

    def fill(self, part: Block, whole: Block, values: Values, variance: Values | None) -> None:
        """Resample the image onto a part of a block; divide it if that needs too much memory."""
        pixel_map = map_block(self._plan.grid, part, self._wcs)
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
        values[where] = found[0] * area
        if variance is not None:
            variance[where] = found[1] * area**2

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


def _common_unit(records: list[ImageRecord]) -> str:
    units = {str(record.obscore.get("o_unit") or "") for record in records}
    if len(units) > 1:
        raise BadParameterError(
            f"The images have different units ({', '.join(sorted(repr(u) for u in units))[:300]}): "
            "they cannot be combined."
        )
    unit = units.pop() if units else ""
    if "mag" in unit.lower():
        raise BadParameterError(f"Values in {unit!r} cannot be averaged.")
    return unit


def _about(request: MosaicRequest, plan: MosaicPlan, unit: str) -> dict[str, CardValue]:
    """Return what the primary header says of the mosaic as a whole."""
    values: list[Mapping[str, Any]] = [image.record.obscore for image in plan.images]
    cards: dict[str, CardValue] = {
        "DATE": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        "OBJECT": request.label[:68],
        "NCOMBINE": len(plan.images),
        "COMBINE": plan.combine.value,
        "RESAMPLE": request.resampling.value,
        "FLUXCONS": not any(word in unit.lower() for word in _SURFACE),
        "WHTKIND": "inverse variance" if plan.combine is Combine.WEIGHTED else "number of images",
    }
    for keyword, column in (("FILTER", "band"), ("TELESCOP", "facility_name")):
        named = {str(value[column]) for value in values if value.get(column)}
        if len(named) == 1:
            cards[keyword] = named.pop()[:60]
    starts = [float(v["t_min"]) for v in values if v.get("t_min") is not None]
    ends = [float(v["t_max"]) for v in values if v.get("t_max") is not None]
    if starts and ends:
        cards |= {"TIMESYS": "UTC", "MJD-OBS": min(starts), "MJD-END": max(ends)}
    exposures = [float(v["t_exptime"]) for v in values if v.get("t_exptime") is not None]
    if exposures:
        cards["EXPTIME"] = sum(exposures)
    return cards
