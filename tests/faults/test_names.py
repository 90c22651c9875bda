"""Hostile names of what is imported: refused, or kept as they are; never a path or SQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from astrolabe.core.errors import AstrolabeError, BadParameterError, RequestError
from astrolabe.factory import ProcessContext
from astrolabe.tables.formats import OUTPUT_FORMATS
from astrolabe.tables.model import HEALPIX_COLUMN, Column, Datatype, ResultHeader
from astrolabe.tables.writers import open_writer
from tests.support.tiny import ask, import_columns, open_context, sky_points

pytestmark = pytest.mark.timeout(60)

ROWS = 20
HOSTILE = (
    "o'brien",
    'say "hi"',
    "a;b--c/*d*/",
    "../../escape",
    "..",
    "/escape",
    "nul\0byte",
    "line\r\nbreak",
    "\N{GRINNING FACE}\N{LATIN SMALL LETTER E WITH ACUTE}\u202e\ufeff",
    "{0}%s$(id)`id`",
    "<script>alert(1)</script>&amp;]]>",
    HEALPIX_COLUMN,
    "",
    " ",
    "x" * 10_000,
)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessContext]:
    home = tmp_path_factory.mktemp("names") / "home"
    with open_context(home, engine={"memory_fraction": 0.02, "threads": 1}) as made:
        yield made


def bring_in(context: ProcessContext, schema: str, table: str, column: str) -> None:
    ra, dec = sky_points(ROWS)
    columns = {
        column: (Datatype.LONG, np.arange(ROWS)),
        "ra": (Datatype.DOUBLE, ra),
        "dec": (Datatype.DOUBLE, dec),
    }
    import_columns(context, schema, table, columns)


def all_files(home: Path) -> set[Path]:
    """Every file of the home's surroundings but those of the databases."""
    found = (path for path in home.parent.rglob("*") if path.is_file())
    return {path for path in found if ".db" not in path.name and "lock" not in path.name}


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("what", ["schema", "table"])
def test_tables_with_hostile_names_are_refused(
    context: ProcessContext, what: str, name: str
) -> None:
    home = context.settings.home
    before = all_files(home)
    schema, table = (name, "t") if what == "schema" else ("s", name)
    with pytest.raises(BadParameterError, match="cannot be the name") as caught:
        bring_in(context, schema, table, "id")
    assert len(str(caught.value)) < 1_000  # told without repeating all of it
    assert all_files(home) == before


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_columns_with_hostile_names_are_refused_or_come_back(
    context: ProcessContext, number: int
) -> None:
    name, table = HOSTILE[number], f"c{number}"
    told = ""
    try:
        bring_in(context, "s", table, name)
    except RequestError as exc:
        told = str(exc)
    if told:
        assert len(told) < 1_000
        assert context.catalog.view(fresh=True).table("s", table) is None
        return
    version = context.catalog.view(fresh=True).table("s", table)
    assert version is not None
    if name == HEALPIX_COLUMN:
        # The column of the files is always made by ourselves.
        assert [column.name for column in version.meta.columns] == ["ra", "dec"]
        return
    kept = version.meta.columns[0].name
    quoted = '"' + kept.replace('"', '""') + '"'
    answer = ask(context, f"SELECT {quoted} FROM s.{table} WHERE {quoted} >= 0 ORDER BY {quoted}")
    assert answer.column_names == [kept]
    assert answer.column(0).to_pylist() == list(range(ROWS))


@pytest.mark.parametrize("output", OUTPUT_FORMATS, ids=lambda output: output.name)
@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_every_form_can_tell_a_hostile_name_or_says_that_it_cannot(
    context: ProcessContext, output: object, name: str
) -> None:
    del context
    header = ResultHeader(columns=(Column(name=name, datatype=Datatype.LONG, description=name),))
    writer = open_writer(output, header)  # type: ignore[arg-type]  # parametrized
    try:
        written = b"".join([*writer.start(), *writer.finish(overflow=False)])
    except AstrolabeError:
        return
    finally:
        writer.close()
    assert written
    if "votable" in output.name:  # type: ignore[attr-defined]  # parametrized
        assert b"<script>" not in written
        assert b"\0" not in written
