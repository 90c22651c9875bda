"""From a token to a principal, in every process, cheaply."""

from __future__ import annotations

import hmac
import statistics
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event

from astrolabe.core.errors import UnauthenticatedError
from astrolabe.core.logging import configure_logging
from astrolabe.identity import authenticator as module
from astrolabe.identity.authority import OPERATOR
from astrolabe.identity.token_text import TokenText

from .conftest import StartProcess
from .people import PASSWORD, People


class Clock:
    """Seconds that pass when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def other(people: People, start_process: StartProcess, clock: Clock) -> People:
    """Another process on the same database."""
    assert people is not None
    return start_process(clock=clock)


@pytest.fixture
def statements(people: People) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    event.listen(people.database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(people.database.engine, "before_cursor_execute", note)


def _refused(people: People, token: str) -> bool:
    try:
        people.authenticator.authenticate(token, address=None)
    except UnauthenticatedError:
        return True
    return False


def test_a_session_names_its_user_groups_and_number(people: People) -> None:
    people.user("bob")
    people.groups.create("stars", by=OPERATOR, owner="bob")
    principal = people.session("bob")
    assert principal.username == "bob"
    assert principal.groups == {"stars"}
    assert principal.kind == "session"
    assert principal.uid == people.users.get("bob").uid
    assert principal.authenticated is not None


@pytest.mark.parametrize(
    "text",
    # The last one has the form of a token; a new one would give the test another name each time.
    ["", "al-", "Bearer x", PASSWORD, "al-" + "a" * 22, "al-" + "a" * 22 + "." + "b" * 22],
)
def test_what_is_no_token_of_ours_is_refused(people: People, text: str) -> None:
    assert _refused(people, text)


def test_the_key_with_another_secret_is_refused_also_from_the_cache(people: People) -> None:
    token = people.session_token("owner")
    wrong = token.partition(".")[0] + "." + TokenText.new().secret
    assert _refused(people, wrong)
    assert not _refused(people, token)
    assert _refused(people, wrong)
    with pytest.raises(UnauthenticatedError):
        people.authenticator.cached(wrong, address=None)


def test_secrets_are_compared_in_constant_time(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []

    def compare(one: str, other: str) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(module, "same_hash", compare)
    token = people.session_token("owner")
    people.authenticator.authenticate(token, address=None)
    people.authenticator.authenticate(token, address=None)
    assert len(compared) == 2
    assert all(len(one) == len(other) == 64 for one, other in compared)


def test_a_token_seen_before_costs_no_statement(people: People, statements: list[str]) -> None:
    token = people.session_token("owner")
    people.authenticator.authenticate(token, address=None)
    statements.clear()
    for _ in range(50):
        people.authenticator.authenticate(token, address="192.0.2.7")
        assert people.authenticator.cached(token, address="192.0.2.7") is not None
    assert statements == []


def test_an_authenticated_request_costs_less_than_a_millisecond(people: People) -> None:
    token = people.session_token("owner")
    people.authenticator.authenticate(token, address=None)
    spent = []
    for _ in range(300):
        begun = time.thread_time()
        people.authenticator.authenticate(token, address=None)
        spent.append(time.thread_time() - begun)
    # The processor's time of this thread: what else the machine does is not in it.
    assert statistics.median(spent) < 0.001


def test_what_is_not_in_the_cache_is_not_answered_from_it(people: People) -> None:
    token = people.session_token("owner")
    assert people.authenticator.cached(token, address=None) is None
    assert people.authenticator.cached("nonsense", address=None) is None
    people.authenticator.authenticate(token, address=None)
    found = people.authenticator.cached(token, address=None)
    assert found is not None
    assert found.username == "owner"


def test_a_revocation_counts_here_at_once_and_elsewhere_within_the_cache_time(
    people: People, other: People, clock: Clock
) -> None:
    token = people.session_token("owner")
    key = token[3:25]
    assert not _refused(people, token)
    assert not _refused(other, token)
    people.tokens.revoke(key, by=OPERATOR)
    assert _refused(people, token)
    assert not people.authenticator.is_alive(key)
    clock.now += 1.9
    assert not _refused(other, token)
    clock.now += 0.2
    assert _refused(other, token)
    assert not other.authenticator.is_alive(key)


def test_a_disabled_account_is_refused_in_every_process(
    people: People, other: People, clock: Clock
) -> None:
    people.user("bob")
    token = people.session_token("bob")
    assert not _refused(other, token)
    people.users.disable("bob", by=OPERATOR)
    assert _refused(people, token)
    clock.now += 2.1
    assert _refused(other, token)
    people.users.enable("bob", by=OPERATOR)
    assert _refused(people, token)


def test_who_leaves_a_group_loses_its_scopes_with_the_same_token(
    people: People, other: People, clock: Clock
) -> None:
    people.user("bob", "admins")
    token = people.session_token("bob")
    assert "admin:user" in other.authenticator.authenticate(token, address=None).scopes
    people.groups.remove("admins", "bob", by=OPERATOR)
    assert "admin:user" not in people.authenticator.authenticate(token, address=None).scopes
    clock.now += 2.1
    assert "admin:user" not in other.authenticator.authenticate(token, address=None).scopes


def test_a_new_group_widens_a_session_only_as_far_as_it_was_made(people: People) -> None:
    people.user("bob")
    token = people.session_token("bob")
    people.groups.add("admins", "bob", by=OPERATOR)
    principal = people.authenticator.authenticate(token, address=None)
    assert principal.groups == {"admins"}
    assert "admin:user" not in principal.scopes


def test_expiry_counts_within_the_cache_time_too(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = people.session_token("owner")
    people.authenticator.authenticate(token, address=None)
    expires = people.tokens.get(token[3:25]).expires
    monkeypatch.setattr(module, "utc_now", lambda: expires)
    assert _refused(people, token)
    assert not people.authenticator.is_alive(token[3:25])
    assert people.authenticator.principal_of(token[3:25]) is None


def test_a_revocation_during_a_read_is_not_undone_by_it(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = people.session_token("owner")
    load = people.authenticator._load
    reading, revoked = threading.Event(), threading.Event()

    def slow(key: str, stale_at: float) -> Any:
        entry = load(key, stale_at)
        reading.set()
        assert revoked.wait(5)
        return entry

    monkeypatch.setattr(people.authenticator, "_load", slow)
    thread = threading.Thread(target=_refused, args=(people, token))
    thread.start()
    assert reading.wait(5)
    monkeypatch.setattr(people.authenticator, "_load", load)
    people.tokens.revoke(token[3:25], by=OPERATOR)
    revoked.set()
    thread.join()
    assert _refused(people, token)


def test_uses_and_a_revocation_at_once_end_refused(people: People) -> None:
    token = people.session_token("owner")
    done = threading.Event()
    late: list[bool] = []

    def use() -> None:
        while not done.is_set():
            _refused(people, token)
        late.append(_refused(people, token))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    people.tokens.revoke(token[3:25], by=OPERATOR)
    done.set()
    for thread in threads:
        thread.join()
    assert late == [True] * 4


def test_last_uses_are_written_in_batches(people: People, statements: list[str]) -> None:
    tokens = [people.session_token("owner") for _ in range(5)]
    for token in tokens:
        people.authenticator.authenticate(token, address="192.0.2.7")
    statements.clear()
    for token in tokens * 10:
        people.authenticator.authenticate(token, address="192.0.2.7")
    assert statements == []
    people.authenticator.flush()
    for token in tokens:
        info = people.tokens.get(token[3:25])
        assert info.last_address == "192.0.2.7"
        assert info.last_used is not None
        assert info.last_used >= info.created
    statements.clear()
    people.authenticator.flush()
    assert statements == []


def test_an_older_use_of_another_process_does_not_win(people: People, other: People) -> None:
    token = people.session_token("owner")
    people.authenticator.authenticate(token, address="192.0.2.1")
    other.authenticator.authenticate(token, address="192.0.2.2")
    other.authenticator.flush()
    people.authenticator.flush()
    assert people.tokens.get(token[3:25]).last_address == "192.0.2.2"


def test_the_end_of_a_process_writes_what_is_left(
    people: People, start_process: StartProcess
) -> None:
    token = people.session_token("owner")
    ending = start_process()
    ending.authenticator.authenticate(token, address="192.0.2.3")
    ending.authenticator.close()
    assert people.tokens.get(token[3:25]).last_address == "192.0.2.3"


def test_liveness_is_no_use(people: People) -> None:
    token = people.session_token("owner")
    assert people.authenticator.is_alive(token[3:25])
    assert not people.authenticator.is_alive("x" * 22)
    assert not people.authenticator.is_alive("../../etc")
    people.authenticator.flush()
    assert people.tokens.get(token[3:25]).last_used is None


def test_nothing_secret_is_logged(people: People, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("debug", "json")
    people.user("bob", password=PASSWORD)
    with pytest.raises(UnauthenticatedError):
        people.users.login("bob", "not the password", address="192.0.2.1")
    with pytest.raises(UnauthenticatedError):
        people.users.login(PASSWORD, "bob", address="192.0.2.2")
    people.users.login("bob", PASSWORD, address="192.0.2.1")
    token = people.session_token("bob")
    people.authenticator.authenticate(token, address=None)
    link = people.users.create_login_link("bob", by=OPERATOR)
    people.users.redeem_login_link(link, address=None)
    said = capsys.readouterr().err
    assert "login refused" in said
    for secret in (PASSWORD, "not the password", token.partition(".")[2], link):
        assert secret not in said
