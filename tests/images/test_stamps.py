"""Bulk stamps against astropy's Cutout2D, and what becomes of those that cannot be made."""

from __future__ import annotations

import io
import tarfile
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.table import Table
from astropy.wcs import WCS, FITSFixedWarning

from astrolabe.core.errors import BadParameterError, CancelledError, TooLargeError
from astrolabe.images.cutouts import corners_around
from astrolabe.images.model import ImageRecord, PlaneKind
from astrolabe.images.reader import OpenImage
from astrolabe.images.stamps.finding import PositionTree
from astrolabe.images.stamps.maker import NO_POSITION, OFF_ALL_IMAGES, StampMaker
from astrolabe.images.stamps.opening import first_pixel
from astrolabe.images.stamps.request import StampLimits, StampReport, StampRequest
from astrolabe.images.writers.bundles import BundleForm, safe_name
from tests.support.images import (
    COMPRESSED_KINDS,
    WCS_KINDS,
    image_reader,
    make_record,
    open_image,
    star_field,
    wcs_header,
    write_compressed,
    write_lookup_image,
    write_plain,
    write_planes,
    write_wcs_image,
)

Floats = npt.NDArray[np.float64]

SHAPE = (150, 180)
ALL_PLANES = (PlaneKind.IMAGE, PlaneKind.MASK, PlaneKind.VARIANCE)
PLANE_HDUS = dict(zip(ALL_PLANES, (1, 2, 3), strict=True))


@dataclass(frozen=True)
class Places:
    """A table of positions."""

    ra_deg: Floats
    dec_deg: Floats
    ids: tuple[str, ...]
    size_deg: Floats | None = None


