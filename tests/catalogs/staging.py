"""Small versions of tables, written as an importer would, for tests of the store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from astrolabe.catalogs.iceberg import iceberg_arrow_schema
from astrolabe.catalogs.model import PartitionIndex, TableVersion
from astrolabe.catalogs.publishing import StagedVersion, WriteLease, WriteMode
from astrolabe.catalogs.store import CatalogStore
from astrolabe.tables.model import Column, Datatype, TableMeta

__all__ = ["COLUMNS", "ROWS_PER_GROUP", "object_meta", "read_values", "stage", "write_version"]

ROWS_PER_GROUP = 4
COLUMNS = (
    Column(name="id", datatype=Datatype.LONG, ucd="meta.id;meta.main"),
    Column(name="ra", datatype=Datatype.DOUBLE, unit="deg", ucd="pos.eq.ra;meta.main"),
    Column(name="dec", datatype=Datatype.DOUBLE, unit="deg", ucd="pos.eq.dec;meta.main"),
    Column(name="value", datatype=Datatype.SHORT, description="The same in all rows"),
)


def object_meta(
    schema: str = "dr1", name: str = "object", columns: tuple[Column, ...] = COLUMNS
) -> TableMeta:
    return TableMeta(
        schema=schema,
        name=name,
        columns=columns,
        description="Objects",
        ra_column="ra",
        dec_column="dec",
        id_column="id",
    )


def _file(meta: TableMeta, pixel: int, rows: int, value: int) -> pa.Table:
    """Rows in one pixel of order 1; `value` tells versions apart."""
    numbers = np.arange(rows)
    data: dict[str, Any] = {}
    for field in iceberg_arrow_schema(meta, with_healpix=True):
        if field.name == "_healpix_29":
            values = pixel * 4**28 + numbers
        elif field.name in ("id", "ra", "dec"):
            values = numbers + 100 * pixel
        else:
            values = np.full(rows, value)
        data[field.name] = pa.array(values).cast(field.type)
    return pa.table(data)


def stage(
    lease: WriteLease,
    meta: TableMeta,
    *,
    pixels: Sequence[int] = (3, 17),
    rows: int = 10,
    value: int | None = None,
) -> StagedVersion:
    """Write a version's files below the lease's folder and describe them."""
    root = lease.staging_root / meta.name
    paths, sizes, group_rows, group_bytes, lows, highs, ids = [], [], [], [], [], [], []
    first_group = [0]
    for pixel in pixels:
        path = Path("dataset/Norder=1/Dir=0") / f"Npix={pixel}.parquet"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        table = _file(meta, pixel, rows, lease.version if value is None else value)
        pq.write_table(table, root / path, row_group_size=ROWS_PER_GROUP, compression="zstd")
        footer = pq.ParquetFile(root / path).metadata
        for group in range(footer.num_row_groups):
            start = pixel * 4**28 + group * ROWS_PER_GROUP
            group_rows.append(footer.row_group(group).num_rows)
            group_bytes.append(footer.row_group(group).total_byte_size)
            lows.append(start)
            highs.append(start + group_rows[-1] - 1)
            ids.append(100 * pixel + group * ROWS_PER_GROUP)
        first_group.append(len(group_rows))
        paths.append(path.as_posix())
        sizes.append((root / path).stat().st_size)
    low = np.array(lows, dtype=np.int64)
    high = np.array(highs, dtype=np.int64)
    bounds = np.array(first_group, dtype=np.int64)
    index = PartitionIndex(
        paths=tuple(paths),
        order=np.full(len(paths), 1, dtype=np.uint8),
        pixel=np.array(pixels, dtype=np.int64),
        rows=np.full(len(paths), rows, dtype=np.int64),
        size_bytes=np.array(sizes, dtype=np.int64),
        healpix_min=low[bounds[:-1]],
        healpix_max=high[bounds[1:] - 1],
        first_group=bounds,
        group_rows=np.array(group_rows, dtype=np.int64),
        group_bytes=np.array(group_bytes, dtype=np.int64),
        group_healpix_min=low,
        group_healpix_max=high,
        group_id_min=np.array(ids, dtype=np.int64),
        group_id_max=np.array(ids, dtype=np.int64) + np.array(group_rows, dtype=np.int64) - 1,
    )
    return StagedVersion(meta=meta, catalog_root=root, index=index)


def write_version(
    store: CatalogStore,
    meta: TableMeta | None = None,
    *,
    mode: WriteMode = "create",
    pixels: Sequence[int] = (3, 17),
    rows: int = 10,
) -> TableVersion:
    """Write and publish one version."""
    described = object_meta() if meta is None else meta
    with store.begin_write(described.schema, described.name, mode=mode) as lease:
        return lease.publish(stage(lease, described, pixels=pixels, rows=rows))


def read_values(root: str, paths: Sequence[str]) -> set[int]:
    """Return the versions that wrote the rows of these files."""
    tables = [pq.read_table(Path(root) / path) for path in paths]
    return {int(value) for table in tables for value in table["value"].to_numpy()}
