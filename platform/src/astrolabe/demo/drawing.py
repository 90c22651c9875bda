"""Painting many elliptical Gaussians onto a pixel grid, many at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from astrolabe.demo.light import GaussianMix

__all__ = ["PaintedSources", "paint"]

Floats = npt.NDArray[np.float64]

_BOX_GROWTH: Final = 1.4
_BATCH_PIXELS: Final = 2_000_000
"""Pixels that are computed at once: 50 MB of working memory."""
_LARGEST_HALF_BOX: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PaintedSources:
    """What is to be painted, n sources.

    Parameters
    ----------
    x, y : (n,)
        Pixels, 0 at the centre of the first one.
    flux : (n,)
        Sum over all pixels.
    xx, xy, yy : (n,)
        Moments (square pixels) of the source's ellipse for a profile of unit length, 0 for points.
    """

    x: Floats
    y: Floats
    flux: Floats
    xx: Floats
    xy: Floats
    yy: Floats


def paint(
    image: npt.NDArray[np.float32],
    sources: PaintedSources,
    *,
    profile: GaussianMix | None,
    spread: GaussianMix,
    least: float,
) -> None:
    """Add sources to an image, in place.

    Parameters
    ----------
    image : (height, width)
        What is painted on.
    sources
        The sources; those beyond the edges leave their wings.
    profile
        Their profile in units of their ellipse; `None` for points.
    spread
        The point-spread function with the pixel's own variance in it (pixels).
    least
        A Gaussian ends where it is fainter than this (in units of the image).
    """
    profiles = GaussianMix(np.ones(1), np.zeros(1)) if profile is None else profile
    for share, variance in zip(profiles.share, profiles.variance, strict=True):
        for spread_share, spread_variance in zip(spread.share, spread.variance, strict=True):
            _paint_gaussians(
                image,
                sources.x,
                sources.y,
                sources.flux * (share * spread_share),
                sources.xx * variance + spread_variance,
                sources.xy * variance,
                sources.yy * variance + spread_variance,
                least,
            )


def _paint_gaussians(
    image: npt.NDArray[np.float32],
    x: Floats,
    y: Floats,
    flux: Floats,
    xx: Floats,
    xy: Floats,
    yy: Floats,
    least: float,
) -> None:
    determinant = xx * yy - xy**2
    peak = flux / (2 * np.pi * np.sqrt(determinant))
    # The box holds the ellipse at which the Gaussian has fallen to `least`.
    reach = np.sqrt(2 * np.log(np.maximum(np.abs(peak) / least, 1.0)))
    half = np.minimum(np.ceil(reach * np.sqrt(np.maximum(xx, yy))), _LARGEST_HALF_BOX)
    height, width = image.shape
    shown = (
        (half > 0) & (x > -half) & (x < width + half - 1) & (y > -half) & (y < height + half - 1)
    )
    rows = np.flatnonzero(shown)
    if len(rows) == 0:
        return
    # Boxes of like size together: each batch is one array.
    size = np.ceil(np.log(half[rows]) / np.log(_BOX_GROWTH)).astype(np.int64)
    for step in np.unique(size):
        some = rows[size == step]
        box = int(half[some].max())
        count = max(_BATCH_PIXELS // (2 * box + 1) ** 2, 1)
        for start in range(0, len(some), count):
            part = some[start : start + count]
            inverse = (
                yy[part] / determinant[part],
                -xy[part] / determinant[part],
                xx[part] / determinant[part],
            )
            _add_boxes(image, x[part], y[part], peak[part], inverse, box)


def _add_boxes(
    image: npt.NDArray[np.float32],
    x: Floats,
    y: Floats,
    peak: Floats,
    inverse: tuple[Floats, Floats, Floats],
    box: int,
) -> None:
    """Add m Gaussians, each in a box of 2 * `box` + 1 pixels on a side."""
    height, width = image.shape
    offsets = np.arange(-box, box + 1)
    columns = np.round(x).astype(np.int64)[:, None] + offsets
    rows = np.round(y).astype(np.int64)[:, None] + offsets
    dx = (columns - x[:, None])[:, None, :]
    dy = (rows - y[:, None])[:, :, None]
    a, b, c = (part[:, None, None] for part in inverse)
    along_x = np.exp(-0.5 * a * dx**2)
    along_y = np.exp(-0.5 * c * dy**2) * peak[:, None, None]
    values = along_x * along_y
    tilted = np.abs(inverse[1]) > 1e-12  # round sources are a product of two curves
    if tilted.any():
        values[tilted] = (
            np.exp(
                -0.5 * (a[tilted] * dx[tilted] ** 2 + c[tilted] * dy[tilted] ** 2)
                - b[tilted] * dx[tilted] * dy[tilted]
            )
            * peak[tilted, None, None]
        )
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[
        :, None, :
    ]
    where = rows[:, :, None] * width + columns[:, None, :]
    np.add.at(image.reshape(-1), where[inside], values[inside].astype(np.float32))
