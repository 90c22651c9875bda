from __future__ import annotations

import csv
import gzip
import io
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrolabe.core.errors import ImportRefusedError
from astrolabe.tables.model import Datatype
from astrolabe.tables.readers import open_source

D = Datatype


def rows_of(path: Path, **options: Any) -> tuple[list[Datatype], list[dict[str, Any]]]:
    source = open_source(path, **options)
    rows = [row for b in source.batches(max_rows=1000) for row in b.to_pylist()]
    assert source.meta.row_count == len(rows)
    return [c.datatype for c in source.meta.columns], rows


def saved(folder: Path, text: str | bytes, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("cells", "datatype", "expected"),
    [
        (["1", "", "-3"], D.LONG, [1, None, -3]),
        (["9223372036854775807", "NaN", "null"], D.LONG, [2**63 - 1, None, None]),
        (["9223372036854775808", "1"], D.CHAR, ["9223372036854775808", "1"]),
        (["1.5", "2", "+1e-3", " 7 "], D.DOUBLE, [1.5, 2.0, 0.001, 7.0]),
        (["-inf", "1"], D.DOUBLE, [float("-inf"), 1.0]),
        (["9007199254740993", "1.5"], D.CHAR, ["9007199254740993", "1.5"]),
        (["9007199254740992", "1.5"], D.DOUBLE, [2.0**53, 1.5]),
        (["true", "FALSE", ""], D.BOOLEAN, [True, False, None]),
        (["true", "1"], D.CHAR, ["true", "1"]),
        (["T", "F"], D.CHAR, ["T", "F"]),
        (["00:42:44.3", "01:00:00"], D.CHAR, ["00:42:44.3", "01:00:00"]),
        (["00 42 44", "+41 16 09"], D.CHAR, ["00 42 44", "+41 16 09"]),
        (["2026-01-02", "2026-01-03"], D.CHAR, ["2026-01-02", "2026-01-03"]),
        (["", ""], D.CHAR, [None, None]),
        (["x", ""], D.CHAR, ["x", None]),
    ],
)
def test_a_column_has_the_type_that_fits_all_of_it(
    tmp_path: Path, cells: list[str], datatype: Datatype, expected: list[Any]
) -> None:
    text = "k,x\n" + "".join(f"r,{cell}\n" for cell in cells)
    datatypes, rows = rows_of(saved(tmp_path, text))
    assert datatypes[1] is datatype
    assert [row["x"] for row in rows] == expected


def test_timestamps_are_known_and_others_stay_text(tmp_path: Path) -> None:
    text = "t,u\n2026-01-02T03:04:05.25Z,2026-01-02T03:04:05\n2026-01-02 00:00:00,never\n"
    source = open_source(saved(tmp_path, text))
    assert [c.is_timestamp for c in source.meta.columns] == [True, False]
    (rows,) = source.batches()
    first = datetime(2026, 1, 2, 3, 4, 5, 250000)  # noqa: DTZ001 - DALI's have no zone
    assert rows.column(0).to_pylist() == [first, datetime(2026, 1, 2)]  # noqa: DTZ001 - the same


def test_the_last_row_counts_as_much_as_the_first(tmp_path: Path) -> None:
    for last, datatype in (("x", D.CHAR), ("0.5", D.DOUBLE), ("7", D.LONG)):
        # More than one block of the reader.
        text = "id,x\n" + "".join(f"{i},{i}\n" for i in range(700_000)) + f"1,{last}\n"
        source = open_source(saved(tmp_path, text))
        assert source.meta.columns[1].datatype is datatype
        assert source.meta.row_count == 700_001


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    text = "a,b;c".replace(",", delimiter).replace(";", delimiter) + "\n"
    text += delimiter.join(["1", '"x' + delimiter + 'y"', "2.5"]) + "\n"
    _, rows = rows_of(saved(tmp_path, text))
    assert rows == [{"a": 1, "b": f"x{delimiter}y", "c": 2.5}]


