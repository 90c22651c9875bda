"""What a mosaic will be made of, and what that will cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from astrolabe.core.errors import BadParameterError
from astrolabe.images.model import ImageRecord, PlaneKind
from astrolabe.images.mosaics.grid import OutputGrid
from astrolabe.images.mosaics.photometry import FluxScale, read_flux_scale, scale_fluxes
from astrolabe.images.mosaics.request import Combine
from astrolabe.images.mosaics.resampling import Block
from astrolabe.images.reader import ImageReader

__all__ = ["MosaicPlan", "PlacedImage", "on_one_scale", "place_images", "resolve_combine"]

_SECONDS_PER_MPIX: Final = 0.4
_SECONDS_PER_IMAGE: Final = 0.03
"""Measured on one core of a small server; other machines differ by a factor of two."""
_MATCHING_SHARE: Final = 0.15
"""Time to match backgrounds, as a share of all else."""
_MARGIN_PX: Final = 4.0
_BLOCK: Final = 1024
_SMALLEST_BLOCK: Final = 64
_STACK_BYTES: Final = 256 << 20
"""Memory for the values of all images in a block (of a median)."""


@dataclass(frozen=True, slots=True, eq=False)
class PlacedImage:
    """An image on the grid.

    Parameters
    ----------
    record
        The image.
    rows, columns
        The rectangle of the grid that it may cover: first one and the one after the last.
    factor
        By what its pixels are multiplied to come to the scale of the mosaic.
    """

    record: ImageRecord
    rows: tuple[int, int]
    columns: tuple[int, int]
    factor: float = 1.0

    def meets(self, block: Block) -> bool:
        """Whether it may have pixels in a block."""
        return (
            self.rows[0] < block.y + block.height
            and self.rows[1] > block.y
            and self.columns[0] < block.x + block.width
            and self.columns[1] > block.x
        )

    @property
    def pixels(self) -> int:
        """Pixels of the grid that it covers, at most."""
        return (self.rows[1] - self.rows[0]) * (self.columns[1] - self.columns[0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MosaicPlan:
    """A mosaic that can be made.

    Parameters
    ----------
    grid
        Its pixels.
    images
        What it is made of, in the order of their names.
    combine
        How values are combined.
    output
        What one unit of the mosaic's pixels is.
    unreadable
        Images that the caller may see but not read; they are left out.
    match_background
        Whether backgrounds are matched, for which each image is read once more.
    """

    grid: OutputGrid
    images: Sequence[PlacedImage]
    combine: Combine
    output: FluxScale
    unreadable: int = 0
    match_background: bool = False

    @property
    def is_surface(self) -> bool:
        """Whether values are of a solid angle or a beam; else they are of a pixel."""
        return bool(self.output.surface)

    @property
    def resampled_pixels(self) -> int:
        """Pixels that are resampled, over all images."""
        return sum(image.pixels for image in self.images)

    @property
    def read_bytes(self) -> int:
        """Bytes of files that are read, about: the share of each that lies on the grid."""
        once = sum(image.record.size_bytes * _share(image, self.grid) for image in self.images)
        return int(once * self._readings)

    @property
    def _readings(self) -> int:
        return 2 if self.match_background else 1

    @property
    def seconds(self) -> float:
        """How long it takes, about (s)."""
        once = (
            self.resampled_pixels / 1e6 * _SECONDS_PER_MPIX + len(self.images) * _SECONDS_PER_IMAGE
        )
        return once + (once * _MATCHING_SHARE if self.match_background else 0.0)

    @property
    def block_side(self) -> int:
        """Side of the blocks in which it is made, so that memory stays bounded."""
        if self.combine is not Combine.MEDIAN:
            return _BLOCK
        # Sorting makes a copy of the stack.
        side = math.isqrt(_STACK_BYTES // (8 * max(len(self.images), 1)))
        return min(max(side, _SMALLEST_BLOCK), _BLOCK)

    def blocks(self) -> list[Block]:
        """Return the blocks of the grid, row by row."""
        height, width = self.grid.shape
        side = self.block_side
        return [
            Block(y, x, min(side, height - y), min(side, width - x))
            for y in range(0, height, side)
            for x in range(0, width, side)
        ]

    def estimate(self) -> Mapping[str, Any]:
        """Return what it will cost, in plain values."""
        height, width = self.grid.shape
        return {
            "images": len(self.images),
            "images_not_readable": self.unreadable,
            "width": width,
            "height": height,
            "pixels": self.grid.pixels,
            "resampled_pixels": self.resampled_pixels,
            "read_bytes": self.read_bytes,
            "result_bytes": self.grid.pixels * 8 + 8 * 2880 + 240 * len(self.images),
            "estimated_seconds": round(self.seconds, 1),
            "combine": self.combine.value,
            "unit": self.output.unit,
            "zero_point": self.output.zero_point,
        }


def place_images(grid: OutputGrid, records: Sequence[ImageRecord]) -> list[PlacedImage]:
    """Return the images that may cover pixels of a grid, with where they are.

    Raises
    ------
    BadParameterError
        Raised if an image has no place on the sky.
    """
    height, width = grid.shape
    placed = []
    for record in sorted(records, key=lambda record: record.key.folded):
        region = record.obscore.get("s_region")
        if not region:
            raise BadParameterError(f"The image {record.key.path} has no place on the sky.")
        x, y = grid.wcs.to_pixel(np.asarray(region[0::2]), np.asarray(region[1::2]))
        if np.isfinite(x).all() and np.isfinite(y).all():
            # Sides of footprints are great circles, which bend a little on the grid.
            margin = _MARGIN_PX + 0.01 * float(np.ptp(x) + np.ptp(y))
            columns = _clipped(float(x.min()) - margin, float(x.max()) + margin, width)
            rows = _clipped(float(y.min()) - margin, float(y.max()) + margin, height)
        else:
            rows, columns = (0, height), (0, width)
        if rows[0] < rows[1] and columns[0] < columns[1]:
            placed.append(PlacedImage(record, rows, columns))
    return placed


def on_one_scale(
    images: Sequence[PlacedImage], reader: ImageReader, asked: str | None
) -> tuple[list[PlacedImage], FluxScale]:
    """Return images with their factors, and the scale to which these bring them.

    Parameters
    ----------
    reader
        Gives their headers.
    asked
        As in `MosaicRequest.scale_flux`.

    Raises
    ------
    BadParameterError
        Raised if they cannot come to one scale.
    NotFoundError, ImageInvalidError
        Raised if a file is gone or broken.
    """
    names = [image.record.key.path for image in images]
    scales = []
    for image, name in zip(images, names, strict=True):
        plane = reader.open(image.record).image
        scales.append(
            read_flux_scale(
                image.record.obscore.get("o_unit"),
                plane.header,
                plane.primary_header,
                name=name,
                is_trusted=asked != "NONE",
            )
        )
    scaling = scale_fluxes(scales, asked, names=names)
    scaled = [
        replace(image, factor=factor) for image, factor in zip(images, scaling.factors, strict=True)
    ]
    return scaled, scaling.output


def resolve_combine(asked: Combine | None, records: Sequence[ImageRecord]) -> Combine:
    """Return how to combine: as asked, else by weights if all images have variances.

    Raises
    ------
    BadParameterError
        Raised if weights are asked for and an image has no variances.
    """
    without = [r for r in records if PlaneKind.VARIANCE not in r.planes]
    if asked is Combine.WEIGHTED and without:
        raise BadParameterError(
            f"COMBINE=WEIGHTED needs variances, and {without[0].key.path} has none; use MEAN or "
            "MEDIAN."
        )
    if asked is not None:
        return asked
    return Combine.MEAN if without else Combine.WEIGHTED


def _clipped(low: float, high: float, length: int) -> tuple[int, int]:
    # As floats first: far away they do not fit integers.
    return int(min(max(math.floor(low), 0), length)), int(min(max(math.ceil(high) + 1, 0), length))


def _share(image: PlacedImage, grid: OutputGrid) -> float:
    """Return the share of an image's pixels that lies on the grid, by areas."""
    values = image.record.obscore
    own = values.get("s_pixel_scale")
    pixels = (values.get("s_xel1") or 0) * (values.get("s_xel2") or 0)
    if not own or not pixels:
        return 1.0
    return float(min(1.0, image.pixels * (grid.wcs.pixel_scale_arcsec / own) ** 2 / pixels))
