"""Reads one file: its index, its images and their values.  May run in a process of its own."""

from __future__ import annotations

import hashlib
import os
import re
import traceback
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Final

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import AstrolabeError, ImageInvalidError, StorageFullError
from astrolabe.core.storage import full_disk_is_storage_full
from astrolabe.images.files import ByteSource, ImageFiles
from astrolabe.images.fits.index import FileIndex, build_index
from astrolabe.images.importing.expressions import MJD_ZERO, Headers, ValueProblemError
from astrolabe.images.importing.mapping import HeaderMapping
from astrolabe.images.importing.planes import ImagePlanes, group_planes
from astrolabe.images.importing.sources import FoundFile, is_packed
from astrolabe.images.importing.unpacking import unpack, unpacked_path
from astrolabe.images.importing.values import obscore_values
from astrolabe.images.model import ImageKey, ImageRecord, PlaneKind

__all__ = ["FileResult", "FileTask", "default_image_id", "read_file", "record_uri"]

_VERSION: Final = 1
"""Raised when what is read of a file changes, so that files are read again."""
_LONGEST_ID: Final = 200
_NOT_IN_IDS: Final = re.compile(r"[^A-Za-z0-9._+-]+")
_ENDS: Final = re.compile(r"(?i)(\.(gz|bz2|xz|zst|z))?(\.fz)?(\.(fits?|fts))?(\.fz)?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTask:
    """What is the same for all files of an import.

    Parameters
    ----------
    collection
        Name of the collection.
    mapping
        How headers become values.
    folder
        The folder of images; indexes and unpacked files go below it.
    released
        When images become public whose headers say nothing of it.
    checksum
        Whether to compute the MD5 of files; `None` for local ones.
    unpack
        Whether to unpack files that are compressed as a whole.
    """

    collection: str
    mapping: HeaderMapping
    folder: Path
    released: datetime | None = None
    checksum: bool | None = None
    unpack: bool = False

    @property
    def digest(self) -> str:
        """Changes when the same file would give other records."""
        text = f"{_VERSION} {self.mapping.digest} {self.released}"
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    def signature(self, found: FoundFile) -> str:
        """Return the signature of the records of a file: of the file and of how it is read."""
        digest = self.digest
        if found.values or found.image_id:
            known = f"{digest} {sorted(found.values.items())} {found.image_id}"
            digest = hashlib.sha256(known.encode()).hexdigest()[:8]
        return f"{found.signature[:180]}:{digest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileResult:
    """What became of a file.

    Parameters
    ----------
    uri
        Of the file that was asked for.
    size
        Of the file (bytes).
    records
        Its images; empty if it is refused.
    problem
        Why it is refused.
    notes
        What was passed over in it.
    """

    uri: str
    size: int = 0
    records: tuple[ImageRecord, ...] = ()
    problem: str | None = None
    notes: tuple[str, ...] = ()


def record_uri(found: FoundFile, task: FileTask) -> str:
    """Return the URI that the records of a file have: its own, or that of its unpacked copy."""
    if not is_packed(found.uri):
        return found.uri
    return str(unpacked_path(found.uri, task.folder / "unpacked" / task.collection.lower()))


def default_image_id(uri: str) -> str:
    """Return an id made of a file's name: without its ending and what no id may have."""
    return _as_id(_ENDS.sub("", PurePosixPath(uri).name))


def read_file(found: FoundFile, task: FileTask, files: ImageFiles) -> FileResult:
    """Read all that is to be known of a file; never raises for a file that is broken.

    Parameters
    ----------
    found
        The file.
    task
        What to do with it.
    files
        Opens files.

    Raises
    ------
    StorageFullError
        Raised if the index cannot be written.
    """
    try:
        return _read(found, task, files)
    except StorageFullError:
        raise
    except ValueProblemError as exc:
        reason = str(exc)
    except AstrolabeError as exc:
        reason = exc.message
    # Headers hold anything; one that nobody foresaw must not end an import of a million files.
    except Exception as exc:  # noqa: BLE001 - see above
        reason = f"It cannot be read ({type(exc).__name__}: {str(exc)[:200]}{_place(exc)})."
    return FileResult(uri=found.uri, problem=reason)


def _place(exc: Exception) -> str:
    """Return where an error came from, for whoever mends it."""
    frames = traceback.extract_tb(exc.__traceback__)
    return f", {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""


def _read(found: FoundFile, task: FileTask, files: ImageFiles) -> FileResult:
    uri = _readable(found, task, files)
    source = files.open(uri)
    index = build_index(source)
    images, notes = group_planes(index.planes.values(), task.mapping.planes)
    if not images:
        raise ImageInvalidError(_nothing_in(index))
    records = [
        _record(image, several=len(images) > 1, index=index, uri=uri, task=task, notes=notes)
        for image in images
    ]
    records = [_with_known(record, found, task, several=len(images) > 1) for record in records]
    md5 = _md5(source) if _wants_checksum(uri, task) else None
    index_path = _index_path(uri, found.signature, task)
    _write_index(index, task.folder / index_path)
    done = tuple(
        replace(
            record,
            size_bytes=source.size,
            md5=md5,
            signature=task.signature(found),
            index_path=index_path,
        )
        for record in records
    )
    return FileResult(
        uri=found.uri, size=source.size, records=done, notes=tuple(dict.fromkeys(notes))
    )


def _readable(found: FoundFile, task: FileTask, files: ImageFiles) -> str:
    """Return the URI of a file of which parts can be read."""
    if found.problem is not None:
        raise ImageInvalidError(found.problem)
    if not is_packed(found.uri):
        return found.uri
    if not task.unpack:
        raise ImageInvalidError(
            "It is compressed as a whole, so that no part of it can be read alone: compress it by "
            "tiles (fpack), unpack it, or let the import keep an unpacked copy with --unpack."
        )
    target = Path(record_uri(found, task))
    unpack(files.open(found.uri), target)
    return str(target)


def _nothing_in(index: FileIndex) -> str:
    if not index.planes:
        return "It holds no image, only tables."
    shapes = "; ".join(
        f"HDU {p.hdu} {p.name} {'x'.join(map(str, reversed(p.shape)))}".replace("  ", " ")
        for p in list(index.planes.values())[:5]
    )
    return (
        f"It holds no image of two axes that is not a mask or a variance ({shapes}); "
        "--planes image=NAME names it."
    )


def _record(
    image: ImagePlanes,
    *,
    several: bool,
    index: FileIndex,
    uri: str,
    task: FileTask,
    notes: list[str],
) -> ImageRecord:
    """Return the record of an image, but for what is known of the whole file; add to `notes`."""
    mapping = task.mapping
    plane = index.plane(image.planes[PlaneKind.IMAGE])
    headers = _headers(index, plane.hdu)
    image_id = _image_id(image, several=several, uri=uri, headers=headers, mapping=mapping)
    obscore, remarks = obscore_values(plane, headers, mapping)
    notes += remarks
    obscore.setdefault("obs_id", default_image_id(uri))
    return ImageRecord(
        key=ImageKey(task.collection, image_id),
        uri=uri,
        size_bytes=0,
        md5=None,
        signature="",
        index_path="",
        planes=image.planes,
        progenitors=_progenitors(headers, task),
        released=_released(headers, task),
        obscore=obscore,
        imported=utc_now(),
    )


def _with_known(
    record: ImageRecord, found: FoundFile, task: FileTask, *, several: bool
) -> ImageRecord:
    """Return a record with what is known of its file from elsewhere."""
    asked = task.mapping.explicit
    values = {name: value for name, value in found.values.items() if name not in asked}
    key = record.key
    if found.image_id is not None and task.mapping.image_id is None and not several:
        key = ImageKey(key.collection, _as_id(found.image_id))
    return replace(record, key=key, obscore={**record.obscore, **values})


def _headers(index: FileIndex, hdu: int) -> Headers:
    others = {str(number): header for number, header in enumerate(index.headers)}
    for header in index.headers:
        name = str(header.get("EXTNAME", "")).strip().upper()
        if name:
            others.setdefault(name, header)
    return Headers(own=index.plane(hdu).header, primary=index.headers[0], others=others)


def _image_id(
    image: ImagePlanes, *, several: bool, uri: str, headers: Headers, mapping: HeaderMapping
) -> str:
    if mapping.image_id is not None:
        value = mapping.image_id.evaluate(headers)
        if value is None:
            raise ValueProblemError("the headers lack what the image's id is made of")
        return _as_id(str(value))
    name = default_image_id(uri)
    label = _as_id(image.label)
    return f"{name[: _LONGEST_ID - len(label) - 1]}-{label}" if several else name


def _as_id(text: str) -> str:
    """Return text as an id: headers and names of files may hold anything."""
    plain = _NOT_IN_IDS.sub("_", text.encode("ascii", "replace").decode().replace("?", "_"))
    plain = re.sub(r"\.{2,}", ".", plain).lstrip("._+-").rstrip("._")
    return plain[:_LONGEST_ID] or "image"


def _progenitors(headers: Headers, task: FileTask) -> tuple[str, ...]:
    rule = task.mapping.progenitors
    found: dict[str, None] = {}
    for value in headers.series(rule.prefix):
        collection, slash, rest = str(value).partition("/")
        named = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", collection)
        if slash and named and "/" not in rest and rule.collection is None:
            found[f"{collection}/{default_image_id(rest)}"] = None
        else:
            # IRAF and others name files: img/visit_12.fits[0]
            name = re.sub(r"\[.*\Z", "", str(value))
            found[f"{rule.collection or task.collection}/{default_image_id(name)}"] = None
    return tuple(found)


def _released(headers: Headers, task: FileTask) -> datetime | None:
    try:
        mjd = task.mapping.released.evaluate(headers)
    except ValueProblemError as exc:
        # An image must never become public because its date cannot be read.
        raise ValueProblemError(f"date of release: {exc}") from exc
    if mjd is None:
        return task.released
    return MJD_ZERO + timedelta(days=float(mjd))


def _wants_checksum(uri: str, task: FileTask) -> bool:
    return not uri.startswith("s3://") if task.checksum is None else task.checksum


def _md5(source: ByteSource) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for chunk in source.chunks():
        digest.update(chunk)
    return digest.hexdigest()


def _index_path(uri: str, signature: str, task: FileTask) -> str:
    name = hashlib.sha256(f"{uri}\0{signature}".encode()).hexdigest()[:40]
    return f"index/{task.collection.lower()}/{name[:2]}/{name}.idx"


def _write_index(index: FileIndex, path: Path) -> None:
    """Write an index so that a reader finds the whole of it or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with full_disk_is_storage_full("the index of an image", clean_up=(temporary,)):
        temporary.write_bytes(index.to_bytes())
        temporary.replace(path)
