"""Accounts of people whom an OpenID Connect provider knows."""

from __future__ import annotations

from typing import Any

import pytest

from astrolabe.core.errors import (
    BadParameterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnauthenticatedError,
)
from astrolabe.identity.authority import OPERATOR
from astrolabe.identity.model import (
    OpenIDClaims,
    PendingState,
    PendingUser,
    Role,
    User,
    UserStatus,
)

from .people import PASSWORD, People, old_login

ISSUER = "https://login.example.org/realms/sky"


def _claims(**changes: Any) -> OpenIDClaims:
    return OpenIDClaims(
        **({"full_name": "Ada L", "email": "ada@x.org", "suggested_name": "Ada.L@x.org"} | changes)
    )


def _pending(people: People, subject: str = "1", **changes: Any) -> PendingUser:
    found = people.openid.from_openid(ISSUER, subject, _claims(**changes))
    assert isinstance(found, PendingUser)
    return found


def _account(people: People, name: str, subject: str = "1", **changes: Any) -> User:
    pending = _pending(people, subject, **changes)
    made = people.openid.choose_name(pending.pending_id, name, approval=False)
    assert isinstance(made, User)
    return made


def test_a_first_login_chooses_a_name_and_has_an_account(people: People) -> None:
    pending = _pending(people)
    assert pending.state is PendingState.NAMING
    assert pending.suggested_name == "ada_l"
    assert people.openid.get_pending(pending.pending_id) == pending
    made = people.openid.choose_name(pending.pending_id, "ada", approval=False)
    assert isinstance(made, User)
    assert (made.username, made.full_name, made.email) == ("ada", "Ada L", "ada@x.org")
    again = people.openid.from_openid(ISSUER, "1", _claims())
    assert isinstance(again, User)
    assert again.username == "ada"
    assert again.last_login is not None
    assert people.openid.identities("ada") == ((ISSUER, "1"),)
    with pytest.raises(NotFoundError):
        people.openid.choose_name(pending.pending_id, "ada_two", approval=False)


def test_a_waiting_account_is_approved_by_an_administrator(people: People) -> None:
    pending = _pending(people)
    asked = people.openid.choose_name(pending.pending_id, "ada", approval=True)
    assert isinstance(asked, PendingUser)
    assert asked.state is PendingState.WAITING
    assert _pending(people).pending_id == pending.pending_id
    assert [p.requested_name for p in people.openid.pending()] == ["ada"]
    with pytest.raises(NotFoundError):
        people.users.get("ada")
    bob = people.session(people.user("bob"))
    owner = people.session("owner")
    for caller in (bob, old_login(owner)):
        with pytest.raises(ForbiddenError):
            people.openid.approve("ada", by=caller)
    assert people.openid.approve("ada", by=owner).username == "ada"
    assert isinstance(people.openid.from_openid(ISSUER, "1", _claims()), User)
    assert people.openid.pending() == ()
    with pytest.raises(NotFoundError):
        people.openid.approve("ada", by=owner)


def test_a_refused_request_leaves_the_name_free(people: People) -> None:
    pending = _pending(people)
    people.openid.choose_name(pending.pending_id, "ada", approval=True)
    people.openid.refuse("ada", by=OPERATOR)
    assert people.openid.pending() == ()
    people.user("ada")
    assert people.audit.page(action="user.refuse").entries[0].target == "ada"


def test_an_address_is_not_an_identity(people: People) -> None:
    """Whoever can make a provider say an address must not get that account."""
    people.users.create("bob", email="bob@x.org", password=PASSWORD, by=OPERATOR)
    found = people.openid.from_openid(ISSUER, "1", _claims(email="bob@x.org", suggested_name="bob"))
    assert isinstance(found, PendingUser)
    assert found.suggested_name == "bob2"
    with pytest.raises(ConflictError):
        people.openid.choose_name(found.pending_id, "bob", approval=False)
    elsewhere = people.openid.from_openid("https://evil.example", "1", _claims())
    assert isinstance(elsewhere, PendingUser)
    assert elsewhere.pending_id != found.pending_id


@pytest.mark.parametrize("name", ["root", "owner", "Ada", "a", "admins"])
def test_reserved_and_malformed_names_are_not_chosen(people: People, name: str) -> None:
    pending = _pending(people)
    with pytest.raises(BadParameterError):
        people.openid.choose_name(pending.pending_id, name, approval=False)


@pytest.mark.parametrize(
    ("wanted", "suggested"),
    [
        ("ada", "ada"),
        ("Ada.Lovelace@x.org", "ada_lovelace"),
        ("0000-0002-1825-0097", None),
        ("root", "root2"),
        ("", None),
        (None, None),
        ("x" * 80, "x" * 28),
        ("'; DROP TABLE--", "drop_table"),
    ],
)
def test_a_name_is_suggested_that_may_be_had(
    people: People, wanted: str | None, suggested: str | None
) -> None:
    assert _pending(people, suggested_name=wanted).suggested_name == suggested


def test_two_do_not_wait_for_one_name(people: People) -> None:
    first, second = _pending(people, "1"), _pending(people, "2")
    people.openid.choose_name(first.pending_id, "ada", approval=True)
    with pytest.raises(ConflictError):
        people.openid.choose_name(second.pending_id, "ada", approval=True)
    people.user("ada")
    with pytest.raises(ConflictError):
        people.openid.approve("ada", by=OPERATOR)
    again = _pending(people, "1")
    assert (again.state, again.requested_name) == (PendingState.NAMING, None)


