"""Felis files become our metadata, and those of a whole observatory load in seconds."""

from __future__ import annotations

from functools import partial
from importlib import resources
from pathlib import Path

import pytest
import yaml

from astrolabe.catalogs.felis import read_felis
from astrolabe.catalogs.names import check_columns
from astrolabe.core.errors import ImportRefusedError, NotFoundError
from astrolabe.tables.model import Column, CoordinateSystem, Datatype, ForeignKey

_FELIS = """
name: survey
description: |
  A small
  survey
tables:
- name: Source
  tap:table_index: 2
  primaryKey: "#Source.sourceId"
  columns:
  - {name: ra, datatype: double, ivoa:unit: deg, ivoa:ucd: pos.eq.ra;meta.main, tap:principal: 1}
  - {name: dec, datatype: double, fits:tunit: deg, ivoa:ucd: pos.eq.dec;meta.main}
  - {name: sourceId, datatype: long, nullable: false, tap:column_index: 1, tap:std: 1}
  - {name: visit, datatype: int, tap:column_index: 3}
  - {name: detector, datatype: short, tap:column_index: 2, votable:utype: "a:b.c"}
  - {name: flag, datatype: boolean}
  - {name: band, datatype: char, length: 1}
  - {name: filter, datatype: char, length: 12}
  - {name: note, datatype: string, length: 64}
  - {name: remark, datatype: unicode, length: 32, votable:arraysize: "*"}
  - {name: log, datatype: text}
  - {name: when, datatype: timestamp}
  - {name: blob, datatype: binary, length: 16}
  - {name: bits, datatype: byte}
  - {name: flux, datatype: float, ivoa:unit: nJy, description: "  a  flux\\n of it "}
  constraints:
  - name: source_visit
    "@type": ForeignKey
    columns: ["#Source.visit", "#Source.detector"]
    referencedColumns: ["#Visit.visit", "#Visit.detector"]
    description: Where it was measured
- name: Visit
  tap:table_index: 1
  columns:
  - {name: visit, datatype: int}
  - {name: detector, datatype: short}
"""


@pytest.fixture
def felis_file(tmp_path: Path) -> Path:
    path = tmp_path / "survey.yaml"
    path.write_text(_FELIS, "utf-8")
    return path


def test_columns_keep_all_that_felis_says(felis_file: Path) -> None:
    schema = read_felis(felis_file)
    assert (schema.name, schema.description) == ("survey", "A small survey")
    source, visit = schema.tables
    assert (source.table_index, visit.table_index) == (2, 1)
    assert [c.name for c in source.columns][:4] == ["sourceId", "detector", "visit", "ra"]
    assert (source.id_column, source.ra_column, source.dec_column) == ("sourceId", "ra", "dec")
    assert source.coordinate_system == CoordinateSystem()
    assert visit.coordinate_system is None
    assert source.column("sourceId") == Column(
        name="sourceId", datatype=Datatype.LONG, std=True, indexed=True, nullable=False
    )
    assert source.column("ra") == Column(
        name="ra",
        datatype=Datatype.DOUBLE,
        unit="deg",
        ucd="pos.eq.ra;meta.main",
        principal=True,
        indexed=True,
    )
    by_name = {c.name: c for c in source.columns}
    assert by_name["dec"].unit == "deg"
    assert by_name["detector"].utype == "a:b.c"
    assert by_name["flux"].description == "a flux of it"
    types = {c.name: (c.datatype.value, c.arraysize, c.xtype) for c in source.columns}
    assert types["flag"] == ("boolean", None, None)
    assert types["band"] == ("char", None, None)
    assert types["filter"] == ("char", "12", None)
    assert types["note"] == ("char", "64*", None)
    assert types["remark"] == ("unicodeChar", "*", None)
    assert types["log"] == ("char", "*", None)
    assert types["when"] == ("char", "*", "timestamp")
    assert types["blob"] == ("unsignedByte", "16*", None)
    assert types["bits"] == ("unsignedByte", None, None)
    assert types["flux"] == ("float", None, None)


def test_foreign_keys_follow_the_name_of_the_schema(felis_file: Path) -> None:
    assert read_felis(felis_file, "dr7").tables[0].keys == (
        ForeignKey(
            key_id="source_visit",
            from_table="dr7.Source",
            target_table="dr7.Visit",
            columns=(("visit", "visit"), ("detector", "detector")),
            description="Where it was measured",
        ),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: x\ntables: [{name: t, columns: [{name: c, datatype: quux}]}]", "quux"),
        ("name: x\ntables: [{name: t, columns: [{name: c}]}]", "datatype: Field required"),
        ("- 1\n- 2", "not valid Felis"),
        ("just words", "not valid Felis"),
        ("", "not valid Felis"),
        ("name: [", "not valid Felis"),
        ("tables: []", "not valid Felis"),
    ],
)
def test_broken_files_are_refused_with_the_reason(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ImportRefusedError, match=says) as caught:
        read_felis(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nothing"):
        read_felis(tmp_path / "nothing.yaml")


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_all_schemas_of_the_rubin_observatory_load(monkeypatch: pytest.MonkeyPatch) -> None:
    # Felis reads the files that others refer to by the parser written in Python, which would take
    # most of the time of this test.
    monkeypatch.setattr(yaml, "safe_load", partial(yaml.load, Loader=yaml.CSafeLoader))
    folder = resources.files("lsst.sdm.schemas")
    tables = columns = keys = 0
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if not entry.name.endswith(".yaml"):
            continue
        with resources.as_file(entry) as path:
            schema = read_felis(path)
        for table in schema.tables:
            check_columns(table)
            tables += 1
            columns += len(table.columns)
            keys += len(table.keys)
    assert tables > 200
    assert columns > 12_000
    assert keys > 100
