from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pybase64
import pytest
from astropy.io import votable
from astropy.table import Table

from astrolabe.core.errors import ImportRefusedError, TooLargeError, UploadInvalidError
from astrolabe.tables.conform import result_schema
from astrolabe.tables.model import Datatype, ResultHeader
from astrolabe.tables.readers import open_source, open_upload
from astrolabe.tables.writers import error_document

from .samples import batch, column, written

D = Datatype
HEAD = '<?xml version="1.0"?>\n<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
TAIL = "</TABLE></RESOURCE></VOTABLE>"


def document(fields: str, rows: str, *, before: str = "") -> str:
    return (
        f"{HEAD}<RESOURCE>{before}<TABLE name='t'>{fields}"
        f"<DATA><TABLEDATA>{rows}</TABLEDATA></DATA>{TAIL}"
    )


def saved(folder: Path, text: str | bytes) -> Path:
    path = folder / "a.vot"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def cells(field: str, *values: str) -> str:
    rows = "".join(f"<TR><TD>{value}</TD></TR>" for value in values)
    return document(f"<FIELD name='x' {field}/>", rows)


@pytest.mark.parametrize("form", ["tabledata", "binary", "binary2"])
def test_what_astropy_and_pyvo_send_comes_back(tmp_path: Path, form: str) -> None:
    table = Table(
        {
            "id": np.array([2**60 + 1, -1, 0], "i8"),
            "flag": np.array([True, False, True]),
            "n": np.array([1, 2, 3], "i2"),
            "b": np.array([255, 0, 1], "u1"),
            "x": np.array([0.1, np.nan, 1], "f4"),
            "name": ["a b", "", "é<&>"],
            "m": np.arange(18.0).reshape(3, 2, 3),
            "z": np.array([1 + 2j, 0, 3], "c16"),
        }
    )
    text = io.BytesIO()
    votable.from_table(table).to_xml(text, tabledata_format=form)
    source = open_upload(saved(tmp_path, text.getvalue()), max_rows=3)
    assert [c.datatype for c in source.meta.columns] == [
        D.LONG,
        # This is how astropy declares booleans.
        D.BIT,
        D.SHORT,
        D.UNSIGNED_BYTE,
        D.FLOAT,
        D.UNICODE_CHAR,
        D.DOUBLE,
        D.DOUBLE_COMPLEX,
    ]
    batches = list(source.batches(max_rows=2))
    assert all(b.schema == result_schema(source.meta.columns) for b in batches)
    rows = pa.Table.from_batches(batches).to_pydict()
    assert rows["id"] == [2**60 + 1, -1, 0]
    assert rows["flag"] == [True, False, True]
    assert rows["n"] == [1, 2, 3]
    assert rows["b"] == [255, 0, 1]
    assert rows["x"][0] == np.float32(0.1)
    assert rows["x"][1] is None or np.isnan(rows["x"][1])
    assert [name or "" for name in rows["name"]] == ["a b", "", "é<&>"]
    assert rows["m"][2] == [12.0, 13, 14, 15, 16, 17]
    assert rows["z"] == [[1.0, 2.0], [0.0, 0.0], [3.0, 0.0]]


@pytest.mark.parametrize(
    ("field", "values", "expected"),
    [
        ('datatype="short"', [" 5 ", "", "0x1F", "+7"], [5, None, 31, 7]),
        ('datatype="double"', ["NaN", "+Inf", "-Inf", "1e3"], [None, np.inf, -np.inf, 1000.0]),
        ('datatype="boolean"', ["T", "false", "?", "", "1"], [True, False, None, None, True]),
        ('datatype="bit"', ["1", "0"], [True, False]),
        ('datatype="bit" arraysize="2"', ["10", "0 1"], [[True, False], [False, True]]),
        ('datatype="char" arraysize="*"', [" a ", "", "&lt;&amp;"], [" a ", None, "<&"]),
        ('datatype="char" arraysize="*"', ["<![CDATA[<x>]]>"], ["<x>"]),
        ('datatype="char" arraysize="1"', ["a", ""], ["a", None]),
        ('datatype="int" arraysize="1"', ["5", ""], [5, None]),
        ('datatype="int" arraysize="*"', ["1 2", "", " 3 "], [[1, 2], None, [3]]),
        ('datatype="int" arraysize="2x2"', ["1 2 3 4"], [[1, 2, 3, 4]]),
        ('datatype="floatComplex"', ["1 2", ""], [[1.0, 2.0], None]),
        ('datatype="floatComplex" arraysize="*"', ["1 2 3 4"], [[[1.0, 2.0], [3.0, 4.0]]]),
        ('datatype="unicodeChar" arraysize="5*"', ["é"], ["é"]),
        ('datatype="float" precision="2" width="9"', ["1.5"], [1.5]),
    ],
)  # fmt: skip
def test_cells_are_read_as_votable_writes_them(
    tmp_path: Path, field: str, values: list[str], expected: list[Any]
) -> None:
    (rows,) = open_upload(saved(tmp_path, cells(field, *values))).batches()
    found = [None if v != v else v for v in rows.column(0).to_pylist()]  # noqa: PLR0124 - NaN
    assert found == expected


