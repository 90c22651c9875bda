"""Memory that was freed goes back to the system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from astrolabe.core.memory import give_back_memory

PAGE = os.sysconf("SC_PAGE_SIZE")
MEGABYTE = 1 << 20


def resident() -> int:
    """Return the memory of this process (bytes)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_what_was_freed_below_something_in_use_is_given_back() -> None:
    blocks = [bytes(64 << 10) + b"x" for _ in range(1600)]  # 100 MB
    kept = blocks[:: len(blocks) // 16]
    blocks.clear()
    give_back_memory()
    before = resident()
    blocks = [os.urandom(64 << 10) for _ in range(1600)]
    kept += blocks[-1:]
    assert resident() - before > 80 * MEGABYTE
    blocks.clear()
    give_back_memory()
    assert resident() - before < 30 * MEGABYTE
    assert kept
