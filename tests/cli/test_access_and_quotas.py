"""`astrolabe table access`, `release access` and `quota`: what they change, say and refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from astrolabe.cli.main import main
from astrolabe.factory import ProcessContext
from astrolabe.identity import ANONYMOUS, Principal
from astrolabe.identity.access import Resource
from astrolabe.identity.authority import OPERATOR
from tests.support.tiny import open_context

CHEAP = {"argon2_memory_mb": 0.1, "argon2_passes": 1, "argon2_lanes": 1}
ADA = Principal(username="ada", groups=frozenset({"team"}))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with open_context(tmp_path / "home", auth=CHEAP) as context:
        context.users.create("ada", by=OPERATOR)
        context.groups.create("team", by=OPERATOR, owner="ada")
    return tmp_path / "home"


def run(home: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--home", str(home)])
    code = ended.value.code
    assert isinstance(code, int)
    return code


def may_read(context: ProcessContext, resource: Resource) -> tuple[bool, bool]:
    may = context.rights.may
    return may(ANONYMOUS, "read", resource), may(ADA, "read", resource)


@pytest.mark.parametrize(
    ("options", "expected", "said"),
    [
        (["--private"], (False, False), "table dr1.object: private"),
        (["--private", "--owner", "ada"], (False, True), "private, owner ada"),
        (["--group", "team"], (False, True), "group team"),
        (["--users"], (False, True), "users"),
        (["--public"], (True, True), "public"),
        (["--public", "--group", "team", "--embargo", "2999-01-31"], (False, True), "2999-01-31"),
        (["--public", "--embargo", "2001-01-31"], (True, True), "2001-01-31"),
    ],
)
def test_a_rule_is_made_and_said(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    expected: tuple[bool, bool],
    said: str,
) -> None:
    assert run(home, "table", "access", "dr1.object", *options) == 0
    out, err = capsys.readouterr()
    assert said in out
    assert "rule waits" in err
    with open_context(home) as context:
        assert may_read(context, Resource.of_table("dr1", "object")) == expected
        assert may_read(context, Resource.of_table("dr1", "source")) == (True, True)


def test_a_schemas_rule_holds_for_its_tables_until_it_is_removed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(home, "table", "access", "dr1", "--group", "team") == 0
    assert run(home, "table", "access", "dr1.object") == 0
    assert "table dr1.object: group team (inherited)" in capsys.readouterr().out
    assert run(home, "table", "access", "dr1", "--inherit") == 0
    assert "schema dr1: public (inherited)" in capsys.readouterr().out


def test_a_release_may_be_under_embargo(home: Path) -> None:
    options = ["--public", "--group", "team", "--embargo", "2999-01-01"]
    assert run(home, "release", "access", "dr1", *options) == 0
    with open_context(home) as context:
        assert may_read(context, Resource.of_table("x", "y", release="dr1")) == (False, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["table", "access", "dr1", "--group", "nobodys"], "nobodys"),
        (["table", "access", "dr1", "--private", "--owner", "mallory"], "mallory"),
        (["table", "access", "dr1.a.b", "--public"], "SCHEMA.TABLE"),
        (["table", "access", "dr1", "--public", "--inherit"], "--inherit"),
        (["table", "access", "dr1", "--private", "--group", "team"], "different things"),
        (["table", "access", "dr1", "--public", "--embargo", "soon"], "soon"),
        (["quota", "set", "bananas", "3"], "bananas"),
        (["quota", "set", "rows", "many"], "many"),
        (["quota", "set", "rows", "3", "--user", "mallory"], "mallory"),
        (["quota", "set", "rows", "3", "--user", "ada", "--anonymous"], "name one of"),
        (["quota", "unset", "rows", "--user", "ada"], "No such rule"),
        (["quota", "show", "mallory"], "mallory"),
    ],
)
def test_what_is_wrong_is_refused_with_one_line_and_changes_nothing(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run(home, *arguments) != 0
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    with open_context(home) as context:
        assert context.rights.rules() == ()
        assert context.quotas.rules() == ()


def test_quotas_are_set_listed_shown_and_removed(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(home, "quota", "set", "concurrent_queries", "4") == 0
    assert run(home, "quota", "set", "concurrent_queries", "9", "--group", "team") == 0
    assert run(home, "quota", "set", "rows", "none", "--user", "ada") == 0
    assert run(home, "quota", "set", "bytes_per_day", "0", "--override", "--hours", "2") == 0
    assert run(home, "quota", "set", "rows", "5", "--anonymous") == 0
    capsys.readouterr()
    assert run(home, "quota", "list", "--json") == 0
    rules = json.loads(capsys.readouterr().out)
    assert [(r["kind"], r["subject"], r["quota"], r["value"]) for r in rules] == [
        ("anonymous", "", "rows", 5.0),
        ("default", "", "concurrent_queries", 4.0),
        ("group", "team", "concurrent_queries", 9.0),
        ("override", "", "bytes_per_day", 0.0),
        ("user", "ada", "rows", None),
    ]
    assert [r["ends"] is not None for r in rules] == [False, False, False, True, False]
    assert run(home, "quota", "show", "ada", "--json") == 0
    shown = {use["quota"]: use["limit"] for use in json.loads(capsys.readouterr().out)}
    assert (shown["concurrent_queries"], shown["rows"], shown["bytes_per_day"]) == (9, None, 0)
    assert run(home, "quota", "show", "ada") == 0
    assert "concurrent_queries" in capsys.readouterr().out
    assert run(home, "quota", "unset", "bytes_per_day", "--override") == 0
    assert run(home, "quota", "list") == 0
    assert "bytes_per_day" not in capsys.readouterr().out
