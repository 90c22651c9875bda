"""Administration over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import httpx
import pytest
import pytest_asyncio

from astrolabe.core.clock import utc_now
from astrolabe.factory import ProcessContext
from astrolabe.identity.model import OpenIDClaims, PendingUser

from .support import ADDRESS, PASSWORD, People, csrf_of, key_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

ByCookie = Callable[[str], AbstractAsyncContextManager[httpx.AsyncClient]]
API = "/api/admin"


@pytest_asyncio.fixture(loop_scope="module")
async def admin(by_cookie: ByCookie) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an administrator who has just logged in."""
    async with by_cookie("dora") as client:
        client.headers.update(await csrf_of(client))
        yield client


async def test_an_accounts_life(
    admin: httpx.AsyncClient, client: httpx.AsyncClient, context: ProcessContext
) -> None:
    made = await admin.post(
        f"{API}/users",
        json={"username": "gina", "password": PASSWORD, "email": "g@example.org"},
    )
    assert made.status_code == 201
    assert made.json()["status"] == "active"
    taken = await admin.post(f"{API}/users", json={"username": "gina"})
    assert taken.status_code == 409
    changed = await admin.patch(f"{API}/users/gina", json={"full_name": "Gina G"})
    assert (changed.json()["full_name"], changed.json()["email"]) == ("Gina G", "g@example.org")
    found = await admin.get(f"{API}/users", params={"search": "Gina G"})
    assert [user["username"] for user in found.json()["users"]] == ["gina"]

    session = context.tokens.create_session("gina", address=None, authenticated=utc_now())
    theirs = {"Authorization": f"Bearer {session.text}"}
    assert (await client.get("/api/me", headers=theirs)).status_code == 200
    assert (await admin.post(f"{API}/users/gina/disable")).status_code == 204
    assert (await client.get("/api/me", headers=theirs)).status_code == 401
    login = {"username": "gina", "password": PASSWORD}
    assert (await client.post("/api/login", data=login)).status_code == 401
    disabled = await admin.get(f"{API}/users", params={"status": "disabled"})
    assert [user["username"] for user in disabled.json()["users"]] == ["gina"]
    assert (await admin.post(f"{API}/users/gina/enable")).status_code == 204
    assert (await client.get("/api/me", headers=theirs)).status_code == 401, "it stays dead"
    new = {"password": "quite another password"}
    assert (await admin.put(f"{API}/users/gina/password", json=new)).status_code == 204
    assert (await client.post("/api/login", data=login)).status_code == 401
    link = await admin.post(f"{API}/users/gina/login-link")
    assert link.json()["url"].startswith(f"{ADDRESS}/auth/link#")
    assert (await admin.delete(f"{API}/users/gina")).status_code == 204
    assert (await admin.post(f"{API}/users", json={"username": "gina"})).status_code == 409
    missing = await admin.delete(f"{API}/users/nobody")
    assert missing.status_code == 404


