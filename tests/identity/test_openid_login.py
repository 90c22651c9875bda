"""Login by a provider that lies, is broken, or is not the one that it says.

The honest ones are real: see ``tests/openid``.  No real one can be made to send these answers.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from astrolabe.core.errors import (
    AstrolabeError,
    BadParameterError,
    ForbiddenError,
    NotFoundError,
    OverloadError,
    UnauthenticatedError,
)
from astrolabe.identity.openid import client as client_module
from astrolabe.identity.openid import discovery
from astrolabe.identity.openid.client import LoginProvider, OpenIDLogin, VerifiedLogin
from astrolabe.identity.openid.codes import challenge_of
from astrolabe.identity.root_key import RootKey

ISSUER = "https://login.example.org/realms/sky"
CALLBACK = "https://astrolabe.example/auth/callback"
ROOT = RootKey(b"r" * 32)
KEY = RSAKey.generate_key(2048, auto_kid=True)
NEXT_KEY = ECKey.generate_key("P-256", auto_kid=True)
UNIVERSITY = LoginProvider(
    name="university",
    title="The University",
    issuer=ISSUER,
    client_id="astrolabe",
    client_secret="a secret of ours",
)

Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response] | dict[str, Any]


class Provider:
    """A provider that answers whatever a test wants, and what is right where it wants nothing."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[httpx.Request] = []
        self.keys: list[Any] = [KEY]
        self.claims: dict[str, Any] = {}
        self.token: Callable[[dict[str, Any]], str] = lambda claims: jwt.encode(
            {"alg": "RS256", "kid": KEY.kid}, claims, KEY
        )
        self.nonce = ""

    @property
    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/authorize",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/keys",
            "userinfo_endpoint": f"{ISSUER}/userinfo",
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        }

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        place = request.url.path.removeprefix("/realms/sky")
        answer = self.answers.get(place)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        if callable(answer):
            return answer(request)
        right: dict[str, Callable[[], dict[str, Any]]] = {
            "/.well-known/openid-configuration": lambda: self.metadata,
            "/keys": lambda: {"keys": [key.as_dict(private=False) for key in self.keys]},
            "/token": lambda: {
                "token_type": "Bearer",
                "access_token": "an-access-token",
                "id_token": self.token(self.right_claims() | self.claims),
            },
            "/userinfo": lambda: {"sub": "1234", "groups": ["observers"], "name": "A B"},
        }
        return httpx.Response(200, json=right[place]() if answer is None else answer)

    def right_claims(self) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": ISSUER,
            "aud": "astrolabe",
            "sub": "1234",
            "nonce": self.nonce,
            "iat": now,
            "exp": now + 300,
            "auth_time": now,
            "preferred_username": "ab",
        }


@pytest.fixture
def provider() -> Provider:
    return Provider()


def login_of(provider: Provider, *known: LoginProvider) -> OpenIDLogin:
    def client() -> httpx.Client:
        # All but the network is what is used outside of tests.
        real = discovery.new_client()
        made = httpx.Client(
            transport=httpx.MockTransport(provider),
            follow_redirects=real.follow_redirects,
            headers=real.headers,
        )
        real.close()
        return made

    return OpenIDLogin(known or (UNIVERSITY,), redirect_uri=CALLBACK, root_key=ROOT, client=client)


def log_in(
    provider: Provider, login: OpenIDLogin | None = None, *, again: bool = False, **changes: str
) -> VerifiedLogin:
    """Go through a whole login; `changes` are made to the answer's parameters."""
    using = login or login_of(provider)
    start = using.begin("university", return_url="/here", again=again)
    asked = dict(parse_qsl(urlsplit(start.url).query))
    provider.nonce = asked["nonce"]
    answer = {"code": "a-code", "state": asked["state"]} | changes
    return using.finish(answer, sealed=start.sealed)


