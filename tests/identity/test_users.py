"""Accounts: who makes them, how one gets in, how they end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import select, update

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import (
    AstrolabeError,
    BadParameterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnauthenticatedError,
)
from astrolabe.identity.authority import OPERATOR
from astrolabe.identity.model import AccountEnd, Role, UserStatus
from astrolabe.identity.passwords import Passwords
from astrolabe.identity.schema import LOGIN_LINK, USER

from .conftest import StartProcess
from .people import PASSWORD, People, later, old_login


def test_the_first_start_makes_the_owner_once(people: People) -> None:
    assert not people.users.ensure_owner()
    assert people.groups.of("owner") == {"admins"}
    assert people.users.get("owner").uid == 5000
    assert people.groups.get("admins").gid == 5001
    with pytest.raises(UnauthenticatedError):
        people.users.login("owner", "", address=None)


def test_an_owner_that_was_deleted_does_not_come_back(people: People) -> None:
    people.user("ada", "admins")
    people.users.delete("owner", by=OPERATOR)
    assert not people.users.ensure_owner()
    assert people.users.get("owner").status is UserStatus.DELETED


def test_names_are_given_once_and_for_ever(people: People) -> None:
    people.user("bob")
    people.groups.create("stars", by=OPERATOR)
    for taken in ("bob", "stars"):
        with pytest.raises(ConflictError, match="never used again"):
            people.user(taken)
        with pytest.raises(ConflictError):
            people.groups.create(taken, by=OPERATOR)
    people.users.delete("bob", by=OPERATOR)
    people.groups.delete("stars", by=OPERATOR)
    for gone in ("bob", "stars"):
        with pytest.raises(ConflictError):
            people.user(gone)
    assert people.users.get(people.user("carl")).uid == 5004


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a",
        "Bob",
        "1bob",
        "_bob",
        "bob-1",
        "bob smith",
        "b" * 32,
        "böb",
        "bob\n",
        "root",
        "owner",
    ],
)
def test_what_cannot_be_a_name(people: People, name: str) -> None:
    with pytest.raises(BadParameterError):
        people.user(name)
    with pytest.raises(BadParameterError):
        people.groups.create(name, by=OPERATOR)


def test_numbers_end_with_their_range(start_process: StartProcess) -> None:
    people = start_process(numbers=(7000, 7002))
    people.users.ensure_owner()
    assert people.users.get(people.user("bob")).uid == 7002
    with pytest.raises(ConflictError, match="last_number"):
        people.user("carl")
    with pytest.raises(NotFoundError):
        people.users.get("carl")


def test_a_password_opens_its_account_and_no_other(people: People) -> None:
    people.user("bob", password=PASSWORD)
    people.user("carl", password="another long sentence")
    user = people.users.login(" bob ", PASSWORD, address=None)
    assert user.username == "bob"
    assert user.last_login is not None
    for name, password in (
        ("bob", "another long sentence"),
        ("carl", PASSWORD),
        ("bob", ""),
        ("owner", PASSWORD),
        ("nina", PASSWORD),
        ("bob", PASSWORD * 100),
    ):
        with pytest.raises(UnauthenticatedError) as refused:
            people.users.login(name, password, address=None)
        assert refused.value.message == "The user name or the password is wrong."


def test_a_user_who_is_not_there_costs_one_hash_too(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.user("bob", password=PASSWORD)
    people.user("carl")
    checked: list[str] = []
    hasher = people.users._passwords._hasher

    class Counting:
        def verify(self, stored: str, password: str) -> bool:
            checked.append(stored)
            return bool(hasher.verify(stored, password))

        def __getattr__(self, name: str) -> object:
            return getattr(hasher, name)

    monkeypatch.setattr(people.users._passwords, "_hasher", Counting())
    for name in ("bob", "carl", "nina", "Not A Name"):
        checked.clear()
        with pytest.raises(UnauthenticatedError):
            people.users.login(name, "wrong password", address=None)
        assert len(checked) == 1
        # The same cost: Argon2's parameters stand before the salt.
        assert checked[0].split("$")[:4] == hasher.hash("x").split("$")[:4]


def test_a_password_is_stored_as_argon2_and_anew_when_the_cost_rises(people: People) -> None:
    people.user("bob", password=PASSWORD)

    def stored() -> str:
        with people.database.read() as connection:
            query = select(USER.c.password_hash).where(USER.c.username == "bob")
            return str(connection.execute(query).scalar())

    first = stored()
    assert first.startswith("$argon2id$")
    assert PASSWORD not in first
    people.users.login("bob", PASSWORD, address=None)
    assert stored() == first
    people.users._passwords = Passwords(memory_mb=0.2, passes=2, lanes=1, shortest=10)
    people.users.login("bob", PASSWORD, address=None)
    assert ",t=2,p=1$" in stored()
    people.users.login("bob", PASSWORD, address=None)


def test_composed_and_decomposed_characters_are_one_password(people: People) -> None:
    people.user("bob", password="schöne Straße 12")
    people.users.login("bob", "scho\u0308ne Straße 12", address=None)


@pytest.mark.parametrize("password", ["", "short", "a" * 20, "bobbobbobbob", "x" * 1025])
def test_what_cannot_be_a_password(people: People, password: str) -> None:
    with pytest.raises(BadParameterError, match="password"):
        people.user("bob", password=password)
    with pytest.raises(NotFoundError):
        people.users.get("bob")


def test_a_new_password_ends_the_other_sessions(people: People) -> None:
    people.user("bob", password=PASSWORD)
    session, elsewhere = people.session("bob"), people.session("bob")
    kept = people.tokens.create_user_token(session, name="a", scopes=["read:tap"])
    link = people.users.create_login_link("bob", by=OPERATOR)
    people.users.set_password("bob", "a different sentence", by=session)
    assert people.authenticator.is_alive(str(session.token_key))
    assert not people.authenticator.is_alive(str(elsewhere.token_key))
    assert people.authenticator.is_alive(kept.info.key)
    with pytest.raises(UnauthenticatedError):
        people.users.login("bob", PASSWORD, address=None)
    people.users.login("bob", "a different sentence", address=None)
    with pytest.raises(UnauthenticatedError):
        people.users.redeem_login_link(link, address=None)


def test_a_password_is_changed_with_a_recent_and_whole_session_only(people: People) -> None:
    people.user("bob", password=PASSWORD)
    session = people.session("bob")
    made = people.tokens.create_user_token(session, name="a", scopes=session.scopes)
    token = people.authenticator.authenticate(made.text, address=None)
    narrow = people.session("bob", scopes=["read:tap"])
    for caller in (old_login(session), token, narrow):
        with pytest.raises(ForbiddenError):
            people.users.set_password("bob", "a different sentence", by=caller)
    people.users.login("bob", PASSWORD, address=None)


def test_an_administrator_resets_a_password(people: People) -> None:
    people.user("bob", password=PASSWORD)
    session = people.session("bob")
    owner = people.session("owner")
    with pytest.raises(ForbiddenError, match="15 minutes"):
        people.users.set_password("bob", "a different sentence", by=old_login(owner))
    people.users.set_password("bob", "a different sentence", by=owner, address="192.0.2.5")
    assert not people.authenticator.is_alive(str(session.token_key))
    entry = people.audit.page(target="bob").entries[0]
    assert (entry.actor, entry.action, entry.address) == ("owner", "user.password", "192.0.2.5")
    assert "different" not in repr(people.audit.page())


def test_who_administers_users_only_has_no_power_over_administrators(
    start_process: StartProcess,
) -> None:
    """He could log in as one of them, and be one."""
    people = start_process(group_scopes={"helpdesk": ["admin:user"]})
    people.users.ensure_owner()
    people.groups.create("helpdesk", by=OPERATOR)
    people.user("helen", "helpdesk")
    people.user("bob", password=PASSWORD)
    helen = people.session("helen")
    people.users.set_password("bob", "a different sentence", by=helen)
    for attempt in (
        lambda: people.users.set_password("owner", PASSWORD, by=helen),
        lambda: people.users.create_login_link("owner", by=helen),
        lambda: people.users.disable("owner", by=helen),
        lambda: people.users.delete("owner", by=helen),
        lambda: people.users.create("eve", groups=["admins"], by=helen),
        lambda: people.groups.add("admins", "helen", by=helen),
        lambda: people.groups.invite("admins", "helen", by=helen),
        lambda: people.tokens.create_for("owner", name="x", scopes=["admin:platform"], by=helen),
    ):
        with pytest.raises(ForbiddenError):
            attempt()
    with pytest.raises(NotFoundError):
        people.users.get("eve")
    assert people.groups.of("helen") == {"helpdesk"}


def test_accounts_are_made_by_administrators_with_a_recent_login(people: People) -> None:
    bob = people.session(people.user("bob"))
    owner = people.session("owner")
    for caller in (bob, old_login(owner)):
        with pytest.raises(ForbiddenError):
            people.users.create("carl", by=caller)
    made = people.users.create("carl", full_name=" Carl  Sagan ", email="c@x.org", by=owner)
    assert (made.full_name, made.email, made.has_password) == ("Carl Sagan", "c@x.org", False)
    for wrong in ({"email": "no address"}, {"email": "a@b@c"}, {"full_name": "a\x00b"}):
        with pytest.raises(BadParameterError):
            people.users.create("dora", by=owner, **wrong)


def test_an_account_with_a_group_that_is_not_there_is_not_made(people: People) -> None:
    with pytest.raises(NotFoundError, match="nothere"):
        people.user("bob", "nothere")
    with pytest.raises(NotFoundError):
        people.users.get("bob")
    people.user("bob")


def test_users_change_their_own_names_and_nobody_elses(people: People) -> None:
    bob = people.session(people.user("bob"))
    people.user("carl")
    assert people.users.update("bob", full_name="Bob B", by=bob).full_name == "Bob B"
    with pytest.raises(ForbiddenError):
        people.users.update("carl", full_name="x", by=bob)
    assert people.users.update("bob", email="b@x.org", by=OPERATOR).full_name == "Bob B"


def test_a_login_link_works_once(people: People) -> None:
    first = people.users.create_login_link("owner", by=OPERATOR)
    second = people.users.create_login_link("owner", by=OPERATOR)
    with pytest.raises(UnauthenticatedError):
        people.users.redeem_login_link(first, address=None)
    assert people.users.redeem_login_link(second, address="192.0.2.1").username == "owner"
    for used in (second, "", "x"):
        with pytest.raises(UnauthenticatedError):
            people.users.redeem_login_link(used, address=None)
    assert people.audit.page(action="user.link-used").entries[0].address == "192.0.2.1"


def test_a_login_link_is_stored_as_a_hash_and_ends(people: People) -> None:
    link = people.users.create_login_link("owner", by=OPERATOR)
    with people.database.write() as connection:
        assert link not in repr(connection.execute(select(LOGIN_LINK)).all())
        connection.execute(update(LOGIN_LINK).values(expires=later(seconds=-1)))
    with pytest.raises(UnauthenticatedError):
        people.users.redeem_login_link(link, address=None)


def test_the_end_of_an_account_ends_all_that_acted_for_it(people: People) -> None:
    ends: list[AccountEnd] = []
    people.users.on_end(ends.append)
    people.user("bob", password=PASSWORD)
    session = people.session("bob")
    token = people.tokens.create_user_token(session, name="a", scopes=["read:tap"])
    lab = people.tokens.create_child(session, kind="lab", scopes=["read:tap"])
    link = people.users.create_login_link("bob", by=OPERATOR)
    people.users.disable("bob", by=OPERATOR)
    for key in (str(session.token_key), token.info.key, lab.info.key):
        assert not people.authenticator.is_alive(key)
    with pytest.raises(UnauthenticatedError):
        people.users.redeem_login_link(link, address=None)
    with pytest.raises(UnauthenticatedError, match="disabled"):
        people.users.login("bob", PASSWORD, address=None)
    with pytest.raises(UnauthenticatedError):
        people.tokens.create_session("bob", address=None, authenticated=utc_now())
    with pytest.raises(ConflictError, match="disabled"):
        people.users.create_login_link("bob", by=OPERATOR)
    assert ends == [AccountEnd(username="bob", deleted=False, hand_over_to=None)]
    assert people.users.ended(["bob", "owner", "nobody"]) == {"bob"}
    people.users.enable("bob", by=OPERATOR)
    people.users.login("bob", PASSWORD, address=None)
    assert not people.authenticator.is_alive(token.info.key)


def test_a_deleted_account_leaves_its_name_and_nothing_personal(people: People) -> None:
    ends: list[AccountEnd] = []
    people.users.on_end(ends.append)
    people.users.create("bob", full_name="Bob B", email="b@x.org", password=PASSWORD, by=OPERATOR)
    people.user("carl")
    people.groups.create("stars", by=OPERATOR, owner="bob")
    people.users.delete("bob", hand_over_to="carl", by=OPERATOR)
    left = people.users.get("bob")
    assert (left.status, left.full_name, left.email) == (UserStatus.DELETED, "", "")
    assert not left.has_password
    assert [(m.name, m.role) for m in people.groups.members("stars")] == [("carl", Role.OWNER)]
    assert ends == [AccountEnd(username="bob", deleted=True, hand_over_to="carl")]
    with pytest.raises(NotFoundError):
        people.users.enable("bob", by=OPERATOR)
    with pytest.raises(NotFoundError):
        people.users.delete("bob", by=OPERATOR)
    with pytest.raises(NotFoundError):
        people.users.set_password("bob", PASSWORD, by=OPERATOR)
    assert "bob" not in {user.username for user in people.users.page().users}


def test_what_gives_scopes_is_not_handed_over(people: People) -> None:
    people.user("ada", "admins")
    people.user("carl")
    people.groups.create("staff", by=OPERATOR, owner="owner")
    people.groups.add("admins", "staff", by=OPERATOR)
    people.groups.create("stars", by=OPERATOR, owner="owner")
    people.users.delete("owner", hand_over_to="carl", by=OPERATOR)
    assert people.groups.of("carl") == {"stars"}


@pytest.mark.parametrize("heir", ["bob", "nina"])
def test_an_account_is_handed_over_to_somebody_else_who_is_there(people: People, heir: str) -> None:
    people.user("bob")
    with pytest.raises(AstrolabeError, match=heir if heir == "nina" else "itself"):
        people.users.delete("bob", hand_over_to=heir, by=OPERATOR)
    assert people.users.get("bob").status is UserStatus.ACTIVE


def test_the_last_administrator_stays(people: People) -> None:
    for end in (people.users.disable, people.users.delete):
        with pytest.raises(ConflictError, match="last administrator"):
            end("owner", by=OPERATOR)
    people.groups.create("staff", by=OPERATOR)
    people.user("ada", "staff")
    people.groups.add("admins", "staff", by=OPERATOR)
    people.users.disable("owner", by=OPERATOR)
    with pytest.raises(ConflictError, match="last administrator"):
        people.users.disable("ada", by=OPERATOR)


def test_lists_of_accounts_come_in_pages_and_can_be_searched(people: People) -> None:
    for name in ("bob", "carl", "dora"):
        people.users.create(name, full_name=f"{name} O'100%_x", by=OPERATOR)
    people.users.disable("carl", by=OPERATOR)
    first = people.users.page(limit=2)
    assert [u.username for u in first.users] == ["bob", "carl"]
    rest = people.users.page(limit=2, cursor=first.next_cursor)
    assert [u.username for u in rest.users] == ["dora", "owner"]
    assert rest.next_cursor is None
    assert [u.username for u in people.users.page(search="CARL").users] == ["carl"]
    assert [u.username for u in people.users.page(search="o'100%_X").users] == [
        "bob",
        "carl",
        "dora",
    ]
    disabled = people.users.page(status=UserStatus.DISABLED).users
    assert [u.username for u in disabled] == ["carl"]


def test_a_narrow_administrators_session_has_no_power_over_a_whole_user(people: People) -> None:
    people.user("bob")
    narrow = replace(people.session("owner"), scopes=frozenset({"admin:user"}))
    with pytest.raises(ForbiddenError):
        people.users.create_login_link("bob", by=narrow)
