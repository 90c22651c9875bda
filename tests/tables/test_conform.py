from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrolabe.core.errors import AdqlTypeError
from astrolabe.tables.conform import conform, fit, is_ascii
from astrolabe.tables.header_json import header_from_json, header_to_json
from astrolabe.tables.model import Column, Datatype, arrow_type

from .samples import COLUMNS, batch, column, header

D = Datatype


def one(array: pa.Array[Any], declared: Column) -> list[Any]:
    rows = pa.RecordBatch.from_arrays([array], ["x"])
    found = conform(rows, [declared])
    assert found.schema.names == [declared.name]
    assert found.schema.field(0).type == arrow_type(declared)
    return found.column(0).to_pylist()


@pytest.mark.parametrize(
    ("array", "datatype", "expected"),
    [
        (pa.array([1, None, -2], pa.int32()), D.SHORT, [1, None, -2]),
        (pa.array([255], pa.int32()), D.UNSIGNED_BYTE, [255]),
        (pa.array([Decimal(2**62)], pa.decimal128(38, 0)), D.LONG, [2**62]),
        (pa.array([Decimal("1.5")], pa.decimal128(12, 1)), D.DOUBLE, [1.5]),
        (pa.array([2**60 + 1], pa.int64()), D.DOUBLE, [float(2**60)]),
        (pa.array([0.1], pa.float64()), D.FLOAT, [pytest.approx(0.1)]),
        (pa.array([1, 0, None], pa.int8()), D.BOOLEAN, [True, False, None]),
        (pa.array([None, None]), D.INT, [None, None]),
        (pa.array([3.0], pa.float64()), D.INT, [3]),
    ],
)
def test_numbers_are_cast(array: pa.Array[Any], datatype: Datatype, expected: list[Any]) -> None:
    assert one(array, column("y", datatype)) == expected


@pytest.mark.parametrize(
    ("array", "datatype"),
    [
        (pa.array([32768], pa.int32()), D.SHORT),
        (pa.array([-1], pa.int32()), D.UNSIGNED_BYTE),
        (pa.array([Decimal(2**64)], pa.decimal128(38, 0)), D.LONG),
        (pa.array([2**63], pa.uint64()), D.LONG),
        (pa.array([1.5], pa.float64()), D.INT),
        (pa.array([2], pa.int8()), D.BOOLEAN),
        (pa.array(["x"]), D.INT),
    ],
)
def test_a_value_that_does_not_fit_is_an_error(array: pa.Array[Any], datatype: Datatype) -> None:
    with pytest.raises(AdqlTypeError, match=r"'y' does not fit its type " + datatype):
        one(array, column("y", datatype))


@pytest.mark.parametrize(
    "array",
    [
        pa.array(["a", None, "é"], pa.large_string()),
        pa.array(["a", None, "é"], pa.string_view()),
        pa.array(["a", None, "é"]).dictionary_encode(),
        pa.array([b"a", None, "é".encode()], pa.binary()),
    ],
)
def test_texts_of_all_kinds_are_cast(array: pa.Array[Any]) -> None:
    assert one(array, column("y", D.CHAR, "*")) == ["a", None, "é"]


@pytest.mark.parametrize(
    "kind",
    [
        pa.timestamp("s"),
        pa.timestamp("ms"),
        pa.timestamp("ns"),
        pa.timestamp("us", tz="UTC"),
        pa.timestamp("ns", tz="Europe/Berlin"),
    ],
)
def test_timestamps_keep_the_instant(kind: pa.DataType) -> None:
    instant = datetime(2026, 7, 1, 12, 0, 0)  # noqa: DTZ001 - DALI's have no zone
    array = pa.array([instant, None], pa.timestamp("us")).cast(kind)
    assert one(array, column("y", D.CHAR, "*", xtype="timestamp")) == [instant, None]


def test_lists_become_arrays_of_the_declared_kind() -> None:
    loose = pa.array([[1, 2], None, [3, 4], []], pa.list_(pa.int32()))
    assert one(loose.slice(0, 3), column("y", D.SHORT, "2")) == [[1, 2], None, [3, 4]]
    assert one(loose.slice(1, 2), column("y", D.DOUBLE, "2")) == [None, [3.0, 4.0]]
    assert one(loose, column("y", D.LONG, "*")) == [[1, 2], None, [3, 4], []]
    fixed = pa.array([[1.0, 2.0], None, [3.0, None]], pa.list_(pa.float64(), 2))
    assert one(fixed, column("y", D.FLOAT, "*")) == [[1.0, 2.0], None, [3.0, None]]
    assert one(fixed.slice(1), column("y", D.FLOAT, "2")) == [None, [3.0, None]]
    with pytest.raises(AdqlTypeError, match="0 elements instead of 2"):
        one(loose, column("y", D.SHORT, "2"))


def test_the_number_of_columns_must_agree() -> None:
    with pytest.raises(AdqlTypeError, match="1 columns where 2"):
        conform(pa.record_batch([pa.array([1])], ["x"]), [column("a", D.INT), column("b", D.INT)])


def test_what_fits_is_not_copied() -> None:
    rows = batch()
    assert conform(rows, COLUMNS).equals(rows)


@given(st.lists(st.integers(-(2**70), 2**70), max_size=20))
@settings(max_examples=50, deadline=None)
def test_integers_are_exact_or_refused(values: list[int]) -> None:
    array = pa.array([Decimal(v) for v in values], pa.decimal128(38, 0))
    try:
        found = fit(array, pa.int64()).to_pylist()
    except pa.ArrowInvalid:
        assert any(not -(2**63) <= v < 2**63 for v in values)
    else:
        assert found == values


def test_ascii_is_told_from_the_rest() -> None:
    assert is_ascii(pa.array(["a", None, ""]))
    assert not is_ascii(pa.array(["a", "é"]))
    assert is_ascii(pa.array([], pa.string()))


def test_a_header_survives_json() -> None:
    assert header_from_json(header_to_json(header())) == header()
