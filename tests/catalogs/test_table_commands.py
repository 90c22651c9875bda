"""`astrolabe table create | list | path | drop | vacuum`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from astrolabe.cli.main import main
from astrolabe.config import load_settings
from astrolabe.factory import ProcessContext

from .staging import object_meta, write_version

pytestmark = pytest.mark.timeout(60)

_FELIS = """
name: survey
tables:
- {name: visit, columns: [{name: visit, datatype: int}]}
- {name: source, columns: [{name: id, datatype: long}, {name: flux, datatype: float}]}
"""


class Shell:
    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capsys = capsys

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run a command; give what it printed, or its one line of complaint."""
        with pytest.raises(SystemExit) as ended:
            main(["table", *arguments, "--home", str(self.home)])
        printed = self._capsys.readouterr()
        assert ended.value.code == status, printed.err
        if status:
            assert printed.err.startswith("astrolabe: ")
            assert printed.err.count("\n") == 1
            return printed.err
        return printed.out


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    (tmp_path / "survey.yaml").write_text(_FELIS, "utf-8")
    return Shell(tmp_path / "home", capsys)


def test_tables_of_a_felis_file(shell: Shell, tmp_path: Path) -> None:
    assert shell.run("list") == ""
    felis = str(tmp_path / "survey.yaml")
    assert shell.run("create", "--felis", felis) == "survey: 2 tables, 3 columns\n"
    assert shell.run("create", "--felis", felis, "--schema", "dr2") == "dr2: 2 tables, 3 columns\n"
    assert "exists already" in shell.run("create", "--felis", felis, status=1)
    assert "reserved" in shell.run("create", "--felis", felis, "--schema", "ivoa", status=1)
    listed = shell.run("list").splitlines()
    assert [line.split()[0] for line in listed] == [
        "dr2.source",
        "dr2.visit",
        "survey.source",
        "survey.visit",
    ]
    document = json.loads(shell.run("list", "--json", "--schema", "DR2"))
    assert document[0] == {
        "table": "dr2.source",
        "rows": 0,
        "bytes": 0,
        "columns": 2,
        "version": 1,
        "release": None,
    }
    assert "no files yet" in shell.run("path", "dr2.source", status=1)
    assert shell.run("drop", "--schema", "dr2") == "dropped dr2.source\ndropped dr2.visit\n"
    assert "no schema dr2" in shell.run("drop", "--schema", "dr2", status=1)


def test_versions_of_a_table(shell: Shell) -> None:
    with ProcessContext.open(load_settings(home=shell.home)) as context:
        write_version(context.catalog)
        new = write_version(context.catalog, object_meta(), mode="replace")
    assert shell.run("path", "dr1.object") == f"{new.root}\n"
    collection = Path(shell.run("path", "--collection", "dr1.object").strip())
    assert (collection / "collection.properties").is_file()
    assert "kept dr1.object version 1: queries may still read it" in shell.run("vacuum")
    dry = shell.run("vacuum", "--keep-hours", "0", "--dry-run")
    assert dry.startswith("would remove dr1.object version 1 (replaced or dropped): ")
    assert shell.run("vacuum", "--keep-hours", "0").startswith("removed dr1.object version 1")
    assert shell.run("vacuum") == "nothing to remove\n"
    assert shell.run("drop", "dr1.object") == "dropped dr1.object\n"
    assert shell.run("vacuum", "--keep-hours", "0").startswith("removed dr1.object version 2")
    assert not collection.exists()


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("path", "object"), 2, "SCHEMA.TABLE"),
        (("path", "dr1.object.x"), 2, "SCHEMA.TABLE"),
        (("path", "dr1.nothing"), 1, "no table dr1.nothing"),
        (("drop",), 2, "name the tables"),
        (("drop", "a.b", "--schema", "a"), 2, "name the tables"),
        (("drop", "a.b"), 1, "no table a.b"),
        (("create", "--felis", "/nowhere.yaml"), 2, "nowhere.yaml"),
        (("vacuum", "--keep-hours", "-1"), 2, "keep-hours"),
    ],
)
def test_bad_input_is_one_clear_line(
    shell: Shell, arguments: tuple[str, ...], status: int, says: str
) -> None:
    assert says in shell.run(*arguments, status=status)
