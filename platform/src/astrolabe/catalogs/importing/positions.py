"""Finding the position columns of a table, and turning them into ICRS degrees.

What is stored as the main position is always ICRS in degrees.  Columns of another frame or unit
stay as they are and two new columns are computed from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from astropy import units
from astropy.coordinates import SkyCoord

from astrolabe.core.errors import ImportRefusedError
from astrolabe.tables.model import Column, Datatype

__all__ = [
    "FRAMES",
    "REJECTIONS",
    "Frame",
    "PositionColumns",
    "Rejection",
    "as_float",
    "find_positions",
    "normalise_frame",
    "positions_of",
    "validate",
    "wrap_column",
]

Frame = Literal["icrs", "fk5", "galactic"]
Degrees = npt.NDArray[np.float64]

FRAMES: tuple[Frame, ...] = ("icrs", "fk5", "galactic")

_FRAME_NAMES: dict[str, Frame] = {
    "icrs": "icrs",
    "fk5": "fk5",
    "eq_fk5": "fk5",
    "galactic": "galactic",
    "gal": "galactic",
}

# (longitude, latitude) in the order of preference; compared without case.
_EQUATORIAL_NAMES = (
    ("ra", "dec"),
    ("ra_icrs", "dec_icrs"),
    ("ra_icrs", "de_icrs"),
    ("raj2000", "dej2000"),
    ("_raj2000", "_dej2000"),
    ("raj2000", "decj2000"),
    ("ra_j2000", "dec_j2000"),
    ("radeg", "dedeg"),
    ("ra_deg", "dec_deg"),
    ("radeg", "decdeg"),
    ("coord_ra", "coord_dec"),
    ("ramean", "decmean"),
    ("alpha_j2000", "delta_j2000"),
    ("s_ra", "s_dec"),
    ("right_ascension", "declination"),
)
_GALACTIC_NAMES = (
    ("l", "b"),
    ("glon", "glat"),
    ("gal_lon", "gal_lat"),
    ("gal_l", "gal_b"),
)
_UCDS: dict[Frame, tuple[str, str]] = {
    "icrs": ("pos.eq.ra", "pos.eq.dec"),
    "fk5": ("pos.eq.ra", "pos.eq.dec"),
    "galactic": ("pos.galactic.lon", "pos.galactic.lat"),
}
_DEGREES_PER_UNIT = {
    "deg": 1.0,
    "degree": 1.0,
    "degrees": 1.0,
    "d": 1.0,
    "rad": 180.0 / np.pi,
    "radian": 180.0 / np.pi,
    "radians": 180.0 / np.pi,
    "h": 15.0,
    "hr": 15.0,
    "hour": 15.0,
    "hours": 15.0,
    "hourangle": 15.0,
    "arcmin": 1.0 / 60.0,
    "arcsec": 1.0 / 3600.0,
    "mas": 1.0 / 3.6e6,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionColumns:
    """Which columns say where a row is.

    Parameters
    ----------
    lon, lat
        Names of the columns.
    frame
        Their frame.
    lon_degrees, lat_degrees
        Degrees in one unit of each.
    """

    lon: str
    lat: str
    frame: Frame
    lon_degrees: float = 1.0
    lat_degrees: float = 1.0

    @property
    def is_final(self) -> bool:
        """Whether the columns are ICRS degrees already."""
        return self.frame == "icrs" and self.lon_degrees == 1.0 and self.lat_degrees == 1.0


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a row cannot be stored.  The order of the class attributes is the order of checks."""

    reason: str
    hint: str | None = None


NO_POSITION = Rejection("no position: right ascension or declination is null or not finite")
BAD_LATITUDE = Rejection("declination outside [-90, 90] degrees")
BAD_LONGITUDE = Rejection(
    "right ascension outside [0, 360) degrees",
    "--wrap brings right ascensions outside [0, 360) into it",
)
REJECTIONS = (NO_POSITION, BAD_LATITUDE, BAD_LONGITUDE)


