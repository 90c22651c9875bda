"""Backgrounds that agree: a constant for each image, from where images overlap.

Each image is sampled on a coarse grid, some thousand pixels of it.  The median of the differences
of two images over their common pixels is what their constants must differ by, stars being in both;
the constants are the least squares solution of all pairs, with a mean of zero in each group of
images that hang together.  Montage and `reproject.mosaicking.match_backgrounds` go the same way,
with all pixels in memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from astrolabe.images.mosaics.grid import OutputGrid, grid_of_region, region_of_grid
from astrolabe.images.mosaics.planning import MosaicPlan, PlacedImage, place_images
from astrolabe.images.mosaics.request import MosaicRequest
from astrolabe.images.mosaics.resampling import Block
from astrolabe.images.mosaics.sampling import ImageSampler
from astrolabe.images.reader import ImageReader

__all__ = ["Difference", "match_backgrounds", "solve_levels"]

Values = npt.NDArray[np.float32]

_SIDE, _SIDE_OF_MANY, _MANY = 64, 32, 200
"""Coarse pixels along a side of an image, and of each where there are many."""
_MOST_SAMPLES: Final = 16_000_000
"""Coarse pixels of all images together: what bounds memory."""
_LEAST_COMMON: Final = 4


class CancelToken(Protocol):
    """Tells whether somebody still waits."""

    def raise_if_set(self) -> None:
        """Raise `QueryTimeoutError` or `CancelledError` if nobody does."""


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much one image is brighter than another.

    Parameters
    ----------
    first, second
        Their numbers.
    value
        The first one's level less the second one's.
    weight
        How many pixels say so.
    """

    first: int
    second: int
    value: float
    weight: float


def match_backgrounds(
    reader: ImageReader, request: MosaicRequest, plan: MosaicPlan, *, cancel: CancelToken
) -> tuple[float, ...]:
    """Return what is to be taken from the pixels of each image, after its factor.

    Memory does not grow with the images' pixels.

    Raises
    ------
    NotFoundError, ImageInvalidError
        Raised if a file is gone or broken.
    CancelledError, QueryTimeoutError
        Raised if nobody waits any more.
    """
    grid, placed = _coarse(plan)
    number = {image.record.key.folded: n for n, image in enumerate(plan.images)}
    samples: list[tuple[int, PlacedImage, Values]] = []
    areas = [1.0] * len(plan.images)
    for coarse in placed:
        cancel.raise_if_set()
        own = number[coarse.record.key.folded]
        # Levels are of the sky, so of a solid angle, whatever pixels an image has.
        sampler = ImageSampler(reader, plan.images[own], request, grid, is_surface=True)
        if not plan.is_surface:
            areas[own] = sampler.pixel_arcsec2
        block = Block(
            coarse.rows[0],
            coarse.columns[0],
            coarse.rows[1] - coarse.rows[0],
            coarse.columns[1] - coarse.columns[0],
        )
        values = np.full((block.height, block.width), np.nan, np.float32)
        sampler.fill(block, block, values, None)
        samples.append((own, coarse, values / np.float32(areas[own])))
    levels = solve_levels(len(plan.images), _differences(samples, cancel))
    return tuple(float(level * area) for level, area in zip(levels, areas, strict=True))


def solve_levels(count: int, differences: Sequence[Difference]) -> npt.NDArray[np.float64]:
    """Return the levels (count,) that fit differences best; their mean is 0 in each group.

    An image that is compared with no other has the level 0.
    """
    # Slow to import, and few processes ever fit levels.
    from scipy.sparse import coo_array  # noqa: PLC0415 - see above
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415 - see above

    first = np.array([d.first for d in differences], dtype=np.int64)
    second = np.array([d.second for d in differences], dtype=np.int64)
    value = np.array([d.value for d in differences])
    weight = np.array([d.weight for d in differences])
    links = coo_array((np.ones(len(first)), (first, second)), shape=(count, count))
    _, groups = connected_components(links, directed=False)
    levels = np.zeros(count)
    for group in np.unique(groups[first]):
        members = np.flatnonzero(groups == group)
        place = np.full(count, -1)
        place[members] = np.arange(len(members))
        own = groups[first] == group
        a, b, w = place[first[own]], place[second[own]], weight[own]
        # The normal equations fix differences only; the constant matrix sets the mean to 0.
        matrix = np.full((len(members), len(members)), w.sum() / len(members) ** 2)
        np.add.at(matrix, (a, a), w)
        np.add.at(matrix, (b, b), w)
        np.add.at(matrix, (a, b), -w)
        np.add.at(matrix, (b, a), -w)
        right = np.zeros(len(members))
        np.add.at(right, a, w * value[own])
        np.add.at(right, b, -w * value[own])
        levels[members] = np.linalg.solve(matrix, right)
    return levels


def _coarse(plan: MosaicPlan) -> tuple[OutputGrid, list[PlacedImage]]:
    """Return a grid on which each image has some thousand pixels, and where images lie on it."""
    scale = plan.grid.wcs.pixel_scale_arcsec
    side = _SIDE if len(plan.images) <= _MANY else _SIDE_OF_MANY
    typical = math.sqrt(float(np.median([image.pixels for image in plan.images])))
    coarse_scale = scale * max(1.0, typical / side)
    region = region_of_grid(plan.grid)
    while True:
        grid = grid_of_region(
            region, scale_arcsec=coarse_scale, projection="TAN", most_mpix=math.inf
        )
        placed = place_images(grid, [image.record for image in plan.images])
        if sum(image.pixels for image in placed) <= _MOST_SAMPLES:
            return grid, placed
        coarse_scale *= 2


def _differences(
    samples: Sequence[tuple[int, PlacedImage, Values]], cancel: CancelToken
) -> list[Difference]:
    """Return the difference of each pair of images that have pixels in common."""
    found = []
    edges = np.array([(*image.rows, *image.columns) for _, image, _ in samples])
    for n, (first, image, values) in enumerate(samples):
        cancel.raise_if_set()
        top, bottom, left, right = edges[n]
        later = edges[n + 1 :]
        meets = (
            (later[:, 0] < bottom)
            & (later[:, 1] > top)
            & (later[:, 2] < right)
            & (later[:, 3] > left)
        )
        for m in (np.flatnonzero(meets) + n + 1).tolist():
            second, other, other_values = samples[m]
            rows = max(top, edges[m, 0]), min(bottom, edges[m, 1])
            columns = max(left, edges[m, 2]), min(right, edges[m, 3])
            apart = values[_part(image, rows, columns)] - other_values[_part(other, rows, columns)]
            apart = apart[np.isfinite(apart)]
            if len(apart) >= _LEAST_COMMON:
                found.append(Difference(first, second, float(np.median(apart)), len(apart)))
    return found


def _part(
    image: PlacedImage, rows: tuple[int, int], columns: tuple[int, int]
) -> tuple[slice, slice]:
    """Return the rows and columns of the grid as a part of an image's own array."""
    return (
        slice(rows[0] - image.rows[0], rows[1] - image.rows[0]),
        slice(columns[0] - image.columns[0], columns[1] - image.columns[0]),
    )
