"""What this process may use of its machine: the cgroup's limit where there is one."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["memory_bytes", "processors"]

_CGROUP_ROOT = Path("/sys/fs/cgroup")


def memory_bytes(cgroup_root: Path = _CGROUP_ROOT) -> int:
    """Return the memory that this process may use (bytes): the machine's or the cgroup's.

    Parameters
    ----------
    cgroup_root
        Where the kernel shows control groups.
    """
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [total]
    for folder in _own_cgroups(cgroup_root):
        for name in ("memory.max", "memory.limit_in_bytes"):  # versions 2 and 1
            value = _read_number(folder / name)
            if value is not None:
                limits.append(value)
    return min(limits)


def processors(cgroup_root: Path = _CGROUP_ROOT) -> int:
    """Return how many processors this process may keep busy; at least 1.

    Parameters
    ----------
    cgroup_root
        Where the kernel shows control groups.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    allowed = float(count or 1)
    for folder in _own_cgroups(cgroup_root):
        try:
            quota, period = (folder / "cpu.max").read_text("ascii").split()
            if quota != "max":
                allowed = min(allowed, int(quota) / int(period))
        except (OSError, ValueError):
            continue
    return max(1, int(allowed))


def _own_cgroups(cgroup_root: Path) -> list[Path]:
    """Return this process's control group and all above it; limits of each one count."""
    folders = [cgroup_root, cgroup_root / "memory"]
    try:
        lines = Path("/proc/self/cgroup").read_text("ascii").splitlines()
    except OSError:
        return folders
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in {"", "memory"}:
            continue
        folder = cgroup_root / controllers
        for part in Path(path.lstrip("/")).parts:
            folder /= part
            folders.append(folder)
    return folders


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):  # no such file, or "max"
        return None