def part(document: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


# --- what is sent, and what is made of honest answers --------------------------------------------


def test_what_the_provider_is_asked(provider: Provider) -> None:
    login = login_of(provider)
    start = login.begin("university", return_url=None)
    asked = dict(parse_qsl(urlsplit(start.url).query))
    assert start.url.startswith(f"{ISSUER}/authorize?")
    assert asked["client_id"] == "astrolabe"
    assert asked["redirect_uri"] == CALLBACK
    assert asked["scope"] == "openid profile email"
    assert asked["code_challenge_method"] == "S256"
    assert "a secret" not in start.url.replace("+", " ")
    provider.nonce = asked["nonce"]
    login.finish({"code": "a-code", "state": asked["state"]}, sealed=start.sealed)
    (sent,) = [request for request in provider.requests if request.url.path.endswith("/token")]
    form = dict(parse_qsl(sent.content.decode()))
    assert challenge_of(form["code_verifier"]) == asked["code_challenge"]
    assert (
        sent.headers["authorization"]
        == "Basic " + base64.b64encode(b"astrolabe:a+secret+of+ours").decode()
    )
    assert "client_secret" not in form
    assert len({asked["state"], asked["nonce"], form["code_verifier"]}) == 3
    # Another login shares nothing with this one.
    other = dict(parse_qsl(urlsplit(login.begin("university", return_url=None).url).query))
    assert not {asked["state"], asked["nonce"], asked["code_challenge"]} & set(other.values())


def test_who_it_is(provider: Provider) -> None:
    login = log_in(provider)
    assert (login.issuer, login.subject, login.return_url) == (ISSUER, "1234", "/here")
    assert login.claims.suggested_name == "ab"
    # The ID token was short: userinfo said the rest.
    assert login.claims.groups == ("observers",)
    assert login.claims.full_name == "A B"


@pytest.mark.parametrize(
    ("value", "groups"),
    [
        (["/g_survey", "Observers", "/a/b", 3, None, "g_survey"], ("g_survey", "observers", "a/b")),
        ("only", ("only",)),
        ({"a": 1}, ()),
        ([], ()),
    ],
)
def test_groups_in_the_forms_that_providers_give_them(
    provider: Provider, value: object, groups: tuple[str, ...]
) -> None:
    provider.claims = {"groups": value}
    provider.answers["/userinfo"] = {"sub": "1234"}
    assert log_in(provider).claims.groups == groups


def test_claims_inside_of_claims(provider: Provider) -> None:
    provider.claims = {"realm_access": {"roles": ["observers"]}, "posix": {"uid": 4711}}
    deep = replace(UNIVERSITY, groups_claim="realm_access.roles", uid_claim="posix.uid")
    claims = log_in(provider, login_of(provider, deep)).claims
    assert (claims.groups, claims.uid) == (("observers",), 4711)
    silent = replace(UNIVERSITY, groups_claim=None)
    assert log_in(provider, login_of(provider, silent)).claims.groups is None


def test_the_secret_goes_where_the_provider_wants_it(provider: Provider) -> None:
    wants_form = provider.metadata | {
        "token_endpoint_auth_methods_supported": ["client_secret_post"]
    }
    provider.answers["/.well-known/openid-configuration"] = wants_form
    log_in(provider)
    sent = next(request for request in provider.requests if request.url.path.endswith("/token"))
    assert "authorization" not in sent.headers
    assert dict(parse_qsl(sent.content.decode()))["client_secret"] == "a secret of ours"


def test_keys_that_have_changed_are_fetched_again(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = login_of(provider)
    log_in(provider, login)
    provider.keys = [KEY, NEXT_KEY]
    provider.token = lambda claims: jwt.encode(
        {"alg": "ES256", "kid": NEXT_KEY.kid}, claims, NEXT_KEY
    )
    # Not for every forged token, though.
    with pytest.raises(UnauthenticatedError):
        log_in(provider, login)
    monkeypatch.setattr(discovery, "_RETRY_SECONDS", -1.0)
    assert log_in(provider, login).subject == "1234"
    assert sum(request.url.path.endswith("/keys") for request in provider.requests) == 2


def test_keys_that_we_cannot_use_do_not_spoil_the_others(provider: Provider) -> None:
    others: list[Any] = [{"kty": "RSA", "kid": "broken"}, {"kty": "AKP", "kid": "new"}, None]
    right = {"keys": [*others, KEY.as_dict(private=False)]}
    provider.answers["/keys"] = right
    assert log_in(provider).subject == "1234"


# --- ID tokens that are not to be believed -------------------------------------------------------


STRANGER = RSAKey.generate_key(2048)


def signed(key: Any, alg: str = "RS256", **header: Any) -> Callable[[dict[str, Any]], str]:
    return lambda claims: jwt.encode(
        {"alg": alg, "kid": KEY.kid} | header, claims, key, algorithms=[alg]
    )


def unsigned(**header: Any) -> Callable[[dict[str, Any]], str]:
    return lambda claims: f"{part({'alg': 'none'} | header)}.{part(claims)}."


def with_public_key_as_secret(claims: dict[str, Any]) -> str:
    pem = base64.b64encode(KEY.as_pem(private=False))
    return signed(OctKey.import_key(pem), "HS256")(claims)


def changed_after_signing(claims: dict[str, Any]) -> str:
    head, _, signature = signed(KEY)(claims).split(".")
    return f"{head}.{part(claims | {'sub': 'admin'})}.{signature}"


FORGED: dict[str, Callable[[dict[str, Any]], str]] = {
    "none": unsigned(),
    "none with a key": unsigned(kid=KEY.kid),
    "None": unsigned(alg="None"),
    "wrong key": signed(STRANGER),
    "key in the header": signed(STRANGER, jwk=STRANGER.as_dict(private=False)),
    "key elsewhere": signed(STRANGER, jku="https://evil.example/keys"),
    "unknown key": signed(STRANGER, kid="unknown"),
    "our own secret": signed(OctKey.import_key("a secret of ours"), "HS256"),
    "public key as secret": with_public_key_as_secret,
    "changed": changed_after_signing,
    "nonsense": lambda _claims: "a.b.c",
    "empty": lambda _claims: "",
}


@pytest.mark.parametrize("how", FORGED)
def test_forged_id_tokens(provider: Provider, how: str) -> None:
    provider.token = FORGED[how]
    with pytest.raises(UnauthenticatedError, match="cannot be trusted"):
        log_in(provider)
    assert not [r for r in provider.requests if r.url.host != "login.example.org"]


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"iss": ISSUER + "/"},
        {"aud": "another-client"},
        {"aud": ["another-client"]},
        {"aud": ["astrolabe", "another-client"]},
        {"aud": ["astrolabe"], "azp": "another-client"},
        {"nonce": "of another login"},
        {"nonce": None},
        {"exp": int(time.time()) - 120},
        {"exp": "never"},
        {"iat": int(time.time()) + 3600},
        {"nbf": int(time.time()) + 3600},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
    ],
    # Not what stands in them: the time would give a test another name in each process.
    ids=range(16),
)
def test_id_tokens_that_are_not_for_this_login(provider: Provider, changes: dict[str, Any]) -> None:
    provider.claims = changes
    with pytest.raises(UnauthenticatedError, match="cannot be trusted"):
        log_in(provider)


