"""Takes images out of the platform again; their files stay, but for copies made here."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from astrolabe.images.assembly import ImageServices
from astrolabe.images.model import ImageKey, ImageRecord, check_collection_name

__all__ = ["remove_images", "remove_traces"]


def remove_images(names: Sequence[str], images: ImageServices) -> int:
    """Remove images and collections, publish ObsCore and return how many images there were.

    Parameters
    ----------
    names
        ``COLLECTION`` or ``COLLECTION/ID``.
    images
        The services of images.

    Raises
    ------
    BadParameterError, NotFoundError
        Raised if one of them is no name or is not there; then nothing was removed.
    """
    whole = [
        images.store.collection(check_collection_name(name)).name
        for name in names
        if "/" not in name
    ]
    records = [images.store.get(ImageKey.parse_path(name)) for name in names if "/" in name]
    gone = sum(images.store.remove_collection(name) for name in dict.fromkeys(whole))
    gone += images.store.remove([record.key for record in records])
    # First the rows that name them, then what they need: a reader does without an index.
    images.obscore.publish()
    for name in whole:
        for kind in ("index", "unpacked"):
            shutil.rmtree(images.folder / kind / name.lower(), ignore_errors=True)
    remove_traces([r for r in records if r.key.collection not in whole], images)
    return gone


def remove_traces(records: Iterable[ImageRecord], images: ImageServices) -> None:
    """Remove indexes and unpacked copies of images that were removed, if no other needs them."""
    by_collection: dict[str, list[ImageRecord]] = {}
    for record in records:
        by_collection.setdefault(record.key.collection, []).append(record)
    for collection, gone in by_collection.items():
        left = images.store.of_files(collection, {record.uri for record in gone})
        used = {record.index_path for record in left}
        for path in {record.index_path for record in gone} - used:
            (images.folder / path).unlink(missing_ok=True)
        unpacked = images.folder / "unpacked" / collection.lower()
        for uri in {record.uri for record in gone} - {record.uri for record in left}:
            path_ = Path(uri)
            if path_.is_relative_to(unpacked) and ".." not in path_.parts:
                path_.unlink(missing_ok=True)
