"""What somebody may try who wants more than he has."""

from __future__ import annotations

import asyncio
import hmac
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import OctKey

from astrolabe.core.clock import utc_now
from astrolabe.factory import ProcessContext
from astrolabe.identity.authority import OPERATOR
from astrolabe.identity.passwords import Passwords

from .support import (
    ADDRESS,
    COOKIE,
    PASSWORD,
    People,
    client_of,
    csrf_of,
    form_token,
    key_of,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

ByCookie = Callable[[str], AbstractAsyncContextManager[httpx.AsyncClient]]

SYNC = {"LANG": "ADQL", "QUERY": "SELECT TOP 1 table_name FROM tap_schema.tables"}
ELSEWHERE = (
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "same-site", "Origin": "https://hub.astrolabe.example"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://astrolabe.example"},
    {"Origin": "https://astrolabe.example:8443"},
    {"Origin": "https://astrolabe.example.evil.example"},
)


# --- credentials --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/tap/sync", "/api/tap/capabilities", "/api/me", "/"])
@pytest.mark.parametrize(
    "hide",
    [
        lambda token: f"token={token}",
        lambda token: f"access_token={token}",
        lambda token: f"x={token}&REQUEST=doQuery",
        lambda token: "x=" + "".join(f"%{byte:02x}" for byte in token.encode()),
        lambda token: "x=" + token.replace("-", "%252d"),
        lambda token: token,
    ],
)
async def test_a_token_in_the_address_is_refused(
    client: httpx.AsyncClient, people: People, path: str, hide: Callable[[str], str]
) -> None:
    address = f"{path}?{hide(people.tokens['alice'])}"
    for headers in ({}, people.bearer("alice")):
        answer = await client.get(address, headers=headers)
        assert answer.status_code == 400
        assert "address" in answer.text
        assert people.tokens["alice"].partition(".")[2] not in answer.text


async def test_a_session_cannot_be_fixed(app: FastAPI, people: People, by_cookie: ByCookie) -> None:
    """A cookie that an attacker planted is not what the victim's login makes valid."""
    planted = people.tokens["bob"]
    async with by_cookie(planted) as client:
        page = await client.get("/auth/login")
        form = {"username": "alice", "password": PASSWORD, "csrf_token": form_token(page.text)}
        answer = await client.post("/auth/login", data=form)
        assert answer.status_code == 303
        new = re.search(rf"{COOKIE}=(al-[^;]+)", ";".join(answer.headers.get_list("set-cookie")))
        assert new is not None
        assert new[1] != planted
    async with by_cookie(planted) as client:
        assert (await client.get("/api/me")).json()["username"] == "bob"
    made_up = f"al-{'B' * 22}.{'B' * 22}"
    async with by_cookie(made_up) as client:
        page = await client.get("/auth/login")
        form["csrf_token"] = form_token(page.text)
        assert (await client.post("/auth/login", data=form)).status_code == 303
    async with client_of(app) as client:
        for_made_up = await client.get("/api/me", headers={"Authorization": f"Bearer {made_up}"})
    assert for_made_up.status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        "X-Auth-Request-User",
        "X-Forwarded-User",
        "X-Remote-User",
        "Remote-User",
        "X-VO-Authenticated",
        "X-Auth-Request-Scopes",
        "X-Token-Key",
    ],
)
async def test_identity_headers_from_outside_mean_nothing(
    client: httpx.AsyncClient, people: People, header: str
) -> None:
    anonymous = await client.get("/api/tap/tables", headers={header: "dora"})
    assert "x-vo-authenticated" not in anonymous.headers
    assert (await client.get("/api/me", headers={header: "dora"})).status_code == 401
    mine = await client.get("/api/me", headers={header: "dora", **people.bearer("bob")})
    assert mine.json()["username"] == "bob"
    assert "admin:user" not in mine.json()["scopes"]
    forward = await client.get("/auth/forward", headers={header: "dora", **people.bearer("bob")})
    assert forward.headers["x-auth-request-user"] == "bob"


