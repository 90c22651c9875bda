"""`astrolabe user`, `group`, `token` and `audit`, on a home."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from astrolabe.cli.main import main
from astrolabe.config import load_settings
from astrolabe.core.clock import parse_utc, utc_now
from astrolabe.core.errors import UnauthenticatedError
from astrolabe.factory import ProcessContext
from astrolabe.identity.token_text import TokenText
from astrolabe.jobs.model import Phase

Run = Callable[..., str]
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASTROLABE_AUTH__ARGON2_MEMORY_MB", "0.1")
    monkeypatch.setenv("ASTROLABE_AUTH__ARGON2_PASSES", "1")


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command to its end and return what it printed; `fails` is the line it must end with."""

    def call(*arguments: str, fails: str | None = None, stdin: str = "") -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--home", str(tmp_path)])
        said = capsys.readouterr()
        if fails is None:
            assert ended.value.code == 0, said.err
        else:
            assert ended.value.code != 0
            assert fails in said.err
            assert said.err.count("\n") == 1
            assert said.out == ""
        return said.out

    return call


@pytest.fixture
def context(run: Run, tmp_path: Path) -> Iterator[ProcessContext]:
    """Another process on the same home."""
    assert run("user", "list")
    with ProcessContext.open(load_settings(home=tmp_path, config_file=None, overrides={})) as made:
        yield made


def _json(text: str) -> Any:
    return json.loads(text)


def test_the_first_command_finds_the_owner(run: Run) -> None:
    (owner,) = _json(run("user", "list", "--json"))
    assert (owner["username"], owner["status"], owner["has_password"]) == ("owner", "active", False)
    shown = _json(run("user", "show", "owner"))
    assert shown["groups"] == ["admins"]
    assert "admin:platform" in shown["scopes"]


def test_a_new_user_comes_in_by_the_link_that_is_printed(run: Run, context: ProcessContext) -> None:
    link = run("user", "create", "ada", "--full-name", "Ada L", "--email", "ada@x.org").strip()
    assert link.startswith("http://127.0.0.1:8080/auth/link#")
    text = urlsplit(link).fragment
    assert context.users.redeem_login_link(text, address=None).full_name == "Ada L"
    again = run("user", "login-link", "ada").strip()
    second = urlsplit(again).fragment
    assert second != text
    run("user", "login-link", "nina", fails="There is no user nina")


def test_passwords_come_from_standard_input(run: Run, context: ProcessContext) -> None:
    assert run("user", "create", "ada", "--password-stdin", stdin=PASSWORD + "\n") == ""
    context.users.login("ada", PASSWORD, address=None)
    run("user", "password", "ada", stdin="a different sentence\n")
    context.users.login("ada", "a different sentence", address=None)
    run("user", "password", "ada", stdin="short\n", fails="A password has 10")


def test_a_token_is_printed_alone_and_works_until_it_is_revoked(
    run: Run, context: ProcessContext
) -> None:
    run("user", "create", "ada")
    text = run("token", "create", "--user", "ada", "--scope", "read:tap", "--expires", "2h").strip()
    token = TokenText.parse(text)
    assert token is not None
    principal = context.authenticator.authenticate(text, address="192.0.2.1")
    assert principal.username == "ada"
    assert principal.scopes == {"read:tap"}
    (listed,) = _json(run("token", "list", "--user", "ada", "--json"))
    assert listed["key"] == token.key
    assert 7000 < (parse_utc(listed["expires"]) - utc_now()).total_seconds() <= 7200
    assert token.secret not in run("token", "list", "--user", "ada")
    run("token", "revoke", token.key)
    context.authenticator.forget()
    with pytest.raises(UnauthenticatedError):
        context.authenticator.authenticate(text, address=None)
    assert _json(run("token", "list", "--user", "ada", "--json")) == []
    assert len(_json(run("token", "list", "--user", "ada", "--all", "--json"))) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--user", "nina", "--scope", "read:tap"], "There is no user nina"),
        (["--user", "owner", "--scope", "read:all"], "There is no scope 'read:all'"),
        (["--user", "owner", "--scope", "read:tap", "--expires", "soon"], "'soon' is neither"),
        (["--user", "owner", "--scope", "read:tap", "--expires", "999d"], "within 366 days"),
        (["--user", "owner", "--scope", "read:tap", "--expires", "2020-01-01"], "in the future"),
        (["--user", "owner"], "Missing option '--scope'"),
    ],
)
def test_a_token_that_cannot_be_made_prints_nothing(
    run: Run, options: list[str], message: str
) -> None:
    run("token", "create", *options, fails=message)


def test_a_whole_token_can_be_revoked(run: Run) -> None:
    text = run("token", "create", "--user", "owner", "--scope", "read:tap").strip()
    run("token", "revoke", text)
    assert _json(run("token", "list", "--user", "owner", "--json")) == []
    run("token", "revoke", "x" * 22, fails="There is no token")