def test_groups_follow_the_claims_at_each_login(people: People) -> None:
    _account(people, "ada", groups=("survey_team", "survey_team", "Not A Name", "root"))
    token = people.session_token("ada")
    assert people.groups.of("ada") == {"survey_team"}
    assert people.groups.get("survey_team").from_claims
    (member,) = people.groups.members("survey_team")
    assert (member.name, member.role, member.from_claims) == ("ada", Role.MEMBER, True)
    people.openid.from_openid(ISSUER, "1", _claims(groups=("novae", "survey_team")))
    assert people.groups.of("ada") == {"survey_team", "novae"}
    people.openid.from_openid(ISSUER, "1", _claims(groups=("novae",)))
    assert people.groups.of("ada") == {"novae"}
    assert people.authenticator.authenticate(token, address=None).groups == {"novae"}
    people.openid.from_openid(ISSUER, "1", _claims(groups=None))
    assert people.groups.of("ada") == {"novae"}
    people.openid.from_openid(ISSUER, "1", _claims(groups=()))
    assert people.groups.of("ada") == frozenset()


def test_claims_put_nobody_into_a_group_that_was_made_here(people: People) -> None:
    """Not into the administrators' group, and not into one that a user made to lie in wait."""
    people.user("bob")
    people.groups.create("survey_team", by=people.session("bob"))
    _account(people, "ada", groups=("admins", "survey_team", "bob"))
    assert people.groups.of("ada") == frozenset()
    people.groups.invite("survey_team", "ada", by=people.session("bob"))
    (invitation,) = people.groups.invitations(username="ada")
    people.groups.accept(invitation.invitation_id, by=people.session("ada"))
    people.openid.from_openid(ISSUER, "1", _claims(groups=()))
    assert people.groups.of("ada") == {"survey_team"}


def test_a_providers_group_gives_scopes_by_nesting(people: People) -> None:
    _account(people, "ada", groups=("operators",))
    people.groups.add("admins", "operators", by=OPERATOR)
    assert "admin:platform" in people.session("ada").scopes
    people.openid.from_openid(ISSUER, "1", _claims(groups=()))
    assert "admin:platform" not in people.session("ada").scopes


def test_memberships_from_claims_are_not_changed_here(people: People) -> None:
    _account(people, "ada", groups=("novae",))
    with pytest.raises(ConflictError, match="provider"):
        people.groups.remove("novae", "ada", by=OPERATOR)
    with pytest.raises(ConflictError, match="provider"):
        people.groups.add("novae", "ada", by=OPERATOR, role=Role.OWNER)
    with pytest.raises(ConflictError, match="provider"):
        people.groups.remove("novae", "ada", by=people.session("ada"))
    people.user("bob")
    people.groups.add("novae", "bob", by=OPERATOR)
    people.openid.from_openid(ISSUER, "1", _claims(groups=()))
    assert [m.name for m in people.groups.members("novae")] == ["bob"]


def test_names_and_addresses_are_refreshed_but_not_erased(people: People) -> None:
    _account(people, "ada")
    people.openid.from_openid(ISSUER, "1", _claims(full_name="Ada Lovelace", email=""))
    user = people.users.get("ada")
    assert (user.full_name, user.email) == ("Ada Lovelace", "ada@x.org")
    odd = people.openid.from_openid(ISSUER, "1", _claims(full_name="A\x00\x1b[31m", email="a b"))
    assert isinstance(odd, User)
    assert (odd.full_name, odd.email) == ("Ada Lovelace", "ada@x.org")


def test_a_providers_number_becomes_the_uid(people: People) -> None:
    assert _account(people, "ada", uid=123_456).uid == 123_456
    pending = _pending(people, "2", uid=123_456)
    with pytest.raises(ConflictError, match="123456"):
        people.openid.choose_name(pending.pending_id, "eve", approval=False)


def test_a_disabled_account_does_not_come_in_by_its_provider(people: People) -> None:
    _account(people, "ada")
    people.users.disable("ada", by=OPERATOR)
    with pytest.raises(UnauthenticatedError):
        people.openid.from_openid(ISSUER, "1", _claims())


def test_who_was_deleted_comes_back_as_somebody_new(people: People) -> None:
    _account(people, "ada")
    people.users.delete("ada", by=OPERATOR)
    pending = _pending(people)
    assert pending.suggested_name == "ada_l"
    with pytest.raises(ConflictError):
        people.openid.choose_name(pending.pending_id, "ada", approval=False)
    assert people.users.get("ada").status is UserStatus.DELETED


def test_an_account_of_a_provider_has_no_password(people: People) -> None:
    _account(people, "ada")
    with pytest.raises(UnauthenticatedError):
        people.users.login("ada", "", address=None)


@pytest.mark.parametrize(("issuer", "subject"), [("", "1"), (ISSUER, ""), (ISSUER, "x" * 257)])
def test_what_no_provider_may_say(people: People, issuer: str, subject: str) -> None:
    with pytest.raises(BadParameterError):
        people.openid.from_openid(issuer, subject, _claims())
