"""Pairs of ADQL and DuckDB's SQL in files, and what the SQL gives when it runs.

``ASTROLABE_UPDATE_GOLDEN=1 pytest tests/adql/test_golden.py`` writes the files anew from their
first part; look at the difference before you keep it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import sqlglot

from astrolabe.adql import check_query

from .support import LOOKUP, Sky, emit

FILES = sorted((Path(__file__).parent / "golden").glob("*.txt"))
_ADQL, _SQL, _ROWS = "-- adql\n", "-- duckdb\n", "-- rows\n"


def _made(sky: Sky, adql: str) -> str:
    text = emit(check_query(adql, LOOKUP))
    pretty = sqlglot.parse_one(text, dialect="duckdb").sql("duckdb", pretty=True)
    relation = sky.connection.sql(text)
    # The pretty form is for people; it must say the same.
    assert sky.connection.sql(pretty).fetchall() == relation.fetchall()
    rows = [" | ".join(relation.columns), *(" | ".join(map(repr, r)) for r in relation.fetchall())]
    return f"{_ADQL}{adql}{_SQL}{pretty}\n{_ROWS}" + "\n".join(rows) + "\n"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_files(sky: Sky, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    adql = text.removeprefix(_ADQL).partition(_SQL)[0]
    made = _made(sky, adql)
    if os.environ.get("ASTROLABE_UPDATE_GOLDEN"):
        path.write_text(made, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == made


def test_there_are_golden_files() -> None:
    assert len(FILES) > 10
