"""Regions and intervals as DALI 1.1 writes them (sections 3.3.4 to 3.3.7), and their outlines."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from astrolabe.core.errors import BadParameterError
from astrolabe.sky.regions import Circle, Polygon, Zone
from astrolabe.sky.vectors import FloatArray, unit_vectors

__all__ = ["MAX_VERTICES", "SkyRegion", "outline_points", "parse_interval", "parse_pos"]

MAX_VERTICES: Final = 1_000
"""A polygon of more is refused."""

SkyRegion = Circle | Polygon | Zone
"""ICRS: CIRCLE, POLYGON and RANGE."""

_NUMBERS: Final = {"CIRCLE": "longitude latitude radius", "RANGE": "lon1 lon2 lat1 lat2"}
_MAX_LONGITUDE: Final = 360.0
_MAX_POINTS: Final = 20_000


def parse_pos(value: str) -> SkyRegion:
    """Return the region that a value of POS means (SIA 2.0, section 2.1.1; SODA 1.0, 3.3.1).

    Parameters
    ----------
    value
        ``CIRCLE lon lat radius``, ``RANGE lon1 lon2 lat1 lat2`` or ``POLYGON lon1 lat1 lon2 ...``,
        ICRS degrees.  A range whose lon1 is above lon2 crosses longitude 0; its limits may be
        infinite.

    Raises
    ------
    BadParameterError
        Raised if it is none of these, or if a number is not on the sky.
    """
    words = value.split()
    shape = words[0].upper() if words else ""
    if shape not in {"CIRCLE", "RANGE", "POLYGON"}:
        raise BadParameterError(
            f"POS must begin with CIRCLE, RANGE or POLYGON, as in 'CIRCLE 150.1 2.2 0.01' (ICRS "
            f"degrees), not {value[:100]!r}."
        )
    numbers = [_number(f"POS={shape}", word) for word in words[1 : 2 * MAX_VERTICES + 6]]
    if shape == "POLYGON":
        return _polygon(numbers)
    needed = _NUMBERS[shape]
    if len(numbers) != len(needed.split()):
        raise BadParameterError(
            f"POS={shape} takes {needed} (ICRS degrees); {len(numbers)} numbers were given."
        )
    if shape == "CIRCLE":
        lon, lat, radius = numbers
        _check_longitude("POS=CIRCLE", lon)
        try:
            return Circle(lon, lat, radius)
        except BadParameterError as exc:
            raise BadParameterError(f"POS=CIRCLE: {exc.message}") from exc
    return _range(*numbers)


def parse_interval(value: str, *, name: str, unit: str) -> tuple[float, float]:
    """Return the limits of an interval (DALI 1.1, section 3.3.4).

    Parameters
    ----------
    value
        Two numbers, of which the first is not above the second and either may be infinite; or one
        number, which is an interval of length 0.
    name, unit
        Of the parameter, for messages.

    Raises
    ------
    BadParameterError
        Raised if it is no such interval.
    """
    words = value.split()
    if len(words) not in {1, 2}:
        raise BadParameterError(
            f"{name} takes one number or two ({unit}), not {value[:100]!r}; -Inf and +Inf may be "
            "limits."
        )
    numbers = [_number(name, word) for word in words]
    low, high = numbers[0], numbers[-1]
    if low > high:
        raise BadParameterError(
            f"{name}={value[:100]}: the first limit ({unit}) must not be above the second."
        )
    if low == high and math.isinf(low):
        raise BadParameterError(f"{name}={value[:100]} is no interval: both limits are infinite.")
    return low, high


def outline_points(region: SkyRegion, step_deg: float) -> tuple[FloatArray, FloatArray]:
    """Return ICRS positions (deg) on the border of a region, near enough to each other.

    Parameters
    ----------
    region
        The region.
    step_deg
        Positions that follow each other are about so far apart or less (never more than 20,000
        of them); vertices are always among them.

    Returns
    -------
    ra, dec : (n,)
        Each closed line ends where it began; a NaN stands between two lines.  One position for a
        circle of radius 0; none for the whole sky.
    """
    step = max(math.radians(step_deg), 1e-9)
    if isinstance(region, Polygon):
        return _polygon_outline(region, step)
    if isinstance(region, Zone):
        return _zone_outline(region, step)
    return _circle_outline(region, step)


def _circle_outline(circle: Circle, step: float) -> tuple[FloatArray, FloatArray]:
    radius = math.radians(circle.radius_deg)
    if radius == 0.0:
        return np.array([circle.ra_deg]), np.array([circle.dec_deg])
    if circle.radius_deg >= 180.0:
        return np.empty(0), np.empty(0)
    around = 2.0 * math.pi * math.sin(radius)
    count = 4 * math.ceil(min(max(around / step, 64.0), _MAX_POINTS) / 4)
    angle = np.arange(count + 1) * (2.0 * math.pi / count)
    center = unit_vectors(circle.ra_deg, circle.dec_deg)
    lon, lat = math.radians(circle.ra_deg), math.radians(circle.dec_deg)
    east = np.array([-math.sin(lon), math.cos(lon), 0.0])
    north = np.array(
        [-math.sin(lat) * math.cos(lon), -math.sin(lat) * math.sin(lon), math.cos(lat)]
    )
    # North, east, south and west are among the points: along them a circle is widest.
    ring = np.outer(np.cos(angle), north) + np.outer(np.sin(angle), east)
    return _angles(math.cos(radius) * center + math.sin(radius) * ring)


def _polygon_outline(polygon: Polygon, step: float) -> tuple[FloatArray, FloatArray]:
    start = unit_vectors(polygon.ra_deg, polygon.dec_deg)
    end = np.roll(start, -1, axis=0)
    length = 2.0 * np.arcsin(np.minimum(np.linalg.norm(end - start, axis=1) / 2.0, 1.0))
    least = _MAX_POINTS // (2 * len(start))
    counts = np.clip(np.ceil(length / step), 1, max(least, 1)).astype(int)
    parts = []
    for first, last, angle, count in zip(start, end, length, counts, strict=True):
        share = np.arange(count)[:, np.newaxis] / count
        parts.append(np.sin((1.0 - share) * angle) * first + np.sin(share * angle) * last)
    return _angles(np.concatenate([*parts, start[:1]]))


def _zone_outline(zone: Zone, step: float) -> tuple[FloatArray, FloatArray]:
    west, width = zone.lon_min_deg, zone.lon_width_deg
    low, high = zone.lat_min_deg, zone.lat_max_deg
    step_deg = math.degrees(step)
    across = int(np.clip(math.ceil(width / step_deg), 4, _MAX_POINTS // 4)) + 1
    along = int(np.clip(math.ceil((high - low) / step_deg), 4, _MAX_POINTS // 4)) + 1
    lon = west + np.linspace(0.0, width, across)
    lat = np.linspace(low, high, along)
    if width >= 360.0:
        gap = [math.nan]
        ra = np.concatenate((lon, gap, lon))
        dec = np.concatenate((np.full(across, low), gap, np.full(across, high)))
    else:
        east, flat = np.full(along, west + width), np.full(across, low)
        ra = np.concatenate((lon, east, lon[::-1], np.full(along, west)))
        dec = np.concatenate((flat, lat, np.full(across, high), lat[::-1]))
    return ra % 360.0, dec


def _polygon(numbers: list[float]) -> Polygon:
    if len(numbers) > 2 * MAX_VERTICES:
        raise BadParameterError(f"POS=POLYGON has more than {MAX_VERTICES} vertices.")
    if len(numbers) < 6 or len(numbers) % 2:
        raise BadParameterError(
            "POS=POLYGON takes three or more vertices, each a longitude and a latitude (ICRS "
            f"degrees); {len(numbers)} numbers were given."
        )
    lon, lat = numbers[0::2], numbers[1::2]
    if len(lon) > 3 and (lon[0], lat[0]) == (lon[-1], lat[-1]):
        lon, lat = lon[:-1], lat[:-1]  # closed, as some clients do
    for value in lon:
        _check_longitude("POS=POLYGON", value)
    try:
        return Polygon(lon, lat)
    except BadParameterError as exc:
        raise BadParameterError(f"POS=POLYGON: {exc.message}") from exc


def _range(lon1: float, lon2: float, lat1: float, lat2: float) -> Zone:
    # Infinite limits mean all that there is (SIA 2.0, section 2.1.1).
    lon1 = 0.0 if lon1 == -math.inf else lon1
    lon2 = _MAX_LONGITUDE if lon2 == math.inf else lon2
    for value in (lon1, lon2):
        _check_longitude("POS=RANGE", value)
    low = -90.0 if lat1 == -math.inf else lat1
    high = 90.0 if lat2 == math.inf else lat2
    width = lon2 - lon1 if lon1 <= lon2 else lon2 - lon1 + 360.0
    try:
        return Zone(lon1, min(width, 360.0), low, high)
    except BadParameterError as exc:
        raise BadParameterError(f"POS=RANGE: {exc.message}") from exc


def _check_longitude(where: str, value: float) -> None:
    if not -_MAX_LONGITUDE <= value <= _MAX_LONGITUDE:
        raise BadParameterError(
            f"{where}: a longitude must be from 0 to 360 degrees, not {value:g}."
        )


def _number(where: str, word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    # Python reads 1_000 and nan, which are no numbers here.
    if math.isnan(value) or "_" in word:
        raise BadParameterError(f"{where}: {word[:40]!r} is no number.")
    return value


def _angles(vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
    x, y, z = vectors.T
    return np.rad2deg(np.arctan2(y, x)) % 360.0, np.rad2deg(np.arctan2(z, np.hypot(x, y)))
