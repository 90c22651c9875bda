"""Quotas: whose value counts, and that no number of processes exceeds one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import BadParameterError, QuotaExceededError
from astrolabe.identity import ANONYMOUS, Principal
from astrolabe.identity.audit import AuditLog
from astrolabe.identity.authority import OPERATOR
from astrolabe.identity.limits import (
    BYTES,
    QUERIES,
    REQUESTS,
    QuotaRule,
    QuotaTable,
    SubjectKind,
)
from astrolabe.identity.policy_schema import QUOTA_METER, QUOTA_SLOT
from astrolabe.identity.quotas import Quotas

ADA = Principal(username="ada", groups=frozenset({"team"}))
PORTAL = Principal(username="ada", groups=frozenset({"team"}), kind="session")
BOB = Principal(username="bob")

Make = Callable[..., Quotas]


class Clock:
    """Seconds since 1970 that a test sets forward."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(database: Database, clock: Clock) -> Iterator[Make]:
    """Make the quotas of one process, any number of times, on one database."""
    with ExitStack() as stack:

        def start(**changes: Any) -> Quotas:
            given: dict[str, Any] = {"check_seconds": 0.0, "clock": clock, "wait_seconds": 0.2}
            quotas = Quotas(database, audit=AuditLog(database), **(given | changes))
            stack.callback(quotas.close)
            return quotas

        yield start


def admitted(quotas: Quotas, principal: Principal, count: int, **more: Any) -> int:
    """Send so many requests; return how many were admitted."""
    done = 0
    for _ in range(count):
        try:
            if not quotas.admits(principal, "tap", **more):
                quotas.check_request(principal, "tap", **more)
        except QuotaExceededError:
            continue
        done += 1
    return done


# --- whose value counts -------------------------------------------------------------------------


def rule(kind: str, subject: str, quota: str, value: float | None, **more: Any) -> QuotaRule:
    return QuotaRule(kind=SubjectKind(kind), subject=subject, quota=quota, value=value, **more)


def value_of(*rules: QuotaRule, quota: str = QUERIES, principal: Principal = ADA) -> float | None:
    table = QuotaTable(
        rules, defaults={QUERIES: 4.0, REQUESTS: 60.0}, anonymous={QUERIES: 1.0}, now=utc_now()
    )
    assert principal.username is not None
    return table.of_user(principal.username, principal.groups).get(quota)


def test_the_largest_of_default_and_groups_counts() -> None:
    assert value_of() == 4
    assert value_of(rule("group", "team", QUERIES, 20)) == 20
    assert value_of(rule("group", "team", QUERIES, 2)) == 4
    assert value_of(rule("group", "team", QUERIES, None)) is None
    assert value_of(rule("group", "others", QUERIES, 20)) == 4


def test_a_users_own_value_takes_their_place_and_an_override_that_of_all() -> None:
    group, own = rule("group", "team", QUERIES, 20), rule("user", "ada", QUERIES, 1)
    assert value_of(group, own) == 1
    everybody = rule("override", "", QUERIES, 0)
    assert value_of(group, own, everybody) == 0
    assert value_of(group, own, everybody, rule("override", "ada", QUERIES, 9)) == 9


def test_a_default_in_the_database_takes_the_place_of_the_settings() -> None:
    assert value_of(rule("default", "", QUERIES, 1)) == 1
    assert value_of(rule("default", "", QUERIES, None)) is None


def test_a_rule_that_has_ended_does_not_count() -> None:
    ended = utc_now() - timedelta(seconds=1)
    assert value_of(rule("override", "", QUERIES, 0, ends=ended)) == 4


def test_a_service_may_have_a_value_of_its_own() -> None:
    table = QuotaTable(
        [
            rule("default", "", f"{REQUESTS}.scs", 600),
            rule("group", "team", REQUESTS, 100),
            rule("user", "bob", REQUESTS, 7),
        ],
        defaults={REQUESTS: 60.0},
        anonymous={REQUESTS: 5.0},
        now=utc_now(),
    )
    ada, bob = table.of_user("ada", ADA.groups), table.of_user("bob", frozenset())
    assert (ada.requests("tap"), ada.requests("scs")) == (100, 600)
    # What is said of a user for all services also holds for those with a default of their own.
    assert (bob.requests("tap"), bob.requests("scs")) == (7, 7)
    assert table.anonymous.requests("tap") == 5


