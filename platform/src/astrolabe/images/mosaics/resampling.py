"""One image on the pixels of a block of the grid, by `reproject`.

`reproject` is told where each pixel of the block is in the image by a pair of simple WCSs, since
asking the images' own for every pixel costs ten times as much as interpolating: the map from grid
to image is computed at nodes and linear between them, where that is good to a hundredth of a
pixel, and exactly where it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.units import Quantity
from astropy.wcs.wcsapi import BaseLowLevelWCS, HighLevelWCSWrapper
from typing_extensions import override

from astrolabe.images.mosaics.grid import OutputGrid
from astrolabe.images.mosaics.request import Resampling
from astrolabe.images.wcs import ImageWcs

__all__ = ["Block", "PixelMap", "map_block", "resample"]

Floats = npt.NDArray[np.float64]
Planes = npt.NDArray[np.float32]

_STEP: Final = 32
_NODE_ERROR_PX: Final = 0.01
_MARGIN_PX: Final = 3


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the grid: first row and column, and pixels along y and x."""

    y: int
    x: int
    height: int
    width: int


@dataclass(frozen=True, slots=True, eq=False)
class PixelMap:
    """Where the pixels of a block are in an image.

    Parameters
    ----------
    block
        The block.
    nodes_x, nodes_y : (ny, nx)
        Image pixels at nodes, `_STEP` pixels of the block apart; NaN where there are none.
    exact
        Gives image pixels of any pixels of the block, where nodes are not good enough.
    """

    block: Block
    nodes_x: Floats
    nodes_y: Floats
    exact: Callable[[Floats, Floats], tuple[Floats, Floats]] | None

    def at(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return the image pixels of pixels of the block, counted from its corner."""
        if self.exact is not None:
            return self.exact(x, y)
        from scipy.ndimage import map_coordinates  # noqa: PLC0415 - slow to import

        shape = np.shape(x)
        at = np.stack([np.ravel(y), np.ravel(x)]) / _STEP
        found = [
            map_coordinates(nodes, at, order=1, mode="nearest", prefilter=False).reshape(shape)
            for nodes in (self.nodes_x, self.nodes_y)
        ]
        return found[0], found[1]

    def area(self) -> Floats:
        """Return the pixels of the image that each pixel of the block covers (height, width)."""
        from scipy.ndimage import map_coordinates  # noqa: PLC0415 - slow to import

        x_by_y, x_by_x = np.gradient(self.nodes_x, _STEP, edge_order=2)
        y_by_y, y_by_x = np.gradient(self.nodes_y, _STEP, edge_order=2)
        nodes = np.abs(x_by_x * y_by_y - x_by_y * y_by_x)
        y, x = np.mgrid[: self.block.height, : self.block.width] / _STEP
        area: Floats = map_coordinates(nodes, [y, x], order=1, mode="nearest", prefilter=False)
        return area

    def box(self, shape: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]] | None:
        """Return rows and columns of the image under the block; `None` if there are none."""
        # There is one more node along each side than the block needs.
        over = np.s_[: -(-self.block.height // _STEP) + 1, : -(-self.block.width // _STEP) + 1]
        nodes_y, nodes_x = self.nodes_y[over], self.nodes_x[over]
        if not np.isfinite(nodes_x).all():
            # Somewhere the image's projection has no place: its pixels may be anywhere.
            return ((0, shape[0]), (0, shape[1])) if np.isfinite(nodes_x).any() else None
        spans = []
        for nodes, length in ((nodes_y, shape[0]), (nodes_x, shape[1])):
            # Between nodes the map bends by less than a step's share of it.
            first = int(np.clip(np.floor(nodes.min()) - _MARGIN_PX, 0, length))
            last = int(np.clip(np.ceil(nodes.max()) + _MARGIN_PX + 1, 0, length))
            if first >= last:
                return None
            spans.append((first, last))
        return spans[0], spans[1]


def map_block(grid: OutputGrid, block: Block, wcs: ImageWcs) -> PixelMap:
    """Return where the pixels of a block are in an image."""

    def exact(x: Floats, y: Floats) -> tuple[Floats, Floats]:
        shape = np.shape(x)
        ra, dec = grid.wcs.to_sky(np.ravel(x) + block.x, np.ravel(y) + block.y)
        there_x, there_y = wcs.to_pixel(ra, dec)
        return there_x.reshape(shape), there_y.reshape(shape)

    nodes_y = np.arange(0, block.height + 2 * _STEP, _STEP, dtype=np.float64)
    nodes_x = np.arange(0, block.width + 2 * _STEP, _STEP, dtype=np.float64)
    at_x, at_y = np.meshgrid(nodes_x, nodes_y)
    x, y = exact(at_x, at_y)
    pixel_map = PixelMap(block, x, y, None)
    half_x, half_y = np.meshgrid(nodes_x[:-1] + _STEP / 2, nodes_y[:-1] + _STEP / 2)
    true = exact(half_x, half_y)
    near = pixel_map.at(half_x, half_y)
    with np.errstate(invalid="ignore"):
        worst = np.max(np.hypot(true[0] - near[0], true[1] - near[1]), initial=0.0)
    if worst <= _NODE_ERROR_PX:  # false where it is NaN
        return pixel_map
    return PixelMap(block, x, y, exact)


def resample(
    planes: Planes, corner: tuple[int, int], binning: int, pixel_map: PixelMap, how: Resampling
) -> Planes:
    """Return planes of an image on the pixels of a block; NaN where there is nothing.

    Parameters
    ----------
    planes : (n, height, width)
        Of a box of the image, averaged over `binning` pixels each way.
    corner
        First row and column of the box.
    """
    from reproject import reproject_interp  # noqa: PLC0415 - brings Dask, slow to import

    block = pixel_map.block
    shift = (binning - 1) / 2

    def to_image(x: Floats, y: Floats) -> tuple[Floats, Floats]:
        there_x, there_y = pixel_map.at(x, y)
        return (there_x - corner[1] - shift) / binning, (there_y - corner[0] - shift) / binning

    source = HighLevelWCSWrapper(_Pixels(planes.shape[1:], to_image))
    target = HighLevelWCSWrapper(_Pixels((block.height, block.width), lambda x, y: (x, y)))
    found = reproject_interp(
        (planes, source),
        target,
        shape_out=(len(planes), block.height, block.width),
        order=how.value,
        roundtrip_coords=False,
        return_footprint=False,
    )
    return np.asarray(found, dtype=np.float32)


class _Pixels(BaseLowLevelWCS):  # type: ignore[misc] # astropy has no types
    """A WCS whose world coordinates are the pixels of the block (APE 14)."""

    pixel_n_dim = 2
    world_n_dim = 2
    world_axis_physical_types = (None, None)
    world_axis_units = ("pix", "pix")
    world_axis_object_components = (("x", 0, "value"), ("y", 0, "value"))
    world_axis_object_classes: Final[dict[str, Any]] = {
        "x": (Quantity, (), {"unit": "pix"}),
        "y": (Quantity, (), {"unit": "pix"}),
    }

    def __init__(
        self,
        shape: tuple[int, ...],
        to_pixels: Callable[[Floats, Floats], tuple[Floats, Floats]],
    ) -> None:
        self._shape = tuple(shape)
        self._to_pixels = to_pixels

    @property
    @override
    def array_shape(self) -> tuple[int, ...]:
        return self._shape

    @override
    def pixel_to_world_values(self, *pixel_arrays: Floats) -> tuple[Floats, ...]:
        return pixel_arrays

    @override
    def world_to_pixel_values(self, *world_arrays: Floats) -> tuple[Floats, Floats]:
        return self._to_pixels(world_arrays[0], world_arrays[1])
