"""What TOPCAT asks of a service with more than 5000 columns: queries on TAP_SCHEMA."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from importlib.resources import files
from pathlib import Path

import httpx
import pytest
import pyvo
import yaml

from astrolabe.catalogs.felis import read_felis
from tests.support.platform import RunningPlatform, running_platform
from tests.support.tiny import open_context

pytestmark = [
    pytest.mark.client,
    pytest.mark.timeout(600),
    # pyvo leaves connections open when a constructor fails.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
TRIALS = 5


def schema_files() -> list[Path]:
    folder = Path(str(files("lsst.sdm.schemas")))
    return sorted(path for path in folder.glob("*.yaml"))


@pytest.fixture(scope="module")
def wide_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    home = tmp_path_factory.mktemp("wide") / "home"
    # In this process: starting the command thirty times would only take longer.
    with open_context(home) as context, pytest.MonkeyPatch.context() as patch:
        # Felis reads the files that others refer to by the parser written in Python, which would
        # take most of the time of these tests.
        patch.setattr(yaml, "safe_load", partial(yaml.load, Loader=yaml.CSafeLoader))
        for path in schema_files():
            context.catalog.create_tables(read_felis(path, path.stem))
    with running_platform(home) as platform:
        yield platform


def test_metadata_comes_by_queries(wide_platform: RunningPlatform) -> None:
    count = int(wide_platform.csv("SELECT COUNT(*) AS nrow FROM TAP_SCHEMA.columns")[0]["nrow"])
    assert count > 5_000
    service = pyvo.dal.TAPService(wide_platform.tap)
    schemas = service.run_sync("SELECT schema_name, description FROM TAP_SCHEMA.schemas")
    assert len(schemas) == len(schema_files()) + 1
    tables = service.run_sync(
        "SELECT schema_name, table_name, table_type, description, utype FROM TAP_SCHEMA.tables",
        maxrec=count + 1,
    )
    names = set(tables["table_name"])
    assert "dp1.Object" in names
    columns = service.run_sync(
        "SELECT column_name, description, unit, ucd, utype, datatype, arraysize, xtype, "
        '"size", indexed, principal, std FROM TAP_SCHEMA.columns '
        "WHERE table_name = 'dp1.Object'",
        maxrec=count + 1,
    )
    assert len(columns) == 1296
    by_name = {row["column_name"]: row for row in columns}
    assert by_name["coord_ra"]["unit"] == "deg"
    assert by_name["objectId"]["datatype"] == "long"
    keys = service.run_sync(
        "SELECT key_id, from_table, target_table, description, utype FROM TAP_SCHEMA.keys",
        maxrec=count + 1,
    )
    assert set(keys["from_table"]) <= names
    links = service.run_sync(
        "SELECT key_id, from_column, target_column FROM TAP_SCHEMA.key_columns"
    )
    assert set(links["key_id"]) == set(keys["key_id"])


def test_every_table_answers_though_it_is_empty(wide_platform: RunningPlatform) -> None:
    names = [
        row["table_name"] for row in wide_platform.csv("SELECT table_name FROM TAP_SCHEMA.tables")
    ]
    assert len(names) > 100
    with httpx.Client(timeout=60) as client:
        for name in names:
            form = {"LANG": "ADQL", "QUERY": f"SELECT TOP 1 * FROM {name}", "RESPONSEFORMAT": "csv"}
            response = client.post(f"{wide_platform.tap}/sync", data=form)
            assert response.status_code == 200, (name, response.text)


def test_tables_document_describes_them_all(wide_platform: RunningPlatform) -> None:
    service = pyvo.dal.TAPService(wide_platform.tap)
    assert len(service.tables["dp1.Object"].columns) == 1296
