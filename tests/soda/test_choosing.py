"""From which images stamps are cut: found by footprints, bands and times, or named by a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from astrolabe.catalogs.cancel import QueryCancel
from astrolabe.catalogs.uploads import UPLOAD_SCHEMA, UploadedTable
from astrolabe.core.errors import NotFoundError, TooLargeError, UploadInvalidError
from astrolabe.factory import ProcessContext
from astrolabe.identity import ANONYMOUS
from astrolabe.identity.access import Access, AccessRule, Resource
from astrolabe.identity.authority import OPERATOR
from astrolabe.images.model import ImageCollection, ImageKey, ImageRecord, PlaneKind
from astrolabe.images.soda.choosing import StampImages, read_image_keys
from astrolabe.images.soda.cutting import Cutting
from astrolabe.images.soda.positions import Positions
from astrolabe.images.soda.request import ImageChoice
from astrolabe.tables.model import Column, Datatype, TableMeta
from tests.support.tiny import open_context

NOW = datetime(2026, 1, 1, tzinfo=UTC)
AUTHORITY = "astrolabe.invalid"
HERE, EDGE, FAR = (10.0, 10.0), (10.055, 10.0), (200.0, -40.0)
RED, GREEN = (5.5e-7, 7e-7), (4e-7, 5.5e-7)


def values(
    place: tuple[float, float], band: str, wavelengths: tuple[float, float], begin: float
) -> dict[str, Any]:
    """Return the columns of an image of a tenth of a degree a side."""
    ra, dec = place
    wide = 0.05 / np.cos(np.radians(dec))
    region = [ra - wide, dec - 0.05, ra + wide, dec - 0.05,
              ra + wide, dec + 0.05, ra - wide, dec + 0.05]  # fmt: skip
    return {
        "s_ra": ra, "s_dec": dec, "s_region": region, "band": band, "em_min": wavelengths[0],
        "em_max": wavelengths[1], "t_min": begin, "t_max": begin + 0.1,
    }  # fmt: skip


IMAGES: dict[tuple[str, str], dict[str, Any]] = {
    ("deep", "r1"): values(HERE, "r", RED, 60000.0),
    ("deep", "r2"): values(HERE, "r", RED, 60100.0),
    ("deep", "g1"): values(HERE, "g", GREEN, 60000.0),
    ("deep", "far"): values(FAR, "r", RED, 60000.0),
    ("deep", "wide"): {"s_ra": 0.0, "s_dec": 0.0},  # a hemisphere, which is no polygon
    ("deep", "bare"): {},
    ("other", "o1"): values(HERE, "r", RED, 60000.0),
    ("listed", "l1"): values(HERE, "r", RED, 60000.0),
    ("secret", "s1"): values(HERE, "r", RED, 60000.0),
}


def record(key: tuple[str, str], obscore: dict[str, Any]) -> ImageRecord:
    return ImageRecord(
        key=ImageKey(*key),
        uri=f"/nowhere/{key[1]}.fits",
        size_bytes=2880,
        md5=None,
        signature="1",
        index_path="none",
        planes={PlaneKind.IMAGE: 0},
        obscore={"dataproduct_type": "image", "calib_level": 2, "obs_id": key[1], **obscore},
        imported=NOW,
    )


@pytest.fixture(scope="module", params=["scanned", "searched"])
def context(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProcessContext]:
    """Images of collections of three kinds of rights, without and with ``ivoa.ObsCore``."""
    home = tmp_path_factory.mktemp("choosing")
    with open_context(home, engine={"memory_fraction": 0.02, "threads": 1}) as made:
        for name in ("deep", "other", "listed", "secret"):
            made.images.store.ensure_collection(ImageCollection(name=name, created=NOW))
        for name, listed in (("listed", True), ("secret", False)):
            rule = AccessRule(access=Access.PRIVATE, owner="ada", listed=listed)
            made.rights.set_rule(Resource.of_collection(name), rule, by=OPERATOR)
        made.images.store.put([record(*image) for image in IMAGES.items()])
        if request.param == "searched":
            made.images.obscore.publish()
        yield made


def cutting_of(context: ProcessContext) -> Cutting:
    return context.soda.job_cutting(ANONYMOUS, address=None, cancel=QueryCancel())


def images_of(context: ProcessContext) -> StampImages:
    return StampImages(
        access=context.images.access,
        store=context.images.store,
        queries=context.queries,
        readable=context.readable,
        authority=AUTHORITY,
    )


def positions(*places: tuple[float, float]) -> Positions:
    ra, dec = np.array(places).T
    return Positions(
        ra_deg=ra, dec_deg=dec, size_deg=None, ids=tuple(str(n) for n in range(len(ra)))
    )


def found(context: ProcessContext, *places: tuple[float, float], **choice: Any) -> set[str]:
    """Return the images of a collection that have a footprint and are chosen for positions."""
    wanted = ImageChoice(**{"collection": "deep", **choice})
    chosen = images_of(context).of_collection(
        wanted, positions(*places), cutting_of(context), most=100
    )
    names = [record.key.image_id for record in chosen]
    assert len(names) == len(set(names))
    return set(names)


def is_searched(context: ProcessContext) -> bool:
    return images_of(context)._is_published(ANONYMOUS)


def test_images_are_found_by_their_footprints(context: ProcessContext) -> None:
    """What is not near any position is not even looked at, where footprints are published."""
    names = found(context, HERE, (np.nan, 1.0), (80.0, 0.0))
    assert {"r1", "r2", "g1", "wide"} <= names
    if is_searched(context):
        assert names == {"r1", "r2", "g1", "wide"}
        assert found(context, FAR, (np.nan, np.nan)) == {"far", "wide"}
        assert found(context, (10.3, 10.0)) == {"wide"}


def test_positions_just_off_a_footprint_find_their_image(context: ProcessContext) -> None:
    assert {"r1", "r2", "g1"} <= found(context, EDGE)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"filters": ("r",)}, {"r1", "r2"}),
        ({"filters": ("g", "it's")}, {"g1"}),
        ({"wavelengths": ((6e-7, 6e-7),)}, {"r1", "r2"}),
        ({"wavelengths": ((-np.inf, 4.5e-7),)}, {"g1"}),
        ({"wavelengths": ((1e-7, 2e-7), (-np.inf, np.inf))}, {"r1", "r2", "g1"}),
        ({"times": ((60000.05, 60050.0),)}, {"r1", "g1"}),
        ({"times": ((60099.0, np.inf),), "filters": ("r",)}, {"r2"}),
        ({"times": ((60050.0, 60060.0),)}, set()),
    ],
    ids=["filter", "quote", "wavelength", "up-to", "any", "time", "both", "none"],
)
def test_bands_and_times_choose(
    context: ProcessContext, choice: dict[str, Any], expected: set[str]
) -> None:
    assert found(context, HERE, **choice) - {"far"} == expected


def test_only_images_of_the_collection_that_may_be_read_are_chosen(
    context: ProcessContext,
) -> None:
    assert "o1" not in found(context, HERE)
    assert found(context, HERE, collection="OTHER") == {"o1"}
    assert found(context, HERE, collection="listed") == set()
    for name in ("secret", "none"):
        with pytest.raises(NotFoundError, match="no collection"):
            found(context, HERE, collection=name)


def test_too_many_images_are_refused(context: ProcessContext) -> None:
    if not is_searched(context):
        return
    with pytest.raises(TooLargeError, match="more than 2 images"):
        list(
            images_of(context).of_collection(
                ImageChoice(collection="deep"), positions(HERE), cutting_of(context), most=2
            )
        )


def named(context: ProcessContext, *keys: tuple[str, str], **choice: Any) -> list[str]:
    chosen = images_of(context).named(
        [ImageKey(*key) for key in keys], ImageChoice(**choice), cutting_of(context)
    )
    return [record.key.image_id for record in chosen]


def test_a_table_names_images(context: ProcessContext) -> None:
    """Those that are listed but closed are passed over, as in a collection; hidden ones are not."""
    keys = [("deep", "g1"), ("deep", "r1"), ("listed", "l1"), ("other", "o1")]
    assert named(context, *keys) == ["g1", "r1", "o1"]
    assert named(context, *keys, filters=("r",)) == ["r1", "o1"]
    with pytest.raises(NotFoundError, match="table of images"):
        named(context, ("secret", "s1"))


def table(name: str, texts: Sequence[str | None]) -> UploadedTable:
    meta = TableMeta(
        schema=UPLOAD_SCHEMA,
        name="images",
        columns=(Column(name=name, datatype=Datatype.CHAR, arraysize="*"),),
    )
    return UploadedTable(meta=meta, data=pa.table({name: pa.array(texts, pa.string())}))


@pytest.mark.parametrize("name", ["obs_publisher_did", "OBS_Publisher_DID", "image"])
def test_images_are_named_by_a_column(name: str) -> None:
    texts = [f"ivo://{AUTHORITY}/deep?b", None, f" ivo://{AUTHORITY}/deep?a", "",
             f"ivo://{AUTHORITY}/DEEP?b"]  # fmt: skip
    keys = read_image_keys(table(name, texts), authority=AUTHORITY, most=2)
    assert [key.image_id for key in keys] == ["b", "a"]


def test_a_table_that_names_no_images_is_refused() -> None:
    with pytest.raises(UploadInvalidError, match="no column"):
        read_image_keys(table("ra", ["1"]), authority=AUTHORITY, most=2)
    with pytest.raises(UploadInvalidError, match="table of images"):
        read_image_keys(table("image", ["ivo://elsewhere/x?y"]), authority=AUTHORITY, most=2)
    many = [f"ivo://{AUTHORITY}/deep?{n}" for n in range(3)]
    with pytest.raises(TooLargeError, match="at most 2"):
        read_image_keys(table("image", many), authority=AUTHORITY, most=2)
