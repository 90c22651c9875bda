"""Rights: what rules mean, how they are inherited, and that every process hears of a change."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import (
    BadParameterError,
    ForbiddenError,
    NotFoundError,
    UnauthenticatedError,
)
from astrolabe.identity import ANONYMOUS, Principal
from astrolabe.identity.access import Access, AccessRule, Resource
from astrolabe.identity.audit import AuditLog
from astrolabe.identity.authority import OPERATOR, PLATFORM
from astrolabe.identity.rights import Rights

ADA = Principal(username="ada", groups=frozenset({"team", "dr1_rights"}))
BOB = Principal(username="bob")
ADMIN = Principal(username="eve", scopes=frozenset({"admin:platform"}))

DR1 = Resource.of_schema("dr1")
OBJECT = Resource.of_table("dr1", "Object")


def make(database: Database, **changes: Any) -> Rights:
    given: dict[str, Any] = {"audit": AuditLog(database), "check_seconds": 0.0}
    return Rights(database, **(given | changes))


@pytest.fixture
def rights(database: Database) -> Rights:
    return make(database)


def readers(rights: Rights, resource: Resource) -> set[str]:
    callers = {"nobody": ANONYMOUS, "ada": ADA, "bob": BOB, "eve": ADMIN}
    return {name for name, caller in callers.items() if rights.may(caller, "read", resource)}


EVERYBODY = {"nobody", "ada", "bob", "eve"}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (AccessRule(access=Access.PUBLIC), EVERYBODY),
        (AccessRule(access=Access.USERS), {"ada", "bob", "eve"}),
        (AccessRule(access=Access.GROUP, group="team"), {"ada"}),
        (AccessRule(access=Access.GROUP, group="team", owner="bob"), {"ada", "bob"}),
        (AccessRule(access=Access.PRIVATE, owner="bob"), {"bob"}),
        (AccessRule(access=Access.PRIVATE), set()),
    ],
)
def test_who_may_read_by_each_rule(rights: Rights, rule: AccessRule, expected: set[str]) -> None:
    rights.set_rule(OBJECT, rule, by=OPERATOR)
    assert readers(rights, OBJECT) == expected


def test_what_has_no_rule_has_the_default(database: Database) -> None:
    assert readers(make(database), OBJECT) == EVERYBODY
    assert readers(make(database, default_access="users"), OBJECT) == {"ada", "bob", "eve"}
    assert readers(make(database, default_access="private"), OBJECT) == set()


def test_a_group_may_be_what_gives_data_rights(database: Database) -> None:
    rights = make(database, default_access="users", data_rights_group="dr1_rights")
    assert readers(rights, OBJECT) == {"ada"}


def test_a_table_inherits_from_its_schema_and_that_from_the_release(rights: Rights) -> None:
    released = Resource.of_table("dr1", "object", release="dr1")
    rights.set_rule(Resource.of_release("dr1"), AccessRule(access=Access.USERS), by=OPERATOR)
    assert readers(rights, released) == {"ada", "bob", "eve"}
    assert readers(rights, OBJECT) == EVERYBODY
    rights.set_rule(DR1, AccessRule(access=Access.GROUP, group="team"), by=OPERATOR)
    assert readers(rights, released) == {"ada"}
    rights.set_rule(OBJECT, AccessRule(access=Access.PUBLIC), by=OPERATOR)
    assert readers(rights, released) == EVERYBODY
    rights.remove_rule(OBJECT, by=OPERATOR)
    assert readers(rights, released) == {"ada"}


def test_names_of_tables_are_found_in_any_case(rights: Rights) -> None:
    rights.set_rule(
        Resource.parse("table", "DR1.OBJECT"), AccessRule(access=Access.PRIVATE), by=OPERATOR
    )
    assert readers(rights, Resource.of_table("dr1", "object")) == set()


def test_an_embargo_holds_below_whatever_rules_are_there_and_ends_by_itself(
    rights: Rights, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = utc_now() + timedelta(hours=1)
    released = Resource.of_table("dr1", "object", release="dr1")
    rights.set_rule(
        Resource.of_release("dr1"),
        AccessRule(access=Access.PUBLIC, group="dr1_rights", embargo_until=end),
        by=OPERATOR,
    )
    rights.set_rule(OBJECT, AccessRule(access=Access.PUBLIC, owner="bob"), by=OPERATOR)
    assert readers(rights, released) == {"ada", "bob"}
    assert readers(rights, Resource.of_table("dr1", "source")) == EVERYBODY
    monkeypatch.setattr(
        "astrolabe.identity.rights.utc_now", lambda: end + timedelta(milliseconds=1)
    )
    assert readers(rights, released) == EVERYBODY


def test_schemas_of_users_and_groups_are_theirs_without_a_rule(rights: Rights) -> None:
    assert readers(rights, Resource.of_table("user_bob", "t")) == {"bob"}
    assert readers(rights, Resource.of_table("group_team", "t")) == {"ada"}
    assert rights.may(BOB, "write", Resource.of_table("user_bob", "t"))
    assert rights.may(ADA, "write", Resource.of_table("group_team", "t"))
    assert not rights.may(BOB, "write", Resource.of_table("group_team", "t"))
    assert not rights.may(ADA, "manage", Resource.of_schema("group_team"))


def test_administrators_change_rules_but_do_not_read(rights: Rights) -> None:
    rights.set_rule(OBJECT, AccessRule(access=Access.PRIVATE, owner="bob"), by=OPERATOR)
    assert rights.may(ADMIN, "manage", OBJECT)
    assert not rights.may(ADMIN, "read", OBJECT)
    assert rights.may(BOB, "manage", OBJECT)
    assert not rights.may(ADA, "manage", OBJECT)
    assert not rights.may(ANONYMOUS, "write", OBJECT)


def test_the_platform_reads_all_and_nobody_can_pretend_to_be_it(rights: Rights) -> None:
    rights.set_rule(OBJECT, AccessRule(access=Access.PRIVATE), by=OPERATOR)
    assert rights.may(PLATFORM, "read", OBJECT)
    forged = Principal(username=PLATFORM.username, scopes=PLATFORM.scopes, kind=PLATFORM.kind)
    assert not rights.may(forged, "read", OBJECT)


def test_a_listed_collection_shows_itself_and_its_files_when_they_are_released(
    rights: Rights,
) -> None:
    name = "raw"
    rule = AccessRule(access=Access.GROUP, group="team", listed=True)
    rights.set_rule(Resource.of_collection(name), rule, by=OPERATOR)
    past, future = utc_now() - timedelta(days=1), utc_now() + timedelta(days=1)
    assert rights.may(ANONYMOUS, "list", Resource.of_collection(name))
    assert not rights.may(ANONYMOUS, "read", Resource.of_collection(name))
    assert not rights.may(BOB, "read", Resource.of_collection(name, released=future))
    assert rights.may(ANONYMOUS, "read", Resource.of_collection(name, released=past))
    assert readers(rights, Resource.of_collection(name, released=future)) == {"ada"}


def test_a_release_date_opens_nothing_that_is_not_listed(rights: Rights) -> None:
    rights.set_rule(Resource.of_collection("raw"), AccessRule(access=Access.PRIVATE), by=OPERATOR)
    past = utc_now() - timedelta(days=1)
    assert readers(rights, Resource.of_collection("raw", released=past)) == set()


def test_a_path_inherits_from_the_nearest_folder(rights: Rights) -> None:
    rights.set_rule(Resource.of_path("/data"), AccessRule(access=Access.PRIVATE), by=OPERATOR)
    rights.set_rule(Resource.of_path("/data/open"), AccessRule(access=Access.PUBLIC), by=OPERATOR)
    assert readers(rights, Resource.of_path("/data/x/y.fits")) == set()
    assert readers(rights, Resource.of_path("/data/open/y.fits")) == EVERYBODY
    # A prefix of the text is no folder.
    assert readers(rights, Resource.of_path("/data/opening")) == set()
    assert readers(rights, Resource.of_path("/database")) == EVERYBODY


@pytest.mark.parametrize(
    "path",
    ["/data/open/../secret", "/data//secret", "data", "", "/data/./x", "/data\\secret", "/a\0b",
     "/data/open/..", "/../data", "/a\nb"],
)  # fmt: skip
def test_paths_that_could_mean_another_place_are_refused(path: str) -> None:
    with pytest.raises(BadParameterError):
        Resource.of_path(path)


def test_require_tells_three_kinds_of_no_apart(rights: Rights) -> None:
    rights.set_rule(OBJECT, AccessRule(access=Access.GROUP, group="team"), by=OPERATOR)
    rights.require(ADA, "read", OBJECT)
    with pytest.raises(UnauthenticatedError):
        rights.require(ANONYMOUS, "read", OBJECT)
    with pytest.raises(NotFoundError):
        rights.require(BOB, "read", OBJECT)
    with pytest.raises(ForbiddenError):
        rights.require(ADA, "write", OBJECT)


@pytest.mark.parametrize(
    "rule",
    [
        AccessRule(access=Access.GROUP),
        AccessRule(access=Access.PUBLIC, embargo_until=datetime(2027, 1, 1)),  # noqa: DTZ001 - the fault
    ],
)
def test_a_rule_that_cannot_hold_is_refused(rights: Rights, rule: AccessRule) -> None:
    with pytest.raises(BadParameterError):
        rights.set_rule(OBJECT, rule, by=OPERATOR)
    assert rights.find(OBJECT) is None


@pytest.mark.parametrize(("kind", "name"), [("table", "dr1"), ("planet", "x"), ("schema", "")])
def test_a_resource_that_cannot_be_is_refused(kind: str, name: str) -> None:
    with pytest.raises(BadParameterError):
        Resource.parse(kind, name)


def test_another_process_knows_of_a_change(database: Database, database_url: str) -> None:
    other_database = Database(database_url)
    here, there = make(database), make(other_database)
    assert readers(there, OBJECT) == EVERYBODY
    here.set_rule(OBJECT, AccessRule(access=Access.PRIVATE), by=OPERATOR)
    assert readers(there, OBJECT) == set()
    other_database.close()


def test_rules_are_read_again_only_when_they_have_changed(rights: Rights) -> None:
    first = rights.policy()
    assert rights.policy() is first
    rights.set_rule(OBJECT, AccessRule(access=Access.PRIVATE), by=OPERATOR)
    assert rights.policy() is not first


def test_the_last_rules_stay_while_the_database_is_away(
    rights: Rights, monkeypatch: pytest.MonkeyPatch
) -> None:
    rights.set_rule(OBJECT, AccessRule(access=Access.GROUP, group="team"), by=OPERATOR)

    def away(_self: Database) -> Any:
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(Database, "read", away)
    assert readers(rights, OBJECT) == {"ada"}


def test_what_an_account_owned_is_handed_over(rights: Rights) -> None:
    rights.set_rule(OBJECT, AccessRule(access=Access.PRIVATE, owner="bob"), by=OPERATOR)
    rights.hand_over("bob", "ada", by=PLATFORM)
    assert readers(rights, OBJECT) == {"ada"}
    assert readers(rights, Resource.of_table("user_bob", "t")) == {"ada"}


def test_changes_are_in_the_audit_log(database: Database, rights: Rights) -> None:
    rights.set_rule(DR1, AccessRule(access=Access.USERS), by=ADMIN, address="192.0.2.1")
    rights.remove_rule(DR1, by=ADMIN)
    rights.remove_rule(DR1, by=ADMIN)
    entries = AuditLog(database).page(action="access.").entries
    assert [(e.actor, e.action, e.target) for e in entries] == [
        ("eve", "access.remove", "schema:dr1"),
        ("eve", "access.set", "schema:dr1"),
    ]
    assert entries[1].detail["access"] == "users"
    assert entries[1].address == "192.0.2.1"


def test_each_rule_is_listed(rights: Rights) -> None:
    rights.set_rule(OBJECT, AccessRule(access=Access.PRIVATE, owner="bob"), by=ADMIN)
    rights.set_rule(DR1, AccessRule(access=Access.USERS), by=ADMIN)
    assert [(s.resource.name, s.changed_by) for s in rights.rules()] == [
        ("dr1", "eve"),
        ("dr1.object", "eve"),
    ]
    assert all(s.changed_at <= datetime.now(UTC) for s in rights.rules())


def test_two_writers_of_one_rule_do_not_meet(database: Database) -> None:
    rights = make(database)
    errors: list[BaseException] = []

    def write(access: Access) -> None:
        try:
            for _ in range(5):
                rights.set_rule(DR1, AccessRule(access=access), by=ADMIN)
        except BaseException as exc:  # noqa: BLE001 - looked at below
            errors.append(exc)

    kinds: tuple[Access, ...] = (Access.PUBLIC, Access.USERS, Access.PRIVATE)
    threads = [threading.Thread(target=write, args=(kind,)) for kind in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(rights.rules()) == 1


def test_after_a_pause_nobody_gets_old_rules_while_another_looks(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_database = Database(database_url)
    here, there = make(database), make(other_database)
    assert readers(there, OBJECT) == EVERYBODY
    here.set_rule(OBJECT, AccessRule(access=Access.PRIVATE), by=OPERATOR)
    # As if the last look had been long ago.
    monkeypatch.setattr(there._rules, "_checked", there._rules._checked - 60)
    begin = threading.Barrier(8)
    seen: list[set[str]] = []

    def look() -> None:
        begin.wait()
        seen.append(readers(there, OBJECT))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [set()] * 8
    other_database.close()
