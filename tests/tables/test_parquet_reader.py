from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.table import Table

from astrolabe.core.errors import BadParameterError, ImportRefusedError
from astrolabe.tables.conform import result_schema
from astrolabe.tables.model import Datatype
from astrolabe.tables.readers import open_source

D = Datatype
NOON = datetime(2026, 1, 2, 12)  # noqa: DTZ001 - DALI's have no zone


def stored(folder: Path, **columns: pa.Array[Any]) -> Path:
    path = folder / "a.parquet"
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    ("array", "datatype", "arraysize", "expected"),
    [
        (pa.array([1, None], pa.int8()), D.SHORT, None, [1, None]),
        (pa.array([255, None], pa.uint8()), D.UNSIGNED_BYTE, None, [255, None]),
        (pa.array([-1, None], pa.int16()), D.SHORT, None, [-1, None]),
        (pa.array([65535, None], pa.uint16()), D.INT, None, [65535, None]),
        (pa.array([-1, None], pa.int32()), D.INT, None, [-1, None]),
        (pa.array([2**32 - 1, None], pa.uint32()), D.LONG, None, [2**32 - 1, None]),
        (pa.array([2**53 + 1, None], pa.int64()), D.LONG, None, [2**53 + 1, None]),
        (pa.array([2**63 - 1, None], pa.uint64()), D.LONG, None, [2**63 - 1, None]),
        (pa.array([np.float16(1.5), None], pa.float16()), D.FLOAT, None, [1.5, None]),
        (pa.array([0.5, None], pa.float32()), D.FLOAT, None, [0.5, None]),
        (pa.array([0.1, None], pa.float64()), D.DOUBLE, None, [0.1, None]),
        (pa.array([True, None]), D.BOOLEAN, None, [True, None]),
        (pa.array(["é", None], pa.large_string()), D.CHAR, "*", ["é", None]),
        (pa.array(["a", None]).dictionary_encode(), D.CHAR, "*", ["a", None]),
        (pa.array([b"ab", None], pa.binary()), D.CHAR, "*", ["ab", None]),
        (pa.array([NOON, None], pa.timestamp("ns")), D.CHAR, "*", [NOON, None]),
        (pa.array([NOON, None], pa.timestamp("ms", tz="UTC")), D.CHAR, "*", [NOON, None]),
        (pa.array([NOON.date(), None], pa.date32()), D.CHAR, "*", [NOON.replace(hour=0), None]),
        (pa.array([7, None], pa.decimal128(20, 0)), D.LONG, None, [7, None]),
        (pa.array([[1, 2], None], pa.list_(pa.int16())), D.SHORT, "*", [[1, 2], None]),
        (pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2)), D.FLOAT, "2", [[1, 2], None]),
        (
            pa.array([[[1, 2, 3], [4, 5, 6]], None], pa.list_(pa.list_(pa.int32(), 3), 2)),
            D.INT,
            "3x2",
            [[1, 2, 3, 4, 5, 6], None],
        ),
        (
            pa.array([[[1, 2], [3, 4]], [], None], pa.list_(pa.list_(pa.int64(), 2))),
            D.LONG,
            "2x*",
            [[1, 2, 3, 4], [], None],
        ),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else None,
)
def test_types_come_in_as_architecture_says(
    tmp_path: Path,
    array: pa.Array[Any],
    datatype: Datatype,
    arraysize: str | None,
    expected: list[Any],
) -> None:
    source = open_source(stored(tmp_path, x=array))
    (found,) = source.meta.columns
    assert (found.datatype, found.arraysize) == (datatype, arraysize)
    assert found.is_timestamp == isinstance(expected[0], datetime)
    (rows,) = source.batches()
    assert rows.schema == result_schema(source.meta.columns)
    assert rows.column(0).to_pylist() == expected


def test_rows_come_in_order_and_in_bounded_batches(tmp_path: Path) -> None:
    for number in range(3):
        rows = pa.table({"id": np.arange(1000) + 1000 * number})
        pq.write_table(rows, tmp_path / f"part{number}.parquet", row_group_size=300)
    (tmp_path / "_metadata").write_bytes(b"not read")
    for given in (tmp_path, str(tmp_path / "part*.parquet"), sorted(tmp_path.glob("*.parquet"))):
        source = open_source(given)
        assert source.meta.row_count == 3000
        for _ in range(2):
            batches = list(source.batches(max_rows=256))
            assert max(b.num_rows for b in batches) <= 256
            assert np.concatenate([b.column(0) for b in batches]).tolist() == list(range(3000))


def test_an_unsigned_integer_beyond_long_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = stored(tmp_path, huge=pa.array([1, 2**64 - 1], pa.uint64()))
    with pytest.raises(ImportRefusedError, match=r"'huge'.*--as-string huge") as caught:
        list(open_source(path).batches())
    assert str(path) in caught.value.message
    (rows,) = open_source(path, as_string=["huge"]).batches()
    assert rows.column(0).to_pylist() == ["1", str(2**64 - 1)]
    with pytest.raises(ImportRefusedError, match="no column 'hug'"):
        open_source(path, as_string=["hug"])


