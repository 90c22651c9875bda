"""The command `astrolabe table import`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astrolabe.cli.main import main

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Two Parquet files with 300 rows together."""
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for i in range(2):
        rows = pa.table(
            {
                "id": np.arange(150) + 150 * i,
                "ra": rng.uniform(0, 360, 150),
                "dec": rng.uniform(-90, 90, 150),
                "Mag": rng.normal(size=150),
            }
        )
        pq.write_table(rows, folder / f"part-{i}.parquet")
    return folder


def _run(capsys: pytest.CaptureFixture[str], home: Path, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["table", "import", "--home", str(home), "--schema", "dr1", *arguments])
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, captured.out, captured.err


def test_imports_files_and_says_what_it_did(
    files: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = _run(
        capsys,
        home,
        str(files / "part-*.parquet"),
        *("--table", "object", "--id", "id", "--rename", "Mag=magnitude", "--as-string", "id"),
        *("--epoch", "2016.0", "--margin", "0"),
    )
    assert (status, err) == (0, "")
    assert out.startswith("dr1.object: 300 rows imported as version 1 in ")
    folder = Path(out.splitlines()[-1].removeprefix("folder: "))
    parts = [pq.ParquetFile(path).read() for path in folder.rglob("Npix=*.parquet")]
    rows = pa.concat_tables(parts)
    assert rows.num_rows == 300
    assert rows.column_names == ["_healpix_29", "id", "ra", "dec", "magnitude"]
    assert rows.schema.field("id").type == pa.string()
    assert not list(folder.glob("*arcs"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nowhere.parquet", "--table", "t"], "nowhere.parquet"),
        (["{files}", "--table", "t", "--rename", "Mag"], "OLD=NEW"),
        (["{files}", "--table", "t", "--rename", "mag2=b"], "'mag2'"),
        (["{files}", "--table", "t", "--rename", "Mag=RA"], "'ra' and 'RA'"),
        (["{files}", "--table", "t", "--ra", "x", "--dec", "dec"], "'x'"),
        (["{files}", "--table", "t", "--frame", "fk4"], "fk4"),
        (["{files}", "--table", "t", "--margin", "-1"], "margin"),
        (["{files}", "--table", "t", "--rejects", "bad.txt"], ".parquet or .csv"),
        (["{files}", "--table", "bad name"], "bad name"),
        (["{files}", "--table", "t", "--mode", "append"], "t"),
        (["{files}"], "--table"),
    ],
)
def test_bad_input_ends_with_one_line_and_no_table(
    files: Path,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    expected: str,
) -> None:
    status, out, err = _run(capsys, home, *(a.format(files=files) for a in arguments))
    assert status != 0
    assert out == ""
    assert err.startswith("astrolabe: ")
    assert err.count("\n") == 1
    assert expected in err
    assert not list((home / "tables").rglob("*.parquet"))


def test_rejected_rows_are_reported(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.parquet"
    pq.write_table(pa.table({"ra": [10.0, 400.0], "dec": [0.0, 0.0]}), bad)
    rejects = tmp_path / "left_out.csv"
    status, out, err = _run(capsys, home, str(bad), "--table", "t", "--rejects", str(rejects))
    assert status == 0
    assert f"rejected: 1 rows, kept in {rejects}" in out
    assert "--wrap" in err
    assert "400" in rejects.read_text()
    status, _, err = _run(capsys, home, str(bad), "--table", "u", "--strict")
    assert status == 1
    assert "Row 2" in err
