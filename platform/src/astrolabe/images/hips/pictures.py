"""From values to what one sees: grey pictures of one band, colours of three.

Colours follow Lupton et al. 2004 (PASP 116, 133, section 2): the stretch is applied to the mean of
the bands and leaves their ratios alone, so that a bright star keeps its colour.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from astrolabe.images.hips.tiles import FloatTile, png_bytes

__all__ = ["Cut", "PictureFormat", "colors", "cut_of", "encode", "grey"]

Cut = tuple[float, float]
"""The values that are drawn black and white."""

PictureFormat = Literal["png", "jpg"]

_SOFTENING: Final = 15.0  # how much lighter faint things are drawn than a linear stretch would
_BELOW_SIGMA: Final = 1.5
_BRIGHT_PERCENTILE: Final = 99.7
_JPEG_QUALITY: Final = 88


def cut_of(values: npt.NDArray[np.float32]) -> Cut:
    """Return a fitting cut of values (n,), all finite: from a little below the sky to bright."""
    if not len(values):
        return (0.0, 1.0)
    sky = float(np.median(values))
    sigma = 1.4826 * float(np.median(np.abs(values - sky)))
    bright = float(np.percentile(values, _BRIGHT_PERCENTILE))
    low = sky - _BELOW_SIGMA * sigma
    high = max(bright, sky + 10.0 * sigma)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def grey(values: FloatTile, cut: Cut) -> npt.NDArray[np.uint8]:
    """Return grey and alpha, (h, w, 2); see-through where there is no value."""
    share = _stretched(np.clip((np.nan_to_num(values) - cut[0]) / (cut[1] - cut[0]), 0.0, 1.0))
    known = np.isfinite(values)
    return np.stack([_byte(share), np.where(known, 255, 0).astype(np.uint8)], axis=-1)


def colors(bands: Sequence[FloatTile | None], cuts: Sequence[Cut]) -> npt.NDArray[np.uint8]:
    """Return red, green, blue and alpha, (h, w, 4).

    Parameters
    ----------
    bands
        Red, green and blue; where one has no value, it takes the mean of the others.
    cuts
        Of each: its sky is black and its bright things are white, so that the bands balance.
    """
    shape = next(band.shape for band in bands if band is not None)
    shares = np.full((3, *shape), np.nan, dtype=np.float32)
    for i, (band, cut) in enumerate(zip(bands, cuts, strict=True)):
        if band is not None:
            shares[i] = (band - cut[0]) / (cut[1] - cut[0])
    known = np.isfinite(shares)
    number = known.sum(axis=0)
    total = np.where(known, shares, np.float32(0)).sum(axis=0)
    mean = total / np.maximum(number, 1).astype(np.float32)
    shares = np.where(known, shares, mean)
    light = np.clip(mean, 1e-6, None)
    shown = np.clip(shares, 0.0, None) * (_stretched(light) / light)
    # What is too bright in one colour is dimmed in all.
    shown /= np.maximum(shown.max(axis=0), 1.0)
    alpha = np.where(number > 0, 255, 0).astype(np.uint8)
    return np.stack([*(_byte(channel) for channel in shown), alpha], axis=-1)


def encode(picture: npt.NDArray[np.uint8], form: PictureFormat) -> bytes:
    """Return the file of a picture (h, w, 2 or 4) in the order of FITS."""
    if form == "png":
        return png_bytes(picture)
    # JPEG knows nothing see-through: black.
    opaque = picture[..., :-1] * (picture[..., -1:] > 0)
    upright = np.ascontiguousarray(opaque[::-1]).squeeze()
    buffer = io.BytesIO()
    Image.fromarray(upright).save(buffer, format="JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _stretched(share: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.asarray(np.arcsinh(_SOFTENING * share) / np.arcsinh(_SOFTENING))


def _byte(share: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.asarray(np.rint(255.0 * np.clip(share, 0.0, 1.0)), dtype=np.uint8)
