"""Clients of the provider: from the settings and from administrators."""

from __future__ import annotations

from dataclasses import replace

import pytest

from astrolabe.core.database import Database
from astrolabe.core.errors import (
    BadParameterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
)
from astrolabe.identity.authority import OPERATOR
from astrolabe.identity.openid.clients import Client, ClientRegistry, Consent, hash_client_secret
from astrolabe.identity.openid.protocol import ProtocolError
from astrolabe.identity.openid.schema import CLIENT

from .openid_support import CALLBACK, SECRET, Login, make, session_of
from .people import People, old_login

SITE = Client(client_id="site", name="A site", redirect_uris=(CALLBACK,))
SETTINGS = replace(SITE, client_id="from_settings", secret_hash=hash_client_secret(SECRET))


@pytest.fixture
def clients(database: Database, people: People) -> ClientRegistry:
    return ClientRegistry(database, audit=people.audit, configured=[SETTINGS])


def test_a_registered_client(clients: ClientRegistry, people: People, database: Database) -> None:
    made = clients.create(OPERATOR, SITE, address="192.0.2.7")
    assert made.secret is not None
    assert made.secret not in repr(made)
    found = clients.get("site")
    assert found == made.client
    assert not made.client.from_settings
    assert clients.authenticate("site", made.secret) == found
    with database.read() as connection:
        assert made.secret not in str(connection.execute(CLIENT.select()).all())
    (line,) = people.audit.page(action="client.").entries
    assert (line.action, line.target, line.address) == ("client.create", "site", "192.0.2.7")
    assert made.secret not in str(line)


def test_a_new_secret_ends_the_old_one(clients: ClientRegistry) -> None:
    old = clients.create(OPERATOR, SITE).secret
    new = clients.new_secret(OPERATOR, "site").secret
    assert new != old
    clients.authenticate("site", new)
    with pytest.raises(ProtocolError):
        clients.authenticate("site", old)


def test_a_public_client_has_no_secret(clients: ClientRegistry) -> None:
    made = clients.create(OPERATOR, replace(SITE, pkce_required=False), public=True)
    assert made.secret is None
    assert made.client.is_public
    assert made.client.pkce_required
    clients.authenticate("site", None)
    with pytest.raises(ProtocolError):
        clients.authenticate("site", "guess")
    with pytest.raises(ConflictError, match="has no secret"):
        clients.new_secret(OPERATOR, "site")


@pytest.mark.parametrize("secret", [None, "", "x" * 40, SECRET + " "])
def test_a_wrong_secret(clients: ClientRegistry, secret: str | None) -> None:
    clients.authenticate("from_settings", SECRET)
    for client_id in ("from_settings", "nobody", "No Id", "x\x00y"):
        with pytest.raises(ProtocolError) as caught:
            clients.authenticate(client_id, secret)
        assert (caught.value.error, caught.value.status) == ("invalid_client", 401)


def test_clients_of_the_settings_are_changed_there(clients: ClientRegistry) -> None:
    for change in (
        lambda: clients.delete(OPERATOR, "from_settings"),
        lambda: clients.new_secret(OPERATOR, "from_settings"),
        lambda: clients.create(OPERATOR, replace(SITE, client_id="from_settings")),
    ):
        with pytest.raises(ConflictError):
            change()
    found = clients.get("from_settings")
    assert found is not None
    assert found.from_settings


def test_an_id_is_taken_once(clients: ClientRegistry) -> None:
    clients.create(OPERATOR, SITE)
    with pytest.raises(ConflictError, match="choose another id"):
        clients.create(OPERATOR, SITE)
    clients.delete(OPERATOR, "site")
    assert clients.get("site") is None
    with pytest.raises(NotFoundError):
        clients.delete(OPERATOR, "site")