def test_sentinels_are_nulls(tmp_path: Path) -> None:
    fields = (
        '<FIELD name="i" datatype="int"><VALUES null="-99"/></FIELD>'
        '<FIELD name="d" datatype="double"><VALUES null="-1"/></FIELD>'
        '<FIELD name="a" datatype="short" arraysize="2"><VALUES null="0"/></FIELD>'
    )
    rows = "<TR><TD>-99</TD><TD>-1.0</TD><TD>0 1</TD></TR><TR><TD>1</TD><TD>2</TD><TD>3 4</TD></TR>"
    (found,) = open_upload(saved(tmp_path, document(fields, rows))).batches()
    assert found.to_pydict() == {"i": [None, 1], "d": [None, 2.0], "a": [[None, 1], [3, 4]]}


@pytest.mark.parametrize("xtype", ["timestamp", "adql:TIMESTAMP"])
def test_timestamps_come_back_as_they_went_in(tmp_path: Path, xtype: str) -> None:
    for size, texts in (
        ("*", ["2012-08-15T12:34:56", "2012-08-15T12:34:56.25", ""]),
        ("19", ["2012-08-15T12:34:56", "1800-01-01T00:00:00"]),
    ):
        field = f'datatype="char" arraysize="{size}" xtype="{xtype}"'
        source = open_upload(saved(tmp_path, cells(field, *texts)))
        (found,) = source.meta.columns
        assert (found.xtype, found.arraysize, found.is_timestamp) == (xtype, size, True)
        (rows,) = source.batches()
        assert rows.column(0)[0].as_py() == datetime(2012, 8, 15, 12, 34, 56)  # noqa: DTZ001 - DALI's
        text = written("votable/td", [rows], ResultHeader(columns=source.meta.columns)).decode()
        assert [part.split("</TD>")[0] for part in text.split("<TD>")[1:]] == texts


def test_what_is_no_timestamp_stays_as_it_is(tmp_path: Path) -> None:
    for text in ("2012-02-30T00:00:00", "never", "2012-08-15T12:34:56.1234567", "12:00"):
        field = 'datatype="char" arraysize="*" xtype="timestamp"'
        source = open_upload(saved(tmp_path, cells(field, "2012-08-15T12:34:56", text)))
        (found,) = source.meta.columns
        assert found.xtype is None
        (rows,) = source.batches()
        assert rows.column(0).to_pylist() == ["2012-08-15T12:34:56", text]
        assert "'x'" in source.meta.notes[0]


def test_metadata_and_frame_are_read(tmp_path: Path) -> None:
    before = (
        '<COOSYS ID="a" system="galactic"/>'
        '<COOSYS ID="b" system="eq_FK5" equinox="J2000" epoch="J2015.5"/>'
    )
    fields = (
        '<DESCRIPTION>The\n table</DESCRIPTION><FIELD name="_RA" ID="x" datatype="double" '
        'unit="deg" '
        'ucd="pos.eq.ra;meta.main" utype="u" ref="b" arraysize=" ">'
        '<DESCRIPTION>R &amp; A</DESCRIPTION></FIELD><FIELD ID="only" datatype="string"/>'
    )
    rows = "<TR><TD>1</TD><TD>a</TD></TR>"
    source = open_source(saved(tmp_path, document(fields, rows, before=before)))
    meta = source.meta
    assert (meta.name, meta.description) == ("t", "The table")
    assert meta.coordinate_system is not None
    assert (meta.coordinate_system.system, meta.coordinate_system.epoch) == ("FK5", 2015.5)
    ra, only = meta.columns
    assert (ra.name, ra.unit, ra.ucd, ra.utype) == ("_RA", "deg", "pos.eq.ra;meta.main", "u")
    assert ra.description == "R & A"
    assert (only.name, only.datatype, only.arraysize) == ("only", D.CHAR, "*")


