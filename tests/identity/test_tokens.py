"""Tokens: what they may do, who makes and ends them, what is kept of them."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, text

from astrolabe.core.errors import (
    AstrolabeError,
    BadParameterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnauthenticatedError,
)
from astrolabe.identity.authority import OPERATOR
from astrolabe.identity.model import TokenKind
from astrolabe.identity.principal import ANONYMOUS
from astrolabe.identity.schema import TOKEN
from astrolabe.identity.token_text import TokenText

from .people import People, later, old_login


def test_a_token_has_the_form_that_logs_and_scanners_know() -> None:
    token = TokenText.new()
    assert re.fullmatch(r"al-[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{22}", token.text)
    assert TokenText.parse(token.text) == token
    assert token.secret not in repr(token)


@pytest.mark.parametrize("change", ["{}x", "{}\n", " {}", "x{}", "{}."])
def test_what_only_looks_like_a_token_is_none(change: str) -> None:
    assert TokenText.parse(change.format(TokenText.new().text)) is None


def test_the_secret_is_stored_nowhere(people: People) -> None:
    people.user("bob")
    text_ = people.session_token("bob")
    secret = text_.partition(".")[2]
    with people.database.read() as connection:
        for table in ("identity_token", "identity_token_change", "identity_audit"):
            rows = connection.execute(text(f"SELECT * FROM {table}")).all()
            assert secret not in repr(rows)
        assert connection.execute(select(TOKEN)).first() is not None


def test_a_session_has_what_the_groups_allow(people: People) -> None:
    people.user("bob")
    assert "admin:user" in people.session("owner").scopes
    assert people.session("bob").scopes == people.policy.allowed(())
    assert people.session("bob", scopes=["read:tap", "admin:user"]).scopes == {"read:tap"}


def test_a_users_token_outlives_its_session_but_never_exceeds_it(people: People) -> None:
    people.user("bob")
    session = people.session("bob", scopes=["read:tap", "user:token"])
    made = people.tokens.create_user_token(session, name="laptop", scopes=["read:tap"])
    with pytest.raises(ForbiddenError, match="read:workspace"):
        people.tokens.create_user_token(session, name="more", scopes=["read:workspace"])
    assert session.token_key is not None
    people.tokens.revoke(session.token_key, by=session)
    principal = people.authenticator.authenticate(made.text, address=None)
    assert principal.scopes == {"read:tap"}
    assert principal.kind == "user"
    assert principal.authenticated is None


def test_making_a_token_needs_a_session_with_a_recent_login(people: People) -> None:
    people.user("bob")
    session = people.session("bob")
    with pytest.raises(ForbiddenError, match="15 minutes"):
        people.tokens.create_user_token(old_login(session), name="a", scopes=["read:tap"])
    made = people.tokens.create_user_token(session, name="a", scopes=["user:token", "read:tap"])
    own = people.authenticator.authenticate(made.text, address=None)
    with pytest.raises(ForbiddenError, match="session"):
        people.tokens.create_user_token(own, name="b", scopes=["read:tap"])
    with pytest.raises(UnauthenticatedError):
        people.tokens.create_user_token(ANONYMOUS, name="b", scopes=["read:tap"])
    without = replace(session, scopes=frozenset({"read:tap"}))
    with pytest.raises(ForbiddenError, match="user:token"):
        people.tokens.create_user_token(without, name="b", scopes=["read:tap"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scopes": ["read:everything"]}, "no scope"),
        ({"name": " "}, "name of a token"),
        ({"name": "a\nb"}, "name of a token"),
        ({"name": "x" * 101}, "name of a token"),
        ({"expires": later(seconds=-5)}, "future"),
        ({"expires": later(days=31)}, "30 days"),
    ],
)
def test_what_a_token_cannot_be(people: People, options: dict[str, Any], message: str) -> None:
    session = people.session("owner")
    with pytest.raises(BadParameterError, match=message):
        people.tokens.create_user_token(
            session,
            **({"name": "a", "scopes": ["read:tap"]} | options),
        )


def test_names_of_own_tokens_are_unique_and_their_number_is_limited(people: People) -> None:
    session = people.session("owner")
    for name in "abcd":
        people.tokens.create_user_token(session, name=name, scopes=[])
    with pytest.raises(ConflictError, match="as many as allowed"):
        people.tokens.create_user_token(session, name="e", scopes=[])
    first = people.tokens.list("owner", kinds=["user"])[-1]
    assert first.name == "a"
    with pytest.raises(ConflictError, match="'b'"):
        people.tokens.rename(session, first.key, "b")
    people.tokens.revoke(first.key, by=session)
    people.tokens.create_user_token(session, name="a", scopes=[])


def test_many_who_make_tokens_at_once_stay_within_the_limit(people: People) -> None:
    session = people.session("owner")
    made: list[str] = []

    def make(number: int) -> None:
        try:
            people.tokens.create_user_token(session, name=f"n{number}", scopes=[])
            made.append(str(number))
        except ConflictError:
            pass

    threads = [threading.Thread(target=make, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert len(people.tokens.list("owner", kinds=["user"])) == 4


def test_a_child_holds_what_its_parent_holds_and_dies_with_it(people: People) -> None:
    people.user("bob")
    session = people.session("bob", scopes=["read:tap", "user:token"])
    assert session.token_key is not None
    child = people.tokens.create_child(
        session, kind="service", scopes=["read:tap", "read:workspace"], expires=later(days=300)
    )
    grandchild = people.tokens.create_child(
        child.info.key, kind=TokenKind.OIDC, scopes=["read:tap", "user:token"]
    )
    assert child.info.scopes == {"read:tap"}
    assert grandchild.info.scopes == {"read:tap"}
    session_info = people.tokens.get(session.token_key)
    assert child.info.expires == grandchild.info.expires == session_info.expires
    people.authenticator.authenticate(grandchild.text, address=None)
    people.tokens.revoke(session.token_key, by=session)
    for token in (child, grandchild):
        with pytest.raises(UnauthenticatedError):
            people.authenticator.authenticate(token.text, address=None)
        with pytest.raises(UnauthenticatedError):
            people.tokens.create_child(token.info.key, kind="lab", scopes=["read:tap"])


def test_a_child_never_gets_what_its_parents_principal_lost(people: People) -> None:
    session = people.session("owner")
    less = replace(session, scopes=frozenset({"read:tap"}))
    child = people.tokens.create_child(less, kind="service", scopes=["read:tap", "admin:user"])
    assert child.info.scopes == {"read:tap"}


def test_a_lab_never_administers_nor_makes_tokens(people: People) -> None:
    session = people.session("owner")
    lab = people.tokens.create_child(session, kind="lab", scopes=session.scopes)
    held = people.authenticator.authenticate(lab.text, address=None).scopes
    assert held == session.scopes - {"user:token", "admin:user", "admin:platform"}


@pytest.mark.parametrize("kind", ["session", "user", "root"])
def test_sessions_and_users_tokens_are_no_children(people: People, kind: str) -> None:
    with pytest.raises(BadParameterError, match=kind):
        people.tokens.create_child(people.session("owner"), kind=kind, scopes=[])


def test_others_tokens_do_not_exist(people: People) -> None:
    people.user("bob")
    people.user("eve")
    bob, eve, owner = (people.session(name) for name in ("bob", "eve", "owner"))
    assert bob.token_key is not None
    for attempt in (
        lambda: people.tokens.get(str(bob.token_key), by=eve),
        lambda: people.tokens.revoke(str(bob.token_key), by=eve),
        lambda: people.tokens.rename(eve, str(bob.token_key), "mine"),
        lambda: people.tokens.revoke("x" * 22, by=owner),
    ):
        with pytest.raises(NotFoundError):
            attempt()
    with pytest.raises(ForbiddenError, match="15 minutes"):
        people.tokens.revoke(bob.token_key, by=old_login(owner))
    people.tokens.revoke(bob.token_key, by=owner, address="192.0.2.9")
    assert not people.authenticator.is_alive(bob.token_key)
    line = people.tokens.history(username="bob").changes[0]
    assert (line.actor, line.action, line.address) == ("owner", "revoke", "192.0.2.9")


def test_any_token_may_end_itself_but_others_only_with_the_scope(people: People) -> None:
    session = people.session("owner")
    made = people.tokens.create_user_token(session, name="a", scopes=["read:tap"])
    own = people.authenticator.authenticate(made.text, address=None)
    assert session.token_key is not None
    with pytest.raises(ForbiddenError, match="user:token"):
        people.tokens.revoke(session.token_key, by=own)
    people.tokens.revoke(made.info.key, by=own)
    assert not people.authenticator.is_alive(made.info.key)
    assert people.authenticator.is_alive(session.token_key)


def test_an_administrator_gives_others_no_more_than_their_groups_allow(people: People) -> None:
    people.user("bob")
    owner = people.session("owner")
    with pytest.raises(ForbiddenError, match="groups of bob"):
        people.tokens.create_for("bob", name="a", scopes=["admin:user"], by=owner)
    with pytest.raises(ForbiddenError, match="admin:user"):
        people.tokens.create_for("bob", name="a", scopes=[], by=people.session("bob"))
    with pytest.raises(NotFoundError):
        people.tokens.create_for("nina", name="a", scopes=[], by=owner)
    less = replace(owner, scopes=frozenset({"admin:user"}))
    with pytest.raises(ForbiddenError, match="your own"):
        people.tokens.create_for("bob", name="a", scopes=["read:tap"], by=less)
    made = people.tokens.create_for("bob", name="a", scopes=["read:tap"], by=OPERATOR)
    assert people.authenticator.authenticate(made.text, address=None).username == "bob"
    assert people.tokens.history(key=made.info.key).changes[0].actor == "operator"


def test_lists_show_what_works_and_on_request_what_has_ended(people: People) -> None:
    session = people.session("owner")
    made = people.tokens.create_user_token(session, name="a", scopes=["read:tap"])
    people.expire(made.info.key)
    assert made.info.key not in {t.key for t in people.tokens.list("owner")}
    ended = people.tokens.list("owner", kinds=["user"], with_ended=True)
    assert [t.key for t in ended] == [made.info.key]
    with pytest.raises(UnauthenticatedError):
        people.authenticator.authenticate(made.text, address=None)


def test_history_comes_in_pages(people: People) -> None:
    session = people.session("owner")
    made = people.tokens.create_user_token(session, name="a", scopes=["read:tap"])
    for number in range(4):
        people.tokens.rename(session, made.info.key, f"a{number}")
    seen, cursor = [], None
    while True:
        page = people.tokens.history(key=made.info.key, cursor=cursor, limit=2)
        seen += [change.action for change in page.changes]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == ["rename"] * 4 + ["create"]
    with pytest.raises(BadParameterError, match="cursor"):
        people.tokens.history(cursor="1; DROP")
    for limit in (0, 1001):
        with pytest.raises(BadParameterError, match="1 to 1000"):
            people.tokens.history(limit=limit)


def test_a_revocation_and_a_new_child_at_once_leave_no_child_alive(people: People) -> None:
    """Whichever comes first, nothing that came of a revoked token works."""
    people.user("bob")
    for _ in range(10):
        session = people.session("bob")
        children: list[str] = []
        start = threading.Barrier(3)

        def make(key: str, start: threading.Barrier, children: list[str]) -> None:
            start.wait()
            try:
                child = people.tokens.create_child(key, kind="service", scopes=["read:tap"])
                children.append(child.info.key)
            except UnauthenticatedError:
                pass

        key = str(session.token_key)
        threads = [threading.Thread(target=make, args=(key, start, children)) for _ in range(2)]
        for thread in threads:
            thread.start()
        start.wait()
        people.tokens.revoke(key, by=session)
        for thread in threads:
            thread.join()
        assert not any(people.authenticator.is_alive(child) for child in children)


def test_every_refusal_is_an_error_of_ours(people: People) -> None:
    with pytest.raises(AstrolabeError):
        people.tokens.create_session("nobody_here", address=None, authenticated=later())
