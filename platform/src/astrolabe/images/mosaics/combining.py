"""Combines the values of several images in the pixels of a block."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from astrolabe.images.mosaics.request import Combine

__all__ = ["Combiner"]

Values = npt.NDArray[np.float32]


class Combiner:
    """Takes the images of one block after each other.

    Parameters
    ----------
    how
        What to make of them.
    shape
        Of the block.

    Notes
    -----
    Sums are kept in double precision.  Only the median needs all values at once.
    """

    def __init__(self, how: Combine, shape: tuple[int, int]) -> None:
        self._how = how
        self._values = np.zeros(shape)
        self._weights = np.zeros(shape)
        self._stack: list[Values] = []

    def add(self, values: Values, variance: Values | None) -> bool:
        """Add an image on the block's pixels, NaN where it says nothing; tell if it said any.

        Parameters
        ----------
        variance
            Needed for the weighted mean; a pixel whose variance is not above 0 is left out.
        """
        known = np.isfinite(values)
        if self._how is Combine.WEIGHTED and variance is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                weight = np.where(known & (variance > 0), 1.0 / variance, 0.0)
            weight[~np.isfinite(weight)] = 0.0
            known = weight > 0
            np.add(self._values, values * weight, out=self._values, where=known)
            self._weights += weight
        elif self._how is Combine.MEDIAN:
            if known.any():
                self._stack.append(values)
        else:
            np.add(self._values, values, out=self._values, where=known)
            self._weights += known
        return bool(known.any())

    def result(self) -> tuple[Values, Values]:
        """Return values, NaN where no image had one, and weights.

        The weight is the inverse variance for the weighted mean, else the number of images.
        """
        if self._how is Combine.MEDIAN:
            return self._median()
        values = np.full(self._values.shape, np.nan)
        known = self._weights > 0
        if self._how is Combine.SUM:
            values[known] = self._values[known]
        else:
            np.divide(self._values, self._weights, out=values, where=known)
        return values.astype(np.float32), self._weights.astype(np.float32)

    def _median(self) -> tuple[Values, Values]:
        if not self._stack:
            empty = np.full(self._values.shape, np.nan, np.float32)
            return empty, np.zeros(self._values.shape, np.float32)
        stack = np.stack(self._stack)
        # Unknown values go to the end; then the middle of the known ones is looked up.
        stack.sort(axis=0)
        count = np.isfinite(stack).sum(axis=0)
        low = np.take_along_axis(stack, np.maximum((count - 1) // 2, 0)[None], axis=0)[0]
        high = np.take_along_axis(stack, np.maximum(count // 2, 0)[None], axis=0)[0]
        median = np.where(count > 0, (low + high) / 2, np.nan)
        return median.astype(np.float32), count.astype(np.float32)
