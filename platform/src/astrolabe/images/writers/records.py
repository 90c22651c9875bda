"""Many FITS records of one layout at once: a template for all, and what is pasted into each."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from astrolabe.images.fits.cards import BLOCK, CARD
from astrolabe.images.writers.fits import Storage, header_block

__all__ = [
    "TAR_BLOCK",
    "RecordLayout",
    "card_place",
    "paste",
    "paste_tar_headers",
    "pixels_of",
    "tar_header",
]

Bytes = npt.NDArray[np.uint8]

TAR_BLOCK: Final = 512
_TAR_NAME: Final = slice(0, 100)
_TAR_SUM: Final = slice(148, 156)


class RecordLayout:
    """The layout of records that differ in some cards and in their pixels.

    Parameters
    ----------
    lead
        Bytes to leave in front.
    """

    def __init__(self, lead: int = 0) -> None:
        self.size = lead
        self._templates: list[tuple[int, Bytes]] = []

    def add_header(self, cards: Sequence[str]) -> int:
        """Add a header; return where its first card is."""
        place = self.size
        block = np.frombuffer(header_block(cards), np.uint8)
        self._templates.append((place, block))
        self.size += len(block)
        return place

    def add_data(self, shape: Sequence[int], storage: Storage) -> int:
        """Add room for pixels, filled up to whole blocks; return where it is."""
        place = self.size
        size = int(np.prod(shape, dtype=np.int64)) * storage.stored.itemsize
        self.size += size + -size % BLOCK
        return place

    def add_room(self, size: int) -> int:
        """Add room for bytes that are pasted later; return where it is."""
        place = self.size
        self.size += size
        return place

    def fill_up(self, block: int) -> None:
        """Make records a multiple of `block` bytes long."""
        self.size += -self.size % block

    def build(self, count: int) -> Bytes:
        """Return records (count, size) with all that is the same in them."""
        records = np.zeros((count, self.size), np.uint8)
        for place, template in self._templates:
            records[:, place : place + len(template)] = template
        return records


def pixels_of(
    records: Bytes, place: int, shape: Sequence[int], dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """Return the pixels at a place of all records as an array (n, *shape) that can be written."""
    steps = [dtype.itemsize]
    for length in reversed(shape[1:]):
        steps.insert(0, steps[0] * length)
    return np.ndarray(
        (len(records), *shape),
        dtype,
        buffer=records.data,
        offset=place,
        strides=(records.shape[1], *steps),
    )


def paste(records: Bytes, place: int, cards: Bytes) -> None:
    """Paste characters (n, k) into each record."""
    records[:, place : place + cards.shape[1]] = cards


def card_place(cards: Sequence[str], keyword: str) -> int | None:
    """Return where the first card of a keyword is, counted from the header's begin (bytes)."""
    name = keyword.ljust(8)
    for number, card in enumerate(cards):
        if card.startswith(name):
            return number * CARD
    return None


@lru_cache(maxsize=64)  # most stamps of a bundle have the same size
def _nameless_tar_header(size: int, modified: int) -> Bytes:
    return np.frombuffer(tar_header("", size, modified), np.uint8)


def tar_header(name: str, size: int, modified: int) -> bytes:
    """Return the header of a file in a tar (POSIX ustar)."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, modified, 0o644
    return info.tobuf(tarfile.USTAR_FORMAT)


def paste_tar_headers(records: Bytes, names: Sequence[str], size: int, modified: int) -> None:
    """Write the header of a file of `size` bytes at the begin of each record.

    Parameters
    ----------
    records : (n, size)
        Their first 512 bytes are overwritten.
    names
        Up to 100 ASCII characters each.
    size
        Of each file (bytes).
    modified
        When the files were made (s since 1970).
    """
    headers = records[:, :TAR_BLOCK]
    headers[...] = _nameless_tar_header(size, modified)
    wide = np.array([name.encode("ascii") for name in names], dtype="S100")
    headers[:, _TAR_NAME] = wide.view(np.uint8).reshape(len(names), 100)
    headers[:, _TAR_SUM] = ord(" ")
    sums = headers.sum(axis=1, dtype=np.int64)
    digits = (sums[:, None] >> np.arange(15, -1, -3)) & 7
    headers[:, 148:154] = digits + ord("0")
    headers[:, 154] = 0
