from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table

from astrolabe.core.errors import AdqlTypeError, BadParameterError
from astrolabe.tables.formats import resolve_format
from astrolabe.tables.model import Datatype, ResultHeader
from astrolabe.tables.readers import open_source
from astrolabe.tables.writers import open_writer

from .samples import COLUMNS, VALUES, batch, column, header, written

D = Datatype
FIRST = {c.name: v[0] for c, v in VALUES}
SECOND = {c.name: v[1] for c, v in VALUES}


def test_arrow_holds_every_type_with_its_metadata() -> None:
    data = written("arrow", [batch(), batch().slice(1)])
    with pa.ipc.open_stream(data) as reader:
        table = reader.read_all()
    assert table.num_rows == 5
    assert table.slice(0, 3).to_pydict() == pa.Table.from_batches([batch()]).to_pydict()
    described = table.schema.field("ra").metadata or {}
    assert described[b"unit"] == b"deg"
    assert described[b"ucd"] == b"pos.eq.ra;meta.main"
    assert (table.schema.metadata or {})[b"QUERY"].startswith(b"SELECT")


def test_parquet_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(written("parquet", [batch(), batch().slice(1)], overflow=True))
    source = open_source(path)
    assert source.meta.name == "result"
    assert source.meta.coordinate_system is not None
    assert source.meta.coordinate_system.epoch == 2016.0
    known = {c.name: c for c in COLUMNS}
    for found in source.meta.columns:
        declared = known[found.name]
        assert (found.unit, found.ucd, found.xtype) == (
            declared.unit,
            declared.ucd,
            declared.xtype,
        )
        if "complex" not in declared.name:
            assert found.datatype is declared.datatype, declared.name
    content = (pq.read_metadata(path).metadata or {})[b"IVOA.VOTable-Parquet.content"]
    assert b'value="OVERFLOW"' in content
    table = pq.read_table(path)
    assert table.slice(0, 3).to_pydict() == pa.Table.from_batches([batch()]).to_pydict()


def test_large_parquet_streams_row_groups() -> None:
    columns = (column("a", D.LONG),)
    writer = open_writer(resolve_format("parquet"), ResultHeader(columns=columns))
    pieces = list(writer.start())
    for first in range(0, 400_000, 50_000):
        pieces += writer.write(batch(columns, [range(first, first + 50_000)]))
    assert sum(map(len, pieces)) > 100_000
    pieces += writer.finish(overflow=False)
    file = pq.ParquetFile(io.BytesIO(b"".join(pieces)))
    assert file.num_row_groups < 8
    assert file.read().column(0).to_pylist() == list(range(400_000))


def test_json_is_json() -> None:
    document = json.loads(written("json", [batch(), batch().slice(1)], overflow=True))
    assert document["status"] == "OVERFLOW"
    assert [c["name"] for c in document["metadata"]] == [c.name for c in COLUMNS]
    assert document["metadata"][1]["unit"] == "deg"
    assert len(document["data"]) == 5
    first, second, third = (dict(zip(FIRST, row, strict=True)) for row in document["data"][:3])
    for name, value in FIRST.items():
        if name == "seen":
            assert first[name] == "2026-01-02T03:04:05"
        elif name == "_RAJ2000":
            assert first[name] == pytest.approx(value)
        else:
            assert first[name] == value, name
    assert second["pmra"] == "-Infinity"
    assert second["size"] == SECOND["size"]
    assert list(third.values()) == [2**63 - 1] + [None] * (len(COLUMNS) - 1)


def test_json_escapes_and_tells_errors() -> None:
    columns = (column('n"\\', D.CHAR, "*"), column("x", D.DOUBLE, "*"))
    head = ResultHeader(columns=columns)
    texts = ['a"b\\c\n\x01\u2028', "é", None]
    rows = batch(columns, [texts, [[1.0, None, float("nan")], [], None]])
    document = json.loads(written("json", [rows], head))
    assert document["data"] == [[texts[0], [1.0, None, None]], ["é", []], [None, None]]
    assert json.loads(written("json", [], head))["data"] == []
    writer = open_writer(resolve_format("json"), head)
    text = b"".join([*writer.start(), *writer.write(rows), *writer.fail('no "way"')])
    failed = json.loads(text)
    assert (failed["status"], failed["message"]) == ("ERROR", 'no "way"')
    assert len(failed["data"]) == 3


