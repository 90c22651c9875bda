"""Celestial frames of images and the way from each to ICRS.

All but FK4 are rotations of ICRS: a product with a matrix takes microseconds where astropy's
`SkyCoord` takes milliseconds.  The matrices come from astropy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import astropy.units as u
import numpy as np
import numpy.typing as npt
from astropy.coordinates import (
    FK5,
    ICRS,
    BarycentricMeanEcliptic,
    BaseCoordinateFrame,
    CartesianRepresentation,
    Galactic,
    Supergalactic,
    UnitSphericalRepresentation,
)
from astropy.time import Time
from astropy.wcs import WCS
from astropy.wcs.utils import wcs_to_celestial_frame

from astrolabe.sky.vectors import FloatArray, unit_vectors

__all__ = ["SkyFrame", "sky_frame"]


@dataclass(frozen=True, slots=True, eq=False)
class SkyFrame:
    """A frame of positions.

    Parameters
    ----------
    matrix
        From ICRS unit vectors to those of the frame; `None` if the frame is ICRS or is none that
        a rotation leads to.
    frame
        astropy's, where the way is no rotation.
    """

    matrix: FloatArray | None = None
    frame: BaseCoordinateFrame | None = None

    def to_icrs(self, lon: npt.ArrayLike, lat: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return ICRS degrees (0 to 360, -90 to 90) of positions in degrees; NaN stays NaN."""
        lon, lat = np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)
        if self.frame is not None:
            return _by_astropy(lon, lat, self.frame, ICRS())
        if self.matrix is None:
            return np.mod(lon, 360.0), lat
        return _angles(unit_vectors(lon, lat) @ self.matrix)

    def from_icrs(self, ra: npt.ArrayLike, dec: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return positions in degrees of ICRS degrees."""
        ra, dec = np.asarray(ra, dtype=np.float64), np.asarray(dec, dtype=np.float64)
        if self.frame is not None:
            return _by_astropy(ra, dec, ICRS(), self.frame)
        if self.matrix is None:
            return ra, dec
        return _angles(unit_vectors(ra, dec) @ self.matrix.T)


_ICRS: Final = SkyFrame()


def sky_frame(wcs: WCS) -> SkyFrame | str:
    """Return the frame of a celestial WCS, or the reason why its positions are not on the sky.

    Parameters
    ----------
    wcs
        Of two axes, longitude and latitude in any order.
    """
    kind = wcs.wcs.lngtyp.strip().upper()
    if kind == "ELON":
        equinox = wcs.wcs.equinox
        frame: Any = BarycentricMeanEcliptic(
            equinox=Time(2000.0 if not np.isfinite(equinox) else equinox, format="jyear")
        )
    elif kind == "SLON":
        frame = Supergalactic()
    elif kind in {"RA", "GLON"}:
        names = list(wcs.wcs.ctype)
        equinox = None if np.isnan(wcs.wcs.equinox) else float(wcs.wcs.equinox)
        found = _known_frame(
            wcs.wcs.radesys, equinox, names[wcs.wcs.lng][:4], names[wcs.wcs.lat][:4]
        )
        if found is None:
            return f"its frame (RADESYS {wcs.wcs.radesys!r}) is not known"
        frame = found
    else:
        return f"its axes ({', '.join(wcs.wcs.ctype)}) are not on the sky"
    if isinstance(frame, ICRS):
        return _ICRS
    if frame.name in {"fk4", "fk4noeterms", "gcrs"}:
        # Terms of aberration make it no rotation.
        return SkyFrame(frame=frame)
    if frame.name not in {"fk5", "galactic", "supergalactic", "barycentricmeanecliptic"}:
        return f"positions in its frame ({frame.name}) depend on place and time of the observer"
    return _rotation(frame)


@lru_cache(maxsize=64)
def _known_frame(
    system: str, equinox_year: float | None, lon: str, lat: str
) -> BaseCoordinateFrame | None:
    """Return the frame that astropy finds for RADESYS, EQUINOX and the names of the axes.

    The images of a survey have one frame, which astropy would make anew for each of them.
    """
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"{lon}-TAN", f"{lat}-TAN"]
    wcs.wcs.radesys = system
    if equinox_year is not None:
        wcs.wcs.equinox = equinox_year
    wcs.wcs.set()
    try:
        return wcs_to_celestial_frame(wcs)
    except ValueError:
        return None


def _rotation(frame: BaseCoordinateFrame) -> SkyFrame:
    equinox = getattr(frame, "equinox", None)
    return _known_rotation(frame.name, None if equinox is None else float(equinox.jyear))


@lru_cache(maxsize=64)
def _known_rotation(name: str, equinox_year: float | None) -> SkyFrame:
    kwargs = {} if equinox_year is None else {"equinox": Time(equinox_year, format="jyear")}
    frame = _FRAMES[name](**kwargs)
    axes = ICRS(CartesianRepresentation(np.eye(3))).represent_as(UnitSphericalRepresentation)
    turned = ICRS(axes).transform_to(frame).cartesian.xyz.to_value(u.one)
    # Row i is the frame's axis i in ICRS; rounding is taken out by the nearest rotation.
    left, _, right = np.linalg.svd(np.asarray(turned))
    return SkyFrame(matrix=np.ascontiguousarray(left @ right))


_FRAMES: Final = {
    "fk5": FK5,
    "galactic": Galactic,
    "supergalactic": Supergalactic,
    "barycentricmeanecliptic": BarycentricMeanEcliptic,
}


def _by_astropy(
    lon: FloatArray, lat: FloatArray, given: BaseCoordinateFrame, wanted: BaseCoordinateFrame
) -> tuple[FloatArray, FloatArray]:
    good = np.isfinite(lon) & np.isfinite(lat)
    to_lon, to_lat = np.full(lon.shape, np.nan), np.full(lat.shape, np.nan)
    if good.any():
        sphere = UnitSphericalRepresentation(lon[good] * u.deg, lat[good] * u.deg)
        found = given.realize_frame(sphere).transform_to(wanted).spherical
        to_lon[good], to_lat[good] = found.lon.deg % 360.0, found.lat.deg
    return to_lon, to_lat


def _angles(vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
    x, y, z = vectors.T
    return np.rad2deg(np.arctan2(y, x)) % 360.0, np.rad2deg(np.arctan2(z, np.hypot(x, y)))
