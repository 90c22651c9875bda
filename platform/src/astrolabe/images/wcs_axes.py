"""Axes of cubes beside the sky: wavelength, time and polarisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from astropy.time import Time
from astropy.wcs import WCS

__all__ = ["EdgedAxis", "PolarisationAxis", "SpectralAxis", "TimeAxis"]

FloatArray = npt.NDArray[np.float64]

STOKES: Final = {
    1: "I", 2: "Q", 3: "U", 4: "V", -1: "RR", -2: "LL", -3: "RL", -4: "LR",
    -5: "XX", -6: "YY", -7: "XY", -8: "YX", 5: "POLI", 7: "POLI", 6: "POLA",
}  # fmt: skip
"""Polarisation states (ObsCore 1.1, section B.6.6.1) by FITS's numbers (FITS 4.0, table 29)."""

_MAX_LENGTH: Final = 1 << 24  # pixels of an axis whose edges are listed
_TIME_TYPES: Final = frozenset(
    {"TIME", "UTC", "TAI", "TT", "TDT", "ET", "TDB", "TCB", "TCG", "MJD", "JD"}
)
_SCALES: Final = {"TDT": "tt", "ET": "tt", "IAT": "tai", "GMT": "utc", "GPS": "tai"}


@dataclass(frozen=True, slots=True, eq=False)
class EdgedAxis:
    """An axis of numbers.

    Parameters
    ----------
    axis
        Of the pixels, in NumPy's order.
    edges
        (n + 1,) values at the borders of the pixels; they may rise or fall.
    """

    axis: int
    edges: FloatArray

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest value that a pixel has, out to its border."""
        return float(np.nanmin(self.edges)), float(np.nanmax(self.edges))

    def pixels(self, low: float, high: float) -> tuple[int, int] | None:
        """Return the pixels, as first and one after the last, that have part in an interval.

        A border that two pixels share belongs to the first of them where the interval is longer
        than a point; `None` if no pixel has part in it.
        """
        lower = np.minimum(self.edges[:-1], self.edges[1:])
        upper = np.maximum(self.edges[:-1], self.edges[1:])
        if low == high:
            hit = np.flatnonzero((lower <= low) & (upper >= high))[:1]
        else:
            hit = np.flatnonzero((upper > low) & (lower < high))
        return (int(hit[0]), int(hit[-1]) + 1) if hit.size else None


class SpectralAxis(EdgedAxis):
    """Wavelengths in vacuum (m)."""

    @classmethod
    def find(cls, wcs: WCS, shape: Sequence[int]) -> SpectralAxis | None:
        """Return the spectral axis of a WCS; `None` if it has none that can be made metres.

        Frequencies, energies, wave numbers, wavelengths in air and velocities with a rest
        frequency or wavelength are turned into wavelengths in vacuum, exactly.
        """
        place = wcs.wcs.spec
        if not 0 <= place < len(shape) or shape[-1 - place] > _MAX_LENGTH:
            return None
        try:
            alone = wcs.sub([place + 1])
            length = shape[-1 - place]
            values = alone.wcs_pix2world(np.arange(length + 1) - 0.5, 0)[0]
        except Exception:  # noqa: BLE001 - wcslib's errors have many classes; all mean "unknown"
            return None
        edges = _wavelengths(alone, values)
        if edges is None:
            return None
        if not np.isfinite(edges).all() or (edges < 0.0).any():
            return None
        return cls(len(shape) - 1 - place, edges)


def _without_cd(wcs: WCS) -> WCS:
    """Return a WCS of one axis with CDELT in the place of CDi_j.

    wcslib changes CDELT alone when it changes the type of an axis; CDi_j stays in the old unit.
    """
    if not wcs.wcs.has_cd():
        return wcs
    other = WCS(naxis=1)
    for name in ("ctype", "cunit", "crval", "crpix", "restfrq", "restwav", "specsys"):
        setattr(other.wcs, name, getattr(wcs.wcs, name))
    other.wcs.cdelt = [float(wcs.wcs.cd[0, 0])]
    other.wcs.set_pv(wcs.wcs.get_pv())
    return other


class TimeAxis(EdgedAxis):
    """Times (MJD, UTC)."""

    @classmethod
    def find(cls, wcs: WCS, shape: Sequence[int]) -> TimeAxis | None:
        """Return the time axis of a WCS, if it has one."""
        for place, ctype in enumerate(list(wcs.wcs.ctype)[: len(shape)]):
            kind = ctype.partition("-")[0].strip().upper()
            if kind not in _TIME_TYPES or shape[-1 - place] > _MAX_LENGTH:
                continue
            try:
                alone = wcs.sub([place + 1])
                values = alone.wcs_pix2world(np.arange(shape[-1 - place] + 1) - 0.5, 0)[0]
                edges = _as_mjd(wcs, kind, str(alone.wcs.cunit[0]), values)
            except Exception:  # noqa: BLE001 - of many classes; all mean "unknown"
                return None
            if edges is None or not np.isfinite(edges).all():
                return None
            return cls(len(shape) - 1 - place, edges)
        return None


@dataclass(frozen=True, slots=True, eq=False)
class PolarisationAxis:
    """Polarisation states.

    Parameters
    ----------
    axis
        Of the pixels, in NumPy's order.
    states
        Of each pixel, as ObsCore writes them; nothing where a number means none.
    """

    axis: int
    states: tuple[str, ...]

    @classmethod
    def find(cls, wcs: WCS, shape: Sequence[int]) -> PolarisationAxis | None:
        """Return the Stokes axis of a WCS, if it has one."""
        for place, ctype in enumerate(list(wcs.wcs.ctype)[: len(shape)]):
            if ctype.strip().upper() != "STOKES" or shape[-1 - place] > 1000:
                continue
            try:
                alone = wcs.sub([place + 1])
                numbers = alone.wcs_pix2world(np.arange(shape[-1 - place]), 0)[0]
            except Exception:  # noqa: BLE001 - of many classes; all mean "unknown"
                return None
            states = tuple(
                STOKES.get(round(n), "") if math.isfinite(n) else "" for n in numbers.tolist()
            )
            return cls(len(shape) - 1 - place, states)
        return None

    def pixels(self, wanted: Sequence[str]) -> tuple[int, int] | None:
        """Return the pixels, as first and one after the last, from the first to the last state."""
        asked = {state.upper() for state in wanted}
        hit = [i for i, state in enumerate(self.states) if state in asked]
        return (hit[0], hit[-1] + 1) if hit else None


_C: Final = 299_792_458.0
_HC: Final = 6.62607015e-34 * _C  # J m


def _wavelengths(alone: WCS, values: FloatArray) -> FloatArray | None:
    """Return wavelengths in vacuum (m) of a spectral axis's values in wcslib's units (SI).

    The relations are those of FITS 4.0, tables 25 and 26.  wcslib's own conversion forgets the
    step of an axis that is given by CDi_j.
    """
    kind = str(next(iter(alone.wcs.ctype)))[:4].strip().upper()
    rest = float(alone.wcs.restwav or 0.0)
    if not rest and alone.wcs.restfrq:
        rest = _C / float(alone.wcs.restfrq)
    if kind in _ABSOLUTE:
        convert = _ABSOLUTE[kind]
    elif kind in _RELATIVE and rest > 0.0:
        of_rest = _RELATIVE[kind]
        convert = lambda v: rest * of_rest(v)  # noqa: E731 - a name of its own says no more
    else:
        return None
    with np.errstate(all="ignore"):
        return np.asarray(convert(np.asarray(values, dtype=np.float64)), dtype=np.float64)


def _from_air(air_m: FloatArray) -> FloatArray:
    """Return wavelengths in vacuum of those in dry air (FITS WCS paper III, equation 65)."""
    square = (air_m * 1e6) ** 2
    index = 1.0 + 1e-6 * (287.6155 + 1.62887 / square + 0.01360 / square**2)
    return np.asarray(index * air_m, dtype=np.float64)


_Convert = Callable[[FloatArray], FloatArray]
_ABSOLUTE: Final[dict[str, _Convert]] = {
    "WAVE": lambda v: v,
    "AWAV": _from_air,
    "FREQ": lambda v: _C / v,
    "ENER": lambda v: _HC / v,
    "WAVN": lambda v: 1.0 / v,
}
_RELATIVE: Final[dict[str, _Convert]] = {
    "VRAD": lambda v: 1.0 / (1.0 - v / _C),
    "VOPT": lambda v: 1.0 + v / _C,
    "ZOPT": lambda v: 1.0 + v,
    "VELO": lambda v: np.sqrt((1.0 + v / _C) / (1.0 - v / _C)),
    "BETA": lambda v: np.sqrt((1.0 + v) / (1.0 - v)),
}
_DAYS: Final = {"s": 86400.0, "min": 1440.0, "h": 24.0, "d": 1.0, "a": 1 / 365.25, "yr": 1 / 365.25}


def _as_mjd(wcs: WCS, kind: str, unit: str, values: FloatArray) -> FloatArray | None:
    """Return times (MJD, UTC) of an axis (FITS 4.0, section 9)."""
    per_day = _DAYS.get(unit or wcs.wcs.timeunit.strip() or "s")
    if per_day is None:
        return None
    days = np.asarray(values, dtype=np.float64) / per_day
    if kind == "JD":
        mjd = days - 2400000.5
    elif kind == "MJD":
        mjd = days
    else:
        whole, rest = wcs.wcs.mjdref.tolist()  # one of them is often missing
        if not math.isfinite(whole):
            return None
        mjd = days + whole + (rest if math.isfinite(rest) else 0.0)
    system = kind if kind not in {"TIME", "MJD", "JD"} else wcs.wcs.timesys.strip().upper() or "UTC"
    scale = _SCALES.get(system, system.lower())
    if scale not in Time.SCALES or scale in {"utc", "ut1", "local"}:
        return mjd
    return np.asarray(Time(mjd, format="mjd", scale=scale).utc.mjd, dtype=np.float64)
