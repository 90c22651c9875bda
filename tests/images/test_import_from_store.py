"""Importing images from a real object store."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from astrolabe.core.errors import AstrolabeError, ImportRefusedError
from astrolabe.factory import ProcessContext
from astrolabe.images.importing import ImageImportOptions, ImageImportReport, run_image_import
from astrolabe.images.model import ImageKey
from tests.support.images import write_compressed, write_planes, write_wcs_image
from tests.support.object_store import ObjectStore, object_store
from tests.support.tiny import open_context

__all__ = ["object_store"]

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]


@pytest.fixture
def context(tmp_path: Path, object_store: ObjectStore) -> Iterator[ProcessContext]:
    s3 = object_store.options
    images = {
        "s3_endpoint": s3.endpoint,
        "s3_access_key": s3.access_key,
        "s3_secret_key": s3.secret_key,
    }
    with open_context(tmp_path / "home", images=images) as opened:
        yield opened


def bring(context: ProcessContext, source: str, *, workers: int = 1) -> ImageImportReport:
    options = ImageImportOptions(collection="stored", workers=workers)
    return run_image_import([source], options, context.images, publish=False)


def test_a_prefix(context: ProcessContext, object_store: ObjectStore, tmp_path: Path) -> None:
    object_store.put(write_planes(tmp_path / "a.fits"), "prefix/a.fits")
    object_store.put(write_compressed(tmp_path / "b.fits", "rice-i16"), "prefix/deep/b.fits.fz")
    (tmp_path / "c.fits").write_text("no image", "utf-8")
    object_store.put(tmp_path / "c.fits", "prefix/c.fits")
    object_store.put(tmp_path / "c.fits", "prefix/readme.txt")
    (tmp_path / "d.fits.gz").write_bytes(gzip.compress((tmp_path / "a.fits").read_bytes()))
    object_store.put(tmp_path / "d.fits.gz", "prefix/d.fits.gz")
    # Other processes need the address and the keys.
    report = bring(context, "s3://images/prefix/", workers=2)
    assert (report.files, report.images) == (2, 2)
    assert {refused.uri for refused in report.refused} == {
        "s3://images/prefix/c.fits",
        "s3://images/prefix/d.fits.gz",
    }
    record = context.images.store.get(ImageKey("stored", "a"))
    assert record.uri == "s3://images/prefix/a.fits"
    assert record.size_bytes == (tmp_path / "a.fits").stat().st_size
    assert record.md5 is None, "not computed, since that would fetch the whole file"
    assert context.images.reader.open(record).image.read_whole().shape == (150, 180)
    assert bring(context, "s3://images/prefix/").unchanged == 2


def test_an_object_that_changes(
    context: ProcessContext, object_store: ObjectStore, tmp_path: Path
) -> None:
    uri = object_store.put(write_wcs_image(tmp_path / "a.fits"), "one/a.fits")
    assert bring(context, uri).images == 1
    assert bring(context, uri).unchanged == 1
    before = context.images.store.get(ImageKey("stored", "a"))
    object_store.put(write_wcs_image(tmp_path / "b.fits", "sip"), "one/a.fits")
    assert bring(context, uri).images == 1
    after = context.images.store.get(ImageKey("stored", "a"))
    assert after.signature != before.signature
    object_store.delete("one/a.fits")
    assert "no s3://images/one/a.fits" in bring(context, uri).refused[0].reason


def test_what_is_not_there(context: ProcessContext) -> None:
    with pytest.raises(ImportRefusedError, match="no FITS files"):
        bring(context, "s3://images/nothing/")
    assert "no s3://images/no.fits" in bring(context, "s3://images/no.fits").refused[0].reason
    with pytest.raises(AstrolabeError, match="no-such-bucket"):
        bring(context, "s3://no-such-bucket/prefix/")
