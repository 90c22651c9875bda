"""What a full disk means to whoever writes files."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from astrolabe.core.errors import StorageFullError

__all__ = ["full_disk_is_storage_full", "is_full_disk"]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def is_full_disk(error: Exception) -> bool:
    """Tell whether an error means that there is no room left.

    Arrow and DuckDB put the number or the system's words for it into their own messages.
    """
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    text = str(error)
    return any(f"[errno {code}]" in text or os.strerror(code) in text for code in _FULL)


@contextmanager
def full_disk_is_storage_full(what: str, *, clean_up: tuple[Path, ...] = ()) -> Iterator[None]:
    """Turn "no space left" into `StorageFullError` and remove half-written files on any error.

    Parameters
    ----------
    what
        What was being written, for the message.
    clean_up
        Files to remove if the block fails.

    Raises
    ------
    StorageFullError
        Raised if the disk, a quota or a file size limit was full.
    """
    try:
        yield
    except BaseException as exc:
        for path in clean_up:
            path.unlink(missing_ok=True)
        if isinstance(exc, OSError) and is_full_disk(exc):
            raise StorageFullError(
                f"There is no room left to write {what}; nothing was kept of it. "
                "Free some space and try again."
            ) from exc
        raise