DTD = '<!DOCTYPE VOTABLE SYSTEM "http://us-vo.org/xml/VOTable.dtd">'
PREFIXED = (
    "<v:VOTABLE xmlns:v='http://www.ivoa.net/xml/VOTable/v1.3'><v:RESOURCE><v:TABLE>{}"
    "</v:TABLE></v:RESOURCE></v:VOTABLE>"
)


@pytest.mark.parametrize(
    "text",
    [
        f"<VOTABLE version='1.1'><RESOURCE><TABLE>{{}}{TAIL}",
        f"<VOTABLE xmlns='http://www.ivoa.net/xml/VOTable/v1.2'><RESOURCE><TABLE>{{}}{TAIL}",
        PREFIXED,
        f'<?xml version="1.0"?>{DTD}<VOTABLE version="1.0"><RESOURCE><TABLE>{{}}{TAIL}',
    ],
)
def test_every_version_of_votable_is_read(tmp_path: Path, text: str) -> None:
    body = "<FIELD name='a' datatype='int'/><DATA><TABLEDATA><TR><TD>7</TD></TR></TABLEDATA></DATA>"
    if "v:VOTABLE" in text:
        body = (
            body.replace("</", "</v:")
            .replace("<F", "<v:F")
            .replace("<D", "<v:D")
            .replace("<T", "<v:T")
        )
    (rows,) = open_upload(saved(tmp_path, text.format(body))).batches()
    assert rows.column(0).to_pylist() == [7]


def test_rows_as_fits_inside_a_votable_are_read(tmp_path: Path) -> None:
    inner = tmp_path / "a.fits"
    Table({"a": np.array([1, 2], "i4"), "b": ["x", "yz"]}).write(inner)
    stream = pybase64.b64encode(inner.read_bytes()).decode()
    text = (
        f"{HEAD}<RESOURCE><TABLE><FIELD name='a' datatype='int'/>"
        "<FIELD name='b' datatype='char' arraysize='2'/><DATA><FITS extnum='1'>"
        f"<STREAM encoding='base64'>{stream}</STREAM></FITS></DATA>{TAIL}"
    )
    (rows,) = open_source(saved(tmp_path, text)).batches()
    assert rows.to_pydict() == {"a": [1, 2], "b": ["x", "yz"]}