def places_on(
    image: OpenImage, x: npt.ArrayLike, y: npt.ArrayLike, size_deg: Floats | None = None
) -> Places:
    """Return the positions of pixels (from 0) of an image."""
    assert image.wcs is not None
    ra, dec = image.wcs.to_sky(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
    return Places(ra, dec, tuple(f"object {n}" for n in range(len(ra))), size_deg)


def scattered(count: int, shape: Sequence[int] = SHAPE) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(5)
    height, width = shape[-2:]
    return rng.uniform(0, width - 1, count), rng.uniform(0, height - 1, count)


def make(
    folder: Path,
    records: Sequence[ImageRecord],
    request: StampRequest,
    form: BundleForm = BundleForm.TAR,
    **options: Any,
) -> tuple[Path, StampReport]:
    path = folder / f"bundle.{form.value}"
    maker = StampMaker(image_reader(folder), authority="astrolabe.invalid")
    return path, maker.make(request, records, path, form, **options)


def index_of(path: Path) -> Table:
    with tarfile.open(path) as packed:
        file = packed.extractfile("index.ecsv")
        assert file is not None
        index = Table.read(file.read().decode(), format="ascii.ecsv")
    for name in ("name", "image", "reason"):
        index[name] = np.ma.filled(index[name].astype(str), "")
    return index


def stamp_files(path: Path) -> dict[str, fits.HDUList]:
    with tarfile.open(path) as packed:
        found = {}
        for member in packed.getmembers():
            file = packed.extractfile(member)
            assert file is not None
            if member.name.endswith(".fits"):
                found[member.name] = fits.open(io.BytesIO(file.read()))
        return found


def assert_is_stamp(row: Any, stamp: fits.HDUList, original: fits.HDUList, hdu: int) -> None:
    """Check the pixels of a stamp against Cutout2D, and its WCS against the image's."""
    stamp.verify("exception")
    side = int(row["width"])
    expected = Cutout2D(
        original[hdu].data, (row["x"], row["y"]), side, mode="partial",
        fill_value=np.nan if original[hdu].data.dtype.kind == "f" else 0,
    )  # fmt: skip
    assert np.array_equal(stamp[0].data, expected.data, equal_nan=stamp[0].data.dtype.kind == "f")
    assert stamp[0].data.dtype.newbyteorder("=") == original[hdu].data.dtype.newbyteorder("=")
    corner = np.array([[0.0, 0.0], [side - 1.0, 0.0], [side / 2, side - 1.0]])
    first = np.array([row["x0"], row["y0"]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)  # of dates
        there = WCS(original[hdu].header, original).all_pix2world(corner + first, 0)
        here = WCS(stamp[0].header, stamp).all_pix2world(corner, 0)
    # A millionth of a pixel of 0.2 arcsec is 5.6e-11 degrees.
    assert np.allclose(here, there, rtol=0, atol=5e-11)


@pytest.mark.parametrize("kind", COMPRESSED_KINDS)
def test_stamps_of_every_encoding_are_those_of_cutout2d(kind: str, tmp_path: Path) -> None:
    source = write_compressed(tmp_path / "image.fits", kind)
    image = open_image(source, tmp_path)
    positions = places_on(image, *scattered(30))
    path, report = make(tmp_path, [image.record], StampRequest(positions=positions, side_px=21))
    assert (report.stamps, report.failed) == (30, 0)
    with fits.open(source) as original:
        files = stamp_files(path)
        for row in index_of(path):
            assert_is_stamp(row, files[row["name"]], original, 1)


@pytest.mark.parametrize("kind", WCS_KINDS)
def test_stamps_keep_projections_and_distortions(kind: str, tmp_path: Path) -> None:
    source = write_wcs_image(tmp_path / "image.fits", kind)
    image = open_image(source, tmp_path)
    x, y = scattered(5)
    path, _ = make(
        tmp_path, [image.record], StampRequest(positions=places_on(image, x, y), side_px=15)
    )
    with fits.open(source) as original:
        files = stamp_files(path)
        for row, at_x, at_y in zip(index_of(path), x, y, strict=True):
            assert (row["x"], row["y"]) == pytest.approx((at_x, at_y), abs=1e-6)
            assert_is_stamp(row, files[row["name"]], original, 0)


def test_lookup_tables_of_a_wcs_go_with_each_stamp(tmp_path: Path) -> None:
    source = write_lookup_image(tmp_path / "image.fits")
    image = open_image(source, tmp_path, planes={PlaneKind.IMAGE: 1})
    request = StampRequest(positions=places_on(image, *scattered(6)), side_px=15)
    path, report = make(tmp_path, [image.record], request)
    assert report.stamps == 6
    with fits.open(source) as original:
        files = stamp_files(path)
        for row in index_of(path):
            assert_is_stamp(row, files[row["name"]], original, 1)
    _, refused = make(tmp_path, [image.record], request, BundleForm.MEF)
    assert refused.stamps == 0
    assert refused.failed == 6
    assert "ask for a tar" in next(iter(refused.reasons))


@pytest.mark.parametrize("kind", ["u8", "i8", "u16", "i32", "u32", "i64", "scaled", "blank"])
def test_stamps_of_integers_keep_their_type(kind: str, tmp_path: Path) -> None:
    source = write_plain(tmp_path / "image.fits", kind)
    image = open_image(source, tmp_path)
    request = StampRequest(positions=places_on(image, *scattered(8)), side_px=11)
    path, _ = make(tmp_path, [image.record], request)
    files = stamp_files(path)
    with fits.open(source) as original:
        for row in index_of(path):
            assert_is_stamp(row, files[row["name"]], original, 0)


def test_stamps_over_the_edge_are_filled_and_those_beyond_it_are_listed(tmp_path: Path) -> None:
    image = open_image(write_compressed(tmp_path / "image.fits", "rice-f32-dither1"), tmp_path)
    positions = places_on(image, [0.0, 90.0, -0.4, -0.6, 179.4, 400.0], [0, 75, 75, 75, 149.4, 75])
    ra, dec = np.append(positions.ra_deg, np.nan), np.append(positions.dec_deg, 3.0)
    positions = Places(ra, dec, (*positions.ids, "nowhere"))
    path, report = make(tmp_path, [image.record], StampRequest(positions=positions, side_px=21))
    assert (report.stamps, report.failed) == (4, 3)
    assert report.reasons == {OFF_ALL_IMAGES: 2, NO_POSITION: 1}
    index = index_of(path)
    assert list(index["row"]) == [1, 2, 3, 4, 5, 6, 7]
    assert list(index["reason"]) == ["", "", "", OFF_ALL_IMAGES, "", OFF_ALL_IMAGES, NO_POSITION]
    assert index["inside"][0] == pytest.approx((11 / 21) ** 2)
    assert index["inside"][1] == 1.0
    corner = stamp_files(path)[index["name"][0]][0].data
    assert np.isnan(corner[:10]).all()
    assert np.isnan(corner[:, :10]).all()
    assert np.isfinite(corner[10:, 10:]).all()


def test_planes_go_into_one_file_a_stamp(tmp_path: Path) -> None:
    source = write_planes(tmp_path / "visit.fits")
    image = open_image(source, tmp_path, planes=PLANE_HDUS)
    x, y = scattered(12)
    request = StampRequest(positions=places_on(image, x, y), planes=ALL_PLANES, side_px=9)
    path, report = make(tmp_path, [image.record], request)
    assert report.pixels == 12 * 3 * 81
    files = stamp_files(path)
    with fits.open(source) as original:
        for row in index_of(path):
            stamp = files[row["name"]]
            stamp.verify("exception")
            assert [hdu.name for hdu in stamp] == ["PRIMARY", "IMAGE", "MASK", "VARIANCE"]
            for number in (1, 2, 3):
                fill = 0 if number == 2 else np.nan
                expected = Cutout2D(
                    original[number].data, (row["x"], row["y"]), 9, mode="partial", fill_value=fill
                )
                assert np.array_equal(stamp[number].data, expected.data, equal_nan=number != 2)
                # Every plane knows where it is.
                at = WCS(stamp[number].header).all_world2pix(row["ra"], row["dec"], 0)
                wanted = (row["x"] - row["x0"], row["y"] - row["y0"])
                assert np.allclose(at, wanted, rtol=0, atol=1e-6)
            assert stamp[0].header["STAMPID"] == row["id"]


def test_planes_without_a_position_take_that_of_the_image(tmp_path: Path) -> None:
    header = wcs_header()
    source = tmp_path / "visit.fits"
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(star_field(), header), fits.ImageHDU(star_field())]
    fits.HDUList(hdus).writeto(source)
    planes = {PlaneKind.IMAGE: 1, PlaneKind.VARIANCE: 2}
    image = open_image(source, tmp_path, planes=planes)
    request = StampRequest(
        positions=places_on(image, [40.0], [50.0]), planes=tuple(planes), side_px=9
    )
    path, _ = make(tmp_path, [image.record], request)
    stamp = next(iter(stamp_files(path).values()))
    assert stamp[2].header["CRPIX1"] == header["CRPIX1"] - 36
    assert stamp[2].header["CTYPE1"] == "RA---TAN"


def test_a_stamp_says_where_it_comes_from(tmp_path: Path) -> None:
    source = write_planes(tmp_path / "visit.fits", cards={"FILTER": "g"})
    image = open_image(source, tmp_path, planes=PLANE_HDUS, release="dr1")
    positions = places_on(image, [40.25], [50.75])
    odd = Places(positions.ra_deg, positions.dec_deg, ("it's 'π'\n",))
    path, _ = make(tmp_path, [image.record], StampRequest(positions=odd, side_px=9))
    header = next(iter(stamp_files(path).values()))[0].header
    assert header["SRCDID"] == "ivo://astrolabe.invalid/tests?visit"
    assert header["SRCREL"] == "dr1"
    assert header["STAMPID"] == "it's '?'?"
    assert header["STAMPROW"] == 1
    assert header["STAMPRA"] == pytest.approx(odd.ra_deg[0], abs=1e-11)
    assert header["STAMPDEC"] == pytest.approx(odd.dec_deg[0], abs=1e-11)
    assert "DATE" in header


def test_sizes_are_degrees_where_given_and_pixels_elsewhere(tmp_path: Path) -> None:
    image = open_image(write_compressed(tmp_path / "image.fits", "rice-i16"), tmp_path)
    sizes = np.array([3.0, np.nan, 5.0]) / 3600.0
    positions = places_on(image, [60, 70, 80], [60, 70, 80], sizes)
    path, _ = make(tmp_path, [image.record], StampRequest(positions=positions, side_px=7))
    assert list(index_of(path)["width"]) == [15, 7, 25]
    request = StampRequest(positions=positions, size_deg=4.0 / 3600.0)
    path, _ = make(tmp_path, [image.record], request)
    assert list(index_of(path)["width"]) == [15, 20, 25]


@pytest.mark.parametrize("side", [1, 2, 20, 21])
def test_stamps_lie_as_single_cutouts_do(side: int, tmp_path: Path) -> None:
    image = open_image(write_compressed(tmp_path / "image.fits", "rice-i16"), tmp_path)
    x = np.array([10.0, 10.49, 10.5, 10.51, 11.0, 0.0])
    positions = places_on(image, x.tolist(), [20.0] * 6)
    assert image.wcs is not None
    there = image.wcs.to_pixel(positions.ra_deg, positions.dec_deg)[0]
    corners = corners_around(image, positions.ra_deg, positions.dec_deg, side, side)
    assert list(first_pixel(there, np.full(6, side))) == list(corners[:, 0])


def test_a_position_gets_a_stamp_from_every_image_that_it_lies_on(tmp_path: Path) -> None:
    records = []
    for number in range(3):
        source = write_planes(tmp_path / f"visit{number}.fits", seed=number)
        footprint = WCS(fits.getheader(source, 1)).calc_footprint(axes=(180, 150)).ravel()
        records.append(
            make_record(
                source, tmp_path, planes=PLANE_HDUS, obscore={"s_region": footprint.tolist()}
            )
        )
    # One far away, which is not even opened: it is not there.
    far = make_record(write_planes(tmp_path / "far.fits"), tmp_path, planes=PLANE_HDUS,
                      obscore={"s_region": [10.0, 0.0, 11.0, 0.0, 11.0, 1.0]})  # fmt: skip
    (tmp_path / "far.fits").unlink()
    image = image_reader(tmp_path).open(records[0])
    positions = places_on(image, [50.0, 60.0], [50.0, 60.0])
    path, report = make(tmp_path, [*records, far], StampRequest(positions=positions, side_px=9))
    assert (report.stamps, report.failed, report.images) == (6, 0, 3)
    index = index_of(path)
    assert list(index["row"]) == [1, 1, 1, 2, 2, 2]
    assert len(set(index["name"])) == 6
    assert set(stamp_files(path)) == set(index["name"])


def test_what_is_broken_is_listed_and_ends_nothing_else(tmp_path: Path) -> None:
    sound = open_image(write_compressed(tmp_path / "sound.fits", "rice-i16"), tmp_path)
    gone = make_record(write_compressed(tmp_path / "gone.fits", "rice-i16"), tmp_path)
    (tmp_path / "gone.fits").unlink()
    torn_path = write_compressed(tmp_path / "torn.fits", "gzip2-i32")
    torn = make_record(torn_path, tmp_path)
    index = image_reader(tmp_path).open(torn).image.index.tiles
    assert index is not None
    raw = bytearray(torn_path.read_bytes())
    start, length = int(index.offset[0]), int(index.length[0])
    raw[start : start + length] = bytes(length)  # the tile of the lower left corner
    torn_path.write_bytes(raw)
    plain = make_record(tmp_path / "blank.fits", tmp_path) if _write_blank(tmp_path) else None
    assert plain is not None
    positions = places_on(sound, [12.0, 120.0], [12.0, 120.0])
    torn = make_record(torn_path, tmp_path)
    path, report = make(
        tmp_path, [gone, torn, plain, sound.record], StampRequest(positions=positions, side_px=9)
    )
    assert report.stamps == 3
    rows = {(row["row"], row["image"].rpartition("?")[2]): row for row in index_of(path)}
    assert rows[2, "torn"]["reason"] == ""
    assert rows[1, "sound"]["reason"] == rows[2, "sound"]["reason"] == ""
    for key in ((1, "torn"), (1, "gone"), (2, "gone"), (1, "blank"), (2, "blank")):
        assert rows[key]["reason"], key
        assert rows[key]["name"] == ""
    assert "no WCS" in rows[1, "blank"]["reason"]
    assert sum(report.reasons.values()) == report.failed == 5


def _write_blank(folder: Path) -> bool:
    fits.PrimaryHDU(star_field()).writeto(folder / "blank.fits")
    return True


def test_limits_are_kept_before_anything_is_read(tmp_path: Path) -> None:
    image = open_image(write_compressed(tmp_path / "image.fits", "rice-i16"), tmp_path)
    positions = places_on(image, *scattered(20))
    request = StampRequest(positions=positions, side_px=11)
    with pytest.raises(TooLargeError, match="more than 19 stamps"):
        make(tmp_path, [image.record], request, limits=StampLimits(stamps=19))
    with pytest.raises(TooLargeError, match="million pixels"):
        make(tmp_path, [image.record], request, limits=StampLimits(pixels=20 * 121 - 1))
    _, report = make(tmp_path, [image.record], request, limits=StampLimits(stamp_bytes=121))
    assert (report.stamps, report.failed) == (0, 20)


def test_a_size_of_half_the_sky_is_refused_without_memory(tmp_path: Path) -> None:
    image = open_image(write_compressed(tmp_path / "image.fits", "rice-i16"), tmp_path)
    request = StampRequest(positions=places_on(image, [20.0], [20.0]), size_deg=90.0)
    _, report = make(tmp_path, [image.record], request)
    assert report.stamps == 0
    assert "bytes" in next(iter(report.reasons))


@pytest.mark.parametrize(
    ("size", "message"),
    [(0.0, "above 0"), (-1.0, "above 0"), (float("nan"), "above 0")],
    ids=["zero", "negative", "nan"],
)
def test_sizes_that_are_none_are_refused(size: float, message: str) -> None:
    one = Places(np.array([1.0]), np.array([2.0]), ("a",))
    with pytest.raises(BadParameterError, match=message):
        StampRequest(positions=one, size_deg=size)


def test_negative_sizes_of_a_row_are_refused_with_its_number() -> None:
    two = Places(np.zeros(2), np.zeros(2), ("a", "b"), np.array([1.0, -1.0]))
    with pytest.raises(BadParameterError, match="Row 2"):
        StampRequest(positions=two)


def test_a_stopped_job_stops(tmp_path: Path) -> None:
    image = open_image(write_compressed(tmp_path / "image.fits", "rice-i16"), tmp_path)
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise CancelledError("The job was stopped.")

    request = StampRequest(positions=places_on(image, *scattered(20)))
    with pytest.raises(CancelledError):
        make(tmp_path, [image.record], request, check=check)


def test_many_stamps_are_divided_into_strips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("astrolabe.images.stamps.cutting._STRIP_STAMPS", 7)
    monkeypatch.setattr("astrolabe.images.stamps.cutting._STRIP_BYTES", 40_000)
    source = write_compressed(tmp_path / "image.fits", "rice-f32-nan")
    image = open_image(source, tmp_path)
    told: list[int] = []
    path, report = make(
        tmp_path,
        [image.record],
        StampRequest(positions=places_on(image, *scattered(60)), side_px=21),
        progress=lambda so_far: told.append(so_far.stamps),
    )
    assert report.stamps == 60
    assert len(told) > 60 / 7
    assert told == sorted(told)
    files = stamp_files(path)
    with fits.open(source) as original:
        for row in index_of(path):
            assert_is_stamp(row, files[row["name"]], original, 1)


def test_one_fits_file_holds_all_stamps_and_their_index(tmp_path: Path) -> None:
    source = write_planes(tmp_path / "visit.fits")
    image = open_image(source, tmp_path, planes=PLANE_HDUS)
    positions = places_on(image, *scattered(10))
    request = StampRequest(positions=positions, planes=ALL_PLANES[:2], side_px=9)
    path, report = make(tmp_path, [image.record], request, BundleForm.MEF)
    assert report.bytes_written == path.stat().st_size
    with fits.open(path) as made, fits.open(source) as original:
        made.verify("exception")
        index = made["INDEX"].data
        assert len(index) == 10
        assert len(made) == 2 + 20
        for row in index:
            expected = Cutout2D(
                original[1].data, (row["x"], row["y"]), 9, mode="partial", fill_value=np.nan
            )
            stamp = made[row["name"]]
            assert np.array_equal(stamp.data, expected.data, equal_nan=True)
            assert stamp.header["STAMPID"] == row["id"]
            assert stamp.header["CRPIX1"] == original[1].header["CRPIX1"] - row["x0"]
            assert made[f"{row['name']}-MASK"].data.dtype.kind == "i"


def test_zarr_holds_stamps_of_one_size_in_one_array(tmp_path: Path) -> None:
    source = write_planes(tmp_path / "visit.fits")
    image = open_image(source, tmp_path, planes=PLANE_HDUS)
    sizes = np.where(np.arange(40) % 4, 2.2, 3.0) / 3600.0
    positions = places_on(image, *scattered(40), sizes)
    path, report = make(
        tmp_path, [image.record], StampRequest(positions=positions), BundleForm.ZARR
    )
    assert report.stamps == 40
    assert not path.with_name(f"{path.name}.zarr").exists()
    root = zarr.open_group(zarr.storage.ZipStore(path, mode="r"), mode="r")
    with zipfile.ZipFile(path) as packed:
        index = Table.read(packed.read("index.ecsv").decode(), format="ascii.ecsv")
    with fits.open(source) as original:
        for side, count in ((11, 30), (15, 10)):
            group: Any = root[f"stamps/{side}x{side}"]
            assert group["image"].shape == (count, side, side)
            for n in range(count):
                row = index[int(group["row"][n]) - 1]
                assert (row["x0"], row["y0"]) == (group["x0"][n], group["y0"][n])
                expected = Cutout2D(
                    original[1].data, (row["x"], row["y"]), side, mode="partial", fill_value=np.nan
                )
                assert np.array_equal(group["image"][n], expected.data, equal_nan=True)
    sources: Any = root.attrs["sources"]
    assert sources[0]["did"] == "ivo://astrolabe.invalid/tests?visit"
    header = fits.Header.fromstring("".join(line.ljust(80) for line in sources[0]["header"]))
    assert WCS(header).wcs.crpix[0] == fits.getval(source, "CRPIX1", 1)


def test_zarr_arrays_grow_by_whole_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astrolabe.images.writers.zarr_bundle._CHUNK_STAMPS", 4)
    monkeypatch.setattr("astrolabe.images.stamps.cutting._STRIP_STAMPS", 3)
    image = open_image(write_compressed(tmp_path / "image.fits", "rice-i16"), tmp_path)
    positions = places_on(image, *scattered(22))
    path, _ = make(
        tmp_path,
        [image.record],
        StampRequest(positions=positions, side_px=5),
        BundleForm.ZARR,
    )
    root = zarr.open_group(zarr.storage.ZipStore(path, mode="r"), mode="r")
    group: Any = root["stamps/5x5_image-int16"]
    assert group["image"].chunks == (4, 5, 5)
    assert sorted(group["row"][:].tolist()) == list(range(1, 23))
    for n in range(22):
        x0, y0 = int(group["x0"][n]), int(group["y0"][n])
        if min(x0, y0) >= 0 and x0 + 5 <= 180 and y0 + 5 <= 150:
            expected = image.image.read(((y0, y0 + 5), (x0, x0 + 5)))
            assert np.array_equal(group["image"][n], expected)


def test_stamps_of_a_cube_have_all_its_channels(tmp_path: Path) -> None:
    shape = (4, 60, 70)
    source = write_compressed(tmp_path / "cube.fits", "rice-i16", shape=shape)
    image = open_image(source, tmp_path)
    path, _ = make(
        tmp_path,
        [image.record],
        StampRequest(positions=places_on(image, [30.0], [20.0]), side_px=9),
    )
    stamp = next(iter(stamp_files(path).values()))[0]
    assert np.array_equal(stamp.data, fits.getdata(source, 1)[:, 16:25, 26:35])
    assert stamp.header["CRPIX1"] == fits.getval(source, "CRPIX1", 1) - 26


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/abs", ".hidden", "a/b\\c", "nul\x00byte", "", "π", "x" * 500, "-rf"],
    ids=["up", "abs", "dot", "slashes", "nul", "empty", "greek", "long", "option"],
)
def test_names_of_files_are_safe_whatever_ids_are(name: str, tmp_path: Path) -> None:
    safe = safe_name(name, 20)
    assert 0 < len(safe) <= 20
    assert safe.isascii()
    assert not set(safe) & set("/\\\0 ")
    assert safe[0] not in ".-"
    image = open_image(write_compressed(tmp_path / "image.fits", "rice-i16"), tmp_path)
    two = places_on(image, [20.0, 20.0], [20.0, 20.0])
    positions = Places(two.ra_deg, two.dec_deg, (name, name))
    path, _ = make(tmp_path, [image.record], StampRequest(positions=positions, side_px=3))
    with tarfile.open(path) as packed:
        names = packed.getnames()
        packed.extractall(tmp_path / "out", filter="data")
    assert len(set(names)) == 3


