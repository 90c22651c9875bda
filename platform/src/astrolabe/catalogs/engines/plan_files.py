"""The only file system that the embedded engine can see.

DuckDB's own access to files is switched off.  It reads through ``plan://`` addresses, and these
open, read-only, exactly the files that some running plan lists.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from fsspec.spec import AbstractFileSystem
from typing_extensions import override

__all__ = ["PROTOCOL", "PlanFileSystem", "plan_address"]

PROTOCOL = "plan"


def plan_address(path: str) -> str:
    """Return the address under which the engine opens the file at `path`."""
    return f"{PROTOCOL}://{path}"


class PlanFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Opens the files on the running plans' lists and nothing else; never writes.

    Addresses name the file itself, so that the engine's cache of footers serves later queries of
    the same immutable file.
    """

    protocol = PROTOCOL
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._listed: Counter[str] = Counter()

    @contextmanager
    def listing(self, paths: Iterable[str]) -> Iterator[None]:
        """Let the engine open `paths` inside the block."""
        names = tuple(paths)
        with self._lock:
            self._listed.update(names)
        try:
            yield
        finally:
            with self._lock:
                self._listed.subtract(names)
                for name in names:
                    if self._listed[name] <= 0:
                        del self._listed[name]

    @override
    def _open(self, path: str, mode: str = "rb", **_options: Any) -> PlanFile:
        if mode != "rb":
            raise PermissionError(f"plan files are read-only, mode {mode!r} is refused")
        return PlanFile(self._local(path))

    @override
    def info(self, path: str, **_options: Any) -> dict[str, Any]:
        size = os.stat(self._local(path)).st_size  # noqa: PTH116 - one call, no Path needed
        return {"name": path, "size": size, "type": "file"}

    @override
    def ls(self, path: str, detail: bool = True, **_options: Any) -> list[Any]:
        raise FileNotFoundError(f"no running plan lists {path!r}; plan files cannot be listed")

    @override
    def exists(self, path: str, **_options: Any) -> bool:
        try:
            self._local(path)
        except FileNotFoundError:
            return False
        return True

    @override
    def modified(self, path: str) -> datetime:
        # Files of a version never change.
        self._local(path)
        return datetime.fromtimestamp(0, UTC)

    def _local(self, path: str) -> str:
        name = path.removeprefix(f"{PROTOCOL}://")
        with self._lock:
            if name in self._listed:
                return name
        raise FileNotFoundError(f"no running plan lists {path!r}")


class PlanFile:
    """A file open for reading by several threads at once.

    The engine's threads share one object and call `seek` and `read` one after the other; a
    position for each thread keeps them apart.
    """

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        self._size = os.fstat(self._descriptor).st_size
        self._thread = threading.local()
        self.closed = False

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move this thread's position and return it."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._size}[whence]
        self._thread.position = start + offset
        return start + offset

    def tell(self) -> int:
        """Return this thread's position."""
        return int(getattr(self._thread, "position", 0))

    def read(self, size: int = -1) -> bytes:
        """Read from this thread's position."""
        position = self.tell()
        data = os.pread(self._descriptor, self._size - position if size < 0 else size, position)
        self._thread.position = position + len(data)
        return data

    def seekable(self) -> bool:
        """Return true."""
        return True

    def readable(self) -> bool:
        """Return true."""
        return True

    def writable(self) -> bool:
        """Return false."""
        return False

    def close(self) -> None:
        """Close the file."""
        if not self.closed:
            self.closed = True
            os.close(self._descriptor)

    def __del__(self) -> None:
        self.close()
