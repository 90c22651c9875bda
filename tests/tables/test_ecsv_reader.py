from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table

from astrolabe.core.errors import ImportRefusedError
from astrolabe.tables.model import Datatype
from astrolabe.tables.readers import open_source

D = Datatype


@pytest.mark.parametrize("delimiter", [" ", ","])
def test_what_astropy_wrote_comes_back(tmp_path: Path, delimiter: str) -> None:
    table = Table(
        {
            "id": np.array([2**60 + 1, -1], "i8"),
            "flag": np.array([True, False]),
            "n": MaskedColumn(np.array([1, 2], "i2"), mask=[True, False]),
            "b": np.array([255, 0], "u1"),
            "x": np.array([0.1, np.nan], "f4") * u.mag,
            "name": ["a b", 'q"x'],
            "t": ["2026-01-02T03:04:05", "2026-01-02T03:04:05.5"],
            "m": np.arange(12.0).reshape(2, 2, 3),
            "v": np.array([[1, 2], [3, 4]]),
        }
    )
    table["x"].info.description = "A magnitude"
    table["x"].info.meta = {"ucd": "phot.mag"}
    table["t"].info.meta = {"xtype": "timestamp"}
    table.meta["name"] = "stars"
    path = tmp_path / "a.ecsv"
    table.write(path, delimiter=delimiter)
    source = open_source(path)
    assert source.meta.name == "stars"
    kinds = {c.name: (c.datatype, c.arraysize) for c in source.meta.columns}
    assert kinds == {
        "id": (D.LONG, None),
        "flag": (D.BOOLEAN, None),
        "n": (D.SHORT, None),
        "b": (D.UNSIGNED_BYTE, None),
        "x": (D.FLOAT, None),
        "name": (D.CHAR, "*"),
        "t": (D.CHAR, "*"),
        "m": (D.DOUBLE, "3x2"),
        "v": (D.LONG, "2"),
    }
    x = next(c for c in source.meta.columns if c.name == "x")
    assert (x.unit, x.ucd, x.description) == ("mag", "phot.mag", "A magnitude")
    (rows,) = source.batches()
    found = rows.to_pydict()
    assert found["id"] == [2**60 + 1, -1]
    assert found["flag"] == [True, False]
    assert found["n"] == [None, 2]
    assert found["name"] == ["a b", 'q"x']
    assert found["m"] == [[0.0, 1, 2, 3, 4, 5], [6.0, 7, 8, 9, 10, 11]]
    assert found["t"][1].microsecond == 500000
    assert np.isnan(found["x"][1])


HEADER = "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: int32}\n"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (HEADER + "b\n1\n", "lacks 'a'"),
        (HEADER + "a\nx\n", "'a' has a value that is no int"),
        (HEADER + "a\n1 2\n", "2 cells where 1"),
        (HEADER.replace("int32", "int33") + "a\n1\n", "unknown datatype 'int33'"),
        (HEADER.replace("{", "[[{") + "a\n1\n", "header is broken"),
        ("# %ECSV 1.0\n# ---\n# a: 1\na\n1\n", "no list of columns"),
        ("# %ECSV 1.0\n# ---\n# a: &x [1]\n# b: [*x, *x]\na\n1\n", "aliases"),
        (HEADER, "no line with the names"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "a.ecsv"
    path.write_text(text)
    with pytest.raises(ImportRefusedError, match=what) as caught:
        list(open_source(path).batches())
    assert str(path) in caught.value.message


def test_objects_of_astropy_are_read_as_plain_values(tmp_path: Path) -> None:
    path = tmp_path / "a.ecsv"
    path.write_text(
        "# %ECSV 1.0\n# ---\n# datatype:\n"
        "# - {name: a, unit: !astropy.units.Unit {unit: deg}, datatype: float64}\n"
        "# - {name: o, datatype: string, subtype: json}\n"
        "# meta: !!omap\n# - made: !!python/object/apply:os.getcwd []\n"
        'a o\n1.5 "{}"\n'
    )
    source = open_source(path)
    assert [c.name for c in source.meta.columns] == ["a"]
    assert "'o' was left out" in source.meta.notes[0]
    assert next(iter(source.batches())).column(0).to_pylist() == [1.5]
