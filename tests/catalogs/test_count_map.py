"""Rows counted by place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from astrolabe.catalogs import count_map
from astrolabe.catalogs.count_map import CountMap
from astrolabe.core.errors import InternalError
from astrolabe.sky.healpix import healpix_29


def sorted_keys(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.sort(healpix_29(rng.uniform(0, 360, count), rng.uniform(-89, 89, count)))


def test_counts_are_those_of_a_plain_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(count_map, "_KEYS_AT_ONCE", 700)
    monkeypatch.setattr(count_map, "_PENDING_CELLS", 1500)
    runs = [sorted_keys(5000, 1), sorted_keys(0, 2), sorted_keys(3000, 3)]
    counts = CountMap()
    for run in runs:
        counts.add(run)
    every = np.concatenate(runs)
    for order in (10, 8, 0):
        cells, expected = np.unique(every >> (2 * (29 - order)), return_counts=True)
        found = counts if order == 10 else counts.at(order)
        assert np.array_equal(found.cells, cells)
        assert np.array_equal(found.counts, expected)


def test_a_map_comes_back(tmp_path: Path) -> None:
    counts = CountMap()
    counts.add(sorted_keys(1000, 4))
    counts.write(tmp_path)
    found = CountMap.read(tmp_path)
    assert found is not None
    assert np.array_equal(found.cells, counts.cells)
    assert np.array_equal(found.counts, counts.counts)
    assert fits.getheader(tmp_path / "skymap.10.fits", 1)["NSIDE"] == 1024


def test_an_empty_map_comes_back(tmp_path: Path) -> None:
    CountMap().write(tmp_path)
    found = CountMap.read(tmp_path)
    assert found is not None
    assert not len(found.cells)


def test_no_map_is_told_from_a_broken_one(tmp_path: Path) -> None:
    assert CountMap.read(tmp_path) is None
    (tmp_path / "skymap.10.fits").write_bytes(b"SIMPLE")
    with pytest.raises(InternalError, match="cannot be read"):
        CountMap.read(tmp_path)