def normalise_frame(name: str) -> Frame:
    """Return the frame of this name.

    Raises
    ------
    ImportRefusedError
        Raised if the frame is not one that can be converted to ICRS here.
    """
    frame = _FRAME_NAMES.get(name.strip().lower())
    if frame is None:
        raise ImportRefusedError(
            f"Positions in the frame {name!r} cannot be converted to ICRS; convert them first, "
            f"or give --frame with one of {', '.join(FRAMES)} if the source declares it wrongly."
        )
    return frame


def find_positions(
    columns: Sequence[Column],
    *,
    frame: Frame,
    ra_column: str | None,
    dec_column: str | None,
) -> PositionColumns | None:
    """Return the position columns: those named, those with the UCDs, or those of known names.

    Parameters
    ----------
    columns
        All columns.
    frame
        Of the positions.
    ra_column, dec_column
        Names that were given; both or none.

    Returns
    -------
    PositionColumns or None
        `None` if no column looks like a position.

    Raises
    ------
    ImportRefusedError
        Raised if only one was given, a name does not exist, or a column is not a number in a unit
        that can be converted to degrees.
    """
    if (ra_column is None) != (dec_column is None):
        raise ImportRefusedError("Give both --ra and --dec, or neither.")
    pair: tuple[Column, Column] | None
    if ra_column is not None and dec_column is not None:
        pair = _named(columns, ra_column, "--ra"), _named(columns, dec_column, "--dec")
    else:
        pair = _by_ucd(columns, _UCDS[frame]) or _by_name(columns, frame)
    if pair is None:
        return None
    lon, lat = pair
    return PositionColumns(
        lon=lon.name,
        lat=lat.name,
        frame=frame,
        lon_degrees=_degrees_per_unit(lon),
        lat_degrees=_degrees_per_unit(lat),
    )


def positions_of(
    positions: PositionColumns, lon: pa.Array[Any], lat: pa.Array[Any], *, wrap: bool = False
) -> tuple[Degrees, Degrees]:
    """Return ICRS right ascension and declination in degrees, each (n,).

    Where a position is missing or is not on the sky of its own frame, the result is what was
    given (or NaN), so that :func:`validate` can tell why.

    Parameters
    ----------
    positions
        Frame and units.
    lon, lat : (n,)
        The two columns.
    wrap
        Bring longitudes into [0, 360) first.
    """
    lon_deg = as_float(lon) * positions.lon_degrees
    lat_deg = as_float(lat) * positions.lat_degrees
    if wrap:
        lon_deg = wrapped(lon_deg)
    if positions.frame == "icrs":
        return lon_deg, lat_deg
    usable = np.isfinite(lon_deg) & (np.abs(lat_deg) <= 90.0)
    usable &= (lon_deg >= 0.0) & (lon_deg < 360.0)
    coordinates = SkyCoord(
        lon_deg[usable], lat_deg[usable], unit=units.deg, frame=positions.frame
    ).icrs
    lon_deg[usable] = coordinates.ra.deg
    lat_deg[usable] = coordinates.dec.deg
    return lon_deg, lat_deg


def validate(ra_deg: Degrees, dec_deg: Degrees) -> npt.NDArray[np.uint8] | None:
    """Tell which rows cannot be stored and why.

    Returns
    -------
    (n,) or None
        0 for a good row, else 1 + the index into `REJECTIONS`; `None` if all are good.
    """
    # One pass over each array decides for the usual case; NaN fails every comparison.
    good = (ra_deg >= 0.0) & (ra_deg < 360.0) & (np.abs(dec_deg) <= 90.0)
    if good.all():
        return None
    reason = np.zeros(len(ra_deg), dtype=np.uint8)
    finite = np.isfinite(ra_deg) & np.isfinite(dec_deg)
    reason[~good] = 3
    reason[finite & (np.abs(dec_deg) > 90.0)] = 2
    reason[~finite] = 1
    return reason


