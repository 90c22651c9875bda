"""Who guesses passwords has to wait, whatever he tries."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import QuotaExceededError, UnauthenticatedError
from astrolabe.identity import throttle as module
from astrolabe.identity.schema import LOGIN_ATTEMPT
from astrolabe.identity.throttle import LoginThrottle

from .conftest import StartProcess
from .people import PASSWORD, People

A, B = "192.0.2.1", "192.0.2.2"


class Time:
    """The time of day, which passes when a test says so."""

    def __init__(self) -> None:
        self.now = utc_now()

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    clock = Time()
    monkeypatch.setattr(module, "utc_now", clock)
    return clock


@pytest.fixture
def throttle(database: Database) -> LoginThrottle:
    return LoginThrottle(database, account_attempts=3, address_attempts=6)


def _wait_of(throttle: LoginThrottle, account: str, address: str | None) -> float:
    with pytest.raises(QuotaExceededError) as refused:
        throttle.begin(account, address)
    assert refused.value.retry_after_seconds is not None
    return refused.value.retry_after_seconds


def test_each_failure_doubles_the_wait_up_to_a_minute(throttle: LoginThrottle, time: Time) -> None:
    for _ in range(3):
        throttle.begin("bob", None)
    waits = []
    for _ in range(9):
        throttle.begin("bob", None)
        waits.append(_wait_of(throttle, "bob", None))
        time.wait(waits[-1])
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_attempts_while_waiting_do_not_lengthen_the_wait(
    throttle: LoginThrottle, time: Time
) -> None:
    for _ in range(6):
        throttle.begin("bob", None)
        time.wait(60)
    throttle.begin("bob", None)
    assert [_wait_of(throttle, "bob", None) for _ in range(5)] == [8] * 5


def test_an_address_waits_whatever_the_account(throttle: LoginThrottle, time: Time) -> None:
    for number in range(7):
        throttle.begin(f"user{number}", A)
    assert _wait_of(throttle, "another", A) == 1
    throttle.begin("another", B)
    for _ in range(30):
        time.wait(900)
        throttle.begin("other", A)
    assert _wait_of(throttle, "third", A) == 900


def test_an_account_waits_whatever_the_address(throttle: LoginThrottle, time: Time) -> None:
    del time
    for number in range(4):
        throttle.begin("bob", f"192.0.2.{number}")
    assert _wait_of(throttle, "bob", "198.51.100.1") == 1
    throttle.begin("carl", "198.51.100.1")


def test_an_ipv6_network_is_one_address(throttle: LoginThrottle, time: Time) -> None:
    del time
    for number in range(7):
        throttle.begin(f"user{number}", f"2001:db8::{number + 1:x}")
    assert _wait_of(throttle, "another", "2001:db8::ffff:1") == 1
    throttle.begin("another", "2001:db8:0:1::1")
    with throttle._database.read() as connection:
        subjects = set(connection.execute(select(LOGIN_ATTEMPT.c.subject)).scalars())
    assert "address:2001:db8::/64" in subjects


def test_a_success_frees_the_account_but_not_the_address(
    throttle: LoginThrottle, time: Time
) -> None:
    del time
    for number in range(5):
        throttle.begin(f"user{number}", A)
    throttle.begin("mallory", A)
    throttle.succeeded("mallory", A)
    throttle.begin("user6", A)
    throttle.begin("user7", A)
    assert _wait_of(throttle, "user8", A) == 1


def test_half_an_hour_forgets_all(throttle: LoginThrottle, time: Time) -> None:
    for _ in range(4):
        throttle.begin("bob", A)
    time.wait(1801)
    for _ in range(3):
        throttle.begin("bob", A)
    time.wait(1801)
    assert throttle.forget_old() == 2
    assert throttle.forget_old() == 0


def test_many_guesses_at_once_are_counted_each(database: Database) -> None:
    throttle = LoginThrottle(database, account_attempts=3, address_attempts=1000)
    passed: list[int] = []

    def guess(number: int) -> None:
        try:
            throttle.begin("bob", A)
            passed.append(number)
        except QuotaExceededError:
            pass

    threads = [threading.Thread(target=guess, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Three are free and the fourth begins the first wait of a second.
    assert 4 <= len(passed) <= 5


def test_all_processes_count_together(people: People, start_process: StartProcess) -> None:
    other = start_process()
    people.user("bob", password=PASSWORD)
    for process in (people, other, people, other):
        with pytest.raises(UnauthenticatedError):
            process.users.login("bob", "wrong password", address=A)
    for process in (people, other):
        with pytest.raises(QuotaExceededError) as refused:
            process.users.login("bob", PASSWORD, address=A)
        assert refused.value.status == 429


def test_the_right_password_ends_the_count(people: People) -> None:
    people.user("bob", password=PASSWORD)
    for _ in range(4):
        for _ in range(2):
            with pytest.raises(UnauthenticatedError):
                people.users.login("bob", "wrong password", address=None)
        people.users.login("bob", PASSWORD, address=None)
