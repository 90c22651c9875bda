"""Names, descriptions and types of columns."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from astrolabe.catalogs.felis import read_felis
from astrolabe.catalogs.importing import run_import
from astrolabe.catalogs.store import CatalogStore
from astrolabe.core.errors import ImportRefusedError
from astrolabe.tables.model import HEALPIX_COLUMN, Column, Datatype

from .sources import current, options, source_of, stored_rows

pytestmark = pytest.mark.timeout(60)

_RA = Column(name="ra", datatype=Datatype.DOUBLE)
_DEC = Column(name="dec", datatype=Datatype.DOUBLE)


def _plain(**changes: Any) -> Any:
    return options(id_column=None, margin_arcsec=0.0, **changes)


def _with(*columns: Column, values: tuple[Any, ...] = ()) -> Any:
    given = values or tuple(1 for _ in columns)
    return source_of((_RA, _DEC, *columns), [10.0], [20.0], *([value] for value in given))


def test_names_that_differ_only_in_case_are_refused(store: CatalogStore) -> None:
    pair = (
        Column(name="Flux", datatype=Datatype.INT),
        Column(name="flux", datatype=Datatype.INT),
    )
    with pytest.raises(ImportRefusedError, match=r"'Flux' and 'flux'.*--rename"):
        run_import(_with(*pair), _plain(), store)
    run_import(_with(*pair), _plain(rename={"flux": "flux_2"}), store)
    assert [c.name for c in current(store).meta.columns] == ["ra", "dec", "Flux", "flux_2"]


def test_a_rename_must_name_a_column(store: CatalogStore) -> None:
    with pytest.raises(ImportRefusedError, match="'fluxx'"):
        run_import(_with(), _plain(rename={"fluxx": "f"}), store)


def test_the_position_column_of_a_source_is_computed_anew(store: CatalogStore) -> None:
    old = Column(name=HEALPIX_COLUMN, datatype=Datatype.LONG)
    run_import(_with(old), _plain(), store)
    assert [c.name for c in current(store).meta.columns] == ["ra", "dec"]
    assert stored_rows(current(store))[HEALPIX_COLUMN].to_pylist() != [1]


@pytest.mark.parametrize("name", ["size", "_RAJ2000", "e_B-V", "Größe", 'a"b', "select", "x y"])
def test_strange_names_stay_as_they_are(store: CatalogStore, name: str) -> None:
    run_import(_with(Column(name=name, datatype=Datatype.INT)), _plain(), store)
    assert current(store).meta.columns[-1].name == name
    assert stored_rows(current(store))[name].to_pylist() == [1]


@pytest.mark.parametrize("name", ["", " ", "a\nb"])
def test_names_that_cannot_be_written_are_refused(store: CatalogStore, name: str) -> None:
    with pytest.raises(ImportRefusedError, match="--rename"):
        run_import(_with(Column(name=name, datatype=Datatype.INT)), _plain(), store)


def test_a_column_can_be_kept_as_text(store: CatalogStore) -> None:
    big = Column(name="big", datatype=Datatype.LONG, unit="m")
    run_import(_with(big, values=(2**53 + 1,)), _plain(as_string=("big",)), store)
    column = current(store).meta.column("big")
    assert column is not None
    assert (column.datatype, column.arraysize) == (Datatype.CHAR, "*")
    assert stored_rows(current(store))["big"].to_pylist() == ["9007199254740993"]


_FELIS = """
name: survey
"@id": "#survey"
tables:
  - name: object
    "@id": "#object"
    description: Objects of the survey
    primaryKey: "#object.objectId"
    columns:
      - name: objectId
        "@id": "#object.objectId"
        datatype: long
        description: Unique id
        ivoa:ucd: meta.id;src;meta.main
        tap:column_index: 1
        tap:principal: 1
      - name: ra
        "@id": "#object.ra"
        datatype: double
        description: Right ascension
        ivoa:unit: deg
        ivoa:ucd: pos.eq.ra;meta.main
        tap:column_index: 3
      - name: dec
        "@id": "#object.dec"
        datatype: double
        description: Declination
        ivoa:unit: deg
        ivoa:ucd: pos.eq.dec;meta.main
        tap:column_index: 2
      - name: count
        "@id": "#object.count"
        datatype: short
        description: Number of detections
        tap:column_index: 4
      - name: lost
        "@id": "#object.lost"
        datatype: float
        description: A column that the file does not have
        tap:column_index: 5
"""


@pytest.fixture
def felis(tmp_path: Path) -> Path:
    path = tmp_path / "survey.yaml"
    path.write_text(dedent(_FELIS))
    return path


def test_felis_describes_the_columns(store: CatalogStore, felis: Path) -> None:
    columns = (
        Column(name="OBJECTID", datatype=Datatype.LONG),
        Column(name="count", datatype=Datatype.LONG, description="from the source"),
        Column(name="extra", datatype=Datatype.LONG),
    )
    report = run_import(_with(*columns, values=(1, 7, 3)), _plain(felis=felis), store)
    meta = current(store).meta
    assert meta.description == "Objects of the survey"
    assert meta.id_column == "objectId"
    assert [c.name for c in meta.columns] == ["objectId", "dec", "ra", "count", "extra"]
    count = meta.column("count")
    assert count is not None
    assert (count.datatype, count.description) == (Datatype.SHORT, "Number of detections")
    assert stored_rows(current(store))["count"].to_pylist() == [7]
    assert any("lost" in warning for warning in report.warnings)
    assert any("extra" in warning for warning in report.warnings)


@pytest.mark.parametrize("mode", ["replace", "append"])
def test_a_described_table_keeps_its_descriptions_when_filled(
    store: CatalogStore, felis: Path, mode: str
) -> None:
    described = read_felis(felis, "dr1")
    store.create_tables(described)
    columns = [c.renamed(c.name.upper()) for c in described.tables[0].columns]
    bare = [Column(name=c.name, datatype=c.datatype) for c in columns]
    source = source_of(bare, *([value] for value in (1, 20.0, 10.0, 7, 0.5)))
    run_import(source, _plain(mode=mode), store)
    meta = current(store).meta
    assert [(c.name, c.description) for c in meta.columns] == [
        (c.name, c.description) for c in described.tables[0].columns
    ]
    assert (meta.ra_column, meta.dec_column, meta.id_column) == ("ra", "dec", "objectId")
    assert stored_rows(current(store))["count"].to_pylist() == [7]
    assert current(store).positions_sorted


def test_a_value_that_the_description_cannot_hold_is_refused(
    store: CatalogStore, felis: Path
) -> None:
    column = Column(name="count", datatype=Datatype.LONG)
    with pytest.raises(ImportRefusedError, match=r"'count'.*short"):
        run_import(_with(column, values=(70_000,)), _plain(felis=felis), store)


def test_felis_must_describe_the_table(store: CatalogStore, felis: Path) -> None:
    with pytest.raises(ImportRefusedError, match="no table 'visit'; it has object"):
        run_import(_with(), _plain(felis=felis, table="visit"), store)