def test_ecsv_is_read_by_astropy_and_by_us(tmp_path: Path) -> None:
    columns = tuple(c for c in COLUMNS if c.name not in ("doubles", "flags", "bits", "complexes"))
    rows = batch(columns)
    path = tmp_path / "a.ecsv"
    path.write_bytes(written("ecsv", [rows], header(columns)))
    source = open_source(path)
    (found,) = source.batches()
    for declared, read in zip(columns, source.meta.columns, strict=True):
        assert (read.unit, read.ucd, read.description) == (
            declared.unit,
            declared.ucd,
            declared.description,
        )
        assert read.is_timestamp == declared.is_timestamp
        if not declared.is_string and declared.datatype is not D.FLOAT_COMPLEX:
            expected = rows.column(declared.name).to_pylist()
            assert found.column(declared.name).to_pylist() == expected, declared.name
    fixed = tuple(c for c in columns if not c.is_array and c.name != "complex")
    table = Table.read(written("ecsv", [batch(fixed)], header(fixed)).decode(), format="ascii.ecsv")
    assert table["id"].tolist() == [2**60 + 1, -3, 2**63 - 1]
    assert table["ra"].unit == "deg"
    assert table["flag"].tolist() == [True, False, None]
    assert table["size"][1] == "q\"'"


@pytest.mark.filterwarnings("error")
def test_fits_is_read_by_astropy_and_by_us(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(written("fits", [batch(), batch().slice(1)], overflow=True))
    assert path.stat().st_size % 2880 == 0
    with fits.open(path) as hdus:
        hdus.verify("exception")
        table = hdus[1]
        assert table.header["QSTATUS"] == "OVERFLOW"
        assert table.header["TUCD2"] == "pos.eq.ra;meta.main"
        assert table.header["RADESYS"] == "ICRS"
        data = table.data
        assert len(data) == 5
        assert data["id"].tolist()[:3] == [2**60 + 1, -3, 2**63 - 1]
        assert data["size"].tolist()[:3] == ["a<b&c>", "q\"'", ""]
        assert data["seen"][1] == "1999-12-31T23:59:59.25"
        assert data["matrix"][0].tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
        assert data["complexes"][0].tolist() == [1 + 2j, 3 + 4j]
        assert data["ints"][0].tolist() == [1, 2, 3]
        assert data["ints"][3].tolist() == [-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        masked = Table.read(path)
    assert masked["short"].tolist()[:3] == [-5, 32767, None]
    assert masked["ubyte"].tolist()[:3] == [255, 0, None]
    source = open_source(path)
    (found,) = source.batches()
    for name in ("id", "ra", "flag", "short", "int", "long", "size", "matrix", "complex"):
        assert found.column(name).to_pylist()[:2] == [FIRST[name], SECOND[name]]
    assert next(c for c in source.meta.columns if c.name == "ra").description == '<R> & "A"'


def test_fits_of_no_rows_and_of_no_ascii(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(written("fits", []))
    assert len(fits.getdata(path)) == 0
    columns = (column("naïve", D.UNICODE_CHAR, "*"),)
    rows = batch(columns, [["é\u2603x"]])
    path.write_bytes(written("fits", [rows], ResultHeader(columns=columns)))
    assert fits.getdata(path)[0][0] == "??x"


def test_fits_refuses_what_would_become_null() -> None:
    columns = (column("a", D.SHORT),)
    head = ResultHeader(columns=columns)
    with pytest.raises(AdqlTypeError, match="'a' holds -32768"):
        written("fits", [batch(columns, [[-32768, None]])], head)
    data = fits.getdata(io.BytesIO(written("fits", [batch(columns, [[-32768, 1]])], head)))
    assert data["a"].tolist() == [-32768, 1]


def test_fits_has_no_room_for_a_thousand_columns() -> None:
    columns = tuple(column(f"c{i}", D.INT) for i in range(1000))
    with pytest.raises(BadParameterError, match="at most 999 columns"):
        open_writer(resolve_format("fits"), ResultHeader(columns=columns))


def test_fits_keeps_variable_bytes_with_nulls() -> None:
    columns = (column("a", D.UNSIGNED_BYTE, "*"), column("b", D.INT, "*"))
    rows = [batch(columns, [[[1, 2]], [[1]]]), batch(columns, [[[3, None]], [[2, 3]]])]
    data = fits.getdata(io.BytesIO(written("fits", rows, ResultHeader(columns=columns))))
    assert [np.asarray(v).tolist() for v in data["a"]] == [[1, 2], [3, -32768]]
    assert [np.asarray(v).tolist() for v in data["b"]] == [[1], [2, 3]]
