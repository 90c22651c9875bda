"""Colour pictures of three bands, after Lupton et al. (2004, PASP 116, 133).

The same curve is applied to the mean of the bands, not to each: a star keeps its colour however
bright it is, and a pixel that would be too bright is scaled as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS
from PIL import Image

from astrolabe.core.errors import BadParameterError
from astrolabe.images.writers.pictures import (
    CURVES,
    FloatArray,
    LimitsKind,
    PictureForm,
    PictureStyle,
    Stretch,
    encode_picture,
    flat_image,
    reduced,
)

__all__ = ["Band", "aligned", "draw_rgb", "lupton_rgb"]

SOFTENING: Final = 8.0
"""Lupton's Q: how soon the curve turns from linear to logarithmic."""


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """One of the three images of a colour picture.

    Parameters
    ----------
    data : (..., height, width)
        Pixels.
    wcs
        Where they are on the sky (celestial axes only); `None` if the image has no position.
    """

    data: npt.NDArray[Any]
    wcs: WCS | None


def draw_rgb(bands: Sequence[Band], form: PictureForm, style: PictureStyle) -> bytes:
    """Return a colour picture of three bands, drawn on the pixels of the first.

    Parameters
    ----------
    bands
        Red, green and blue.
    form, style
        As for `astrolabe.images.writers.pictures.draw`.  Limits given as values are the mean
        intensities that become black and white.

    Raises
    ------
    BadParameterError
        Raised if there are not three bands, or if they lie on different pixels and one has no
        position.
    TooLargeError
        Raised if the form has no pictures of that size.
    """
    if len(bands) != 3:
        raise BadParameterError(f"RGB takes three images: red, green, blue; not {len(bands)}.")
    images = [reduced(image, style.max_side_px) for image in aligned(bands)]
    colors, missing = lupton_rgb(images, style)
    pixels = np.rint(colors * 255.0).astype(np.uint8)[::-1]
    if form is PictureForm.PNG and missing.any():
        opaque = np.where(missing, np.uint8(0), np.uint8(255))[::-1, :, None]
        pixels = np.concatenate([pixels, opaque], axis=2)
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return encode_picture(picture, form, quality=style.jpeg_quality)


def lupton_rgb(
    images: Sequence[FloatArray], style: PictureStyle
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Return the colours of each pixel, and which pixels no band has.

    Parameters
    ----------
    images : 3 arrays of one shape
        Red, green and blue in one unit; NaN where there is no value.
    style
        `asinh` is the curve of the article, with `SOFTENING`; with others the same is done.

    Returns
    -------
    (height, width, 3) array from 0 to 1, and a (height, width) array.
    """
    stack = np.stack(images)
    finite = np.isfinite(stack)
    missing: npt.NDArray[np.bool_] = np.asarray(~finite.any(axis=0))
    if style.limits.kind is LimitsKind.VALUES:
        low, high = style.limits.low, style.limits.high
    else:
        # Each band's sky is its own; what is above it is compared between the bands.
        for number in range(3):
            sky = stack[number][finite[number]]
            stack[number] -= np.float32(np.median(sky)) if sky.size else np.float32(0)
        low, high = style.limits.of(_intensity(stack, finite))
    light = np.where(finite, (stack - np.float32(low)) / np.float32(high - low), np.float32(0))
    intensity = light.mean(axis=0)
    factor = np.zeros_like(intensity)
    bright = intensity > 0
    factor[bright] = _curve(intensity[bright], style.stretch) / intensity[bright]
    colors = np.maximum(light * factor, 0.0)
    colors /= np.maximum(colors.max(axis=0), 1.0)
    return np.moveaxis(colors, 0, -1).astype(np.float32), missing


def aligned(bands: Sequence[Band]) -> list[FloatArray]:
    """Return the images of all bands on the pixels of the first.

    Bands whose pixels lie on the same positions to a hundredth of a pixel are taken as they are;
    others are resampled (bilinear).

    Raises
    ------
    BadParameterError
        Raised if a band that must be resampled has no position.
    """
    first = bands[0]
    images = [flat_image(band.data) for band in bands]
    shape = images[0].shape
    for number, band in enumerate(bands[1:], start=1):
        if images[number].shape == shape and _same_grid(first.wcs, band.wcs, shape):
            continue
        if first.wcs is None or band.wcs is None:
            raise BadParameterError(
                "The three images of RGB lie on different pixels, and one of them has no position "
                "by which it could be resampled."
            )
        from reproject import reproject_interp  # noqa: PLC0415 - brings Dask, slow to import

        resampled = reproject_interp(
            (images[number], band.wcs), first.wcs, shape_out=shape, return_footprint=False
        )
        images[number] = np.asarray(resampled, dtype=np.float32)
    return images


def _same_grid(one: WCS | None, other: WCS | None, shape: tuple[int, ...]) -> bool:
    if one is None or other is None:
        return one is None and other is None
    height, width = shape
    x = np.array([0.0, width - 1.0, 0.0, width - 1.0, width / 2])
    y = np.array([0.0, 0.0, height - 1.0, height - 1.0, height / 2])
    try:
        there = other.world_to_pixel(one.pixel_to_world(x, y))
    except Exception:  # noqa: BLE001 - whatever a projection cannot do, resampling judges pixel by pixel
        return False
    distance = np.hypot(there[0] - x, there[1] - y)
    return bool((distance < 0.01).all())


def _intensity(stack: FloatArray, finite: npt.NDArray[np.bool_]) -> FloatArray:
    values = np.where(finite, stack, np.float32(0)).mean(axis=0)
    values[~finite.any(axis=0)] = np.nan
    return np.asarray(values, dtype=np.float32)


def _curve(intensity: FloatArray, stretch: Stretch) -> FloatArray:
    if stretch is Stretch.ASINH:
        # Not cut at 1: what is brighter than white is scaled back with its colour.
        return np.asarray(np.arcsinh(SOFTENING * intensity) / np.float32(math.asinh(SOFTENING)))
    if stretch is Stretch.HISTEQ:
        raise BadParameterError("STRETCH histeq is for pictures of one band; RGB takes the others.")
    return CURVES[stretch](intensity)
