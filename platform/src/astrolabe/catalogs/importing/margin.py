"""The margin catalog: rows outside a partition but close to it.

With it a partition can be matched with another table's rows near its border without opening the
neighbours' files.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from cdshealpix import nested

from astrolabe.catalogs.importing.files import (
    FileSettings,
    PartitionFile,
    WrittenFile,
    file_schema,
    partition_path,
)
from astrolabe.catalogs.importing.partitions import Partitions
from astrolabe.catalogs.importing.positions import as_float
from astrolabe.catalogs.importing.runs import RunBuilder, gather
from astrolabe.sky.healpix import healpix_29
from astrolabe.sky.vectors import unit_vectors
from astrolabe.tables.model import HEALPIX_COLUMN

__all__ = ["MarginCatalog"]

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_AVERAGE_WIDTH_ORDER_0_DEG = 58.6323
# The narrowest cells of an order are about 1/1.6 of the average; 1/2 is safe.
_NARROWEST = 0.5
_CIRCLE_POINTS = 32
# Points on a circle a little wider than the margin find every straight border that the margin
# reaches; the two hundredths more allow for the curvature of borders near the poles.
_CIRCLE_FACTOR = 1.02 / math.cos(math.pi / _CIRCLE_POINTS)
_PAIRS_AT_ONCE = 65_536
_EVEN_BITS = 0x5555_5555_5555_5555


class MarginCatalog:
    """Collects the rows of a margin catalog while partitions are written, then writes it.

    Parameters
    ----------
    partitions
        All partitions of the table.
    arcsec
        Width of the margin.  Every row within it is in; a few up to 3 % further out are, too.
    rows : pyarrow.Schema
        Of the table's rows, without ``_healpix_29``.
    ra_column, dec_column
        Names of the position columns.
    folder
        For spilled rows.
    run_bytes
        Rows in memory before they are spilled (bytes).
    """

    def __init__(
        self,
        partitions: Partitions,
        *,
        arcsec: float,
        rows: pa.Schema,
        ra_column: str,
        dec_column: str,
        folder: Path,
        run_bytes: int,
    ) -> None:
        self._partitions = partitions
        self._starts, self._stops = partitions.start, partitions.stop
        self._wanted: npt.NDArray[np.bool_] | None = None
        self._radius_rad = math.radians(arcsec / 3600.0)
        self._cell_order = _order_at_least(arcsec / 3600.0)
        self._schema = file_schema(rows)
        self._ra, self._dec = ra_column, dec_column
        self._corners: dict[int, Floats] = {}
        self._builder = RunBuilder(self._schema, folder=folder, run_bytes=run_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._builder.__exit__(*exc)

    @property
    def rows(self) -> int:
        """Rows collected so far."""
        return self._builder.rows

    def add(self, own: int, keys: Indices, rows: pa.Table) -> None:
        """Add those rows of a partition that lie in the margins of others.

        Parameters
        ----------
        own
            Index of the partition.
        keys : (n,)
            Cells of the rows at order 29, ascending.
        rows
            The rows.
        """
        candidates = self._near_border(own, keys)
        if not len(candidates):
            return
        row, target = self._pairs(own, keys[candidates])
        if not len(row):
            return
        for first in range(0, len(row), _PAIRS_AT_ONCE):
            self._add_pairs(
                keys,
                rows,
                candidates[row[first : first + _PAIRS_AT_ONCE]],
                target[first : first + _PAIRS_AT_ONCE],
            )

    def _add_pairs(self, keys: Indices, rows: pa.Table, row: Indices, target: Indices) -> None:
        """Add row ``row[i]`` to the margin of ``target[i]`` where it lies within."""
        near = self._within(rows.select([self._ra, self._dec]), row, target)
        row, target = row[near], target[near]
        if not len(row):
            return
        columns = [_one_chunk(column) for column in rows.take(row).columns]
        arrays = [pa.array(keys[row]), *columns]
        self._builder.add(pa.RecordBatch.from_arrays(arrays, schema=self._schema), target)

    def near(self, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return the chosen partitions (p,) and all that may lie within a margin of them."""
        partitions = self._partitions
        result = chosen.copy()
        order = np.minimum(partitions.order, self._cell_order)
        cell = partitions.pixel >> (2 * (partitions.order - order))
        for depth in np.unique(order[chosen]).tolist():
            cells = np.unique(cell[chosen & (order == depth)])
            around = nested.neighbours(cells.astype(np.uint64), depth, num_threads=1)
            cells = np.unique(around[around >= 0]).astype(np.int64)
            shift = 2 * (29 - depth)
            first = np.searchsorted(self._stops, cells << shift, side="right")
            last = np.searchsorted(self._starts, (cells + 1) << shift, side="left")
            for lo, hi in zip(first.tolist(), last.tolist(), strict=True):
                result[lo:hi] = True
        return result

    def restrict(self, wanted: npt.NDArray[np.bool_]) -> None:
        """Collect only for these partitions (p,) from now on."""
        self._wanted = wanted

    def write(self, dataset: Path, settings: FileSettings) -> list[WrittenFile]:
        """Write a file for each partition that has a margin; return them all."""
        runs = self._builder.finish()
        files = []
        targets = [np.unique(run.keys) for run in runs]
        for target in np.unique(np.concatenate(targets)) if targets else ():
            found = gather(runs, int(target), int(target) + 1)
            table = found.piece(0, len(found))
            cells = table.column(HEALPIX_COLUMN).to_numpy()
            table = table.take(np.argsort(cells, kind="stable"))
            order = int(self._partitions.order[target])
            pixel = int(self._partitions.pixel[target])
            file = PartitionFile(
                dataset,
                partition_path(order, pixel),
                order=order,
                pixel=pixel,
                schema=self._schema,
                settings=settings,
            )
            with file:
                file.write(None, table)
            files.append(file.finished())
        return files

    def _near_border(self, own: int, keys: Indices) -> Indices:
        """Return the rows in cells at the border of their partition."""
        depth = self._cell_order - int(self._partitions.order[own])
        if depth <= 0:
            return np.arange(len(keys))
        # Inside its partition a cell's number interleaves the bits of x and y, so a cell lies at
        # the border where one of them is all zeros or all ones.
        inside = (keys >> (2 * (29 - self._cell_order))) & ((1 << (2 * depth)) - 1)
        even_bits = _EVEN_BITS & ((1 << (2 * depth)) - 1)
        x, y = inside & even_bits, (inside >> 1) & even_bits
        at_border = (x == 0) | (x == even_bits) | (y == 0) | (y == even_bits)
        return np.flatnonzero(at_border)

    def _pairs(self, own: int, keys: Indices) -> tuple[Indices, Indices]:
        """Return (row, partition) where the row's cell touches a cell of another partition."""
        cells, of_row = np.unique(keys >> (2 * (29 - self._cell_order)), return_inverse=True)
        around = nested.neighbours(cells.astype(np.uint64), self._cell_order, num_threads=1)
        cell_index, column = np.nonzero(around >= 0)
        shift = 2 * (29 - self._cell_order)
        neighbour = around[cell_index, column].astype(np.int64)
        first = np.searchsorted(self._stops, neighbour << shift, side="right")
        last = np.searchsorted(self._starts, (neighbour + 1) << shift, side="left")
        count = np.maximum(last - first, 0)
        cell_of_pair = np.repeat(cell_index, count)
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        target = np.repeat(first, count) + within
        keep = target != own
        if self._wanted is not None:
            keep &= self._wanted[target]
        size = len(self._partitions)
        pairs = np.unique(cell_of_pair[keep] * size + target[keep])
        pair_cell, pair_target = pairs // size, pairs % size
        # From cells to their rows: rows are sorted by cell, so those of a cell are a stretch.
        row_first = np.searchsorted(of_row, pair_cell, side="left")
        row_count = np.searchsorted(of_row, pair_cell, side="right") - row_first
        within = np.arange(row_count.sum()) - np.repeat(np.cumsum(row_count) - row_count, row_count)
        return np.repeat(row_first, row_count) + within, np.repeat(pair_target, row_count)

    def _within(self, rows: pa.Table, row: Indices, target: Indices) -> npt.NDArray[np.bool_]:
        """Tell which rows lie within the margin of a partition, for each pair."""
        chosen, of_pair = np.unique(row, return_inverse=True)
        here = rows.take(chosen)
        ra = np.radians(as_float(_one_chunk(here.column(self._ra))))
        dec = np.radians(as_float(_one_chunk(here.column(self._dec))))
        cells = _circle_cells(ra, dec, self._radius_rad * _CIRCLE_FACTOR)[of_pair]
        inside = (cells >= self._starts[target][:, None]) & (cells < self._stops[target][:, None])
        near = np.asarray(inside.any(axis=1), dtype=np.bool_)
        # A corner can reach between two points of the circle.
        vectors = unit_vectors(np.degrees(ra), np.degrees(dec))
        rest = np.flatnonzero(~near)
        if len(rest):
            corners = self._corner_vectors(target[rest])
            chord = np.linalg.norm(corners - vectors[of_pair[rest]][:, None, :], axis=-1).min(
                axis=1
            )
            near[rest] = chord <= 2.0 * math.sin(min(self._radius_rad, math.pi) / 2.0)
        return near

    def _corner_vectors(self, target: Indices) -> Floats:
        """Return the four corners of each partition as unit vectors (n, 4, 3)."""
        unique, where = np.unique(target, return_inverse=True)
        for index in unique.tolist():
            if index not in self._corners:
                lon, lat = nested.vertices(
                    np.array([self._partitions.pixel[index]], dtype=np.uint64),
                    int(self._partitions.order[index]),
                    num_threads=1,
                )
                self._corners[index] = unit_vectors(lon.deg[0], lat.deg[0])
        return np.stack([self._corners[index] for index in unique.tolist()])[where]


