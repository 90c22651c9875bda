"""What an image's WCS says of it: position, footprint, spectrum, time and polarisation."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from astrolabe.core.errors import ImageInvalidError
from astrolabe.images.fits.index import PlaneIndex
from astrolabe.images.wcs import ImageWcs
from astrolabe.sky.vectors import FloatArray, unit_vectors

__all__ = ["place_values"]

_POLARISATIONS: Final = (
    "I", "Q", "U", "V", "RR", "LL", "RL", "LR", "XX", "YY", "XY", "YX", "POLI", "POLA",
)  # fmt: skip
"""In the order in which ``pol_states`` lists them (ObsCore 1.1, section B.6.6.1)."""
_SAMPLES: Final = 17


def place_values(plane: PlaneIndex) -> tuple[dict[str, Any], str | None]:
    """Return ObsCore values that follow from the WCS, and why there is no position or footprint.

    Parameters
    ----------
    plane
        The science plane.

    Returns
    -------
    Values without nulls, and one sentence or `None`.
    """
    longer = [length for length in plane.shape if length > 1]
    values: dict[str, Any] = {"dataproduct_type": "cube" if len(longer) > 2 else "image"}
    values["s_xel2"], values["s_xel1"] = plane.shape[-2:]
    try:
        wcs = ImageWcs.from_header(plane.header, plane.shape, tables=plane.wcs_tables)
    except ImageInvalidError as exc:
        return values, f"no position: {exc.message}"
    if wcs is None:
        return values, "no position: the header has no WCS"
    _add_axes(values, wcs)
    if not wcs.has_sky:
        return values, f"no position: {wcs.no_sky_reason}"
    return values, _add_sky(values, wcs)


def _add_sky(values: dict[str, Any], wcs: ImageWcs) -> str | None:
    """Add position, size and footprint; return why one of them is missing."""
    values["s_xel2"], values["s_xel1"] = wcs.sky_shape
    scale = wcs.pixel_scale_arcsec
    if math.isfinite(scale) and scale > 0.0:
        values["s_pixel_scale"] = scale
    ra, dec = wcs.center_deg
    problem = None
    try:
        outline = wcs.footprint()
    except ImageInvalidError as exc:
        outline, problem = None, f"no footprint: {exc.message}"
    if not (math.isfinite(ra) and math.isfinite(dec)):
        if outline is None:
            return "no position: the middle of the image has no sky, and it has no footprint"
        ra, dec = _middle(outline)
    values |= {"s_ra": ra % 360.0, "s_dec": dec, "s_calib_status": "calibrated"}
    if outline is not None:
        values["s_region"] = [float(number) for number in outline.ravel()]
    values["s_fov"] = _diameter(ra, dec, _border(wcs) if outline is None else outline)
    return problem


def _add_axes(values: dict[str, Any], wcs: ImageWcs) -> None:
    """Add what the other axes of a cube say."""
    if wcs.spectral is not None:
        values["em_min"], values["em_max"] = wcs.spectral.limits
        values["em_xel"] = wcs.shape[wcs.spectral.axis]
        if values["em_xel"] > 1:
            width = abs(values["em_max"] - values["em_min"]) / values["em_xel"]
            if width > 0.0:
                middle = (values["em_min"] + values["em_max"]) / 2
                values |= {"em_resolution": width, "em_res_power": middle / width}
    if wcs.time is not None:
        values["t_min"], values["t_max"] = wcs.time.limits
        values["t_xel"] = wcs.shape[wcs.time.axis]
    if wcs.polarisation is not None:
        states = sorted(set(wcs.polarisation.states) - {""}, key=_POLARISATIONS.index)
        if states:
            values["pol_states"] = f"/{'/'.join(states)}/"
            values["pol_xel"] = len(wcs.polarisation.states)


def _middle(outline: FloatArray) -> tuple[float, float]:
    """Return the middle of a polygon's corners, for an image whose middle has no sky."""
    x, y, z = unit_vectors(outline[:, 0], outline[:, 1]).sum(axis=0)
    return math.degrees(math.atan2(y, x)) % 360.0, math.degrees(math.atan2(z, math.hypot(x, y)))


def _diameter(ra: float, dec: float, points: FloatArray) -> float:
    """Return the diameter (deg) of the circle around a position that holds all points."""
    centre = unit_vectors(np.array([ra]), np.array([dec]))[0]
    corners = unit_vectors(points[:, 0], points[:, 1])
    corners = corners[np.isfinite(corners).all(axis=1)]
    # By the chord: the cosine of a small angle has no digits left.
    chord = np.linalg.norm(corners - centre, axis=1).max(initial=0.0)
    return math.degrees(4.0 * math.asin(min(1.0, float(chord) / 2.0)))


def _border(wcs: ImageWcs) -> FloatArray:
    """Return positions (n, 2) all over an image that has no footprint."""
    height, width = wcs.sky_shape
    x, y = np.meshgrid(
        np.linspace(-0.5, width - 0.5, _SAMPLES), np.linspace(-0.5, height - 0.5, _SAMPLES)
    )
    return np.column_stack(wcs.to_sky(x.ravel(), y.ravel()))
