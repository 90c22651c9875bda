"""What a process may use: the machine's, or less where a control group says so."""

from __future__ import annotations

import os
from pathlib import Path

from astrolabe.core.machine import memory_bytes, processors


def test_without_control_groups_it_is_the_machine(tmp_path: Path) -> None:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert memory_bytes(tmp_path) == total
    assert 1 <= processors(tmp_path) <= (os.cpu_count() or 1)


def test_the_smallest_limit_counts(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("104857600\n", encoding="ascii")
    assert memory_bytes(tmp_path) == 104_857_600
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text("52428800\n", encoding="ascii")
    assert memory_bytes(tmp_path) == 52_428_800


def test_no_limit_is_written_as_a_word(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n", encoding="ascii")
    (tmp_path / "cpu.max").write_text("max 100000\n", encoding="ascii")
    assert memory_bytes(tmp_path) == memory_bytes(tmp_path / "nowhere")
    assert processors(tmp_path) == processors(tmp_path / "nowhere")


def test_a_share_of_one_processor_is_one(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("50000 100000\n", encoding="ascii")
    assert processors(tmp_path) == 1
