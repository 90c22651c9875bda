"""A table with a column of every type, nulls and hostile text."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pyarrow as pa

from astrolabe.tables.formats import resolve_format
from astrolabe.tables.model import (
    Column,
    CoordinateSystem,
    Datatype,
    Info,
    ResultHeader,
    arrow_type,
)
from astrolabe.tables.writers import open_writer

D = Datatype


def column(name: str, datatype: Datatype, arraysize: str | None = None, **more: Any) -> Column:
    return Column(name=name, datatype=datatype, arraysize=arraysize, **more)


VALUES: tuple[tuple[Column, tuple[Any, Any, Any]], ...] = (
    (column("id", D.LONG, nullable=False, ucd="meta.id;meta.main"), (2**60 + 1, -3, 2**63 - 1)),
    (
        column("ra", D.DOUBLE, unit="deg", ucd="pos.eq.ra;meta.main", description='<R> & "A"'),
        (10.5, 0.1, None),
    ),
    (column("dec", D.DOUBLE, unit="deg", ucd="pos.eq.dec;meta.main"), (-20.25, 1e-7, None)),
    (column("pmra", D.FLOAT, unit="mas/yr", ucd="pos.pm;pos.eq.ra"), (1.5, float("-inf"), None)),
    (column("flag", D.BOOLEAN), (True, False, None)),
    (column("ubyte", D.UNSIGNED_BYTE), (255, 0, None)),
    (column("short", D.SHORT), (-5, 32767, None)),
    (column("int", D.INT), (7, 2**31 - 1, None)),
    (column("long", D.LONG), (2**53 + 1, -(2**63) + 1, None)),
    (column("_RAJ2000", D.FLOAT, precision="F3"), (0.1, 1e30, None)),
    (column("size", D.CHAR, "*"), ("a<b&c>", "q\"'", None)),
    (column("fixed", D.CHAR, "8"), ("abc", "abcdefgh", None)),
    (column("bounded", D.CHAR, "12*"), ("x y", "]]>", None)),
    (column("one", D.CHAR), ("y", "n", None)),
    (column("unicode", D.UNICODE_CHAR, "*"), ("é\u2603", "\U0001f600", None)),
    (column("ufixed", D.UNICODE_CHAR, "4"), ("ab", "äöüß", None)),
    (
        column("seen", D.CHAR, "*", xtype="timestamp"),
        (datetime(2026, 1, 2, 3, 4, 5), datetime(1999, 12, 31, 23, 59, 59, 250000), None),  # noqa: DTZ001 - DALI's have no zone
    ),
    (column("doubles", D.DOUBLE, "3"), ([1.0, 2.5, -3.0], [0.0, 0.0, 0.0], None)),
    (column("ints", D.INT, "*"), ([1, 2, 3], [-1], None)),
    (column("matrix", D.FLOAT, "2x3"), ([1.0, 2, 3, 4, 5, 6], [0.0] * 6, None)),
    (column("bytes", D.UNSIGNED_BYTE, "*"), ([1, 255], [0], None)),
    (column("flags", D.BOOLEAN, "3"), ([True, False, True], [False] * 3, None)),
    (column("complex", D.FLOAT_COMPLEX), ([1.0, -2.0], [0.0, 0.5], None)),
    (column("complexes", D.DOUBLE_COMPLEX, "2"), ([[1.0, 2], [3.0, 4]], [[0.0, 0]] * 2, None)),
    (column("bits", D.BIT, "10"), ([True, False] * 5, [False] * 10, None)),
)
COLUMNS = tuple(c for c, _ in VALUES)


def batch(
    columns: Iterable[Column] = COLUMNS, values: Iterable[Iterable[Any]] | None = None
) -> pa.RecordBatch:
    columns = tuple(columns)
    known = {c.name: v for c, v in VALUES}
    cells = [known[c.name] for c in columns] if values is None else list(values)
    arrays = [pa.array(list(v), arrow_type(c)) for c, v in zip(columns, cells, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, [c.name for c in columns])


def header(columns: Iterable[Column] = COLUMNS) -> ResultHeader:
    return ResultHeader(
        columns=tuple(columns),
        infos=(Info("QUERY", "SELECT a FROM b WHERE c < 'd' AND e > \"f\""),),
        coordinate_system=CoordinateSystem(epoch=2016.0),
        table_name="result",
        description="All & everything",
    )


def written(
    form: str,
    batches: Iterable[pa.RecordBatch],
    head: ResultHeader | None = None,
    *,
    overflow: bool = False,
) -> bytes:
    writer = open_writer(resolve_format(form), head or header())
    try:
        pieces = list(writer.start())
        for rows in batches:
            pieces += writer.write(rows)
        pieces += writer.finish(overflow=overflow)
    finally:
        writer.close()
    return b"".join(pieces)
