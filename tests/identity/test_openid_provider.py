"""The platform as OpenID provider: the whole flow, and whoever tries to get around it."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy import select, update

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import (
    BadParameterError,
    ForbiddenError,
    NotFoundError,
    UnauthenticatedError,
)
from astrolabe.identity.authority import OPERATOR
from astrolabe.identity.model import Role
from astrolabe.identity.openid import keys as keys_module
from astrolabe.identity.openid.authorize import AskConsent, LogIn
from astrolabe.identity.openid.protocol import ProtocolError
from astrolabe.identity.openid.provider import OpenIDProvider
from astrolabe.identity.openid.schema import CODE, GRANT
from astrolabe.identity.principal import Principal

from .openid_support import CALLBACK, HUB, ISSUER, SECRET, Login, make, session_of
from .people import PASSWORD, People

PARTNER_CALLBACK = "https://partner.example.org/cb"
PROGRAM_CALLBACK = "http://127.0.0.1:18200/cb"


@pytest.fixture(scope="module")
def made_keys() -> dict[str, Any]:
    """A key of each algorithm; making one for RS256 takes half a second."""
    return {name: keys_module._generate(name) for name in keys_module.ALGORITHMS}


@pytest.fixture(autouse=True)
def _no_keys_are_made_anew(monkeypatch: pytest.MonkeyPatch, made_keys: dict[str, Any]) -> None:
    monkeypatch.setattr(keys_module, "_generate", made_keys.__getitem__)


@pytest.fixture
def people(database: Database) -> People:
    people = People(database, cache_seconds=0)
    people.users.ensure_owner()
    people.users.create(
        "alice", password=PASSWORD, full_name="Alice A", email="alice@example.org", by=OPERATOR
    )
    people.groups.create("astronomers", owner="alice", by=OPERATOR)
    people.groups.add("astronomers", "owner", role=Role.MEMBER, by=OPERATOR)
    return people


@pytest.fixture
def provider(people: People) -> OpenIDProvider:
    return make(people)


@pytest.fixture
def alice(people: People) -> Principal:
    return session_of(people, "alice")


def refused(error: str, call: Callable[[], object]) -> str:
    with pytest.raises(ProtocolError) as caught:
        call()
    assert caught.value.error == error
    assert "\\" not in caught.value.description
    assert '"' not in caught.value.description
    return caught.value.description


def claims_of(provider: OpenIDProvider, answer: dict[str, Any]) -> dict[str, Any]:
    keys = KeySet.import_key_set(provider.keys.jwks())  # type: ignore[arg-type]  # plain dicts
    return jwt.decode(answer["id_token"], keys, algorithms=["RS256", "ES256"]).claims


# --- the flow ------------------------------------------------------------------------------------


def test_a_login(people: People, provider: OpenIDProvider, alice: Principal) -> None:
    login = Login(provider)
    answer = login.redeem(login.code(alice))
    assert answer["token_type"] == "Bearer"
    assert 3500 < answer["expires_in"] <= 3600
    # What nobody knows, and what no client may have, was left out.
    assert answer["scope"].split() == [
        *("email", "exec:notebook", "groups", "openid", "profile", "read:tap")
    ]
    claims = claims_of(provider, answer)
    now = utc_now().timestamp()
    assert abs(claims.pop("iat") - now) < 60
    assert abs(claims.pop("exp") - now - 3600) < 60
    assert alice.authenticated is not None
    assert claims.pop("auth_time") == int(alice.authenticated.timestamp())
    assert len(claims.pop("at_hash")) == 22
    told = {
        "sub": "alice",
        "preferred_username": "alice",
        "name": "Alice A",
        "uid": people.users.get("alice").uid,
        "email": "alice@example.org",
        "email_verified": False,
        "groups": ["astronomers"],
        "scopes": ["exec:notebook", "read:tap"],
    }
    assert claims == told | {"iss": ISSUER, "aud": "hub", "azp": "hub", "nonce": login.nonce}

    caller = people.authenticator.authenticate(answer["access_token"], address=None)
    assert (caller.username, caller.kind) == ("alice", "oidc")
    assert caller.scopes == {"read:tap", "exec:notebook"}
    assert provider.userinfo(caller) == told


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_each_client_has_its_algorithm(people: People, alice: Principal, algorithm: str) -> None:
    provider = make(people, hub=HUB | {"algorithm": algorithm})
    login = Login(provider)
    token = login.redeem(login.code(alice))["id_token"]
    assert f'"alg":"{algorithm}"' in base64.urlsafe_b64decode(token.split(".")[0] + "==").decode()


def test_only_what_was_asked_for_is_told(provider: OpenIDProvider, alice: Principal) -> None:
    login = Login(provider, scope="openid")
    claims = claims_of(provider, login.redeem(login.code(alice)))
    told = {"sub", "iss", "aud", "azp", "iat", "exp", "auth_time", "nonce", "at_hash"}
    assert claims.keys() == told


def test_a_client_never_gets_more_than_the_session_has(
    people: People, provider: OpenIDProvider
) -> None:
    made = people.tokens.create_session(
        "alice", address=None, authenticated=utc_now(), scopes=["read:workspace"]
    )
    narrow = people.authenticator.authenticate(made.text, address=None)
    login = Login(provider)
    answer = login.redeem(login.code(narrow))
    assert people.authenticator.authenticate(answer["access_token"], address=None).scopes == set()
    # It asked, and is told that there is none.
    assert "read:tap" not in answer["scope"].split()


def test_the_token_endpoint_takes_basic(provider: OpenIDProvider, alice: Principal) -> None:
    login = Login(provider)
    form = {
        "grant_type": "authorization_code",
        "code": login.code(alice),
        "redirect_uri": CALLBACK,
        "code_verifier": login.verifier,
    }
    header = "Basic " + base64.b64encode(f"hub:{SECRET}".encode()).decode()
    answer = provider.exchange.answer(form.items(), authorization=header, address=None)
    assert claims_of(provider, answer)["sub"] == "alice"


def test_a_program_without_a_secret(provider: OpenIDProvider, alice: Principal) -> None:
    login = Login(provider, "program", redirect_uri=PROGRAM_CALLBACK, scope="openid")
    question = login.ask(alice)
    assert isinstance(question, AskConsent)
    code = login.answer(provider.authorization.decide(question.form, alice, allow=True))["code"]
    refused("invalid_client", lambda: login.redeem(code, secret=SECRET))
    assert claims_of(provider, login.redeem(code, secret=None))["aud"] == "program"


# --- logging in first ----------------------------------------------------------------------------


def test_nobody_is_sent_to_log_in_and_comes_back(
    provider: OpenIDProvider, alice: Principal
) -> None:
    login = Login(provider)
    outcome = login.ask()
    assert isinstance(outcome, LogIn)
    assert not outcome.again
    back = provider.authorization.ask([("resume", outcome.resume)], alice)
    assert claims_of(provider, login.redeem(login.answer(back)["code"]))["sub"] == "alice"


def test_a_form_becomes_an_address(provider: OpenIDProvider, alice: Principal) -> None:
    login = Login(provider)
    resume = provider.authorization.seal(login.parameters)
    answer = login.answer(provider.authorization.ask([("resume", resume)], alice))
    assert login.redeem(answer["code"])["id_token"]


def test_prompt_none_never_shows_anything(provider: OpenIDProvider, alice: Principal) -> None:
    login = Login(provider, prompt="none")
    assert login.answer(login.ask())["error"] == "login_required"
    assert "code" in login.answer(login.ask(alice))
    partner = Login(provider, "partner", redirect_uri=PARTNER_CALLBACK, prompt="none")
    assert partner.answer(partner.ask(alice))["error"] == "consent_required"
    both = Login(provider, prompt="none login")
    assert both.answer(both.ask(alice))["error"] == "invalid_request"


@pytest.mark.parametrize("asked", [{"prompt": "login"}, {"max_age": "0"}, {"max_age": "600"}])
def test_a_new_login_can_be_demanded(
    people: People, provider: OpenIDProvider, asked: dict[str, Any]
) -> None:
    made = people.tokens.create_session(
        "alice", address=None, authenticated=utc_now() - timedelta(hours=1)
    )
    old = people.authenticator.authenticate(made.text, address=None)
    login = Login(provider, **asked)
    outcome = login.ask(old)
    assert isinstance(outcome, LogIn)
    assert outcome.again
    # Coming back with the same session is not enough.
    again = provider.authorization.ask([("resume", outcome.resume)], old)
    assert isinstance(again, LogIn)
    fresh = provider.authorization.ask([("resume", outcome.resume)], session_of(people, "alice"))
    assert "code" in login.answer(fresh)
    if "max_age" in asked:
        silent = Login(provider, prompt="none", **asked)
        assert silent.answer(silent.ask(old))["error"] == "login_required"


def test_a_hint_names_who_must_be_logged_in(
    people: People, provider: OpenIDProvider, alice: Principal
) -> None:
    login = Login(provider)
    token = login.redeem(login.code(alice))["id_token"]
    same = Login(provider, prompt="none", id_token_hint=token)
    assert "code" in same.answer(same.ask(alice))
    other = Login(provider, prompt="none", id_token_hint=token)
    assert other.answer(other.ask(session_of(people, "owner")))["error"] == "login_required"
    forged = Login(provider, id_token_hint=token[:-6] + "AAAAAA")
    assert forged.answer(forged.ask(alice))["error"] == "invalid_request"


def test_only_sessions_log_in_elsewhere(people: People, provider: OpenIDProvider) -> None:
    login = Login(provider)
    made = people.tokens.create_for("alice", name="mine", scopes=["read:tap"], by=OPERATOR)
    by_token = people.authenticator.authenticate(made.text, address=None)
    with pytest.raises(ForbiddenError, match="needs a session"):
        login.ask(by_token)
    # A client's token cannot log in at the next client either.
    answer = login.redeem(login.code(session_of(people, "alice")))
    with pytest.raises(ForbiddenError, match="needs a session"):
        login.ask(people.authenticator.authenticate(answer["access_token"], address=None))


# --- requests that are wrong ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        None,
        "",
        CALLBACK + "/",
        CALLBACK + "?x=1",
        CALLBACK + "#x",
        CALLBACK.upper(),
        CALLBACK.replace("https", "http"),
        CALLBACK.replace("hub.example.org", "hub.example.org:443"),
        CALLBACK.replace("hub.example.org", "hub.example.org.evil.example"),
        CALLBACK.replace("hub.example.org", "hub.example.org@evil.example"),
        CALLBACK.replace("/hub/", "/hub/../hub/"),
        PARTNER_CALLBACK,
        "https://evil.example/",
        "javascript:alert(1)",
        "//evil.example",
    ],
)
def test_an_address_must_be_the_same_to_the_letter(
    provider: OpenIDProvider, alice: Principal, uri: str | None
) -> None:
    login = Login(provider)
    parameters = [pair for pair in login.parameters if pair[0] != "redirect_uri"]
    parameters += [] if uri is None else [("redirect_uri", uri)]
    for who in (alice, Principal()):
        with pytest.raises(BadParameterError, match="redirect_uri"):
            provider.authorization.ask(parameters, who)


@pytest.mark.parametrize("client_id", ["", "nobody", "HUB", "hub ", "hub\x00", "h" * 5000])
def test_an_unknown_client_is_told_here(provider: OpenIDProvider, client_id: str) -> None:
    with pytest.raises(BadParameterError, match="client"):
        Login(provider, client_id).ask()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"scope": "profile"}, "invalid_scope"),
        ({"scope": None}, "invalid_scope"),
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "٣"}, "invalid_request"),
        ({"nonce": "x" * 3000}, "invalid_request"),
        ({"nonce": "a\x00b"}, "invalid_request"),
        ({"request": "e30."}, "request_not_supported"),
        ({"request_uri": "https://evil.example/r"}, "request_uri_not_supported"),
        ({"registration": "{}"}, "registration_not_supported"),
    ],
)
def test_other_mistakes_are_told_to_the_client(
    provider: OpenIDProvider, alice: Principal, changes: dict[str, Any], error: str
) -> None:
    login = Login(provider, **changes)
    answer = login.answer(login.ask(alice))
    assert answer["error"] == error
    assert "code" not in answer


def test_a_parameter_that_comes_twice_is_refused(
    provider: OpenIDProvider, alice: Principal
) -> None:
    login = Login(provider)
    with pytest.raises(BadParameterError, match="redirect_uri may be given once"):
        provider.authorization.ask(
            [*login.parameters, ("redirect_uri", "https://evil.example/")], alice
        )


def test_what_was_sealed_cannot_be_made_or_mixed_up(
    people: People, provider: OpenIDProvider, alice: Principal
) -> None:
    login = Login(provider, "partner", redirect_uri=PARTNER_CALLBACK)
    question = login.ask(alice)
    assert isinstance(question, AskConsent)
    for text in ("", "x", question.form, question.form[:-4] + "AAAA"):
        with pytest.raises(BadParameterError, match="begun too long ago"):
            provider.authorization.ask([("resume", text)], alice)
    asked = login.ask()
    assert isinstance(asked, LogIn)
    for text in ("", asked.resume):
        with pytest.raises(BadParameterError, match="open for too long"):
            provider.authorization.decide(text, alice, allow=True)
    # Nobody agrees in another's name, nor in another session of the same user.
    for other in (session_of(people, "owner"), session_of(people, "alice"), Principal()):
        with pytest.raises(BadParameterError, match="another session"):
            provider.authorization.decide(question.form, other, allow=True)


# --- consent -------------------------------------------------------------------------------------


def test_a_partner_asks_once_and_again_for_more(
    people: People, provider: OpenIDProvider, alice: Principal
) -> None:
    def login(scope: str) -> Login:
        return Login(provider, "partner", redirect_uri=PARTNER_CALLBACK, scope=scope)

    first = login("openid groups")
    question = first.ask(alice)
    assert isinstance(question, AskConsent)
    assert question.wants == (
        "know who you are: your user name here",
        "see which groups you are in",
    )
    refusal = first.answer(provider.authorization.decide(question.form, alice, allow=False))
    assert refusal["error"] == "access_denied"
    assert isinstance(first.ask(alice), AskConsent)
    agreed = first.answer(provider.authorization.decide(question.form, alice, allow=True))
    answer = first.redeem(agreed["code"])
    same = login("openid groups")
    assert "code" in same.answer(same.ask(alice))
    assert isinstance(login("openid groups read:tap").ask(alice), AskConsent)
    # Another user is asked himself.
    assert isinstance(same.ask(session_of(people, "owner")), AskConsent)

    (given,) = provider.consents.list(alice)
    assert (given.client_id, sorted(given.scopes)) == ("partner", ["groups", "openid"])
    provider.consents.withdraw(alice, "partner")
    assert isinstance(same.ask(alice), AskConsent)
    with pytest.raises(UnauthenticatedError):
        people.authenticator.authenticate(answer["access_token"], address=None)
    with pytest.raises(NotFoundError):
        provider.consents.withdraw(alice, "partner")


def test_a_client_may_always_ask(people: People, alice: Principal) -> None:
    provider = make(people, hub=HUB | {"consent": "always"})
    login = Login(provider)
    for _ in range(2):
        question = login.ask(alice)
        assert isinstance(question, AskConsent)
        assert "code" in login.answer(
            provider.authorization.decide(question.form, alice, allow=True)
        )
    assert provider.consents.list(alice) == ()


# --- codes ---------------------------------------------------------------------------------------


def test_a_code_that_comes_twice_ends_everything(
    people: People, provider: OpenIDProvider, alice: Principal
) -> None:
    login = Login(provider)
    code = login.code(alice)
    answer = login.redeem(code)
    other = Login(provider)
    untouched = other.redeem(other.code(alice))
    assert "used before" in refused("invalid_grant", lambda: login.redeem(code))
    with pytest.raises(UnauthenticatedError):
        people.authenticator.authenticate(answer["access_token"], address=None)
    refused("invalid_grant", lambda: login.refresh(answer["refresh_token"]))
    # Another login at the same client goes on.
    people.authenticator.authenticate(untouched["access_token"], address=None)
    assert other.refresh(untouched["refresh_token"])["access_token"]


def test_of_many_who_bring_a_code_at_once_one_at_most_wins(
    provider: OpenIDProvider, alice: Principal
) -> None:
    login = Login(provider)
    code = login.code(alice)
    answers: list[object] = []
    start = threading.Barrier(4)

    def bring() -> None:
        start.wait()
        try:
            answers.append(login.redeem(code))
        except ProtocolError as exc:
            answers.append(exc.error)

    threads = [threading.Thread(target=bring) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    given = [answer for answer in answers if isinstance(answer, dict)]
    assert len(answers) == 4
    assert len(given) <= 1
    # Whoever won has lost it again: the code came more than once.
    for answer in given:
        refused("invalid_grant", lambda answer=answer: login.refresh(answer["refresh_token"]))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"redirect_uri": "https://hub.example.org/other?x=1"}, "redirect_uri"),
        ({"redirect_uri": ""}, "redirect_uri"),
        ({"code_verifier": "v" * 50}, "does not fit"),
        ({"code_verifier": ""}, "missing"),
        ({"code": "ac-" + "x" * 22 + "." + "y" * 22}, "unknown"),
        ({"code": "x' OR 1=1"}, "unknown"),
    ],
)
def test_a_code_is_good_only_where_it_was_sent(
    provider: OpenIDProvider, alice: Principal, changes: dict[str, str], why: str
) -> None:
    login = Login(provider)
    code = login.code(alice)
    assert why in refused("invalid_grant", lambda: login.redeem(code, **changes))
    # A mistake of somebody else does not cost the client its code.
    assert login.redeem(code)["id_token"]


def test_a_code_with_another_secret_half_is_unknown(
    provider: OpenIDProvider, alice: Principal
) -> None:
    login = Login(provider)
    code = login.code(alice)
    forged = code.rpartition(".")[0] + "." + "A" * 22
    refused("invalid_grant", lambda: login.redeem(forged))


def test_another_client_cannot_use_a_code(provider: OpenIDProvider, alice: Principal) -> None:
    login = Login(provider)
    code = login.code(alice)
    why = refused("invalid_grant", lambda: login.redeem(code, client_id="partner"))
    assert "another client" in why


def test_a_code_is_good_for_a_minute(
    people: People, provider: OpenIDProvider, alice: Principal
) -> None:
    login = Login(provider)
    code = login.code(alice)
    with people.database.write() as connection:
        (row,) = connection.execute(select(CODE)).all()
        assert timedelta(seconds=50) < row.expires - utc_now() <= timedelta(seconds=60)
        assert code.split(".")[1] not in str(row)
        connection.execute(update(CODE).values(expires=utc_now() - timedelta(seconds=1)))
    assert "too old" in refused("invalid_grant", lambda: login.redeem(code))


def test_a_code_without_a_challenge_takes_no_verifier(people: People, alice: Principal) -> None:
    provider = make(people, hub=HUB | {"pkce_required": False})
    login = Login(provider, code_challenge=None, code_challenge_method=None)
    code = login.code(alice)
    assert "no code_challenge" in refused("invalid_grant", lambda: login.redeem(code))
    assert login.redeem(code, code_verifier="")["id_token"]


# --- refreshing ----------------------------------------------------------------------------------


def test_a_refresh_token_is_good_once(
    people: People, provider: OpenIDProvider, alice: Principal
) -> None:
    login = Login(provider)
    first = login.redeem(login.code(alice))
    second = login.refresh(first["refresh_token"])
    claims = claims_of(provider, second)
    assert claims["auth_time"] == claims_of(provider, first)["auth_time"]
    assert "nonce" not in claims
    assert second["scope"] == first["scope"]
    third = login.refresh(second["refresh_token"])
    people.authenticator.authenticate(third["access_token"], address=None)
    # The first one again: somebody has stolen it, or its thief was faster.
    assert "used before" in refused("invalid_grant", lambda: login.refresh(first["refresh_token"]))
    refused("invalid_grant", lambda: login.refresh(third["refresh_token"]))
    for answer in (first, second, third):
        with pytest.raises(UnauthenticatedError):
            people.authenticator.authenticate(answer["access_token"], address=None)


def test_refreshing_can_narrow_the_scope_and_never_widen_it(
    provider: OpenIDProvider, alice: Principal
) -> None:
    login = Login(provider, scope="openid groups read:tap")
    first = login.redeem(login.code(alice))
    second = login.refresh(first["refresh_token"], scope="openid read:tap")
    assert "groups" not in claims_of(provider, second)
    refused(
        "invalid_scope",
        lambda: login.refresh(second["refresh_token"], scope="openid exec:notebook"),
    )


def test_another_client_cannot_refresh(provider: OpenIDProvider, alice: Principal) -> None:
    login = Login(provider)
    answer = login.redeem(login.code(alice))
    refused("invalid_grant", lambda: login.refresh(answer["refresh_token"], client_id="partner"))
    refused("invalid_client", lambda: login.refresh(answer["refresh_token"], secret="x" * 40))
    refused("invalid_client", lambda: login.refresh(answer["refresh_token"], secret=None))
    assert login.refresh(answer["refresh_token"])["access_token"]


def test_a_logout_ends_refreshing_and_the_access_token(
    people: People, provider: OpenIDProvider, alice: Principal
) -> None:
    login = Login(provider)
    answer = login.redeem(login.code(alice))
    assert alice.token_key is not None
    people.tokens.revoke(alice.token_key, by=alice)
    with pytest.raises(UnauthenticatedError):
        people.authenticator.authenticate(answer["access_token"], address=None)
    why = refused("invalid_grant", lambda: login.refresh(answer["refresh_token"]))
    assert "session has ended" in why


def test_a_disabled_account_gets_nothing_any_more(
    people: People, provider: OpenIDProvider, alice: Principal
) -> None:
    login, later = Login(provider), Login(provider)
    answer = login.redeem(login.code(alice))
    code = later.code(alice)
    people.users.disable("alice", by=OPERATOR)
    refused("invalid_grant", lambda: login.refresh(answer["refresh_token"]))
    refused("invalid_grant", lambda: later.redeem(code))


def test_old_logins_are_forgotten(
    people: People, provider: OpenIDProvider, alice: Principal
) -> None:
    login = Login(provider)
    login.redeem(login.code(alice))
    with people.database.write() as connection:
        connection.execute(update(GRANT).values(expires=utc_now() - timedelta(days=2)))
    login.code(alice)
    with people.database.read() as connection:
        assert len(connection.execute(select(GRANT)).all()) == 1
        assert len(connection.execute(select(CODE)).all()) == 1


# --- giving back, and userinfo -------------------------------------------------------------------


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
def test_a_client_gives_its_tokens_back(
    people: People, provider: OpenIDProvider, alice: Principal, which: str
) -> None:
    login = Login(provider)
    answer = login.redeem(login.code(alice))

    def revoke(token: str, **client: str) -> None:
        form = {"client_id": "hub", "client_secret": SECRET, "token": token} | client
        provider.exchange.revoke(form.items(), authorization=None)

    # Another client's token, and nonsense, is no error and does nothing.
    revoke(answer[which], client_id="partner")
    revoke("nonsense")
    people.authenticator.authenticate(answer["access_token"], address=None)
    refused("invalid_client", lambda: revoke(answer[which], client_secret="x" * 40))
    revoke(answer[which])
    with pytest.raises(UnauthenticatedError):
        people.authenticator.authenticate(answer["access_token"], address=None)
    refused("invalid_grant", lambda: login.refresh(answer["refresh_token"]))


def test_userinfo_answers_clients_only(provider: OpenIDProvider, alice: Principal) -> None:
    for principal in (alice, Principal()):
        with pytest.raises(ForbiddenError, match="access token of a login"):
            provider.userinfo(principal)


# --- clients that are not who they say -----------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "header", "error"),
    [
        ({"client_id": "hub"}, None, "invalid_client"),
        ({"client_id": "hub", "client_secret": "x"}, None, "invalid_client"),
        ({"client_id": "nobody", "client_secret": "x"}, None, "invalid_client"),
        ({}, None, "invalid_client"),
        ({"client_secret": SECRET}, None, "invalid_client"),
        ({}, "Bearer x", "invalid_client"),
        ({}, "Basic %%%", "invalid_client"),
        ({}, "Basic aHVi", "invalid_client"),
        ({}, "Basic aHViOng=", "invalid_client"),
        ({"client_id": "partner"}, "Basic aHViOng=", "invalid_request"),
        ({"client_secret": "x"}, "Basic aHViOng=", "invalid_request"),
        ({"client_id": "program", "client_secret": "x"}, None, "invalid_client"),
    ],
)
def test_a_client_must_prove_who_it_is(
    provider: OpenIDProvider, form: dict[str, str], header: str | None, error: str
) -> None:
    given = {"grant_type": "authorization_code", "code": "x"} | form
    refused(
        error,
        lambda: provider.exchange.answer(given.items(), authorization=header, address=None),
    )


def test_mistakes_at_the_token_endpoint(provider: OpenIDProvider) -> None:
    def send(*pairs: tuple[str, str]) -> object:
        client = [("client_id", "hub"), ("client_secret", SECRET)]
        return provider.exchange.answer([*client, *pairs], authorization=None, address=None)

    refused("unsupported_grant_type", send)
    refused("unsupported_grant_type", lambda: send(("grant_type", "password")))
    refused("invalid_request", lambda: send(("grant_type", "refresh_token")))
    refused("invalid_request", lambda: send(("grant_type", "authorization_code"), ("code", "")))
    refused("invalid_request", lambda: send(("code", "a"), ("code", "b")))


def test_the_metadata_names_what_there_is(provider: OpenIDProvider) -> None:
    document = provider.discovery()
    assert document["issuer"] == ISSUER
    assert document["id_token_signing_alg_values_supported"] == ["RS256", "ES256"]
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert not {"user:token", "admin:user", "admin:platform"} & {*document["scopes_supported"]}


def test_a_client_of_the_settings_needs_its_secret(people: People) -> None:
    with pytest.raises(BadParameterError, match="ASTROLABE_AUTH__CLIENTS__HUB__SECRET"):
        make(people, hub=HUB | {"secret": None})
