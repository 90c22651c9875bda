"""Files as bytes that are read by ranges."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from typing_extensions import override

from astrolabe.core.errors import ImageInvalidError

__all__ = ["ByteSource", "BytesSource", "FileStat", "Range", "file_name", "merge_ranges"]

Range = tuple[int, int]
"""Offset and length (bytes)."""

_Fetch = Callable[[Sequence[Range]], list[bytes]]
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

    def check(self, ranges: Sequence[Range]) -> None:
        """Make sure that the file has some ranges.

        Raises
        ------
        ImageInvalidError
            Raised if it has not.
        """
        for offset, length in ranges:
            if offset < 0 or length < 0 or offset + length > self.size:
                raise ImageInvalidError(
                    f"{file_name(self.uri)} has {self.size:,} bytes; {length:,} bytes from byte "
                    f"{offset:,} are not there: its index does not fit it or it is broken."
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
        self.check(ranges)
        return [self._data[offset : offset + length] for offset, length in ranges]


def file_name(uri: str) -> str:
    """Return what messages call a file: who may read an image need not know where it is kept."""
    return uri.rpartition("/")[2] or uri


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