def test_what_no_table_can_hold_is_left_out_and_told(tmp_path: Path) -> None:
    source = open_source(
        stored(
            tmp_path,
            id=pa.array([1]),
            lc=pa.array([{"t": [1.0]}]),
            names=pa.array([["a"]]),
            _healpix_29=pa.array([5]),
        )
    )
    assert [c.name for c in source.meta.columns] == ["id"]
    assert len(source.meta.notes) == 3
    assert "'lc'" in source.meta.notes[0]
    with pytest.raises(ImportRefusedError, match="no column that a table can hold"):
        open_source(stored(tmp_path, lc=pa.array([{"t": [1.0]}])))


def test_pandas_metadata_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    columns = {"id": [1, 2], "__index_level_0__": [7, 8]}
    metadata = {"pandas": '{"index_columns": ["__index_level_0__"]}'}
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)
    assert [c.name for c in open_source(path).meta.columns] == ["id"]


def test_units_and_ucds_of_a_field_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    field = pa.field(
        "ra", pa.float64(), metadata={"unit": "deg", "ucd": "pos.eq.ra", "description": "R.A."}
    )
    pq.write_table(pa.table([pa.array([1.0])], schema=pa.schema([field])), path)
    (column,) = open_source(path).meta.columns
    assert (column.unit, column.ucd, column.description) == ("deg", "pos.eq.ra", "R.A.")


def test_voparquet_says_what_arrow_cannot(tmp_path: Path) -> None:
    votable = """<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE>
      <COOSYS ID="c" system="ICRS" epoch="J2015.5"/><TABLE name="gaia"><DESCRIPTION>Stars
      </DESCRIPTION><FIELD name="ra" datatype="double" unit="deg" ucd="pos.eq.ra" ref="c"/>
      <FIELD name="flag" datatype="short"/><FIELD name="n" datatype="double" unit="mag"/>
      </TABLE></RESOURCE></VOTABLE>"""
    table = pa.table({"ra": [1.0], "flag": pa.array([3], pa.int32()), "n": ["x"]})
    path = tmp_path / "a.parquet"
    metadata = {"IVOA.VOTable-Parquet.version": "1.0", "IVOA.VOTable-Parquet.content": votable}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    meta = open_source(path).meta
    assert (meta.name, meta.description) == ("gaia", "Stars")
    assert meta.coordinate_system is not None
    assert meta.coordinate_system.epoch == 2015.5
    ra, flag, n = meta.columns
    assert (ra.unit, ra.ucd) == ("deg", "pos.eq.ra")
    assert flag.datatype is D.SHORT
    assert (n.datatype, n.unit) == (D.CHAR, "mag")
    bomb = metadata | {"IVOA.VOTable-Parquet.content": "<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>"}
    pq.write_table(table.replace_schema_metadata(bomb), path)
    assert open_source(path).meta.name is None


def test_what_astropy_wrote_has_its_units(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = Table({"ra": [1.0, 2.0] * u.deg, "s": ["a", "b"]})
    table["ra"].info.description = "Right ascension"
    table.write(path, format="parquet")
    ra, _ = open_source(path).meta.columns
    assert (ra.unit, ra.description) == ("deg", "Right ascension")


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def _overwritten(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4:200] = b"\xff" * 196
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [_truncated, _overwritten])
def test_a_broken_file_is_refused_by_name(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    path = stored(tmp_path, x=pa.array(range(1000)), y=pa.array([str(i) for i in range(1000)]))
    harm(path)
    with pytest.raises(ImportRefusedError, match=str(path)):
        list(open_source(path).batches())


def test_files_of_one_table_must_agree(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1], "y": [1]}), tmp_path / "a.parquet")
    for other, what in (
        ({"x": [1]}, "has no column 'y'"),
        ({"x": [1], "y": [1.5]}, "column 'y' is double, but int64"),
        ({"x": [1], "y": [1], "z": [1]}, "has a column 'z'"),
    ):
        pq.write_table(pa.table(other), tmp_path / "b.parquet")
        with pytest.raises(ImportRefusedError, match=rf"b\.parquet: {what}"):
            open_source(tmp_path)


def test_what_is_not_there_or_of_another_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportRefusedError, match="no such file"):
        open_source(tmp_path / "none.parquet")
    with pytest.raises(ImportRefusedError, match="holds no Parquet file"):
        open_source(tmp_path)
    path = tmp_path / "a.parquet"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(ImportRefusedError, match="is HDF5"):
        open_source(path)
    with pytest.raises(ImportRefusedError, match="not a readable Parquet file"):
        open_source(path, format="PARQUET")
    with pytest.raises(BadParameterError, match="'hdf5' is not known"):
        open_source(path, format="hdf5")
    path.write_bytes(b"")
    with pytest.raises(ImportRefusedError, match="is empty"):
        open_source(path)