async def test_a_jwt_is_no_token_here(client: httpx.AsyncClient) -> None:
    claims = {"sub": "dora", "iss": ADDRESS, "exp": 4_000_000_000, "scope": "admin:user"}
    signed = jwt.encode({"alg": "HS256"}, claims, OctKey.import_key("a secret of somebody's own!!"))
    body = signed.split(".")[1]
    unsigned = f"eyJhbGciOiJub25lIn0.{body}."
    for text in (signed, unsigned):
        answer = await client.get("/api/me", headers={"Authorization": f"Bearer {text}"})
        assert answer.status_code == 401


async def test_secrets_are_compared_in_constant_time(
    client: httpx.AsyncClient, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []
    compare = hmac.compare_digest

    def watch(one: Any, other: Any) -> bool:
        compared.append((str(one), str(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", watch)
    right = people.tokens["alice"]
    wrong = right[:-1] + ("A" if right[-1] != "A" else "B")
    for token, status in ((right, 200), (wrong, 401)):
        compared.clear()
        answer = await client.get("/api/me", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == status
        # Two hashes of one length, and nothing that was sent.
        assert compared
        assert all(len(one) == len(other) == 64 for one, other in compared)
        assert not any(token.partition(".")[2] in pair for pair in compared)


async def test_an_unknown_user_costs_as_much_as_a_known_one(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[bool] = []
    verify = Passwords.verify

    def watch(self: Passwords, password: str, stored: str | None) -> bool:
        hashed.append(stored is None)
        return verify(self, password, stored)

    monkeypatch.setattr(Passwords, "verify", watch)
    answers = [
        await client.post("/api/login", data={"username": name, "password": "wrong"})
        for name in ("alice", "nobody-at-all", "no body", "")
    ]
    assert hashed == [False, True, True, True]
    assert {answer.status_code for answer in answers} == {401}
    # And they are told the same.
    assert len({answer.text for answer in answers}) == 1


# --- other sites --------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", ELSEWHERE)
async def test_another_site_changes_nothing_by_cookie(
    by_cookie: ByCookie, headers: dict[str, str]
) -> None:
    async with by_cookie("alice") as client:
        csrf = await csrf_of(client)
        job = await client.post("/api/tap/async", data=SYNC)
        assert job.status_code == 303, "without any such header it is a program's request"
        place = job.headers["location"]
        for method, path, extra in (
            ("POST", "/api/tap/async", {"data": SYNC}),
            ("POST", "/api/tap/sync", {"data": SYNC}),
            ("POST", f"{place}/phase", {"data": {"PHASE": "RUN"}}),
            ("DELETE", place, {}),
            ("POST", "/auth/api/v1/links", {"json": {"address": "/api/tap/tables"}}),
            ("POST", "/api/logout", {}),
            ("POST", "/auth/logout", {"data": {"csrf_token": csrf["X-CSRF-Token"]}}),
        ):
            answer = await client.request(method, path, headers=headers | csrf, **extra)  # type: ignore[arg-type]  # a mixed dict
            assert answer.status_code == 403, (method, path)
        assert (await client.get(place)).status_code == 200
        assert (await client.get("/api/me")).status_code == 200


@pytest.mark.parametrize("headers", ELSEWHERE)
async def test_another_site_logs_nobody_in(app: FastAPI, headers: dict[str, str]) -> None:
    """Or its owner's account would collect what the victim does."""
    async with client_of(app) as client:
        page = await client.get("/auth/login")
        form = {"username": "bob", "password": PASSWORD, "csrf_token": form_token(page.text)}
        for path in ("/auth/login", "/api/login"):
            answer = await client.post(path, data=form, headers=headers)
            assert answer.status_code == 403
            assert "al-" not in ";".join(answer.headers.get_list("set-cookie"))


async def test_our_own_pages_and_programs_may(by_cookie: ByCookie, people: People) -> None:
    async with by_cookie("alice") as client:
        for headers in (
            {},
            {"Origin": ADDRESS},
            {"Sec-Fetch-Site": "same-origin"},
            {"Sec-Fetch-Site": "none"},
        ):
            answer = await client.post("/api/tap/sync", data=SYNC, headers=headers)
            assert answer.status_code == 200
    async with by_cookie("") as client:
        # A header is sent by nobody but who has the token.
        headers = {**ELSEWHERE[0], **people.bearer("alice")}
        assert (await client.post("/api/tap/sync", data=SYNC, headers=headers)).status_code == 200


async def test_the_account_needs_its_own_token_too(by_cookie: ByCookie) -> None:
    new = {"name": "by csrf", "scopes": ["read:tap"]}
    path = "/auth/api/v1/tokens"
    async with by_cookie("bob") as other:
        others = await csrf_of(other)
    async with by_cookie("alice") as client:
        own = await csrf_of(client)
        for headers in ({}, others, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "0" * 64}):
            assert (await client.post(path, json=new, headers=headers)).status_code == 403
        assert (await client.post(path, json=new, headers=own)).status_code == 201
        admin = await client.post("/api/admin/users", json={"username": "eve"})
        assert admin.status_code == 403
    assert own != others


async def test_a_form_needs_the_browser_that_asked_for_it(app: FastAPI) -> None:
    async with client_of(app) as client:
        token = form_token((await client.get("/auth/login")).text)
    form = {"username": "alice", "password": PASSWORD, "csrf_token": token}
    async with client_of(app) as other:
        assert (await other.post("/auth/login", data=form)).status_code == 403
        await other.get("/auth/login")
        assert (await other.post("/auth/login", data=form)).status_code == 403


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "\t//evil.example",
        " //evil.example",
        "https:evil.example",
        "https:/evil.example",
        "https:///evil.example",
        "http://astrolabe.example/",
        "https://astrolabe.example@evil.example/",
        "https://astrolabe.example.evil.example/",
        "https://astrolabe.example:444/",
        "https://user@astrolabe.example/",
        "javascript:alert(1)",
        "data:text/html,x",
        "/account\r\nSet-Cookie: x=y",
        "evil.example",
        "?x",
        "https://[",
    ],
)
async def test_a_login_leads_nowhere_else(client: httpx.AsyncClient, address: str) -> None:
    page = await client.get("/auth/login", params={"return_url": address})
    assert page.status_code == 400
    form = {"username": "alice", "password": PASSWORD, "return_url": address}
    form["csrf_token"] = form_token((await client.get("/auth/login")).text)
    answer = await client.post("/auth/login", data=form)
    assert answer.status_code == 400
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("address", "leads_to"),
    [
        ("/api/me", "/api/me"),
        (f"{ADDRESS}/groups?x=%2F%2Fevil", "/groups?x=%2F%2Fevil"),
        (f"{ADDRESS}:443/a", "/a"),
        ("", "/account"),
    ],
)
async def test_a_login_leads_back(app: FastAPI, address: str, leads_to: str) -> None:
    async with client_of(app) as client:
        form = {"username": "alice", "password": PASSWORD, "return_url": address}
        form["csrf_token"] = form_token((await client.get("/auth/login")).text)
        answer = await client.post("/auth/login", data=form)
    assert answer.headers["location"] == leads_to


async def test_the_host_header_makes_no_address(
    client: httpx.AsyncClient, by_cookie: ByCookie, people: People
) -> None:
    evil = {
        "Host": "evil.example",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "http",
        "Forwarded": "host=evil.example",
    }
    for path in ("/api/me", "/auth/gms/capabilities", "/api/tap/capabilities", "/auth/login"):
        answer = await client.get(path, headers=evil)
        assert "evil" not in answer.text
        assert "evil" not in str(answer.headers)
    async with by_cookie("alice") as mine:
        headers = {**await csrf_of(mine), "Host": "evil.example", "Origin": "https://evil.example"}
        link = {"address": "/api/tap/tables"}
        refused = await mine.post("/auth/api/v1/links", json=link, headers=headers)
        assert refused.status_code == 403
        del headers["Origin"]
        made = await mine.post("/auth/api/v1/links", json=link, headers=headers)
        assert made.json()["url"].startswith(f"{ADDRESS}/api/tap/tables?")
    job = await client.post("/api/tap/async", data=SYNC, headers={**evil, **people.bearer("bob")})
    assert job.headers["location"].startswith(f"{ADDRESS}/")


# --- more than one has --------------------------------------------------------------------------


async def test_no_token_exceeds_what_made_it(
    client: httpx.AsyncClient, by_cookie: ByCookie, people: People, context: ProcessContext
) -> None:
    path = "/auth/api/v1/tokens"
    async with by_cookie("alice") as mine:
        csrf = await csrf_of(mine)
        for scopes in (["admin:user"], ["read:tap", "write:alert"], ["no:such"]):
            answer = await mine.post(path, json={"name": "x", "scopes": scopes}, headers=csrf)
            assert answer.status_code in {400, 403}
        far = (utc_now() + timedelta(days=4000)).isoformat()
        answer = await mine.post(
            path, json={"name": "x", "scopes": ["read:tap"], "expires": far}, headers=csrf
        )
        assert answer.status_code == 400
    # No token makes tokens, whatever its scopes are: it is no proof that its owner is there.
    for name in ("alice", "dora"):
        answer = await client.post(
            path, json={"name": "y", "scopes": ["read:tap"]}, headers=people.bearer(name)
        )
        assert answer.status_code == 403
    for_other = await client.post(
        "/api/admin/users/alice/tokens",
        json={"name": "y", "scopes": ["read:tap"]},
        headers=people.bearer("dora"),
    )
    assert for_other.status_code == 403
    # An administrator makes no token with more than the user may.
    async with by_cookie("dora") as admin:
        answer = await admin.post(
            "/api/admin/users/alice/tokens",
            json={"name": "y", "scopes": ["admin:user"]},
            headers=await csrf_of(admin),
        )
        assert answer.status_code == 403
    parent = context.authenticator.authenticate(people.unfit, address=None)
    child = context.tokens.create_child(parent, kind="lab", scopes=["read:tap", "write:workspace"])
    assert child.info.scopes == {"write:workspace"}


async def test_an_old_login_is_not_enough(by_cookie: ByCookie, people: People) -> None:
    async with by_cookie(people.old_session) as client:
        csrf = await csrf_of(client)
        for method, path, body in (
            ("POST", "/auth/api/v1/tokens", {"name": "x", "scopes": ["read:tap"]}),
            ("POST", "/auth/api/v1/password", {"password": "another long walk"}),
        ):
            answer = await client.request(method, path, json=body, headers=csrf)
            assert answer.status_code == 403
            assert "15 minutes" in answer.text


async def test_a_revoked_token_is_refused_at_once_here(
    app: FastAPI, context: ProcessContext
) -> None:
    """However many requests are on their way while it is revoked."""
    made = context.tokens.create_for("bob", name="race", scopes=["read:tap"], by=OPERATOR)
    headers = {"Authorization": f"Bearer {made.text}"}
    async with client_of(app) as client:

        async def use() -> int:
            return (await client.get("/api/me", headers=headers)).status_code

        async def revoke() -> int:
            await asyncio.to_thread(context.tokens.revoke, made.info.key, by=OPERATOR)
            return await use()

        *during, after = await asyncio.gather(*(use() for _ in range(30)), revoke())
        assert set(during) <= {200, 401}
        assert after == 401
        assert [await use() for _ in range(5)] == [401] * 5


async def test_paths_are_not_tricked(client: httpx.AsyncClient, people: People) -> None:
    """No writing of an address reaches what its plain writing would not."""
    secret = "/api/admin/users"
    for path in (
        "//api/admin/users",
        "/api//admin/users",
        "/api/admin/users/",
        "/api/admin/users/.",
        "/api/admin/./users",
        "/api/tap/../admin/users",
        "/api/tap/..%2fadmin/users",
        "/api/tap/%2e%2e/admin/users",
        "/api/tap/tables/../../admin/users",
        "/API/ADMIN/USERS",
        "/api/admin/users;x=y",
        "/api/admin%2fusers",
        "/api/admin/users%00",
        "/api/admin/users%3f",
        "/auth/login/../../api/admin/users",
        "/auth/gms/capabilities/../../../api/admin/users",
    ):
        url = httpx.URL(ADDRESS).copy_with(raw_path=path.encode())
        for headers in ({}, people.bearer("alice")):
            answer = await client.get(url, headers=headers)
            assert answer.status_code in {401, 403, 404}, path
            assert '"users"' not in answer.text
    assert (await client.get(secret, headers=people.bearer("dora"))).status_code == 200


# --- signed links -------------------------------------------------------------------------------


async def test_a_signed_link_opens_one_resource(
    client: httpx.AsyncClient, context: ProcessContext
) -> None:
    made = context.tokens.create_for(
        "alice", name="links", scopes=["read:tap", "user:token"], by=OPERATOR
    )
    mine = {"Authorization": f"Bearer {made.text}"}
    job = await client.post("/api/tap/async", data=SYNC, headers=mine)
    path = job.headers["location"].removeprefix(ADDRESS)
    answer = await client.post("/auth/api/v1/links", json={"address": path}, headers=mine)
    link = answer.json()["url"]
    opened = await client.get(link)
    assert opened.status_code == 200
    assert opened.headers["x-vo-authenticated"] == "alice"
    assert (await client.head(link)).status_code == 200
    signed = link.partition("?")[2]
    for method, address in (
        ("POST", link),
        ("DELETE", link),
        ("GET", f"{path}/phase?{signed}"),
        ("GET", f"/api/tap/async?{signed}"),
        ("GET", f"{path}?x=1&{signed}"),
        ("GET", f"{link}&x=1"),
        ("GET", f"{link}&{signed}"),
        ("GET", f"{path}/?{signed}"),
        ("GET", f"{path}?{signed[:-1]}0" if not signed.endswith("0") else f"{path}?{signed[:-1]}1"),
        ("GET", f"{path}?signed="),
        ("GET", f"/api/me?{signed}"),
    ):
        refused = await client.request(method, address)
        assert refused.status_code in {401, 404}, (method, address)
        assert "x-vo-authenticated" not in refused.headers
    for address in ("/api/me", "/api/jobs", "/auth/api/v1/session", "/api/admin/users"):
        if address.startswith("/auth"):
            continue
        sign = await client.post("/auth/api/v1/links", json={"address": address}, headers=mine)
        opened = await client.get(sign.json()["url"])
        assert opened.status_code == (200 if address == "/api/jobs" else 403)
    context.tokens.revoke(made.info.key, by=OPERATOR)
    assert (await client.get(link)).status_code == 401


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/api/x",
        "//evil.example/api/x",
        "/auth/api/v1/tokens",
        "/",
        "api/tap",
        "/api/../auth/api/v1/tokens",
        "/api/%2e%2e/auth/x",
        "/api/tap/tables#x",
        "/api/tap/tables?signed=x",
        "/api/tap\\tables",
        "/api/tap/tables\r\nX: y",
        "/api/tap/" + "x" * 5000,
    ],
)
async def test_only_a_resource_can_be_signed(
    client: httpx.AsyncClient, people: People, address: str
) -> None:
    answer = await client.post(
        "/auth/api/v1/links", json={"address": address}, headers=people.bearer("alice")
    )
    assert answer.status_code == 400


