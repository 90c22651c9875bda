"""Names, numbers and scopes."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from astrolabe.config import load_settings
from astrolabe.core.errors import BadParameterError, ConflictError
from astrolabe.core.logging import redact_secrets
from astrolabe.identity.login_links import login_link_address
from astrolabe.identity.names import RESERVED_NAMES, check_name, is_name
from astrolabe.identity.scopes import ADMIN_GROUP, SCOPES, ScopePolicy
from astrolabe.identity.users import OWNER

from .conftest import StartProcess
from .people import People


def test_many_who_take_names_at_once_get_different_numbers(people: People) -> None:
    lost: list[str] = []

    def make(number: int) -> None:
        try:
            # Each name is wanted by two.
            people.user(f"user{number // 2}")
        except ConflictError:
            lost.append(f"user{number // 2}")

    threads = [threading.Thread(target=make, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(lost) == ["user0", "user1", "user2", "user3"]
    users = people.users.page().users
    assert len(users) == 5
    assert sorted(user.uid for user in users) == [5000, 5002, 5003, 5004, 5005]


def test_many_first_starts_at_once_make_one_owner(start_process: StartProcess) -> None:
    people = start_process()
    made: list[bool] = []
    threads = [
        threading.Thread(target=lambda: made.append(people.users.ensure_owner())) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False, False, False, True]
    assert [user.username for user in people.users.page().users] == ["owner"]


@pytest.mark.parametrize("name", ["ab", "ada", "a1_", "x" * 31])
def test_what_may_be_a_name(name: str) -> None:
    assert check_name(name) == name


def test_every_reserved_name_is_one_that_could_be_asked_for() -> None:
    assert all(is_name(name) for name in RESERVED_NAMES)
    assert {OWNER, ADMIN_GROUP, "operator", "platform", "anonymous"} <= RESERVED_NAMES


def test_groups_add_up() -> None:
    policy = ScopePolicy(
        user_scopes=["read:tap"], group_scopes={"brokers": ["write:alert"], "desk": ["admin:user"]}
    )
    assert policy.allowed(()) == {"read:tap"}
    assert policy.allowed(["brokers", "desk", "others"]) == {
        "read:tap",
        "write:alert",
        "admin:user",
    }
    assert policy.allowed([ADMIN_GROUP]) == SCOPES.keys()
    assert policy.given_by("others") == frozenset()
    assert policy.groups == {"brokers", "desk", ADMIN_GROUP}


def test_no_setting_takes_scopes_from_administrators() -> None:
    policy = ScopePolicy(user_scopes=[], group_scopes={ADMIN_GROUP: ["read:tap"]})
    assert policy.given_by(ADMIN_GROUP) == SCOPES.keys()


def test_users_administer_nothing_by_default(tmp_path: Path) -> None:
    auth = load_settings(home=tmp_path, config_file=None, overrides={}).auth
    assert "read:tap" in auth.user_scopes
    assert not {"admin:user", "admin:platform", "write:alert"} & set(auth.user_scopes)


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        ({"user_scopes": ("read:all",)}, "no scope read:all"),
        ({"group_scopes": {"desk": ("admin:all",)}}, "no scope admin:all"),
        ({"first_number": 5000, "last_number": 4000}, "last_number"),
        ({"first_number": 0}, "greater than or equal to 1000"),
        ({"cache_seconds": 4}, "less than or equal to 3"),
    ],
)
def test_what_the_settings_refuse(tmp_path: Path, auth: dict[str, object], message: str) -> None:
    with pytest.raises(BadParameterError, match=message):
        load_settings(home=tmp_path, config_file=None, overrides={"auth": auth})


def test_a_login_link_is_redacted_wherever_it_is_logged() -> None:
    link = login_link_address("https://sky.example.org/", "Abc-_123")
    assert link == "https://sky.example.org/auth/link#Abc-_123"
    said = redact_secrets(None, "info", {"event": f"opened {link} twice"})
    assert said["event"] == "opened https://sky.example.org/auth/link#[redacted] twice"
