"""Bytes of image files: local ones and those of an object store, read by ranges.

Only what stands in a record (or what an administrator names at the command line) is ever opened:
no part of a request becomes a path.
"""

from __future__ import annotations

import os
import stat
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from typing_extensions import override

from astrolabe.core.errors import BadParameterError, ImageInvalidError, NotFoundError, OverloadError

if TYPE_CHECKING:
    from obstore.store import S3Store

__all__ = ["ByteSource", "BytesSource", "FileStat", "ImageFiles", "S3Options", "merge_ranges"]

Range = tuple[int, int]
"""Offset and length (bytes)."""

_Fetch = Callable[[Sequence[Range]], list[bytes]]

_LOCAL_GAP: Final = 4096
_S3_GAP: Final = 32_768
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class FileStat:
    """What is known of a file without reading it.

    Parameters
    ----------
    size
        Bytes.
    signature
        Another one when the file has changed: size and time of change, or the store's ETag.
    """

    size: int
    signature: str


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Options:
    """How to reach the object store of ``s3://`` files.

    Parameters
    ----------
    endpoint
        Its address; by default that of AWS.
    region
        By default ``us-east-1``.
    access_key, secret_key
        Without them requests are not signed.
    """

    endpoint: str | None = None
    region: str | None = None
    access_key: str | None = None
    secret_key: str | None = None


