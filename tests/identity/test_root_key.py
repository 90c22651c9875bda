"""The platform's own secret: made once, and of no use for anything but its purpose."""

from __future__ import annotations

import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from astrolabe.core.errors import BadParameterError
from astrolabe.identity.root_key import RootKey, SealError

SECRET = "a secret of thirty-two characters"


def test_a_file_is_made_once_and_open_to_its_owner_only(tmp_path: Path) -> None:
    first = RootKey.open(tmp_path / "secrets", configured=None)
    (path,) = (tmp_path / "secrets").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert RootKey.open(tmp_path / "secrets", configured=None).derive("x") == first.derive("x")


def test_of_several_processes_that_start_at_once_all_get_one_key(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from astrolabe.identity.root_key import RootKey\n"
        "sys.stdin.readline(); key = RootKey.open(Path(sys.argv[1]), configured=None)\n"
        "print(key.derive('x').hex())"
    )
    children = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    answers = {child.communicate("\n")[0] for child in children}
    assert [child.returncode for child in children] == [0, 0, 0]
    assert len(answers) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["root.key"]


def test_the_setting_goes_before_the_file(tmp_path: Path) -> None:
    configured = RootKey.open(tmp_path, configured=SECRET)
    assert not list(tmp_path.iterdir())
    assert configured.derive("x") == RootKey(SECRET.encode()).derive("x")


def test_a_short_setting_and_a_damaged_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadParameterError, match="at least 32"):
        RootKey.open(tmp_path, configured="short")
    (tmp_path / "root.key").write_bytes(b"cut")
    with pytest.raises(BadParameterError, match="3 bytes instead of 32"):
        RootKey.open(tmp_path, configured=None)


def test_keys_are_those_of_rfc_5869_and_differ_by_purpose() -> None:
    key = RootKey(SECRET.encode())
    independent = HKDF(SHA256(), 32, salt=b"astrolabe root key 1", info=b"signed-link")
    assert key.derive("signed-link") == independent.derive(SECRET.encode())
    assert key.derive("signed-link") != key.derive("login")


def test_what_was_sealed_comes_back_and_cannot_be_read() -> None:
    key = RootKey(SECRET.encode())
    sealed = key.seal("login", {"nonce": "n-1234567890"}, seconds=60)
    assert "n-1234567890" not in sealed
    assert key.unseal("login", sealed) == {"nonce": "n-1234567890"}


def test_another_purpose_key_or_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    key = RootKey(SECRET.encode())
    sealed = key.seal("login", {"a": 1}, seconds=60)
    head, *rest = sealed.split(".")
    changed = ".".join([head, *rest[:-1], rest[-1][::-1]])
    for purpose, text in (("consent", sealed), ("login", changed), ("login", ""), ("login", "x.y")):
        with pytest.raises(SealError):
            key.unseal(purpose, text)
    with pytest.raises(SealError):
        RootKey(b"x" * 32).unseal("login", sealed)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    with pytest.raises(SealError, match="too old"):
        key.unseal("login", sealed)
