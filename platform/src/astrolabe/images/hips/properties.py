"""The file ``properties`` of a HiPS and the list of all HiPS (HiPS 1.0, section 4.4 and 5.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from astrolabe.core.clock import utc_now
from astrolabe.core.version import VERSION

__all__ = ["format_properties", "format_time", "hips_list", "image_properties", "parse_properties"]

_LISTED: Final = (
    "creator_did",
    "hips_release_date",
    "hips_service_url",
    "hips_status",
    "hips_order",
    "hips_tile_width",
    "hips_tile_format",
    "hips_frame",
    "obs_title",
    "obs_description",
    "obs_collection",
    "dataproduct_type",
    "dataproduct_subtype",
    "moc_sky_fraction",
    "hips_pixel_cut",
    "hips_pixel_bitpix",
    "hips_initial_ra",
    "hips_initial_dec",
    "hips_initial_fov",
)
"""Keys of a record in the list; the first four are those that must be there."""


def image_properties(
    *,
    creator_did: str,
    title: str,
    formats: Iterable[str],
    order: int,
    width: int,
    released: datetime,
    is_public: bool,
    more: Mapping[str, object],
) -> dict[str, str]:
    """Return the properties that every HiPS of images here has, with its own behind them.

    Parameters
    ----------
    creator_did
        Its identifier.
    title
        For people.
    formats
        ``fits``, ``png``, the one to prefer first.
    order, width
        The finest order, and pixels along a side of a tile.
    released
        When its tiles last changed.
    is_public
        Whether everybody may copy it.
    more
        Further keys; a value `None` leaves one out.
    """
    properties: dict[str, object] = {
        "creator_did": creator_did,
        "obs_title": title,
        "dataproduct_type": "image",
        "hips_version": "1.4",
        "hips_builder": f"Astrolabe {VERSION}",
        "hips_release_date": format_time(released),
        "hips_status": f"{'public' if is_public else 'private'} master "
        f"{'clonableOnce' if is_public else 'unclonable'}",
        "hips_tile_format": " ".join("jpeg" if f == "jpg" else f for f in formats),
        "hips_order": order,
        "hips_order_min": 0,
        "hips_tile_width": width,
        "hips_frame": "equatorial",
        **more,
    }
    return {key: str(value) for key, value in properties.items() if value is not None}


def format_properties(properties: Mapping[str, str]) -> str:
    """Return the text of a file ``properties``: a key and a value on each line."""
    lines = (f"{key:<20} = {' '.join(value.split())}\n" for key, value in properties.items())
    return "".join(lines)


def parse_properties(text: str) -> dict[str, str]:
    """Return what a file ``properties`` says."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, sign, value = line.partition("=")
        if sign and not line.lstrip().startswith("#"):
            found[key.strip()] = value.strip()
    return found


def hips_list(records: Iterable[Mapping[str, str]]) -> str:
    """Return the list of HiPS: a record of each, with an empty line behind it."""
    return "".join(
        format_properties({key: record[key] for key in _LISTED if key in record}) + "\n"
        for record in records
    )


def format_time(when: datetime | None = None) -> str:
    """Return a time as properties have it: minutes, UTC, with Z."""
    return f"{when or utc_now():%Y-%m-%dT%H:%MZ}"