def test_comments_marks_and_compression_are_understood(tmp_path: Path) -> None:
    for text in (
        "\ufeffa,b\n1,2\n",
        "# made by\n# someone\na,b\n1,2\n",
        "#a,b\n1,2\n",
        "a,b\r\n1,2\r\n",
    ):
        assert rows_of(saved(tmp_path, text))[1] == [{"a": 1, "b": 2}]
    packed = saved(tmp_path, gzip.compress(b"a,b\n1,2\n", mtime=0), "a.csv.gz")
    assert rows_of(packed)[1] == [{"a": 1, "b": 2}]
    assert rows_of(saved(tmp_path, "a,b\n1,2"))[1] == [{"a": 1, "b": 2}]
    assert rows_of(saved(tmp_path, "a,b"))[1] == []
    assert rows_of(saved(tmp_path, "a\tb,c\n1\t2\n"), format="tsv")[1] == [{"a": 1, "b,c": 2}]


def test_lines_inside_quotes_and_empty_texts_stay(tmp_path: Path) -> None:
    text = 'a,b\n"x\ny ""z""",\n"",1\n'
    assert rows_of(saved(tmp_path, text))[1] == [
        {"a": 'x\ny "z"', "b": None},
        {"a": "", "b": 1},
    ]


def test_a_column_is_read_as_text_when_told(tmp_path: Path) -> None:
    path = saved(tmp_path, "id\n007\n")
    assert rows_of(path)[1] == [{"id": 7}]
    assert rows_of(path, as_string=["id"])[1] == [{"id": "007"}]


def test_several_files_have_one_type(tmp_path: Path) -> None:
    paths = [saved(tmp_path, "a\n1\n", "1.csv"), saved(tmp_path, "a\n1.5\n", "2.csv")]
    source = open_source(paths)
    assert source.meta.columns[0].datatype is D.DOUBLE
    assert [b.column(0)[0].as_py() for b in source.batches()] == [1.0, 1.5]
    paths.append(saved(tmp_path, "b\n1\n", "3.csv"))
    with pytest.raises(ImportRefusedError, match=r"3\.csv: its columns b are not"):
        open_source(paths)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"a,b\n1,2\n3\n", "line 3 has 1 cells where 2 are expected"),
        (b"# c\na,b\n1,2\n3,4,5\n", "line 4 has 3 cells where 2 are expected"),
        (b"1,2\n3,4\n", "line 1 holds numbers where the names"),
        (b"a,a\n1,2\n", "two columns are called 'a'"),
        (b"a,b\n\xff\xfe,1\n", "not UTF-8"),
        (b"# nothing\n", "no line with the names"),
        (b"\x00\x01\x02\x03", "binary of no known form"),
        (b"", "is empty"),
        (b"<html></html>", "HTML or XML"),
        (b'{"a": 1}', "is JSON"),
        (gzip.compress(b"a,b\n" + b"1,2\n" * 999, mtime=0)[:-9], "cannot be read|broken"),
    ],
)
def test_a_broken_file_is_refused_with_the_place(tmp_path: Path, text: bytes, what: str) -> None:
    path = saved(tmp_path, text)
    with pytest.raises(ImportRefusedError, match=what) as caught:
        rows_of(path)
    assert str(path) in caught.value.message


CELLS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(repr),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8),
    st.sampled_from(["", "nan", "true", "2026-01-02T03:04:05", "1e400", "+5", "0x10", "--"]),
)


@given(st.lists(CELLS, min_size=1, max_size=8))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_number_is_changed(tmp_path: Path, cells: list[str]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["k", "x"], *(["r", c] for c in cells)])
    (_, datatype), rows = rows_of(saved(tmp_path, text.getvalue()))
    assert len(rows) == len(cells)
    for cell, row in zip(cells, rows, strict=True):
        value = row["x"]
        if value is None:
            assert cell.strip().lower() in ("", "nan", "null", "none", "na", "n/a", "--")
        elif datatype is D.LONG:
            assert value == int(cell)
        elif datatype is D.DOUBLE:
            assert value == float(cell) or value != value  # noqa: PLR0124 - NaN
            if cell.strip().lstrip("+-").isdecimal():
                assert int(value) == int(cell)
        elif datatype is D.CHAR and not open_source(tmp_path / "a.csv").meta.columns[1].xtype:
            assert value == cell
