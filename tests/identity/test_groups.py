"""Groups: who is in them, who may say so, and what they give."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from astrolabe.core.errors import (
    BadParameterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
)
from astrolabe.identity.authority import OPERATOR
from astrolabe.identity.model import Role
from astrolabe.identity.principal import Principal
from astrolabe.identity.schema import INVITATION

from .conftest import StartProcess
from .people import People, later, old_login


@pytest.fixture
def bob(people: People) -> Principal:
    return people.session(people.user("bob"))


@pytest.fixture
def carl(people: People) -> Principal:
    return people.session(people.user("carl"))


@pytest.fixture
def stars(people: People, bob: Principal) -> str:
    """A group of bob's."""
    return people.groups.create("stars", by=bob, description="Variable stars").name


def _join(
    people: People, group: str, name: str, *, by: Principal, role: Role = Role.MEMBER
) -> None:
    invitation = people.groups.invite(group, name, by=by, role=role)
    people.groups.accept(invitation.invitation_id, by=people.session(name))


def test_who_makes_a_group_owns_it(people: People, bob: Principal, stars: str) -> None:
    assert people.groups.of("bob") == {stars}
    assert [(m.name, m.role) for m in people.groups.members(stars, by=bob)] == [("bob", Role.OWNER)]
    found = people.groups.get(stars, by=bob)
    assert (found.created_by, found.description) == ("bob", "Variable stars")
    assert people.audit.page(target=stars).entries[0].actor == "bob"


def test_others_groups_do_not_exist(people: People, carl: Principal, stars: str) -> None:
    groups = people.groups
    for name in (stars, "nothing_here"):
        with pytest.raises(NotFoundError, match=f"no group {name}"):
            groups.get(name, by=carl)
        with pytest.raises(NotFoundError, match=f"no group {name}"):
            groups.members(name, by=carl)
        with pytest.raises(NotFoundError, match=f"no group {name}"):
            groups.invite(name, "carl", by=carl)
        with pytest.raises(NotFoundError, match=f"no group {name}"):
            groups.remove(name, "bob", by=carl)
        with pytest.raises(NotFoundError, match=f"no group {name}"):
            groups.delete(name, by=carl)
        with pytest.raises(NotFoundError, match=f"no group {name}"):
            groups.describe(name, "mine", by=carl)
        with pytest.raises(NotFoundError, match=f"no group {name}"):
            groups.add(name, "carl", by=carl)


def test_a_user_joins_by_accepting(
    people: People, bob: Principal, carl: Principal, stars: str
) -> None:
    invitation = people.groups.invite(stars, "carl", by=bob)
    assert people.groups.of("carl") == frozenset()
    assert people.groups.invitations(username="carl") == (invitation,)
    with pytest.raises(NotFoundError):
        people.groups.accept(invitation.invitation_id, by=bob)
    assert people.groups.accept(invitation.invitation_id, by=carl).name == stars
    assert people.groups.of("carl") == {stars}
    assert people.groups.invitations(group=stars) == ()
    with pytest.raises(NotFoundError):
        people.groups.accept(invitation.invitation_id, by=carl)
    with pytest.raises(ConflictError, match="already"):
        people.groups.invite(stars, "carl", by=bob)


def test_an_invitation_can_be_declined_withdrawn_and_ends(
    people: People, bob: Principal, carl: Principal, stars: str
) -> None:
    first = people.groups.invite(stars, "carl", by=bob)
    second = people.groups.invite(stars, "carl", by=bob, role=Role.ADMIN)
    assert people.groups.invitations(username="carl") == (second,)
    with pytest.raises(NotFoundError):
        people.groups.accept(first.invitation_id, by=carl)
    people.groups.decline(second.invitation_id, by=carl)
    third = people.groups.invite(stars, "carl", by=bob)
    with pytest.raises(NotFoundError):
        people.groups.decline(third.invitation_id, by=people.session(people.user("eve")))
    people.groups.decline(third.invitation_id, by=bob)
    fourth = people.groups.invite(stars, "carl", by=bob)
    with people.database.write() as connection:
        connection.execute(update(INVITATION).values(expires=later(seconds=-1)))
    assert people.groups.invitations(username="carl") == ()
    with pytest.raises(NotFoundError):
        people.groups.accept(fourth.invitation_id, by=carl)
    assert people.groups.of("carl") == frozenset()


def test_the_invitations_of_who_has_lost_his_say_end(
    people: People, bob: Principal, carl: Principal, stars: str
) -> None:
    _join(people, stars, "carl", by=bob, role=Role.ADMIN)
    people.groups.invite(stars, people.user("dora"), by=carl)
    people.groups.invite(stars, people.user("eve"), by=bob)
    people.groups.remove(stars, "carl", by=bob)
    assert [i.username for i in people.groups.invitations(group=stars)] == ["eve"]
    people.users.disable("bob", by=OPERATOR)
    assert people.groups.invitations(group=stars) == ()


