"""Pixels of every encoding, against astropy's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolabe.core.errors import BadParameterError, ImageInvalidError
from astrolabe.images.files import ImageFiles
from astrolabe.images.fits.index import FileIndex, build_index
from astrolabe.images.fits.planes import TileCache, read_box, tiles_of_box, whole_box
from tests.support.images import (
    COMPRESSED_KINDS,
    PLAIN_KINDS,
    CountingSource,
    star_field,
    write_compressed,
    write_plain,
)

SHAPE = (150, 180)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One file of each kind."""
    folder = tmp_path_factory.mktemp("encodings")
    plain = {kind: write_plain(folder / f"plain-{kind}.fits", kind) for kind in PLAIN_KINDS}
    packed = {kind: write_compressed(folder / f"{kind}.fits", kind) for kind in COMPRESSED_KINDS}
    return plain | packed


BOXES = [
    ((0, 150), (0, 180)),
    ((60, 111), (70, 121)),
    ((0, 1), (0, 1)),
    ((149, 150), (179, 180)),
    ((39, 41), (47, 49)),
    ((5, 5), (7, 9)),
    ((3, 150), (0, 2)),
]


@pytest.mark.parametrize("kind", [*PLAIN_KINDS, *COMPRESSED_KINDS])
def test_pixels_are_those_that_astropy_reads(kind: str, written: dict[str, Path]) -> None:
    path = written[kind]
    with fits.open(path) as hdus:
        hdu = 1 if kind in COMPRESSED_KINDS else 0
        expected = np.array(hdus[hdu].data)
    source = ImageFiles().open(str(path))
    plane = FileIndex.from_bytes(build_index(source).to_bytes()).plane(hdu)
    cache = TileCache(1 << 20)
    for box in BOXES:
        part = tuple(slice(*side) for side in box)
        for _ in range(2):  # the second time from the cache
            got = read_box(plane, source, box, cache=cache, token="t")
            assert got.dtype == expected.dtype.newbyteorder("=")
            np.testing.assert_array_equal(got, expected[part])
            assert got.flags.writeable


def test_kinds_are_what_they_say(written: dict[str, Path]) -> None:
    """The files really use each codec, dither and column; else the test above shows nothing."""
    tiles = {}
    for kind in COMPRESSED_KINDS:
        index = build_index(ImageFiles().open(str(written[kind])))
        tiles[kind] = index.plane(1).tiles
    found = {(t.compression.value, t.is_quantised, t.dither.value) for t in tiles.values() if t}
    assert {name for name, _, _ in found} == {
        "RICE_1", "GZIP_1", "GZIP_2", "PLIO_1", "HCOMPRESS_1", "NOCOMPRESS",
    }  # fmt: skip
    assert {dither for _, quantised, dither in found if quantised} == {
        "NO_DITHER", "SUBTRACTIVE_DITHER_1", "SUBTRACTIVE_DITHER_2",
    }  # fmt: skip
    constant = tiles["rice-f32-constant"]
    assert constant is not None
    assert constant.packing is not None
    rows = tiles["rice-rows"]
    assert rows is not None
    assert rows.shape == (1, 180)


@pytest.mark.parametrize("compressed", [False, True], ids=["plain", "rice"])
@pytest.mark.parametrize("shape", [(7, 40, 50), (2, 3, 30, 20), (33,)], ids=["3d", "4d", "1d"])
def test_any_number_of_axes(tmp_path: Path, shape: tuple[int, ...], *, compressed: bool) -> None:
    rng = np.random.default_rng(2)
    data = rng.normal(0, 500, shape).astype(np.int32)
    path = tmp_path / "cube.fits"
    tile = tuple(min(8, n) for n in shape)
    hdu = fits.CompImageHDU(data, tile_shape=tile) if compressed else fits.PrimaryHDU(data)
    hdu.writeto(path)
    source = ImageFiles().open(str(path))
    plane = build_index(source).plane(int(compressed))
    for _ in range(20):
        box = tuple(tuple(sorted(rng.integers(0, n + 1, 2).tolist())) for n in shape)
        got = read_box(plane, source, box)
        np.testing.assert_array_equal(got, data[tuple(slice(*side) for side in box)])


