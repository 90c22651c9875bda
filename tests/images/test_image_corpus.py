"""The tool that tries folders of images, on images of our own of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.images import (
    WCS_KINDS,
    write_bomb,
    write_compressed,
    write_lookup_image,
    write_plain,
    write_wcs_image,
)
from tests.tools.image_corpus import main, run


def test_images_of_every_kind(tmp_path: Path) -> None:
    shape = (90, 100)
    for kind in WCS_KINDS:
        write_wcs_image(tmp_path / f"{kind}.fits", kind, shape=shape)
    write_lookup_image(tmp_path / "lookup.fits", shape=shape)
    encodings = ["rice-i16", "gzip1-i16", "plio-i16", "hcompress-i16"]
    for kind in encodings:
        write_compressed(tmp_path / f"same-{kind}.fits", kind, shape=shape)
    write_plain(tmp_path / "same-plain.fits", "i16", shape=shape)
    write_bomb(tmp_path / "bomb.fits", 10**6, 10**6)
    report = run(tmp_path)
    assert report.faults == []
    assert sorted(next(names for names in report.same.values() if len(names) == 5)) == sorted(
        ["same-plain.fits[0]", *(f"same-{kind}.fits[1]" for kind in encodings)]
    )
    assert sum("off" in line for line in report.lines) == len(WCS_KINDS) + 1 + 5
    assert sum("refused" in line for line in report.lines) == 1


def test_nothing_to_try_is_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 1
    assert "0 lines" in capsys.readouterr().out
