"""Appending: as if all rows had come at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astrolabe.catalogs.importing import run_import
from astrolabe.catalogs.importing.hats import Skymap
from astrolabe.catalogs.model import TableVersion
from astrolabe.catalogs.store import CatalogStore
from astrolabe.core.errors import ImportRefusedError
from astrolabe.tables.model import HEALPIX_COLUMN, Column, Datatype

from .sources import OBJECT_COLUMNS, current, objects, options, source_of, stored_rows

pytestmark = pytest.mark.timeout(120)


def _margin_rows(version: TableVersion) -> set[tuple[int, int, int]]:
    """Return (order, pixel, id) of every row in the margin catalog."""
    dataset = Path(version.root).parent / "object_3600arcs" / "dataset"
    found = set()
    for path in dataset.glob("Norder=*/Dir=*/Npix=*.parquet"):
        order = int(path.parts[-3].removeprefix("Norder="))
        pixel = int(path.stem.removeprefix("Npix="))
        table = pq.ParquetFile(path).read()
        assert np.all(np.diff(table[HEALPIX_COLUMN].to_numpy()) >= 0)
        ids = table["objectId"].to_numpy().tolist()
        assert len(set(ids)) == len(ids)
        found |= {(order, pixel, i) for i in ids}
    return found


def _pixels(version: TableVersion) -> list[tuple[int, int]]:
    return list(zip(version.index.order.tolist(), version.index.pixel.tolist(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("where", ["everywhere", "one field", "elsewhere"])
def test_append_equals_one_import_of_all(store: CatalogStore, where: str) -> None:
    first = objects(3_000)
    rng = np.random.default_rng(5)
    count = 900
    if where == "everywhere":
        second = objects(count, seed=11, first_id=10_000)
    elif where == "one field":
        second = source_of(
            OBJECT_COLUMNS,
            np.arange(10_000, 10_000 + count),
            rng.uniform(0.5, 1.5, count),
            rng.uniform(-31.0, -30.0, count),
            rng.normal(size=count),
            ["x"] * count,
        )
    else:
        # Into a part of the sky where the table has no partition at all.
        south = first.table.filter(first.table["dec"].to_numpy() < 0.0)
        first = source_of(OBJECT_COLUMNS, *(south[c.name] for c in OBJECT_COLUMNS))
        second = source_of(
            OBJECT_COLUMNS,
            np.arange(10_000, 10_000 + count),
            rng.uniform(0.0, 360.0, count),
            rng.uniform(0.0, 90.0, count),
            rng.normal(size=count),
            ["x"] * count,
        )
    run_import(first, options(), store)
    report = run_import(second, options(mode="append"), store)
    version = current(store)
    assert report.rows == count
    assert report.total_rows == first.table.num_rows + count
    everything = pa.concat_tables([first.table, second.table])
    rows = stored_rows(version)
    keys = rows[HEALPIX_COLUMN].to_numpy()
    assert np.all(np.diff(keys) >= 0)
    assert rows.drop_columns([HEALPIX_COLUMN]).sort_by("objectId").equals(everything)
    skymap = Skymap.read(Path(version.root))
    assert skymap is not None
    assert skymap.counts.sum() == everything.num_rows
    # The partitions may differ from those of one import: those that were there are kept.
    at_once = source_of(OBJECT_COLUMNS, *(everything[c.name] for c in OBJECT_COLUMNS))
    run_import(at_once, options(mode="replace"), store)
    if _pixels(current(store)) == _pixels(version):
        assert _margin_rows(current(store)) == _margin_rows(version)


@pytest.mark.slow
def test_margins_stay_complete_over_appends(store: CatalogStore) -> None:
    # Few new rows: most partitions and their margins are linked, some are made anew.
    run_import(objects(3_000), options(), store)
    for i in range(3):
        few = objects(6, seed=100 + i, first_id=20_000 + 100 * i)
        run_import(few, options(mode="append"), store)
    appended = current(store)
    pixels, margin = _pixels(appended), _margin_rows(appended)
    rows = stored_rows(appended)
    at_once = source_of(OBJECT_COLUMNS, *(rows[c.name] for c in OBJECT_COLUMNS))
    run_import(at_once, options(mode="replace"), store)
    assert _pixels(current(store)) == pixels
    assert _margin_rows(current(store)) == margin


def test_append_needs_the_columns_of_the_table(store: CatalogStore) -> None:
    run_import(objects(100), options(), store)
    extra = (*OBJECT_COLUMNS[:3], Column(name="new", datatype=Datatype.INT))
    with pytest.raises(ImportRefusedError, match="'new'"):
        run_import(source_of(extra, [1], [1.0], [1.0], [1]), options(mode="append"), store)
    fewer = source_of(OBJECT_COLUMNS[:3], [10**6], [1.0], [1.0])
    run_import(fewer, options(mode="append"), store)
    row = stored_rows(current(store)).filter(pa.compute.field("objectId") == 10**6)
    assert row["mag"].to_pylist() == [None]
    assert current(store).meta.row_count == 101


def test_append_converts_positions_like_the_first_import(store: CatalogStore) -> None:
    columns = (
        Column(name="l", datatype=Datatype.DOUBLE),
        Column(name="b", datatype=Datatype.DOUBLE),
    )
    given = options(id_column=None, frame="galactic")
    run_import(source_of(columns, [10.0], [20.0]), given, store)
    more = options(id_column=None, frame="galactic", mode="append")
    run_import(source_of(columns, [10.0], [20.0]), more, store)
    rows = stored_rows(current(store))
    assert rows.num_rows == 2
    assert len(set(rows["ra"].to_pylist())) == 1