TEXT = "datatype='char' arraysize='*'"
ONE = "<RESOURCE><TABLE><FIELD name='a' datatype='int'/>"
HOSTS = "file:///etc/hosts"
BOMB = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(9))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f'<!DOCTYPE x [<!ENTITY e0 "a">{BOMB}]>{cells(TEXT, "&e9;")[21:]}', "internal DTD"),
        (f'<!DOCTYPE x [<!ENTITY f SYSTEM "{HOSTS}">]><VOTABLE>&f;</VOTABLE>', "internal DTD"),
        (f'<!DOCTYPE x SYSTEM "{HOSTS}"><VOTABLE>&f;</VOTABLE>', "has no TABLE|broken XML"),
        (f'<!DOCTYPE x SYSTEM "{HOSTS}">{cells(TEXT, "&f;")[21:]}', "broken XML"),
        (cells("datatype='int'", "&undefined;"), "broken XML"),
        (cells("datatype='int'", "x"), "column 'x' has a value that is no int, in rows 1 to 1"),
        (cells("datatype='short'", "40000"), "'x' has a value that is no short"),
        (cells("datatype='boolean'", "maybe"), "'MAYBE'"),
        (cells("datatype='int' arraysize='2'", "1 2 3"), "3 elements instead of 2"),
        (cells("datatype='wrong'", "1"), "datatype 'wrong'"),
        (cells("datatype='int' arraysize='x'", "1"), "arraysize 'x'"),
        (cells("datatype='int'", "1")[:-40], "broken XML|cut"),
        (cells("datatype='int'", "1</TD><TD>2"), "row 1 has 2 cells"),
        (document("", "<TR/>"), "no FIELD"),
        (document("<FIELD name='a' datatype='int'/>" * 2, ""), "two columns are called 'a'"),
        (document("<FIELD datatype='int'/>", ""), "FIELD 1 has no name"),
        ("<VOTABLE><RESOURCE/></VOTABLE>", "has no TABLE"),
        ("<?xml version='1.0'?><html/>", "not a VOTable: its root element is html"),
        ("<?xml version='1.0'?><VOTABLE", "not a VOTable"),
        (error_document("no such table").decode(), "error document: no such table"),
        (
            f"{HEAD}{ONE}<DATA><BINARY2><STREAM href='http://[::1]/'/></BINARY2></DATA>{TAIL}",
            "never fetched",
        ),
        (
            f"{HEAD}{ONE}<DATA><PARQUET/></DATA>{TAIL}",
            "PARQUET, which cannot be read",
        ),
    ],
)  # fmt: skip
def test_what_is_broken_or_could_harm_is_refused(tmp_path: Path, text: str, what: str) -> None:
    path = saved(tmp_path, text)
    with pytest.raises(UploadInvalidError, match=what) as caught:
        list(open_upload(path, format="votable", name="table t1").batches())
    assert caught.value.message.startswith("table t1: ")
    assert str(path) not in caught.value.message
    with pytest.raises(ImportRefusedError, match=what) as refused:
        list(open_source(path, format="votable").batches())
    assert str(path) in refused.value.message


COLUMNS = (column("a", D.INT), column("s", D.CHAR, "*"))


@pytest.mark.parametrize("form", ["votable/b2", "votable/b"])
def test_a_broken_stream_is_refused(tmp_path: Path, form: str) -> None:
    rows = batch(COLUMNS, [range(100), [f"text {i}" for i in range(100)]])
    whole = written(form, [rows], ResultHeader(columns=COLUMNS))
    start = whole.index(b"base64") + 9
    huge = pybase64.b64encode(struct.pack(">iii", 1, 2**31 - 1, 0))
    negative = pybase64.b64encode(struct.pack(">iii", 1, -5, 0))
    end = whole.index(b"</STREAM>")
    mask = b"" if form == "votable/b" else b"A"
    assert not mask or len(mask) == 1
    for broken in (
        whole[: start + 500],
        whole[: start + 500] + whole[end:],
        whole[:start] + b"!!!!" + whole[start:],
        whole[:start] + huge + whole[end:],
        whole[:start] + negative + whole[end:],
    ):
        with pytest.raises(UploadInvalidError, match=r"STREAM"):
            list(open_upload(saved(tmp_path, broken)).batches())


def test_the_limit_on_rows_is_kept_and_named(tmp_path: Path) -> None:
    columns = (column("a", D.INT),)
    rows = batch(columns, [range(11)])
    head = ResultHeader(columns=columns)
    for form in ("votable/b2", "votable/td", "csv"):
        path = saved(tmp_path, written(form, [rows], head))
        with pytest.raises(TooLargeError, match="more than the 10 rows"):
            list(open_upload(path, max_rows=10).batches(max_rows=4))
        assert sum(b.num_rows for b in open_upload(path, max_rows=11).batches(max_rows=4)) == 11


def test_a_compressed_upload_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path, gzip.compress(cells("datatype='int'", "1", "2").encode()))
    source = open_upload(path)
    for _ in range(2):
        assert [b.column(0).to_pylist() for b in source.batches()] == [[1, 2]]
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(UploadInvalidError, match=r"cannot be read|broken or cut off gzip"):
        list(open_upload(path).batches())


