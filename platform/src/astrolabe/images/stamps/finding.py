"""Which positions may lie on which images, by the circles around footprints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from astrolabe.images.model import ImageRecord
from astrolabe.sky.vectors import unit_vectors

if TYPE_CHECKING:
    from scipy.spatial import KDTree

__all__ = ["PositionTree"]

_MARGIN: Final = 1.001
_MARGIN_RAD: Final = math.radians(2.0 / 3600.0)  # edges of images bend away from great circles
_IMAGES_AT_ONCE: Final = 2_000
_FEW: Final = 200
"""Up to so many positions are compared with every image; a tree takes longer to import."""


class PositionTree:
    """Finds the positions that may lie on an image.

    Parameters
    ----------
    ra_deg, dec_deg : (n,)
        ICRS positions; those that are not finite are never found.
    """

    def __init__(self, ra_deg: npt.NDArray[np.float64], dec_deg: npt.NDArray[np.float64]) -> None:
        self._rows = np.flatnonzero(np.isfinite(ra_deg) & np.isfinite(dec_deg))
        self._points = unit_vectors(ra_deg[self._rows], dec_deg[self._rows])
        self._tree: KDTree | None = None
        if len(self._rows) > _FEW:
            from scipy.spatial import KDTree  # noqa: PLC0415 - slow to import, and rarely needed

            self._tree = KDTree(self._points)

    def match(
        self, records: Iterable[ImageRecord]
    ) -> Iterator[tuple[ImageRecord, npt.NDArray[np.int64]]]:
        """Yield each image that positions may lie on, with the rows of these in rising order.

        The WCS has the last word: the circle around a footprint is larger than that.  An image
        without a footprint gets every row.
        """
        if not len(self._rows):
            return
        for some in _batches(records):
            circles = [_circle(record.obscore.get("s_region")) for record in some]
            centers = np.array([circle[0] for circle in circles])
            chords = np.array([2.0 * math.sin(min(circle[1], math.pi) / 2.0) for circle in circles])
            for record, rows in zip(some, self._within(centers, chords), strict=True):
                if len(rows):
                    yield record, self._rows[np.asarray(rows, dtype=np.int64)]

    def _within(
        self, centers: npt.NDArray[np.float64], chords: npt.NDArray[np.float64]
    ) -> Iterator[Sequence[int] | npt.NDArray[np.int64]]:
        """Yield for each centre which points are no farther from it than a chord."""
        if self._tree is not None:
            yield from self._tree.query_ball_point(centers, chords, return_sorted=True)
            return
        # Squared chords; what rounding makes of the smallest ones is far below the margin.
        near = 2.0 - 2.0 * (centers @ self._points.T) <= (chords * chords)[:, np.newaxis]
        yield from map(np.flatnonzero, near)


def _batches(records: Iterable[ImageRecord]) -> Iterator[list[ImageRecord]]:
    left = iter(records)
    while some := list(islice(left, _IMAGES_AT_ONCE)):
        yield some


def _circle(region: Sequence[float] | None) -> tuple[npt.NDArray[np.float64], float]:
    """Return centre (unit vector) and radius (rad) of a circle around a polygon."""
    if not region or len(region) < 6:
        return np.array([1.0, 0.0, 0.0]), math.pi
    corners = unit_vectors(np.asarray(region[0::2]), np.asarray(region[1::2]))
    middle = corners.mean(axis=0)
    length = float(np.linalg.norm(middle))
    if length < 1e-3:
        return np.array([1.0, 0.0, 0.0]), math.pi
    middle /= length
    # By the chord, which is exact for the smallest angles.
    chord = float(np.linalg.norm(corners - middle, axis=1).max())
    radius = 2.0 * math.asin(min(1.0, chord / 2.0))
    # A circle of less than a quarter of the sky around the corners holds the edges between them.
    return middle, radius * _MARGIN + _MARGIN_RAD if radius < math.pi / 2 else math.pi
