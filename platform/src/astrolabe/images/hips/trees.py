"""HiPS trees on disk: each change is a new generation of a tree, which appears whole.

``{folder}/{id}/{generation}/`` holds the tiles, and ``{folder}/{id}/current`` the name of the
generation that is shown.  Tiles that did not change are the same file in both (a hard link).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import structlog

from astrolabe.core.clock import format_utc, parse_utc
from astrolabe.core.errors import BadParameterError, ConflictError, NotFoundError
from astrolabe.core.ids import new_request_id
from astrolabe.images.hips.properties import format_properties, image_properties
from astrolabe.images.hips.tiles import Tile, write_atomically

__all__ = ["Generation", "HipsInfo", "HipsTree", "HipsTrees", "check_hips_id"]

_LOG = structlog.get_logger(__name__)

_ID: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}\Z")
_CURRENT: Final = "current"
_MANIFEST: Final = "hips.json"
_BUILDING: Final = ".building-"
_CHECK_SECONDS: Final = 1.0
_FILES: Final = frozenset({"Moc.fits"})
"""What may be read of a tree beside its tiles and its properties, which are made when asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HipsInfo:
    """What is known of a tree.

    Parameters
    ----------
    hips_id
        Its name in addresses.
    title
        For people.
    collection
        The collection of images that it shows.
    bands
        One band, or three for red, green and blue; empty if the images' bands were not looked at.
    order, width
        The finest order, and pixels along a side of a tile.
    formats
        ``png``, ``fits``, the one to prefer first.
    cuts
        Pairs of values that are drawn black and white: one pair, or one for each band.
    keeps_values
        Whether the values of all tiles are kept, so that a change needs only the tiles under it.
    more
        Further properties (HiPS 1.0, section 4.4.1).
    changed
        When it was made.
    """

    hips_id: str
    title: str
    collection: str
    bands: tuple[str, ...] = ()
    order: int
    width: int
    formats: tuple[str, ...]
    cuts: tuple[tuple[float, float], ...] = ()
    keeps_values: bool = True
    more: Mapping[str, str] = field(default_factory=dict)
    changed: datetime

    def properties(self, *, authority: str, is_public: bool) -> dict[str, str]:
        """Return the tree's file ``properties`` (HiPS 1.0, section 4.4.1).

        Parameters
        ----------
        authority
            Of its identifier.
        is_public
            Whether everybody may read it.
        """
        more: dict[str, object] = {"obs_collection": self.collection}
        if len(self.bands) == 3:
            more["dataproduct_subtype"] = "color"
        if "fits" in self.formats:
            more["hips_pixel_bitpix"] = -32
            more["hips_sampling"] = "bilinear"
        if len(self.cuts) == 1:
            more["hips_pixel_cut"] = f"{self.cuts[0][0]:.6g} {self.cuts[0][1]:.6g}"
        more |= {"hips_overlay": "mean", "hips_hierarchy": "mean", **self.more}
        return image_properties(
            creator_did=f"ivo://{authority}/hips?{self.hips_id}",
            title=self.title,
            formats=self.formats,
            order=self.order,
            width=self.width,
            released=self.changed,
            is_public=is_public,
            more=more,
        )

    def to_json(self) -> str:
        """Return it as the text of the tree's manifest."""
        return json.dumps({**asdict(self), "changed": format_utc(self.changed)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> HipsInfo:
        """Return what a manifest says."""
        found: dict[str, Any] = json.loads(text)
        found["changed"] = parse_utc(found["changed"])
        found["cuts"] = tuple((low, high) for low, high in found["cuts"])
        for name in ("bands", "formats"):
            found[name] = tuple(found[name])
        return cls(**found)


@dataclass(frozen=True, slots=True)
class HipsTree:
    """One generation of a tree.

    Parameters
    ----------
    info
        What is known of it.
    folder
        Where its tiles are.
    """

    info: HipsInfo
    folder: Path

    def file(self, path: str) -> Path | None:
        """Return the file of a path in the tree, `None` where the tree has none of that name."""
        parsed = Tile.parse(path)
        if path not in _FILES and (parsed is None or parsed[1] not in self.info.formats):
            return None
        found = self.folder / path
        return found if found.is_file() else None


class Generation:
    """A generation that is being made.

    Parameters
    ----------
    folder
        Where its tiles go; gone afterwards if it is not published.
    previous
        The generation that is shown, if there is one.
    """

    def __init__(self, folder: Path, previous: HipsTree | None) -> None:
        self.folder = folder
        self.previous = previous
        self.published: HipsInfo | None = None

    def publish(self, info: HipsInfo) -> None:
        """Show this generation as soon as the writing ends well."""
        self.published = info


class HipsTrees:
    """All trees of images.  Safe to use from many threads and processes; asks nobody for rights.

    Parameters
    ----------
    folder
        Where the trees are.
    authority
        Of the identifiers that we make.
    """

    def __init__(self, folder: Path, *, authority: str) -> None:
        self._folder = folder
        self._authority = authority
        self._lock = threading.Lock()
        self._found: tuple[float, dict[str, HipsTree]] | None = None

    def all(self, *, fresh: bool = False) -> tuple[HipsTree, ...]:
        """Return all trees by id; a second old at most, if not `fresh`."""
        trees = self._look(fresh=fresh)
        return tuple(trees[key] for key in sorted(trees))

    def get(self, hips_id: str, *, fresh: bool = False) -> HipsTree:
        """Return a tree by its id.

        Raises
        ------
        NotFoundError
            Raised if there is none.
        """
        found = self._look(fresh=fresh).get(hips_id)
        if found is None:
            raise NotFoundError(
                f"There is no HiPS {hips_id[:100]!r}; /api/hips/hipslist lists those there are."
            )
        return found

    def remove(self, hips_id: str) -> None:
        """Remove a tree.

        Raises
        ------
        NotFoundError
            Raised if there is none.
        ConflictError
            Raised if it is being made.
        """
        self.get(check_hips_id(hips_id), fresh=True)
        root = self._folder / hips_id
        with _locked(root):
            (root / _CURRENT).unlink(missing_ok=True)
            for found in _generations(root):
                shutil.rmtree(found, ignore_errors=True)
        self._look(fresh=True)

    @contextmanager
    def writing(self, hips_id: str) -> Iterator[Generation]:
        """Make a new generation of a tree; it is shown if it was published in the body.

        Raises
        ------
        BadParameterError
            Raised if a tree cannot be called so.
        ConflictError
            Raised if somebody else is making it.
        """
        root = self._folder / check_hips_id(hips_id)
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root):
            previous = _read(root)
            for left in _generations(root):
                # What a writer that died left behind; a shown generation is never among these.
                if previous is None or left != previous.folder:
                    shutil.rmtree(left, ignore_errors=True)
            building = root / f"{_BUILDING}{new_request_id()}"
            building.mkdir()
            generation = Generation(building, previous)
            try:
                yield generation
                if generation.published is not None:
                    self._show(root, generation, generation.published)
            finally:
                shutil.rmtree(building, ignore_errors=True)
        self._look(fresh=True)

    def _show(self, root: Path, generation: Generation, info: HipsInfo) -> None:
        name = new_request_id()
        properties = info.properties(authority=self._authority, is_public=False)
        write_atomically(
            generation.folder / "properties", format_properties(properties).encode("utf-8")
        )
        write_atomically(generation.folder / _MANIFEST, info.to_json().encode("utf-8"))
        generation.folder.rename(root / name)
        write_atomically(root / _CURRENT, name.encode("ascii"))
        if generation.previous is not None:
            # Who reads one of its files now keeps it open.
            shutil.rmtree(generation.previous.folder, ignore_errors=True)

    def _look(self, *, fresh: bool) -> dict[str, HipsTree]:
        found = self._found
        if not fresh and found is not None and time.monotonic() - found[0] < _CHECK_SECONDS:
            return found[1]
        with self._lock:
            known = {} if self._found is None else self._found[1]
            trees = {}
            for root in self._folder.iterdir() if self._folder.is_dir() else ():
                tree = _read(root, known.get(root.name))
                if tree is not None:
                    trees[root.name] = tree
            self._found = (time.monotonic(), trees)
            return trees


def check_hips_id(hips_id: str) -> str:
    """Return `hips_id` if a tree of images may be called so.

    Raises
    ------
    BadParameterError
        Raised if it may not.
    """
    if _ID.match(hips_id) is None:
        raise BadParameterError(
            f"{hips_id[:100]!r} is not the id of a HiPS: it begins with a letter and has up to 100 "
            "letters, digits, underscores and hyphens."
        )
    return hips_id


def _read(root: Path, known: HipsTree | None = None) -> HipsTree | None:
    """Return the generation of a tree that is shown, `None` if there is none."""
    for _ in range(3):
        try:
            name = (root / _CURRENT).read_text("ascii").strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        folder = root / name
        if known is not None and known.folder == folder:
            return known
        try:
            return HipsTree(HipsInfo.from_json((folder / _MANIFEST).read_text("utf-8")), folder)
        except FileNotFoundError:
            continue  # another generation has taken its place meanwhile
        except (ValueError, KeyError, TypeError) as exc:
            _LOG.error("HiPS cannot be read", folder=str(folder), error=str(exc))
            return None
    return None


def _generations(root: Path) -> list[Path]:
    return [entry for entry in root.iterdir() if entry.is_dir()]


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Keep other writers of a tree out, of whatever process; a dead one's lock is gone."""
    handle = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise ConflictError(
                f"Somebody else is making the HiPS {root.name}. Wait until that is done and try "
                "again."
            ) from exc
        yield
    finally:
        os.close(handle)
