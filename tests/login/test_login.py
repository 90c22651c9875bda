"""Logging in and out, by the forms and by programs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import update

from astrolabe.core.clock import utc_now
from astrolabe.factory import ProcessContext
from astrolabe.identity.authority import OPERATOR
from astrolabe.identity.schema import LOGIN_ATTEMPT
from astrolabe_api.main import create_app

from .support import COOKIE, PASSWORD, People, client_of, form_token, key_of, settings_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

ByCookie = Callable[[str], AbstractAsyncContextManager[httpx.AsyncClient]]


async def log_in(
    client: httpx.AsyncClient, name: str = "alice", password: str = PASSWORD, **fields: str
) -> httpx.Response:
    page = await client.get("/auth/login")
    form = {"username": name, "password": password, "csrf_token": form_token(page.text)}
    return await client.post("/auth/login", data=form | fields)


def cookies_of(answer: httpx.Response) -> dict[str, str]:
    return {
        line.partition("=")[0]: line.partition("=")[2]
        for line in answer.headers.get_list("set-cookie")
    }


async def test_the_form(client: httpx.AsyncClient) -> None:
    answer = await log_in(client, return_url="/api/me?x=1")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/api/me?x=1"
    attributes = {part.strip().lower() for part in cookies_of(answer)[COOKIE].split(";")}
    assert {"httponly", "secure", "samesite=lax", "path=/"} <= attributes
    assert not any(part.startswith("domain") for part in attributes)
    assert "SESSION" not in cookies_of(answer)
    me = await client.get("/api/me")
    assert me.json()["username"] == "alice"
    assert "user:token" in me.json()["scopes"]


async def test_without_tls_the_cookie_has_another_name(
    people: People, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert people.sessions
    home = tmp_path_factory.mktemp("plain")
    settings = settings_of(home).model_copy(
        update={
            "server": settings_of(home).server.model_copy(
                update={"public_url": "http://127.0.0.1:8080"}
            )
        }
    )
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        context: ProcessContext = app.state.api.context
        context.users.ensure_owner()
        context.users.create("alice", password=PASSWORD, by=OPERATOR)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as c:
            answer = await log_in(c)
            assert answer.status_code == 303
            assert "secure" not in cookies_of(answer)["astrolabe"].lower()
            assert (await c.get("/api/me")).status_code == 200


@pytest.mark.parametrize(
    ("name", "password"), [("alice", "wrong"), ("nobody", PASSWORD), ("", ""), ("Alice\x00", "x")]
)
async def test_a_wrong_password(client: httpx.AsyncClient, name: str, password: str) -> None:
    answer = await log_in(client, name, password)
    assert answer.status_code == 401
    assert "wrong" in answer.text
    assert COOKIE not in cookies_of(answer)
    given = answer.headers.get_list("www-authenticate")
    assert given
    assert not any(value.startswith("Basic") for value in given)


async def test_too_many_failures_must_wait(app: FastAPI, context: ProcessContext) -> None:
    context.users.create("target", password=PASSWORD, by=OPERATOR)
    async with client_of(app) as client:
        for _ in range(context.settings.auth.account_attempts + 1):
            assert (await log_in(client, "target", "wrong")).status_code == 401
        with context.database.write() as connection:
            waiting = connection.execute(
                # The first wait is a second, which a busy machine can take to come back here.
                update(LOGIN_ATTEMPT)
                .where(
                    LOGIN_ATTEMPT.c.subject == "account:target",
                    LOGIN_ATTEMPT.c.blocked_until.is_not(None),
                )
                .values(blocked_until=utc_now() + timedelta(seconds=60))
            )
        assert waiting.rowcount == 1
        answer = await log_in(client, "target", PASSWORD)
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0
        program = await client.post("/api/login", data={"username": "target", "password": PASSWORD})
        assert program.status_code == 429


async def test_a_login_link(app: FastAPI, context: ProcessContext) -> None:
    text = context.users.create_login_link("bob", by=OPERATOR)
    async with client_of(app) as client:
        page = await client.get("/auth/link")
        assert '<script src="/auth/link.js" defer></script>' in page.text
        script = await client.get("/auth/link.js")
        assert script.headers["content-type"].startswith("text/javascript")
        token = form_token(page.text)
        wrong = await client.post("/auth/link", data={"link": "x" * 43, "csrf_token": token})
        assert wrong.status_code == 401
        whole = f"https://astrolabe.example/auth/link#{text}"
        answer = await client.post("/auth/link", data={"link": whole, "csrf_token": token})
        assert answer.status_code == 303
        assert (await client.get("/api/me")).json()["username"] == "bob"
    async with client_of(app) as client:
        token = form_token((await client.get("/auth/link")).text)
        again = await client.post("/auth/link", data={"link": text, "csrf_token": token})
        assert again.status_code == 401


async def test_logging_out(app: FastAPI) -> None:
    async with client_of(app) as client:
        await log_in(client)
        token = client.cookies[COOKIE]
        page = await client.get("/auth/logout")
        assert (await client.get("/api/me")).status_code == 200, "GET must change nothing"
        refused = await client.post("/auth/logout", data={"csrf_token": "0" * 64})
        assert refused.status_code == 403
        answer = await client.post("/auth/logout", data={"csrf_token": form_token(page.text)})
        assert answer.status_code == 303
        assert COOKIE not in client.cookies
        gone = await client.get("/api/me", headers={"Authorization": f"Bearer {token}"})
        assert gone.status_code == 401


async def test_a_program_logs_in(app: FastAPI) -> None:
    form = {"username": "alice", "password": PASSWORD}
    async with client_of(app) as client:
        answer = await client.post("/api/login", data=form)
        assert answer.status_code == 200
        assert answer.text == "alice\n"
        assert answer.headers["x-vo-authenticated"] == "alice"
        # TapPlus looks for a cookie of this name, and sends nothing but its value.
        session = cookies_of(answer)["SESSION"].partition(";")[0]
    async with client_of(app) as client:
        cookie = {"Cookie": f"SESSION={session}"}
        assert (await client.get("/api/me", headers=cookie)).json()["username"] == "alice"
        posted = await client.post(
            "/api/tap/sync",
            data={"LANG": "ADQL", "QUERY": "SELECT TOP 1 table_name FROM tap_schema.tables"},
            headers=cookie,
        )
        assert posted.status_code == 200
        # Any site of the domain could plant this cookie in a browser.
        browser = {**cookie, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
        assert (await client.get("/api/me", headers=browser)).status_code == 401
        assert (await client.post("/api/logout", headers=cookie)).status_code == 200
        assert (await client.get("/api/me", headers=cookie)).status_code == 401


async def test_a_program_logs_in_with_json(client: httpx.AsyncClient) -> None:
    form = {"username": "alice", "password": PASSWORD}
    answer = await client.post("/api/login", data=form, headers={"Accept": "application/json"})
    assert answer.json()["username"] == "alice"
    wrong = await client.post("/api/login", data=form | {"password": "no"})
    assert wrong.status_code == 401
    assert wrong.headers["content-type"].startswith("text/plain")


async def test_a_token_in_the_passwords_place(app: FastAPI, people: People) -> None:
    token = people.unfit
    async with client_of(app) as client:
        for name in ("alice", "x-oauth-basic"):
            answer = await client.post("/api/login", data={"username": name, "password": token})
            assert answer.status_code == 200
        session = (await client.get("/auth/api/v1/session")).json()
        assert session["scopes"] == ["write:workspace"]
        assert session["kind"] == "service"
        assert session["authenticated"] is None
        assert client.cookies["SESSION"] != token
        await client.post("/api/logout")
    async with client_of(app) as client:
        other = await client.post("/api/login", data={"username": "bob", "password": token})
        assert other.status_code == 401
        kept = await client.get("/api/me", headers={"Authorization": f"Bearer {token}"})
        assert kept.status_code == 200, "logging out must not end the user's own token"


async def test_a_new_login_ends_the_old_session(app: FastAPI, by_cookie: ByCookie) -> None:
    async with client_of(app) as client:
        await log_in(client)
        first = client.cookies[COOKIE]
        await log_in(client)
        second = client.cookies[COOKIE]
        assert key_of(first) != key_of(second)
        assert (await client.get("/api/me")).status_code == 200
    async with by_cookie(first) as client:
        assert (await client.get("/api/me")).status_code == 401


@pytest.mark.parametrize("path", ["/auth/login", "/auth/link", "/auth/logout"])
async def test_pages_are_closed_to_others(client: httpx.AsyncClient, path: str) -> None:
    page = await client.get(path)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["cache-control"] == "no-store"
    assert "<script>" not in page.text
    assert "onclick" not in page.text


async def test_the_form_with_anything(client: httpx.AsyncClient) -> None:
    for text in ("x" * 20_000, "\U0001f600", "<script>alert(1)</script>"):
        answer = await log_in(client, text)
        assert answer.status_code in {401, 413, 429}
        assert "<script>alert" not in answer.text
