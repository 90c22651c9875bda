"""Fixtures: a catalog store in an empty folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from astrolabe.catalogs.store import CatalogStore

from .sources import opened_store


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    (folder / "tables").mkdir(parents=True)
    return folder


@pytest.fixture
def store(home: Path) -> Iterator[CatalogStore]:
    with opened_store(home) as store:
        yield store
