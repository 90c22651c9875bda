"""Files that are broken, given to ``astrolabe table import``: one clear line, and nothing left."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from astrolabe.cli.main import main

from .small_table import write_rows

pytestmark = pytest.mark.timeout(60)

ROWS = 5_000


def _table() -> Table:
    rng = np.random.default_rng(3)
    return Table(
        {
            "id": np.arange(ROWS),
            "ra": rng.uniform(0, 360, ROWS),
            "dec": rng.uniform(-80, 80, ROWS),
            "name": [f"star {i}" for i in range(ROWS)],
        }
    )


def _cut(path: Path, share: float = 0.6) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def _parquet(path: Path) -> None:
    write_rows(path, ROWS, seed=3)


def _scribbled_parquet(path: Path) -> None:
    """Leave the footer whole, so that only reading the pages shows what is wrong."""
    write_rows(path, ROWS, seed=3)
    start = pq.ParquetFile(path).metadata.row_group(0).column(1).data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 4_000] = b"\xff" * 4_000
    path.write_bytes(content)


def _fits(path: Path) -> None:
    _table().write(path)


def _votable(form: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        _table().write(path, format="votable", tabledata_format=form)

    return write


def _csv(path: Path) -> None:
    _table().write(path, format="ascii.csv")


def _ragged_csv(path: Path) -> None:
    lines = ["id,ra,dec"] + [f"{i},{i / 100},{i / 1000}" for i in range(ROWS)]
    lines[4_000] = "3999,1.5"
    path.write_text("\n".join(lines) + "\n")


def _gzipped_csv(path: Path) -> None:
    plain = path.with_suffix("")
    _csv(plain)
    path.write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()


def _nothing(path: Path) -> None:
    path.write_bytes(b"")


def _noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(1).bytes(20_000))


@pytest.mark.parametrize(
    ("name", "write", "cut"),
    [
        ("t.parquet", _parquet, True),
        ("scribbled.parquet", _scribbled_parquet, False),
        ("t.fits", _fits, True),
        ("t.vot", _votable("tabledata"), True),
        ("b.vot", _votable("binary"), True),
        ("b2.vot", _votable("binary2"), True),
        ("ragged.csv", _ragged_csv, False),
        ("t.csv.gz", _gzipped_csv, True),
        *((f"empty.{end}", _nothing, False) for end in ("parquet", "fits", "vot", "csv")),
        *((f"noise.{end}", _noise, False) for end in ("parquet", "fits", "vot", "csv")),
    ],
)
def test_a_broken_file_is_refused_and_leaves_nothing(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    write: Callable[[Path], None],
    cut: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    path, home = tmp_path / name, tmp_path / "home"
    write(path)
    if cut:
        _cut(path)
    with pytest.raises(SystemExit) as ended:
        main([
            "table", "import", str(path), "--home", str(home), "--schema", "s", "--table", "t",
        ])  # fmt: skip
    out, err = capsys.readouterr()
    assert ended.value.code not in (0, None)
    assert out == ""
    assert err.startswith("astrolabe: ")
    assert err.count("\n") == 1, err
    assert name in err
    assert not list((home / "tables").rglob("*.parquet"))
    assert not [p for p in (home / "staging").rglob("*") if p.is_file()]
    with pytest.raises(SystemExit):
        main(["table", "list", "--home", str(home)])
    assert "s.t" not in capsys.readouterr().out


def test_a_broken_replacement_leaves_the_table_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad, home = tmp_path / "good.csv", tmp_path / "bad.parquet", tmp_path / "home"
    _csv(good)
    _scribbled_parquet(bad)
    common = ("--home", str(home), "--schema", "s", "--table", "t")
    with pytest.raises(SystemExit) as ended:
        main(["table", "import", str(good), *common])
    assert ended.value.code in (0, None)
    before = sorted(p for p in (home / "tables").rglob("*") if p.is_file())
    capsys.readouterr()
    for mode in ("replace", "append"):
        with pytest.raises(SystemExit) as ended:
            main(["table", "import", str(bad), *common, "--mode", mode])
        assert ended.value.code not in (0, None)
        assert capsys.readouterr().err.count("\n") == 1
        assert sorted(p for p in (home / "tables").rglob("*") if p.is_file()) == before
