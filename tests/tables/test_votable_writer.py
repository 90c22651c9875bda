from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import votable

from astrolabe.core.errors import AdqlTypeError
from astrolabe.tables.formats import resolve_format
from astrolabe.tables.model import Column, Datatype, ResultHeader
from astrolabe.tables.readers import open_upload
from astrolabe.tables.writers import error_document, open_writer

from .samples import COLUMNS, VALUES, batch, column, header, written

FORMS = ("votable/b2", "votable/b", "votable/td")
NAMESPACE = "{http://www.ivoa.net/xml/VOTable/v1.3}"
WITHOUT_UNICODE = tuple(c for c in COLUMNS if c.name != "size")


def without_bits(form: str) -> tuple[Column, ...]:
    """Only BINARY2 has a null for bits; a single char without arraysize is worth a remark."""
    left_out = ("one",) if form == "votable/b2" else ("one", "bits")
    return tuple(c for c in COLUMNS if c.name not in left_out)


def comparable(value: Any) -> Any:
    if isinstance(value, list):
        return [comparable(v) for v in value]
    if isinstance(value, float) and np.isnan(value):
        return None
    return value


def same(array: pa.Array[Any], expected: tuple[Any, ...]) -> bool:
    found = [comparable(v) for v in array.to_pylist()]
    return found == [comparable(v) for v in pa.array(list(expected), array.type).to_pylist()]


@pytest.mark.parametrize("form", FORMS)
def test_every_type_comes_back_from_our_own_reader(form: str, tmp_path: Path) -> None:
    path = tmp_path / "result.vot"
    columns = without_bits(form)
    rows = batch(columns)
    path.write_bytes(written(form, [rows, rows.slice(1, 2)], header(columns)))
    source = open_upload(path, max_rows=10)
    table = pa.Table.from_batches(list(source.batches(max_rows=2)))
    assert table.num_rows == 5
    known = {c.name: v for c, v in VALUES}
    for declared, found in zip(columns, source.meta.columns, strict=True):
        values = known[declared.name]
        if (form, declared.name) != ("votable/b", "ubyte"):
            assert found.datatype is declared.datatype, declared.name
        assert found.arraysize == declared.arraysize
        assert (found.unit, found.ucd, found.xtype) == (
            declared.unit,
            declared.ucd,
            declared.xtype,
        )
        expected: tuple[Any, ...] = (*values, *values[1:])
        got = table.column(declared.name).combine_chunks()
        if form != "votable/b2" and (declared.is_array or declared.name == "complex"):
            # Only BINARY2 tells a null array from one of nulls or an empty one.
            expected, got = expected[:2], got.slice(0, 2)
        assert same(got, expected), declared.name
    assert source.meta.coordinate_system is not None
    assert source.meta.coordinate_system.epoch == 2016.0
    assert source.meta.description == "All & everything"


@pytest.mark.parametrize("form", FORMS)
def test_astropy_reads_what_was_written(form: str) -> None:
    columns = without_bits(form)
    document = written(form, [batch(columns)], header(columns), overflow=True)
    table = votable.parse(io.BytesIO(document)).get_first_table()
    known = {c.name: v for c, v in VALUES}
    assert [f.name for f in table.fields] == [c.name for c in columns]
    for field in table.fields:
        cells = table.array[field.ID]
        first = known[field.name][0]
        if field.name == "seen":
            assert str(cells[0]) == "2026-01-02T03:04:05"
            assert str(cells[1]) == "1999-12-31T23:59:59.25"
        elif field.name in ("complex", "complexes"):
            pairs = np.reshape(first, (-1, 2))
            assert np.array_equal(np.ravel(cells[0]), pairs[:, 0] + 1j * pairs[:, 1])
        elif isinstance(first, list):
            assert np.ravel(np.ma.getdata(cells[0])).tolist() == first
            assert np.shape(cells[0]) == ((3, 2) if field.name == "matrix" else (len(first),))
        elif isinstance(first, float):
            assert cells[0] == np.float64(first).astype(cells.dtype)
            assert np.ma.is_masked(cells[2]) or np.isnan(cells[2])
        else:
            assert cells[0] == first
            assert known[field.name][2] is not None or not cells[2] or np.ma.is_masked(cells[2])


@pytest.mark.client
@pytest.mark.timeout(180)
@pytest.mark.parametrize("form", FORMS)
def test_votlint_has_nothing_to_say(form: str, tmp_path: Path) -> None:
    columns = without_bits(form)
    path = tmp_path / "result.vot"
    path.write_bytes(written(form, [batch(columns)] * 2, header(columns), overflow=True))
    lint = subprocess.run(
        ["stilts", "votlint", str(path)], capture_output=True, text=True, check=False
    )
    assert lint.returncode == 0
    assert lint.stdout + lint.stderr == ""


