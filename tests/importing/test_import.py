"""The import end to end: what goes in comes out, sorted, partitioned and published."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astrolabe.catalogs.importing import ImportProgress, run_import
from astrolabe.catalogs.store import CatalogStore
from astrolabe.core.errors import BadParameterError, ConflictError, NotFoundError
from astrolabe.sky.healpix import healpix_29
from astrolabe.tables.conform import fit
from astrolabe.tables.model import HEALPIX_COLUMN, Column, CoordinateSystem, Datatype, arrow_type

from .sources import OBJECT_COLUMNS, current, objects, options, source_of, stored_rows

# The first import of a process also imports PyIceberg.
pytestmark = pytest.mark.timeout(60)


def test_rows_come_back_sorted_and_complete(store: CatalogStore) -> None:
    source = objects(8_000)
    report = run_import(source, options(), store)
    version = current(store)
    assert report.rows == report.total_rows == version.meta.row_count == 8_000
    assert report.rejected == 0
    assert report.partitions == len(version.index.paths) > 20
    rows = stored_rows(version)
    keys = rows[HEALPIX_COLUMN].to_numpy()
    assert np.all(np.diff(keys) >= 0)
    assert np.array_equal(keys, healpix_29(rows["ra"].to_numpy(), rows["dec"].to_numpy()))
    assert rows.drop_columns([HEALPIX_COLUMN]).sort_by("objectId").equals(source.table)


def test_index_agrees_with_the_files(store: CatalogStore) -> None:
    run_import(objects(5_000), options(), store)
    version = current(store)
    index = version.index
    assert index.group_id_min is not None
    assert index.group_id_max is not None
    group = 0
    for i, path in enumerate(index.paths):
        file = pq.ParquetFile(Path(version.root) / path)
        shift = 2 * (29 - int(index.order[i]))
        assert f"Norder={index.order[i]}/Dir=0/Npix={index.pixel[i]}.parquet" in path
        assert file.metadata.num_rows == index.rows[i] <= 500
        assert index.size_bytes[i] == (Path(version.root) / path).stat().st_size
        assert file.metadata.row_group(0).sorting_columns[0].column_index == 0
        for g in range(file.metadata.num_row_groups):
            rows = file.read_row_group(g)
            keys, ids = rows[HEALPIX_COLUMN].to_numpy(), rows["objectId"].to_numpy()
            assert np.all(keys >> shift == index.pixel[i])
            assert rows.num_rows == index.group_rows[group] <= 100
            assert (keys.min(), keys.max()) == (
                index.group_healpix_min[group],
                index.group_healpix_max[group],
            )
            assert (ids.min(), ids.max()) == (
                index.group_id_min[group],
                index.group_id_max[group],
            )
            compressed = sum(
                file.metadata.row_group(g).column(c).total_compressed_size
                for c in range(file.metadata.num_columns)
            )
            assert index.group_bytes[group] == compressed
            group += 1
        assert index.first_group[i + 1] == group
        assert index.healpix_min[i] == index.group_healpix_min[index.first_group[i]]
        assert index.healpix_max[i] == index.group_healpix_max[group - 1]


_EVERY_TYPE: tuple[tuple[Column, list[object]], ...] = (
    (Column(name="flag", datatype=Datatype.BOOLEAN), [True, False, None]),
    (Column(name="byte", datatype=Datatype.UNSIGNED_BYTE), [0, 255, None]),
    (Column(name="short", datatype=Datatype.SHORT), [-32768, 32767, None]),
    (Column(name="int", datatype=Datatype.INT), [-(2**31), 2**31 - 1, None]),
    (Column(name="long", datatype=Datatype.LONG), [-(2**63), 2**63 - 1, None]),
    (Column(name="float", datatype=Datatype.FLOAT), [1.5, float("inf"), None]),
    (Column(name="double", datatype=Datatype.DOUBLE), [0.1, -0.0, None]),
    (Column(name="complex", datatype=Datatype.FLOAT_COMPLEX), [[1, 2], [3, 4], None]),
    (Column(name="text", datatype=Datatype.CHAR, arraysize="*"), ["", "plain", None]),
    (
        Column(name="unicode", datatype=Datatype.UNICODE_CHAR, arraysize="*"),
        ["", "Ωmega \u2605", None],
    ),
    (
        Column(name="date", datatype=Datatype.CHAR, arraysize="*", xtype="timestamp"),
        [datetime(1, 1, 1), datetime(2026, 3, 1, 12, 0, 0, 123456), None],  # noqa: DTZ001 - UTC by convention
    ),
    (Column(name="three", datatype=Datatype.SHORT, arraysize="3"), [[1, 2, 3], [4, None, 6], None]),
    (Column(name="matrix", datatype=Datatype.DOUBLE, arraysize="2x2"), [[1, 2, 3, 4]] * 2 + [None]),
    (Column(name="any", datatype=Datatype.UNSIGNED_BYTE, arraysize="*"), [[], [7, 255], None]),
    (Column(name="bits", datatype=Datatype.BIT, arraysize="4"), [[True] * 4, [False] * 4, None]),
)


def test_every_type_comes_back_as_it_went_in(store: CatalogStore) -> None:
    columns = (*OBJECT_COLUMNS[:3], *(column for column, _ in _EVERY_TYPE))
    source = source_of(
        columns, [1, 2, 3], [10.0, 20.0, 30.0], [1.0, 2.0, 3.0], *(v for _, v in _EVERY_TYPE)
    )
    run_import(source, options(rows_per_file=100_000), store)
    version = current(store)
    rows = stored_rows(version).sort_by("objectId")
    for column in columns:
        stored = version.meta.column(column.name)
        assert stored is not None
        assert (stored.datatype, stored.arraysize, stored.xtype) == (
            column.datatype,
            column.arraysize,
            column.xtype,
        )
        back = fit(rows[column.name].combine_chunks(), arrow_type(stored))
        assert back.equals(source.table[column.name].combine_chunks()), column.name


def test_iceberg_reads_the_same_rows(store: CatalogStore, home: Path) -> None:
    from pyiceberg.catalog.sql import SqlCatalog  # noqa: PLC0415 - slow to import

    source = objects(3_000)
    run_import(source, options(), store)
    uri = f"sqlite:///{home / 'catalog.db'}"
    with closing(SqlCatalog("astrolabe", uri=uri)) as catalog:
        scanned = catalog.load_table("dr1.object").scan().to_arrow()
    assert scanned.num_rows == 3_000
    ids = scanned.sort_by("objectId")
    assert ids["ra"].equals(source.table["ra"])
    assert ids["name"].cast(pa.string()).equals(source.table["name"])


def test_metadata_reaches_the_table_and_the_files(store: CatalogStore) -> None:
    source = source_of(
        (*OBJECT_COLUMNS[:3], Column(name="size", datatype=Datatype.FLOAT, unit="arcsec")),
        [1],
        [10.0],
        [1.0],
        [2.0],
        system=CoordinateSystem(epoch=2016.0),
    )
    run_import(source, options(), store)
    meta = current(store).meta
    assert (meta.ra_column, meta.dec_column, meta.id_column) == ("ra", "dec", "objectId")
    assert meta.coordinate_system == CoordinateSystem(epoch=2016.0)
    assert [c.ucd for c in meta.columns[:3]] == [
        "meta.id;meta.main",
        "pos.eq.ra;meta.main",
        "pos.eq.dec;meta.main",
    ]
    assert [c.principal for c in meta.columns] == [True, True, True, False]
    kept = stored_rows(current(store)).schema.field("size").metadata
    assert kept is not None
    assert kept[b"unit"] == b"arcsec"
    assert kept[b"datatype"] == b"float"


def test_an_empty_source_makes_an_empty_table(store: CatalogStore) -> None:
    report = run_import(source_of(OBJECT_COLUMNS, [], [], [], [], []), options(), store)
    assert report.rows == 0
    assert "no rows" in report.warnings[0]
    assert current(store).meta.row_count == 0
    report = run_import(objects(100), options(mode="append"), store)
    assert report.total_rows == 100
    assert report.rows == stored_rows(current(store)).num_rows


def test_a_table_without_positions_keeps_its_order(store: CatalogStore) -> None:
    columns = (OBJECT_COLUMNS[0], OBJECT_COLUMNS[4])
    ids = np.random.default_rng(1).permutation(1_200)
    source = source_of(columns, ids, [str(i) for i in ids])
    report = run_import(source, options(no_position=True), store)
    version = current(store)
    assert not version.positions_sorted
    assert report.partitions == 3
    assert version.meta.ra_column is None
    rows = stored_rows(version)
    assert rows.column_names == ["objectId", "name"]
    assert rows.equals(source.table)
    run_import(source, options(no_position=True, mode="append"), store)
    assert stored_rows(current(store)).equals(pa.concat_tables([source.table] * 2))


def test_replace_puts_new_rows_and_columns_in_the_place(store: CatalogStore) -> None:
    run_import(objects(300), options(), store)
    before = current(store)
    new = source_of(OBJECT_COLUMNS[:3], [5], [1.0], [2.0])
    assert run_import(new, options(mode="replace"), store).total_rows == 1
    after = current(store)
    assert [c.name for c in after.meta.columns] == ["objectId", "ra", "dec"]
    assert stored_rows(after)["objectId"].to_pylist() == [5]
    assert stored_rows(before).num_rows == 300  # whoever reads the old version reads on


def test_modes_need_what_they_say(store: CatalogStore) -> None:
    with pytest.raises(NotFoundError):
        run_import(objects(10), options(mode="append"), store)
    run_import(objects(10), options(), store)
    with pytest.raises(ConflictError, match="exists"):
        run_import(objects(10), options(), store)
    with pytest.raises(BadParameterError, match="margin"):
        run_import(objects(10), options(mode="replace", margin_arcsec=-1.0), store)


def test_child_rows_name_their_director(store: CatalogStore) -> None:
    run_import(objects(50), options(), store)
    report = run_import(
        objects(50), options(table="source", director="dr1.object", director_key="objectId"), store
    )
    (key,) = current(store, "source").meta.keys
    assert (key.target_table, key.columns) == ("dr1.object", (("objectId", "objectId"),))
    properties = (report.path / "source" / "hats.properties").read_text()
    assert "dataproduct_type=source" in properties


def test_progress_counts_every_row(store: CatalogStore) -> None:
    seen: list[ImportProgress] = []
    run_import(objects(9_000), options(), store, progress=seen.append)
    for step in ("read", "write"):
        counts = [p.rows for p in seen if p.step == step]
        assert counts == sorted(counts)
        assert counts[-1] == 9_000
    assert seen[-1].step == "publish"
    assert {p.total for p in seen if p.step == "write"} == {9_000}


def test_no_spilled_rows_are_left(store: CatalogStore) -> None:
    report = run_import(objects(8_000), options(), store)
    names = {path.name for path in report.path.iterdir()}
    assert names == {
        "object",
        "object_3600arcs",
        "object_index_objectId",
        "partition_index.parquet",
    }


def test_two_imports_of_one_table_do_not_meet(store: CatalogStore) -> None:
    source = objects(1_000)
    hit: list[ConflictError] = []

    def interfere(progress: ImportProgress) -> None:
        if progress.step == "write" and not hit:
            with pytest.raises(ConflictError) as caught:
                run_import(objects(10), options(owner="second"), store)
            hit.append(caught.value)

    run_import(source, options(owner="first"), store, progress=interfere)
    assert "first" in hit[0].message
    assert stored_rows(current(store)).num_rows == 1_000


@pytest.mark.parametrize("step", ["read", "write", "publish"])
def test_an_error_leaves_the_table_as_it_was(store: CatalogStore, home: Path, step: str) -> None:
    run_import(objects(1_000), options(), store)
    before = stored_rows(current(store))

    class Stop(Exception):  # noqa: N818 - stands for any error
        pass

    def stop(progress: ImportProgress) -> None:
        if progress.step == step:
            raise Stop

    with pytest.raises(Stop):
        run_import(objects(3_000, seed=9), options(mode="replace"), store, progress=stop)
    assert stored_rows(current(store)).equals(before)
    folders = [p.name for p in (home / "tables/dr1/object").iterdir() if p.name.startswith("v")]
    assert folders == ["v0001"]
    assert run_import(objects(5), options(mode="replace"), store).total_rows == 5


def test_wide_rows_are_read_in_small_batches(store: CatalogStore) -> None:
    wide = Column(name="spectrum", datatype=Datatype.DOUBLE, arraysize="20000")
    source = source_of((*OBJECT_COLUMNS[:3], wide), [1], [0.0], [0.0], [[0.5] * 20_000])
    asked: list[int] = []
    batches = source.batches

    class Watching:
        meta = source.meta

        def batches(self, *, max_rows: int = 65_536):  # type: ignore[no-untyped-def]  # noqa: ANN202 - as the source's
            asked.append(max_rows)
            yield from batches(max_rows=max_rows)

    run_import(Watching(), options(), store)
    assert asked == [256]
    assert stored_rows(current(store))["spectrum"].to_pylist() == [[0.5] * 20_000]


def test_files_are_linked_not_copied(store: CatalogStore) -> None:
    run_import(objects(5_000), options(), store)
    old = current(store)
    near = source_of(OBJECT_COLUMNS, [10**9], [200.0], [45.0], [1.0], ["new"])
    run_import(near, options(mode="append"), store)
    new = current(store)
    inodes = {p: (Path(old.root) / p).stat().st_ino for p in old.index.paths}
    shared = [p for p in new.index.paths if inodes.get(p) == (Path(new.root) / p).stat().st_ino]
    assert len(shared) == len(old.index.paths) - 1
