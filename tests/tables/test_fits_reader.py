from __future__ import annotations

import gzip
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from astrolabe.core.errors import ImportRefusedError
from astrolabe.tables.conform import result_schema
from astrolabe.tables.model import Datatype
from astrolabe.tables.readers import open_source

D = Datatype


def saved(folder: Path, columns: list[fits.Column], **cards: Any) -> Path:
    table = fits.BinTableHDU.from_columns(columns, name="STARS")
    for key, value in cards.items():
        table.header[key] = value
    path = folder / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros((2, 2))), table]).writeto(
        path, overwrite=True
    )
    return path


def column_of(path: Path, **options: Any) -> tuple[Datatype, str | None, list[Any]]:
    source = open_source(path, **options)
    found = source.meta.columns[0]
    batches = list(source.batches(max_rows=2))
    assert all(b.schema == result_schema(source.meta.columns) for b in batches)
    return found.datatype, found.arraysize, [v for b in batches for v in b.column(0).to_pylist()]


def col(form: str, array: Any, **more: Any) -> fits.Column:
    return fits.Column("x", form, array=array, **more)


arr = np.array


@pytest.mark.parametrize(
    ("column", "datatype", "arraysize", "expected"),
    [
        (col("L", array=arr([True, False])), D.BOOLEAN, None, [True, False]),
        (col("B", array=arr([255, 0])), D.UNSIGNED_BYTE, None, [255, 0]),
        (col("B", bzero=-128, array=arr([-128, 127], "i1")), D.SHORT, None, [-128, 127]),
        (col("I", array=arr([-1, 5])), D.SHORT, None, [-1, 5]),
        (col("I", bzero=2**15, array=arr([65535, 0], "u2")), D.INT, None, [65535, 0]),
        (col("J", null=-99, array=arr([-99, 2**31 - 1, 0])), D.INT, None, [None, 2**31 - 1, 0]),
        (col("J", bzero=2**31, array=arr([2**32 - 1, 0], "u4")), D.LONG, None, [2**32 - 1, 0]),
        (col("K", array=arr([2**53 + 1, -(2**63)])), D.LONG, None, [2**53 + 1, -(2**63)]),
        (col("K", bzero=2**63, array=arr([2**63 - 1, 0], "u8")), D.LONG, None, [2**63 - 1, 0]),
        (col("E", array=arr([1.5, np.inf])), D.FLOAT, None, [1.5, float("inf")]),
        (col("D", array=arr([0.1, -1e300])), D.DOUBLE, None, [0.1, -1e300]),
        (col("5A", array=arr(["abc", "", "abcde"])), D.CHAR, "5*", ["abc", None, "abcde"]),
        (col("3J", array=arr([[1, 2, 3], [4, 5, 6]])), D.INT, "3", [[1, 2, 3], [4, 5, 6]]),
        (
            col("6D", dim="(3,2)", array=np.arange(12.0).reshape(2, 2, 3)),
            D.DOUBLE,
            "3x2",
            [[0.0, 1, 2, 3, 4, 5], [6.0, 7, 8, 9, 10, 11]],
        ),
        (col("C", array=arr([1 + 2j, 0])), D.FLOAT_COMPLEX, None, [[1.0, 2.0], [0.0, 0.0]]),
        (col("2M", array=arr([[1 + 2j, 3j]])), D.DOUBLE_COMPLEX, "2", [[[1.0, 2.0], [0.0, 3.0]]]),
        (
            col("10X", array=arr([[True, False] * 5])),
            D.BIT,
            "10",
            [[True, False] * 5],
        ),
        (
            col("PJ()", array=arr([arr([1, 2]), arr([], int), arr([3])], object)),
            D.INT,
            "*",
            [[1, 2], [], [3]],
        ),
        (
            col("QD()", array=arr([arr([1.5]), arr([2.5, 3.5])], object)),
            D.DOUBLE,
            "*",
            [[1.5], [2.5, 3.5]],
        ),
    ],
    ids=lambda value: f"{value.format}-{value.bzero}" if isinstance(value, fits.Column) else None,
)  # fmt: skip
def test_types_come_in_as_they_are_meant(
    tmp_path: Path,
    column: fits.Column,
    datatype: Datatype,
    arraysize: str | None,
    expected: list[Any],
) -> None:
    path = saved(tmp_path, [column])
    assert column_of(path) == (datatype, arraysize, expected)
    packed = tmp_path / "b.fits.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert column_of(packed) == (datatype, arraysize, expected)