@pytest.mark.client
@pytest.mark.timeout(180)
@pytest.mark.parametrize("form", FORMS)
def test_stilts_reads_the_same_numbers(form: str, tmp_path: Path) -> None:
    names = ("id", "ra", "short", "long", "size", "seen", "flag")
    columns = tuple(c for c in COLUMNS if c.name in names)
    path = tmp_path / "result.vot"
    path.write_bytes(written(form, [batch(columns)], header(columns)))
    out = subprocess.run(
        ["stilts", "tpipe", f"in={path}", "ofmt=csv"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert out[0].split(",") == [c.name for c in columns]
    assert out[1].startswith("1152921504606846977,10.5,true,-5,9007199254740993,a<b&c>,2026-01-02T")
    assert out[3] == "9223372036854775807,,,,,,"


@pytest.mark.parametrize("form", FORMS)
def test_there_is_one_result_with_its_status_around_the_table(form: str) -> None:
    root = ET.fromstring(written(form, [batch().slice(0, 2)], overflow=True))  # noqa: S314 - our own text
    (resource,) = root.findall(f"{NAMESPACE}RESOURCE")
    assert resource.attrib == {"type": "results"}
    tags = [child.tag.removeprefix(NAMESPACE) for child in resource]
    assert tags == ["INFO", "INFO", "COOSYS", "TABLE", "INFO"]
    statuses = [c.attrib for c in resource if c.attrib.get("name") == "QUERY_STATUS"]
    assert [s["value"] for s in statuses] == ["OK", "OVERFLOW"]
    system = resource.find(f"{NAMESPACE}COOSYS")
    assert system is not None
    refs = {f.attrib["name"] for f in root.iter(f"{NAMESPACE}FIELD") if f.attrib.get("ref")}
    assert refs == {"ra", "dec", "pmra"}
    assert system.attrib["epoch"] == "J2016.0"


def test_no_system_is_named_where_there_are_no_positions() -> None:
    document = written("votable", [batch(COLUMNS[5:7])], header(COLUMNS[5:7]))
    assert b"COOSYS" not in document
    assert b"ref=" not in document


@pytest.mark.parametrize("form", FORMS)
def test_no_rows_and_no_overflow_is_a_result(form: str) -> None:
    document = written(form, [])
    assert b"OVERFLOW" not in document
    assert (
        len(
            votable.parse(io.BytesIO(written(form, [], header(WITHOUT_ONE))))
            .get_first_table()
            .array
        )
        == 0
    )
    assert b'<INFO name="QUERY_STATUS" value="OK"/>' in document


WITHOUT_ONE = tuple(c for c in COLUMNS if c.name != "one")


@pytest.mark.parametrize("form", FORMS)
def test_an_error_in_the_middle_ends_a_well_formed_document(form: str) -> None:
    writer = open_writer(resolve_format(form), header())
    pieces = [*writer.start(), *writer.write(batch().slice(0, 1)), *writer.fail("a < b & c")]
    document = b"".join(pieces)
    root = ET.fromstring(document)  # noqa: S314 - our own text
    last = list(root.iter(f"{NAMESPACE}INFO"))[-1]
    assert (last.attrib["value"], last.text) == ("ERROR", "a < b & c")
    assert b'<INFO name="QUERY_STATUS" value="ERROR">a &lt; b &amp; c</INFO>' in document


def test_an_error_document_has_nothing_but_the_error() -> None:
    document = error_document('no table "x" \x00\x0b & <y>')
    root = ET.fromstring(document)  # noqa: S314 - our own text
    (resource,) = root
    (info,) = resource
    assert resource.attrib == {"type": "results"}
    assert info.text == 'no table "x" \ufffd\ufffd & <y>'
    assert b'<INFO name="QUERY_STATUS" value="ERROR">' in document
    votable.parse(io.BytesIO(document))


@pytest.mark.parametrize("form", FORMS)
def test_names_and_text_cannot_break_the_document(form: str) -> None:
    hostile = '"><X y="\'&amp;]]>\n\t\r\x01'
    columns = (column(hostile, Datatype.CHAR, "*", description=hostile, unit=hostile, ucd=hostile),)
    head = ResultHeader(columns=columns, table_name=hostile, description=hostile)
    document = written(form, [batch(columns, [[hostile, "\r\n", "\x0c"]])], head)
    root = ET.fromstring(document)  # noqa: S314 - our own text
    (field,) = root.iter(f"{NAMESPACE}FIELD")
    assert field.attrib["name"] == hostile.replace("\x01", "\ufffd")
    if form == "votable/td":
        cells = [cell.text for cell in root.iter(f"{NAMESPACE}TD")]
        assert cells == [hostile.replace("\x01", "\ufffd"), "\r\n", "\ufffd"]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 100])
