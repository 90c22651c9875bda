"""Finds the files of an import: files, folders, patterns and prefixes of an object store.

Nothing is opened here.  Links to folders are followed, but no folder is entered twice, so that a
loop of them ends; named pipes and devices are never touched.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from astrolabe.core.errors import AstrolabeError, ImportRefusedError
from astrolabe.images.files import ImageFiles
from astrolabe.images.importing.expressions import Value

__all__ = ["FoundFile", "find_files", "is_packed"]

_FITS: Final = (".fits", ".fit", ".fts", ".fits.fz", ".fit.fz", ".fz")
_PACKED: Final = (".gz", ".bz2", ".xz", ".zst", ".z")
_PATTERN: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to import, or the reason why it cannot be.

    Parameters
    ----------
    uri
        Its absolute path without ``..``, or ``s3://bucket/key``.
    size
        Bytes.
    signature
        Of `ImageFiles.stat`.
    problem
        Why it cannot be imported; `None` if nothing is known against it.
    values
        Values of ObsCore columns that are known from elsewhere; they win over the default keywords
        of headers, not over those that a mapping asks for.
    image_id
        The id of its image, if that is known from elsewhere.
    """

    uri: str
    size: int = 0
    signature: str = ""
    problem: str | None = None
    values: Mapping[str, Value] = field(default_factory=dict)
    image_id: str | None = None


def is_packed(uri: str) -> bool:
    """Whether a file's name says that it is compressed as a whole."""
    return uri.lower().endswith(_PACKED)


def find_files(sources: Iterable[str | Path | FoundFile], files: ImageFiles) -> Iterator[FoundFile]:
    """Yield the files that `sources` mean, each once, in the order of their names.

    Parameters
    ----------
    sources
        Files of any name; folders and ``s3://bucket/prefix/``, of which all files are meant whose
        names end as those of FITS files do (packed ones too, which are then refused by name
        rather than overlooked); patterns with ``*``, ``?`` or ``**``; files that were found
        already.
    files
        Looks at files.

    Raises
    ------
    ImportRefusedError
        Raised if a source names nothing at all.
    """
    seen: set[str] = set()
    for source in sources:
        count = 0
        given = [source] if isinstance(source, FoundFile) else _of_source(str(source), files)
        for found in given:
            count += 1
            real = found.uri if found.uri.startswith("s3://") else os.path.realpath(found.uri)
            if real not in seen:
                seen.add(real)
                yield found
        if not count:
            raise ImportRefusedError(f"{source}: there are no FITS files")


def _of_source(source: str, files: ImageFiles) -> Iterator[FoundFile]:
    if source.startswith("s3://"):
        yield from _in_store(source, files)
        return
    if "\0" in source:
        raise ImportRefusedError("A path has no NUL in it.")
    if Path(source).exists() or not _PATTERN & set(source):
        paths = [source]
    else:
        paths = sorted(glob.glob(source, recursive=True))  # noqa: PTH207 - absolute patterns too
    for name in paths:
        # abspath and not resolve: links by which disks are named stay as they were given.
        path = Path(os.path.abspath(name))  # noqa: PTH100 - see above
        if path.is_dir():
            yield from _in_folder(path, files)
        else:
            yield _looked_at(str(path), files)


def _in_store(source: str, files: ImageFiles) -> Iterator[FoundFile]:
    """Yield an object, or those below a prefix."""
    if not source.endswith("/") and _is_named_as_image(source):
        yield _looked_at(source, files)
        return
    for uri, known in files.list(source):
        if _is_named_as_image(uri):
            yield FoundFile(uri, known.size, known.signature)


def _in_folder(folder: Path, files: ImageFiles) -> Iterator[FoundFile]:
    entered: set[tuple[int, int]] = set()
    todo = [folder]
    while todo:
        here = todo.pop()
        try:
            status = here.stat()
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(here) as entries:
                names = sorted(entries, key=lambda entry: entry.name)
        except OSError as exc:
            yield FoundFile(str(here), problem=f"the folder cannot be read: {exc.strerror}")
            continue
        folders: list[Path] = []
        for entry in names:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                folders.append(here / entry.name)
            elif _is_named_as_image(entry.name):
                yield _looked_at(str(here / entry.name), files)
        todo.extend(reversed(folders))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False


def _is_named_as_image(name: str) -> bool:
    lower = name.lower()
    for packed in _PACKED:
        lower = lower.removesuffix(packed)
    return lower.endswith(_FITS)


def _looked_at(uri: str, files: ImageFiles) -> FoundFile:
    try:
        uri.encode("utf-8")
    except UnicodeEncodeError:
        shown = uri.encode("utf-8", "backslashreplace").decode()
        return FoundFile(shown, problem="its name is not UTF-8")
    if not uri.startswith("s3://"):
        problem = _local_problem(uri)
        if problem is not None:
            return FoundFile(uri, problem=problem)
    try:
        known = files.stat(uri)
    except AstrolabeError as exc:
        return FoundFile(uri, problem=exc.message)
    return FoundFile(uri, known.size, known.signature)


def _local_problem(uri: str) -> str | None:
    try:
        mode = Path(uri).stat().st_mode
    except OSError as exc:
        return exc.strerror or str(exc)
    return None if stat.S_ISREG(mode) else "it is not a regular file"