def test_strips_leave_the_kept_tiles_alone(tmp_path: Path) -> None:
    """Tiles of bulk stamps would push out those that single cutouts come back to."""
    path = write_compressed(tmp_path / "rice.fits", "rice-f32-dither1")
    record = make_record(path, tmp_path, planes={PlaneKind.IMAGE: 1})
    reader = image_reader(tmp_path)
    maker = StampMaker(reader, authority="astrolabe.invalid")
    image = reader.open(record)
    kept = []
    for count in (60, 1):
        places = places_on(image, *scattered(count))
        request = StampRequest(positions=places, side_px=11)
        assert maker.make(request, [record], tmp_path / "s.tar", BundleForm.TAR).stamps == count
        kept.append(reader.cached_bytes)
    assert kept[0] == 0
    assert kept[1] > 0


def test_freed_memory_is_given_back_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []
    monkeypatch.setattr("astrolabe.images.stamps.maker._PIXELS_BETWEEN", 500)
    monkeypatch.setattr("astrolabe.images.stamps.maker.give_back_memory", lambda: given.append(1))
    record = make_record(write_wcs_image(tmp_path / "plain.fits"), tmp_path)
    places = places_on(image_reader(tmp_path).open(record), *scattered(20))
    sizes = np.repeat([9.0, 11.0], 10) * 0.2 / 3600
    request = StampRequest(positions=Places(places.ra_deg, places.dec_deg, places.ids, sizes))
    make(tmp_path, [record], request)
    assert len(given) >= 2


def test_few_positions_are_found_as_many_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a tree, which takes a third of a second to import."""
    rng = np.random.default_rng(9)
    ra, dec = rng.uniform(0, 360, 150), np.degrees(np.arcsin(rng.uniform(-1, 1, 150)))
    ra[3] = np.nan
    record = make_record(write_wcs_image(tmp_path / "plain.fits"), tmp_path)
    records = [replace(record, obscore={})]
    halves = 10.0 ** rng.uniform(-3, 1, 40)
    places = zip(ra[5:45], np.clip(dec[5:45] + halves, -75, 75), halves, strict=True)
    for lon, lat, half in places:
        corners = [lon, lat - half, lon + half, lat, lon, lat + half, lon - half, lat]
        records.append(replace(record, obscore={"s_region": corners}))
    found = []
    for few in (200, 0):
        monkeypatch.setattr("astrolabe.images.stamps.finding._FEW", few)
        matches = PositionTree(ra, dec).match(records)
        found.append([(records.index(r), rows.tolist()) for r, rows in matches])
    assert found[0] == found[1]
    assert found[0][0][1] == [n for n in range(150) if n != 3]
    assert len(found[0]) > 5