def test_owners_do_not_add_users_without_asking(
    people: People, bob: Principal, carl: Principal, stars: str
) -> None:
    assert carl.username is not None
    with pytest.raises(ForbiddenError, match="invite"):
        people.groups.add(stars, carl.username, by=bob)
    people.groups.add(stars, carl.username, by=people.session("owner"))
    assert people.groups.of("carl") == {stars}


def test_admins_deal_with_members_and_owners_with_all(
    people: People, bob: Principal, carl: Principal, stars: str
) -> None:
    for name in ("dora", "eve"):
        people.user(name)
    _join(people, stars, "carl", by=bob, role=Role.ADMIN)
    _join(people, stars, "dora", by=carl)
    with pytest.raises(ForbiddenError, match="owner"):
        people.groups.invite(stars, "eve", by=carl, role=Role.ADMIN)
    with pytest.raises(ForbiddenError, match="owner"):
        people.groups.remove(stars, "bob", by=carl)
    with pytest.raises(ForbiddenError, match="owner"):
        people.groups.add(stars, "carl", by=carl, role=Role.OWNER)
    with pytest.raises(ForbiddenError, match="owner"):
        people.groups.delete(stars, by=carl)
    dora = people.session("dora")
    with pytest.raises(ForbiddenError):
        people.groups.invite(stars, "eve", by=dora)
    with pytest.raises(ForbiddenError):
        people.groups.remove(stars, "carl", by=dora)
    people.groups.remove(stars, "dora", by=carl)
    people.groups.add(stars, "carl", by=bob, role=Role.OWNER)
    people.groups.remove(stars, "bob", by=carl)
    assert [m.name for m in people.groups.members(stars)] == ["carl"]


def test_members_leave_but_not_the_last_owner(
    people: People, bob: Principal, carl: Principal, stars: str
) -> None:
    _join(people, stars, "carl", by=bob)
    people.groups.remove(stars, "carl", by=carl)
    assert people.groups.of("carl") == frozenset()
    with pytest.raises(ConflictError, match="last owner"):
        people.groups.remove(stars, "bob", by=bob)
    with pytest.raises(ConflictError, match="last owner"):
        people.groups.add(stars, "bob", by=bob, role=Role.MEMBER)
    with pytest.raises(NotFoundError, match="no member"):
        people.groups.remove(stars, "carl", by=bob)


def test_a_users_groups_are_limited_but_not_an_administrators(
    people: People, bob: Principal
) -> None:
    for number in range(3):
        people.groups.create(f"group_{number}", by=bob)
    with pytest.raises(ConflictError, match="as many as"):
        people.groups.create("group_3", by=bob)
    with pytest.raises(ForbiddenError):
        people.groups.create("group_3", by=bob, owner="owner")
    owner = people.session("owner")
    for number in range(4, 9):
        people.groups.create(f"group_{number}", by=owner)
    people.groups.create("group_9", by=owner, owner="bob")
    with pytest.raises(NotFoundError):
        people.groups.create("group_10", by=owner, owner="nina")
    with pytest.raises(BadParameterError):
        people.groups.create("group_11", by=owner, description="x" * 1001)


def test_groups_are_managed_with_the_scope_only(people: People, bob: Principal) -> None:
    narrow = people.session("bob", scopes=["read:tap"])
    people.groups.create("stars", by=bob)
    with pytest.raises(ForbiddenError, match="user:group"):
        people.groups.create("more", by=narrow)
    with pytest.raises(ForbiddenError, match="user:group"):
        people.groups.describe("stars", "x", by=narrow)
    with pytest.raises(ForbiddenError, match="user:group"):
        people.groups.remove("stars", "bob", by=narrow)


def test_members_of_a_nested_group_are_members_of_the_outer_one(
    people: People, bob: Principal, carl: Principal, stars: str
) -> None:
    people.groups.create("novae", by=bob)
    _join(people, "novae", "carl", by=bob)
    people.groups.add(stars, "novae", by=bob)
    assert people.groups.of("carl") == {"novae", stars}
    assert {g.name: r for g, r in people.groups.memberships("carl")} == {
        "novae": Role.MEMBER,
        stars: Role.MEMBER,
    }
    assert {g.name: r for g, r in people.groups.memberships("bob")}[stars] is Role.OWNER
    assert people.groups.get(stars, by=carl).name == stars
    (inner,) = [m for m in people.groups.members(stars) if m.is_group]
    assert (inner.name, inner.role) == ("novae", Role.MEMBER)
    people.groups.remove(stars, "novae", by=bob)
    assert people.groups.of("carl") == {"novae"}


