"""Bytes of image files: local ones and those of an object store, read by ranges.

Only what stands in a record (or what an administrator names at the command line) is ever opened:
no part of a request becomes a path.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from astrolabe.core.errors import BadParameterError, ImageInvalidError, NotFoundError
from astrolabe.images.byte_source import (
    ByteSource,
    BytesSource,
    FileStat,
    Range,
    file_name,
    merge_ranges,
)
from astrolabe.images.s3 import S3Options, S3Source, list_files, open_store, split_uri, stat_file

if TYPE_CHECKING:
    from obstore.store import S3Store

__all__ = ["ByteSource", "BytesSource", "FileStat", "ImageFiles", "S3Options"]

_GAP: Final = 4096  # bytes between two ranges that are read at once


class ImageFiles:
    """Opens files by their URI and keeps those last used open.

    Parameters
    ----------
    s3
        The object store of ``s3://`` files.
    open_files
        How many local files to keep open.
    """

    def __init__(self, *, s3: S3Options | None = None, open_files: int = 256) -> None:
        self._s3 = s3 or S3Options()
        self._limit = open_files
        self._lock = threading.Lock()
        self._local: OrderedDict[str, _LocalSource] = OrderedDict()
        self._s3_files: OrderedDict[str, S3Source] = OrderedDict()
        self._stores: dict[str, S3Store] = {}

    def stat(self, uri: str) -> FileStat:
        """Return size and signature of a file.

        Parameters
        ----------
        uri
            An absolute path or ``s3://bucket/key``.

        Raises
        ------
        BadParameterError
            Raised if `uri` is neither.
        NotFoundError
            Raised if there is no such file.
        """
        if uri.startswith("s3://"):
            return stat_file(*self._bucket(uri), uri)
        return _local_stat(_local_path(uri))

    def open(self, uri: str) -> ByteSource:
        """Return a file's bytes; keep it no longer than a request.

        Parameters
        ----------
        uri
            An absolute path or ``s3://bucket/key``.

        Raises
        ------
        BadParameterError
            Raised if `uri` is neither.
        NotFoundError
            Raised if there is no such file.
        """
        if uri.startswith("s3://"):
            store, key = self._bucket(uri)
            return S3Source(uri, stat_file(store, key, uri), store, key)
        return self._open_local(uri)

    def open_known(self, uri: str, size: int) -> ByteSource:
        """Return the bytes of a file whose size is known, without a request for that.

        A file of the object store is not looked at until it is read; a local one that is gone or
        has another size by now is an error.

        Raises
        ------
        ImageInvalidError
            Raised if the file is not there, is no file any more, or has another size.
        """
        if uri.startswith("s3://"):
            return self._remember_s3(uri, size)
        try:
            source = self._open_local(uri)
        except (NotFoundError, BadParameterError) as exc:
            # The caller named an image, and that there is.
            raise ImageInvalidError(exc.message) from exc
        if source.size != size:
            raise ImageInvalidError(
                f"{file_name(uri)} has {source.size:,} bytes, but {size:,} when it was imported: "
                "import it again."
            )
        return source

    def list(self, uri: str) -> Iterator[tuple[str, FileStat]]:
        """Yield the files below a prefix ``s3://bucket/prefix`` with what is known of them."""
        store, prefix = self._bucket(uri, key_needed=False)
        yield from list_files(store, split_uri(uri, key_needed=False)[0], prefix)

    def close(self) -> None:
        """Close all files; a source that was given out opens its file again for each read."""
        with self._lock:
            sources, self._local = list(self._local.values()), OrderedDict()
        for source in sources:
            source.retire()

    def _open_local(self, uri: str) -> _LocalSource:
        with self._lock:
            known = self._local.get(uri)
            if known is not None:
                self._local.move_to_end(uri)
        path = _local_path(uri)
        if known is not None and known.is_current(path):
            return known
        source = _LocalSource.open(uri, path)
        gone = []
        with self._lock:
            replaced = self._local.pop(uri, None)
            if replaced is not None:
                gone.append(replaced)
            self._local[uri] = source
            while len(self._local) > self._limit:
                gone.append(self._local.popitem(last=False)[1])
        for old in gone:
            old.retire()
        return source

    def _remember_s3(self, uri: str, size: int) -> ByteSource:
        with self._lock:
            known = self._s3_files.get(uri)
            if known is not None and known.size == size:
                self._s3_files.move_to_end(uri)
                return known
        store, key = self._bucket(uri)
        source = S3Source(uri, FileStat(size, f"{size}"), store, key)
        with self._lock:
            self._s3_files[uri] = source
            while len(self._s3_files) > self._limit:
                self._s3_files.popitem(last=False)
        return source

    def _bucket(self, uri: str, *, key_needed: bool = True) -> tuple[S3Store, str]:
        bucket, key = split_uri(uri, key_needed=key_needed)
        with self._lock:
            store = self._stores.get(bucket)
            if store is None:
                store = self._stores[bucket] = open_store(bucket, self._s3)
        return store, key


