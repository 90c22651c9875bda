"""The tool that runs a corpus of queries."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tools.adql_corpus import main, run

QUERIES = [
    ("one", "SELECT a FROM t", "valid"),
    ("two", "SELECT a FROM t UNION SELECT b FROM u", "valid"),
    ("three", "SELECT my_function(a) FROM t", "valid"),
    ("four", "SELECT 'a' 'b' FROM t", "valid"),
    ("five", "SELECT a FROM t LIMIT 3", "invalid"),
    ("six", "SELECT a FROM secret_table", "invalid"),
]


def _file(folder: Path) -> Path:
    path = folder / "queries.jsonl"
    path.write_text(
        "\n".join(json.dumps({"id": i, "query": q, "verdict": v}) for i, q, v in QUERIES)
    )
    return path


def test_figures_and_exceptions(tmp_path: Path) -> None:
    report = run(_file(tmp_path).read_text().splitlines())
    assert report.counts == {
        ("valid", "accepted"): 1,
        ("valid", "outside"): 2,
        ("valid", "refused"): 1,
        ("invalid", "refused"): 1,
        ("invalid", "accepted"): 1,
    }
    assert [(name, verdict) for name, verdict, _ in report.exceptions] == [
        ("four", "valid"),
        ("six", "invalid"),
    ]
    assert report.features == {"UNION": 1, "functions of users": 1}
    assert not report.failed


@pytest.mark.parametrize("options", [[], ["--markdown"]])
def test_the_command_prints_no_queries(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    assert main([str(_file(tmp_path)), *options]) == 0
    printed = capsys.readouterr().out
    assert "four" in printed
    assert "secret_table" not in printed
