"""Imports files of images into a collection: idempotent, in parallel, and past broken files."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import NotFoundError
from astrolabe.core.machine import processors
from astrolabe.images.importing.one_file import FileResult, FileTask, record_uri
from astrolabe.images.importing.options import (
    ImageImportOptions,
    ImageImportProgress,
    ImageImportReport,
    ImageImportStep,
    ImageProgressListener,
    RefusedFile,
)
from astrolabe.images.importing.pool import read_files
from astrolabe.images.importing.sources import FoundFile, find_files
from astrolabe.images.model import ImageCollection, ImageRecord, check_collection_name

if TYPE_CHECKING:
    # The services import the whole platform, which the processes that read files need not do.
    from astrolabe.images.assembly import ImageServices

__all__ = ["run_image_import"]

_FILES_AT_ONCE: Final = 256
_SECONDS_AT_ONCE: Final = 2.0
_FEW_FILES: Final = 16
"""So many are read sooner by this process than others start."""


def run_image_import(
    sources: Sequence[str | Path | FoundFile],
    options: ImageImportOptions,
    images: ImageServices,
    *,
    progress: ImageProgressListener | None = None,
    publish: bool = True,
) -> ImageImportReport:
    """Import files as images of a collection.

    Files that are there already and have not changed are passed over; those that cannot be
    imported are named in the report and change nothing.  Images that are written are whole:
    an import that is interrupted is continued by running it again.

    Parameters
    ----------
    sources
        Files, folders, patterns, ``s3://bucket/prefix``, and files that were found already (those
        of a Butler repository).
    options
        What else is asked.
    images
        The services of images.
    progress
        Is told how far it is.
    publish
        Whether to publish ``ivoa.ObsCore`` at the end; several imports need it only once.

    Raises
    ------
    BadParameterError
        Raised if the collection cannot be called so.
    ImportRefusedError
        Raised if a source names no files at all.
    StorageFullError
        Raised if there is no room for indexes or unpacked files.
    """
    check_collection_name(options.collection)
    return _Import(sources, options, images, progress).run(publish=publish)


class _Import:
    """One import: what has been counted and what waits to be written."""

    def __init__(
        self,
        sources: Sequence[str | Path | FoundFile],
        options: ImageImportOptions,
        images: ImageServices,
        progress: ImageProgressListener | None,
    ) -> None:
        self._sources, self._options, self._images = sources, options, images
        self._progress = progress
        self._store = images.store
        self._task = FileTask(
            collection=options.collection,
            mapping=options.mapping,
            folder=images.folder,
            released=options.released,
            checksum=options.checksum,
            unpack=options.unpack,
        )
        self._waiting: list[FileResult] = []
        self._written = time.monotonic()
        self._ids: dict[str, str] = {}
        self._refused: list[RefusedFile] = []
        self._notes: Counter[str] = Counter()
        self._files = self._images_done = self._unchanged = self._unplaced = self._bytes = 0

    def run(self, *, publish: bool) -> ImageImportReport:
        started = time.monotonic()
        found = self._to_read()
        abandoned = False
        if found:
            abandoned = not self._read(found)
        if not abandoned:
            self._describe()
            if publish:
                self._tell("publish", len(found), len(found))
                self._images.obscore.publish()
        return ImageImportReport(
            collection=self._options.collection,
            files=self._files,
            images=self._images_done,
            unchanged=self._unchanged,
            without_position=self._unplaced,
            refused=tuple(self._refused),
            notes=tuple(self._notes.most_common()),
            total_images=self._store.count(self._options.collection),
            bytes=self._bytes,
            seconds=time.monotonic() - started,
            abandoned=abandoned,
        )

    def _to_read(self) -> list[FoundFile]:
        """Return the files that are new or have changed."""
        known = self._store.signatures(self._options.collection)
        found: list[FoundFile] = []
        for file in find_files(self._sources, self._images.files):
            signature = known.get(record_uri(file, self._task))
            is_known = file.problem is None and signature == self._task.signature(file)
            if is_known and not self._options.refresh:
                self._unchanged += 1
            else:
                found.append(file)
            self._tell("find", len(found), None)
        return found

    def _read(self, found: list[FoundFile]) -> bool:
        """Read files and write their images; tell whether that was not given up."""
        if not self._options.strict:
            self._describe()
        self._tell("read", 0, len(found))
        for done, result in enumerate(self._results(found), start=1):
            self._take(result)
            self._tell("read", done, len(found))
            late = time.monotonic() - self._written > _SECONDS_AT_ONCE
            if not self._options.strict and (late or len(self._waiting) >= _FILES_AT_ONCE):
                self._write()
        if self._options.strict:
            self._check_ids(self._waiting)
            if self._refused:
                self._drop(self._waiting)
                self._files = self._images_done = self._unplaced = self._bytes = 0
                return False
            self._describe()
        self._write()
        return True

    def _results(self, found: list[FoundFile]) -> Iterator[FileResult]:
        workers = self._options.workers or processors()
        few = self._options.workers is None and len(found) <= _FEW_FILES
        return read_files(
            found,
            self._task,
            files=self._images.files,
            s3=self._images.s3_options,
            workers=1 if few else min(workers, len(found)),
        )

    def _take(self, result: FileResult) -> None:
        """Keep what became of a file until it is written."""
        if result.problem is not None:
            self._refuse(result.uri, result.problem)
            return
        folded = {record.key.image_id.lower() for record in result.records}
        if len(folded) < len(result.records):
            self._refuse(result.uri, "Two images in it have the same id.")
            self._drop([result])
            return
        other = next((self._ids[key] for key in folded if key in self._ids), None)
        if other is not None:
            self._refuse(result.uri, f"An image in it has the same id as one in {other}.")
            self._drop([result])
            return
        self._ids.update(dict.fromkeys(folded, result.uri))
        self._notes.update(result.notes)
        self._waiting.append(result)
        self._count(result, 1)

    def _count(self, result: FileResult, sign: int) -> None:
        self._files += sign
        self._bytes += sign * result.size
        self._images_done += sign * len(result.records)
        unplaced = sum(record.obscore.get("s_ra") is None for record in result.records)
        self._unplaced += sign * unplaced

    def _write(self) -> None:
        """Write the images of the files that wait, in the place of those that were there."""
        self._written = time.monotonic()
        waiting = self._check_ids(self._waiting)
        self._waiting = []
        if not waiting:
            return
        # When it is written and not when it was read: the publication of ObsCore goes by it.
        now = utc_now()
        records = [replace(r, imported=now) for result in waiting for r in result.records]
        known = self._store.of_files(self._options.collection, {r.uri for r in records})
        new = {record.key.folded for record in records}
        # First those that their file no longer has: if this ends between the two steps, images are
        # missing, which the next import sees, and none is there that is no more.
        self._store.remove([old.key for old in known if old.key.folded not in new])
        self._store.put(records)
        self._remove_indexes({r.index_path for r in known} - {r.index_path for r in records})

    def _check_ids(self, results: list[FileResult]) -> list[FileResult]:
        """Refuse files whose images have the ids of images in other files; return the rest."""
        keys = [record.key for result in results for record in result.records]
        taken = self._store.find(keys) if not self._options.replace else {}
        kept: list[FileResult] = []
        for result in results:
            other = self._owner(result.records, taken)
            if other is None:
                kept.append(result)
                continue
            self._refuse(
                result.uri,
                f"The collection has an image of the same id in {other}; --replace takes its "
                "place.",
            )
            self._count(result, -1)
            self._drop([result])
        return kept

    def _owner(
        self, records: Iterable[ImageRecord], taken: dict[tuple[str, str], ImageRecord]
    ) -> str | None:
        """Return the file that has one of the ids already, unless it is gone (was moved)."""
        for record in records:
            known = taken.get(record.key.folded)
            if known is None or known.uri == record.uri:
                continue
            try:
                self._images.files.stat(known.uri)
            except NotFoundError:
                continue
            return known.uri
        return None

    def _refuse(self, uri: str, reason: str) -> None:
        self._refused.append(RefusedFile(uri=uri, reason=reason))

    def _drop(self, results: Iterable[FileResult]) -> None:
        """Remove the indexes of files that are not imported, unless they are those in use."""
        paths = {record.index_path for result in results for record in result.records}
        uris = {record.uri for result in results for record in result.records}
        used = self._store.of_files(self._options.collection, uris)
        self._remove_indexes(paths - {record.index_path for record in used})

    def _remove_indexes(self, paths: Iterable[str]) -> None:
        for path in paths:
            (self._task.folder / path).unlink(missing_ok=True)

    def _describe(self) -> None:
        """Make the collection, or change what is said of it."""
        options = self._options
        said: dict[str, Any] = {
            "title": options.title,
            "description": options.description,
            "documentation": options.documentation,
            "release": options.release,
        }
        changed = {name: value for name, value in said.items() if value is not None}
        new = ImageCollection(name=options.collection, created=utc_now(), **changed)
        known = self._store.ensure_collection(new)
        if changed and known is not new:
            self._store.describe_collection(replace(known, **changed))

    def _tell(self, step: ImageImportStep, files: int, total: int | None) -> None:
        if self._progress is not None:
            self._progress(
                ImageImportProgress(step=step, files=files, total=total, images=self._images_done)
            )