def test_units_descriptions_and_ucds_are_read(tmp_path: Path) -> None:
    column = fits.Column("RA", "D", unit="deg", array=np.array([1.0]))
    path = saved(tmp_path, [column], TUCD1="pos.eq.ra", RADESYS="ICRS")
    with fits.open(path, "update") as hdus:
        hdus[2].header.comments["TTYPE1"] = "Right ascension"
    meta = open_source(path).meta
    assert (meta.name, meta.row_count) == ("STARS", 1)
    assert meta.coordinate_system is not None
    (ra,) = meta.columns
    assert (ra.unit, ra.ucd, ra.description) == ("deg", "pos.eq.ra", "Right ascension")


def test_what_astropy_wrote_comes_back(tmp_path: Path) -> None:
    table = Table(
        {
            "id": np.arange(1000, dtype="i8") + 2**60,
            "ra": np.linspace(0, 360, 1000) * u.deg,
            "flag": np.arange(1000) % 3 == 0,
            "band": np.array(list("ugrizy"))[np.arange(1000) % 6],
        }
    )
    path = tmp_path / "a.fits"
    table.write(path)
    source = open_source(path)
    batches = list(source.batches(max_rows=300))
    assert [b.num_rows for b in batches] == [300, 300, 300, 100]
    for name in table.colnames:
        got = [v for b in batches for v in b.column(name).to_pylist()]
        assert got == table[name].tolist()


def test_an_extension_can_be_chosen(tmp_path: Path) -> None:
    hdus = fits.HDUList([fits.PrimaryHDU()])
    for name in ("ONE", "TWO"):
        column = fits.Column(name.lower(), "J", array=np.array([1]))
        hdus.append(fits.BinTableHDU.from_columns([column], name=name))
    path = tmp_path / "a.fits"
    hdus.writeto(path)
    assert open_source(path).meta.columns[0].name == "one"
    for hdu in (2, "two", "2"):
        assert open_source(path, hdu=hdu).meta.columns[0].name == "two"
    for hdu, what in ((3, "no extension 3"), (0, "0 is no binary table")):
        with pytest.raises(ImportRefusedError, match=what):
            open_source(path, hdu=hdu)


def test_unsigned_long_beyond_long_is_refused_or_text(tmp_path: Path) -> None:
    path = saved(tmp_path, [fits.Column("x", "K", bzero=2**63, array=np.array([2**64 - 1], "u8"))])
    with pytest.raises(ImportRefusedError, match="--as-string x"):
        column_of(path)
    assert column_of(path, as_string=["x"]) == (D.CHAR, "*", [str(2**64 - 1)])


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, [fits.Column("x", "J", array=np.arange(5000))])
    whole = path.read_bytes()
    for size in (len(whole) - 8000, 3000, 100, 2881):
        path.write_bytes(whole[:size])
        with pytest.raises(ImportRefusedError, match=str(path)):
            column_of(path)
    packed = tmp_path / "a.fits.gz"
    packed.write_bytes(gzip.compress(whole)[:-20])
    with pytest.raises(ImportRefusedError, match=str(packed)):
        column_of(packed)


def test_a_broken_heap_is_refused(tmp_path: Path) -> None:
    arrays = np.array([np.arange(3), np.arange(5)], object)
    path = saved(tmp_path, [fits.Column("x", "PJ()", array=arrays)])
    data = bytearray(path.read_bytes())
    with fits.open(path) as hdus:
        start = hdus[2].fileinfo()["datLoc"]
    data[start + 4 : start + 8] = (10**6).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(ImportRefusedError, match=r"'x'.*outside of the heap"):
        column_of(path)


def test_images_alone_are_no_table(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    image = fits.CompImageHDU(np.arange(100.0).reshape(10, 10))
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
    with pytest.raises(ImportRefusedError, match="binary table"):
        open_source(path)


@pytest.mark.parametrize("seed", range(20))
def test_a_mangled_header_never_ends_in_a_traceback(tmp_path: Path, seed: int) -> None:
    path = saved(
        tmp_path,
        [fits.Column("x", "J", array=np.arange(10)), fits.Column("s", "3A", array=["a"] * 10)],
    )
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for place in rng.integers(0, len(data) - 2880, 60):
        data[place] = rng.integers(32, 127)
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            source = open_source(path, format="fits")
            list(source.batches())
        except ImportRefusedError as exc:
            assert str(path) in exc.message  # noqa: PT017 - either is right


def test_nothing_is_read_from_an_empty_table(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    Table({"x": np.array([], "i4")}).write(path)
    assert list(open_source(path).batches()) == []
    assert open_source(str(path)).meta.row_count == 0


def test_scaled_integers_are_numbers(tmp_path: Path) -> None:
    column = fits.Column("x", "I", array=np.array([1, 2]))
    path = saved(tmp_path, [column], TSCAL1=0.5, TZERO1=10.0, TNULL1=2)
    assert column_of(path) == (D.DOUBLE, None, [10.5, None])
