"""Tables to import, and reading back what became of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from astrolabe.catalogs.iceberg import IcebergTables
from astrolabe.catalogs.importing import ImportOptions
from astrolabe.catalogs.locks import LEASE_SECONDS
from astrolabe.catalogs.model import TableVersion
from astrolabe.catalogs.store import CatalogStore
from astrolabe.core.database import Database
from astrolabe.core.migrate import upgrade
from astrolabe.tables.conform import result_schema
from astrolabe.tables.model import Column, CoordinateSystem, Datatype
from astrolabe.tables.source import SourceMeta

OBJECT_COLUMNS = (
    Column(name="objectId", datatype=Datatype.LONG, description="Identifier"),
    Column(name="ra", datatype=Datatype.DOUBLE, unit="deg"),
    Column(name="dec", datatype=Datatype.DOUBLE, unit="deg"),
    Column(name="mag", datatype=Datatype.FLOAT, unit="mag", ucd="phot.mag"),
    Column(name="name", datatype=Datatype.CHAR, arraysize="*"),
)


@dataclass(frozen=True, kw_only=True)
class MemorySource:
    """A table in memory as a source."""

    meta: SourceMeta
    table: pa.Table

    def batches(self, *, max_rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        yield from self.table.to_batches(max_chunksize=max_rows)


def source_of(
    columns: Sequence[Column], *arrays: Any, system: CoordinateSystem | None = None
) -> MemorySource:
    """Make a source of these columns and values."""
    schema = result_schema(columns)
    table = pa.table(
        [pa.array(a, field.type) for a, field in zip(arrays, schema, strict=True)], schema=schema
    )
    meta = SourceMeta(columns=tuple(columns), row_count=table.num_rows, coordinate_system=system)
    return MemorySource(meta=meta, table=table)


def positions(count: int, *, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Return positions all over the sky, with a dense field and both poles among them."""
    rng = np.random.default_rng(seed)
    ra = rng.uniform(0.0, 360.0, count)
    dec = np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, count)))
    dense = count // 2
    ra[:dense] = np.mod(rng.normal(0.0, 2.0, dense), 360.0)
    dec[:dense] = rng.normal(-30.0, 2.0, dense)
    ra[-4:] = 0.0, 123.0, 359.9999999, 0.0
    dec[-4:] = 90.0, -90.0, 0.0, -0.0
    return ra, dec


def objects(count: int, *, seed: int = 7, first_id: int = 0) -> MemorySource:
    """Return a source of objects."""
    ra, dec = positions(count, seed=seed)
    rng = np.random.default_rng(seed + 1)
    ids = np.arange(first_id, first_id + count)
    return source_of(
        OBJECT_COLUMNS,
        ids,
        ra,
        dec,
        rng.normal(20.0, 1.0, count),
        [None if i % 7 == 0 else f"object {i}" for i in ids.tolist()],
    )


def options(**changes: Any) -> ImportOptions:
    """Return options for a small table ``dr1.object`` that still has many partitions."""
    given: dict[str, Any] = {
        "schema": "dr1",
        "table": "object",
        "id_column": "objectId",
        "rows_per_file": 500,
        "rows_per_group": 100,
        "memory_mb": 1,
        "margin_arcsec": 3600.0,
        "threads": 2,
    }
    return ImportOptions(**(given | changes))


@contextmanager
def opened_store(home: Path, *, lease_seconds: float = LEASE_SECONDS) -> Iterator[CatalogStore]:
    """Open the store of a folder; makes its databases."""
    database = Database(f"sqlite:///{home / 'control.db'}")
    upgrade(database)
    iceberg = IcebergTables(f"sqlite:///{home / 'catalog.db'}", warehouse=home / "tables")
    try:
        yield CatalogStore(
            database,
            tables_root=home / "tables",
            iceberg=iceberg,
            lease_seconds=lease_seconds,
            durable=False,
        )
    finally:
        iceberg.close()
        database.close()


def current(store: CatalogStore, name: str = "object") -> TableVersion:
    """Return the version of ``dr1.{name}`` that readers see."""
    version = store.view(fresh=True).table("dr1", name)
    assert version is not None
    return version


def stored_rows(version: TableVersion) -> pa.Table:
    """Return all rows in the order of the files, as they are stored."""
    tables = [pq.ParquetFile(Path(version.root) / path).read() for path in version.index.paths]
    return pa.concat_tables(tables)
