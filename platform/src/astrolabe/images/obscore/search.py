"""Conditions of ADQL on the footprints in ``ivoa.ObsCore``."""

from __future__ import annotations

import math
from typing import Final

from astrolabe.core.errors import BadParameterError
from astrolabe.sky.regions import Box, Circle, Everything, Polygon, Region, Zone

__all__ = ["footprint_condition"]

_COLUMN: Final = "s_region"
_DEVIATION_RAD: Final = math.radians(1e-4)
"""How far a side may leave the parallel that it stands for."""
_MOST_STEP_DEG: Final = 30.0
_PIECE_DEG: Final = 60.0
_LEAST_DEG: Final = 2e-7
_POLE_DEG: Final = 90.0 - 1e-7


def footprint_condition(region: Region, alias: str | None = None) -> str:
    """Return the condition in ADQL that an image's footprint meets a region.

    Rows without a footprint never fulfil it.

    Parameters
    ----------
    region
        A circle, polygon, box or zone (a range of longitudes and latitudes).
    alias
        What the query calls ``ivoa.ObsCore``; `None` where columns need no prefix.

    Raises
    ------
    BadParameterError
        Raised for another kind of region.

    Notes
    -----
    ADQL has no ranges of longitude and latitude.  A range all around the sky is exact: a
    footprint, which is connected, meets the band between two parallels if it meets the caps on
    either side.  Other ranges are cut into polygons whose sides keep within 1e-4 degrees of the
    parallels that they stand for.
    """
    column = _COLUMN if alias is None else f"{alias}.{_COLUMN}"
    match region:
        case Everything():
            return f"({column} IS NOT NULL)"
        case Circle():
            return _meets(_circle(region.ra_deg, region.dec_deg, region.radius_deg), column)
        case Polygon():
            corners = zip(region.ra_deg.tolist(), region.dec_deg.tolist(), strict=True)
            return _meets(_polygon(list(corners)), column)
        case Box():
            return footprint_condition(region.shape, alias)
        case Zone():
            return _zone(region, column)
        case _:
            pass
    raise BadParameterError(
        f"Footprints are searched by circles, polygons and ranges, not by {region!r:.100}."
    )


def _meets(shape: str, column: str) -> str:
    return f"INTERSECTS({shape}, {column}) = 1"


def _circle(ra_deg: float, dec_deg: float, radius_deg: float) -> str:
    return f"CIRCLE({ra_deg % 360.0!r}, {dec_deg!r}, {radius_deg!r})"


def _polygon(corners: list[tuple[float, float]]) -> str:
    return f"POLYGON({', '.join(f'{lon % 360.0!r}, {lat!r}' for lon, lat in corners)})"


def _zone(zone: Zone, column: str) -> str:
    south, north = zone.lat_min_deg, zone.lat_max_deg
    if zone.lon_width_deg >= 360.0:
        caps = [
            _circle(0.0, pole, radius)
            for pole, radius, wanted in (
                (90.0, 90.0 - south, south > -90.0),
                (-90.0, 90.0 + north, north < 90.0),
            )
            if wanted
        ]
        conditions = [_meets(cap, column) for cap in caps] or [f"{column} IS NOT NULL"]
        return f"({' AND '.join(conditions)})"
    pad_lat = max(0.0, _LEAST_DEG - (north - south)) / 2.0
    south, north = max(south - pad_lat, -90.0), min(north + pad_lat, 90.0)
    pad_lon = max(0.0, _LEAST_DEG - zone.lon_width_deg) / 2.0
    west, width = zone.lon_min_deg - pad_lon, zone.lon_width_deg + 2.0 * pad_lon
    columns = math.ceil(width / _PIECE_DEG)
    rows = math.ceil((north - south) / _PIECE_DEG)
    pieces = []
    for i in range(columns):
        lon = west + width * i / columns, west + width * (i + 1) / columns
        for j in range(rows):
            low = south + (north - south) * j / rows
            high = south + (north - south) * (j + 1) / rows
            bottom = _parallel(*lon, low, exact=j == 0)
            top = _parallel(*lon, high, exact=j == rows - 1)
            pieces.append(_polygon(bottom + top[::-1]))
    return f"({' OR '.join(_meets(piece, column) for piece in pieces)})"


def _parallel(west: float, east: float, lat: float, *, exact: bool) -> list[tuple[float, float]]:
    """Return places on a parallel from west to east, near enough for great circles between them.

    A parallel inside of the zone needs no places between: the pieces on both sides have the same
    great circle in its place.
    """
    if abs(lat) >= _POLE_DEG:
        return [(west, math.copysign(90.0, lat))]
    count = 1
    if exact:
        # A great circle over a step leaves its parallel by about step² sin(lat) cos(lat) / 8.
        bend = abs(math.sin(math.radians(lat)) * math.cos(math.radians(lat)))
        step = math.degrees(math.sqrt(8.0 * _DEVIATION_RAD / bend)) if bend > 0 else _MOST_STEP_DEG
        count = math.ceil((east - west) / min(step, _MOST_STEP_DEG))
    return [(round(west + (east - west) * k / count, 9), lat) for k in range(count + 1)]
