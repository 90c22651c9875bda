"""The images that a HiPS is made of, and which tiles a change of them changes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from astrolabe.core.errors import InternalError
from astrolabe.images.hips.coverage import cells_of_polygon
from astrolabe.images.hips.tiles import Tile, write_atomically
from astrolabe.images.model import ImageKey, ImageRecord
from astrolabe.images.store import ImageStore

__all__ = [
    "Source",
    "SourceList",
    "changed_tiles",
    "collect_sources",
    "read_sources",
    "tiles_of",
    "write_sources",
]

_FILE: Final = "sources.json"


@dataclass(frozen=True, slots=True)
class Source:
    """An image as a HiPS knows it.

    Parameters
    ----------
    path
        ``collection/image_id``.
    signature
        Changes when its file does.
    band
        Name of its band, if it has one.
    corners
        Of its footprint: ra1, dec1, ra2, dec2, ... (ICRS degrees).
    """

    path: str
    signature: str
    band: str | None
    corners: tuple[float, ...]

    @property
    def key(self) -> ImageKey:
        """The image."""
        return ImageKey.parse_path(self.path)


@dataclass(slots=True)
class SourceList:
    """What a collection gives.

    Parameters
    ----------
    sources
        The images with a position, in the bands that are wanted.
    skipped
        Images that cannot be shown, with the reason.
    scale_arcsec
        Of the finest pixels among them, if any image tells.
    facts
        Properties that follow from the images: ``em_min``, ``t_max``, ...
    """

    sources: list[Source]
    skipped: list[tuple[str, str]]
    scale_arcsec: float | None = None
    facts: dict[str, float] | None = None


def collect_sources(store: ImageStore, collection: str, bands: Iterable[str]) -> SourceList:
    """Return the images of a collection; of certain bands only, if any are named."""
    wanted = {band.lower() for band in bands}
    found = SourceList([], [])
    facts: dict[str, float] = {}
    for batch in store.scan(collection):
        for record in batch:
            band = record.obscore.get("band")
            if wanted and (band is None or str(band).lower() not in wanted):
                continue
            corners = record.obscore.get("s_region")
            if not corners:
                found.skipped.append((record.key.path, "it has no position"))
                continue
            source = Source(
                record.key.path,
                record.signature,
                None if band is None else str(band),
                tuple(float(value) for value in corners),
            )
            found.sources.append(source)
            _note(record, found, facts)
    found.facts = facts
    return found


def tiles_of(sources: Iterable[Source], order: int) -> dict[Tile, list[Source]]:
    """Return the tiles of one order that images touch, with the images of each."""
    found: dict[Tile, list[Source]] = defaultdict(list)
    for source in sources:
        for pixel in cells_of_polygon(source.corners, order).tolist():
            found[Tile(order, pixel)].append(source)
    return dict(found)


def changed_tiles(before: Iterable[Source], now: Iterable[Source], order: int) -> set[Tile]:
    """Return the tiles of one order under images that came, went or changed."""
    different = set(before) ^ set(now)
    return set(tiles_of(different, order))


def write_sources(folder: Path, sources: Iterable[Source]) -> None:
    """Note in a generation's folder what it was made of."""
    rows = [[s.path, s.signature, s.band, list(s.corners)] for s in sources]
    write_atomically(folder / _FILE, json.dumps(rows).encode())


def read_sources(folder: Path) -> list[Source]:
    """Return what a generation was made of.

    Raises
    ------
    InternalError
        Raised if that cannot be read.
    """
    try:
        rows: list[Any] = json.loads((folder / _FILE).read_text("utf-8"))
        return [Source(path, sign, band, tuple(corners)) for path, sign, band, corners in rows]
    except (OSError, ValueError, TypeError) as exc:
        raise InternalError(
            f"{folder / _FILE} cannot be read ({exc}); make the HiPS anew with --all."
        ) from exc


def _note(record: ImageRecord, found: SourceList, facts: dict[str, float]) -> None:
    values: Mapping[str, Any] = record.obscore
    scale = values.get("s_pixel_scale")
    if scale:
        finest = found.scale_arcsec
        found.scale_arcsec = float(scale) if finest is None else min(finest, float(scale))
    for name, choose in (("em_min", min), ("em_max", max), ("t_min", min), ("t_max", max)):
        value = values.get(name)
        if value is not None:
            facts[name] = choose(facts.get(name, float(value)), float(value))
