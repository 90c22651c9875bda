"""``ivoa.ObsCore`` as it is published from the images in the control database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import BadParameterError
from astrolabe.factory import ProcessContext
from astrolabe.identity.access import Access, AccessRule, Resource
from astrolabe.identity.authority import OPERATOR
from astrolabe.images.model import ImageCollection, ImageKey, ImageRecord, PlaneKind
from astrolabe.images.obscore.columns import FILLED_COLUMNS, OBSCORE
from tests.support.tiny import ask, open_context

SQUARE = [10.0, -1.0, 12.0, -1.0, 12.0, 1.0, 10.0, 1.0]


def record(image_id: str, collection: str = "deep", **changes: Any) -> ImageRecord:
    values = {
        "s_ra": 11.0,
        "s_dec": 0.0,
        "s_region": SQUARE,
        "s_fov": 2.83,
        "calib_level": 2,
        "t_min": 60000.25,
        "s_xel1": 100,
        "obs_creation_date": "2026-02-03T04:05:06Z",
        "band": "r",
    }
    made = ImageRecord(
        key=ImageKey(collection, image_id),
        uri=f"/data/{image_id}.fits",
        size_bytes=28_801,
        md5=None,
        signature="1 1",
        index_path=f"indexes/{image_id}",
        planes={PlaneKind.IMAGE: 1},
        obscore=values,
        imported=utc_now(),
    )
    return replace(made, **changes)


@pytest.fixture
def context(tmp_path: Path) -> Iterator[ProcessContext]:
    with open_context(tmp_path / "home", engine={"memory_fraction": 0.02, "threads": 2}) as made:
        for name in ("deep", "wide"):
            made.images.store.ensure_collection(ImageCollection(name=name, created=utc_now()))
        yield made


def ids(context: ProcessContext) -> list[str]:
    found = ask(context, "SELECT obs_id FROM ivoa.obscore ORDER BY obs_id")
    return [str(name) for name in found.column("obs_id").to_pylist()]


def version(context: ProcessContext) -> int:
    return context.catalog.find("ivoa", "ObsCore").row.version


def test_a_row_says_all_that_is_known_of_an_image(context: ProcessContext) -> None:
    released = datetime(2030, 1, 1, tzinfo=UTC)
    context.images.store.put([record("Odd+name.r", released=released)])
    context.images.obscore.publish()
    (row,) = ask(context, "SELECT * FROM ivoa.ObsCore").to_pylist()
    did = "ivo://astrolabe.invalid/deep?Odd+name.r"
    quoted = "ivo%3A%2F%2Fastrolabe.invalid%2Fdeep%3FOdd%2Bname.r"
    assert row["obs_publisher_did"] == did
    assert row["access_url"] == f"{context.images.public_url}/api/datalink/links?ID={quoted}"
    assert row["access_format"] == "application/x-votable+xml;content=datalink"
    assert row["access_estsize"] == 29
    assert row["s_region"] == SQUARE
    assert (row["s_ra"], row["s_dec"], row["t_min"]) == (11.0, 0.0, 60000.25)
    assert row["obs_creation_date"] == datetime(2026, 2, 3, 4, 5, 6)  # noqa: DTZ001 - as columns
    assert row["obs_release_date"] == released.replace(tzinfo=None)
    assert (row["dataproduct_type"], row["calib_level"], row["s_xel1"]) == ("image", 2, 100)
    assert (row["band"], row["data_rights"]) == ("r", "public")
    assert all(row[name] is not None for name in FILLED_COLUMNS)


def test_the_columns_are_declared_as_the_standard_has_them(context: ProcessContext) -> None:
    context.images.store.put([record("a")])
    context.images.obscore.publish()
    meta = context.catalog.find("ivoa", "ObsCore").meta
    assert meta.columns == OBSCORE.columns
    assert (meta.ra_column, meta.dec_column) == ("s_ra", "s_dec")


def test_nothing_is_written_where_nothing_changed(context: ProcessContext) -> None:
    context.images.store.put([record("a")])
    assert context.images.obscore.publish().mode == "create"
    before = version(context)
    report = context.images.obscore.publish()
    assert (report.mode, report.rows, report.total_rows) == (None, 0, 1)
    assert version(context) == before


def test_new_images_are_added_to_those_there_are(context: ProcessContext) -> None:
    publisher, store = context.images.obscore, context.images.store
    store.put([record("a"), record("b")])
    publisher.publish()
    store.put([record("c", "wide")])
    report = publisher.publish()
    assert (report.mode, report.rows, report.total_rows) == ("append", 1, 3)
    assert ids(context) == ["a", "b", "c"]
    store.put([record("d")])
    assert publisher.publish().mode == "append"
    assert publisher.publish().mode is None


def test_changed_and_removed_images_are_seen(context: ProcessContext) -> None:
    publisher, store = context.images.obscore, context.images.store
    store.put([record("a"), record("b")])
    publisher.publish()
    store.put([record("a", obscore={"target_name": "M13"})])
    assert publisher.publish().mode == "replace"
    names = ask(context, "SELECT obs_id, target_name FROM ivoa.obscore ORDER BY obs_id")
    assert names.column("target_name").to_pylist() == ["M13", None]
    store.remove([ImageKey("deep", "b")])
    assert publisher.publish().mode == "replace"
    assert ids(context) == ["a"]
    store.remove([ImageKey("deep", "a")])
    publisher.publish()
    assert ids(context) == []
    store.put([record("z")])
    publisher.publish()
    assert ids(context) == ["z"]


def test_an_image_that_was_removed_and_one_that_came_do_not_make_up(
    context: ProcessContext,
) -> None:
    publisher, store = context.images.obscore, context.images.store
    store.put([record("a"), record("b")])
    publisher.publish()
    store.remove([ImageKey("deep", "b")])
    store.put([record("c")])
    publisher.publish()
    assert ids(context) == ["a", "c"]


def test_an_image_that_was_written_late_with_an_early_time_is_seen(
    context: ProcessContext,
) -> None:
    publisher, store = context.images.obscore, context.images.store
    store.put([record("a")])
    publisher.publish()
    store.put([record("b", imported=utc_now() - timedelta(hours=1))])
    assert publisher.publish().mode == "replace"
    assert ids(context) == ["a", "b"]


def test_images_without_a_position_are_kept(context: ProcessContext) -> None:
    store = context.images.store
    store.put(
        [
            record("a"),
            record("nowhere", obscore={"s_region": SQUARE}),
            record("beyond", obscore={"s_ra": 1.0, "s_dec": 91.0}),
        ]
    )
    context.images.obscore.publish()
    assert ids(context) == ["a", "beyond", "nowhere"]
    found = ask(context, "SELECT s_ra, s_dec, s_region FROM ivoa.obscore WHERE s_ra IS NULL")
    assert found.to_pylist() == [{"s_ra": None, "s_dec": None, "s_region": None}] * 2
    # The first cell of the sky, where such rows are kept, is at this place.
    near = "SELECT COUNT(*) AS n FROM ivoa.obscore WHERE DISTANCE(s_ra, s_dec, 45, 0) < 30"
    assert ask(context, near).to_pylist() == [{"n": 0}]


def test_an_odd_value_does_not_keep_the_others_from_being_published(
    context: ProcessContext,
) -> None:
    odd = {
        "s_ra": "east",
        "s_dec": 5.0,
        "t_min": "yesterday",
        "s_xel1": 1.5,
        "s_region": [1.0, 2.0],
        "obs_creation_date": "soon",
        "calib_level": None,
        "target_name": "  ",
    }
    context.images.store.put([record("odd", obscore=odd), record("good")])
    context.images.obscore.publish()
    columns = ", ".join(odd)
    found = ask(context, f"SELECT {columns} FROM ivoa.obscore WHERE obs_id = 'odd'")
    assert found.to_pylist() == [dict.fromkeys(odd) | {"calib_level": 1}]
    assert ids(context) == ["good", "odd"]


def test_rights_of_a_collection_are_shown(context: ProcessContext) -> None:
    context.images.store.put([record("a"), record("b", "wide")])
    context.images.obscore.publish()
    rule = AccessRule(access=Access.PRIVATE, owner="bob", listed=True)
    context.rights.set_rule(Resource.of_collection("wide"), rule, by=OPERATOR)
    assert context.images.obscore.publish().mode == "replace"
    shown = ask(context, "SELECT obs_id, data_rights FROM ivoa.obscore ORDER BY obs_id")
    assert shown.column("data_rights").to_pylist() == ["public", "proprietary"]


def test_two_at_once_publish_every_image_once(context: ProcessContext) -> None:
    store = context.images.store
    store.put([record(f"a{i}") for i in range(20)])
    context.images.obscore.publish()
    store.put([record(f"b{i}") for i in range(20)])
    modes: list[str | None] = []

    def publish() -> None:
        modes.append(context.images.obscore.publish().mode)

    threads = [threading.Thread(target=publish) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(modes, key=str) == [None, "append"]
    assert len(ids(context)) == len(set(ids(context))) == 40


def test_the_schema_stays_reserved_for_others(context: ProcessContext) -> None:
    with (
        pytest.raises(BadParameterError, match="reserved"),
        context.catalog.begin_write("ivoa", "mine"),
    ):
        pass
