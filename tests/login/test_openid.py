"""The addresses of the OpenID provider and of its administration, over HTTP."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from astrolabe.config.openid import OpenIDClientSettings
from astrolabe.identity.openid.codes import challenge_of
from astrolabe_api.main import create_app

from .support import ADDRESS, COOKIE, People, client_of, settings_of

SECRET = "s" * 40
VERIFIER = "v" * 50
CALLBACK = "https://hub.example.org/callback"
CLIENTS = {
    "hub": OpenIDClientSettings(secret=SECRET, redirect_uris=(CALLBACK,), consent="implicit"),
    "partner": OpenIDClientSettings(
        name='Partner <b>"&amp;',
        secret=SECRET,
        redirect_uris=("https://partner.example.org/cb?a=1&b=%22",),
    ),
}
ASKED = {
    "response_type": "code",
    "client_id": "hub",
    "redirect_uri": CALLBACK,
    "scope": "openid profile groups",
    "state": "a state",
    "nonce": "a nonce",
    "code_challenge": challenge_of(VERIFIER),
    "code_challenge_method": "S256",
}
PARTNER = ASKED | {
    "client_id": "partner",
    "redirect_uri": CLIENTS["partner"].redirect_uris[0],
}

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture(scope="module")
async def app(people: People, people_home: Path) -> AsyncIterator[FastAPI]:
    assert people.sessions
    app = create_app(settings_of(people_home, clients=CLIENTS))
    async with app.router.lifespan_context(app):
        yield app


@pytest_asyncio.fixture
async def alice(app: FastAPI, people: People) -> AsyncIterator[httpx.AsyncClient]:
    """A browser in which alice has logged in."""
    cookies = httpx.Cookies()
    cookies.set(COOKIE, people.sessions["alice"], domain="astrolabe.example")
    async with client_of(app, cookies=cookies) as client:
        yield client


def address(**changes: str) -> str:
    return "/auth/openid/authorize?" + urlencode(ASKED | changes)


def answer_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


async def redeem(client: httpx.AsyncClient, code: str, **changes: Any) -> httpx.Response:
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }
    given: dict[str, Any] = {"auth": ("hub", SECRET)} | changes
    return await client.post("/auth/openid/token", data=form, **given)


async def test_discovery_leads_to_what_is_there(client: httpx.AsyncClient) -> None:
    document = (await client.get("/.well-known/openid-configuration")).json()
    assert document["issuer"] == ADDRESS
    keys = await client.get(document["jwks_uri"])
    assert {key["alg"] for key in keys.json()["keys"]} == {"RS256", "ES256"}
    assert keys.headers["cache-control"] == "public, max-age=3600"
    # Pages of other sites, and programs in browsers, read both.
    assert keys.headers["access-control-allow-origin"] == "*"
    for name in ("token", "revocation"):
        answer = await client.post(document[f"{name}_endpoint"], data={"x": "y"})
        assert answer.status_code == 400
        assert answer.json()["error"] in {"unsupported_grant_type", "invalid_request"}


async def test_a_login_at_a_client(alice: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    sent = await alice.get(address())
    assert sent.status_code == 303
    assert sent.headers["cache-control"] == "no-store"
    answer = answer_of(sent.headers["location"])
    assert (answer["state"], answer["iss"]) == ("a state", ADDRESS)
    given = await redeem(client, answer["code"])
    assert given.status_code == 200, given.text
    assert given.headers["cache-control"] == "no-store"
    token = given.json()["access_token"]
    for method in ("GET", "POST"):
        told = await client.request(
            method, "/auth/openid/userinfo", headers={"Authorization": f"Bearer {token}"}
        )
        assert told.json()["sub"] == "alice"
        assert told.json()["groups"] == ["astronomers"]
    replayed = await redeem(client, answer["code"])
    assert (replayed.status_code, replayed.json()["error"]) == (400, "invalid_grant")


async def test_errors_have_the_form_of_the_protocol(client: httpx.AsyncClient) -> None:
    wrong = await redeem(client, "x", auth=("hub", "wrong"))
    assert wrong.status_code == 401
    assert wrong.json()["error"] == "invalid_client"
    assert wrong.headers["www-authenticate"].startswith("Basic")
    assert wrong.headers["cache-control"] == "no-store"
    as_json = await client.post("/auth/openid/token", json={"grant_type": "authorization_code"})
    assert as_json.status_code == 400
    large = await client.post("/auth/openid/token", data={"code": "x" * 70_000})
    assert large.status_code == 413


async def test_nobody_logs_in_first_and_leaves_by_a_page(
    client: httpx.AsyncClient, alice: httpx.AsyncClient
) -> None:
    sent = await client.get(address())
    assert sent.status_code == 303
    login = httpx.URL(sent.headers["location"])
    assert login.path == "/auth/login"
    back = login.params["return_url"]
    form = await client.get(str(login))
    # The way back survives the form as it came.
    assert back.replace("&", "&amp;") in form.text
    page = await alice.get(back)
    assert page.status_code == 200
    target = re.search(r'content="0; url=([^"]+)"', page.text)
    assert target is not None
    url = target[1].replace("&amp;", "&")
    assert url.startswith(f"{CALLBACK}?")
    assert "code" in answer_of(url)
    assert page.headers["referrer-policy"] == "no-referrer"


async def test_an_unregistered_address_is_never_gone_to(alice: httpx.AsyncClient) -> None:
    for changes in (
        {"redirect_uri": "https://evil.example/"},
        {"redirect_uri": CALLBACK + "/x"},
        {"client_id": "nobody"},
        {"redirect_uri": "javascript:alert(1)"},
    ):
        answer = await alice.get(address(**changes))
        assert answer.status_code == 400
        assert "location" not in answer.headers
        assert "http-equiv" not in answer.text


async def test_a_form_of_another_site_becomes_an_address(
    client: httpx.AsyncClient, alice: httpx.AsyncClient
) -> None:
    sent = await client.post(
        "/auth/openid/authorize", data=ASKED, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert sent.status_code == 303
    assert "a nonce" not in sent.headers["location"]
    page = await alice.get(sent.headers["location"])
    assert "code=ac-" in page.text


async def test_the_question_shows_names_as_text(alice: httpx.AsyncClient) -> None:
    question = await alice.get("/auth/openid/authorize?" + urlencode(PARTNER))
    assert question.status_code == 200
    assert "<b>" not in question.text
    assert "Partner &lt;b&gt;" in question.text
    fields = dict(re.findall(r'name="(form|csrf_token)" value="([^"]*)"', question.text))
    refused = await alice.post(
        "/auth/openid/consent", data=fields | {"answer": "allow", "csrf_token": "0" * 64}
    )
    assert refused.status_code == 403
    page = await alice.post("/auth/openid/consent", data=fields | {"answer": "allow"})
    assert page.status_code == 200
    assert "https://partner.example.org/cb?a=1&amp;b=%22&amp;code=ac-" in page.text
    consents = (await alice.get("/auth/api/v1/consents")).json()["consents"]
    assert [consent["client_id"] for consent in consents] == ["partner"]


async def test_a_consent_is_withdrawn_with_a_csrf_token(alice: httpx.AsyncClient) -> None:
    question = await alice.get(
        "/auth/openid/authorize?" + urlencode(PARTNER | {"prompt": "consent"})
    )
    fields = dict(re.findall(r'name="(form|csrf_token)" value="([^"]*)"', question.text))
    await alice.post("/auth/openid/consent", data=fields | {"answer": "allow"})
    where = "/auth/api/v1/consents/partner"
    assert (await alice.delete(where)).status_code == 403
    header = {"X-CSRF-Token": fields["csrf_token"]}
    assert (await alice.delete(where, headers=header)).status_code == 204
    assert (await alice.delete(where, headers=header)).status_code == 404


async def test_a_token_in_place_of_a_session(app: FastAPI, people: People) -> None:
    async with client_of(app) as client:
        answer = await client.get(address(), headers=people.bearer("bob"))
    assert answer.status_code == 403
    assert "session" in answer.text


async def test_the_hosts_name_does_not_matter(alice: httpx.AsyncClient) -> None:
    header = {"Host": "evil.example", "X-Forwarded-Host": "evil.example"}
    document = await alice.get("/.well-known/openid-configuration", headers=header)
    assert "evil" not in document.text
    sent = await alice.get(address(), headers=header)
    assert "evil" not in sent.headers["location"]


@pytest.mark.parametrize(
    "query",
    [
        "client_id=%00&redirect_uri=%00",
        "client_id=hub&redirect_uri=%ff",
        "client_id=hub&client_id=partner",
        "resume=%00",
        "resume=a.b.c.d.e",
        "&" * 300,
        "x=y&" * 300,
    ],
)
async def test_odd_requests_are_refused_and_break_nothing(
    alice: httpx.AsyncClient, query: str
) -> None:
    assert (await alice.get(f"/auth/openid/authorize?{query}")).status_code == 400


@pytest.mark.parametrize("value", ["\x00", "\ud7ff", "٣", "a" * 20_000, "' OR 1=1 --", "%s%n"])
@pytest.mark.parametrize("name", ["state", "nonce", "scope", "prompt", "max_age", "id_token_hint"])
async def test_odd_values_break_nothing(alice: httpx.AsyncClient, name: str, value: str) -> None:
    answer = await alice.get(address(**{name: value}))
    assert answer.status_code in {303, 400}
    form = {"grant_type": "refresh_token", "refresh_token": value, "token": value, "code": value}
    basic = base64.b64encode(f"{value}:{value}".encode()).decode()
    for path in ("token", "revoke"):
        for header in ({}, {"Authorization": f"Basic {basic}"}):
            sent = await alice.post(f"/auth/openid/{path}", data=form, headers=header)
            assert sent.status_code in {400, 401}


# --- administration ------------------------------------------------------------------------------


async def test_an_administrator_registers_a_client(app: FastAPI, people: People) -> None:
    cookies = httpx.Cookies()
    cookies.set(COOKIE, people.sessions["dora"], domain="astrolabe.example")
    async with client_of(app, cookies=cookies) as dora:
        token = (await dora.get("/auth/api/v1/session")).json()["csrf_token"]
        header = {"X-CSRF-Token": token}
        wanted = {"client_id": "site", "name": "A site", "redirect_uris": [CALLBACK]}
        assert (await dora.post("/api/admin/clients", json=wanted)).status_code == 403
        made = await dora.post("/api/admin/clients", json=wanted, headers=header)
        assert made.status_code == 201, made.text
        secret = made.json()["client_secret"]
        assert len(secret) > 40
        shown = await dora.get("/api/admin/clients/site")
        assert shown.json()["redirect_uris"] == [CALLBACK]
        listed = await dora.get("/api/admin/clients")
        assert [c["client_id"] for c in listed.json()["clients"]] == ["hub", "partner", "site"]
        assert secret not in shown.text + listed.text
        assert "hash" not in shown.text + listed.text
        renewed = await dora.post("/api/admin/clients/site/secret", headers=header)
        assert renewed.json()["client_secret"] != secret
        again = await dora.post("/api/admin/clients", json=wanted, headers=header)
        assert again.status_code == 409
        bad = wanted | {"redirect_uris": ["http://evil.example/"]}
        answer = await dora.post("/api/admin/clients", json=bad, headers=header)
        assert answer.status_code == 400
        gone = await dora.delete("/api/admin/clients/site", headers=header)
        assert gone.status_code == 204
        assert (await dora.get("/api/admin/clients/site")).status_code == 404
