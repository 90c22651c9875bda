"""The pages, as a browser without scripts uses them."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from html import unescape

import httpx
import pytest

from astrolabe.factory import ProcessContext
from astrolabe.identity.authority import OPERATOR
from astrolabe.identity.model import OpenIDClaims, PendingUser

from .support import ADDRESS, PASSWORD, People, form_token, key_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

ByCookie = Callable[[str], AbstractAsyncContextManager[httpx.AsyncClient]]


async def post(
    client: httpx.AsyncClient, page: str, target: str, **fields: object
) -> httpx.Response:
    """Send a form of a page; return where it leads."""
    shown = await client.get(page)
    assert shown.status_code == 200, shown.text
    answer = await client.post(target, data={"csrf_token": form_token(shown.text), **fields})
    if answer.status_code == 303:
        return await client.get(answer.headers["location"])
    return answer


async def test_who_has_to_log_in_is_led_there_and_back(client: httpx.AsyncClient) -> None:
    answer = await client.get("/groups/novae?done=x&y=%C3%A9")
    assert answer.status_code == 303
    form = await client.get(answer.headers["location"])
    wanted = re.search(r'name="return_url" value="([^"]*)"', form.text)
    assert wanted is not None
    data = {
        "username": "alice",
        "password": PASSWORD,
        "return_url": unescape(wanted[1]),
        "csrf_token": form_token(form.text),
    }
    answer = await client.post("/auth/login", data=data)
    assert answer.headers["location"] == "/groups/novae?done=x&y=%C3%A9"
    # A form of a session that has ended says so: it cannot be led back to.
    client.cookies.clear()
    refused = await client.post("/groups", data={"name": "x"})
    assert refused.status_code == 401
    assert "Log in again" in refused.text


async def test_a_token_is_made_shown_once_and_revoked(
    by_cookie: ByCookie, client: httpx.AsyncClient
) -> None:
    async with by_cookie("alice") as mine:
        made = await post(
            mine,
            "/account",
            "/account/tokens",
            name="from <the> page",
            scope=["read:tap", "read:image"],
            days="30",
        )
        assert made.status_code == 200
        found = re.search(r'<code id="token">(al-[^<]+)</code>', made.text)
        assert found is not None
        token = found[1]
        assert made.headers["cache-control"] == "no-store"
        again = (await mine.get("/account")).text
        assert token not in again
        assert "from &lt;the&gt; page" in again
        session = await client.get("/api/me", headers={"Authorization": f"Bearer {token}"})
        assert session.json()["scopes"] == ["read:image", "read:tap"]
        revoked = await post(mine, "/account", f"/account/tokens/{key_of(token)}", action="revoke")
        assert "The token was revoked." in revoked.text
        gone = await client.get("/api/me", headers={"Authorization": f"Bearer {token}"})
        assert gone.status_code == 401


async def test_what_is_wrong_is_said_on_the_page(by_cookie: ByCookie, people: People) -> None:
    async with by_cookie("alice") as mine:
        for fields, status in (
            ({"name": "", "scope": "read:tap", "days": "30"}, 400),
            ({"name": "x", "scope": "admin:user", "days": "30"}, 403),
            ({"name": "x", "scope": "read:tap", "days": "4000"}, 400),
            ({"name": "x", "scope": "<script>", "days": "30"}, 400),
        ):
            answer = await post(mine, "/account", "/account/tokens", **fields)
            assert answer.status_code == status
            assert 'role="alert"' in answer.text
            assert "<script>" not in answer.text
        differ = await post(mine, "/account", "/account/password", password="a" * 20, again="b")
        assert differ.status_code == 400
        others = f"/account/tokens/{key_of(people.tokens['bob'])}"
        assert (await post(mine, "/account", others, action="revoke")).status_code == 404
        without = await mine.post("/account/tokens", data={"name": "x", "scope": "read:tap"})
        assert without.status_code == 403
        assert "CSRF" in without.text
    async with by_cookie(people.old_session) as old:
        page = (await old.get("/account")).text
        assert "log in again" in page
        assert 'action="/account/tokens"' not in page
        answer = await post(old, "/account", "/account/tokens", name="x", scope="read:tap")
        assert answer.status_code == 403
        assert "15 minutes" in answer.text


async def test_groups(by_cookie: ByCookie) -> None:
    async with by_cookie("alice") as alice, by_cookie("bob") as bob:
        made = await post(alice, "/groups", "/groups", name="quasars", description="Far & bright")
        assert "Group quasars" in made.text
        assert "Far &amp; bright" in made.text
        page = "/groups/quasars"
        assert (await bob.get(page)).status_code == 404
        invited = await post(alice, page, page, action="invite", member="bob", role="member")
        assert "it waits for an answer" in invited.text
        waiting = (await bob.get("/groups")).text
        number = re.search(r'action="(/groups/invitations/[^"]+)"', waiting)
        assert number is not None
        joined = await post(bob, "/groups", number[1], answer="accept")
        assert "You have joined the group." in joined.text
        promoted = await post(alice, page, page, action="role", member="bob", role="admin")
        assert "The change was made." in promoted.text
        cannot = await post(bob, page, page, action="delete")
        assert cannot.status_code == 403
        left = await post(bob, page, page, action="remove", member="bob")
        assert "You have left the group." in left.text
        strange = await post(alice, page, page, action="explode")
        assert strange.status_code == 400
        last = await post(alice, page, page, action="remove", member="alice")
        assert last.status_code == 409
        described = await post(alice, page, page, action="describe", description="New")
        assert 'value="New"' in described.text
        ended = await post(alice, page, page, action="delete")
        assert "The group was ended." in ended.text


async def test_administration_of_people(
    by_cookie: ByCookie, context: ProcessContext, client: httpx.AsyncClient
) -> None:
    async with by_cookie("dora") as admin:
        made = await post(
            admin, "/admin", "/admin", username="lena", full_name="Lena <L>", email=""
        )
        assert "The account was made." in made.text
        assert "Lena &lt;L&gt;" in made.text
        page = "/admin/users/lena"
        linked = await post(admin, page, page, action="link")
        link = re.search(rf"<code>{ADDRESS}/auth/link#([^<]+)</code>", linked.text)
        assert link is not None
        form = await client.get("/auth/link")
        entered = await client.post(
            "/auth/link", data={"link": link[1], "csrf_token": form_token(form.text)}
        )
        assert entered.status_code == 303
        token = context.tokens.create_for("lena", name="t", scopes=["read:tap"], by=OPERATOR)
        revoked = await post(admin, page, page, action="revoke", key=token.info.key)
        assert "The change was made." in revoked.text
        assert token.info.key not in revoked.text
        disabled = await post(admin, page, page, action="disable")
        assert "disabled" in disabled.text
        assert (await client.get("/api/me")).status_code == 401
        await post(admin, page, page, action="enable")
        changed = await post(
            admin, page, page, action="update", full_name="Lena", email="l@example.org"
        )
        assert 'value="l@example.org"' in changed.text
        found = await admin.get("/admin", params={"search": "l@example"})
        assert "/admin/users/lena" in found.text
        assert "/admin/users/bob" not in found.text
        deleted = await post(admin, page, page, action="delete", hand_over_to="")
        assert "deleted" in deleted.text
        assert (await admin.get("/admin/users/nobody")).status_code == 404
        assert "astronomers" in (await admin.get("/admin/groups")).text
        assert (await admin.get("/groups/astronomers")).status_code == 200


async def test_requests_for_accounts(by_cookie: ByCookie, context: ProcessContext) -> None:
    pending = context.openid_accounts.from_openid("https://idp.example", "9", OpenIDClaims())
    assert isinstance(pending, PendingUser)
    context.openid_accounts.choose_name(pending.pending_id, "mona", approval=True)
    async with by_cookie("dora") as admin:
        assert "Waiting for approval" in (await admin.get("/admin")).text
        done = await post(admin, "/admin", "/admin/requests/mona", answer="approve")
        assert "The account was made." in done.text
        assert "Waiting for approval" not in done.text
        assert (await admin.get("/admin/users/mona")).status_code == 200


async def test_quotas_and_the_audit_log(by_cookie: ByCookie) -> None:
    async with by_cookie("dora") as admin:
        page = "/admin/quotas"
        rule = {"kind": "user", "subject": "bob", "quota": "rows"}
        done = await post(admin, page, page, action="set", value="77000", ends="2099-01-01", **rule)
        assert "77,000" in done.text
        for wrong in ({"quota": "no"}, {"value": "x"}, {"value": "nan"}, {"ends": "soon"}):
            answer = await post(admin, page, page, action="set", **(rule | {"value": "1"} | wrong))
            assert answer.status_code == 400, wrong
        removed = await post(admin, page, page, action="remove", **rule)
        assert "77,000" not in removed.text
        log = await admin.get("/admin/audit", params={"action": "quota.", "actor": "dora"})
        assert "quota.set" in log.text
        assert "quota.remove" in log.text
        wrong_time = await admin.get("/admin/audit", params={"since": "x"})
        assert wrong_time.status_code == 400


async def test_only_administrators_see_their_pages(by_cookie: ByCookie) -> None:
    async with by_cookie("alice") as mine:
        for page in ("/admin", "/admin/quotas", "/admin/audit", "/admin/users/bob"):
            answer = await mine.get(page)
            assert answer.status_code == 403
            assert answer.headers["content-type"].startswith("text/html")
        assert "/admin" not in (await mine.get("/account")).text
