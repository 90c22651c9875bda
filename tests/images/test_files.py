"""Files by ranges: local ones, hostile ones, and those of a real object store."""

from __future__ import annotations

import os
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from astrolabe.core.errors import BadParameterError, ImageInvalidError, NotFoundError
from astrolabe.images.byte_source import merge_ranges
from astrolabe.images.cutouts import Stencil, cut, cut_box
from astrolabe.images.files import ImageFiles
from astrolabe.images.fits.headers import scan_hdus
from astrolabe.images.fits.index import FileIndex, build_index
from astrolabe.images.fits.planes import read_box, tiles_of_box
from astrolabe.images.model import PlaneKind
from astrolabe.images.reader import ImageReader
from tests.support.images import (
    card,
    image_reader,
    make_record,
    open_image,
    raw_header,
    star_field,
    write_bomb,
    write_compressed,
    write_plain,
    write_planes,
)
from tests.support.object_store import CountingWire, ObjectStore, object_store

__all__ = ["object_store"]


@given(
    ranges=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 120)), min_size=1, max_size=30),
    gap=st.integers(0, 100),
)
def test_merged_ranges_give_the_same_bytes(ranges: list[tuple[int, int]], gap: int) -> None:
    data = np.random.default_rng(0).bytes(600)
    asked: list[tuple[int, int]] = []

    def fetch(spans: object) -> list[bytes]:
        assert isinstance(spans, list)
        asked.extend(spans)
        return [data[offset : offset + length] for offset, length in spans]

    got = merge_ranges(ranges, gap, fetch)
    assert got == [data[offset : offset + length] for offset, length in ranges]
    needed = sum(length for _, length in ranges)
    assert sum(length for _, length in asked) <= 2 * needed
    assert all(a[0] + a[1] <= b[0] for a, b in pairwise(sorted(asked)))


@pytest.mark.parametrize(
    "uri",
    [
        "relative.fits", "/data/../etc/passwd", "/data/a\0b", "file:///etc/passwd", "http://x/y",
        "s3://", "s3:///key", "s3://bucket", "s3://bucket/", "s3://bucket/../other/key",
    ],
)  # fmt: skip
def test_path_tricks_are_refused(uri: str) -> None:
    with pytest.raises(BadParameterError):
        ImageFiles().open(uri)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # opening it would wait for a writer
    for path in (pipe, tmp_path, Path("/dev/zero")):
        with pytest.raises(BadParameterError, match="not a regular file"):
            ImageFiles().open(str(path))
    with pytest.raises(NotFoundError):
        ImageFiles().open(str(tmp_path / "missing.fits"))


def test_files_are_kept_open_up_to_a_number(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}" for i in range(6)]
    for i, path in enumerate(paths):
        path.write_bytes(bytes([i]) * 10)
    files = ImageFiles(open_files=3)
    sources = [files.open(str(path)) for path in paths]
    assert files.open(str(paths[5])) is sources[5]
    assert files.open(str(paths[0])) is not sources[0]
    # One that was given out still reads.
    assert [source.read(2, 3) for source in sources] == [bytes([i]) * 3 for i in range(6)]
    assert b"".join(sources[4].chunks()) == paths[4].read_bytes()
    own = set(map(str, paths))
    held = [str(link.resolve()) for link in Path("/proc/self/fd").iterdir()]
    assert sum(name in own for name in held) <= 3
    files.close()
    assert sources[5].read(0, 1) == b"\5"
    paths[5].write_bytes(b"other bytes")
    with pytest.raises(ImageInvalidError, match="changed"):
        sources[5].read(0, 1)


def test_a_file_that_changed_is_seen(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "a.fits", "i16")
    reader = image_reader(tmp_path)
    record = make_record(path, tmp_path)
    whole = reader.open(record).image.read_whole()
    assert reader.open(record) is reader.open(record)
    # Another file of the same size is read anew, pixels of the old one are not kept.
    data = path.read_bytes()
    path.write_bytes(data[:2880] + bytes(len(data) - 2880))
    assert not np.array_equal(reader.open(record).image.read_whole(), whole)
    path.write_bytes(data[:-2880])
    with pytest.raises(ImageInvalidError, match="import it again"):
        reader.open(record)
    path.unlink()
    with pytest.raises(ImageInvalidError, match="not there"):
        reader.open(record)