@pytest.mark.parametrize("name", ["iss", "aud", "exp", "iat", "sub", "nonce"])
def test_id_tokens_that_say_too_little(provider: Provider, name: str) -> None:
    provider.token = lambda claims: signed(KEY)({k: v for k, v in claims.items() if k != name})
    with pytest.raises(UnauthenticatedError, match="cannot be trusted"):
        log_in(provider)


def test_userinfo_about_somebody_else(provider: Provider) -> None:
    provider.answers["/userinfo"] = {"sub": "admin", "groups": ["admins"]}
    with pytest.raises(UnauthenticatedError, match="cannot be trusted"):
        log_in(provider)


def test_userinfo_never_overrides_the_signed_claims(provider: Provider) -> None:
    provider.claims = {"groups": ["observers"], "email": "a@example.org"}
    provider.answers["/userinfo"] = {"sub": "1234", "groups": ["admins"], "email": "x@example.org"}
    claims = log_in(provider).claims
    assert (claims.groups, claims.email) == (("observers",), "a@example.org")


@pytest.mark.parametrize(
    "auth_time",
    [None, int(time.time()) - 3600, "now"],
    ids=["not said", "an hour ago", "no number"],
)
def test_a_login_that_was_not_demanded_anew(provider: Provider, auth_time: object) -> None:
    provider.claims = {"auth_time": auth_time}
    with pytest.raises(UnauthenticatedError):
        log_in(provider, again=True)


def test_an_old_login_at_the_provider_is_an_old_login_here(provider: Provider) -> None:
    an_hour_ago = int(time.time()) - 3600
    provider.claims = {"auth_time": an_hour_ago}
    assert log_in(provider).authenticated.timestamp() == an_hour_ago
    # Nobody can have logged in later than now.
    provider.claims = {"auth_time": int(time.time()) + 30}
    assert log_in(provider).authenticated.timestamp() <= time.time()


# --- answers to another login --------------------------------------------------------------------