def wrapped(ra_deg: Degrees) -> Degrees:
    """Bring right ascensions (n,) into [0, 360); what is not finite stays."""
    with np.errstate(invalid="ignore"):
        result = np.mod(ra_deg, 360.0)
    # The remainder of a tiny negative number rounds to 360 itself.
    result[result >= 360.0] = 0.0
    return result


def wrap_column(array: pa.Array[Any]) -> pa.Array[Any]:
    """Bring the right ascensions of a column in degrees into [0, 360), in the column's own type."""
    values = as_float(array)
    outside = np.isfinite(values) & ((values < 0.0) | (values >= 360.0))
    if not outside.any():
        return array
    result = wrapped(values)
    if pa.types.is_float32(array.type):
        # What is just below 360 may round to it in single precision.
        result[result.astype(np.float32) >= 360.0] = 0.0
    missing = array.is_null().to_numpy(zero_copy_only=False)
    return pa.array(result, mask=missing).cast(array.type, safe=False)


def as_float(array: pa.Array[Any]) -> Degrees:
    """Return a column of numbers as a fresh float64 array (n,); nulls are NaN."""
    numbers = array if pa.types.is_float64(array.type) else array.cast(pa.float64())
    return np.array(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)


def _named(columns: Sequence[Column], name: str, option: str) -> Column:
    exact = [c for c in columns if c.name == name]
    if exact:
        return exact[0]
    folded = [c for c in columns if c.name.lower() == name.lower()]
    if len(folded) == 1:
        return folded[0]
    known = ", ".join(c.name for c in columns[:20])
    raise ImportRefusedError(
        f"{option} names the column {name!r}, which the source does not have; it has {known}"
        f"{' ...' if len(columns) > 20 else ''}."
    )


def _by_ucd(columns: Sequence[Column], ucds: tuple[str, str]) -> tuple[Column, Column] | None:
    def matching(ucd: str) -> Column | None:
        words = [[w.strip() for w in (c.ucd or "").lower().split(";")] for c in columns]
        with_ucd = [(c, w) for c, w in zip(columns, words, strict=True) if w[0] == ucd]
        main = [c for c, w in with_ucd if "meta.main" in w]
        plain = [c for c, w in with_ucd if len(w) == 1]
        candidates: Iterable[Column] = main or plain
        found = list(candidates)
        return found[0] if len(found) == 1 else None

    lon, lat = matching(ucds[0]), matching(ucds[1])
    return None if lon is None or lat is None else (lon, lat)


def _by_name(columns: Sequence[Column], frame: Frame) -> tuple[Column, Column] | None:
    folded = {c.name.lower(): c for c in columns}
    names = _GALACTIC_NAMES if frame == "galactic" else _EQUATORIAL_NAMES
    for lon, lat in names:
        if lon in folded and lat in folded:
            return folded[lon], folded[lat]
    return None


_NUMBERS = (
    Datatype.FLOAT,
    Datatype.DOUBLE,
    Datatype.UNSIGNED_BYTE,
    Datatype.SHORT,
    Datatype.INT,
    Datatype.LONG,
)


def _degrees_per_unit(column: Column) -> float:
    if column.arraysize is not None or column.datatype not in _NUMBERS:
        raise ImportRefusedError(
            f"The position column {column.name!r} holds {column.datatype}"
            f"{'' if column.arraysize is None else f'[{column.arraysize}]'}, not one number a row; "
            "give columns of decimal degrees with --ra and --dec (sexagesimal text must be "
            "converted first)."
        )
    if column.unit is None:
        return 1.0
    factor = _DEGREES_PER_UNIT.get(column.unit.strip().lower())
    if factor is None:
        raise ImportRefusedError(
            f"The position column {column.name!r} has the unit {column.unit!r}, which cannot be "
            "converted to degrees; give columns in deg, rad or hourangle with --ra and --dec."
        )
    return factor