def test_keys_are_never_taken_for_options() -> None:
    assert not any(TokenText.new().key.startswith("-") for _ in range(500))


def test_groups_are_made_filled_and_deleted(run: Run) -> None:
    run("user", "create", "ada")
    run("group", "create", "stars", "--owner", "ada", "--description", "Variable stars")
    run("group", "create", "novae")
    run("group", "add", "stars", "owner", "--role", "admin")
    run("group", "add", "stars", "novae")
    shown = _json(run("group", "show", "stars"))
    assert shown["description"] == "Variable stars"
    assert [(m["name"], m["kind"], m["role"]) for m in shown["members"]] == [
        ("ada", "user", "owner"),
        ("owner", "user", "admin"),
        ("novae", "group", "member"),
    ]
    run("group", "remove", "stars", "owner")
    mine = _json(run("group", "list", "--user", "ada", "--json"))
    assert [group["name"] for group in mine] == ["stars"]
    listed = run("group", "list").splitlines()
    assert [line.split()[0] for line in listed] == ["admins", "novae", "stars"]
    run("group", "delete", "stars", fails="interrupted")
    run("group", "delete", "stars", "--yes")
    run("group", "show", "stars", fails="There is no group stars")
    run("group", "create", "stars", fails="never used again")


def test_an_account_is_disabled_enabled_and_deleted(run: Run, context: ProcessContext) -> None:
    run("user", "create", "ada")
    run("user", "create", "bob")
    job = context.jobs.create("tap", [], owner="ada", run=True)
    text = run("token", "create", "--user", "ada", "--scope", "read:tap").strip()
    run("user", "disable", "ada")
    with pytest.raises(UnauthenticatedError):
        context.authenticator.authenticate(text, address=None)
    assert context.job_store.phases([job.job_id]) == {job.job_id: Phase.ABORTED}
    (disabled,) = _json(run("user", "list", "--status", "disabled", "--json"))
    assert disabled["username"] == "ada"
    run("user", "enable", "ada")
    run("user", "delete", "ada", "--yes", "--hand-over-to", "bob")
    handed = context.job_store.get(job.job_id)
    assert handed is not None
    assert handed.owner == "bob"
    assert [u["username"] for u in _json(run("user", "list", "--json"))] == ["bob", "owner"]
    run("user", "create", "ada", fails="never used again")
    run("user", "delete", "owner", "--yes", fails="last administrator")


def test_who_waits_is_listed_and_approved(run: Run, context: ProcessContext) -> None:
    from astrolabe.identity.model import OpenIDClaims, PendingUser  # noqa: PLC0415 - only here

    for subject, name in (("1", "ada"), ("2", "eve")):
        found = context.openid_accounts.from_openid("https://x.example", subject, OpenIDClaims())
        assert isinstance(found, PendingUser)
        context.openid_accounts.choose_name(found.pending_id, name, approval=True)
    waiting = _json(run("user", "list", "--status", "waiting", "--json"))
    assert [(w["username"], w["issuer"]) for w in waiting] == [
        ("ada", "https://x.example"),
        ("eve", "https://x.example"),
    ]
    run("user", "approve", "ada")
    run("user", "approve", "eve", "--refuse")
    assert _json(run("user", "show", "ada"))["logins"] == [
        {"issuer": "https://x.example", "subject": "1"}
    ]
    run("user", "show", "eve", fails="There is no user eve")
    run("user", "approve", "eve", fails="Nobody waits")


def test_the_audit_log_says_what_the_commands_did(run: Run) -> None:
    run("user", "create", "ada")
    run("user", "disable", "ada")
    page = _json(run("audit", "list", "--target", "ada", "--json"))
    assert [(e["actor"], e["action"]) for e in page["entries"]] == [
        ("operator", "user.disable"),
        ("operator", "user.login-link"),
        ("operator", "user.create"),
    ]
    first = _json(run("audit", "list", "--action", "user.", "--limit", "1", "--json"))
    assert first["next_cursor"] == str(first["entries"][0]["entry_id"])
    rest = run("audit", "list", "--action", "user.", "--cursor", first["next_cursor"])
    assert "user.disable" not in rest
    assert len(rest.splitlines()) == 3
    run("audit", "list", "--since", "yesterday", fails="'yesterday' is no ISO 8601 time")


def test_a_config_file_says_what_groups_give(run: Run, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(
        "auth:\n  group_scopes:\n    brokers: [write:alert]\n", encoding="utf-8"
    )
    run("group", "create", "brokers")
    run("user", "create", "ada", "--group", "brokers")
    assert "write:alert" in _json(run("user", "show", "ada"))["scopes"]
    (tmp_path / "config.yaml").write_text(
        "auth:\n  group_scopes:\n    brokers: [write:everything]\n", encoding="utf-8"
    )
    run("user", "list", fails="there is no scope write:everything")
