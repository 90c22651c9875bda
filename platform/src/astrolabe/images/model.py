"""An image as the platform knows it, and the identifiers of images.

An image is one row of ObsCore: one science plane with the mask and the variance that belong to it.
Several images may lie in one file (the detectors of a camera).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote, unquote

from astrolabe.core.errors import BadParameterError

__all__ = [
    "FITS_MEDIA_TYPE",
    "ImageCollection",
    "ImageKey",
    "ImageRecord",
    "PlaneKind",
    "check_collection_name",
    "check_image_id",
    "parse_image_did",
]

FITS_MEDIA_TYPE: Final = "application/fits"

_COLLECTION: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}\Z")
_IMAGE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}\Z")


class PlaneKind(StrEnum):
    """The planes of an image."""

    IMAGE = "image"
    MASK = "mask"
    VARIANCE = "variance"


@dataclass(frozen=True, slots=True, order=True)
class ImageKey:
    """What names one image: its collection and its id there.

    Both are kept as they were given and compared without regard to case, as IVOA identifiers are
    (IVOA Identifiers 2.0, section 2.2).
    """

    collection: str
    image_id: str

    @property
    def folded(self) -> tuple[str, str]:
        """The key as it is compared."""
        return self.collection.lower(), self.image_id.lower()

    @property
    def path(self) -> str:
        """``collection/image_id``, as in ``/api/images/{id}`` and in lists of progenitors."""
        return f"{self.collection}/{self.image_id}"

    @classmethod
    def parse_path(cls, path: str) -> ImageKey:
        """Return the key that ``collection/image_id`` means.

        Raises
        ------
        BadParameterError
            Raised if either part is not a name.
        """
        collection, _, image_id = path.partition("/")
        return cls(check_collection_name(collection), check_image_id(image_id))

    def did(self, authority: str) -> str:
        """Return the identifier ``ivo://{authority}/{collection}?{image_id}``."""
        return f"ivo://{authority}/{self.collection}?{quote(self.image_id, safe='._+-')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCollection:
    """A collection of images (``obs_collection``).

    Parameters
    ----------
    name
        Its name, also the subject of its rights.
    title, description
        For people.
    documentation
        Address of a page about it, if there is one.
    release
        The release that it belongs to, if any.
    created
        When it was made.
    """

    name: str
    title: str = ""
    description: str = ""
    documentation: str | None = None
    release: str | None = None
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageRecord:
    """All that the platform keeps of one image beside its pixels.

    Parameters
    ----------
    key
        Its name.
    uri
        Where the file is: an absolute path, or ``s3://bucket/key``.
    size_bytes, md5
        Of the file; MD5 in hexadecimal, since VOSpace and FITS archives exchange that.
    signature
        Changes when the file does (size and time of change, or the store's ETag): an import passes
        over files that it knows.
    media_type
        Of the file.
    index_path
        The file's index (headers, offsets of tiles) below the folder of indexes.
    planes
        The number of the HDU that holds each plane, the primary one being 0.
    progenitors
        The images that it was made of, as `ImageKey.path`.
    released
        When its pixels become public where its collection is listed (``obs_release_date``).
    release
        The release of its collection, if any.
    obscore
        Values of ObsCore columns by their lower-case name, but for those that follow from the rest:
        ``obs_collection obs_publisher_did access_url access_format access_estsize
        obs_release_date``.  ``s_region`` is a list of ICRS degrees ra1, dec1, ra2, dec2, ...
        counter-clockwise as seen from inside the sphere.  Missing is null.
    imported
        When this was written.
    """

    key: ImageKey
    uri: str
    size_bytes: int
    md5: str | None
    signature: str
    media_type: str = FITS_MEDIA_TYPE
    index_path: str
    planes: Mapping[PlaneKind, int]
    progenitors: tuple[str, ...] = ()
    released: datetime | None = None
    release: str | None = None
    obscore: Mapping[str, Any] = field(default_factory=dict)
    imported: datetime


def check_collection_name(name: str) -> str:
    """Return `name` if a collection may be called so.

    Raises
    ------
    BadParameterError
        Raised if it may not.
    """
    if _COLLECTION.match(name) is None:
        raise BadParameterError(
            f"{name[:100]!r} is not the name of a collection: it begins with a letter and has up "
            "to 64 letters, digits and underscores."
        )
    return name


def check_image_id(image_id: str) -> str:
    """Return `image_id` if an image may be called so.

    Raises
    ------
    BadParameterError
        Raised if it may not.
    """
    if _IMAGE_ID.match(image_id) is None or ".." in image_id:
        raise BadParameterError(
            f"{image_id[:100]!r} is not the id of an image: it begins with a letter or digit and "
            "has up to 200 letters, digits and the characters . _ + - (never two dots in a row)."
        )
    return image_id


def parse_image_did(did: str, *, authority: str) -> ImageKey:
    """Return the image that an identifier means; in any case of letters.

    Raises
    ------
    BadParameterError
        Raised if it is not an identifier of an image of this platform.
    """
    prefix = f"ivo://{authority}/"
    if did[: len(prefix)].lower() == prefix.lower():
        collection, question_mark, image_id = did[len(prefix) :].partition("?")
        if question_mark and "." not in collection:
            return ImageKey(check_collection_name(collection), check_image_id(unquote(image_id)))
    raise BadParameterError(
        f"{did[:200]!r} is not the identifier of an image here; those look like "
        f"{prefix}COLLECTION?ID, as obs_publisher_did in ivoa.ObsCore gives them."
    )
