"""The ways in which a token may come, and what is said to who has none that is good."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from .support import ADDRESS, COOKIE, PASSWORD, People

pytestmark = pytest.mark.asyncio(loop_scope="module")

ME = "/api/me"
TLS_WITH_PASSWORD = "ivo://ivoa.net/sso#tls-with-password"
CAPABILITIES = ("/api/tap/capabilities", "/api/scs/capabilities", "/auth/gms/capabilities")


def basic(user: str, password: str) -> dict[str, str]:
    text = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {text}"}


@pytest.mark.parametrize(
    "headers_of",
    [
        lambda token: {"Authorization": f"Bearer {token}"},
        lambda token: {"Authorization": f"bearer  {token} "},
        lambda token: basic("x-oauth-basic", token),
        lambda token: basic("alice", token),
        lambda token: basic(token, ""),
        lambda token: basic(token, "x-oauth-basic"),
        lambda token: basic(token, token),
        lambda token: {"X-CADC-DelegationToken": token},
        lambda token: {"Cookie": f"{COOKIE}={token}"},
        lambda token: {"Cookie": f"SESSION={token}"},
    ],
)
async def test_each_way(client: httpx.AsyncClient, people: People, headers_of: Any) -> None:
    answer = await client.get(ME, headers=headers_of(people.tokens["alice"]))
    assert answer.status_code == 200
    assert answer.json()["username"] == "alice"
    assert answer.headers["x-vo-authenticated"] == "alice"
    assert "private" in answer.headers["cache-control"]


NO_TOKEN = f"al-{'A' * 22}.{'A' * 22}"


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {NO_TOKEN}"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer something-else"},
        {"Authorization": "Digest username=alice"},
        {"Authorization": "Negotiate abc"},
        {"Authorization": "Basic not-base64!"},
        {"Authorization": "Basic /////w=="},
        basic("alice", PASSWORD),
        basic("", ""),
        {"X-CADC-DelegationToken": ""},
        {"X-CADC-DelegationToken": NO_TOKEN},
        {"Cookie": f"{COOKIE}={NO_TOKEN}"},
        {"Cookie": f"{COOKIE}=something"},
    ],
)
async def test_a_bad_credential_is_never_passed_over(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    """Where an anonymous caller would be served, a wrong credential is not."""
    answer = await client.get("/api/tap/tables", headers=headers)
    assert answer.status_code == 401
    assert "x-vo-authenticated" not in answer.headers
    bearer = next(v for v in answer.headers.get_list("www-authenticate") if "Bearer" in v)
    assert 'error="invalid_token"' in bearer
    # The address that must always answer does, and says how one could log in.
    open_one = await client.get("/api/tap/capabilities", headers=headers)
    assert open_one.status_code == 200
    assert open_one.headers.get_list("www-authenticate")
    assert "x-vo-authenticated" not in open_one.headers


async def test_a_good_credential_does_not_make_up_for_a_bad_one(
    client: httpx.AsyncClient, people: People
) -> None:
    good = people.tokens["alice"]
    for headers in (
        {"Authorization": f"Bearer {NO_TOKEN}", "Cookie": f"{COOKIE}={good}"},
        {"Authorization": f"Bearer {NO_TOKEN}", "X-CADC-DelegationToken": good},
        basic(good, people.tokens["bob"]),
    ):
        assert (await client.get(ME, headers=headers)).status_code == 401
    twice = [("Authorization", f"Bearer {good}"), ("Authorization", f"Bearer {good}")]
    assert (await client.get(ME, headers=twice)).status_code == 401


async def test_challenges(client: httpx.AsyncClient) -> None:
    answer = await client.get(ME)
    assert answer.status_code == 401
    assert answer.headers.get_list("www-authenticate") == [
        'Bearer realm="astrolabe"',
        f'ivoa_cookie standard_id="{TLS_WITH_PASSWORD}", access_url="{ADDRESS}/api/login"',
        'Basic realm="astrolabe", charset="UTF-8"',
    ]
    assert answer.json()["code"] == "unauthenticated"


async def test_a_browser_gets_no_challenge_that_opens_a_dialog(client: httpx.AsyncClient) -> None:
    for path in (ME, "/api/tap/capabilities"):
        answer = await client.get(path, headers={"Sec-Fetch-Mode": "navigate"})
        given = answer.headers.get_list("www-authenticate")
        assert given
        assert not any(value.startswith("Basic") for value in given)


@pytest.mark.parametrize("path", CAPABILITIES)
async def test_capabilities_offer_a_login(
    client: httpx.AsyncClient, people: People, path: str
) -> None:
    anonymous = await client.get(path)
    assert anonymous.status_code == 200
    assert len(anonymous.headers.get_list("www-authenticate")) == 3
    # Without a table there is no cone search, and so no interface that could be protected.
    for method in () if "scs" in path else ("BasicAA", "cookie", "token"):
        assert f'<securityMethod standardID="ivo://ivoa.net/sso#{method}"/>' in anonymous.text
    head = await client.head(path)
    assert head.headers.get_list("www-authenticate") == anonymous.headers.get_list(
        "www-authenticate"
    )
    known = await client.get(path, headers=people.bearer("alice"))
    assert "www-authenticate" not in known.headers
    assert known.headers["x-vo-authenticated"] == "alice"


async def test_a_form_of_errors_does_not_lose_the_challenges(
    client: httpx.AsyncClient, people: People
) -> None:
    bad = {"Authorization": f"Bearer {people.expired}"}
    for path, kind in (
        ("/api/tap/sync", "application/x-votable+xml"),
        ("/api/scs/a.b", "application/x-votable+xml"),
        ("/auth/gms/search", "text/plain"),
        ("/api/me", "application/problem+json"),
    ):
        answer = await client.get(path, headers=bad)
        assert answer.status_code == 401
        assert answer.headers["content-type"].startswith(kind)
        assert len(answer.headers.get_list("www-authenticate")) == 3