@given(
    sides=st.tuples(*[st.integers(0, 150)] * 2, *[st.integers(0, 180)] * 2),
    kind=st.sampled_from(["rice-f32-dither1", "f32", "hcompress-i16", "rice-rows"]),
)
@settings(max_examples=80, deadline=None)
def test_any_box(written: dict[str, Path], sides: tuple[int, ...], kind: str) -> None:
    path = written[kind]
    source = ImageFiles().open(str(path))
    index = build_index(source)
    plane = next(iter(index.planes.values()))
    top, bottom = sorted(sides[:2])
    left, right = sorted(sides[2:])
    box = ((top, bottom), (left, right))
    whole = read_box(plane, source, whole_box(plane.shape))
    got = read_box(plane, source, box)
    np.testing.assert_array_equal(got, whole[slice(*box[0]), slice(*box[1])])


QUANTISED = {"none": -1, "subtractive-1": 1, "subtractive-2": 2}


@pytest.mark.parametrize("tile", [(150, 180), (1, 180), (60, 170)], ids=["whole", "rows", "blocks"])
@pytest.mark.parametrize("method", QUANTISED)
@pytest.mark.parametrize("seed", [1, 9999], ids=["first", "last"])
def test_dithered_floats_of_a_part_are_those_of_the_whole(
    tmp_path: Path, method: str, tile: tuple[int, int], seed: int
) -> None:
    """The random numbers of a dither run out twice in a large tile, and begin anew."""
    data = np.random.default_rng(3).normal(0, 40, SHAPE).astype(np.float32)
    data[100:120, 30:60] = 0.0
    data[5:40, 150:] = np.nan
    path = tmp_path / "dithered.fits"
    fits.CompImageHDU(
        data, compression_type="RICE_1", tile_shape=tile, quantize_level=16,
        quantize_method=QUANTISED[method], dither_seed=seed,
    ).writeto(path)  # fmt: skip
    expected = fits.getdata(path)
    zeros = expected[100:120, 30:60] == 0.0
    assert zeros.all() if method == "subtractive-2" else method == "none" or not zeros.any()
    source = ImageFiles().open(str(path))
    plane = build_index(source).plane(1)
    assert plane.tiles is not None
    assert plane.tiles.is_quantised
    cache = TileCache(1 << 20)
    for box in (*BOXES, ((50, 51), (100, 151)), ((90, 141), (20, 71)), ((0, 45), (140, 180))):
        got = read_box(plane, source, box, cache=cache)
        np.testing.assert_array_equal(got, expected[tuple(slice(*side) for side in box)])


def test_a_large_tile_is_made_floats_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = np.random.default_rng(4).normal(0, 40, (2, 150, 180)).astype(np.float32)
    path = tmp_path / "cube.fits"
    fits.CompImageHDU(
        data, compression_type="RICE_1", tile_shape=(1, 150, 180), quantize_level=16,
        quantize_method=1, dither_seed=77,
    ).writeto(path)  # fmt: skip
    expected = fits.getdata(path)
    source = ImageFiles().open(str(path))
    plane = build_index(source).plane(1)
    monkeypatch.setattr("astrolabe.images.fits.codecs._PIXELS_AT_ONCE", 1000)
    for box in (whole_box(data.shape), ((1, 2), (7, 149), (3, 170))):
        got = read_box(plane, source, box)
        np.testing.assert_array_equal(got, expected[tuple(slice(*side) for side in box)])


def test_only_the_tiles_of_a_box_are_read(written: dict[str, Path]) -> None:
    source = CountingSource(ImageFiles().open(str(written["rice-i16"])))
    plane = build_index(source).plane(1)
    tiles = plane.tiles
    assert tiles is not None
    source.ranges.clear()
    box = ((41, 79), (50, 95))  # in the tile of the second row and column
    read_box(plane, source, box)
    assert tiles_of_box(plane, box).tolist() == [5]
    assert source.ranges == [(int(tiles.offset[5]), int(tiles.length[5]))]


