"""Unpacks files that are compressed as a whole, of which no part can be read alone."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Final, cast

from typing_extensions import override

from astrolabe.core.errors import ImageInvalidError
from astrolabe.core.storage import full_disk_is_storage_full
from astrolabe.images.files import ByteSource

__all__ = ["unpack", "unpacked_path"]

_LARGEST: Final = 64 << 30
_MOST_TIMES: Final = 200
"""Images shrink by 2 to 20; more is an attack, or an image of nothing."""
_SMALLEST_LIMIT: Final = 1 << 28
_CHUNK: Final = 1 << 20
_OPENERS: Final[Mapping[str, Callable[[IO[bytes]], IO[bytes]]]] = {
    ".gz": lambda raw: cast("IO[bytes]", gzip.GzipFile(fileobj=raw)),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}


def unpacked_path(uri: str, folder: Path) -> Path:
    """Return where the unpacked copy of a file is kept.

    Parameters
    ----------
    uri
        The packed file.
    folder
        Of the collection's unpacked files.
    """
    name = PurePosixPath(uri).name.rpartition(".")[0]
    return folder / hashlib.sha256(uri.encode()).hexdigest()[:16] / name


def unpack(source: ByteSource, target: Path) -> None:
    """Write an unpacked copy; it appears when it is complete.

    Parameters
    ----------
    source
        A file whose name ends with ``.gz``, ``.bz2`` or ``.xz``.
    target
        Where the copy goes.

    Raises
    ------
    ImageInvalidError
        Raised if the file is broken, packed in another way, or unpacks to more than 200 times its
        size and 256 MB, or to more than 64 GB.
    StorageFullError
        Raised if the disk is full.
    """
    limit = min(_LARGEST, max(source.size * _MOST_TIMES, _SMALLEST_LIMIT))
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    with full_disk_is_storage_full("an unpacked image", clean_up=(temporary,)):
        with temporary.open("wb") as out:
            written = 0
            for chunk in _chunks(source):
                written += len(chunk)
                if written > limit:
                    raise ImageInvalidError(
                        f"It unpacks to more than {limit:,} bytes: it is no packed image."
                    )
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(target)


def _chunks(source: ByteSource) -> Iterator[bytes]:
    raw = io.BufferedReader(_Raw(source), _CHUNK)
    kind = PurePosixPath(source.uri).suffix.lower()
    opened = _OPENERS.get(kind)
    if opened is None:
        raise ImageInvalidError(
            f"Files that end with {kind} cannot be unpacked here, only {', '.join(_OPENERS)}."
        )
    with opened(raw) as stream:
        try:
            while chunk := stream.read(_CHUNK):
                yield chunk
        except (EOFError, zlib.error, lzma.LZMAError, OSError) as exc:
            raise ImageInvalidError(f"It cannot be unpacked: {exc}.") from exc


class _Raw(io.RawIOBase):
    """The bytes of a source from its beginning."""

    def __init__(self, source: ByteSource) -> None:
        self._source, self._place = source, 0

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: object) -> int:
        view = memoryview(cast("bytearray", buffer))
        length = min(len(view), self._source.size - self._place)
        view[:length] = self._source.read(self._place, length)
        self._place += length
        return length
