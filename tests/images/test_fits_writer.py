"""FITS files of cutouts, as astropy reads them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from astrolabe.core.errors import BadParameterError
from astrolabe.images.fits.cards import CardValue, FitsHeader
from astrolabe.images.writers.bundles import FitsBundle, TarBundle
from astrolabe.images.writers.fits import FitsPlane, compressed_fits, fits_file
from tests.support.images import star_field, wcs_header

TYPES = ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]
COMMON: dict[str, CardValue] = {
    "SRCDID": "ivo://astrolabe.invalid/tests?a%20b",
    "N": 3,
    "OK": True,
    "X": 1.5e-300,
}


def header(**cards: object) -> FitsHeader:
    made = wcs_header("sip")
    made["BUNIT"] = ("nJy", "of each pixel")
    made["LONG"] = "text that is longer than one card holds: " + "x" * 90
    made.update(cards)
    return FitsHeader.from_astropy(made)


def values(dtype: str) -> np.ndarray:
    """Return values over the whole range of a type."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        data = np.random.default_rng(1).normal(size=(13, 17)).astype(kind)
        data[0, :3] = np.nan, np.inf, -np.inf
        return data
    info = np.iinfo(kind)
    data = np.random.default_rng(1).integers(info.min, info.max, (13, 17), kind, endpoint=True)
    data[0, :2] = info.min, info.max
    return data


@pytest.mark.parametrize("dtype", TYPES)
def test_pixels_of_every_type_come_back(dtype: str) -> None:
    data = values(dtype)
    content = fits_file([FitsPlane("IMAGE", data, header())], common=COMMON)
    assert len(content) % 2880 == 0
    with fits.open(BytesIO(content)) as hdus:
        hdus.verify("exception")
        assert len(hdus) == 1
        assert hdus[0].data.dtype.newbyteorder("=") == data.dtype
        assert np.array_equal(hdus[0].data, data, equal_nan=data.dtype.kind == "f")
        for keyword, value in COMMON.items():
            assert hdus[0].header[keyword] == value


@pytest.mark.parametrize("dtype", TYPES)
def test_compressed_pixels_of_every_type_come_back_exactly(dtype: str) -> None:
    data = values(dtype)
    planes = [FitsPlane("IMAGE", data, header()), FitsPlane("MASK", data, header())]
    content = compressed_fits(planes, common=COMMON)
    with fits.open(BytesIO(content)) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "IMAGE", "MASK"]
        for hdu in hdus[1:]:
            assert isinstance(hdu, fits.CompImageHDU)
            assert np.array_equal(hdu.data, data, equal_nan=data.dtype.kind == "f")
        assert hdus[0].header["SRCDID"] == COMMON["SRCDID"]
        assert WCS(hdus[1].header).wcs.crpix[0] == wcs_header("sip")["CRPIX1"]


def test_compression_makes_an_image_of_integers_smaller() -> None:
    data = star_field((300, 300)).astype(np.int32)
    plane = FitsPlane("IMAGE", data, header())
    plain, packed = fits_file([plane], common={}), compressed_fits([plane], common={})
    assert len(packed) < 0.4 * len(plain)


def test_what_described_another_array_is_not_kept() -> None:
    old = header(BZERO=5.0, BSCALE=2.0, BLANK=-1, DATASUM="17", EXTNAME="SCI", NAXIS3=4)
    content = fits_file([FitsPlane("IMAGE", star_field((5, 6)), old)], common={})
    with fits.open(BytesIO(content)) as hdus:
        hdus.verify("exception")
        found = hdus[0].header
        assert found["NAXIS"] == 2
        assert not {"BZERO", "BSCALE", "BLANK", "DATASUM", "EXTNAME", "NAXIS3"} & set(found)
        assert found["LONG"] == header().get("LONG")
        assert found.comments["BUNIT"] == "of each pixel"


def test_planes_become_extensions_of_their_names() -> None:
    planes = [
        FitsPlane("IMAGE", star_field((5, 6)), header()),
        FitsPlane("MASK", np.ones((5, 6), np.bool_), header()),
    ]
    with fits.open(BytesIO(fits_file(planes, common=COMMON))) as hdus:
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "IMAGE", "MASK"]
        assert hdus[0].header["N"] == 3
        assert hdus["MASK"].data.sum() == 30


def test_types_that_fits_lacks_are_refused() -> None:
    with pytest.raises(BadParameterError, match="complex128"):
        fits_file([FitsPlane("IMAGE", np.zeros((2, 2), np.complex128), header())], common={})


def test_bundles_take_single_cutouts_of_any_shape(tmp_path: Path) -> None:
    import pyarrow as pa  # noqa: PLC0415

    from astrolabe.images.stamps.index import index_header  # noqa: PLC0415
    from astrolabe.tables.model import arrow_type  # noqa: PLC0415

    columns = index_header()
    empty = pa.schema([(c.name, arrow_type(c)) for c in columns.columns]).empty_table()
    first, second = star_field((30, 40)), np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    for bundle in (TarBundle(tmp_path / "a.tar"), FitsBundle(tmp_path / "a.fits")):
        with bundle:
            bundle.add("one", [FitsPlane("IMAGE", first, header())], common=COMMON)
            bundle.add("two", [FitsPlane("IMAGE", second, FitsHeader(()))], common={})
            size = bundle.finish(empty, columns)
        assert bundle.path.stat().st_size == size
    with fits.open(tmp_path / "a.fits") as hdus:
        hdus.verify("exception")
        assert np.array_equal(hdus["ONE"].data, first)
        assert np.array_equal(hdus["TWO"].data, second)
        assert hdus["ONE"].header["SRCDID"] == COMMON["SRCDID"]
        assert len(hdus["INDEX"].data) == 0


def test_look_up_tables_go_with_a_single_cutout_of_a_tar_only(tmp_path: Path) -> None:
    plane = FitsPlane("IMAGE", star_field((5, 6)), header(), tables=bytes(2880))
    with FitsBundle(tmp_path / "a.fits") as bundle, pytest.raises(BadParameterError, match="tar"):
        bundle.add("one", [plane], common={})
    assert fits_file([plane], common={}).endswith(bytes(2880))