def test_groups_are_nested_one_level_deep(people: People, bob: Principal, stars: str) -> None:
    people.groups.create("novae", by=bob)
    people.groups.create("dwarfs", by=bob)
    people.groups.add(stars, "novae", by=bob)
    with pytest.raises(ConflictError, match="one level"):
        people.groups.add("novae", "dwarfs", by=bob)
    with pytest.raises(ConflictError, match="one level"):
        people.groups.add("dwarfs", stars, by=bob)
    with pytest.raises(ConflictError, match="itself"):
        people.groups.add("dwarfs", "dwarfs", by=bob)
    with pytest.raises(BadParameterError, match="plain member"):
        people.groups.add(stars, "dwarfs", by=bob, role=Role.ADMIN)


def test_nobody_nests_anothers_group(
    people: People, bob: Principal, carl: Principal, stars: str
) -> None:
    people.groups.create("novae", by=carl)
    _join(people, "novae", "bob", by=carl)
    with pytest.raises(ForbiddenError, match="novae"):
        people.groups.add(stars, "novae", by=bob)


def test_a_deleted_group_is_in_no_other(people: People, bob: Principal, stars: str) -> None:
    people.groups.create("novae", by=bob)
    people.groups.add(stars, "novae", by=bob)
    people.groups.invite("novae", people.user("dora"), by=bob)
    people.groups.delete("novae", by=bob)
    assert [m.name for m in people.groups.members(stars)] == ["bob"]
    assert people.groups.invitations() == ()
    with pytest.raises(NotFoundError):
        people.groups.get("novae")
    with pytest.raises(ConflictError, match="cannot be deleted"):
        people.groups.delete("admins", by=OPERATOR)


def test_who_joins_has_the_groups_rights_with_the_session_he_has(
    people: People, bob: Principal, carl: Principal, stars: str
) -> None:
    token = people.session_token("carl")
    assert people.authenticator.authenticate(token, address=None).groups == frozenset()
    _join(people, stars, "carl", by=bob)
    assert people.authenticator.authenticate(token, address=None).groups == {stars}
    assert carl.username == "carl"


def test_groups_that_give_scopes_are_for_administrators(start_process: StartProcess) -> None:
    people = start_process(group_scopes={"brokers": ["write:alert"], "later_on": ["write:alert"]})
    people.users.ensure_owner()
    bob = people.session(people.user("bob"))
    owner = people.session("owner")
    with pytest.raises(ForbiddenError, match="administrator"):
        people.groups.create("later_on", by=bob)
    people.groups.create("brokers", by=owner)
    people.groups.add("brokers", "bob", by=owner, role=Role.OWNER)
    assert "write:alert" in people.session("bob").scopes
    people.user("eve")
    # bob's session was made before he owned the group: it does not hold what the group gives.
    with pytest.raises(ForbiddenError, match="every scope"):
        people.groups.invite("brokers", "eve", by=bob)
    fresh = people.session("bob")
    with pytest.raises(ForbiddenError, match="15 minutes"):
        people.groups.invite("brokers", "eve", by=old_login(fresh))
    people.groups.invite("brokers", "eve", by=fresh)


def test_a_group_in_one_that_gives_scopes_is_guarded_like_it(
    start_process: StartProcess,
) -> None:
    people = start_process()
    people.users.ensure_owner()
    bob = people.session(people.user("bob"))
    people.groups.create("staff", by=bob)
    people.user("eve")
    with pytest.raises(NotFoundError, match="admins"):
        people.groups.add("admins", "staff", by=bob)
    people.groups.add("admins", "staff", by=people.session("owner"))
    assert people.groups.of("bob") == {"staff", "admins"}
    with pytest.raises(ForbiddenError, match="every scope"):
        people.groups.invite("staff", "eve", by=bob)
    people.groups.invite("staff", "eve", by=people.session("bob"))


def test_administrators_changes_need_a_recent_login(
    people: People, bob: Principal, stars: str
) -> None:
    owner = people.session("owner")
    assert bob.username is not None
    with pytest.raises(ForbiddenError, match="15 minutes"):
        people.groups.delete(stars, by=old_login(owner))
    people.groups.describe(stars, "seen by an administrator", by=owner)
    assert people.groups.get(stars).description == "seen by an administrator"
    people.groups.describe(stars, "an owner needs no fresh login", by=old_login(bob))


def test_the_administrators_group_keeps_an_owner(people: People) -> None:
    with pytest.raises(ConflictError, match="last owner"):
        people.groups.remove("admins", "owner", by=OPERATOR)


def test_all_groups_come_in_pages(people: People, bob: Principal) -> None:
    for number in range(3):
        people.groups.create(f"group_{number}", by=bob)
    first, cursor = people.groups.page(limit=3)
    assert [g.name for g in first] == ["admins", "group_0", "group_1"]
    rest, end = people.groups.page(limit=3, cursor=cursor)
    assert [g.name for g in rest] == ["group_2"]
    assert end is None
