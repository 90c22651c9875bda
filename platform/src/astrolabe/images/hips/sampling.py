"""The values of a tile, from the images that lie under it.

Each pixel of a tile is read in every image by linear interpolation between its four neighbours,
and the images are averaged.  Where pixels of a tile are much larger than those of an image, the
tile is made of finer ones, so that nothing of the image is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from astrolabe.core.errors import AstrolabeError
from astrolabe.images.hips.tiles import (
    FloatTile,
    Tile,
    average_of_children,
    pixel_scale_arcsec,
    sky_grid,
)
from astrolabe.images.model import ImageRecord, PlaneKind
from astrolabe.images.reader import ImageReader, OpenImage, Plane
from astrolabe.images.wcs import ImageWcs

__all__ = ["TileSampler"]

FloatArray = npt.NDArray[np.float64]

_NODES: Final = 33  # along a side of a tile: places where the WCS itself is asked
_NODE_ERROR_PX: Final = 0.02
_FINER: Final = 1.5  # times the size of an image's pixel: from there on tiles are divided
_MOST_DIVISIONS: Final = 3
_LAST_RESORT: Final = 1e-9  # weight of a masked pixel, against that of a good one


@dataclass(frozen=True, slots=True, eq=False)
class _Patch:
    """What one image has to say of a tile: values (w, w), NaN where nothing."""

    values: FloatTile
    image: OpenImage
    x: FloatArray
    y: FloatArray


class TileSampler:
    """Makes tiles of images.  Safe to use from many threads.

    Parameters
    ----------
    reader
        Opens images.
    width
        Pixels along a side of a tile.
    on_failure
        Called with an image that cannot be read and the reason; it is then left out.
    """

    def __init__(
        self,
        reader: ImageReader,
        *,
        width: int,
        on_failure: Callable[[ImageRecord, str], None],
    ) -> None:
        self._reader = reader
        self._width = width
        self._on_failure = on_failure
        # For each pixel along a side the node before it, and how far it is to the next one.
        place = np.linspace(0.0, _NODES - 1, width)
        self._first_node = np.minimum(place.astype(np.intp), _NODES - 2)
        self._node_share = place - self._first_node

    def tile(self, tile: Tile, records: Sequence[ImageRecord]) -> FloatTile | None:
        """Return the mean of images in the pixels of a tile, `None` if none is under it.

        Parameters
        ----------
        records
            The images; one without position, or with other than two axes, is left out.
        """
        images: list[tuple[OpenImage, ImageWcs]] = []
        for record in records:
            try:
                image = self._reader.open(record)
                wcs = image.wcs
                if wcs is None or len(image.image.shape) != 2:
                    self._on_failure(record, "it is not an image of the sky with two axes")
                    continue
                images.append((image, wcs))
            except AstrolabeError as exc:
                self._on_failure(record, str(exc))
        return self._divided(tile, images, 0)

    def _divided(
        self, tile: Tile, images: list[tuple[OpenImage, ImageWcs]], divisions: int
    ) -> FloatTile | None:
        if not images:
            return None
        finest = min(wcs.pixel_scale_arcsec for _, wcs in images)
        is_coarse = pixel_scale_arcsec(tile.order, self._width) > _FINER * finest
        if not is_coarse or divisions == _MOST_DIVISIONS:
            return self._sampled(tile, images)
        parts = {child: self._divided(child, images, divisions + 1) for child in tile.children}
        known = {child: values for child, values in parts.items() if values is not None}
        return average_of_children(known, self._width) if known else None

    def _sampled(self, tile: Tile, images: list[tuple[OpenImage, ImageWcs]]) -> FloatTile | None:
        first: _Patch | None = None
        total: FloatArray | None = None
        weights: FloatArray | None = None
        for image, wcs in images:
            try:
                patch = self._patch(tile, image, wcs)
                if patch is None:
                    continue
                if first is None:
                    # Alone it needs no weights, and its mask and variance are not read.
                    first = patch
                    continue
                if total is None or weights is None:
                    total, weights = _weighted(first)
                more, more_weights = _weighted(patch)
                total += more
                weights += more_weights
            except AstrolabeError as exc:
                self._on_failure(image.record, str(exc))
        if total is None or weights is None:
            return None if first is None else first.values
        result = np.full(total.shape, np.nan)
        np.divide(total, weights, out=result, where=weights > 0)
        return result.astype(np.float32)

    def _patch(self, tile: Tile, image: OpenImage, wcs: ImageWcs) -> _Patch | None:
        x, y = self._pixels(tile, wcs, _cap_of(image.record))
        height, width = image.image.shape
        inside = (x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5)
        if not inside.any():
            return None
        values = _interpolated(image.image, x, y, inside, order=1).astype(np.float32)
        if not np.isfinite(values).any():
            return None
        return _Patch(values, image, x, y)

    def _pixels(
        self, tile: Tile, wcs: ImageWcs, cap: tuple[FloatArray, float] | None
    ) -> tuple[FloatArray, FloatArray]:
        """Return where in an image the pixels of a tile are: x and y (w, w), NaN if nowhere.

        The WCS is asked at some places only and interpolated between them, where that is good to
        a fiftieth of a pixel.
        """
        last = self._width - 1
        nodes = np.linspace(0.0, last, _NODES)
        x, y = self._exact(tile, wcs, nodes, cap)
        middles = (nodes[:-1] + nodes[1:]) / 2.0
        true_x, true_y = self._exact(tile, wcs, middles, cap)
        with np.errstate(invalid="ignore"):
            error = np.hypot(_middle(x) - true_x, _middle(y) - true_y)
        worst = float(np.nanmax(error)) if np.isfinite(error).any() else 0.0
        every = np.arange(self._width, dtype=np.float64)
        if worst > _NODE_ERROR_PX:
            return self._exact(tile, wcs, every, cap)
        return self._between_nodes(x), self._between_nodes(y)

    def _between_nodes(self, values: FloatArray) -> FloatArray:
        """Interpolate linearly from the nodes to all pixels of a tile, (w, w)."""
        first, share = self._first_node, self._node_share
        rows = values[first] + share[:, None] * (values[first + 1] - values[first])
        left = rows[:, first]
        return np.asarray(left + share * (rows[:, first + 1] - left))

    def _exact(
        self,
        tile: Tile,
        wcs: ImageWcs,
        places: FloatArray,
        cap: tuple[FloatArray, float] | None,
    ) -> tuple[FloatArray, FloatArray]:
        rows, columns = np.meshgrid(places, places, indexing="ij")
        ra, dec = sky_grid(tile, rows, columns, self._width)
        x = np.full(ra.shape, np.nan)
        y = np.full(ra.shape, np.nan)
        near = np.ones(ra.shape, dtype=np.bool_)
        if cap is not None:
            # Far from the image its distortion means nothing, and may lead back into it.
            margin = 4.0 * self._width / _NODES * pixel_scale_arcsec(tile.order, self._width)
            limit = 1.05 * cap[1] + math.radians(margin / 3600.0)
            near = _vectors(ra, dec) @ cap[0] >= math.cos(min(limit, math.pi))
        if near.any():
            x[near], y[near] = wcs.to_pixel(ra[near], dec[near])
        return x, y


def _weighted(patch: _Patch) -> tuple[FloatArray, FloatArray]:
    """Return values times weights, and weights; both 0 where there is no value."""
    finite = np.isfinite(patch.values)
    weights = np.ones(patch.values.shape)
    planes = patch.image.planes
    if PlaneKind.VARIANCE in planes:
        variance = _interpolated(planes[PlaneKind.VARIANCE], patch.x, patch.y, finite, order=0)
        usable = np.isfinite(variance) & (variance > 0)
        weights = np.where(usable, 1.0 / np.where(usable, variance, 1.0), _LAST_RESORT)
    if PlaneKind.MASK in planes:
        masked = _interpolated(planes[PlaneKind.MASK], patch.x, patch.y, finite, order=0)
        # Used only where no image has a good pixel: a hole in the sky is worse.
        weights = np.where(np.nan_to_num(masked) != 0, weights * _LAST_RESORT, weights)
    height, width = patch.image.image.shape
    # Beyond the middle of its outermost pixels an image is only guessed.
    with np.errstate(invalid="ignore"):
        guessed = (np.abs(patch.x - (width - 1) / 2) > (width - 1) / 2) | (
            np.abs(patch.y - (height - 1) / 2) > (height - 1) / 2
        )
    weights = np.where(guessed, weights * _LAST_RESORT, weights)
    weights[~finite] = 0.0
    return np.where(finite, patch.values, 0.0) * weights, weights


def _interpolated(
    plane: Plane, x: FloatArray, y: FloatArray, inside: npt.NDArray[np.bool_], *, order: int
) -> FloatArray:
    """Return a plane's values at pixels, NaN where not `inside`; only that part of it is read."""
    from scipy.ndimage import map_coordinates  # noqa: PLC0415 - slow to import

    height, width = plane.shape
    result = np.full(x.shape, np.nan)
    if not inside.any():
        return result
    left, right = _limits(x[inside], width)
    bottom, top = _limits(y[inside], height)
    data: npt.NDArray[Any] = plane.read(((bottom, top), (left, right)))
    at = np.stack([y[inside] - bottom, x[inside] - left])
    kind = np.float64 if data.dtype.itemsize > 4 else np.float32
    result[inside] = map_coordinates(
        data.astype(kind), at, order=order, mode="nearest", prefilter=False
    )
    return result


def _limits(places: FloatArray, length: int) -> tuple[int, int]:
    first = max(0, math.floor(float(places.min())))
    last = min(length, math.ceil(float(places.max())) + 1)
    return min(first, length - 1), max(last, 1)


def _middle(nodes: FloatArray) -> FloatArray:
    return (nodes[:-1, :-1] + nodes[1:, :-1] + nodes[:-1, 1:] + nodes[1:, 1:]) / 4.0


def _cap_of(record: ImageRecord) -> tuple[FloatArray, float] | None:
    """Return a circle around an image: its centre (3,) and its radius (rad)."""
    corners = record.obscore.get("s_region")
    if not corners:
        return None
    places = np.asarray(corners, dtype=np.float64).reshape(-1, 2)
    vectors = _vectors(places[:, 0], places[:, 1])
    middle = vectors.sum(axis=0)
    length = float(np.linalg.norm(middle))
    if length < 1e-3 * len(vectors):
        return None  # around the whole sky
    middle /= length
    return middle, float(np.arccos(np.clip(vectors @ middle, -1.0, 1.0)).max())


def _vectors(ra_deg: FloatArray, dec_deg: FloatArray) -> FloatArray:
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)
