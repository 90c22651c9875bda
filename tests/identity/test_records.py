"""The audit log, and what is done from time to time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import BadParameterError, OverloadError
from astrolabe.identity.authority import OPERATOR
from astrolabe.identity.model import AccountEnd
from astrolabe.identity.schema import (
    AUDIT,
    INVITATION,
    LOGIN_ATTEMPT,
    LOGIN_LINK,
    TOKEN,
    TOKEN_CHANGE,
)
from astrolabe.identity.upkeep import IdentityUpkeep
from astrolabe.jobs.model import JobParameter, Phase
from astrolabe.jobs.owners import JobOwners
from astrolabe.jobs.store import JobStore
from tests.jobs.support import make_service

from .people import People


def test_entries_are_found_by_who_what_whom_and_when(people: People) -> None:
    audit = people.audit
    begun = utc_now()
    audit.record("ada", "quota.set", "bob", {"rows": 5}, "192.0.2.1")
    audit.record("ada", "right.set", "dr1.object")
    audit.record("carl", "quota.set_default", "everybody")
    end = utc_now()
    audit.record("ada", "quota.set", "carl")
    assert [e.target for e in audit.page(actor="ada").entries] == ["carl", "dr1.object", "bob"]
    assert [e.target for e in audit.page(action="quota.set").entries] == ["carl", "bob"]
    assert len(audit.page(action="quota.").entries) == 3
    assert audit.page(action="quot%").entries == ()
    assert [e.action for e in audit.page(target="dr1.object").entries] == ["right.set"]
    between = audit.page(since=begun, until=end).entries
    assert [e.target for e in between] == ["everybody", "dr1.object", "bob"]
    assert between[-1].detail == {"rows": 5}
    assert between[-1].address == "192.0.2.1"


def test_pages_neither_repeat_nor_miss_while_lines_are_added(people: People) -> None:
    for number in range(5):
        people.audit.record("ada", "test", str(number))
    first = people.audit.page(action="test", limit=2)
    people.audit.record("ada", "test", "new")
    second = people.audit.page(action="test", limit=2, cursor=first.next_cursor)
    third = people.audit.page(action="test", limit=2, cursor=second.next_cursor)
    seen = [e.target for page in (first, second, third) for e in page.entries]
    assert seen == ["4", "3", "2", "1", "0"]
    assert third.next_cursor is None


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1e3", "9" * 30, "१"])
def test_a_cursor_is_a_number(people: People, cursor: str) -> None:
    with pytest.raises(BadParameterError, match="cursor"):
        people.audit.page(cursor=cursor)


def test_a_change_that_fails_leaves_no_line(people: People) -> None:
    before = len(people.audit.page().entries)

    def change_and_fail() -> None:
        with people.database.write() as connection:
            people.audit.record("ada", "test", "x", connection=connection)
            raise RuntimeError("the change failed")

    with pytest.raises(RuntimeError, match="the change failed"):
        change_and_fail()
    assert len(people.audit.page().entries) == before


class _Upkeep:
    def __init__(self, people: People) -> None:
        self.ends: list[AccountEnd] = []
        self.active: frozenset[str] = frozenset()
        self.broken = False
        self.upkeep = IdentityUpkeep(
            people.database,
            users=people.users,
            audit=people.audit,
            throttle=people.throttle,
            keep=timedelta(days=366),
            active_owners=self._owners,
            end_jobs=self.ends.append,
            every_seconds=0,
            forget_seconds=0,
        )

    def _owners(self) -> frozenset[str]:
        if self.broken:
            raise OverloadError("The control database is busy.")
        return self.active


def test_jobs_that_came_after_an_accounts_end_are_ended(people: People) -> None:
    kept = _Upkeep(people)
    people.user("bob")
    people.user("carl")
    kept.active = frozenset({"bob", "carl"})
    kept.upkeep.turn()
    assert kept.ends == []
    people.users.disable("bob", by=OPERATOR)
    kept.upkeep.turn()
    assert [end.username for end in kept.ends] == ["bob"]


def test_a_busy_database_does_not_end_a_worker(people: People) -> None:
    kept = _Upkeep(people)
    kept.broken = True
    kept.upkeep.turn()
    kept.broken = False
    people.users.disable(people.user("bob"), by=OPERATOR)
    kept.active = frozenset({"bob"})
    kept.upkeep.turn()
    assert len(kept.ends) == 1


def test_what_is_older_than_a_year_goes_and_the_rest_stays(people: People) -> None:
    people.user("bob")
    session = people.session("bob")
    child = people.tokens.create_child(session, kind="service", scopes=["read:tap"])
    kept_session = people.session("bob")
    people.tokens.create_child(kept_session, kind="service", scopes=["read:tap"])
    people.tokens.revoke(str(session.token_key), by=session)
    people.groups.create("stars", by=kept_session)
    people.groups.invite("stars", "owner", by=kept_session)
    people.users.create_login_link("bob", by=OPERATOR)
    people.throttle.begin("bob", "192.0.2.1")
    counts = _counts(people)
    _Upkeep(people).upkeep.turn()
    assert _counts(people) == counts
    long_ago = utc_now() - timedelta(days=367)
    with people.database.write() as connection:
        connection.execute(update(AUDIT).where(AUDIT.c.target == "bob").values(time=long_ago))
        connection.execute(
            update(TOKEN_CHANGE)
            .where(TOKEN_CHANGE.c.token_key == child.info.key)
            .values(time=long_ago)
        )
        connection.execute(
            update(TOKEN).where(TOKEN.c.revoked.is_not(None)).values(revoked=long_ago)
        )
        # Its child goes on: so does the row, which the child's refers to.
        connection.execute(
            update(TOKEN)
            .where(TOKEN.c.token_key == kept_session.token_key)
            .values(revoked=long_ago)
        )
        connection.execute(update(INVITATION).values(expires=long_ago))
        connection.execute(update(LOGIN_LINK).values(expires=long_ago))
        connection.execute(update(LOGIN_ATTEMPT).values(last_attempt=long_ago))
    _Upkeep(people).upkeep.turn()
    left = _counts(people)
    assert left["identity_token"] == counts["identity_token"] - 2
    assert left["identity_token_change"] == counts["identity_token_change"] - 2
    assert 0 < left["identity_audit"] < counts["identity_audit"]
    assert left["identity_invitation"] == 0
    assert left["identity_login_link"] == 0
    assert left["identity_login_attempt"] == 0


def _counts(people: People) -> dict[str, int]:
    tables = (AUDIT, TOKEN, TOKEN_CHANGE, INVITATION, LOGIN_LINK, LOGIN_ATTEMPT)
    with people.database.read() as connection:
        return {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in tables
        }


def test_the_jobs_of_an_account_that_ends_are_aborted_or_handed_over(people: People) -> None:
    store = JobStore(people.database)
    owners = JobOwners(store)
    jobs = make_service(store)
    try:
        first = jobs.create("work", [JobParameter("N", "1")], owner="bob", run=True)
        second = jobs.create("work", [], owner="carl", run=True)
        anonymous = jobs.create("work", [], owner=None, run=True)
        assert owners.active() == {"bob", "carl"}
        assert owners.abort("bob") == 1
        assert owners.abort("bob") == 0
        assert owners.hand_over("bob", "carl") == 1
        phases = store.phases([first.job_id, second.job_id, anonymous.job_id])
        assert phases[first.job_id] is Phase.ABORTED
        assert phases[second.job_id] is phases[anonymous.job_id] is Phase.QUEUED
        taken = store.get(first.job_id)
        assert taken is not None
        assert taken.owner == "carl"
    finally:
        jobs.close()
