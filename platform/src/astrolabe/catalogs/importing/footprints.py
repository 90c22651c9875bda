"""How far shapes reach from the positions of their rows, so that shapes are found by position.

A table with positions may have columns of polygons or circles: the footprints of images.  Nearly
all of them keep within a distance of their row's position; rows near a region are then all that
can have a footprint that meets it.  The few that reach further, the strays, are listed with the
distance that each keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from astrolabe.catalogs.model import STRAY_BOUND, STRAY_KEY, PartitionIndex
from astrolabe.sky.vectors import arc_length_rad, unit_vectors
from astrolabe.tables.model import HEALPIX_COLUMN, TableMeta

__all__ = ["REGION_XTYPES", "footprint_columns", "reach_deg", "write_footprints"]

Floats = npt.NDArray[np.float64]

REGION_XTYPES: Final = ("polygon", "circle")

_BATCH_ROWS: Final = 1 << 16
_KEPT_SHARE: Final = 0.999
_SLACK_DEG: Final = 2e-6
# More than positions can lie from the centres of their cells, and than any rounding here.
_EVERYWHERE_DEG: Final = 180.0
_MOST_DEG: Final = 89.0
# A polygon whose corners keep within less than 90 degrees of a place keeps so, too.
_BOUNDS_DEG: Final = np.append(1e-3 * 2.0 ** (np.arange(33) / 2.0), _EVERYWHERE_DEG)
_NONE: Final = 255
"""In the place of the number of a bound: the row has no footprint."""


def footprint_columns(meta: TableMeta) -> tuple[str, ...]:
    """Return the columns of a table that hold polygons or circles, if it has positions."""
    if meta.ra_column is None:
        return ()
    return tuple(c.name for c in meta.columns if c.is_array and c.xtype in REGION_XTYPES)


def write_footprints(
    folder: Path,
    catalog_root: Path,
    index: PartitionIndex,
    meta: TableMeta,
    column: str,
    *,
    tell: Callable[[int], None],
) -> dict[str, object]:
    """Find how far the shapes of a column reach, and list the strays in a file.

    Parameters
    ----------
    folder
        Made, with the file of the strays, if there are any.
    catalog_root, index
        The table's files.
    meta
        Of the table.
    column
        The column of shapes.
    tell
        Called with rows just read; may raise to stop.

    Returns
    -------
    dict
        ``column``; ``bound_deg``, which all but the strays keep (degrees); ``strays``, how many
        there are.
    """
    xtype = next(c.xtype for c in meta.columns if c.name == column)
    classes: list[npt.NDArray[np.uint8]] = []
    counts = np.zeros(_NONE + 1, dtype=np.int64)
    names = [str(meta.ra_column), str(meta.dec_column), column]
    for path in index.paths:
        parts = [np.empty(0, dtype=np.uint8)]
        with pq.ParquetFile(catalog_root / path) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=names, use_threads=False):
                reach = reach_deg(
                    _floats(batch.column(names[0])),
                    _floats(batch.column(names[1])),
                    batch.column(column),
                    is_circle=xtype == "circle",
                )
                parts.append(_class_of(reach))
                tell(batch.num_rows)
        classes.append(np.concatenate(parts))
        counts += np.bincount(classes[-1], minlength=len(counts))
    chosen = _chosen_class(counts)
    strays = int(counts[chosen + 1 : len(_BOUNDS_DEG)].sum())
    if strays:
        folder.mkdir(parents=True)
        _write_strays(folder / "strays.parquet", catalog_root, index, classes, chosen)
    bound = float(_BOUNDS_DEG[chosen]) + _SLACK_DEG
    return {"column": column, "bound_deg": bound, "strays": strays}


def reach_deg(
    ra_deg: Floats, dec_deg: Floats, shapes: pa.Array[Any], *, is_circle: bool = False
) -> Floats:
    """Return how far each shape reaches from a position (degrees).

    Parameters
    ----------
    ra_deg, dec_deg : (n,)
        The positions; NaN where there is none.
    shapes : (n,)
        Lists of degrees: corners of a polygon, or centre and radius of a circle.
    is_circle
        Which of the two they are.

    Returns
    -------
    (n,)
        NaN for what is no shape, which meets nothing; 180 where it cannot be told.
    """
    lists: Any = shapes  # the stubs know of no list arrays
    lengths = np.nan_to_num(
        lists.value_lengths().to_numpy(zero_copy_only=False).astype(np.float64)
    ).astype(np.int64)
    flat = np.asarray(lists.flatten().to_numpy(zero_copy_only=False), dtype=np.float64)
    of_row = np.repeat(np.arange(len(lengths)), lengths)
    finite = np.isfinite(flat)
    usable = lengths == 3 if is_circle else (lengths >= 2) & (lengths % 2 == 0)
    usable &= np.bincount(of_row[~finite], minlength=len(lengths)) == 0
    reach = np.full(len(lengths), np.nan)
    rows = np.flatnonzero(usable)
    if not len(rows):
        return reach
    numbers = flat[usable[of_row]]
    radius = 0.0
    if is_circle:
        lon, lat, radius = numbers[0::3], numbers[1::3], numbers[2::3]
        corners = np.ones(len(rows), dtype=np.int64)
    else:
        lon, lat = numbers[0::2], numbers[1::2]
        corners = lengths[rows] // 2
    placed = np.isfinite(ra_deg[rows]) & np.isfinite(dec_deg[rows])
    here = np.nan_to_num(unit_vectors(ra_deg[rows], dec_deg[rows]))
    apart = arc_length_rad(unit_vectors(lon, lat), np.repeat(here, corners, axis=0))
    starts = np.cumsum(corners) - corners
    furthest = np.degrees(np.maximum.reduceat(apart, starts)) + radius
    furthest[~placed | (furthest > _MOST_DEG) | ~(furthest >= 0.0)] = _EVERYWHERE_DEG
    reach[rows] = furthest
    return reach


def _class_of(reach: Floats) -> npt.NDArray[np.uint8]:
    """Return the number of the smallest bound that holds each reach (n,)."""
    at = np.searchsorted(_BOUNDS_DEG, reach, side="left")
    return np.where(np.isnan(reach), _NONE, np.minimum(at, len(_BOUNDS_DEG) - 1)).astype(np.uint8)


def _chosen_class(counts: npt.NDArray[np.int64]) -> int:
    """Return the number of the bound that nearly all rows keep."""
    within = np.cumsum(counts[: len(_BOUNDS_DEG)])
    return int(np.searchsorted(within, _KEPT_SHARE * within[-1], side="left"))


def _write_strays(
    path: Path,
    catalog_root: Path,
    index: PartitionIndex,
    classes: list[npt.NDArray[np.uint8]],
    chosen: int,
) -> None:
    cells, bounds = [np.empty(0, dtype=np.int64)], [np.empty(0)]
    for name, of_file in zip(index.paths, classes, strict=True):
        far = (of_file > chosen) & (of_file != _NONE)
        if far.any():
            table = pq.read_table(catalog_root / name, columns=[HEALPIX_COLUMN], use_threads=False)
            cells.append(table.column(0).to_numpy()[far])
            bounds.append(_BOUNDS_DEG[of_file[far]] + _SLACK_DEG)
    found = pa.table({STRAY_KEY: np.concatenate(cells), STRAY_BOUND: np.concatenate(bounds)})
    pq.write_table(found, path, compression="zstd")


def _floats(array: pa.Array[Any]) -> Floats:
    return np.asarray(array.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