def test_a_file_that_is_shortened_while_it_is_open(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "a.fits", "f64")
    image = open_image(path, tmp_path)
    os.truncate(path, 9000)
    with pytest.raises(ImageInvalidError, match="shortened"):
        image.image.read_whole()


@pytest.mark.parametrize("broken", ["missing", "noise", "cut", "other"])
def test_an_unusable_index_is_made_anew(broken: str, tmp_path: Path) -> None:
    path = write_compressed(tmp_path / "a.fits", "rice-i16")
    record = make_record(path, tmp_path)
    index = tmp_path / record.index_path
    match broken:
        case "missing":
            index.unlink()
        case "noise":
            index.write_bytes(np.random.default_rng(1).bytes(500))
        case "cut":
            index.write_bytes(index.read_bytes()[:-40])
        case _:
            index.write_bytes(b"ALFI9999" + index.read_bytes()[8:])
    got = image_reader(tmp_path).open(record).image.read_whole()
    np.testing.assert_array_equal(got, fits.getdata(path))


def test_an_index_of_another_file_is_an_error(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "a.fits", "u8")
    record = make_record(path, tmp_path)
    other = make_record(write_plain(tmp_path / "b.fits", "f64"), tmp_path)
    (tmp_path / record.index_path).write_bytes((tmp_path / other.index_path).read_bytes())
    with pytest.raises(ImageInvalidError, match="import it again"):
        image_reader(tmp_path).open(record)


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ((2**31 - 1, 2**31 - 1), "truncated"),
        ((100_000, 100_000), "truncated"),
        ((10**30,), "no file has"),
        ((2**31 - 1,) * 100, "no file has"),
        ((-5, 5), "negative"),
        ((400,), "truncated"),
    ],
    ids=["int32", "square", "long", "many", "negative", "little"],
)
def test_bombs(axes: tuple[int, ...], said: str, tmp_path: Path) -> None:
    path = write_bomb(tmp_path / "bomb.fits", *axes)
    with pytest.raises(ImageInvalidError, match=f"HDU 0.*{said}"):
        build_index(ImageFiles().open(str(path)))


