"""Positions, wavelengths, times and polarisations of an image's pixels, by astropy's WCS.

Pixels count from 0 and have their centre at whole numbers; positions are ICRS degrees.  All that
astropy's WCS knows is kept: any projection, SIP, TPV, TNX, ZPX and look-up tables.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from functools import cached_property
from io import BytesIO
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS

from astrolabe.core.errors import ImageInvalidError
from astrolabe.images.fits.cards import FitsHeader
from astrolabe.images.wcs_axes import PolarisationAxis, SpectralAxis, TimeAxis
from astrolabe.images.wcs_cards import broken_number, wcs_cards
from astrolabe.images.wcs_frames import SkyFrame, sky_frame
from astrolabe.images.wcs_parsing import plain_wcs
from astrolabe.sky.vectors import FloatArray, unit_vectors

__all__ = ["ImageWcs"]

_MAX_STEPS: Final = 50
_AROUND: Final = np.array([[[0.0, 0.0]], [[0.5, 0.0]], [[-0.5, 0.0]], [[0.0, 0.5]], [[0.0, -0.5]]])
_TOLERANCE_PX: Final = 1e-10
_PARSER_LOCK: Final = threading.Lock()


class ImageWcs:
    """The world coordinates of an image.

    Parameters
    ----------
    wcs
        astropy's, of all axes.
    shape
        Pixels along each axis in NumPy's order.
    no_sky_reason
        Why its pixels have no positions, if that is known.
    """

    def __init__(self, wcs: WCS, shape: Sequence[int], *, no_sky_reason: str = "") -> None:
        self.wcs = wcs
        self.shape = tuple(shape)
        self.no_sky_reason = no_sky_reason
        """Why there is no position; empty where there is one."""
        self._celestial: WCS | None = None
        self._frame: SkyFrame | None = None
        # astropy writes into wcslib's structure while it computes.
        self._lock = threading.Lock()
        self._lon = 0
        self.x_axis = self.y_axis = -1
        """The axes of the sky, in NumPy's order; -1 where there is no position."""
        if not no_sky_reason:
            self._find_sky()

    @classmethod
    def from_header(
        cls, header: FitsHeader, shape: Sequence[int], *, tables: bytes = b""
    ) -> ImageWcs | None:
        """Return the WCS of a header; `None` if it has none at all.

        Parameters
        ----------
        header
            Of the image; only its WCS cards are looked at.
        shape
            Pixels along each axis in NumPy's order.
        tables
            A FITS file of the HDUs that the WCS refers to.

        Raises
        ------
        ImageInvalidError
            Raised if astropy cannot make a WCS of it; says why.
        """
        cards = wcs_cards(header)
        if cards is None:
            return None
        try:
            broken = broken_number(cards)
            reason = f"{broken} in its header is no finite number" if broken else ""
            return cls(_make_wcs(cards, tables), shape, no_sky_reason=reason)
        except Exception as exc:
            text = " ".join(str(exc).split())[:300]
            raise ImageInvalidError(f"The WCS of the header is broken: {text}.") from exc

    @classmethod
    def of_image(
        cls, header: FitsHeader, shape: Sequence[int], *, tables: bytes = b""
    ) -> ImageWcs | None:
        """Return the WCS of an image's header, one without any axes if it is broken.

        An image with a broken WCS has pixels all the same. Parameters are those of `from_header`.
        """
        try:
            return cls.from_header(header, shape, tables=tables)
        except ImageInvalidError as exc:
            reason = exc.message.rstrip(".")
            return cls(WCS(naxis=len(shape)), shape, no_sky_reason=reason)

    @property
    def has_sky(self) -> bool:
        """Whether pixels have positions."""
        return self._celestial is not None

    @property
    def projection(self) -> str:
        """The code of the projection, as ``TAN``; nothing where there is no position."""
        if self._celestial is None:
            return ""
        return str(self._celestial.wcs.ctype[0])[5:8].rstrip("-")

    @property
    def sky_shape(self) -> tuple[int, int]:
        """Pixels along y and x of the sky."""
        return self.shape[self.y_axis], self.shape[self.x_axis]

    def to_sky(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return ICRS positions (deg) of pixels; NaN where a projection has no sky.

        Parameters
        ----------
        x, y : (n,)
            Pixels from 0, whole numbers at their centres.

        Raises
        ------
        ImageInvalidError
            Raised if the image has no position.
        """
        celestial, frame = self._require_sky()
        points = np.column_stack((np.ravel(x), np.ravel(y))).astype(np.float64)
        with self._lock:
            world = celestial.all_pix2world(points, 0)
        return frame.to_icrs(world[:, self._lon], world[:, 1 - self._lon])

    def to_pixel(
        self, ra_deg: npt.ArrayLike, dec_deg: npt.ArrayLike
    ) -> tuple[FloatArray, FloatArray]:
        """Return the pixels (from 0) of ICRS positions; NaN where the projection has no place.

        Parameters
        ----------
        ra_deg, dec_deg : (n,)
            ICRS degrees.

        Raises
        ------
        ImageInvalidError
            Raised if the image has no position.
        """
        celestial, frame = self._require_sky()
        lon, lat = frame.from_icrs(np.ravel(ra_deg), np.ravel(dec_deg))
        world = np.empty((len(lon), 2))
        world[:, self._lon], world[:, 1 - self._lon] = lon, lat
        with self._lock:
            focal = celestial.wcs_world2pix(world, 0)
            if _is_distorted(celestial):
                focal = _undo_distortion(celestial, focal, self.sky_shape)
        return focal[:, 0], focal[:, 1]

    @cached_property
    def pixel_scale_arcsec(self) -> float:
        """Side of a square of the area of the pixel in the middle (arcsec); NaN if unknown."""
        height, width = self.sky_shape
        x, y = (width - 1) / 2.0, (height - 1) / 2.0
        xs = np.array([x - 0.5, x + 0.5, x, x])
        ys = np.array([y, y, y - 0.5, y + 0.5])
        west, east, south, north = unit_vectors(*self.to_sky(xs, ys))
        # NumPy's product of two single vectors costs more than all of the above.
        (ax, ay, az), (bx, by, bz) = (east - west).tolist(), (north - south).tolist()
        area = math.hypot(ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx)
        return math.degrees(math.sqrt(area)) * 3600.0

    @cached_property
    def center_deg(self) -> tuple[float, float]:
        """ICRS position (deg) of the middle of the image; NaN where there is no sky."""
        height, width = self.sky_shape
        ra, dec = self.to_sky([(width - 1) / 2.0], [(height - 1) / 2.0])
        return float(ra[0]), float(dec[0])

    def footprint(self) -> FloatArray:
        """Return the outline of the image as a polygon (n, 2) of ICRS degrees.

        Its sides, as great circles, keep within 0.2 pixels of the edges.  Vertices go
        counter-clockwise as seen from inside the sphere.

        Raises
        ------
        ImageInvalidError
            Raised if the image has no position, or covers so much of the sky that no polygon of
            less than a hemisphere holds it.
        """
        from astrolabe.images.footprints import outline  # noqa: PLC0415 - it needs this class

        self._require_sky()
        return outline(self)

    @cached_property
    def spectral(self) -> SpectralAxis | None:
        """The axis of wavelengths, if there is one that can be made metres."""
        return SpectralAxis.find(self.wcs, self.shape)

    @property
    def no_spectral_reason(self) -> str:
        """Why a spectral axis gives no wavelengths; empty where it does, or where there is none."""
        place = self.wcs.wcs.spec
        if self.spectral is not None or not 0 <= place < len(self.shape):
            return ""
        kind = str(list(self.wcs.wcs.ctype)[place]).strip()
        return (
            f"its spectral axis ({kind}) cannot be turned into wavelengths; for a velocity the "
            "header must name a rest frequency (RESTFRQ) or wavelength (RESTWAV)"
        )

    @cached_property
    def time(self) -> TimeAxis | None:
        """The axis of times, if there is one."""
        return TimeAxis.find(self.wcs, self.shape)

    @cached_property
    def polarisation(self) -> PolarisationAxis | None:
        """The axis of Stokes parameters, if there is one."""
        return PolarisationAxis.find(self.wcs, self.shape)

    def _require_sky(self) -> tuple[WCS, SkyFrame]:
        if self._celestial is None or self._frame is None:
            raise ImageInvalidError(f"The image has no position: {self.no_sky_reason}.")
        return self._celestial, self._frame

    def _find_sky(self) -> None:
        lng, lat = self.wcs.wcs.lng, self.wcs.wcs.lat
        if lng < 0 or lat < 0:
            self.no_sky_reason = "no two of its axes (CTYPEn) are a longitude and a latitude"
            return
        first, second = sorted((lng, lat))
        if second >= len(self.shape):
            self.no_sky_reason = "its axes of the sky are not among its pixels' axes"
            return
        try:
            celestial = self.wcs if self.wcs.naxis == 2 else self.wcs.sub([first + 1, second + 1])
        except Exception as exc:  # noqa: BLE001 - wcslib's errors have many classes
            self.no_sky_reason = f"its axes of the sky cannot be told from the others ({exc})"
            return
        (a, b), (c, d) = celestial.pixel_scale_matrix.tolist()
        linear = (*celestial.wcs.crval.tolist(), *celestial.wcs.crpix.tolist(), a, b, c, d)
        if not all(map(math.isfinite, linear)):
            self.no_sky_reason = "a number of its WCS (CRVALn, CRPIXn, CDi_j or CDELTn) is NaN"
            return
        if a * d - b * c == 0.0:
            self.no_sky_reason = "the matrix of its WCS is singular"
            return
        frame = sky_frame(celestial)
        if isinstance(frame, str):
            self.no_sky_reason = frame
            return
        axes = len(self.shape)
        self.x_axis, self.y_axis = axes - 1 - first, axes - 1 - second
        self._lon = int(celestial.wcs.lng)
        self._celestial, self._frame = celestial, frame


def _make_wcs(cards: FitsHeader, tables: bytes) -> WCS:
    if not tables:
        with _PARSER_LOCK:
            plain = plain_wcs(cards)
        if plain is not None:
            return plain
    header = cards.to_astropy()
    # wcslib's parser keeps its state in variables of the library, and what astropy warns of (old
    # spellings of keywords, mostly) it also mends.
    with _PARSER_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        with fits.open(BytesIO(tables)) if tables else nullcontext() as hdus:
            try:
                return WCS(header, fobj=hdus, fix=True)
            except ValueError:
                # Distortions are for two axes: the sky is kept, which they are about.
                return WCS(header, fobj=hdus, fix=True, naxis=2)


def _is_distorted(wcs: WCS) -> bool:
    tables = (wcs.sip, wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2)
    return any(table is not None for table in tables)


def _undo_distortion(
    wcs: WCS, focal: npt.NDArray[Any], sky_shape: tuple[int, int]
) -> npt.NDArray[Any]:
    """Find the pixels that a distortion takes to `focal` (n, 2), by Newton's method."""
    pixel = focal.copy()
    size = np.array(sky_shape[::-1], dtype=np.float64)
    # Distortions are fitted to the image: far outside of it they lead anywhere, back into it too.
    near = (np.abs(focal - size / 2.0) < 1.5 * size + 100.0).all(axis=1)
    active = np.flatnonzero(near)
    for _ in range(_MAX_STEPS):
        if not active.size:
            return pixel
        here = pixel[active]
        # The derivative by differences: distortions are polynomials, or straight between entries.
        around = wcs.pix2foc((here + _AROUND).reshape(-1, 2), 0).reshape(5, -1, 2)
        miss = around[0] - focal[active]
        dx, dy = around[1] - around[2], around[3] - around[4]
        det = dx[:, 0] * dy[:, 1] - dx[:, 1] * dy[:, 0]
        with np.errstate(all="ignore"):
            step_x = (miss[:, 0] * dy[:, 1] - miss[:, 1] * dy[:, 0]) / det
            step_y = (dx[:, 0] * miss[:, 1] - dx[:, 1] * miss[:, 0]) / det
        step = np.column_stack((step_x, step_y))
        pixel[active] = here - step
        moved = np.abs(step).max(axis=1)
        lost = ~(moved < 1e9)
        pixel[active[lost]] = np.nan
        scale = np.maximum(1.0, np.abs(here).max(axis=1) * 1e-5)
        active = active[~lost & (moved > _TOLERANCE_PX * scale)]
    # A polynomial may have no inverse at all.
    pixel[active] = np.nan
    return pixel
