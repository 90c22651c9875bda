"""Importing files as images: what is kept of them, again and again, and past broken ones."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from astrolabe.core.clock import parse_utc
from astrolabe.core.errors import BadParameterError, ImportRefusedError
from astrolabe.factory import ProcessContext
from astrolabe.images.importing import (
    HeaderMapping,
    ImageImportOptions,
    ImageImportProgress,
    ImageImportReport,
    parse_mapping,
    run_image_import,
)
from astrolabe.images.model import ImageKey, ImageRecord, PlaneKind
from tests.images.deadly import Deadly
from tests.support.images import (
    star_field,
    wcs_header,
    write_bomb,
    write_compressed,
    write_lookup_image,
    write_planes,
    write_wcs_image,
)
from tests.support.tiny import open_context

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def context(tmp_path: Path) -> Iterator[ProcessContext]:
    with open_context(tmp_path / "home") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "files"
    made.mkdir()
    return made


def bring(
    context: ProcessContext, *sources: Path | str, publish: bool = False, **options: Any
) -> ImageImportReport:
    asked = ImageImportOptions(collection="survey", **{"workers": 1, **options})
    return run_image_import(sources, asked, context.images, publish=publish)


def get(context: ProcessContext, image_id: str) -> ImageRecord:
    return context.images.store.get(ImageKey("survey", image_id))


def ids(context: ProcessContext) -> list[str]:
    return [r.key.image_id for batch in context.images.store.scan("survey") for r in batch]


def test_a_file_of_three_planes(context: ProcessContext, folder: Path) -> None:
    path = write_planes(folder / "visit 7.fits", cards={"BUNIT": "nJy", "DATE": "31/12/98"})
    report = bring(context, folder, publish=True)
    assert (report.files, report.images, report.unchanged) == (1, 1, 0)
    assert (report.refused, report.notes) == ((), ())
    assert report.bytes == path.stat().st_size
    record = get(context, "visit_7")
    assert record.uri == str(path)
    assert record.planes == {PlaneKind.IMAGE: 1, PlaneKind.MASK: 2, PlaneKind.VARIANCE: 3}
    assert record.md5 == hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    values = record.obscore
    expected = {
        "target_name": "field 7",
        "facility_name": "Synthetic",
        "instrument_name": "SynCam",
        "band": "r",
        "t_exptime": 30.0,
        "t_min": 61100.17020833,
        "s_xel1": 180,
        "s_xel2": 150,
        "dataproduct_type": "image",
        "calib_level": 2,
        "o_ucd": "phot.flux.density",
        "obs_id": "visit_7",
        "obs_creation_date": "1998-12-31T00:00:00.000Z",
    }
    assert {name: values[name] for name in expected} == expected
    assert values["t_max"] == pytest.approx(61100.17020833 + 30 / 86400, abs=1e-9)
    assert (values["em_min"], values["em_max"]) == pytest.approx((557.0e-9, 695.2e-9))
    opened = context.images.reader.open(record)
    assert opened.image.read_whole().shape == (150, 180)
    (row,) = context.images.store.scan("survey")
    assert row[0].key == record.key


@pytest.mark.parametrize("kind", ["tan", "sip", "galactic", "sfl", "tpv"])
def test_place_agrees_with_astropy(context: ProcessContext, folder: Path, kind: str) -> None:
    path = write_wcs_image(folder / "a.fits", kind)
    bring(context, path)
    values = get(context, "a").obscore
    wcs = WCS(fits.getheader(path))
    height, width = 150, 180
    centre = wcs.pixel_to_world((width - 1) / 2, (height - 1) / 2).icrs
    assert values["s_ra"] == pytest.approx(centre.ra.deg, abs=1e-9)
    assert values["s_dec"] == pytest.approx(centre.dec.deg, abs=1e-9)
    corners = wcs.pixel_to_world(
        [-0.5, width - 0.5, width - 0.5, -0.5], [-0.5, -0.5, height - 0.5, height - 0.5]
    ).icrs
    outline = np.array(values["s_region"]).reshape(-1, 2)
    for corner in corners:
        apart = np.hypot(
            (outline[:, 0] - corner.ra.deg) * np.cos(corner.dec.rad), outline[:, 1] - corner.dec.deg
        )
        assert apart.min() * 3600 < 1e-3, "each corner of the image is one of the outline"
    farthest = max(float(centre.separation(corner).deg) for corner in corners)
    assert values["s_fov"] == pytest.approx(2 * farthest, rel=0.02)


def test_images_without_position_are_kept_and_said(context: ProcessContext, folder: Path) -> None:
    fits.PrimaryHDU(star_field()).writeto(folder / "plain.fits")
    nan = wcs_header()
    nan_data = fits.PrimaryHDU(star_field(), nan)
    nan_data.writeto(folder / "nan.fits")
    raw = (folder / "nan.fits").read_bytes()
    place = raw.index(b"CRVAL1  =")
    card = b"CRVAL1  =                  NaN".ljust(80)
    (folder / "nan.fits").write_bytes(raw[:place] + card + raw[place + 80 :])
    report = bring(context, folder, publish=True)
    assert report.images == report.without_position == 2
    assert report.refused == ()
    assert {note.partition(":")[0] for note, _ in report.notes} == {"no position"}
    for name in ("plain", "nan"):
        values = get(context, name).obscore
        assert not values.keys() & {"s_ra", "s_dec", "s_region", "s_fov"}
        assert values["calib_level"] == 1
    entry = context.catalog.view(fresh=True).entries["ivoa", "ObsCore"]
    assert entry.row.row_count == 2


def test_cubes(context: ProcessContext, folder: Path) -> None:
    header = wcs_header("tan", (4, 150, 180))
    header.update({"CTYPE3": "FREQ", "CUNIT3": "Hz", "CRPIX3": 1.0, "CRVAL3": 1e11, "CD3_3": 1e9})
    fits.PrimaryHDU(star_field((4, 150, 180)), header).writeto(folder / "cube.fits")
    header = wcs_header("tan", (3, 150, 180))
    header.update({"CTYPE3": "STOKES", "CRPIX3": 1.0, "CRVAL3": 1.0, "CD3_3": 1.0})
    fits.PrimaryHDU(star_field((3, 150, 180)), header).writeto(folder / "stokes.fits")
    bring(context, folder)
    values = get(context, "cube").obscore
    assert values["dataproduct_type"] == "cube"
    assert values["em_xel"] == 4
    light = 299_792_458.0
    assert values["em_max"] == pytest.approx(light / (1e11 - 0.5e9), rel=1e-12)
    assert values["em_min"] == pytest.approx(light / (1e11 + 3.5e9), rel=1e-12)
    assert (values["s_xel1"], values["s_xel2"]) == (180, 150)
    values = get(context, "stokes").obscore
    assert (values["pol_states"], values["pol_xel"]) == ("/I/Q/U/", 3)


def test_several_images_in_a_file(context: ProcessContext, folder: Path) -> None:
    hdus = [fits.ImageHDU(star_field(seed=n), wcs_header(), name=f"N{n}") for n in range(1, 4)]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(folder / "camera.fits")
    write_lookup_image(folder / "lookup.fits")
    report = bring(context, folder)
    assert (report.files, report.images) == (2, 4)
    assert ids(context) == ["camera-N1", "camera-N2", "camera-N3", "lookup"]
    assert {r.obscore["obs_id"] for batch in context.images.store.scan() for r in batch} == {
        "camera",
        "lookup",
    }


def test_a_mapping(context: ProcessContext, folder: Path) -> None:
    cards = {"EXPNUM": 42, "CCD": 7, "SEEING": 0.0002, "RELDATE": "2030-01-02T03:04:05"}
    cards |= {"FILTER": "VR", "IMCMB001": "raw/visit_1.fits[0]", "IMCMB2": "visit_2.fits"}
    write_planes(folder / "a.fits", cards=cards)
    mapping = parse_mapping(
        {
            "id": {"template": "{EXPNUM:08d}_{CCD:02d}"},
            "bands": {"VR": {"name": "VR", "min": 497, "max": 756, "unit": "nm"}},
            "columns": {
                "facility_name": {"constant": "Blanco"},
                "s_resolution": {"keyword": "SEEING", "unit": "deg"},
                "target_name": None,
            },
            "planes": {"variance": []},
            "progenitors": {"keyword": "IMCMB", "collection": "visits"},
            "released": "RELDATE",
        }
    )
    bring(context, folder, mapping=mapping)
    record = get(context, "00000042_07")
    assert record.planes == {PlaneKind.IMAGE: 1, PlaneKind.MASK: 2}
    assert record.progenitors == ("visits/visit_1", "visits/visit_2")
    assert record.released is not None
    assert abs((record.released - parse_utc("2030-01-02T03:04:05")).total_seconds()) < 1e-3
    values = record.obscore
    assert values["facility_name"] == "Blanco"
    assert values["s_resolution"] == pytest.approx(0.72)
    assert (values["em_min"], values["em_max"]) == pytest.approx((497e-9, 756e-9))
    assert "target_name" not in values


def test_progenitors_by_our_own_keyword(context: ProcessContext, folder: Path) -> None:
    write_planes(folder / "coadd.fits", cards={"PROG1": "demo_visits/v1", "PROG2": "v2"})
    bring(context, folder)
    assert get(context, "coadd").progenitors == ("demo_visits/v1", "survey/v2")


@pytest.mark.parametrize(
    ("columns", "cards", "says"),
    [
        pytest.param({"t_min": "DATE-OBS"}, {"DATE-OBS": "soon"}, "t_min: DATE-OBS", id="date"),
        pytest.param({"calib_level": "LEVEL"}, {"LEVEL": 9}, "from 0 to 4", id="level"),
        pytest.param({"s_xel1": "LEVEL"}, {"LEVEL": 1.5}, "whole number", id="whole"),
        pytest.param({"t_exptime": "LEVEL"}, {"LEVEL": "long"}, "t_exptime", id="text"),
    ],
)
def test_a_value_that_was_asked_for_must_fit(
    context: ProcessContext, folder: Path, columns: Any, cards: Any, says: str
) -> None:
    write_planes(folder / "a.fits", cards=cards)
    report = bring(context, folder, mapping=parse_mapping({"columns": columns}))
    assert ids(context) == []
    assert says in report.refused[0].reason


def test_a_value_that_only_defaults_want_is_left_out(context: ProcessContext, folder: Path) -> None:
    write_planes(folder / "a.fits", cards={"MJD-OBS": "unknown", "EXPTIME": "long", "DATE": "?"})
    report = bring(context, folder)
    values = get(context, "a").obscore
    assert not values.keys() & {"t_min", "t_max", "t_exptime", "obs_creation_date"}
    assert any("t_min left out" in note for note, _ in report.notes)


def test_a_date_of_release_that_cannot_be_read_makes_nothing_public(
    context: ProcessContext, folder: Path
) -> None:
    write_planes(folder / "a.fits", cards={"HIERARCH OBS_RELEASE_DATE": "DR1", "RELEASE": 9010})
    assert "date of release" in bring(context, folder).refused[0].reason
    write_planes(folder / "b.fits")
    later = parse_utc("2040-01-01")
    bring(context, folder / "b.fits", released=later)
    assert get(context, "b").released == later


def test_files_that_have_not_changed_are_passed_over(context: ProcessContext, folder: Path) -> None:
    path = write_planes(folder / "a.fits")
    write_wcs_image(folder / "b.fits")
    assert bring(context, folder).files == 2
    before = get(context, "a")
    again = bring(context, folder)
    assert (again.files, again.unchanged, again.total_images) == (0, 2, 2)
    assert get(context, "a").imported == before.imported
    # Another time of change is another file.
    os.utime(path, ns=(1, 1))
    changed = bring(context, folder)
    assert (changed.files, changed.unchanged) == (1, 1)
    after = get(context, "a")
    assert after.index_path != before.index_path
    assert (context.images.folder / after.index_path).is_file()
    assert not (context.images.folder / before.index_path).exists()
    assert bring(context, folder, refresh=True).files == 2
    # So is another way to read it.
    mapping = HeaderMapping.default().with_columns({"calib_level": 3})
    assert bring(context, folder, mapping=mapping).files == 2
    assert get(context, "a").obscore["calib_level"] == 3
    assert bring(context, folder, mapping=mapping).files == 0


def test_images_that_a_changed_file_has_no_more_go(context: ProcessContext, folder: Path) -> None:
    path = folder / "camera.fits"
    hdus = [fits.ImageHDU(star_field(), wcs_header(), name=name) for name in ("N1", "N2")]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    bring(context, path)
    assert ids(context) == ["camera-N1", "camera-N2"]
    fits.HDUList([fits.PrimaryHDU(), hdus[0]]).writeto(path, overwrite=True)
    bring(context, path)
    assert ids(context) == ["camera"]


def test_two_files_of_one_id(context: ProcessContext, folder: Path) -> None:
    (folder / "one").mkdir()
    (folder / "two").mkdir()
    first = write_wcs_image(folder / "one" / "a.fits")
    second = write_wcs_image(folder / "two" / "A.fits")
    report = bring(context, folder)
    assert (report.images, len(report.refused)) == (1, 1)
    assert report.refused[0].uri == str(second)
    assert str(first) in report.refused[0].reason
    assert "--replace" in bring(context, second).refused[0].reason
    assert get(context, "a").uri == str(first)
    used = list((context.images.folder / "index").rglob("*.idx"))
    assert len(used) == 1, "what was refused leaves no index"
    bring(context, second, replace=True)
    assert get(context, "a").uri == str(second)


def test_files_that_were_moved(context: ProcessContext, folder: Path) -> None:
    path = write_wcs_image(folder / "a.fits")
    bring(context, path)
    moved = path.rename(folder.parent / "a.fits")
    assert bring(context, moved).images == 1
    assert (get(context, "a").uri, len(ids(context))) == (str(moved), 1)


def test_broken_files_are_skipped_with_the_reason(context: ProcessContext, folder: Path) -> None:
    good = write_planes(folder / "good.fits")
    (folder / "short.fits").write_bytes(good.read_bytes()[:15_000])
    (folder / "text.fits").write_text("this is no image at all", "utf-8")
    (folder / "empty.fits").touch()
    write_bomb(folder / "bomb.fits", 2**31, 2**31, 2**31)
    (folder / "packed.fits.gz").write_bytes(gzip.compress(good.read_bytes()))
    (folder / "gone.fits").symlink_to(folder / "nowhere.fits")
    os.mkfifo(folder / "pipe.fits")
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(3))])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(folder / "table.fits")
    (folder / "loop").symlink_to(folder)
    (folder / "notes.txt").touch()
    (folder / ".hidden.fits").touch()
    report = bring(context, folder, publish=True)
    assert ids(context) == ["good"]
    reasons = {Path(refused.uri).name: refused.reason for refused in report.refused}
    expected = {
        "short.fits": "truncated",
        "text.fits": "END card",
        "empty.fits": "empty",
        "bomb.fits": "elements",
        "packed.fits.gz": "--unpack",
        "gone.fits": "No such file",
        "pipe.fits": "not a regular file",
        "table.fits": "only tables",
    }
    assert reasons.keys() == expected.keys()
    for name, words in expected.items():
        assert words in reasons[name]


def test_strict_imports_nothing(context: ProcessContext, folder: Path) -> None:
    write_planes(folder / "good.fits")
    (folder / "text.fits").write_text("no image", "utf-8")
    report = bring(context, folder, strict=True, publish=True)
    assert report.abandoned
    assert (report.images, report.files, len(report.refused)) == (0, 0, 1)
    assert context.images.store.collections() == ()
    assert not list(context.images.folder.rglob("*.idx"))
    (folder / "text.fits").unlink()
    assert not bring(context, folder, strict=True).abandoned
    assert ids(context) == ["good"]


@pytest.mark.parametrize("kind", ["gz", "bz2"])
def test_packed_files_are_unpacked_where_asked(
    context: ProcessContext, folder: Path, kind: str
) -> None:
    path = write_wcs_image(folder / "a.fits")
    pack = gzip.compress if kind == "gz" else bz2.compress
    packed = folder / f"a.fits.{kind}"
    packed.write_bytes(pack(path.read_bytes()))
    path.unlink()
    report = bring(context, folder, unpack=True)
    assert report.refused == ()
    record = get(context, "a")
    assert Path(record.uri).is_relative_to(context.images.folder / "unpacked")
    assert context.images.reader.open(record).image.read_whole().shape == (150, 180)
    assert bring(context, folder, unpack=True).unchanged == 1


@pytest.mark.slow
def test_what_only_looks_packed(context: ProcessContext, folder: Path) -> None:
    (folder / "a.fits.gz").write_bytes(b"\x1f\x8b\x08" + bytes(50))
    (folder / "bomb.fits.gz").write_bytes(gzip.compress(bytes(300 << 20), 9))
    (folder / "c.fits.zst").write_bytes(b"no")
    report = bring(context, folder, unpack=True)
    reasons = [refused.reason for refused in report.refused]
    assert len(reasons) == 3
    assert "cannot be unpacked" in reasons[0]
    assert "unpacks to more than" in reasons[1]
    assert ".zst cannot be unpacked here" in reasons[2]
    assert not [p for p in (context.images.folder / "unpacked").rglob("*") if p.is_file()]


@pytest.mark.parametrize(
    ("name", "image_id"),
    [
        pytest.param("..fits.fits", "fits", id="dots"),
        pytest.param("a..b.fits", "a.b", id="two-dots"),
        pytest.param("bad%2F..%2Fetc.fits", "bad_2F._2Fetc", id="quoted"),
        pytest.param("Ångström.fits", "ngstr_m", id="not-ascii"),
        pytest.param("x" * 240 + ".fits", "x" * 200, id="long"),
        pytest.param("-rf;$(id).fits", "rf_id", id="shell"),
        pytest.param("img.fits.fz", "img", id="fpacked"),
        pytest.param("___.fits", "image", id="nothing-left"),
    ],
)
def test_names_of_files_become_safe_ids(
    context: ProcessContext, folder: Path, name: str, image_id: str
) -> None:
    write_wcs_image(folder / name)
    bring(context, folder / name)
    assert ids(context) == [image_id]


def test_headers_cannot_choose_dangerous_ids(context: ProcessContext, folder: Path) -> None:
    write_planes(folder / "a.fits", cards={"OBJECT": "../../etc/passwd"})
    bring(context, folder, mapping=parse_mapping({"id": "OBJECT"}))
    assert ids(context) == ["etc_passwd"]
    write_planes(folder / "b.fits", cards={"OBJECT": "   "})
    report = bring(context, folder / "b.fits", mapping=parse_mapping({"id": "OBJECT"}))
    assert "headers lack" in report.refused[0].reason


@pytest.mark.parametrize("collection", ["", "a/b", "../x", "1a", "a" * 65, "a b"])
def test_names_of_collections_are_checked(
    context: ProcessContext, folder: Path, collection: str
) -> None:
    write_planes(folder / "a.fits")
    with pytest.raises(BadParameterError):
        run_image_import([folder], ImageImportOptions(collection=collection), context.images)
    assert context.images.store.count() == 0


def test_sources(context: ProcessContext, folder: Path) -> None:
    (folder / "sub").mkdir()
    write_wcs_image(folder / "sub" / "a1.fits")
    write_wcs_image(folder / "a2.fits")
    write_wcs_image(folder / "other.img")
    (folder / "link.fits").symlink_to(folder / "a2.fits")
    assert bring(context, f"{folder}/**/a*.fits", folder / "a2.fits").files == 2
    assert bring(context, folder / "other.img").files == 1, "a file that is named is tried"
    assert ids(context) == ["a1", "a2", "other.img"]
    (folder / "none").mkdir()
    with pytest.raises(ImportRefusedError, match="no FITS files"):
        bring(context, folder / "none")
    with pytest.raises(ImportRefusedError, match="no FITS files"):
        bring(context, f"{folder}/zz*.fits")
    assert "No such file" in bring(context, folder / "nothing.fits").refused[0].reason


@pytest.mark.slow
def test_processes_read_the_same(context: ProcessContext, folder: Path) -> None:
    for number in range(6):
        write_compressed(folder / f"{number}.fits", "rice-i16")
    (folder / "bad.fits").write_text("no", "utf-8")
    seen: list[ImageImportProgress] = []
    options = ImageImportOptions(collection="survey", workers=2)
    report = run_image_import(
        [folder], options, context.images, progress=seen.append, publish=False
    )
    assert (report.images, len(report.refused)) == (6, 1)
    assert [p.files for p in seen if p.step == "read"] == list(range(8))
    by_processes = [get(context, str(number)) for number in range(6)]
    bring(context, folder, refresh=True)
    for record in by_processes:
        same = replace(get(context, record.key.image_id), imported=record.imported)
        assert (same.obscore, same.md5, same.index_path, same.planes) == (
            record.obscore,
            record.md5,
            record.index_path,
            record.planes,
        )


@pytest.mark.slow
def test_a_file_that_ends_its_process_is_skipped(context: ProcessContext, folder: Path) -> None:
    for number in range(12):
        name = "deadly" if number == 5 else f"field {number}"
        fits.PrimaryHDU(np.zeros((4, 5), np.float32), fits.Header({"OBJECT": name})).writeto(
            folder / f"{number:02d}.fits"
        )
    default = HeaderMapping.default()
    mapping = replace(default, columns={**default.columns, "target_name": Deadly("deadly")})
    report = bring(context, folder, workers=2, mapping=mapping)
    assert [Path(refused.uri).name for refused in report.refused] == ["05.fits"]
    assert "ended the process" in report.refused[0].reason
    assert report.images == 11


def test_what_is_said_of_a_collection(context: ProcessContext, folder: Path) -> None:
    write_planes(folder / "a.fits")
    bring(context, folder, title="Visits", release="dr1")
    bring(context, folder, description="All of them")
    found = context.images.store.collection("SURVEY")
    assert (found.title, found.description, found.release) == ("Visits", "All of them", "dr1")
    assert get(context, "a").release == "dr1"
