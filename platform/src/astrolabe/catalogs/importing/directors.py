"""How far children lie from their directors.

Both tables are sorted by the key and merged, a slice of keys after the other.  Positions are those
of the cells of order 29, which are smaller than a milliarcsecond.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from astrolabe.catalogs.importing.key_index import (
    CELL,
    cell_schema,
    has_largest,
    keys_and_cells,
    slices,
)
from astrolabe.catalogs.importing.runs import Run, RunBuilder
from astrolabe.sky.healpix import MAX_ORDER, cell_centers
from astrolabe.sky.vectors import arc_length_rad

__all__ = ["BOUND_SLACK_DEG", "ChildDistances", "NoLinkError", "measure", "stray_runs"]

Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BOUND_SLACK_DEG = 2e-6
"""More than positions can be further apart than the centres of their cells (degrees)."""

_KEPT_SHARE = 0.999
_CAP_ARCSEC = 60.0
_MOST_STRAYS_SHARE = 0.02
_FEW_STRAYS = 10_000
# Upper edges of the bins of distances, in arcsec: 0 first, then 20 a decade from 1 mas to the cap.
_EDGES_ARCSEC = np.append(0.0, np.minimum(10.0 ** (np.arange(-60, 37) / 20.0), _CAP_ARCSEC))


class NoLinkError(Exception):
    """The tables do not belong together in a way that positions could use; says why."""


@dataclass(slots=True)
class ChildDistances:
    """What was found.

    Parameters
    ----------
    counts
        Children in each bin of distance; the last is of those beyond the cap.
    orphans
        Children whose key no director has.
    """

    counts: Int64s = field(default_factory=lambda: np.zeros(len(_EDGES_ARCSEC) + 1, dtype=np.int64))
    orphans: int = 0

    @property
    def joined(self) -> int:
        """Children that have a director."""
        return int(self.counts.sum())

    @property
    def bound_arcsec(self) -> float:
        """A distance that 99.9 % of the children keep, 60 arcsec at most (arcsec)."""
        within = np.cumsum(self.counts)
        reached = int(np.searchsorted(within, _KEPT_SHARE * self.joined, side="left"))
        return float(_EDGES_ARCSEC[min(reached, len(_EDGES_ARCSEC) - 1)])

    @property
    def strays(self) -> int:
        """Children further away than the bound."""
        beyond = int(np.searchsorted(_EDGES_ARCSEC, self.bound_arcsec, side="right"))
        return int(self.counts[beyond:].sum())


def measure(
    children: Sequence[Run], directors: Sequence[Run], *, tell: Callable[[int], None]
) -> ChildDistances:
    """Find how far children lie from their directors.

    Parameters
    ----------
    children, directors
        Sorted by the key, with the cells of the rows (`cell_schema`).
    tell
        Called with the number of children just done; may raise to stop.

    Raises
    ------
    NoLinkError
        Raised if the key does not name one row of the director, or if too many children are far
        from theirs.
    """
    if has_largest(children) or has_largest(directors):
        raise NoLinkError("a key is the largest 64-bit integer")
    found = ChildDistances()
    for start, stop in slices(children, directors):
        keys, cells = keys_and_cells(children, start, stop)
        their, theirs = keys_and_cells(directors, start, stop)
        if (their[1:] == their[:-1]).any():
            raise NoLinkError("a key names several rows of the director")
        if len(keys):
            own, other = _joined(keys, cells, their, theirs)
            found.orphans += len(keys) - len(own)
            at = np.searchsorted(_EDGES_ARCSEC, _distance_arcsec(own, other), side="left")
            found.counts += np.bincount(at, minlength=len(found.counts))
            tell(len(keys))
    if found.strays > max(_MOST_STRAYS_SHARE * found.joined, _FEW_STRAYS):
        raise NoLinkError(
            f"{found.strays} of {found.joined} rows are over {_CAP_ARCSEC:g} arcsec from theirs"
        )
    return found


def stray_runs(
    children: Sequence[Run],
    directors: Sequence[Run],
    *,
    bound_arcsec: float,
    folder: Path,
    run_bytes: int,
) -> tuple[list[Run], list[Run]]:
    """Return the children beyond the bound as runs.

    Returns
    -------
    strays, stray_directors
        Sorted by the director's cell with the cells of the children, and the other way round.
    """
    with (
        RunBuilder(cell_schema(), folder=folder / "strays", run_bytes=run_bytes) as strays,
        RunBuilder(cell_schema(), folder=folder / "stray-directors", run_bytes=run_bytes) as back,
    ):
        for start, stop in slices(children, directors):
            own, other = _joined(
                *keys_and_cells(children, start, stop), *keys_and_cells(directors, start, stop)
            )
            far = _distance_arcsec(own, other) > bound_arcsec
            own, other = own[far], other[far]
            strays.add(_rows(own), other)
            back.add(_rows(other), own)
        return strays.finish(), back.finish()


def _rows(cells: Int64s) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(cells)], names=[CELL])


def _joined(keys: Int64s, cells: Int64s, their: Int64s, theirs: Int64s) -> tuple[Int64s, Int64s]:
    """Return the cells of the rows that have a director, and those of the directors."""
    if not len(their):
        return cells[:0], cells[:0]
    at = np.minimum(np.searchsorted(their, keys), len(their) - 1)
    has = their[at] == keys
    return cells[has], theirs[at[has]]


def _distance_arcsec(first: Int64s, second: Int64s) -> Floats:
    distance = np.zeros(len(first))
    apart = np.flatnonzero(first != second)
    a, b = cell_centers(MAX_ORDER, first[apart]), cell_centers(MAX_ORDER, second[apart])
    distance[apart] = np.degrees(arc_length_rad(a, b)) * 3600.0
    return distance
