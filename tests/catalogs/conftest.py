"""Fixtures: a catalog store on both control databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyiceberg.catalog.sql
import pyiceberg.io.pyarrow  # noqa: F401 - seconds that no test's own time should pay for
import pytest

from astrolabe.catalogs.iceberg import IcebergTables
from astrolabe.catalogs.store import CatalogStore
from astrolabe.core.database import Database

pa.array([0])  # the same: the first array makes pyarrow look for pandas


@pytest.fixture
def tables_root(tmp_path: Path) -> Path:
    root = tmp_path / "tables"
    root.mkdir()
    return root


@pytest.fixture
def iceberg_url(tmp_path: Path, database: Database) -> str:
    """Iceberg's catalog is in SQLite with SQLite, and in PostgreSQL with PostgreSQL."""
    if database.is_sqlite:
        return f"sqlite:///{tmp_path / 'catalog.db'}"
    return database.engine.url.render_as_string(hide_password=False)


@pytest.fixture
def iceberg(iceberg_url: str, tables_root: Path) -> Iterator[IcebergTables]:
    tables = IcebergTables(iceberg_url, warehouse=tables_root)
    yield tables
    tables.close()


@pytest.fixture
def store(database: Database, tables_root: Path, iceberg: IcebergTables) -> CatalogStore:
    return CatalogStore(database, tables_root=tables_root, iceberg=iceberg, durable=False)