def _order_at_least(width_deg: float) -> int:
    """Return the finest order whose narrowest cell is at least so wide (0 to 29)."""
    order = math.floor(math.log2(_AVERAGE_WIDTH_ORDER_0_DEG * _NARROWEST / width_deg))
    return min(29, max(0, order))


def _one_chunk(column: pa.ChunkedArray[Any]) -> pa.Array[Any]:
    return column.combine_chunks()


def _circle_cells(ra_rad: Floats, dec_rad: Floats, radius_rad: float) -> Indices:
    """Return the cells at order 29 of points on a circle around each position, (n, points)."""
    bearing = np.arange(_CIRCLE_POINTS) * (2.0 * math.pi / _CIRCLE_POINTS)
    sin_ra, cos_ra = np.sin(ra_rad)[:, None], np.cos(ra_rad)[:, None]
    sin_dec, cos_dec = np.sin(dec_rad)[:, None], np.cos(dec_rad)[:, None]
    # Steps to the north and to the east in the tangent plane: exact at the poles, too.
    north, east = math.sin(radius_rad) * np.cos(bearing), math.sin(radius_rad) * np.sin(bearing)
    outward = math.cos(radius_rad) * cos_dec - north * sin_dec
    x = outward * cos_ra - east * sin_ra
    y = outward * sin_ra + east * cos_ra
    z = math.cos(radius_rad) * sin_dec + north * cos_dec
    ra_deg = np.degrees(np.arctan2(y, x))
    dec_deg = np.degrees(np.arctan2(z, np.hypot(x, y)))
    return healpix_29(ra_deg.ravel(), dec_deg.ravel()).reshape(x.shape)