def test_pages_have_all_clients_in_order(clients: ClientRegistry) -> None:
    for name in ("a-site", "zsite", "a_site", "from_site"):
        clients.create(OPERATOR, replace(SITE, client_id=name))
    seen: list[str] = []
    cursor = None
    while True:
        page = clients.page(OPERATOR, limit=2, cursor=cursor)
        seen += [client.client_id for client in page.clients]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == ["a-site", "a_site", "from_settings", "from_site", "zsite"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"client_id": "A"}, "client id"),
        ({"client_id": "-x-"}, "client id"),
        ({"client_id": "a/../b"}, "client id"),
        ({"name": " "}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"redirect_uris": ()}, "redirect URIs"),
        ({"redirect_uris": (CALLBACK,) * 21}, "redirect URIs"),
        ({"redirect_uris": ("http://hub.example.org/cb",)}, "https"),
        ({"redirect_uris": ("http://127.0.0.1.evil.example/cb",)}, "https"),
        ({"redirect_uris": ("https://*.example.org/cb",)}, "wildcard"),
        ({"redirect_uris": ("https://hub.example.org/cb#x",)}, "fragment"),
        ({"redirect_uris": ("https://a@hub.example.org/cb",)}, "user name"),
        ({"redirect_uris": ("https://hub.example.org\\@evil/cb",)}, "user name"),
        ({"redirect_uris": ("/cb",)}, "not an address"),
        ({"redirect_uris": ("https://[::1/cb",)}, "not an address"),
        ({"redirect_uris": ("https://hub.example.org:99999/",)}, "not an address"),
        ({"redirect_uris": ("https://h\u00f6b.example.org/",)}, "not an address"),
        ({"redirect_uris": ("javascript:alert(1)",)}, "not an address"),
        ({"redirect_uris": ("data:text/html,x",)}, "not an address"),
        ({"scopes": frozenset({"admin:user"})}, "cannot be given"),
        ({"scopes": frozenset({"user:token"})}, "cannot be given"),
        ({"scopes": frozenset({"groups"})}, "every client may ask"),
        ({"algorithm": "none"}, "RS256 or ES256"),
    ],
    ids=str,
)
def test_what_a_client_may_not_be(
    clients: ClientRegistry, changes: dict[str, object], why: str
) -> None:
    with pytest.raises(BadParameterError, match=why):
        clients.create(OPERATOR, replace(SITE, **changes))  # type: ignore[arg-type]  # wrong on purpose
    assert clients.get("site") is None


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:8000/cb", "http://[::1]/cb", "http://localhost/"]
)
def test_http_is_right_on_the_users_own_machine(clients: ClientRegistry, uri: str) -> None:
    made = clients.create(OPERATOR, replace(SITE, redirect_uris=(uri,)))
    assert made.client.redirect_uris == (uri,)


def test_only_administrators_with_a_recent_login(clients: ClientRegistry, people: People) -> None:
    people.user("alice")
    people.user("dora", "admins")
    clients.create(people.session("dora"), SITE)
    old = old_login(people.session("dora"))
    for principal in (people.session("alice"), old):
        for change in (
            lambda p=principal: clients.create(p, replace(SITE, client_id="other")),
            lambda p=principal: clients.delete(p, "site"),
            lambda p=principal: clients.new_secret(p, "site"),
        ):
            with pytest.raises(ForbiddenError):
                change()
    assert clients.page(old).clients
    with pytest.raises(ForbiddenError):
        clients.page(people.session("alice"))


def test_a_client_that_is_removed_refreshes_nothing(people: People) -> None:
    people.user("alice")
    provider = make(people, hub={"secret": SECRET, "redirect_uris": (CALLBACK,)})
    made = provider.clients.create(OPERATOR, replace(SITE, consent=Consent.IMPLICIT))
    login = Login(provider, "site")
    answer = login.redeem(login.code(session_of(people, "alice")), secret=made.secret)
    provider.clients.delete(OPERATOR, "site")
    with pytest.raises(ProtocolError):
        login.refresh(answer["refresh_token"], secret=made.secret)
    # Neither does one that takes its id later.
    again = provider.clients.create(OPERATOR, SITE)
    with pytest.raises(ProtocolError, match="ended"):
        login.refresh(answer["refresh_token"], secret=again.secret)
