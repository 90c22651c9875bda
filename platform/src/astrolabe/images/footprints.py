"""The outline of an image on the sky as a polygon whose sides are great circles."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from astrolabe.core.errors import BadParameterError, ImageInvalidError
from astrolabe.sky.regions import Polygon
from astrolabe.sky.vectors import FloatArray, arc_length_rad, normalized, unit_vectors

if TYPE_CHECKING:
    from astrolabe.images.wcs import ImageWcs

__all__ = ["outline"]

_DEVIATION_PX: Final = 0.15
_MAX_LEVELS: Final = 10
_HEMISPHERE_RAD: Final = math.radians(88.9)
_WIDE_RAD: Final = math.radians(10.0)
_SAME_PX: Final = 1e-3
_GRID: Final = 65
_ROWS: Final = 129
_BISECTIONS: Final = 40
_MAX_SPLITS: Final = 4096  # segments of an outline


def outline(wcs: ImageWcs) -> FloatArray:
    """Return the vertices (n, 2), ICRS degrees, of the outline of an image.

    Parameters
    ----------
    wcs
        Of an image with a position.

    Returns
    -------
    (n, 2)
        Counter-clockwise as seen from inside the sphere; the last side goes back to the first
        vertex.  Great circles between vertices keep within 0.2 pixels of the image's edges.  Where
        corners have no sky (projections of a whole sky) the outline goes along the border of what
        has, by 129 rows.

    Raises
    ------
    ImageInvalidError
        Raised if the image covers a hemisphere or more, a ring around the sky, or nothing.
    """
    height, width = wcs.sky_shape
    corners = np.array(
        [(-0.5, -0.5), (width - 0.5, -0.5), (width - 0.5, height - 0.5), (-0.5, height - 0.5)]
    )
    pixels = _refined(wcs, corners)
    if pixels is None:
        pixels = _ragged(wcs, width, height)
    vectors = unit_vectors(*wcs.to_sky(pixels[:, 0], pixels[:, 1]))
    vectors = _without_repeats(vectors, wcs.pixel_scale_arcsec)
    _check_size(wcs, vectors)
    return _counter_clockwise(vectors)


def _refined(wcs: ImageWcs, corners: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
    """Return points along the edges, close enough to each other; `None` if one has no sky."""
    vectors = _sky(wcs, corners)
    if vectors is None:
        return None
    sides = arc_length_rad(vectors, np.roll(vectors, -1, axis=0))
    middle = _sky(wcs, corners.mean(axis=0, keepdims=True))
    wide = middle is None or max(sides.max(), arc_length_rad(vectors, middle).max()) > _WIDE_RAD
    count = 16 if wide else 1
    share = (np.arange(count) / count)[:, np.newaxis]
    ends = np.roll(corners, -1, axis=0)
    points = np.concatenate([a + share * (b - a) for a, b in zip(corners, ends, strict=True)])
    scale_rad = math.radians(wcs.pixel_scale_arcsec / 3600.0)
    for _ in range(_MAX_LEVELS):
        after = np.roll(points, -1, axis=0)
        probes = [_sky(wcs, points + part * (after - points)) for part in (0.0, 0.25, 0.5, 0.75)]
        start = probes[0]
        if start is None or any(probe is None for probe in probes):
            return None
        chord = np.roll(start, -1, axis=0) - start
        normal = normalized(np.cross(start, chord))
        away = np.max(
            [np.abs(np.sum(probe * normal, axis=1)) for probe in probes[1:] if probe is not None],
            axis=0,
        )
        bent = np.flatnonzero(away > _DEVIATION_PX * scale_rad)
        if not bent.size or len(points) + bent.size > _MAX_SPLITS:
            break
        points = np.insert(points, bent + 1, (points[bent] + after[bent]) / 2.0, axis=0)
    return points


def _sky(wcs: ImageWcs, pixels: npt.NDArray[np.float64]) -> FloatArray | None:
    ra, dec = wcs.to_sky(pixels[:, 0], pixels[:, 1])
    if not (np.isfinite(ra) & np.isfinite(dec)).all():
        return None
    return unit_vectors(ra, dec)


def _ragged(wcs: ImageWcs, width: int, height: int) -> npt.NDArray[np.float64]:
    """Return the border of the pixels that have sky: row by row the first and the last of them."""
    columns = np.linspace(-0.5, width - 0.5, _GRID)
    left: list[tuple[float, float]] = []
    right: list[tuple[float, float]] = []
    for y in np.linspace(-0.5, height - 0.5, _ROWS).tolist():
        good = _has_sky(wcs, columns, y)
        if not good.any():
            continue
        first, last = int(np.argmax(good)), _GRID - 1 - int(np.argmax(good[::-1]))
        left.append((_border(wcs, columns, first, -1, y), y))
        right.append((_border(wcs, columns, last, 1, y), y))
    if len(left) < 2:
        raise ImageInvalidError("Hardly any pixel of the image has a place on the sky.")
    return np.array(left[::-1] + right)


def _border(wcs: ImageWcs, columns: FloatArray, good: int, step: int, y: float) -> float:
    """Find how far the sky goes from a column that has it towards the next one."""
    inside = float(columns[good])
    if not 0 <= good + step < len(columns):
        return inside
    outside = float(columns[good + step])
    for _ in range(_BISECTIONS):
        middle = (inside + outside) / 2.0
        if _has_sky(wcs, np.array([middle]), y)[0]:
            inside = middle
        else:
            outside = middle
    return inside


def _has_sky(wcs: ImageWcs, x: FloatArray, y: float) -> npt.NDArray[np.bool_]:
    ra, dec = wcs.to_sky(x, np.full(x.shape, y))
    return np.asarray(np.isfinite(ra) & np.isfinite(dec), dtype=np.bool_)


def _without_repeats(vectors: FloatArray, scale_arcsec: float) -> FloatArray:
    """Leave out points that are where the one before is: an edge may be a pole."""
    scale_rad = math.radians(scale_arcsec / 3600.0) if math.isfinite(scale_arcsec) else 1e-9
    apart = arc_length_rad(vectors, np.roll(vectors, 1, axis=0)) > max(_SAME_PX * scale_rad, 1e-14)
    return np.asarray(vectors[apart], dtype=np.float64)


def _check_size(wcs: ImageWcs, vectors: FloatArray) -> None:
    too_large = ImageInvalidError(
        "The image covers a hemisphere or more, or a whole ring of the sky, which no polygon says."
    )
    if len(vectors) < 3:
        raise ImageInvalidError("The image has no area on the sky.")
    total = vectors.sum(axis=0)
    if np.linalg.norm(total) < 1e-3 * len(vectors):
        raise too_large
    if arc_length_rad(vectors, normalized(total)).max() > _HEMISPHERE_RAD:
        raise too_large
    ra, dec = _angles(vectors)
    try:
        polygon = Polygon(ra, dec)
    except BadParameterError as exc:
        raise ImageInvalidError(f"The image has no outline: {exc.message}") from exc
    center_ra, center_dec = wcs.center_deg
    if math.isfinite(center_ra) and not polygon.contains([center_ra], [center_dec])[0]:
        raise too_large


def _counter_clockwise(vectors: FloatArray) -> FloatArray:
    """Order vertices as DALI and STC want them: looking up, east is to the left."""
    center = normalized(vectors.sum(axis=0))
    # Twice the area, positive where the vertices turn left as seen from outside the sphere.
    area = float(np.sum(np.cross(vectors, np.roll(vectors, -1, axis=0)) @ center))
    if area > 0.0:
        vectors = vectors[::-1]
    return np.column_stack(_angles(vectors))


def _angles(vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
    x, y, z = vectors.T
    return np.rad2deg(np.arctan2(y, x)) % 360.0, np.rad2deg(np.arctan2(z, np.hypot(x, y)))
