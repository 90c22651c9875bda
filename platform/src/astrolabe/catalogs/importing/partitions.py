"""The adaptive HEALPix partitions of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from astrolabe.catalogs.importing.runs import Run

__all__ = ["MAX_ORDER", "Partitions", "count_in_runs", "divide"]

MAX_ORDER = 20
"""Deepest order of a partition (0.2 arcsec): rows that share a place are never divided further."""

_BASE_ORDER = 29

Cells = npt.NDArray[np.int64]
CountRows = Callable[[Cells, Cells], Cells]


@dataclass(frozen=True, slots=True, eq=False)
class Partitions:
    """Disjoint HEALPix pixels (NESTED), sorted by where they start at order 29.

    Parameters
    ----------
    order, pixel : (p,)
        The pixels.
    rows : (p,)
        Rows in each, at least 1.
    """

    order: Cells
    pixel: Cells
    rows: Cells

    def __len__(self) -> int:
        return len(self.order)

    @property
    def start(self) -> Cells:
        """First cell at order 29 of each pixel, (p,) ascending."""
        return self.pixel << (2 * (_BASE_ORDER - self.order))

    @property
    def stop(self) -> Cells:
        """One past the last cell at order 29 of each pixel, (p,) ascending."""
        return (self.pixel + 1) << (2 * (_BASE_ORDER - self.order))


def divide(count: CountRows, *, max_rows: int, keep: Partitions | None = None) -> Partitions:
    """Divide the sky until no pixel has more than `max_rows` rows.

    Parameters
    ----------
    count
        Gives the rows in half-open ranges of cells at order 29: ``count(starts, stops)``.
    max_rows
        A pixel with more is divided, down to `MAX_ORDER`.
    keep
        Pixels that exist already: never joined with others, divided only when too full.

    Returns
    -------
    Partitions
        The pixels that have rows; each is the largest that fits.
    """
    found: list[tuple[Cells, Cells, Cells]] = []
    pixel = np.arange(12, dtype=np.int64)
    for order in range(MAX_ORDER + 1):
        shift = 2 * (_BASE_ORDER - order)
        starts, stops = pixel << shift, (pixel + 1) << shift
        rows = count(starts, stops)
        inside = _kept_inside(keep, order, starts, stops)
        full = ((rows > max_rows) & (order < MAX_ORDER)) | inside
        leaf = (rows > 0) & ~full
        found.append((np.full(int(leaf.sum()), order, dtype=np.int64), pixel[leaf], rows[leaf]))
        parents = pixel[full & ((rows > 0) | inside)]
        if not len(parents):
            break
        pixel = (parents[:, None] * 4 + np.arange(4, dtype=np.int64)).ravel()
    orders, pixels, counts = (np.concatenate(parts) for parts in zip(*found, strict=True))
    sequence = np.argsort(pixels << (2 * (_BASE_ORDER - orders)))
    return Partitions(orders[sequence], pixels[sequence], counts[sequence])


def count_in_runs(runs: Sequence[Run]) -> CountRows:
    """Return a function that counts the rows of `runs` in ranges of cells at order 29."""

    def count(starts: Cells, stops: Cells) -> Cells:
        total = np.zeros(len(starts), dtype=np.int64)
        for run in runs:
            total += np.searchsorted(run.keys, stops) - np.searchsorted(run.keys, starts)
        return total

    return count


def _kept_inside(
    keep: Partitions | None, order: int, starts: Cells, stops: Cells
) -> npt.NDArray[np.bool_]:
    """Tell which pixels of this order contain a smaller pixel that must be kept."""
    if keep is None or not len(keep):
        return np.zeros(len(starts), dtype=np.bool_)
    smaller = keep.start[keep.order > order]
    return np.searchsorted(smaller, stops) > np.searchsorted(smaller, starts)