def test_a_rule_is_live_in_every_process_and_ends_by_itself(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = make(), make()
    assert there.limits(ADA).get(QUERIES) is None
    end = utc_now() + timedelta(hours=1)
    here.set_rule(rule("override", "", QUERIES, 0, ends=end), by=OPERATOR)
    assert there.limits(ADA).get(QUERIES) == 0
    monkeypatch.setattr("astrolabe.identity.quotas.utc_now", lambda: end)
    assert there.limits(ADA).get(QUERIES) is None


@pytest.mark.parametrize(
    "wrong",
    [
        rule("user", "ada", "bananas", 1),
        rule("user", "ada", "requests_per_minute.", 1),
        rule("user", "ada", QUERIES, -1),
        rule("user", "ada", QUERIES, float("nan")),
        rule("user", "", QUERIES, 1),
        rule("default", "ada", QUERIES, 1),
        rule("group", "", QUERIES, 1),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(make: Make, wrong: QuotaRule) -> None:
    quotas = make()
    with pytest.raises(BadParameterError):
        quotas.set_rule(wrong, by=OPERATOR)
    assert quotas.rules() == ()


def test_rules_are_replaced_listed_removed_and_in_the_audit_log(
    database: Database, make: Make
) -> None:
    quotas = make()
    quotas.set_rule(rule("user", "ada", QUERIES, 3), by=OPERATOR)
    quotas.set_rule(rule("user", "ada", QUERIES, 5), by=OPERATOR)
    assert [(r.subject, r.quota, r.value) for r in quotas.rules()] == [("ada", QUERIES, 5.0)]
    assert quotas.remove_rule(SubjectKind.USER, "ada", QUERIES, by=OPERATOR)
    assert not quotas.remove_rule(SubjectKind.USER, "ada", QUERIES, by=OPERATOR)
    assert quotas.rules() == ()
    actions = [entry.action for entry in AuditLog(database).page(action="quota.").entries]
    assert actions == ["quota.remove", "quota.set", "quota.set"]


# --- requests -----------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 7, 100, 400])
def test_the_limit_of_requests_is_exact_in_one_process(make: Make, limit: int) -> None:
    quotas = make(defaults={REQUESTS: float(limit)})
    assert admitted(quotas, ADA, limit + 50) == limit
    assert admitted(quotas, BOB, 1) == 1


def test_requests_are_free_again_after_a_minute_and_not_before(make: Make, clock: Clock) -> None:
    quotas = make(defaults={REQUESTS: 10.0})
    assert admitted(quotas, ADA, 10) == 10
    with pytest.raises(QuotaExceededError) as caught:
        quotas.check_request(ADA, "tap")
    wait = caught.value.retry_after_seconds
    assert wait is not None
    assert 59 < wait <= 61
    quotas.close()
    clock.now += wait - 0.1
    assert admitted(make(defaults={REQUESTS: 10.0}), ADA, 10) == 0
    clock.now += 0.2
    assert admitted(make(defaults={REQUESTS: 10.0}), ADA, 20) == 10


def test_many_processes_and_threads_together_stay_within_the_limit(make: Make) -> None:
    limit = 200
    processes = [make(defaults={REQUESTS: float(limit)}) for _ in range(3)]
    with ThreadPoolExecutor(12) as pool:
        counts = list(pool.map(lambda n: admitted(processes[n % 3], ADA, 60), range(12)))
    # Three processes may hold a block each (a fortieth) that they did not come to use.
    assert limit - 3 * (limit // 40) <= sum(counts) <= limit


def test_what_a_process_leased_and_did_not_use_is_handed_back(make: Make) -> None:
    first, second = make(defaults={REQUESTS: 80.0}), make(defaults={REQUESTS: 80.0})
    assert admitted(first, ADA, 1) == 1
    first.close()
    assert admitted(second, ADA, 100) == 79


def test_leases_are_handed_back_while_the_process_lives(database: Database, make: Make) -> None:
    quotas = make(defaults={REQUESTS: 80.0})
    assert admitted(quotas, ADA, 1) == 1

    def written() -> str:
        with database.read() as connection:
            return str(connection.execute(select(QUOTA_METER.c.counts)).scalar_one())

    give_up = time.monotonic() + 8
    while '": 1}' not in written():
        assert time.monotonic() < give_up, written()
        time.sleep(0.05)


def test_the_portal_has_a_share_of_its_own_beside_the_users_programs(make: Make) -> None:
    quotas = make(defaults={REQUESTS: 5.0, QUERIES: 1.0, "interactive_queries": 1.0})
    assert admitted(quotas, ADA, 9) == 5
    assert admitted(quotas, PORTAL, 9) == 5
    assert quotas.try_slot(ADA) is not None
    assert quotas.try_slot(ADA) is None
    assert quotas.try_slot(PORTAL) is not None
    assert quotas.try_slot(PORTAL) is None


def test_services_are_counted_apart(make: Make) -> None:
    quotas = make(defaults={REQUESTS: 1.0})
    quotas.check_request(ADA, "tap")
    quotas.check_request(ADA, "scs")
    with pytest.raises(QuotaExceededError):
        quotas.check_request(ADA, "scs")


def test_zero_blocks_and_says_so(make: Make) -> None:
    quotas = make(defaults={REQUESTS: 0.0, QUERIES: 0.0, BYTES: 0.0, "rows": 0.0})
    for call in (
        lambda: quotas.check_request(ADA, "tap"),
        lambda: quotas.try_slot(ADA),
        lambda: quotas.charge_bytes(ADA, 1),
        lambda: quotas.max_rows(ADA),
    ):
        with pytest.raises(QuotaExceededError, match="blocked"):
            call()


def test_anonymous_callers_are_counted_by_their_address(make: Make) -> None:
    quotas = make(defaults={REQUESTS: 100.0}, anonymous={REQUESTS: 3.0})
    assert admitted(quotas, ANONYMOUS, 9, address="192.0.2.1") == 3
    assert admitted(quotas, ANONYMOUS, 9, address="192.0.2.2") == 3
    # One customer has a whole network of IPv6 addresses.
    assert admitted(quotas, ANONYMOUS, 2, address="2001:db8::1") == 2
    assert admitted(quotas, ANONYMOUS, 2, address="2001:db8::ffff:2") == 1
    assert admitted(quotas, ANONYMOUS, 2, address="::ffff:192.0.2.1") == 0


def test_without_a_limit_nothing_is_written(database: Database, make: Make) -> None:
    quotas = make()
    assert admitted(quotas, ANONYMOUS, 50, address="192.0.2.1") == 50
    with quotas.slot(ANONYMOUS, address="192.0.2.1"):
        quotas.charge_bytes(ANONYMOUS, 10**9, address="192.0.2.1")
    quotas.close()
    with database.read() as connection:
        for table in (QUOTA_METER, QUOTA_SLOT):
            assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 0


# --- queries at once ----------------------------------------------------------------------------


def test_concurrency_is_never_exceeded_by_any_number_of_processes(make: Make) -> None:
    limit = 5
    running, seen = [0], [0]
    processes = [make(defaults={QUERIES: float(limit)}, wait_seconds=30.0) for _ in range(3)]
    lock = threading.Lock()

    def query(number: int) -> None:
        with processes[number % 3].slot(ADA):
            with lock:
                running[0] += 1
                seen.append(running[0])
            time.sleep(0.005)
            with lock:
                running[0] -= 1

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(query, range(60)))
    assert 1 < max(seen) <= limit
    assert running == [0]


def test_a_query_over_the_limit_waits_a_while_and_is_then_refused(make: Make) -> None:
    quotas = make(defaults={QUERIES: 1.0})
    with quotas.slot(ADA):
        with pytest.raises(QuotaExceededError) as caught, quotas.slot(ADA):
            pass
        with quotas.slot(BOB):
            pass
    assert caught.value.retry_after_seconds is not None
    with quotas.slot(ADA):
        pass


def test_a_slot_is_given_back_once(make: Make) -> None:
    quotas = make(defaults={QUERIES: 2.0})
    one, two = quotas.try_slot(ADA), quotas.try_slot(ADA)
    assert one is not None
    assert two is not None
    one.release()
    one.release()
    assert quotas.try_slot(ADA) is not None
    assert quotas.try_slot(ADA) is None


def test_another_process_gets_a_slot_at_once_that_is_not_kept(make: Make) -> None:
    here, there = make(defaults={QUERIES: 1.0}), make(defaults={QUERIES: 1.0})
    slot = here.try_slot(ADA, keep=False)
    assert slot is not None
    assert there.try_slot(ADA) is None
    slot.release()
    time.sleep(0.15)
    assert there.try_slot(ADA) is not None


def test_what_a_dead_process_held_is_free_after_its_lease(make: Make, clock: Clock) -> None:
    dead, alive = make(defaults={QUERIES: 1.0}), make(defaults={QUERIES: 1.0})
    assert dead.try_slot(ADA) is not None
    assert alive.try_slot(ADA) is None
    time.sleep(0.15)
    clock.now += 16
    assert alive.try_slot(ADA) is not None


def test_a_lower_limit_counts_what_runs_already(make: Make) -> None:
    quotas = make(defaults={QUERIES: 3.0})
    slots = [quotas.try_slot(ADA) for _ in range(3)]
    quotas.set_rule(rule("user", "ada", QUERIES, 2), by=OPERATOR)
    for slot in slots[:2]:
        assert slot is not None
        slot.release()
    assert quotas.try_slot(ADA) is not None
    assert quotas.try_slot(ADA) is None


# --- bytes, rows, storage -----------------------------------------------------------------------


def test_bytes_of_a_day_are_never_exceeded_and_are_new_on_the_next(
    make: Make, clock: Clock
) -> None:
    quotas = make(defaults={BYTES: 1000.0})
    quotas.charge_bytes(ADA, 600)
    with pytest.raises(QuotaExceededError, match="600 of the 1,000") as caught:
        quotas.charge_bytes(ADA, 500)
    quotas.charge_bytes(ADA, 400)
    wait = caught.value.retry_after_seconds
    assert wait is not None
    clock.now += wait
    time.sleep(1.0)  # a refusal is remembered for so long
    quotas.charge_bytes(ADA, 1000)


def test_bytes_of_many_processes_are_counted_together(make: Make) -> None:
    processes = [make(defaults={BYTES: 10_000.0}) for _ in range(2)]
    charged = 0
    for number in range(400):
        try:
            processes[number % 2].charge_bytes(ADA, 70)
        except QuotaExceededError:
            continue
        charged += 70
    assert 10_000 - 2 * 250 - 70 <= charged <= 10_000


def test_bytes_without_a_limit_are_shown_too(make: Make) -> None:
    quotas = make()
    quotas.charge_bytes(ADA, 123)
    (use,) = [u for u in quotas.usage(ADA) if u.quota == BYTES]
    assert (use.limit, use.used) == (None, 123)


def test_storage_is_never_exceeded(make: Make) -> None:
    quotas = make(defaults={"storage_bytes": 100.0})

    def keep(_number: int) -> bool:
        try:
            quotas.charge_storage(ADA, 30)
        except QuotaExceededError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(keep, range(8))) == 3
    quotas.charge_storage(ADA, -30)
    assert keep(0)


def test_usage_shows_limits_and_what_is_used(make: Make) -> None:
    quotas = make(defaults={REQUESTS: 10.0, QUERIES: 2.0, "rows": 5.0, "lab_cpus": 4.0})
    assert admitted(quotas, ADA, 3) == 3
    slot = quotas.try_slot(ADA)
    uses = {u.quota: (u.limit, u.used) for u in quotas.usage(ADA, services=("tap",))}
    expected = {
        "requests_per_minute.tap": (10, 3),
        "requests_per_minute.tap:portal": (10, 0),
        QUERIES: (2, 1),
        "rows": (5, None),
        "lab_cpus": (4, None),
    }
    assert {quota: uses[quota] for quota in expected} == expected
    assert slot is not None
    slot.release()
    assert {u.quota: u.used for u in quotas.usage(ADA)}[QUERIES] == 0


def test_rows_without_a_quota_have_no_limit(make: Make) -> None:
    assert make().max_rows(ADA) is None
    assert make(defaults={"rows": 7.0}).max_rows(ADA) == 7
