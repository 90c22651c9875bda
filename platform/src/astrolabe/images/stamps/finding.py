"""Which positions may lie on which images, by the circles around footprints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import numpy as np
import numpy.typing as npt

from astrolabe.images.model import ImageRecord
from astrolabe.sky.vectors import unit_vectors

__all__ = ["PositionTree"]

_MARGIN: Final = 1.001
_MARGIN_RAD: Final = math.radians(2.0 / 3600.0)  # edges of images bend away from great circles
_IMAGES_AT_ONCE: Final = 2_000


class PositionTree:
    """Finds the positions that may lie on an image.

    Parameters
    ----------
    ra_deg, dec_deg : (n,)
        ICRS positions; those that are not finite are never found.
    """

    def __init__(self, ra_deg: npt.NDArray[np.float64], dec_deg: npt.NDArray[np.float64]) -> None:
        from scipy.spatial import KDTree  # noqa: PLC0415 - slow to import, and rarely needed

        self._rows = np.flatnonzero(np.isfinite(ra_deg) & np.isfinite(dec_deg))
        points = unit_vectors(ra_deg[self._rows], dec_deg[self._rows])
        self._tree = KDTree(points) if len(self._rows) else None

    def match(
        self, records: Iterable[ImageRecord]
    ) -> Iterator[tuple[ImageRecord, npt.NDArray[np.int64]]]:
        """Yield each image that positions may lie on, with the rows of these in rising order.

        The WCS has the last word: the circle around a footprint is larger than that.  An image
        without a footprint gets every row.
        """
        if self._tree is None:
            return
        for some in _batches(records):
            circles = [_circle(record.obscore.get("s_region")) for record in some]
            centers = np.array([circle[0] for circle in circles])
            chords = np.array([2.0 * math.sin(min(circle[1], math.pi) / 2.0) for circle in circles])
            found = self._tree.query_ball_point(centers, chords, return_sorted=True)
            for record, rows in zip(some, found, strict=True):
                if rows:
                    yield record, self._rows[np.asarray(rows, dtype=np.int64)]


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