async def test_pages_of_users(admin: httpx.AsyncClient) -> None:
    names: list[str] = []
    cursor = None
    for _ in range(20):
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await admin.get(f"{API}/users", params=params)).json()
        names += [user["username"] for user in page["users"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert names == sorted(names)
    assert {"alice", "bob", "carol", "dora", "owner"} <= set(names)
    assert len(names) == len(set(names))


async def test_a_user_with_groups_and_quotas(admin: httpx.AsyncClient) -> None:
    document = (await admin.get(f"{API}/users/carol")).json()
    assert [group["name"] for group in document["groups"]] == ["astronomers"]
    assert document["identities"] == []
    assert any(quota["quota"] == "rows" for quota in document["quotas"])


async def test_anybodys_tokens(
    admin: httpx.AsyncClient, client: httpx.AsyncClient, people: People
) -> None:
    made = await admin.post(
        f"{API}/users/bob/tokens", json={"name": "for bob", "scopes": ["read:tap"]}
    )
    assert made.status_code == 201
    token = made.json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert (await client.get("/api/me", headers=headers)).json()["username"] == "bob"
    listed = (await admin.get(f"{API}/users/bob/tokens")).json()["tokens"]
    assert {key_of(token), key_of(people.tokens["bob"])} <= {entry["key"] for entry in listed}
    assert (await admin.delete(f"{API}/tokens/{key_of(token)}")).status_code == 204
    assert (await client.get("/api/me", headers=headers)).status_code == 401
    history = await admin.get(f"{API}/tokens/history", params={"key": key_of(token)})
    assert [(c["action"], c["actor"]) for c in history.json()["changes"]] == [
        ("revoke", "dora"),
        ("create", "dora"),
    ]
    assert (await admin.get(f"{API}/users/nobody/tokens")).status_code == 404


async def test_groups(admin: httpx.AsyncClient, client: httpx.AsyncClient, people: People) -> None:
    made = await admin.post(f"{API}/groups", json={"name": "pulsars", "owner": "bob"})
    assert made.status_code == 201
    put = await admin.put(f"{API}/groups/pulsars/members/carol", json={})
    assert put.status_code == 204
    document = (await admin.get(f"{API}/groups/pulsars")).json()
    assert [(m["name"], m["role"]) for m in document["members"]] == [
        ("bob", "owner"),
        ("carol", "member"),
    ]
    search = await client.get("/auth/gms/search", headers=people.bearer("carol"))
    assert "pulsars" in search.text
    assert (await admin.delete(f"{API}/groups/pulsars/members/carol")).status_code == 204
    page = await admin.get(f"{API}/groups", params={"limit": 1})
    assert page.json()["next_cursor"] == page.json()["groups"][0]["name"]
    assert (await admin.delete(f"{API}/groups/pulsars")).status_code == 204


async def test_quotas(admin: httpx.AsyncClient, client: httpx.AsyncClient, people: People) -> None:
    rule = {"kind": "user", "subject": "bob", "quota": "rows", "value": 7}
    assert (await admin.put(f"{API}/quotas", json=rule)).status_code == 204
    rules = (await admin.get(f"{API}/quotas")).json()["rules"]
    mine = next(r for r in rules if r["subject"] == "bob")
    assert (mine["value"], mine["changed_by"]) == (7, "dora")
    me = (await client.get("/api/me", headers=people.bearer("bob"))).json()
    assert next(q["limit"] for q in me["quotas"] if q["quota"] == "rows") == 7
    for wrong in (
        rule | {"quota": "no-such"},
        rule | {"value": -1},
        rule | {"kind": "nobody"},
        rule | {"extra": 1},
    ):
        assert (await admin.put(f"{API}/quotas", json=wrong)).status_code == 400
    params = {"kind": "user", "subject": "bob", "quota": "rows"}
    assert (await admin.delete(f"{API}/quotas", params=params)).status_code == 204
    assert (await admin.delete(f"{API}/quotas", params=params)).status_code == 404


async def test_the_audit_log(admin: httpx.AsyncClient) -> None:
    await admin.post(f"{API}/users", json={"username": "hugo"})
    await admin.post(f"{API}/users/hugo/disable")
    log = (
        await admin.get(f"{API}/audit", params={"target": "hugo", "action": "user.", "limit": 1})
    ).json()
    assert [(e["action"], e["actor"]) for e in log["entries"]] == [("user.disable", "dora")]
    assert log["entries"][0]["address"] == "127.0.0.1"
    rest = await admin.get(f"{API}/audit", params={"target": "hugo", "cursor": log["next_cursor"]})
    assert [entry["action"] for entry in rest.json()["entries"]] == ["user.create"]
    late = await admin.get(f"{API}/audit", params={"since": "2100-01-01T00:00:00Z"})
    assert late.json() == {"entries": [], "next_cursor": None}
    for wrong in ({"cursor": "x"}, {"limit": 0}, {"since": "yesterday"}):
        assert (await admin.get(f"{API}/audit", params=wrong)).status_code == 400
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = await admin.request(method, f"{API}/audit")
        assert answer.status_code == 405, "nobody changes what was written down"


async def test_requests_for_accounts(admin: httpx.AsyncClient, context: ProcessContext) -> None:
    for subject, name in (("1", "ines"), ("2", "jules")):
        pending = context.openid_accounts.from_openid(
            "https://idp.example", subject, OpenIDClaims(full_name=name.title())
        )
        assert isinstance(pending, PendingUser)
        context.openid_accounts.choose_name(pending.pending_id, name, approval=True)
    listed = (await admin.get(f"{API}/requests")).json()["requests"]
    assert [(r["requested_name"], r["full_name"]) for r in listed] == [
        ("ines", "Ines"),
        ("jules", "Jules"),
    ]
    approved = await admin.post(f"{API}/requests/ines/approve")
    assert approved.json()["status"] == "active"
    assert (await admin.post(f"{API}/requests/jules/refuse")).status_code == 204
    assert (await admin.get(f"{API}/requests")).json() == {"requests": []}
    identities = (await admin.get(f"{API}/users/ines")).json()["identities"]
    assert identities == [["https://idp.example", "1"]]
    assert (await admin.post(f"{API}/requests/jules/approve")).status_code == 404


async def test_administrators_need_a_recent_login(
    client: httpx.AsyncClient, people: People
) -> None:
    dora = people.bearer("dora")
    assert (await client.get(f"{API}/users", headers=dora)).status_code == 200
    for method, path, body in (
        ("POST", "/users", {"username": "kai"}),
        ("PATCH", "/users/bob", {"email": "x@example.org"}),
        ("POST", "/users/bob/disable", None),
        ("PUT", "/users/bob/password", {"password": PASSWORD}),
        ("POST", "/users/bob/login-link", None),
        ("DELETE", "/users/bob", None),
        ("DELETE", f"/tokens/{key_of(people.tokens['bob'])}", None),
        ("PUT", "/quotas", {"kind": "default", "quota": "rows", "value": 1}),
        ("DELETE", "/quotas?kind=default&quota=rows", None),
        ("PUT", "/groups/admins/members/bob", {}),
    ):
        answer = await client.request(method, f"{API}{path}", json=body, headers=dora)
        assert answer.status_code == 403, (method, path)
