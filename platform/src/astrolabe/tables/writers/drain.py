"""A file that hands on what is written to it."""

from __future__ import annotations

import io

from typing_extensions import Buffer, override

__all__ = ["Drain"]


class Drain(io.RawIOBase):
    """Collects bytes until they are taken; keeps count of all for formats that store offsets."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._position = 0

    @override
    def writable(self) -> bool:
        return True

    @override
    def tell(self) -> int:
        return self._position

    @override
    def write(self, data: Buffer, /) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._position += len(piece)
        return len(piece)

    def take(self) -> bytes:
        """Return what was written since the last call."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data
