"""Pictures of cutouts: a stretch, limits and a colour map; PNG and JPEG.

Rows are turned upside down, so that a picture lies as FITS viewers show the image: its first pixel
at the lower left, north up and east left where the image has them so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from astrolabe.core.errors import BadParameterError, TooLargeError
from astrolabe.images.writers.color_maps import color_table

__all__ = [
    "Limits",
    "LimitsKind",
    "PictureForm",
    "PictureStyle",
    "Stretch",
    "draw",
    "encode_picture",
    "flat_image",
    "reduced",
    "stretched",
]

AnyArray = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float32]

_LOG_SCALE: Final = 1000.0
_ASINH_SOFTENING: Final = 0.1
_HISTOGRAM_BINS: Final = 4096
_SAMPLE: Final = 1_000_000  # pixels that percentiles are taken of
_SIDE_LIMIT: Final = {"png": 2**31 - 1, "jpeg": 65_500}  # libjpeg's own limit
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\Z")


class PictureForm(StrEnum):
    """Forms of pictures."""

    PNG = "png"
    JPEG = "jpeg"


class Stretch(StrEnum):
    """Curves from the limits' range to brightness; their formulas are those of SAOImage DS9."""

    LINEAR = "linear"
    SQRT = "sqrt"
    LOG = "log"
    ASINH = "asinh"
    HISTEQ = "histeq"

    @classmethod
    def parse(cls, text: str) -> Stretch:
        """Return the stretch of a name in any case.

        Raises
        ------
        BadParameterError
            Raised if there is none.
        """
        try:
            return cls(text.strip().lower())
        except ValueError:
            raise BadParameterError(
                f"STRETCH {text[:50]!r} is not one of {', '.join(cls)}."
            ) from None


class LimitsKind(StrEnum):
    """Ways to find the values that become black and white."""

    VALUES = "values"
    ZSCALE = "zscale"
    MINMAX = "minmax"
    PERCENT = "percent"


