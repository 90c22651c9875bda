from __future__ import annotations

import csv
import io
from pathlib import Path

import pyarrow as pa
import pytest

from astrolabe.tables.model import Datatype, ResultHeader
from astrolabe.tables.readers import open_source

from .samples import COLUMNS, VALUES, batch, column, header, written


@pytest.mark.parametrize(("form", "delimiter"), [("csv", ","), ("tsv", "\t")])
def test_cells_are_as_a_reader_of_csv_expects(form: str, delimiter: str) -> None:
    text = written(form, [batch()]).decode()
    names, first, second, third = csv.reader(io.StringIO(text), delimiter=delimiter)
    assert names == [c.name for c in COLUMNS]
    row = dict(zip(names, first, strict=True))
    assert row["id"] == "1152921504606846977"
    assert row["flag"] == "true"
    assert row["size"] == "a<b&c>"
    assert row["unicode"] == "é\u2603"
    assert row["seen"] == "2026-01-02T03:04:05"
    assert row["doubles"] == "1.0 2.5 -3.0"
    assert row["matrix"] == "1.0 2.0 3.0 4.0 5.0 6.0"
    assert row["bits"] == "1 0 1 0 1 0 1 0 1 0"
    assert row["complexes"] == "1.0 2.0 3.0 4.0"
    assert dict(zip(names, second, strict=True))["size"] == "q\"'"
    assert third == ["9223372036854775807"] + [""] * (len(names) - 1)


def test_nan_and_null_are_empty_and_an_empty_text_is_not_null() -> None:
    columns = (column("a", Datatype.DOUBLE), column("b", Datatype.CHAR, "*"))
    rows = batch(columns, [[float("nan"), None, 1.0], ["", None, 'x,\n"y"']])
    text = written("csv", [rows], ResultHeader(columns=columns)).decode()
    assert text == 'a,b\n,""\n,\n1.0,"x,\n""y"""\n'


def test_names_with_delimiters_are_quoted() -> None:
    columns = (column('a,"b"', Datatype.INT), column("c\td", Datatype.INT))
    rows = batch(columns, [[1], [2]])
    assert written("csv", [rows], ResultHeader(columns=columns)) == b'"a,""b""",c\td\n1,2\n'
    assert written("tsv", [rows], ResultHeader(columns=columns)).startswith(b'"a,""b"""\t"c\td"\n')


def test_large_batches_keep_the_order_of_rows() -> None:
    columns = (column("a", Datatype.INT),)
    rows = batch(columns, [range(100_000)])
    lines = written("csv", [rows, rows.slice(5, 10)], ResultHeader(columns=columns)).split()
    assert [int(line) for line in lines[1:]] == [*range(100_000), *range(5, 15)]


def test_scalars_come_back_from_our_own_reader(tmp_path: Path) -> None:
    names = ("id", "ra", "flag", "long", "size", "unicode", "seen")
    columns = tuple(c for c in COLUMNS if c.name in names)
    path = tmp_path / "a.csv"
    path.write_bytes(written("csv", [batch(columns)], header(columns)))
    source = open_source(path)
    (found,) = source.batches()
    assert [c.datatype for c in source.meta.columns] == [
        c.datatype if not c.is_string else Datatype.CHAR for c in columns
    ]
    known = {c.name: v for c, v in VALUES}
    for c, array in zip(columns, found.columns, strict=True):
        assert array.to_pylist() == pa.array(list(known[c.name]), array.type).to_pylist()
