"""Collections and images in the control database, and who may see and read them."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from astrolabe.core.database import Database
from astrolabe.core.errors import (
    BadParameterError,
    ForbiddenError,
    NotFoundError,
    UnauthenticatedError,
)
from astrolabe.identity import ANONYMOUS, Principal
from astrolabe.identity.access import Access, AccessRule, Resource
from astrolabe.identity.audit import AuditLog
from astrolabe.identity.authority import OPERATOR, PLATFORM
from astrolabe.identity.rights import Rights
from astrolabe.images.access import ImageAccess
from astrolabe.images.model import (
    ImageCollection,
    ImageKey,
    ImageRecord,
    PlaneKind,
    check_collection_name,
    check_image_id,
    parse_image_did,
)
from astrolabe.images.store import ImageStore

AUTHORITY = "Example.org"
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
BOB = Principal(username="bob", groups=frozenset(), scopes=frozenset({"read:image"}))


def record(collection: str = "Deep", image_id: str = "v1.r", **changes: Any) -> ImageRecord:
    made = ImageRecord(
        key=ImageKey(collection, image_id),
        uri=f"/data/{image_id}.fits",
        size_bytes=2880,
        md5="0" * 32,
        signature="2880 1",
        index_path=f"indexes/{image_id}",
        planes={PlaneKind.IMAGE: 1, PlaneKind.MASK: 2},
        progenitors=("visits/a",),
        obscore={"s_ra": 10.5, "s_region": [1.0, 2.0, 3.0, 2.0, 2.0, 3.0], "target_name": None},
        imported=NOW,
    )
    return replace(made, **changes)


def shown(found: ImageRecord) -> dict[str, Any]:
    return {name: getattr(found, name) for name in ImageRecord.__dataclass_fields__}


@pytest.fixture
def store(database: Database) -> ImageStore:
    made = ImageStore(database)
    made.ensure_collection(ImageCollection(name="Deep", title="Deep field", created=NOW))
    return made


def test_an_image_comes_back_as_it_was(store: ImageStore) -> None:
    store.put([record(released=NOW)])
    assert shown(store.get(ImageKey("deep", "V1.R"))) == shown(record(released=NOW))


def test_a_second_import_replaces(store: ImageStore) -> None:
    store.put([record()])
    store.put([record(image_id="V1.r", signature="2880 2")])
    assert store.count() == 1
    assert store.signatures("DEEP") == {"/data/V1.r.fits": "2880 2"}


def test_all_or_nothing_is_written(store: ImageStore) -> None:
    with pytest.raises(NotFoundError, match="no collection of images 'other'"):
        store.put([record(), record("other")])
    assert store.count() == 0


def test_many_images_are_scanned_in_the_order_of_their_keys(store: ImageStore) -> None:
    store.ensure_collection(ImageCollection(name="a", created=NOW))
    names = [f"x{number:04d}" for number in range(1201)]
    store.put([record(image_id=name) for name in reversed(names)] + [record("a", "z")])
    batches = list(store.scan())
    assert [r.key.path for batch in batches for r in batch] == ["a/z"] + [
        f"Deep/{n}" for n in names
    ]
    assert max(map(len, batches)) <= 500
    assert [r.key.image_id for batch in store.scan("a") for r in batch] == ["z"]
    wanted = [ImageKey("deep", name) for name in names] + [ImageKey("deep", "absent")]
    assert len(store.find(wanted)) == 1201


def test_a_home_may_be_moved(database: Database, store: ImageStore) -> None:
    here = ImageStore(database, folder=Path("/old/images"))
    here.put([record(uri="/old/images/made/a.fits"), record(image_id="far", uri="/data/b.fits")])
    there = ImageStore(database, folder=Path("/new/images"))
    assert there.get(ImageKey("deep", "v1.r")).uri == "/new/images/made/a.fits"
    assert set(there.signatures("deep")) == {"/new/images/made/a.fits", "/data/b.fits"}
    (found,) = there.of_files("deep", ["/new/images/made/a.fits"])
    assert found.key.image_id == "v1.r"
    assert {r.uri for batch in store.scan() for r in batch} == {"home:made/a.fits", "/data/b.fits"}


def test_what_is_said_of_an_image_is_a_second_old_at_most(
    database: Database, store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = ImageAccess(store, Rights(database, audit=AuditLog(database)))
    key = ImageKey("DEEP", "v1.r")
    assert access.find(ANONYMOUS, [key]) == {}
    store.put([record()])
    assert access.get(ANONYMOUS, key).signature == "2880 1"
    store.put([record(signature="2880 2")])
    later = time.monotonic() + 1.5
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert access.get(ANONYMOUS, key).signature == "2880 2"


def test_a_collection_keeps_its_first_description(store: ImageStore) -> None:
    again = store.ensure_collection(ImageCollection(name="DEEP", title="other", created=NOW))
    assert (again.name, again.title) == ("Deep", "Deep field")
    store.describe_collection(replace(again, release="dr1", documentation="https://x.invalid/"))
    store.put([record()])
    assert store.get(ImageKey("deep", "v1.r")).release == "dr1"
    assert store.remove_collection("deep") == 1
    assert (store.count(), store.collections()) == (0, ())
    with pytest.raises(NotFoundError):
        store.remove_collection("deep")


@pytest.mark.parametrize(
    "image_id", ["", "../x", "a/b", "a..b", "a\0b", "a b", "-a", "x" * 201, "%2e%2e", "é"]
)
def test_ids_that_could_be_paths_are_refused(image_id: str) -> None:
    with pytest.raises(BadParameterError, match="is not the id of an image"):
        check_image_id(image_id)


@pytest.mark.parametrize("name", ["", "1a", "a.b", "a/b", "a-b", "x" * 65, "a?b", "..", "ä"])
def test_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(BadParameterError, match="is not the name of a collection"):
        check_collection_name(name)


def test_identifiers_lead_back_to_the_image() -> None:
    key = ImageKey("Deep", "v1+r_2.3-x")
    did = key.did(AUTHORITY)
    assert did == "ivo://Example.org/Deep?v1+r_2.3-x"
    assert parse_image_did(did, authority=AUTHORITY) == key
    assert parse_image_did(did.upper(), authority=AUTHORITY).folded == key.folded


@pytest.mark.parametrize(
    "did",
    [
        "",
        "Deep/v1",
        "ivo://other.org/Deep?v1",
        "ivo://example.org/Deep",
        "ivo://example.org/demo.object?1",
        "ivo://example.org/Deep?../../etc/passwd",
        "ivo://example.org/Deep?%2e%2e%2fetc",
        "ivo://example.org/../Deep?v1",
        "file:///etc/passwd",
    ],
)
def test_what_is_no_identifier_here_is_refused(did: str) -> None:
    with pytest.raises(BadParameterError):
        parse_image_did(did, authority=AUTHORITY)


def test_rights_of_collections_hold_for_images(database: Database, store: ImageStore) -> None:
    rights = Rights(database, audit=AuditLog(database))
    access = ImageAccess(store, rights)
    soon = NOW + timedelta(days=36_500)
    store.put(
        [record(), record(image_id="old", released=NOW), record(image_id="new", released=soon)]
    )
    key = ImageKey("deep", "v1.r")
    assert access.get(ANONYMOUS, key).key.image_id == "v1.r"

    deep = Resource.of_collection("DEEP")
    rights.set_rule(deep, AccessRule(access=Access.PRIVATE, owner="ada"), by=OPERATOR)
    for principal in (ANONYMOUS, BOB):
        assert access.collections(principal) == ()
        with pytest.raises(NotFoundError):
            access.get(principal, key)
    assert access.get(PLATFORM, key).key.folded == key.folded

    rule = AccessRule(access=Access.PRIVATE, owner="ada", listed=True)
    rights.set_rule(deep, rule, by=OPERATOR)
    assert [c.name for c in access.collections(ANONYMOUS)] == ["Deep"]
    with pytest.raises(UnauthenticatedError, match=r"Log in to read the image Deep/v1\.r"):
        access.get(ANONYMOUS, key)
    with pytest.raises(ForbiddenError):
        access.get(BOB, ImageKey("deep", "new"))
    assert access.get(ANONYMOUS, ImageKey("deep", "old")).released == NOW
    assert access.get(replace(BOB, username="ada"), key).key.folded == key.folded
