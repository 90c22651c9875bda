"""Tables of positions: which columns count, their units, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from astrolabe.catalogs.uploads import UPLOAD_SCHEMA, UploadedTable
from astrolabe.core.errors import TooLargeError, UploadInvalidError
from astrolabe.images.soda.positions import read_positions
from astrolabe.tables.model import Column, Datatype, TableMeta, arrow_type


def table(data: dict[str, tuple[Column, list[Any]]], name: str = "positions") -> UploadedTable:
    columns = tuple(column for column, _ in data.values())
    arrays = [pa.array(values, type=arrow_type(column)) for column, values in data.values()]
    rows = pa.table(arrays, names=[column.name for column in columns])
    meta = TableMeta(schema=UPLOAD_SCHEMA, name=name, columns=columns)
    return UploadedTable(meta=meta, data=rows)


def number(name: str, values: list[float | None], **more: Any) -> tuple[Column, list[Any]]:
    return Column(name=name, datatype=Datatype.DOUBLE, **more), values


def test_names_count_in_any_case_and_degrees_are_the_default() -> None:
    found = read_positions(
        [table({"a": number("RA", [10.0, 370.0]), "b": number("Dec", [-1.0, 2.0])})], most=10
    )
    np.testing.assert_allclose(found.ra_deg, [10.0, 10.0])
    np.testing.assert_allclose(found.dec_deg, [-1.0, 2.0])
    assert found.size_deg is None
    assert found.ids == ("1", "2")


def test_units_are_turned_into_degrees() -> None:
    found = read_positions(
        [
            table(
                {
                    "a": number("ra", [np.pi, 1.0], unit="rad"),
                    "b": number("dec", [60.0, 120.0], unit="arcmin"),
                    "c": number("size", [36.0, None], unit="arcsec"),
                    "d": number("Radius", [None, 6.0], unit="arcmin"),
                }
            )
        ],
        most=10,
    )
    np.testing.assert_allclose(found.ra_deg, [180.0, np.degrees(1.0)])
    np.testing.assert_allclose(found.dec_deg, [1.0, 2.0])
    assert found.size_deg is not None
    np.testing.assert_allclose(found.size_deg, [0.01, np.nan])
    assert found.radius_deg is not None
    np.testing.assert_allclose(found.radius_deg, [np.nan, 0.1])


def test_columns_are_found_by_ucd_and_ids_keep_their_digits() -> None:
    ident = Column(name="objectId", datatype=Datatype.LONG, ucd="meta.id;meta.main")
    found = read_positions(
        [
            table(
                {
                    "i": (ident, [2**62 + 1, None]),
                    "a": number("lon", [1.0, 2.0], ucd="pos.eq.ra;meta.main"),
                    "n": number("ra_error", [0.1, 0.1], ucd="stat.error;pos.eq.ra"),
                    "b": number("lat", [3.0, 4.0], ucd="pos.eq.dec;meta.main"),
                }
            )
        ],
        most=10,
    )
    assert found.ids == (str(2**62 + 1), "2")
    np.testing.assert_allclose(found.ra_deg, [1.0, 2.0])


def test_a_position_that_is_missing_stays_missing() -> None:
    found = read_positions(
        [table({"a": number("ra", [1.0, None]), "b": number("dec", [3.0, None])})], most=10
    )
    assert np.isnan(found.ra_deg).tolist() == [False, True]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": number("ra", [1.0])}, "no column 'dec'"),
        ({"a": number("ra", [1.0], unit="mag"), "b": number("dec", [1.0])}, "no angle"),
        ({"a": number("ra", [1.0], unit="h"), "b": number("dec", [1.0])}, "no angle"),
        ({"a": number("ra", [1.0], unit="?!"), "b": number("dec", [1.0])}, "no angle"),
        ({"a": number("ra", [1.0]), "b": number("dec", [91.0])}, "declination 91"),
        ({"a": number("ra", []), "b": number("dec", [])}, "no rows"),
        (
            {
                "a": (Column(name="ra", datatype=Datatype.CHAR, arraysize="*"), ["10:00:00"]),
                "b": number("dec", [1.0]),
            },
            "no column of numbers",
        ),
    ],
    ids=["no-dec", "magnitude", "hours", "unknown-unit", "beyond-pole", "empty", "sexagesimal"],
)
def test_what_is_no_table_of_positions_is_refused(
    columns: dict[str, tuple[Column, list[Any]]], message: str
) -> None:
    with pytest.raises(UploadInvalidError, match=message):
        read_positions([table(columns)], most=10)


def test_another_name_and_too_many_rows_are_refused() -> None:
    good = {"a": number("ra", [1.0, 2.0]), "b": number("dec", [1.0, 2.0])}
    with pytest.raises(UploadInvalidError, match="called 'positions'"):
        read_positions([table(good, name="mine")], most=10)
    with pytest.raises(TooLargeError, match="at most 1 stamps"):
        read_positions([table(good)], most=1)
