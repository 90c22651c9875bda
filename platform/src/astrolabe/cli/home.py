"""A home in use: its lock, and the file that says where its platform is reached."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from astrolabe.core.errors import ConflictError

__all__ = ["HomeLock", "read_platform", "remove_platform", "write_platform"]


class HomeLock:
    """Keeps a second platform from running on the same home.

    The lock is the kernel's and goes with the process that holds it, so none is ever left behind.

    Parameters
    ----------
    run
        The home's folder ``run``.

    Raises
    ------
    ConflictError
        Raised if another process holds the lock.
    """

    def __init__(self, run: Path) -> None:
        self._descriptor = os.open(run / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(self._descriptor)
            other = read_platform(run) or {}
            process = f" (process {other['pid']}, {other['address']})" if other else ""
            raise ConflictError(
                f"a platform is running on {run.parent} already{process}; stop it, or choose "
                "another folder with --home"
            ) from exc

    def release(self) -> None:
        """Let the next one in."""
        os.close(self._descriptor)


def write_platform(run: Path, content: Mapping[str, Any]) -> None:
    """Write ``platform.json`` so that a reader finds the whole of it or none.

    Parameters
    ----------
    run
        The home's folder ``run``.
    content
        ``pid``, ``address``, ``public_url``, ``ports`` by name, ``started`` (UTC).
    """
    temporary = run / f"platform.json.{os.getpid()}"
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(run / "platform.json")


def read_platform(run: Path) -> dict[str, Any] | None:
    """Read ``platform.json``; None if there is none that can be read.

    Parameters
    ----------
    run
        The home's folder ``run``.
    """
    try:
        content = json.loads((run / "platform.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return cast("dict[str, Any]", content) if isinstance(content, dict) else None


def remove_platform(run: Path) -> None:
    """Remove ``platform.json``: nothing runs here any more.

    Parameters
    ----------
    run
        The home's folder ``run``.
    """
    (run / "platform.json").unlink(missing_ok=True)