async def test_a_link_makes_no_link(client: httpx.AsyncClient, people: People) -> None:
    headers = people.bearer("alice")
    made = await client.post(
        "/auth/api/v1/links", json={"address": "/api/tap/tables"}, headers=headers
    )
    signed = made.json()["url"].partition("?")[2]
    answer = await client.post(f"/auth/api/v1/links?{signed}", json={"address": "/api/tap/tables"})
    assert answer.status_code == 401


# --- logs ---------------------------------------------------------------------------------------


async def test_no_secret_is_logged(
    app: FastAPI, people: People, capfd: pytest.CaptureFixture[str], context: ProcessContext
) -> None:
    link = context.users.create_login_link("bob", by=OPERATOR)
    async with client_of(app) as client:
        page = await client.get("/auth/login")
        form = {"username": "alice", "password": PASSWORD, "csrf_token": form_token(page.text)}
        await client.post("/auth/login", data=form)
        session = client.cookies[COOKIE]
        await client.post("/auth/login", data=form | {"password": "not the one"})
        await client.post("/api/login", data=form)
        token = people.tokens["alice"]
        await client.get(f"/api/tap/sync?token={token}")
        await client.get("/api/me", headers={"Authorization": f"Bearer {token}"})
        await client.get("/api/me", headers={"Authorization": f"Bearer {people.expired}"})
        page = await client.get("/auth/link")
        await client.post("/auth/link", data={"link": link, "csrf_token": form_token(page.text)})
    told = "".join(capfd.readouterr())
    assert "route=/auth/login" in told or '"route": "/auth/login"' in told
    assert key_of(token) in told, "the public half helps whoever looks for it"
    for secret in (
        PASSWORD,
        "not the one",
        link,
        *(text.partition(".")[2] for text in (session, token, people.expired)),
    ):
        assert secret not in told
