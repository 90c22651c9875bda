"""A table as a HiPS: how many rows there are in a square degree.

Nothing is stored: a tile is drawn from the counts that were taken when the table was written.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from astrolabe.catalogs.count_map import COUNT_ORDER, CountMap
from astrolabe.images.hips.coverage import view_of_cells
from astrolabe.images.hips.properties import image_properties
from astrolabe.images.hips.tiles import FloatTile, Tile

__all__ = ["DENSITY_ORDER", "DENSITY_WIDTH", "DensityMap"]

DENSITY_ORDER: Final = 3
"""The finest order of tiles; that every reader of HiPS expects to be there."""

DENSITY_WIDTH: Final = 1 << (COUNT_ORDER - DENSITY_ORDER)
"""Pixels along a side of these tiles: those of the finest ones are the cells of the counts."""

_SKY_DEG2: Final = 4.0 * 180.0**2 / np.pi

# Dark blue over violet and orange to light yellow: light grows evenly with the value, and the two
# ends are told apart by people who see no red.  Control points of matplotlib's map "inferno"
# (Smith & van der Walt 2015, CC0).
_COLORS: Final = np.array(
    [
        (0, 0, 4),
        (27, 12, 65),
        (74, 12, 107),
        (120, 28, 109),
        (165, 44, 96),
        (207, 68, 70),
        (237, 105, 37),
        (251, 155, 6),
        (247, 209, 61),
        (252, 255, 164),
    ],
    dtype=np.float64,
)
_FIRST_COLOR: Final = 0.25  # what is there at all must be seen on black


class DensityMap:
    """The tiles of a density HiPS.

    Parameters
    ----------
    counts
        Rows by cell of order 10.
    """

    def __init__(self, counts: CountMap) -> None:
        self.counts = counts
        self._levels = {
            order: counts.at(COUNT_ORDER - (DENSITY_ORDER - order)) for order in (0, 1, 2)
        }
        self._levels[DENSITY_ORDER] = counts
        cell = _SKY_DEG2 / (12 << (2 * COUNT_ORDER))
        found = counts.counts / cell
        self.cut: tuple[float, float] = (0.0, 1.0)
        if len(found):
            self.cut = (0.0, float(np.percentile(found, 99.5)))

    @property
    def is_empty(self) -> bool:
        """Whether there are no rows at all."""
        return not len(self.counts.cells)

    def properties(
        self, *, name: str, creator_did: str, changed: datetime, is_public: bool
    ) -> dict[str, str]:
        """Return the file ``properties`` (HiPS 1.0, section 4.4.1).

        Parameters
        ----------
        name
            Of the table.
        creator_did
            The identifier of the HiPS.
        changed
            When the table was written.
        is_public
            Whether everybody may read it.
        """
        coarse = self.counts.at(8)
        ra, dec, fov = view_of_cells(coarse.order, coarse.cells, coarse.counts)
        return image_properties(
            creator_did=creator_did,
            title=f"Density of {name}",
            formats=("png", "fits"),
            order=DENSITY_ORDER,
            width=DENSITY_WIDTH,
            released=changed,
            is_public=is_public,
            more={
                "obs_collection": name,
                "obs_description": "Rows per square degree",
                "hips_pixel_bitpix": -32,
                "hips_pixel_cut": f"{self.cut[0]:.6g} {self.cut[1]:.6g}",
                "hips_sampling": "none",
                "hips_initial_ra": f"{ra:.6f}",
                "hips_initial_dec": f"{dec:.6f}",
                "hips_initial_fov": f"{fov:.4g}",
                "moc_sky_fraction": f"{len(self.counts.cells) / (12 << (2 * COUNT_ORDER)):.6g}",
            },
        )

    def values(self, tile: Tile) -> FloatTile | None:
        """Return rows per square degree, (width, width) in the order of FITS.

        `None` where there is not one row; 0 in cells without rows.
        """
        level = self._levels.get(tile.order)
        if level is None:
            return None
        shift = 2 * (level.order - tile.order)
        first, last = np.searchsorted(
            level.cells, [tile.pixel << shift, (tile.pixel + 1) << shift]
        ).tolist()
        if first == last:
            return None
        inside = level.cells[first:last] & ((1 << shift) - 1)
        x, y = _even_bits(inside), _even_bits(inside >> 1)
        values = np.zeros((DENSITY_WIDTH, DENSITY_WIDTH), dtype=np.float32)
        area = _SKY_DEG2 / (12 << (2 * level.order))
        values[DENSITY_WIDTH - 1 - x, y] = level.counts[first:last] / area
        return values

    def picture(self, tile: Tile) -> npt.NDArray[np.uint8] | None:
        """Return a tile in colours: (width, width, 4), see-through where there are no rows."""
        values = self.values(tile)
        if values is None:
            return None
        # The asinh shows a few rows beside many: it is linear up to a hundredth of the cut.
        share = np.arcsinh(100.0 * np.clip(values / self.cut[1], 0.0, 1.0)) / np.arcsinh(100.0)
        place = (_FIRST_COLOR + (1.0 - _FIRST_COLOR) * share) * (len(_COLORS) - 1)
        steps = np.arange(len(_COLORS))
        channels = [np.interp(place, steps, _COLORS[:, i]) for i in range(3)]
        alpha = np.where(values > 0, 255.0, 0.0)
        stacked = np.stack([*channels, alpha], axis=-1)
        return np.asarray(np.rint(stacked), dtype=np.uint8)


def _even_bits(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the even bits of each value below 2^16, pushed together."""
    bits = values & 0x5555
    for shift, mask in ((1, 0x3333), (2, 0x0F0F), (4, 0x00FF)):
        bits = (bits | (bits >> shift)) & mask
    return bits
