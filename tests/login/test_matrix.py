"""Every endpoint, asked by everybody who must not and somebody who may.

The table below is checked against the routes of the application: an endpoint without a line, or
one whose declaration says something else than its line, fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from astrolabe_api.common.auth import Access, Who
from astrolabe_api.main import create_app

from .support import People, client_of, key_of, settings_of

# What a line says of its endpoint: whom it answers, and with which scope.
OPEN = "open"
PUBLIC = "public"
LOGIN = "login"
SIGNED = "signed tree read:image"


class Line(NamedTuple):
    """One endpoint.

    Parameters
    ----------
    access
        ``open``, ``public``, ``login``, a scope, ``*scope`` where anonymous callers may come, or
        `SIGNED` where the credential stands in the path and no other one counts.
    path
        With whatever its parameters are in the test; default the template itself.
    json, form
        A body that is right in form.
    """

    access: str
    path: str | None = None
    json: dict[str, Any] | None = None
    form: dict[str, str] | None = None


# Nobody's token, group, job or user: who may come gets 404 or the like, who may not never does.
NO_KEY = "A" * 22
NO_JOB = "a" * 26

TAP_JOB = {"REQUEST": "doQuery", "LANG": "ADQL", "QUERY": "SELECT 1 AS one FROM tap_schema.tables"}

MATRIX: dict[tuple[str, str], Line] = {
    ("GET", "/"): Line(PUBLIC),
    ("GET", "/health"): Line(OPEN),
    ("GET", "/metrics"): Line(OPEN),
    ("GET", "/.well-known/astrolabe"): Line(PUBLIC),
    ("GET", "/api/docs"): Line(OPEN),
    ("GET", "/api/openapi.json"): Line(OPEN),
    # Logging in and out.
    ("GET", "/auth/login"): Line(OPEN),
    ("POST", "/auth/login"): Line(PUBLIC, form={"username": "nobody", "password": "x"}),
    ("GET", "/auth/link"): Line(OPEN),
    ("GET", "/auth/link.js"): Line(OPEN),
    ("POST", "/auth/link"): Line(PUBLIC, form={"link": "x"}),
    ("GET", "/auth/logout"): Line(PUBLIC),
    ("POST", "/auth/logout"): Line(PUBLIC, form={}),
    ("POST", "/api/login"): Line(PUBLIC, form={"username": "nobody", "password": "x"}),
    ("POST", "/api/logout"): Line(PUBLIC, form={}),
    # The account.
    ("GET", "/api/me"): Line(LOGIN),
    ("GET", "/auth/forward"): Line(LOGIN),
    ("GET", "/auth/api/v1/session"): Line(LOGIN),
    ("GET", "/auth/api/v1/tokens"): Line("user:token"),
    ("POST", "/auth/api/v1/tokens"): Line(
        "user:token", json={"name": "matrix", "scopes": ["read:tap"]}
    ),
    ("GET", "/auth/api/v1/tokens/history"): Line("user:token"),
    ("GET", "/auth/api/v1/tokens/{key}"): Line("user:token", f"/auth/api/v1/tokens/{NO_KEY}"),
    ("PATCH", "/auth/api/v1/tokens/{key}"): Line(
        "user:token", f"/auth/api/v1/tokens/{NO_KEY}", json={"name": "new"}
    ),
    ("DELETE", "/auth/api/v1/tokens/{key}"): Line(LOGIN, f"/auth/api/v1/tokens/{NO_KEY}"),
    ("GET", "/auth/api/v1/sessions"): Line("user:token"),
    ("POST", "/auth/api/v1/password"): Line("user:token", json={"password": "x"}),
    ("POST", "/auth/api/v1/links"): Line(LOGIN, json={"address": "/api/tap/tables"}),
    ("GET", "/auth/api/v1/groups"): Line(LOGIN),
    ("POST", "/auth/api/v1/groups"): Line("user:group", json={"name": "No Name"}),
    ("GET", "/auth/api/v1/groups/{name}"): Line(LOGIN, "/auth/api/v1/groups/nothing"),
    ("PATCH", "/auth/api/v1/groups/{name}"): Line(
        "user:group", "/auth/api/v1/groups/nothing", json={"description": "x"}
    ),
    ("DELETE", "/auth/api/v1/groups/{name}"): Line("user:group", "/auth/api/v1/groups/nothing"),
    ("PUT", "/auth/api/v1/groups/{name}/members/{member}"): Line(
        "user:group", "/auth/api/v1/groups/nothing/members/bob", json={"role": "member"}
    ),
    ("DELETE", "/auth/api/v1/groups/{name}/members/{member}"): Line(
        "user:group", "/auth/api/v1/groups/nothing/members/bob"
    ),
    ("GET", "/auth/api/v1/groups/{name}/invitations"): Line(
        LOGIN, "/auth/api/v1/groups/nothing/invitations"
    ),
    ("POST", "/auth/api/v1/groups/{name}/invitations"): Line(
        "user:group", "/auth/api/v1/groups/nothing/invitations", json={"username": "bob"}
    ),
    ("GET", "/auth/api/v1/invitations"): Line(LOGIN),
    ("POST", "/auth/api/v1/invitations/{invitation_id}/accept"): Line(
        "user:group", f"/auth/api/v1/invitations/{NO_JOB}/accept"
    ),
    ("POST", "/auth/api/v1/invitations/{invitation_id}/decline"): Line(
        "user:group", f"/auth/api/v1/invitations/{NO_JOB}/decline"
    ),
    ("GET", "/auth/gms/search"): Line(LOGIN),
    ("GET", "/auth/gms/capabilities"): Line(PUBLIC),
    ("GET", "/auth/gms/availability"): Line(PUBLIC),
    # Login by other providers, and the platform as provider.
    ("GET", "/auth/provider/{provider}"): Line(OPEN, "/auth/provider/nothing"),
    ("GET", "/auth/callback"): Line(PUBLIC),
    ("GET", "/auth/name"): Line(PUBLIC),
    ("POST", "/auth/name"): Line(PUBLIC, form={"name": "x"}),
    ("GET", "/.well-known/openid-configuration"): Line(OPEN),
    ("GET", "/auth/openid/jwks.json"): Line(OPEN),
    ("GET", "/auth/openid/authorize"): Line(PUBLIC),
    ("POST", "/auth/openid/authorize"): Line(OPEN, form={"client_id": "x"}),
    ("POST", "/auth/openid/consent"): Line(PUBLIC, form={"answer": "allow"}),
    ("POST", "/auth/openid/token"): Line(OPEN, form={"x": "y"}),
    ("POST", "/auth/openid/revoke"): Line(OPEN, form={"x": "y"}),
    ("GET", "/auth/openid/userinfo"): Line(LOGIN),
    ("POST", "/auth/openid/userinfo"): Line(LOGIN),
    ("GET", "/auth/api/v1/consents"): Line("user:token"),
    ("DELETE", "/auth/api/v1/consents/{client_id}"): Line(
        "user:token", "/auth/api/v1/consents/nothing"
    ),
    ("GET", "/api/admin/clients"): Line("admin:platform"),
    ("POST", "/api/admin/clients"): Line(
        "admin:platform", json={"client_id": "x", "name": "x", "redirect_uris": []}
    ),
    ("GET", "/api/admin/clients/{client_id}"): Line("admin:platform", "/api/admin/clients/nothing"),
    ("DELETE", "/api/admin/clients/{client_id}"): Line(
        "admin:platform", "/api/admin/clients/nothing"
    ),
    ("POST", "/api/admin/clients/{client_id}/secret"): Line(
        "admin:platform", "/api/admin/clients/nothing/secret"
    ),
    # Administration.
    ("GET", "/api/admin/users"): Line("admin:user"),
    ("POST", "/api/admin/users"): Line("admin:user", json={"username": "No Name"}),
    ("GET", "/api/admin/users/{name}"): Line("admin:user", "/api/admin/users/nothing"),
    ("PATCH", "/api/admin/users/{name}"): Line(
        "admin:user", "/api/admin/users/nothing", json={"full_name": "x"}
    ),
    ("DELETE", "/api/admin/users/{name}"): Line("admin:user", "/api/admin/users/nothing"),
    ("POST", "/api/admin/users/{name}/disable"): Line(
        "admin:user", "/api/admin/users/nothing/disable"
    ),
    ("POST", "/api/admin/users/{name}/enable"): Line(
        "admin:user", "/api/admin/users/nothing/enable"
    ),
    ("PUT", "/api/admin/users/{name}/password"): Line(
        "admin:user", "/api/admin/users/nothing/password", json={"password": "a long password"}
    ),
    ("POST", "/api/admin/users/{name}/login-link"): Line(
        "admin:user", "/api/admin/users/nothing/login-link"
    ),
    ("GET", "/api/admin/users/{name}/tokens"): Line(
        "admin:user", "/api/admin/users/nothing/tokens"
    ),
    ("POST", "/api/admin/users/{name}/tokens"): Line(
        "admin:user",
        "/api/admin/users/nothing/tokens",
        json={"name": "x", "scopes": ["read:tap"]},
    ),
    ("GET", "/api/admin/tokens/history"): Line("admin:user"),
    ("DELETE", "/api/admin/tokens/{key}"): Line("admin:user", f"/api/admin/tokens/{NO_KEY}"),
    ("GET", "/api/admin/requests"): Line("admin:user"),
    ("POST", "/api/admin/requests/{name}/approve"): Line(
        "admin:user", "/api/admin/requests/nothing/approve"
    ),
    ("POST", "/api/admin/requests/{name}/refuse"): Line(
        "admin:user", "/api/admin/requests/nothing/refuse"
    ),
    ("GET", "/api/admin/groups"): Line("admin:user"),
    ("POST", "/api/admin/groups"): Line("admin:user", json={"name": "No Name"}),
    ("GET", "/api/admin/groups/{name}"): Line("admin:user", "/api/admin/groups/nothing"),
    ("DELETE", "/api/admin/groups/{name}"): Line("admin:user", "/api/admin/groups/nothing"),
    ("PUT", "/api/admin/groups/{name}/members/{member}"): Line(
        "admin:user", "/api/admin/groups/nothing/members/bob", json={"role": "member"}
    ),
    ("DELETE", "/api/admin/groups/{name}/members/{member}"): Line(
        "admin:user", "/api/admin/groups/nothing/members/bob"
    ),
    ("GET", "/api/admin/quotas"): Line("admin:platform"),
    ("PUT", "/api/admin/quotas"): Line(
        "admin:platform", json={"kind": "default", "quota": "no-such-quota", "value": 1}
    ),
    ("DELETE", "/api/admin/quotas"): Line(
        "admin:platform", "/api/admin/quotas?kind=user&subject=bob&quota=rows"
    ),
    ("GET", "/api/admin/audit"): Line("admin:platform"),
    # Pages.
    ("GET", "/account"): Line(LOGIN),
    ("POST", "/account/tokens"): Line("user:token", form={"name": "x"}),
    ("POST", "/account/tokens/{key}"): Line("user:token", f"/account/tokens/{NO_KEY}", form={}),
    ("POST", "/account/password"): Line("user:token", form={"password": "x"}),
    ("POST", "/account/consents/{client_id}"): Line("user:token", "/account/consents/x", form={}),
    ("GET", "/groups"): Line(LOGIN),
    ("POST", "/groups"): Line("user:group", form={"name": "No Name"}),
    ("POST", "/groups/invitations/{invitation_id}"): Line(
        "user:group", f"/groups/invitations/{NO_JOB}", form={}
    ),
    ("GET", "/groups/{name}"): Line(LOGIN, "/groups/nothing"),
    ("POST", "/groups/{name}"): Line("user:group", "/groups/nothing", form={"action": "delete"}),
    ("GET", "/admin"): Line("admin:user"),
    ("POST", "/admin"): Line("admin:user", form={"username": "No Name"}),
    ("POST", "/admin/requests/{name}"): Line("admin:user", "/admin/requests/nothing", form={}),
    ("GET", "/admin/users/{name}"): Line("admin:user", "/admin/users/nothing"),
    ("POST", "/admin/users/{name}"): Line(
        "admin:user", "/admin/users/nothing", form={"action": "delete"}
    ),
    ("GET", "/admin/groups"): Line("admin:user"),
    ("GET", "/admin/quotas"): Line("admin:platform"),
    ("POST", "/admin/quotas"): Line("admin:platform", form={"quota": "x"}),
    ("GET", "/admin/audit"): Line("admin:platform"),
    # Data.
    ("GET", "/api/jobs"): Line("*read:tap"),
    ("GET", "/api/tap/sync"): Line(
        "*read:tap", "/api/tap/sync?LANG=ADQL&QUERY=SELECT+TOP+1+table_name+FROM+tap_schema.tables"
    ),
    ("POST", "/api/tap/sync"): Line("*read:tap", form=TAP_JOB),
    ("GET", "/api/tap/capabilities"): Line(PUBLIC),
    ("GET", "/api/tap/availability"): Line(PUBLIC),
    ("GET", "/api/tap/tables"): Line("*read:tap"),
    ("GET", "/api/tap/tables/{name}"): Line("*read:tap", "/api/tap/tables/tap_schema.tables"),
    ("GET", "/api/tap/examples"): Line("*read:tap"),
    ("GET", "/api/scs"): Line(PUBLIC),
    ("GET", "/api/scs/capabilities"): Line(PUBLIC),
    ("GET", "/api/scs/availability"): Line(PUBLIC),
    ("GET", "/api/scs/{table}"): Line("*read:tap", "/api/scs/no.table?RA=1&DEC=1&SR=1"),
    ("POST", "/api/scs/{table}"): Line("*read:tap", "/api/scs/no.table?RA=1&DEC=1&SR=1"),
    ("GET", "/api/scs/{table}/capabilities"): Line(PUBLIC, "/api/scs/no.table/capabilities"),
    ("GET", "/api/scs/{table}/availability"): Line(PUBLIC, "/api/scs/no.table/availability"),
    ("GET", "/api/datalink/links"): Line("*read:image"),
    ("POST", "/api/datalink/links"): Line("*read:image", form={"ID": "x"}),
    ("GET", "/api/datalink/{table}/links"): Line("*read:tap", "/api/datalink/no.table/links"),
    ("POST", "/api/datalink/{table}/links"): Line(
        "*read:tap", "/api/datalink/no.table/links", form={"ID": "x"}
    ),
    ("GET", "/api/datalink/lightcurve"): Line(
        "*read:tap", "/api/datalink/lightcurve?ID=1&TABLE=no.table"
    ),
    ("POST", "/api/datalink/lightcurve"): Line("*read:tap", form={"ID": "1", "TABLE": "no.table"}),
    ("GET", "/api/datalink/cone"): Line(
        "*read:tap", "/api/datalink/cone?TABLE=no.table&RA=1&DEC=1"
    ),
    ("POST", "/api/datalink/cone"): Line(
        "*read:tap", form={"TABLE": "no.table", "RA": "1", "DEC": "1"}
    ),
    ("GET", "/api/datalink/capabilities"): Line(PUBLIC),
    ("GET", "/api/datalink/availability"): Line(PUBLIC),
    ("GET", "/api/sia/query"): Line("*read:image", "/api/sia/query?POL=Z"),
    ("POST", "/api/sia/query"): Line("*read:image", form={"POL": "Z"}),
    ("GET", "/api/sia/capabilities"): Line(PUBLIC),
    ("GET", "/api/sia/availability"): Line(PUBLIC),
    ("GET", "/api/cutout"): Line("*read:image", "/api/cutout?ID=nothing"),
    ("POST", "/api/cutout"): Line("*read:image", form={"ID": "nothing"}),
    ("GET", "/api/cutout/sync"): Line("*read:image", "/api/cutout/sync?ID=nothing"),
    ("POST", "/api/cutout/sync"): Line("*read:image", form={"ID": "nothing"}),
    ("GET", "/api/cutout/capabilities"): Line(PUBLIC),
    ("GET", "/api/cutout/availability"): Line(PUBLIC),
    ("GET", "/api/cutout/async"): Line("*read:image"),
    ("POST", "/api/cutout/async"): Line("*read:image", form={"ID": "nothing"}),
    ("GET", "/api/mosaic"): Line("*read:image"),
    ("POST", "/api/mosaic"): Line("*read:image", form={"ID": "nothing"}),
    ("GET", "/api/mosaic/estimate"): Line("*read:image", "/api/mosaic/estimate?ID=nothing"),
    ("POST", "/api/mosaic/estimate"): Line("*read:image", form={"ID": "nothing"}),
    ("GET", "/api/images/{collection}/{image_id}"): Line("*read:image", "/api/images/no/image"),
    ("GET", "/sky"): Line(PUBLIC),
    ("GET", "/sky/{name}"): Line(OPEN, "/sky/viewer.js"),
    ("GET", "/api/hips/hipslist"): Line("*read:image"),
    ("GET", "/api/hips/{hips_id}"): Line("*read:image", "/api/hips/nothing"),
    ("GET", "/api/hips/{hips_id}/{path}"): Line("*read:image", "/api/hips/no/properties"),
    ("POST", "/api/hips/{hips_id}/link"): Line("read:image", "/api/hips/nothing/link"),
    ("GET", "/api/hips/~{signed_tree}/{hips_id}"): Line(
        SIGNED, f"/api/hips/~{NO_KEY}.9999999999.{'0' * 64}/nothing"
    ),
    ("GET", "/api/hips/~{signed_tree}/{hips_id}/{path}"): Line(
        SIGNED, f"/api/hips/~{NO_KEY}.9999999999.{'0' * 64}/nothing/properties"
    ),
    ("GET", "/api/moc/{table}"): Line("*read:tap", "/api/moc/no.table"),
    ("GET", "/api/tap/async"): Line("*read:tap"),
    ("POST", "/api/tap/async"): Line("*read:tap", form=TAP_JOB),
}

for _method, _part, _form in (
    ("GET", "", None),
    ("POST", "", {"RUNID": "x"}),
    ("DELETE", "", None),
    ("GET", "/phase", None),
    ("POST", "/phase", {"PHASE": "ABORT"}),
    ("GET", "/quote", None),
    ("GET", "/owner", None),
    ("GET", "/error", None),
    ("GET", "/parameters", None),
    ("POST", "/parameters", {"RUNID": "x"}),
    ("GET", "/results", None),
    ("GET", "/results/{result_id}", None),
    ("GET", "/executionduration", None),
    ("POST", "/executionduration", {"EXECUTIONDURATION": "1"}),
    ("GET", "/destruction", None),
    ("POST", "/destruction", {"DESTRUCTION": "2030-01-01T00:00:00Z"}),
):
    for _jobs, _scope in (
        ("/api/tap/async", "*read:tap"),
        ("/api/cutout/async", "*read:image"),
        ("/api/mosaic", "*read:image"),
    ):
        MATRIX[_method, f"{_jobs}/{{job_id}}{_part}"] = Line(
            _scope,
            f"{_jobs}/{NO_JOB}{_part}".replace("{result_id}", "result"),
            form=_form,
        )


PAGES = ("/account", "/groups", "/admin")


def asks_to_log_in(key: tuple[str, str], answer: httpx.Response) -> bool:
    """Whether an answer says that one must log in; pages lead to the form instead."""
    if key[0] == "GET" and key[1].startswith(PAGES):
        leads_to: str = answer.headers.get("location", "")
        return leads_to.startswith("/auth/login?return_url=")
    return answer.status_code == 401


def declared(app: FastAPI) -> Iterator[tuple[str, str, Access | None]]:
    """Yield (method, path, declaration) of every route."""
    for route in iter_route_contexts(app.routes):
        found = [
            dependency.dependency
            for dependency in (getattr(route, "dependencies", None) or ())
            if isinstance(dependency.dependency, Access)
        ]
        assert len(found) <= 1, f"{route.path} declares its access twice"
        for method in sorted((route.methods or set()) - {"HEAD"}):
            yield method, route.path_format or route.path or "", found[0] if found else None


def as_written(access: Access | None) -> str:
    """Return a declaration as the table writes it."""
    if access is None or access.who is Who.ALL:
        return OPEN
    if access.who is Who.PUBLIC:
        return PUBLIC
    scopes = "|".join(sorted(access.scopes))
    if access.who is Who.TREE:
        return f"signed tree {scopes}"
    return (f"*{scopes}" if access.who is Who.ANONYMOUS else scopes) or LOGIN


def test_every_route_is_declared_as_the_table_says(tmp_path: Path) -> None:
    app = create_app(settings_of(tmp_path))
    found = {(method, path): access for method, path, access in declared(app)}
    missing = sorted(found.keys() - MATRIX.keys())
    assert not missing, f"write down who may call these: {missing}"
    assert not MATRIX.keys() - found.keys(), "these are gone"
    undeclared = [key for key, access in found.items() if access is None]
    # The library makes this one; it is the same for everybody.
    assert undeclared == [("GET", "/api/openapi.json")]
    assert {key: as_written(access) for key, access in found.items()} == {
        key: line.access for key, line in MATRIX.items()
    }


async def ask(
    client: httpx.AsyncClient, key: tuple[str, str], headers: dict[str, str] | None = None
) -> httpx.Response:
    line = MATRIX[key]
    return await client.request(
        key[0],
        line.path or key[1],
        json=line.json,
        data=line.form,
        headers=headers,
        follow_redirects=False,
    )


KEYS = [pytest.param(key, id=" ".join(key)) for key in sorted(MATRIX)]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("key", KEYS)
async def test_who_may(app: FastAPI, people: People, key: tuple[str, str]) -> None:
    access = MATRIX[key].access
    needs_login = access not in (OPEN, PUBLIC) and not access.startswith("*")
    scope = access.removeprefix("*") if ":" in access else None
    async with client_of(app) as client:
        anonymous = await ask(client, key)
        expired = await ask(client, key, {"Authorization": f"Bearer {people.expired}"})
        made_up = await ask(client, key, {"Authorization": f"Bearer al-{NO_KEY}.{NO_KEY}"})
        unfit = await ask(client, key, {"Authorization": f"Bearer {people.unfit}"})
        user = await ask(client, key, people.bearer("bob"))
        member = await ask(client, key, people.bearer("carol"))
        administrator = await ask(client, key, people.bearer("dora"))
    answers = (anonymous, expired, made_up, unfit, user, member, administrator)
    assert all(answer.status_code < 500 or key[1] == "/health" for answer in answers)
    if access == SIGNED:
        assert {answer.status_code for answer in answers} == {401}
        assert not any("x-vo-authenticated" in answer.headers for answer in answers)
        return

    # A form to log in takes no token in its place, and says 401 of a wrong password.
    is_login = key[0] == "POST" and key[1] in {"/auth/login", "/auth/link", "/api/login"}
    if not is_login:
        assert asks_to_log_in(key, anonymous) == needs_login
        refuses_bad = access not in (OPEN, PUBLIC)
        assert asks_to_log_in(key, expired) == refuses_bad
        assert asks_to_log_in(key, made_up) == refuses_bad
        assert not any(asks_to_log_in(key, answer) for answer in (user, member, administrator))
    if scope is not None:
        assert unfit.status_code == 403
        assert scope in unfit.text
        is_refused = [f"the scope {scope}" in answer.text for answer in (user, member)]
        assert is_refused == [scope.startswith("admin:")] * 2
        if is_refused[0]:
            assert [user.status_code, member.status_code] == [403, 403]
        assert f"the scope {scope}" not in administrator.text
    # The name of who has logged in stands on his answers and on no other.
    asks = access != OPEN
    assert "x-vo-authenticated" not in anonymous.headers
    assert "x-vo-authenticated" not in expired.headers
    if asks and not is_login and key[1] not in {"/api/logout", "/auth/logout"}:
        assert user.headers["x-vo-authenticated"] == "bob"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.usefixtures("people")
async def test_where_nothing_is_anonymous(people_home: Path) -> None:
    keys = [key for key, line in MATRIX.items() if line.access.startswith("*")]
    assert len(keys) > 20
    app = create_app(settings_of(people_home, anonymous=()))
    async with app.router.lifespan_context(app), client_of(app) as client:
        answers = {key: await ask(client, key) for key in keys}
        missing = await client.get("/api/tap/tables/no.table")
    assert {key for key, answer in answers.items() if answer.status_code != 401} == set()
    assert all(answer.headers.get_list("www-authenticate") for answer in answers.values())
    # What is there looks like what is not.
    assert missing.status_code == 401


@pytest.mark.asyncio(loop_scope="module")
async def test_others_things_are_not_there(app: FastAPI, people: People) -> None:
    async with client_of(app) as client:
        made = await client.post("/api/tap/async", data=TAP_JOB, headers=people.bearer("alice"))
        job = made.headers["location"]
        for name in ("bob", "carol", "dora"):
            assert (await client.get(job, headers=people.bearer(name))).status_code == 404
            listed = await client.get("/api/tap/async", headers=people.bearer(name))
            assert job.rpartition("/")[2] not in listed.text
            deleted = await client.delete(job, headers=people.bearer(name))
            assert deleted.status_code == 404
        assert (await client.get(job)).status_code == 404
        assert (await client.get(job, headers=people.bearer("alice"))).status_code == 200
        key = key_of(people.tokens["alice"])
        path = f"/auth/api/v1/tokens/{key}"
        for name in ("bob", "carol", "dora"):
            assert (await client.get(path, headers=people.bearer(name))).status_code == 404
            assert (await client.delete(path, headers=people.bearer(name))).status_code == 404
        group = "/auth/api/v1/groups/astronomers"
        assert (await client.get(group, headers=people.bearer("bob"))).status_code == 404
        assert (await client.get(group, headers=people.bearer("carol"))).status_code == 200
        by_member = await client.request(
            "DELETE", f"{group}/members/alice", headers=people.bearer("carol")
        )
        assert by_member.status_code == 403