def _header(*cards: tuple[str, object], data: bytes = b"") -> bytes:
    made = [card(name, value) for name, value in cards]
    return raw_header(card("SIMPLE", "T"), *made) + data.ljust(-(-len(data) // 2880) * 2880)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"hello", "END|no FITS"),
        (b"\x89PNG" + bytes(3000), "no FITS file"),
        (b"\x1f\x8b\x08" + bytes(5000), "compressed as a whole"),
        (b"SIMPLE  =                    T".ljust(80) * 100, "no END card"),
        (_header(("BITPIX", 7), ("NAXIS", 0)), "BITPIX is 7"),
        (_header(("BITPIX", "'8'"), ("NAXIS", 0)), "BITPIX = '8', which is no integer"),
        (_header(("BITPIX", 8)), "no keyword NAXIS"),
        (_header(("BITPIX", 8), ("NAXIS", 1000)), "NAXIS is 1000"),
        (_header(("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", 4)), "no keyword NAXIS2"),
        (_header(("BITPIX", 8), ("NAXIS", 1), ("NAXIS1", "NaN"), data=b"x"), "no integer"),
        (_header(("BITPIX", 8), ("NAXIS", 9), *[(f"NAXIS{i}", 1) for i in range(1, 10)], data=b"x"),
         "9 axes"),
        (_header(("BITPIX", 8), ("NAXIS", 1), ("NAXIS1", 4), ("BSCALE", "NaN"), data=b"x"),
         "BSCALE = nan, which is not finite"),
    ],
    ids=[
        "empty", "text", "png", "gzip", "endless", "bitpix", "string", "naxis", "axes", "missing",
        "nan", "nine", "scale",
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.fits"
    path.write_bytes(content)
    with pytest.raises(ImageInvalidError, match=said):
        build_index(ImageFiles().open(str(path)))


def test_a_header_without_end_is_not_read_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "endless.fits"
    with path.open("wb") as file:
        file.write(b"SIMPLE  =                    T".ljust(80))
        file.truncate(1 << 36)  # a hole of 64 GB
    with pytest.raises(ImageInvalidError, match="no END card in 8 MB"):
        scan_hdus(ImageFiles().open(str(path)))


@pytest.mark.parametrize("kind", ["plain", "rice-i16"])
def test_truncation_anywhere_is_an_error(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "whole.fits"
    write_plain(path, "i16") if kind == "plain" else write_compressed(path, kind)
    whole = path.read_bytes()
    source = ImageFiles().open(str(path))
    last = max(hdu.data_offset + hdu.data_size for hdu in scan_hdus(source))
    for size in np.linspace(1, last - 1, 25).astype(int).tolist():
        path.write_bytes(whole[:size])
        try:
            index = build_index(ImageFiles().open(str(path)))
        except ImageInvalidError:
            continue
        # A compressed image is the second HDU: before it begins there is a whole file.
        assert kind != "plain"
        assert not index.planes
    # The filling of the last block may be missing.
    path.write_bytes(whole[:last])
    assert build_index(ImageFiles().open(str(path))).planes


def _compressed_cards(path: Path, **changed: object) -> Path:
    """Write a compressed image and overwrite cards of its table's header."""
    write_compressed(path, "rice-i16")
    raw = bytearray(path.read_bytes())
    start = raw.index(b"XTENSION")
    for keyword, value in changed.items():
        place = raw.index(keyword.encode().ljust(8) + b"=", start)
        raw[place : place + 80] = card(keyword, value)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ZNAXIS1": 2**31 - 1, "ZNAXIS2": 2**31 - 1}, "its table has"),
        ({"ZNAXIS1": 10**9, "ZNAXIS2": 10**9, "ZTILE1": 10**9, "ZTILE2": 10**9}, "A tile has"),
        ({"ZTILE1": 0}, "A tile has the shape"),
        ({"ZCMPTYPE": "'SUPER_2'"}, "ZCMPTYPE is 'SUPER_2'"),
        ({"ZBITPIX": 12}, "BITPIX is 12"),
        ({"TFORM1": "'1PX'"}, "COMPRESSED_DATA has the format"),
        ({"TFORM1": "'5000000J'"}, "COMPRESSED_DATA"),
        ({"TTYPE1": "'OTHER'"}, "no column COMPRESSED_DATA"),
        ({"ZNAXIS": -3}, "ZNAXIS is -3"),
        ({"TFIELDS": 100000}, "TFIELDS is 100000"),
    ],
    ids=["bomb", "tile", "zero", "type", "bitpix", "form", "wide", "column", "axes", "fields"],
)  # fmt: skip
def test_tables_of_tiles_that_cannot_be(
    changed: dict[str, object], said: str, tmp_path: Path
) -> None:
    path = _compressed_cards(tmp_path / "a.fits", **changed)
    with pytest.raises(ImageInvalidError, match=said):
        build_index(ImageFiles().open(str(path)))


def test_tiles_beyond_the_end_are_an_error(tmp_path: Path) -> None:
    path = write_compressed(tmp_path / "a.fits", "rice-i16")
    hdu = scan_hdus(ImageFiles().open(str(path)))[1]
    raw = bytearray(path.read_bytes())
    for length, offset in ((8, 2**31 - 10), (2**31 - 1, 0), (8, -100), (-1, 8)):
        raw[hdu.data_offset : hdu.data_offset + 8] = np.array([length, offset], ">i4").tobytes()
        path.write_bytes(raw)
        with pytest.raises(ImageInvalidError, match=r"tile|array"):
            build_index(ImageFiles().open(str(path)))


def test_a_gzip_bomb_in_a_tile(tmp_path: Path) -> None:
    """A tile of 1,920 pixels that would unpack to 200 MB."""
    import gzip  # noqa: PLC0415 - only here

    path = write_compressed(tmp_path / "a.fits", "gzip1-i16")
    index = build_index(ImageFiles().open(str(path)))
    plane = index.plane(1)
    assert plane.tiles is not None
    bomb = gzip.compress(bytes(200 << 20), 9)
    raw = path.read_bytes()
    path.write_bytes(raw + bomb)
    offset, length = plane.tiles.offset.copy(), plane.tiles.length.copy()
    offset[0], length[0] = len(raw), len(bomb)
    object.__setattr__(plane.tiles, "offset", offset)
    object.__setattr__(plane.tiles, "length", length)
    with pytest.raises(ImageInvalidError, match="more bytes than its pixels"):
        read_box(plane, ImageFiles().open(str(path)), ((0, 10), (0, 10)))


def test_many_threads_read_one_image(tmp_path: Path) -> None:
    path = write_planes(tmp_path / "a.fits")
    reader = image_reader(tmp_path, cache_bytes=100_000)
    record = make_record(path, tmp_path, planes={PlaneKind.IMAGE: 1, PlaneKind.MASK: 2})
    whole = reader.open(record).image.read_whole()
    wrong: list[object] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            for _ in range(60):
                y, x = int(rng.integers(0, 100)), int(rng.integers(0, 130))
                image = reader.open(record)
                found = cut_box(image, ((y, y + 50), (x, x + 50)), planes=tuple(image.planes))
                part = found.planes[PlaneKind.IMAGE].data
                if not np.array_equal(part, whole[y : y + 50, x : x + 50]):
                    wrong.append((y, x))
                wcs = image.wcs
                assert wcs is not None
                back = wcs.to_pixel(*wcs.to_sky([float(x)], [float(y)]))
                if abs(back[0][0] - x) + abs(back[1][0] - y) > 1e-6:
                    wrong.append(back)
        except Exception as exc:  # noqa: BLE001 - told to the test below
            wrong.append(exc)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.server
@pytest.mark.timeout(180)
def test_a_stamp_from_an_object_store_reads_little_more_than_its_tiles(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    """The wire carries at most 3 times the bytes of the tiles, headers of answers included."""
    path = tmp_path / "big.fits"
    fits.CompImageHDU(star_field((1024, 1024)), tile_shape=(128, 128), quantize_method=1).writeto(
        path
    )
    uri = object_store.put(path, "dr1/big image+1.fits")
    wire = CountingWire(int(object_store.endpoint.rpartition(":")[2]))
    files = ImageFiles(s3=object_store.through(wire.endpoint))
    record = make_record(uri, tmp_path, files=files, image_id="big")
    reader = ImageReader(files, tmp_path, cache_bytes=1 << 24, open_images=10)
    before = wire.received
    image = reader.open(record)
    assert wire.received == before  # nothing is read to open it
    for box, first in ((((100, 151), (300, 351)), True), (((110, 161), (310, 361)), False)):
        before = wire.received
        found = cut_box(image, box).planes[PlaneKind.IMAGE].data
        tiles = image.image.index.tiles
        assert tiles is not None
        needed = int(tiles.length[tiles_of_box(image.image.index, box)].sum())
        read = wire.received - before
        assert (needed <= read <= 3 * needed) if first else read == 0  # from the cache
        np.testing.assert_array_equal(found, fits.getdata(path)[tuple(slice(*s) for s in box)])
    wire.close()


@pytest.mark.server
@pytest.mark.timeout(180)
def test_files_of_an_object_store(object_store: ObjectStore, tmp_path: Path) -> None:
    path = write_planes(tmp_path / "planes.fits")
    uri = object_store.put(path, "planes/one.fits")
    object_store.put(path, "planes/two.fits")
    files = ImageFiles(s3=object_store.options)
    source = files.open(uri)
    assert source.size == path.stat().st_size
    assert b"".join(source.chunks()) == path.read_bytes()
    listed = dict(files.list("s3://images/planes"))
    assert set(listed) == {uri, "s3://images/planes/two.fits"}
    assert listed[uri] == files.stat(uri) == source.stat
    local = build_index(ImageFiles().open(str(path)))
    assert FileIndex.to_bytes(build_index(source)) == local.to_bytes()
    with pytest.raises(NotFoundError, match="no s3://images/none"):
        files.open("s3://images/none")
    record = make_record(uri, tmp_path, files=files, planes={PlaneKind.IMAGE: 1})
    image = ImageReader(files, tmp_path, cache_bytes=0, open_images=4).open(record)
    assert cut(image, Stencil()).planes[PlaneKind.IMAGE].data.shape == (150, 180)
    object_store.delete("planes/one.fits")
    with pytest.raises(ImageInvalidError, match=r"no one\.fits"):
        image.image.read(((0, 5), (0, 5)))
    anonymous = ImageFiles(s3=type(object_store.options)(endpoint=object_store.endpoint))
    with pytest.raises(ImageInvalidError, match="refuses"):
        anonymous.open("s3://images/planes/two.fits")
