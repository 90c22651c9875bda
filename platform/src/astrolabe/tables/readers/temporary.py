"""Files that live as long as the source that reads them."""

from __future__ import annotations

import gzip
import os
import tempfile
import weakref
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from astrolabe.tables.readers.base import Refusal

__all__ = ["gunzipped", "temporary_file"]

_CHUNK = 4 * 1024 * 1024


def temporary_file(owner: object, pieces: Iterable[bytes], suffix: str) -> Path:
    """Write `pieces` to a file that is removed when `owner` is no longer used."""
    handle, name = tempfile.mkstemp(prefix="astrolabe-", suffix=suffix)
    path = Path(name)
    weakref.finalize(owner, path.unlink, missing_ok=True)
    with os.fdopen(handle, "wb") as file:
        for piece in pieces:
            file.write(piece)
    return path


def gunzipped(path: Path, refuse: Refusal, *, limit: int | None = None) -> Iterator[bytes]:
    """Yield the content of a gzip file.

    Parameters
    ----------
    path
        Of the file.
    refuse
        Makes the error if it is broken or too large.
    limit
        The most bytes that it may hold.
    """
    total = 0
    try:
        with gzip.open(path, "rb") as file:
            while piece := file.read(_CHUNK):
                total += len(piece)
                if limit is not None and total > limit:
                    raise refuse(f"holds more than {limit} bytes when decompressed")
                yield piece
    except (OSError, EOFError, zlib.error) as exc:
        raise refuse(f"is broken or cut off gzip: {exc}") from exc