@dataclass(frozen=True, slots=True)
class Limits:
    """The values that become black and white.

    Parameters
    ----------
    kind
        How they are found.
    low, high
        The values themselves (`LimitsKind.VALUES`).
    percent
        How much of the pixels lies between them, the rest equally above and below
        (`LimitsKind.PERCENT`).
    """

    kind: LimitsKind = LimitsKind.PERCENT
    low: float = 0.0
    high: float = 1.0
    percent: float = 99.5

    @classmethod
    def parse(cls, text: str) -> Limits:
        """Return the limits that ``lo hi``, ``zscale``, ``minmax`` or ``99.5%`` means.

        Raises
        ------
        BadParameterError
            Raised if `text` is nothing of that, or if the limits are equal.
        """
        word = text.strip().lower()
        if word in {LimitsKind.ZSCALE, LimitsKind.MINMAX}:
            return cls(LimitsKind(word))
        if word.endswith("%") and _NUMBER.match(word[:-1].strip()):
            percent = float(word[:-1])
            if 0.0 < percent <= 100.0:
                return cls(LimitsKind.PERCENT, percent=percent)
        parts = word.replace(",", " ").split()
        if len(parts) == 2 and all(_NUMBER.match(part) for part in parts):
            low, high = (float(part) for part in parts)
            if math.isfinite(low) and math.isfinite(high) and low != high:
                return cls(LimitsKind.VALUES, low, high)
        raise BadParameterError(
            f"LIMITS {text[:100]!r} is not understood: give two different numbers, zscale, minmax, "
            "or a percentage above 0 and up to 100 such as 99.5%."
        )

    def of(self, data: AnyArray) -> tuple[float, float]:
        """Return the limits of an image; 0 and 1 if it has no finite pixel."""
        if self.kind is LimitsKind.VALUES:
            return self.low, self.high
        step = max(1, math.isqrt(max(1, data.size // _SAMPLE)))
        sample = data[..., ::step, ::step]
        if self.kind is LimitsKind.MINMAX:
            # The extremes may be anywhere.
            sample = data
        finite = sample[np.isfinite(sample)]
        if finite.size == 0:
            return 0.0, 1.0
        if self.kind is LimitsKind.ZSCALE:
            # With this comes matplotlib where it is installed, and it is rarely needed.
            from astropy.visualization import ZScaleInterval  # noqa: PLC0415

            low, high = ZScaleInterval().get_limits(finite.reshape(1, -1))
        elif self.kind is LimitsKind.MINMAX:
            low, high = finite.min(), finite.max()
        else:
            outside = (100.0 - self.percent) / 2.0
            low, high = np.percentile(finite, [outside, 100.0 - outside])
        low, high = float(low), float(high)
        # A flat image is black, whatever its value.
        return (low, high) if high > low else (low, low + max(1.0, abs(low) * 1e-6))


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureStyle:
    """How a picture is drawn.

    Parameters
    ----------
    stretch
        The curve.
    limits
        What becomes black and white.
    color_map
        One of `astrolabe.images.writers.color_maps.COLOR_MAPS`; for one band only.
    max_side_px
        A larger image is made smaller by means of blocks of pixels until it fits.
    jpeg_quality
        1 to 95.
    """

    stretch: Stretch = Stretch.ASINH
    limits: Limits = Limits()
    color_map: str = "gray"
    max_side_px: int | None = None
    jpeg_quality: int = 90


def draw(data: AnyArray, form: PictureForm, style: PictureStyle) -> bytes:
    """Return a picture of one plane.

    Parameters
    ----------
    data : (..., height, width)
        Pixels; of a cube the mean over the axes before the last two is drawn.
    form
        PNG has transparent pixels where there is no value, JPEG black ones.
    style
        How.

    Raises
    ------
    BadParameterError
        Raised if there is no such colour map, or if the array has less than two axes.
    TooLargeError
        Raised if the form has no pictures of that size.
    """
    table = color_table(style.color_map)
    image = reduced(flat_image(data), style.max_side_px)
    low, high = style.limits.of(image)
    light = stretched(image, low, high, style.stretch)
    missing = ~np.isfinite(image)
    # Level 255 is kept for pixels without a value; nobody sees 255 levels instead of 256.
    levels = np.multiply(light, 254.0, out=light)
    levels += 0.5
    indexes = np.where(missing, np.uint8(255), levels.astype(np.uint8))
    colors = table[np.rint(np.linspace(0, 255, 255)).astype(np.intp)]
    picture = Image.fromarray(np.ascontiguousarray(indexes[::-1]))
    picture.putpalette(np.vstack([colors, np.zeros((1, 3), np.uint8)]).tobytes())
    if form is PictureForm.JPEG:
        return encode_picture(picture.convert("RGB"), form, quality=style.jpeg_quality)
    transparent = 255 if missing.any() else None
    return encode_picture(picture, form, transparent=transparent)


def encode_picture(
    picture: Image.Image,
    form: PictureForm,
    *,
    quality: int = 90,
    transparent: int | None = None,
) -> bytes:
    """Return a picture as the bytes of a file.

    Raises
    ------
    TooLargeError
        Raised if the form has no pictures of that size.
    """
    limit = _SIDE_LIMIT[form.value]
    if max(picture.size) > limit:
        raise TooLargeError(
            f"The picture has {picture.width} x {picture.height} pixels; {form.value.upper()} "
            f"takes at most {limit} along a side. Ask for a smaller region, or for FITS."
        )
    out = BytesIO()
    if form is PictureForm.JPEG:
        picture.save(out, "JPEG", quality=quality)
    elif transparent is None:
        picture.save(out, "PNG", compress_level=4)
    else:
        picture.save(out, "PNG", compress_level=4, transparency=transparent)
    return out.getvalue()


def flat_image(data: AnyArray) -> FloatArray:
    """Return an image of two axes as float32: the mean of a cube over all other axes.

    Raises
    ------
    BadParameterError
        Raised if the array has less than two axes or no pixels.
    """
    if data.ndim < 2 or data.size == 0:
        raise BadParameterError(
            f"An array of the shape {data.shape} is no image; pictures need two axes."
        )
    planes = data.reshape(-1, *data.shape[-2:])
    return _mean(planes, (0,)) if len(planes) > 1 else planes[0].astype(np.float32)


def reduced(image: FloatArray, max_side_px: int | None) -> FloatArray:
    """Return an image made smaller by means of square blocks so that it fits a size."""
    side = max(image.shape)
    if max_side_px is None or side <= max_side_px:
        return image
    step = -(-side // max_side_px)
    height, width = (-(-length // step) for length in image.shape)
    room = np.full((height * step, width * step), np.nan, np.float32)
    room[: image.shape[0], : image.shape[1]] = image
    return _mean(room.reshape(height, step, width, step), (1, 3))


def stretched(image: FloatArray, low: float, high: float, stretch: Stretch) -> FloatArray:
    """Return the brightness of each pixel, 0 to 1; pixels without a value are 0."""
    light = (image - np.float32(low)) / np.float32(high - low)
    light = np.nan_to_num(light, copy=False, nan=0.0, posinf=1.0, neginf=0.0)
    np.clip(light, 0.0, 1.0, out=light)
    if stretch is Stretch.HISTEQ:
        return _equalized(light, np.isfinite(image))
    return np.asarray(CURVES[stretch](light), dtype=np.float32)


def _log(light: FloatArray) -> FloatArray:
    return np.asarray(np.log1p(light * _LOG_SCALE) / np.float32(math.log1p(_LOG_SCALE)))


def _asinh(light: FloatArray) -> FloatArray:
    bright = np.float32(math.asinh(1.0 / _ASINH_SOFTENING))
    return np.asarray(np.arcsinh(light / _ASINH_SOFTENING) / bright)


CURVES: Final[dict[Stretch, Callable[[FloatArray], FloatArray]]] = {
    Stretch.LINEAR: lambda light: light,
    Stretch.SQRT: np.sqrt,
    Stretch.LOG: _log,
    Stretch.ASINH: _asinh,
}
"""Stretches that look at one pixel at a time, each from 0..1 to 0..1."""


def _equalized(light: FloatArray, finite: npt.NDArray[np.bool_]) -> FloatArray:
    counts, edges = np.histogram(light[finite], bins=_HISTOGRAM_BINS, range=(0.0, 1.0))
    total = counts.sum()
    if total == 0:
        return light
    shares = np.concatenate([[0.0], np.cumsum(counts) / total])
    return np.asarray(np.interp(light, edges, shares), dtype=np.float32)


def _mean(values: AnyArray, axes: tuple[int, ...]) -> FloatArray:
    """Return the mean of the finite values along axes, NaN where there is none."""
    finite = np.isfinite(values)
    total = np.where(finite, values, 0).sum(axis=axes, dtype=np.float64)
    count = finite.sum(axis=axes)
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return np.asarray(mean, dtype=np.float32)
