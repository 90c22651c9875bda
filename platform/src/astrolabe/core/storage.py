"""What a full disk means to whoever writes files."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from astrolabe.core.errors import StorageFullError

__all__ = ["full_disk_is_storage_full", "is_full_disk"]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def is_full_disk(error: OSError) -> bool:
    """Tell whether an error means that there is no room left (Arrow puts errno into the text)."""
    return error.errno in _FULL or any(f"[errno {code}]" in str(error) for code in _FULL)


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