def test_base64_is_one_stream_whatever_the_batches(size: int) -> None:
    columns = (column("a", Datatype.UNSIGNED_BYTE), column("b", Datatype.SHORT))
    rows = [batch(columns, [[i], [i]]) for i in range(size)]
    table = votable.parse(
        io.BytesIO(written("votable/b2", rows, ResultHeader(columns=columns)))
    ).get_first_table()
    assert table.array["b"].tolist() == list(range(size))


def test_a_text_longer_than_declared_is_never_cut() -> None:
    columns = (column("a", Datatype.CHAR, "2"),)
    rows = batch(columns, [["abc"]])
    with pytest.raises(AdqlTypeError, match=r"'a'.*3.*2 were declared"):
        written("votable/b2", [rows], ResultHeader(columns=columns))
    assert b"<TD>abc</TD>" in written("votable/td", [rows], ResultHeader(columns=columns))


def test_a_value_that_stands_for_null_is_refused_where_it_would_be_lost() -> None:
    columns = (column("a", Datatype.SHORT),)
    rows = batch(columns, [[-32768, 1]])
    head = ResultHeader(columns=columns)
    with pytest.raises(AdqlTypeError, match=r"'a' holds -32768"):
        written("votable/b", [rows], head)
    for form in ("votable/b2", "votable/td"):
        table = votable.parse(io.BytesIO(written(form, [rows], head))).get_first_table()
        assert table.array["a"].tolist() == [-32768, 1]


def test_a_null_inside_an_array_comes_back(tmp_path: Path) -> None:
    columns = (column("a", Datatype.INT, "*"), column("b", Datatype.DOUBLE, "2"))
    rows = batch(columns, [[[1, None, 3]], [[None, 2.0]]])
    for form in FORMS:
        path = tmp_path / "a.vot"
        path.write_bytes(written(form, [rows], ResultHeader(columns=columns)))
        (found,) = open_upload(path).batches()
        assert found.column(0).to_pylist() == [[1, None, 3]]
        assert comparable(found.column(1).to_pylist()) == [[None, 2.0]]


def test_bytes_without_a_free_value_become_short_in_binary() -> None:
    columns = (column("a", Datatype.UNSIGNED_BYTE), column("b", Datatype.UNSIGNED_BYTE, "2"))
    rows = batch(columns, [[255, None], [[1, 2], [3, 4]]])
    table = votable.parse(
        io.BytesIO(written("votable/b", [rows], ResultHeader(columns=columns)))
    ).get_first_table()
    assert table.array["a"].tolist() == [255, None]
    assert table.array["b"].tolist() == [[1, 2], [3, 4]]


def test_a_timestamp_fits_its_declared_length() -> None:
    for size, text in (("19", "1999-12-31T23:59:59"), ("23", "1999-12-31T23:59:59.250")):
        columns = (column("a", Datatype.CHAR, size, xtype="timestamp"),)
        rows = batch(columns, [[VALUES[16][1][1]]])
        head = ResultHeader(columns=columns)
        assert f"<TD>{text}</TD>".encode() in written("votable/td", [rows], head)
        table = votable.parse(io.BytesIO(written("votable/b2", [rows], head))).get_first_table()
        assert table.array["a"].tolist() == [text]


def test_a_null_bit_is_refused_where_it_would_be_false() -> None:
    for arraysize, value in ((None, True), ("3", [True] * 3)):
        columns = (column("a", Datatype.BIT, arraysize),)
        rows = batch(columns, [[value, None]])
        with pytest.raises(AdqlTypeError, match="null among its bits"):
            written("votable/b", [rows], ResultHeader(columns=columns))


def test_every_form_holds_bits(tmp_path: Path) -> None:
    columns = tuple(
        column(f"b{size or ''}", Datatype.BIT, size) for size in (None, "3", "8", "9", "*")
    )
    values: list[list[Any]] = [[True, False]]
    values += [[[True] * n, [False] * n] for n in (3, 8, 9)]
    values += [[[True] * 11, []]]
    for form in FORMS:
        path = tmp_path / "a.vot"
        path.write_bytes(written(form, [batch(columns, values)], ResultHeader(columns=columns)))
        (found,) = open_upload(path).batches()
        cells = [[cell or [] for cell in array.to_pylist()] for array in found.columns[1:]]
        assert found.column(0).to_pylist() == [True, False]
        assert cells == values[1:]
