"""The command line: fast to help, one clear line for bad input."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from astrolabe.cli.main import COMMANDS, cli, main
from astrolabe.core.errors import ConflictError


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "astrolabe.cli.main", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["upp"], "No such command 'upp'"),
        (["up", "--port", "99999"], "99999 is not in the range"),
        (["up", "--gateways", "0"], "0 is not in the range"),
        (["serve", "--config", "/nowhere/config.yaml"], "cannot read the settings file"),
        (["up", "--home", "/proc/nowhere"], "/proc/nowhere"),
    ],
)
def test_bad_input_ends_with_one_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code not in {0, None}
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("astrolabe: ")
    assert captured.err.count("\n") == 1
    assert expected in captured.err


def test_our_errors_are_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def broken() -> None:
        raise ConflictError("first half,\n  second half")

    monkeypatch.setattr(cli, "get_command", lambda *_: broken)
    with pytest.raises(SystemExit) as ended:
        main(["broken"])
    assert ended.value.code == 1
    assert capsys.readouterr().err == "astrolabe: first half, second half\n"


def test_an_unreachable_database_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ASTROLABE_DATABASE__URL", "postgresql+psycopg://a@127.0.0.1:1/b")
    with pytest.raises(SystemExit) as ended:
        main(["up", "--home", str(tmp_path), "--port", "0", "--no-demo"])
    assert ended.value.code == 1
    err = capsys.readouterr().err
    assert err.startswith("astrolabe: database: ")
    assert err.count("\n") == 1


def test_help_does_not_load_the_platform() -> None:
    heavy = "duckdb pyarrow sqlalchemy pydantic astropy numpy uvicorn"
    code = (
        "import sys; from astrolabe.cli.main import cli; "
        "cli.main(['--help'], standalone_mode=False); "
        f"print(sorted(set('{heavy}'.split()) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stderr.strip() == "[]"
    assert "worker" in done.stdout


def test_the_version_is_printed() -> None:
    done = _run("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("astrolabe, version ")


def test_without_a_command_the_help_comes_and_the_status_is_not_zero() -> None:
    done = _run()
    assert done.returncode == 2
    assert "Commands:" in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_there_and_its_line_in_the_list_is_its_own(name: str) -> None:
    context = click.Context(cli, info_name="astrolabe")
    command = cli.get_command(context, name)
    assert command is not None
    line = COMMANDS[name][1]
    assert command.hidden is (line is None)
    if line is not None:
        assert command.get_short_help_str(limit=100) == line
