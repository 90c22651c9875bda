"""What an import of images is asked to do, what it says on its way, and what it reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from astrolabe.images.importing.mapping import HeaderMapping

__all__ = [
    "ImageImportOptions",
    "ImageImportProgress",
    "ImageImportReport",
    "ImageImportStep",
    "ImageProgressListener",
    "RefusedFile",
]

ImageImportStep = Literal["find", "read", "publish"]
"""Files are looked for and read; then ObsCore is published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageImportOptions:
    """Everything that may be asked of an import of images.

    Parameters
    ----------
    collection
        Name of the collection; it is made if there is none.
    title, description, documentation, release
        What is said of the collection; `None` leaves what was said before.
    mapping
        How headers become values.
    released
        When images become public whose headers say nothing of it.
    workers
        Processes that read files; `None` for one a processor; with 1 this process does.
    refresh
        Import files again that have not changed.
    replace
        Let images take ids that images in other files have.
    unpack
        Keep an unpacked copy of each file that is compressed as a whole (.gz, .bz2, .xz), instead
        of refusing it.
    checksum
        Compute the MD5 of each file; `None` for local ones only, since it reads the whole file.
    strict
        Publish nothing if a single file is refused.
    """

    collection: str
    title: str | None = None
    description: str | None = None
    documentation: str | None = None
    release: str | None = None
    mapping: HeaderMapping = field(default_factory=HeaderMapping.default)
    released: datetime | None = None
    workers: int | None = None
    refresh: bool = False
    replace: bool = False
    unpack: bool = False
    checksum: bool | None = None
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageImportProgress:
    """How far an import is.

    Parameters
    ----------
    step
        What is being done.
    files
        Files done.
    total
        Files to do, `None` while unknown.
    images
        Images found in them so far.
    """

    step: ImageImportStep
    files: int
    total: int | None
    images: int


ImageProgressListener = Callable[[ImageImportProgress], None]
"""Told of progress by the thread that imports; must return quickly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedFile:
    """A file that was skipped.

    Parameters
    ----------
    uri
        Which.
    reason
        One sentence.
    """

    uri: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageImportReport:
    """What an import of images did.

    Parameters
    ----------
    collection
        Where the images are.
    files, images
        How many were imported now.
    unchanged
        Files that were there already.
    without_position
        Images of this import that have no place on the sky.
    refused
        Files that were skipped.
    notes
        What the importer should know, with the number of files that it is about.
    total_images
        Images of the collection now.
    bytes
        Of the files imported now.
    seconds
        Wall time.
    abandoned
        Whether nothing was imported because `ImageImportOptions.strict` forbade it.
    """

    collection: str
    files: int
    images: int
    unchanged: int
    without_position: int
    refused: tuple[RefusedFile, ...]
    notes: tuple[tuple[str, int], ...]
    total_images: int
    bytes: int
    seconds: float
    abandoned: bool = False