@pytest.mark.parametrize("form", ["votable/b2", "votable/td"])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, form: str) -> None:
    columns = (column("a", D.LONG), column("s", D.CHAR, "*"))
    rows = batch(columns, [range(10_000), ["x" * 400] * 10_000])
    path = saved(tmp_path, written(form, [rows] * 3, ResultHeader(columns=columns)))
    source = open_upload(path)
    next(iter(source.batches(max_rows=1000)))
    tracemalloc.start()
    count = sum(b.num_rows for b in source.batches(max_rows=1000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 30_000
    assert peak < 0.7 * path.stat().st_size


def test_uploads_of_other_forms_are_read(tmp_path: Path) -> None:
    table = Table({"a": np.array([1, 2], "i4"), "b": [0.5, 1.5]})
    for name in ("a.fits", "a.csv", "a.ecsv", "a.parquet"):
        path = tmp_path / name
        table.write(path)
        (rows,) = open_upload(path, max_rows=2).batches()
        assert rows.to_pydict() == {"a": [1, 2], "b": [0.5, 1.5]}
        if name == "a.csv":
            # Any text is a table.
            continue
        path.write_bytes(path.read_bytes()[:12])
        with pytest.raises(UploadInvalidError) as caught:
            list(open_upload(path, name="t1").batches())
        assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1", "utf-16", "windows-1252"])
def test_any_encoding_of_the_document_is_read(tmp_path: Path, encoding: str) -> None:
    text = cells(TEXT, "né", "x").replace('"1.0"', f'"1.0" encoding="{encoding}"')
    (rows,) = open_upload(saved(tmp_path, text.encode(encoding))).batches()
    assert rows.column(0).to_pylist() == ["né", "x"]


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("<TR>\n <TD>a</TD>\r\n <TD> </TD>\n</TR>\n", [["a", " "]]),
        ("<TR><TD>a</TD><TD/></TR>", [["a", None]]),
        ("<TR ID='x'><TD encoding='none'>a</TD ><TD>b</TD></TR >", [["a", "b"]]),
        ("<!-- <TR> --><TR><TD>a<!-- c --></TD><TD>&#x41;&#66;&quot;</TD></TR>", [["a", 'AB"']]),
        ("<TR><TD>l\r\nm</TD><TD>&#13;</TD></TR>", [["l\nm", "\r"]]),
        ("<TR><TD><![CDATA[</TD>&amp;]]></TD><TD>b</TD></TR>", [["</TD>&amp;", "b"]]),
        ("<?pi?><TR><TD>a</TD><TD>b</TD></TR>", [["a", "b"]]),
        ("  \n ", []),
        ("", []),
    ],
)
def test_plain_and_other_rows_are_read_alike(
    tmp_path: Path, inside: str, expected: list[list[str | None]]
) -> None:
    fields = f"<FIELD name='a' {TEXT}/><FIELD name='b' {TEXT}/>"
    path = saved(tmp_path, document(fields, inside))
    found = [list(row.values()) for b in open_upload(path).batches() for row in b.to_pylist()]
    assert found == expected


@pytest.mark.parametrize(
    "inside",
    [
        "<TR><TD>a</TD></TR><TR><TD>b</TD><TD>c</TD></TR>",
        "<TR><TD>a</TD><TD>b</TD></TR>stray</TR>",
        "<TR><TD>a</TD><TR><TD>b</TD></TR></TR>",
        "<TR><TD>a</TD><TD>&nbsp;</TD></TR>",
        "<TR><TD>a</TD><TD>&#0;</TD></TR>",
        "<TR><TD>a</TD><TD>\x01</TD></TR>",
        "<TR><TD>a</TD><TD><B>b</B></TD></TR>",
        "<TR><TD>a</TD><TD>]]></TD></TR>",
        "<TR><TD>a</TD><TD>b</TD>",
    ],
)
def test_rows_that_are_no_rows_are_refused(tmp_path: Path, inside: str) -> None:
    fields = f"<FIELD name='a' {TEXT}/><FIELD name='b' {TEXT}/>"
    with pytest.raises(UploadInvalidError):
        list(open_upload(saved(tmp_path, document(fields, inside))).batches())


def test_rows_across_the_pieces_of_a_file_are_read(tmp_path: Path) -> None:
    rows = "".join(f"<TR><TD>{i} {'&amp;' * (i % 7 == 0)}</TD></TR>\n" for i in range(60_000))
    path = saved(tmp_path, document(f"<FIELD name='a' {TEXT}/>", rows))
    found = [v for b in open_upload(path).batches(max_rows=999) for v in b.column(0).to_pylist()]
    assert found == [f"{i} {'&' * (i % 7 == 0)}" for i in range(60_000)]