@pytest.mark.parametrize("state", ["", "x" * 43, "ä"])
def test_another_state(provider: Provider, state: str) -> None:
    with pytest.raises(BadParameterError, match="another login"):
        log_in(provider, state=state)


def test_another_browser(provider: Provider) -> None:
    login = login_of(provider)
    start = login.begin("university", return_url=None)
    other = login.begin("university", return_url=None)
    forged = RootKey(b"x" * 32).seal("openid-login", {"state": start.state}, seconds=60)
    wrong_purpose = ROOT.seal("openid-resume", {"state": start.state}, seconds=60)
    for sealed in (None, "", "x", forged, wrong_purpose):
        with pytest.raises(BadParameterError, match="did not begin this login"):
            login.finish({"code": "a-code", "state": start.state}, sealed=sealed)
    with pytest.raises(BadParameterError, match="another login"):
        login.finish({"code": "a-code", "state": start.state}, sealed=other.sealed)
    assert not [r for r in provider.requests if r.url.path.endswith("/token")]


def test_a_login_takes_ten_minutes_at_most(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "LOGIN_SECONDS", -1.0)
    with pytest.raises(BadParameterError, match="ten minutes"):
        log_in(provider)


def test_an_answer_of_another_issuer(provider: Provider) -> None:
    assert log_in(provider, iss=ISSUER).subject == "1234"
    with pytest.raises(UnauthenticatedError, match="another login provider"):
        log_in(provider, iss="https://evil.example")
    names_itself = provider.metadata | {"authorization_response_iss_parameter_supported": True}
    provider.answers["/.well-known/openid-configuration"] = names_itself
    with pytest.raises(UnauthenticatedError, match="another login provider"):
        log_in(provider)


def test_a_refusal_and_an_answer_without_a_code(provider: Provider) -> None:
    with pytest.raises(ForbiddenError, match="did not log you in"):
        log_in(provider, error="access_denied", error_description="<script>")
    with pytest.raises(UnauthenticatedError, match="no code"):
        log_in(provider, code="")
    with pytest.raises(NotFoundError, match="there is university"):
        login_of(provider).begin("nobody", return_url=None)


# --- providers that are broken -------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.Response(500),
        httpx.Response(302, headers={"Location": "http://169.254.169.254/"}),
        httpx.Response(200, text="<html>"),
        httpx.Response(200, json=["x"]),
        httpx.Response(200, content=b" " * 1_100_000 + b"{}"),
        {"issuer": "https://evil.example"},
        {"issuer": ISSUER},
        {"issuer": ISSUER + "/"},
    ],
    ids=str,
)
def test_metadata_that_are_unusable(provider: Provider, answer: Answer) -> None:
    provider.answers["/.well-known/openid-configuration"] = answer
    with pytest.raises(OverloadError):
        log_in(provider)
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"token_endpoint": "http://login.example.org/token"},
        {"jwks_uri": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"userinfo_endpoint": 7},
        {"id_token_signing_alg_values_supported": ["none", "HS256"]},
    ],
    ids=str,
)
def test_metadata_that_are_not_safe(provider: Provider, changes: dict[str, Any]) -> None:
    provider.answers["/.well-known/openid-configuration"] = provider.metadata | changes
    with pytest.raises(OverloadError, match="tell the administrators"):
        log_in(provider)


@pytest.mark.parametrize(
    ("place", "answer", "error"),
    [
        ("/token", httpx.Response(400, json={"error": "invalid_grant"}), UnauthenticatedError),
        ("/token", httpx.Response(503), OverloadError),
        ("/token", {"access_token": "x"}, UnauthenticatedError),
        ("/token", {"id_token": "a.b.c"}, UnauthenticatedError),
        ("/keys", httpx.Response(500), OverloadError),
        ("/keys", {"keys": []}, OverloadError),
        ("/keys", {"keys": "x"}, OverloadError),
        ("/keys", {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}, OverloadError),
        ("/keys", {"keys": [{"kty": "RSA"}, 7]}, OverloadError),
        ("/userinfo", httpx.Response(401), AstrolabeError),
        ("/userinfo", httpx.Response(200, text="a.jwt.here"), OverloadError),
    ],
    ids=str,
)
def test_answers_that_are_unusable(
    provider: Provider, place: str, answer: Answer, error: type[AstrolabeError]
) -> None:
    provider.answers[place] = answer
    with pytest.raises(error):
        log_in(provider)
