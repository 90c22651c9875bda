"""Tokens, groups and quotas as their users see them, and what an ingress and other services ask."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import httpx
import pytest

from astrolabe.core.clock import utc_now
from astrolabe.factory import ProcessContext
from astrolabe.identity.authority import OPERATOR

from .support import ADDRESS, ALL_USER_SCOPES, COOKIE, People, csrf_of, key_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

ByCookie = Callable[[str], AbstractAsyncContextManager[httpx.AsyncClient]]
API = "/auth/api/v1"


async def test_a_tokens_life(by_cookie: ByCookie, client: httpx.AsyncClient) -> None:
    expires = (utc_now() + timedelta(days=3)).replace(microsecond=0)
    async with by_cookie("bob") as mine:
        csrf = await csrf_of(mine)
        made = await mine.post(
            f"{API}/tokens",
            json={"name": "laptop", "scopes": ["read:tap"], "expires": expires.isoformat()},
            headers=csrf,
        )
        assert made.status_code == 201
        assert made.headers["cache-control"] == "no-store"
        token, info = made.json()["token"], made.json()["info"]
        assert info["key"] == key_of(token)
        assert info["scopes"] == ["read:tap"]
        assert info["kind"] == "user"
        assert info["expires"] == expires.isoformat().replace("+00:00", "Z")

        headers = {"Authorization": f"Bearer {token}"}
        assert (await client.get("/api/me", headers=headers)).json()["scopes"] == ["read:tap"]

        listed = (await mine.get(f"{API}/tokens", params={"kind": "user"})).json()["tokens"]
        assert info["key"] in [entry["key"] for entry in listed]
        one = await mine.get(f"{API}/tokens/{info['key']}")
        assert one.json()["name"] == "laptop"
        assert token.partition(".")[2] not in one.text
        again = await mine.post(
            f"{API}/tokens", json={"name": "laptop", "scopes": ["read:tap"]}, headers=csrf
        )
        assert again.status_code == 409
        renamed = await mine.patch(
            f"{API}/tokens/{info['key']}", json={"name": "desktop"}, headers=csrf
        )
        assert renamed.json()["name"] == "desktop"
        gone = await mine.delete(f"{API}/tokens/{info['key']}", headers=csrf)
        assert gone.status_code == 204
        assert (await client.get("/api/me", headers=headers)).status_code == 401

        history = (
            await mine.get(f"{API}/tokens/history", params={"key": info["key"], "limit": 2})
        ).json()
        assert [change["action"] for change in history["changes"]] == ["revoke", "rename"]
        assert history["changes"][0]["address"] == "127.0.0.1"
        rest = await mine.get(
            f"{API}/tokens/history",
            params={"key": info["key"], "cursor": history["next_cursor"]},
        )
        assert [change["action"] for change in rest.json()["changes"]] == ["create"]
        assert rest.json()["next_cursor"] is None
        ended = await mine.get(f"{API}/tokens", params={"ended": True})
        assert info["key"] in ended.text


async def test_a_token_may_end_itself_and_no_other(
    client: httpx.AsyncClient, context: ProcessContext
) -> None:
    first, second = (
        context.tokens.create_for("bob", name=name, scopes=["read:tap"], by=OPERATOR)
        for name in ("first", "second")
    )
    headers = {"Authorization": f"Bearer {first.text}"}
    other = await client.delete(f"{API}/tokens/{second.info.key}", headers=headers)
    assert other.status_code == 403
    own = await client.delete(f"{API}/tokens/{first.info.key}", headers=headers)
    assert own.status_code == 204
    assert (await client.get("/api/me", headers=headers)).status_code == 401


async def test_sessions(by_cookie: ByCookie, context: ProcessContext) -> None:
    elsewhere = context.tokens.create_session("bob", address="192.0.2.7", authenticated=utc_now())
    async with by_cookie("bob") as mine:
        sessions = (await mine.get(f"{API}/sessions")).json()["tokens"]
        assert {entry["kind"] for entry in sessions} == {"session"}
        assert sum(entry["current"] for entry in sessions) == 1
        there = next(entry for entry in sessions if entry["key"] == elsewhere.info.key)
        assert there["created_address"] == "192.0.2.7"
        path = f"{API}/tokens/{elsewhere.info.key}"
        assert (await mine.delete(path, headers=await csrf_of(mine))).status_code == 204
    async with by_cookie(elsewhere.text) as gone:
        assert (await gone.get("/api/me")).status_code == 401


async def test_unknown_fields_are_refused(by_cookie: ByCookie) -> None:
    async with by_cookie("bob") as mine:
        answer = await mine.post(
            f"{API}/tokens",
            json={"name": "x", "scopes": ["read:tap"], "username": "alice"},
            headers=await csrf_of(mine),
        )
    assert answer.status_code == 400
    assert answer.json()["code"] == "bad-parameter"


async def test_the_password(client: httpx.AsyncClient, context: ProcessContext) -> None:
    context.users.create("fred", password="an old long password", by=OPERATOR)
    first = context.tokens.create_session("fred", address=None, authenticated=utc_now())
    other = context.tokens.create_session("fred", address=None, authenticated=utc_now())
    mine = {"Authorization": f"Bearer {first.text}"}
    short = await client.post(f"{API}/password", json={"password": "short"}, headers=mine)
    assert short.status_code == 400
    new = "a new and long password"
    done = await client.post(f"{API}/password", json={"password": new}, headers=mine)
    assert done.status_code == 204
    assert (await client.get("/api/me", headers=mine)).status_code == 200
    theirs = {"Authorization": f"Bearer {other.text}"}
    assert (await client.get("/api/me", headers=theirs)).status_code == 401
    login = {"username": "fred", "password": new}
    assert (await client.post("/api/login", data=login)).status_code == 200


async def test_groups_and_invitations(client: httpx.AsyncClient, people: People) -> None:
    alice, bob = people.bearer("alice"), people.bearer("bob")
    made = await client.post(
        f"{API}/groups", json={"name": "novae", "description": "Bright"}, headers=alice
    )
    assert made.status_code == 201
    assert made.json()["role"] == "owner"
    taken = await client.post(f"{API}/groups", json={"name": "novae"}, headers=bob)
    assert taken.status_code == 409
    changed = await client.patch(
        f"{API}/groups/novae", json={"description": "Brighter"}, headers=alice
    )
    assert changed.json()["description"] == "Brighter"
    assert (await client.get(f"{API}/groups/novae", headers=bob)).status_code == 404

    invitation = await client.post(
        f"{API}/groups/novae/invitations", json={"username": "bob"}, headers=alice
    )
    assert invitation.status_code == 201
    waiting = await client.get(f"{API}/groups/novae/invitations", headers=alice)
    assert [i["username"] for i in waiting.json()["invitations"]] == ["bob"]
    mine = (await client.get(f"{API}/invitations", headers=bob)).json()["invitations"]
    assert [i["group"] for i in mine] == ["novae"]
    number = mine[0]["invitation_id"]
    stolen = await client.post(f"{API}/invitations/{number}/accept", headers=people.bearer("carol"))
    assert stolen.status_code == 404
    joined = await client.post(f"{API}/invitations/{number}/accept", headers=bob)
    assert joined.status_code == 200
    groups = (await client.get(f"{API}/groups", headers=bob)).json()["groups"]
    assert {g["name"]: g["role"] for g in groups} == {"novae": "member"}
    members = (await client.get(f"{API}/groups/novae", headers=bob)).json()["members"]
    assert [(m["name"], m["role"]) for m in members] == [("alice", "owner"), ("bob", "member")]

    not_owner = await client.delete(f"{API}/groups/novae", headers=bob)
    assert not_owner.status_code == 403
    promoted = await client.put(
        f"{API}/groups/novae/members/bob", json={"role": "admin"}, headers=alice
    )
    assert promoted.status_code == 204
    last = await client.delete(f"{API}/groups/novae/members/alice", headers=alice)
    assert last.status_code == 409
    left = await client.delete(f"{API}/groups/novae/members/bob", headers=bob)
    assert left.status_code == 204
    second = await client.post(
        f"{API}/groups/novae/invitations", json={"username": "bob"}, headers=alice
    )
    number = second.json()["invitation_id"]
    declined = await client.post(f"{API}/invitations/{number}/decline", headers=bob)
    assert declined.status_code == 204
    assert (await client.delete(f"{API}/groups/novae", headers=alice)).status_code == 204
    reused = await client.post(f"{API}/groups", json={"name": "novae"}, headers=alice)
    assert reused.status_code == 409


async def test_me(client: httpx.AsyncClient, people: People) -> None:
    me = (await client.get("/api/me", headers=people.bearer("carol"))).json()
    assert me["username"] == "carol"
    assert me["uid"] >= 200_000
    assert [(g["name"], g["role"]) for g in me["groups"]] == [("astronomers", "member")]
    assert me["scopes"] == sorted(ALL_USER_SCOPES)
    assert {"requests_per_minute.tap", "concurrent_queries", "bytes_per_day"} <= {
        quota["quota"] for quota in me["quotas"]
    }


async def test_group_membership_service(client: httpx.AsyncClient, people: People) -> None:
    """GMS 1.0, section 2.1: names of the caller's groups, each line ending in CRLF."""
    path = "/auth/gms/search"
    carol = people.bearer("carol")
    answer = await client.get(path, headers=carol)
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text == "astronomers\r\n"
    some = await client.get(path, params={"group": ["admins", "astronomers"]}, headers=carol)
    assert some.text == "astronomers\r\n"
    none = await client.get(path, params={"group": "admins"}, headers=carol)
    assert (none.status_code, none.text) == (200, "")
    assert (await client.get(path)).status_code == 401
    capabilities = await client.get("/auth/gms/capabilities")
    assert "ivo://ivoa.net/std/GMS#search-1.0" in capabilities.text
    assert f"{ADDRESS}{path}" in capabilities.text
    available = await client.get("/auth/gms/availability")
    assert "<vosi:available>true" in available.text