class _LocalSource(ByteSource):
    """A local file, kept open: one system call a range, and no mapping.

    A mapped file that somebody shortens ends the whole process by a signal.  A source that was
    retired holds no descriptor between reads, so that their number is bounded however many
    sources are about.
    """

    def __init__(self, uri: str, path: Path, stat_: FileStat, descriptor: int) -> None:
        super().__init__(uri, stat_)
        self._path = path
        self._lock = threading.Lock()
        self._descriptor = descriptor
        self._readers = 0
        self._kept = True

    @classmethod
    def open(cls, uri: str, path: Path) -> _LocalSource:
        descriptor, found = _open_regular(uri, path)
        return cls(uri, path, found, descriptor)

    def is_current(self, path: Path) -> bool:
        try:
            return _signature_of(path.stat()) == self.stat
        except OSError:
            return False

    @override
    def read_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        self.check(ranges)
        descriptor = self._borrow()
        try:
            if len(ranges) == 1:
                return [self._pread(descriptor, *ranges[0])]
            return merge_ranges(
                ranges, _GAP, lambda spans: [self._pread(descriptor, *span) for span in spans]
            )
        except OSError as exc:
            raise _unreadable(self.uri, exc) from exc
        finally:
            self._give_back()

    def retire(self) -> None:
        """Close the file, as soon as nobody reads."""
        with self._lock:
            self._kept = False
            self._close_if_idle()

    def _pread(self, descriptor: int, offset: int, length: int) -> bytes:
        data = os.pread(descriptor, length, offset)
        while len(data) < length:  # Linux reads 2 GB at once
            more = os.pread(descriptor, length - len(data), offset + len(data))
            if not more:
                raise ImageInvalidError(f"{file_name(self.uri)} was shortened while it was read.")
            data += more
        return data

    def _borrow(self) -> int:
        with self._lock:
            if self._descriptor < 0:
                descriptor, found = _open_regular(self.uri, self._path)
                if found != self.stat:
                    os.close(descriptor)
                    raise ImageInvalidError(f"{file_name(self.uri)} was changed while it was read.")
                self._descriptor = descriptor
            self._readers += 1
            return self._descriptor

    def _give_back(self) -> None:
        with self._lock:
            self._readers -= 1
            self._close_if_idle()

    def _close_if_idle(self) -> None:
        if not self._kept and not self._readers and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


def _open_regular(uri: str, path: Path) -> tuple[int, FileStat]:
    try:
        # Not blocking: opening a named pipe would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        raise _unreadable(uri, exc) from exc
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise BadParameterError(f"{file_name(uri)} is not a regular file.")
    return descriptor, _signature_of(found)


def _local_path(uri: str) -> Path:
    path = Path(uri)
    if not path.is_absolute() or "\0" in uri or ".." in path.parts:
        raise BadParameterError(
            f"{uri[:200]!r} is neither an absolute path without '..' nor s3://bucket/key."
        )
    return path


def _local_stat(path: Path) -> FileStat:
    try:
        found = path.stat()
    except OSError as exc:
        raise _unreadable(str(path), exc) from exc
    if not stat.S_ISREG(found.st_mode):
        raise BadParameterError(f"{path.name} is not a regular file.")
    return _signature_of(found)


def _signature_of(found: os.stat_result) -> FileStat:
    return FileStat(found.st_size, f"{found.st_size}-{found.st_mtime_ns}")


def _unreadable(uri: str, error: OSError) -> Exception:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return NotFoundError(f"The file {file_name(uri)} is not there.")
    return ImageInvalidError(
        f"The file {file_name(uri)} cannot be read: {error.strerror or error}."
    )