class ByteSource(ABC):
    """A file that is read by ranges, by several threads at once.

    Parameters
    ----------
    uri
        What it is called in records.
    stat
        Its size and signature when it was opened.
    """

    def __init__(self, uri: str, stat: FileStat) -> None:
        self.uri = uri
        self.stat = stat

    @property
    def size(self) -> int:
        """Bytes."""
        return self.stat.size

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`.

        Raises
        ------
        ImageInvalidError
            Raised if the file ends before them.
        """
        return self.read_ranges([(offset, length)])[0]

    @abstractmethod
    def read_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        """Return the bytes of several ranges (offset, length), in their order.

        What lies close together is read at once.

        Raises
        ------
        ImageInvalidError
            Raised if the file ends before them.
        NotFoundError
            Raised if the file is gone.
        """

    def chunks(self, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield a part of the file, by default all, by the megabyte."""
        end = self.size if length is None else min(self.size, offset + length)
        while offset < end:
            step = min(_CHUNK, end - offset)
            yield self.read(offset, step)
            offset += step

    def _check(self, ranges: Sequence[Range]) -> None:
        for offset, length in ranges:
            if offset < 0 or length < 0 or offset + length > self.size:
                raise ImageInvalidError(
                    f"{self.uri} has {self.size:,} bytes; {length:,} bytes from byte {offset:,} "
                    "are not there: its index does not fit it or it is broken."
                )


class BytesSource(ByteSource):
    """Bytes in memory as a file.

    Parameters
    ----------
    name
        What messages call it.
    data
        All of it.
    """

    def __init__(self, name: str, data: bytes) -> None:
        super().__init__(name, FileStat(len(data), str(len(data))))
        self._data = data

    @override
    def read_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        self._check(ranges)
        return [self._data[offset : offset + length] for offset, length in ranges]


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
        self._s3_files: OrderedDict[str, _S3Source] = OrderedDict()
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
            return _s3_stat(*self._bucket(uri), uri)
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
            return _S3Source(uri, _s3_stat(store, key, uri), store, key)
        return self._open_local(uri)

    def open_known(self, uri: str, size: int) -> ByteSource:
        """Return the bytes of a file whose size is known, without a request for that.

        A file of the object store is not looked at until it is read; a local one that has another
        size by now is an error.

        Raises
        ------
        ImageInvalidError
            Raised if the file has another size.
        NotFoundError
            Raised if there is no such file.
        """
        if uri.startswith("s3://"):
            return self._remember_s3(uri, size)
        source = self._open_local(uri)
        if source.size != size:
            raise ImageInvalidError(
                f"{uri} has {source.size:,} bytes, but {size:,} when it was imported: import it "
                "again."
            )
        return source

    def list(self, uri: str) -> Iterator[tuple[str, FileStat]]:
        """Yield the files below a prefix ``s3://bucket/prefix`` with what is known of them."""
        import obstore  # noqa: PLC0415 - 40 ms that only object stores need

        store, prefix = self._bucket(uri, key_needed=False)
        bucket = urlsplit(uri).netloc
        for batch in obstore.list(store, prefix or None):
            for entry in batch:
                stat_ = FileStat(entry["size"], _s3_signature(entry["size"], entry["e_tag"]))
                yield f"s3://{bucket}/{entry['path']}", stat_

    def close(self) -> None:
        """Close all files; sources that were given out end."""
        with self._lock:
            sources, self._local = list(self._local.values()), OrderedDict()
        for source in sources:
            source.close()

    def _open_local(self, uri: str) -> _LocalSource:
        with self._lock:
            known = self._local.get(uri)
            if known is not None:
                self._local.move_to_end(uri)
        path = _local_path(uri)
        if known is not None and known.is_current(path):
            return known
        source = _LocalSource.open(uri, path)
        with self._lock:
            self._local[uri] = source
            self._local.move_to_end(uri)
            while len(self._local) > self._limit:
                # Whoever still reads from it keeps it open until it is done.
                self._local.popitem(last=False)
        return source

    def _remember_s3(self, uri: str, size: int) -> ByteSource:
        with self._lock:
            known = self._s3_files.get(uri)
            if known is not None and known.size == size:
                self._s3_files.move_to_end(uri)
                return known
        store, key = self._bucket(uri)
        source = _S3Source(uri, FileStat(size, f"{size}"), store, key)
        with self._lock:
            self._s3_files[uri] = source
            while len(self._s3_files) > self._limit:
                self._s3_files.popitem(last=False)
        return source

    def _bucket(self, uri: str, *, key_needed: bool = True) -> tuple[S3Store, str]:
        parts = urlsplit(uri)
        key = unquote(parts.path.removeprefix("/")) if "%" in parts.path else parts.path[1:]
        if (
            not parts.netloc
            or (key_needed and not key)
            or parts.query
            or parts.fragment
            or ".." in PurePosixPath(key).parts
        ):
            raise BadParameterError(f"{uri[:200]!r} is no address like s3://bucket/key.")
        with self._lock:
            store = self._stores.get(parts.netloc)
            if store is None:
                store = self._stores[parts.netloc] = _s3_store(parts.netloc, self._s3)
        return store, key


class _LocalSource(ByteSource):
    """A local file, kept open: one system call a range, and no mapping.

    A mapped file that somebody shortens ends the whole process by a signal.
    """

    def __init__(self, uri: str, stat_: FileStat, descriptor: int) -> None:
        super().__init__(uri, stat_)
        self._descriptor = descriptor

    @classmethod
    def open(cls, uri: str, path: Path) -> _LocalSource:
        try:
            # Not blocking: opening a named pipe would wait for ever.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as exc:
            raise _unreadable(uri, exc) from exc
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            os.close(descriptor)
            raise BadParameterError(f"{uri} is not a regular file.")
        return cls(uri, _signature_of(found), descriptor)

    def is_current(self, path: Path) -> bool:
        try:
            return _signature_of(path.stat()) == self.stat
        except OSError:
            return False

    @override
    def read(self, offset: int, length: int) -> bytes:
        self._check(((offset, length),))
        return self._pread(offset, length)

    @override
    def read_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        self._check(ranges)
        if len(ranges) == 1:
            return [self._pread(*ranges[0])]
        return merge_ranges(ranges, _LOCAL_GAP, lambda spans: [self._pread(*s) for s in spans])

    def _pread(self, offset: int, length: int) -> bytes:
        try:
            data = os.pread(self._descriptor, length, offset)
            while len(data) < length:  # Linux reads 2 GB at once
                more = os.pread(self._descriptor, length - len(data), offset + len(data))
                if not more:
                    raise ImageInvalidError(f"{self.uri} was shortened while it was read.")
                data += more
        except OSError as exc:
            raise _unreadable(self.uri, exc) from exc
        return data

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


class _S3Source(ByteSource):
    """A file of the object store: one request for ranges that lie close together."""

    def __init__(self, uri: str, stat_: FileStat, store: S3Store, key: str) -> None:
        super().__init__(uri, stat_)
        self._store, self._key = store, key

    @override
    def read_ranges(self, ranges: Sequence[Range]) -> list[bytes]:
        self._check(ranges)
        return merge_ranges(ranges, _S3_GAP, self._fetch)

    def _fetch(self, spans: Sequence[Range]) -> list[bytes]:
        import obstore  # noqa: PLC0415 - 40 ms that only object stores need

        try:
            found = obstore.get_ranges(
                self._store,
                self._key,
                starts=[offset for offset, _ in spans],
                lengths=[length for _, length in spans],
                coalesce=0,  # they are merged already
            )
        except Exception as exc:
            raise _s3_error(self.uri, exc) from exc
        data = [bytes(part) for part in found]
        if any(len(part) != length for part, (_, length) in zip(data, spans, strict=True)):
            raise ImageInvalidError(f"{self.uri} is shorter than when it was imported.")
        return data


def merge_ranges(ranges: Sequence[Range], gap: int, fetch: _Fetch) -> list[bytes]:
    """Read ranges with fewer requests, where they lie close together.

    Parameters
    ----------
    ranges
        Offset and length (bytes), in any order; they may overlap.
    gap
        Ranges with so many bytes or fewer between them are read at once; never more bytes are
        wasted than are needed, altogether.
    fetch
        Reads ranges that do not overlap.

    Returns
    -------
    list of bytes
        In the order of `ranges`.
    """
    order = sorted(range(len(ranges)), key=ranges.__getitem__)
    spans: list[tuple[int, int]] = []
    place = [0] * len(ranges)
    allowed = sum(length for _, length in ranges)
    for i in order:
        offset, length = ranges[i]
        end = offset + length
        if spans:
            first, last = spans[-1]
            between = max(offset - last, 0)
            if between <= min(gap, allowed):
                allowed -= between
                spans[-1] = (first, max(last, end))
                place[i] = len(spans) - 1
                continue
        spans.append((offset, end))
        place[i] = len(spans) - 1
    data = fetch([(first, last - first) for first, last in spans])
    result = []
    for i, (offset, length) in enumerate(ranges):
        first, last = spans[place[i]]
        part = data[place[i]]
        whole = (offset, offset + length) == (first, last)
        result.append(part if whole else part[offset - first : offset - first + length])
    return result


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
        raise BadParameterError(f"{path} is not a regular file.")
    return _signature_of(found)


def _signature_of(found: os.stat_result) -> FileStat:
    return FileStat(found.st_size, f"{found.st_size}-{found.st_mtime_ns}")


def _unreadable(uri: str, error: OSError) -> Exception:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return NotFoundError(f"The file {uri} is not there.")
    return ImageInvalidError(f"The file {uri} cannot be read: {error.strerror or error}.")


def _s3_store(bucket: str, options: S3Options) -> S3Store:
    from obstore.store import S3Store  # noqa: PLC0415 - 40 ms that only object stores need

    config: dict[str, object] = {"region": options.region or "us-east-1"}
    if options.endpoint:
        config["endpoint"] = options.endpoint
        config["virtual_hosted_style_request"] = False
    if options.access_key and options.secret_key:
        config["access_key_id"] = options.access_key
        config["secret_access_key"] = options.secret_key
    else:
        config["skip_signature"] = True
    plain = (options.endpoint or "").startswith("http://")
    return S3Store(bucket, config=config, client_options={"allow_http": plain, "timeout": "60s"})


def _s3_stat(store: S3Store, key: str, uri: str) -> FileStat:
    import obstore  # noqa: PLC0415 - 40 ms that only object stores need

    try:
        found = obstore.head(store, key)
    except Exception as exc:
        raise _s3_error(uri, exc) from exc
    return FileStat(found["size"], _s3_signature(found["size"], found["e_tag"]))


def _s3_signature(size: int, tag: str | None) -> str:
    tag = (tag or "").strip('"')
    return f"{size}-{tag}"[:200]


def _s3_error(uri: str, error: Exception) -> Exception:
    name = type(error).__name__
    if isinstance(error, FileNotFoundError) or name == "NotFoundError":
        return NotFoundError(f"The object store has no {uri}.")
    if "Permission" in name or "Unauth" in name:
        return ImageInvalidError(f"The object store refuses to give {uri}.")
    return OverloadError(f"The object store did not answer with {uri}; try again later.")
