"""Publication, views, leases, dropping and vacuum."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest

from astrolabe.catalogs.iceberg import IcebergTables
from astrolabe.catalogs.schema import LOCKS, VERSIONS
from astrolabe.catalogs.store import CatalogStore
from astrolabe.core.database import Database
from astrolabe.core.errors import (
    BadParameterError,
    ConflictError,
    ImportRefusedError,
    InternalError,
    NotFoundError,
)
from astrolabe.tables.model import Column, Datatype, SchemaMeta

from .staging import COLUMNS, object_meta, read_values, stage, write_version


@dataclass(frozen=True)
class Name:
    name: str
    quoted: bool = False


def test_published_version_is_seen_with_its_columns_and_index(
    store: CatalogStore, tables_root: Path
) -> None:
    before = store.view()
    assert before.schemas == ()
    published = write_version(store)

    view = store.view()
    assert view.generation > before.generation
    version = view.table("dr1", "object")
    assert version is not None
    assert version.version == published.version == 1
    assert version.snapshot_id == published.snapshot_id is not None
    assert version.meta == replace(object_meta(), row_count=20)
    assert version.root == str(tables_root / "dr1" / "object" / "v0001" / "object")
    assert version.index.paths == published.index.paths
    assert read_values(version.root, version.index.paths) == {1}
    assert [s.name for s in view.schemas] == ["dr1"]
    assert before.table("dr1", "object") is None  # a view never changes


def test_iceberg_scan_gives_the_rows_of_every_version(
    store: CatalogStore, iceberg: IcebergTables
) -> None:
    first = write_version(store)
    second = write_version(store, mode="replace", pixels=(5,), rows=7)
    table = iceberg._catalog().load_table(("dr1", "object"))
    now = table.scan().to_arrow()
    assert now["value"].to_pylist() == [2] * 7
    assert now.schema.field("value").type == pa.int32()
    assert now.column_names == ["_healpix_29", "id", "ra", "dec", "value"]
    assert table.scan(snapshot_id=first.snapshot_id).to_arrow()["value"].to_pylist() == [1] * 20
    assert iceberg.current_snapshot("dr1", "object") == second.snapshot_id


def test_replacing_with_other_columns_replaces_iceberg_columns_too(
    store: CatalogStore, iceberg: IcebergTables
) -> None:
    first = write_version(store)
    columns = (
        *COLUMNS[:3],
        Column(name="value", datatype=Datatype.CHAR, arraysize="*"),
        Column(name="size", datatype=Datatype.FLOAT),
    )
    write_version(store, object_meta(columns=columns), mode="replace")
    table = iceberg._catalog().load_table(("dr1", "object"))
    assert set(table.scan().to_arrow()["value"].to_pylist()) == {"2"}
    old = table.scan(snapshot_id=first.snapshot_id).to_arrow()
    assert old["id"].null_count == 0
    assert len(old) == 20


def test_modes_say_what_would_be_right(store: CatalogStore) -> None:
    with pytest.raises(NotFoundError, match="leave --mode away"):
        write_version(store, mode="replace")
    with pytest.raises(NotFoundError):
        write_version(store, mode="append")
    write_version(store)
    with pytest.raises(ConflictError, match="--mode replace"):
        write_version(store)


@pytest.mark.parametrize(
    ("schema", "name"),
    [
        ("tap_schema", "x"),
        ("TAP_UPLOAD", "x"),
        ("ivoa", "x"),
        ("1dr", "x"),
        ("dr", "x.y"),
        ("", "x"),
        ("a", "é"),
    ],
)
def test_malformed_and_reserved_names_are_refused(
    store: CatalogStore, schema: str, name: str
) -> None:
    with pytest.raises(BadParameterError), store.begin_write(schema, name):
        pass


def test_names_that_differ_only_in_case_are_refused(store: CatalogStore) -> None:
    write_version(store)
    with pytest.raises(ConflictError, match="write object instead of Object"):
        write_version(store, object_meta(name="Object"))
    with pytest.raises(ConflictError, match="write dr1 instead of DR1"):
        write_version(store, object_meta(schema="DR1", name="source"))
    with pytest.raises(ConflictError, match="write dr1 instead of DR1"):
        store.create_tables(
            SchemaMeta(name="DR1", tables=(object_meta(schema="DR1", name="visit"),))
        )
    assert [t.name for s in store.view().schemas for t in s.tables] == ["object"]


def test_columns_that_differ_only_in_case_are_refused_with_both_names(store: CatalogStore) -> None:
    columns = (*COLUMNS, Column(name="RA", datatype=Datatype.INT))
    with pytest.raises(ImportRefusedError, match="ra and RA"):
        write_version(store, object_meta(columns=columns))
    columns = (*COLUMNS, Column(name="_Healpix_29", datatype=Datatype.INT))
    with pytest.raises(ImportRefusedError, match="reserved"):
        write_version(store, object_meta(columns=columns))
    with pytest.raises(ImportRefusedError, match="no column id"):
        write_version(store, object_meta(columns=COLUMNS[1:]))


def test_two_writers_of_one_table_exclude_each_other(store: CatalogStore) -> None:
    with store.begin_write("dr1", "object", owner="first import") as lease:
        with (
            pytest.raises(ConflictError, match=r"writing dr1\.object \(first import"),
            store.begin_write("dr1", "object"),
        ):
            pass
        with store.begin_write("dr1", "source") as other:
            other.publish(stage(other, object_meta(name="source")))
        lease.publish(stage(lease, object_meta()))
    assert [t.name for t in store.view().schemas[0].tables] == ["object", "source"]
    write_version(store, mode="replace")


def test_unpublished_write_leaves_nothing(store: CatalogStore, tables_root: Path) -> None:
    write_version(store)

    def broken_import() -> None:
        with store.begin_write("dr1", "object", mode="replace") as lease:
            stage(lease, object_meta())
            raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        broken_import()
    assert sorted(p.name for p in (tables_root / "dr1" / "object").glob("v*")) == ["v0001"]
    # Its number is never used again, so caches by path can be trusted.
    assert write_version(store, mode="replace").version == 3


def test_publication_checks_the_files(store: CatalogStore) -> None:
    with store.begin_write("dr1", "object") as lease:
        staged = stage(lease, object_meta())
        (staged.catalog_root / staged.index.paths[0]).unlink()
        with pytest.raises(ImportRefusedError, match="missing"):
            lease.publish(staged)
    with store.begin_write("dr1", "object") as lease:
        staged = stage(lease, object_meta(name="other"))
        with pytest.raises(InternalError, match="lease is for dr1"):
            lease.publish(staged)
    assert store.view().schemas == ()


def test_writer_that_lost_its_lease_publishes_nothing(
    database: Database, tables_root: Path, iceberg: IcebergTables
) -> None:
    slow = CatalogStore(database, tables_root=tables_root, iceberg=iceberg, durable=False)
    with slow.begin_write("dr1", "object") as lost:
        staged = stage(lost, object_meta())
        with database.write() as connection:  # as if the process had been stopped for an hour
            connection.execute(LOCKS.update().values(expires_at=time.time() - 3600))
        fast = CatalogStore(database, tables_root=tables_root, iceberg=iceberg, durable=False)
        with fast.begin_write("dr1", "object") as lease:
            with pytest.raises(ConflictError, match="took over"):
                lost.check()
            with pytest.raises(ConflictError, match="took over"):
                lost.publish(staged)
            lease.publish(stage(lease, object_meta()))
    version = fast.view().table("dr1", "object")
    assert version is not None
    assert version.version == 2


def test_drop_hides_the_table_at_once_and_vacuum_removes_its_files(
    store: CatalogStore, tables_root: Path, iceberg: IcebergTables
) -> None:
    version = write_version(store)
    write_version(store, object_meta(name="source"))
    held = store.view()
    with pytest.raises(NotFoundError):
        store.drop([("dr1", "object"), ("dr1", "nothing")])
    assert store.view().table("dr1", "object") is not None  # all or none
    store.drop([("dr1", "object")])
    assert store.view().table("dr1", "object") is None
    assert not (tables_root / "dr1" / "object" / "collection.properties").exists()
    # Whoever read it reads on.
    old = held.table("dr1", "object")
    assert old is not None
    assert read_values(old.root, old.index.paths) == {1}

    report = store.vacuum()
    assert report.removed == []
    assert [(row.version, why) for row, why in report.kept] == [(1, "queries may still read it")]
    dry = store.vacuum(retention_seconds=0, dry_run=True)
    assert [r.path for r in dry.removed] == [Path(version.root).parent]
    assert Path(version.root).exists()
    report = store.vacuum(retention_seconds=0)
    assert [r.path for r in report.removed] == [Path(version.root).parent]
    assert report.removed[0].freed_bytes > 0
    assert not (tables_root / "dr1" / "object").exists()
    assert iceberg.table_names() == [("dr1", "source")]
    assert store.vacuum(retention_seconds=0).removed == []
    # The name is free again, in any spelling, and its folder is a new one.
    assert write_version(store, object_meta(name="Object")).version == 2


def test_vacuum_keeps_current_versions_and_those_of_a_release(
    store: CatalogStore, database: Database, iceberg: IcebergTables
) -> None:
    versions = [write_version(store)]
    versions += [write_version(store, mode="replace") for _ in range(3)]
    with database.write() as connection:
        table = VERSIONS
        connection.execute(table.update().where(table.c.version == 2).values(release="dr1"))
    report = store.vacuum(retention_seconds=0)
    assert [r.version for r in report.removed] == [1, 3]
    assert [row.version for row, _ in report.kept] == [2]
    ice = iceberg._catalog().load_table(("dr1", "object"))
    kept = {s.snapshot_id for s in ice.snapshots()}
    assert kept == {versions[1].snapshot_id, versions[3].snapshot_id}
    assert ice.scan(snapshot_id=versions[1].snapshot_id).to_arrow()["value"].to_pylist() == [2] * 20
    assert ice.scan().to_arrow()["value"].to_pylist() == [4] * 20


def test_vacuum_leaves_a_table_alone_that_is_being_written(store: CatalogStore) -> None:
    write_version(store)
    with store.begin_write("dr1", "object", mode="replace") as lease:
        staged = stage(lease, object_meta())
        report = store.vacuum(retention_seconds=0)
        assert report.busy == ["dr1.object"]
        assert report.removed == []
        lease.publish(staged)
    assert read_values(str(staged.catalog_root), staged.index.paths) == {2}


def test_vacuum_leaves_folders_alone_that_are_not_ours(
    store: CatalogStore, tables_root: Path
) -> None:
    foreign = tables_root / "mine" / "gaia" / "v0001"
    foreign.mkdir(parents=True)
    (foreign.parent / "collection.properties").write_text("obs_collection=gaia", "utf-8")
    assert store.vacuum(retention_seconds=0).removed == []
    assert foreign.is_dir()
    assert (foreign.parent / "collection.properties").exists()


def test_empty_tables_have_no_files_and_can_be_filled(
    store: CatalogStore, tables_root: Path
) -> None:
    schema = SchemaMeta(
        name="dr2",
        description="Second release",
        tables=(object_meta(schema="dr2"), object_meta(schema="dr2", name="source")),
    )
    store.create_tables(schema)
    view = store.view()
    assert view.schemas[0].description == "Second release"
    version = view.table("dr2", "object")
    assert version is not None
    assert version.snapshot_id is None
    assert version.index.paths == ()
    assert version.meta.row_count == 0
    assert not (tables_root / "dr2").exists()
    with pytest.raises(ConflictError, match="exists already"):
        store.create_tables(schema)
    write_version(store, object_meta(schema="dr2"), mode="replace")
    filled = store.view().table("dr2", "object")
    assert filled is not None
    assert filled.meta.row_count == 20
    assert store.view().schemas[0].description == "Second release"
    store.drop([("dr2", "source"), ("dr2", "object")])
    assert store.view().schemas == ()
    store.vacuum(retention_seconds=0)
    assert list(tables_root.iterdir()) == []


def test_names_are_found_in_any_case_unless_quoted(store: CatalogStore) -> None:
    write_version(store, object_meta(name="Object"))
    store.create_tables(
        SchemaMeta(
            name="dr2",
            tables=(
                object_meta(schema="dr2", name="Object"),
                object_meta(schema="dr2", name="date"),
            ),
        )
    )
    view = store.view()
    found = view.find_table(Name("DR1"), Name("oBJECT"))
    assert found is not None
    assert found.qualified_name == "dr1.Object"
    assert view.find_table(Name("dr1", quoted=True), Name("Object", quoted=True)) is found
    assert view.find_table(Name("dr1"), Name("object", quoted=True)) is None
    assert view.find_table(Name("DR1", quoted=True), Name("Object")) is None
    assert view.find_table(None, Name("Object")) is None  # two schemas have one
    only = view.find_table(None, Name("DATE"))
    assert only is not None
    assert only.qualified_name == "dr2.date"
    assert view.table_names() == ("dr1.Object", 'dr2."date"', "dr2.Object")
    assert view.table("dr1", "object") is None


def test_view_looks_at_the_generation_at_most_once_in_its_time(
    database: Database, tables_root: Path, iceberg: IcebergTables
) -> None:
    writer = CatalogStore(database, tables_root=tables_root, iceberg=iceberg, durable=False)
    reader = CatalogStore(database, tables_root=tables_root, iceberg=iceberg, check_seconds=3600.0)
    first = reader.view()
    write_version(writer)
    assert reader.view() is first
    assert reader.view(fresh=True).table("dr1", "object") is not None
    eager = CatalogStore(database, tables_root=tables_root, iceberg=iceberg, check_seconds=0.0)
    same = eager.view()
    assert eager.view() is same  # nothing changed, nothing is loaded
    write_version(writer, mode="replace")
    assert eager.view() is not same


@pytest.mark.timeout(60)
def test_readers_keep_their_version_while_new_ones_are_published(
    database: Database, tables_root: Path, iceberg: IcebergTables
) -> None:
    writer = CatalogStore(database, tables_root=tables_root, iceberg=iceberg, durable=False)
    reader = CatalogStore(database, tables_root=tables_root, iceberg=iceberg, check_seconds=0.0)
    write_version(writer)
    done = threading.Event()
    seen: list[int] = []
    problems: list[object] = []

    def read() -> None:
        while not done.is_set():
            version = reader.view().table("dr1", "object")
            if version is None:
                problems.append("no table")
                continue
            for _ in range(2):
                values = read_values(version.root, version.index.paths)
                if values != {version.version}:
                    problems.append((version.version, values))
            seen.append(version.version)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(8):
            write_version(writer, mode="replace")
            writer.vacuum()  # nothing is old enough
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert problems == []
    assert seen == sorted(seen) or len(threads) > 1
    assert max(seen) >= 8


def test_home_that_was_moved_keeps_working(
    store: CatalogStore, database: Database, tables_root: Path, iceberg_url: str
) -> None:
    first = write_version(store)
    write_version(store, mode="replace")
    write_version(store, object_meta(name="source"))
    assert store.relocate_if_moved() == 0
    elsewhere = tables_root.parent / "new home" / "tables"
    elsewhere.parent.mkdir()
    tables_root.rename(elsewhere)

    iceberg = IcebergTables(iceberg_url, warehouse=elsewhere)
    moved = CatalogStore(database, tables_root=elsewhere, iceberg=iceberg, durable=False)
    version = moved.view().table("dr1", "object")
    assert version is not None
    assert read_values(version.root, version.index.paths) == {2}  # our own paths are relative
    assert moved.relocate_if_moved() == 3
    assert moved.relocate_if_moved() == 0
    version = moved.view().table("dr1", "object")
    assert version is not None
    table = iceberg._catalog().load_table(("dr1", "object"))
    assert iceberg.current_snapshot("dr1", "object") == version.snapshot_id
    assert set(table.scan().to_arrow()["value"].to_pylist()) == {2}
    assert len(table.snapshots()) >= 2
    assert first.snapshot_id not in {s.snapshot_id for s in table.snapshots()}
    write_version(moved, mode="replace")
    assert set(
        iceberg._catalog().load_table(("dr1", "object")).scan().to_arrow()["value"].to_pylist()
    ) == {3}
    iceberg.close()


def test_a_path_that_iceberg_cannot_store_is_refused(
    database: Database, tmp_path: Path, iceberg_url: str
) -> None:
    root = tmp_path / "a#b"
    iceberg = IcebergTables(iceberg_url, warehouse=root)
    store = CatalogStore(database, tables_root=root, iceberg=iceberg, durable=False)
    with pytest.raises(BadParameterError, match="one of the characters"):
        write_version(store)
    assert store.view().schemas == ()
    iceberg.close()