async def test_what_an_ingress_asks(
    client: httpx.AsyncClient, by_cookie: ByCookie, people: People
) -> None:
    path = "/auth/forward"
    passed = await client.get(path, headers=people.bearer("carol"))
    assert passed.status_code == 200
    assert passed.headers["x-auth-request-user"] == "carol"
    assert passed.headers["x-auth-request-groups"] == "astronomers"
    assert "read:tap" in passed.headers["x-auth-request-scopes"].split()
    assert int(passed.headers["x-auth-request-uid"]) >= 200_000
    refused = await client.get(path)
    assert refused.status_code == 401
    assert refused.headers.get_list("www-authenticate")
    lacking = {"Authorization": f"Bearer {people.unfit}"}
    missing = await client.get(path, params={"scope": "exec:notebook"}, headers=lacking)
    assert missing.status_code == 403
    two = {"scope": ["exec:notebook", "read:tap"]}
    assert (await client.get(path, params=two, headers=people.bearer("bob"))).status_code == 200
    strange = await client.get(path, params={"scope": "x"}, headers=people.bearer("bob"))
    assert strange.status_code == 400

    elsewhere = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    async with by_cookie("bob") as mine:
        for headers, status in (
            ({}, 200),
            ({"X-Original-Method": "POST"}, 200),
            ({"X-Original-Method": "GET", **elsewhere}, 200),
            ({"X-Forwarded-Method": "POST", **elsewhere}, 403),
            ({"X-Original-Method": "GET", "Upgrade": "websocket", **elsewhere}, 403),
            (elsewhere, 403),
            ({"X-Original-Method": "POST", "X-Forwarded-Method": "GET", **elsewhere}, 403),
        ):
            assert (await mine.get(path, headers=headers)).status_code == status, headers
    by_header = await client.get(path, headers={**elsewhere, **people.bearer("bob")})
    assert by_header.status_code == 200


async def test_the_clients_address_is_kept(
    client: httpx.AsyncClient, people: People, context: ProcessContext
) -> None:
    """From a proxy that nobody trusts, X-Forwarded-For is somebody's own word."""
    headers = {**people.bearer("carol"), "X-Forwarded-For": "198.51.100.9"}
    assert (await client.get("/api/me", headers=headers)).status_code == 200
    context.authenticator.flush()
    info = context.tokens.get(key_of(people.tokens["carol"]))
    assert info.last_address == "127.0.0.1"
    assert info.last_used is not None


async def test_a_stale_cookie_leaves_the_pages_open(client: httpx.AsyncClient) -> None:
    stale = {"Cookie": f"{COOKIE}=al-{'C' * 22}.{'C' * 22}"}
    for path in ("/", "/auth/login", "/auth/logout", "/.well-known/astrolabe"):
        assert (await client.get(path, headers=stale)).status_code == 200