def test_an_index_keeps_headers_and_is_small(written: dict[str, Path]) -> None:
    source = ImageFiles().open(str(written["rice-f32-dither1"]))
    index = build_index(source)
    packed = index.to_bytes()
    again = FileIndex.from_bytes(packed)
    assert len(packed) < 4000
    with fits.open(written["rice-f32-dither1"]) as hdus:
        header = hdus[1].header
        for keyword in ("CRPIX1", "CD1_2", "CTYPE1", "BITPIX", "NAXIS1", "RADESYS", "XTENSION"):
            assert again.plane(1).header.get(keyword) == header[keyword]
        assert not {"ZBITPIX", "TFORM1", "ZTILE1", "TFIELDS"} & set(again.plane(1).header)


def test_a_box_outside_of_the_image_is_refused(written: dict[str, Path]) -> None:
    source = ImageFiles().open(str(written["f32"]))
    plane = build_index(source).plane(0)
    for box in (((0, 151), (0, 5)), ((-1, 4), (0, 5)), ((5, 4), (0, 5)), ((0, 5),)):
        with pytest.raises(BadParameterError, match="does not lie"):
            read_box(plane, source, box)


def test_broken_tiles_are_errors_and_never_crashes(tmp_path: Path) -> None:
    """Bytes of tiles are overwritten at random; what comes out is an error or pixels."""
    rng = np.random.default_rng(3)
    for kind in ("rice-i16", "gzip2-f32", "plio-i16", "hcompress-i16", "rice-f32-dither1"):
        path = write_compressed(tmp_path / f"{kind}.fits", kind)
        index = build_index(ImageFiles().open(str(path)))
        plane = index.plane(1)
        assert plane.tiles is not None
        good = path.read_bytes()
        errors = 0
        for _ in range(12):
            bad = bytearray(good)
            number = int(rng.integers(len(plane.tiles.offset)))
            start, length = int(plane.tiles.offset[number]), int(plane.tiles.length[number])
            bad[start : start + length] = rng.bytes(length)
            path.write_bytes(bad)
            try:
                read_box(plane, ImageFiles().open(str(path)), whole_box(plane.shape))
            except ImageInvalidError:
                errors += 1
        # Rice and PLIO have no checks of their own: noise is pixels for them, mostly.
        assert errors or kind.startswith(("rice", "plio"))


def test_the_cache_keeps_to_its_memory() -> None:
    cache = TileCache(100_000)
    for number in range(50):
        cache.put(("file", 1, number), np.zeros((50, 50), dtype=np.float32))
    assert cache.used_bytes <= 100_000
    assert cache.get(("file", 1, 49)) is not None
    assert cache.get(("file", 1, 0)) is None
    cache.put(("file", 1, 99), np.zeros((200, 200)))  # larger than it may be
    assert cache.get(("file", 1, 99)) is None


def test_blank_of_zero_is_blank(tmp_path: Path) -> None:
    """astropy passes over BLANK = 0; FITS 4.0, section 4.4.2.5, makes no such exception."""
    data = star_field((20, 20)).astype(np.int16)
    data[4, 5] = 0
    hdu = fits.PrimaryHDU(data)
    hdu.header["BLANK"] = 0
    hdu.writeto(tmp_path / "blank.fits")
    source = ImageFiles().open(str(tmp_path / "blank.fits"))
    got = read_box(build_index(source).plane(0), source, ((0, 20), (0, 20)))
    assert np.isnan(got[4, 5])
    assert np.isnan(got).sum() == (data == 0).sum()


def test_a_broken_tile_is_tried_once(tmp_path: Path) -> None:
    path = write_compressed(tmp_path / "a.fits", "gzip1-i16")
    index = build_index(ImageFiles().open(str(path)))
    plane = index.plane(1)
    assert plane.tiles is not None
    raw = bytearray(path.read_bytes())
    start = int(plane.tiles.offset[0])
    raw[start : start + 20] = bytes(20)
    path.write_bytes(raw)
    cache = TileCache(1 << 20)
    source = ImageFiles().open(str(path))
    box = ((0, 40), (0, 100))  # the first tile and two good ones
    with pytest.raises(ImageInvalidError, match="Tile 0") as first:
        read_box(plane, source, box, cache=cache, token="t")
    assert cache.why_broken(("t", 1, 0)) == first.value.message
    with pytest.raises(ImageInvalidError, match="Tile 0"):
        read_box(plane, source, box, cache=cache, token="t")
    assert read_box(plane, source, ((0, 40), (48, 100)), cache=cache, token="t").shape == (40, 52)
