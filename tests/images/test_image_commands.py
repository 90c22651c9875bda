"""`astrolabe image import | list | collections | show | remove | access | publish`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from astrolabe.cli.main import main
from astrolabe.config import load_settings
from astrolabe.factory import ProcessContext
from astrolabe.identity import ANONYMOUS
from astrolabe.images.model import ImageKey
from tests.support.images import write_planes, write_wcs_image

pytestmark = pytest.mark.timeout(60)


class Shell:
    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capsys = capsys
        self.err = ""

    def run(self, *arguments: str | Path, status: int = 0) -> str:
        """Run a command; give what it printed. `err` has what it complained of."""
        with pytest.raises(SystemExit) as ended:
            main(["image", *map(str, arguments), "--home", str(self.home)])
        printed = self._capsys.readouterr()
        self.err = printed.err
        assert ended.value.code == status, printed.err
        return printed.out

    def refuses(self, *arguments: str | Path, status: int = 1) -> str:
        """Run a command that must fail with one line; give that line."""
        self.run(*arguments, status=status)
        assert self.err.startswith("astrolabe: ")
        assert self.err.count("\n") == 1
        return self.err

    def open(self) -> ProcessContext:
        return ProcessContext.open(load_settings(home=self.home))


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    folder = tmp_path / "files"
    folder.mkdir()
    write_planes(folder / "visit1.fits")
    write_wcs_image(folder / "visit2.fits")
    return Shell(tmp_path / "home", capsys)


@pytest.mark.slow
def test_life_of_a_collection(shell: Shell, tmp_path: Path) -> None:
    files = tmp_path / "files"
    said = shell.run(
        "import", files, "--collection", "visits", "--title", "All", "--subtype", "raw"
    )
    assert "visits: 2 images imported from 2 files" in said
    assert "images in the collection: 2" in said
    said = shell.run("import", files, "--collection", "visits", "--subtype", "raw")
    assert "unchanged: 2 files; skipped: 0 files" in said
    lines = shell.run("list").splitlines()
    assert [line.split()[0] for line in lines] == ["visits/visit1", "visits/visit2"]
    assert shell.run("list", "--limit", "1").count("\n") == 1
    (first, _) = map(json.loads, shell.run("list", "--json", "--collection", "VISITS").splitlines())
    assert first["uri"] == str(files / "visit1.fits")
    (described,) = json.loads(shell.run("collections", "--json"))
    assert (described["collection"], described["images"], described["title"]) == (
        "visits",
        2,
        "All",
    )
    shown = json.loads(shell.run("show", "visits/VISIT1"))
    assert shown["id"] == "ivo://astrolabe.invalid/visits?visit1"
    assert shown["planes"] == {"image": 1, "mask": 2, "variance": 3}
    assert shown["obscore"]["dataproduct_subtype"] == "raw"
    assert "ivoa.ObsCore: unchanged, 2 rows in all" in shell.run("publish")
    assert "2 rows written" in shell.run("publish", "--anew")
    assert shell.run("remove", "visits/visit1") == "removed 1 image\n"
    assert "no image 'visit1'" in shell.refuses("remove", "visits/visit2", "visits/visit1")
    with shell.open() as context:
        assert context.images.store.count() == 1, "all that are named, or none"
        assert context.catalog.view().entries["ivoa", "ObsCore"].row.row_count == 1
    assert shell.run("remove", "visits") == "removed 1 image\n"
    assert shell.run("list") == shell.run("collections") == ""
    assert "There are no images yet" in shell.err
    assert (files / "visit1.fits").is_file(), "files stay where they are"
    assert not list((shell.home / "images").rglob("*.idx"))


def test_rights_hold_from_the_first_image(shell: Shell, tmp_path: Path) -> None:
    files = tmp_path / "files"
    options = ("--collection", "visits", "--private", "--listed", "--released", "2001-01-01")
    shell.run("import", files / "visit1.fits", *options)
    shell.run("import", files / "visit2.fits", "--collection", "visits", "--released", "2099-01-01")
    with shell.open() as context:
        access = context.images.access
        records = context.images.store.find(
            [ImageKey("visits", "visit1"), ImageKey("visits", "visit2")]
        )
        readable = {key[1]: access.may_read(ANONYMOUS, record) for key, record in records.items()}
        assert readable == {"visit1": True, "visit2": False}, "the first one has been released"
        assert all(access.may_see(ANONYMOUS, record) for record in records.values())
    assert shell.run("access", "visits") == "collection visits: private, listed\n"
    assert shell.run("access", "visits", "--not-listed") == "collection visits: private\n"
    with shell.open() as context:
        assert context.images.access.collections(ANONYMOUS) == ()
    assert shell.run("access", "visits", "--public") == "collection visits: public\n"
    assert "(inherited)" in shell.run("access", "visits", "--inherit")
    assert "no group" in shell.refuses("access", "visits", "--group", "nobody")
    shell.run("access", "later", "--private")
    assert "the rule waits for one" in shell.err


def test_skipped_files_are_said_and_written(shell: Shell, tmp_path: Path) -> None:
    files = tmp_path / "files"
    for number in range(22):
        (files / f"bad{number:02d}.fits").write_text("no image", "utf-8")
    table = tmp_path / "refused.csv"
    arguments = ("import", files, "--collection", "v", "--workers", "1")
    said = shell.run(*arguments, "--refused", table, status=3)
    assert "skipped: 22 files" in said
    assert shell.err.count("astrolabe: skipped /") == 20
    assert "skipped 2 files more" in shell.err
    with table.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines))
    assert rows[0] == ["file", "reason"]
    assert len(rows) == 23
    assert "nothing imported" in shell.run(*arguments, "--strict", "--refresh", status=1)


def test_mapping_and_planes(shell: Shell, tmp_path: Path) -> None:
    mapping = tmp_path / "m.yaml"
    mapping.write_text("columns: {target_name: {constant: here}}\n", "utf-8")
    arguments = ("import", tmp_path / "files" / "visit1.fits", "--collection", "v")
    shell.run(*arguments, "--mapping", mapping, "--planes", "mask=3", "--planes", "variance=")
    shown = json.loads(shell.run("show", "v/visit1"))
    assert shown["obscore"]["target_name"] == "here"
    assert shown["planes"] == {"image": 1, "mask": 3}
    mapping.write_text("columns: {target: A}\n", "utf-8")
    assert "not a column of ObsCore" in shell.refuses(*arguments, "--mapping", mapping)


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        pytest.param(("import", "/nowhere", "--collection", "1"), 1, "name of a", id="collection"),
        pytest.param(("import", "/nowhere"), 2, "--collection", id="no-collection"),
        pytest.param(("import", "--collection", "v"), 2, "SRC", id="no-source"),
        pytest.param(
            ("import", "x", "--collection", "v", "--planes", "weight=W"),
            2,
            "mask=NAME",
            id="planes",
        ),
        pytest.param(
            ("import", "x", "--collection", "v", "--released", "soon"), 2, "not a time", id="time"
        ),
        pytest.param(
            ("import", "x", "--collection", "v", "--calib-level", "7"), 2, "0<=x<=4", id="level"
        ),
        pytest.param(("show", "visits"), 1, "not the id", id="no-id"),
        pytest.param(("show", "visits/../x"), 1, "not the id", id="path"),
        pytest.param(("show", "visits/none"), 1, "no image", id="none"),
        pytest.param(("remove", "nothing"), 1, "no collection", id="remove"),
        pytest.param(("list", "--collection", "nothing"), 1, "no collection", id="list"),
        pytest.param(("access", "a b"), 1, "name of a collection", id="access"),
    ],
)
def test_bad_input_is_one_clear_line(
    shell: Shell, arguments: tuple[str, ...], status: int, says: str
) -> None:
    assert says in shell.refuses(*arguments, status=status)
