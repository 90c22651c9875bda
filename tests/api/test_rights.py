"""What may not be read does not exist, whichever service is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from astrolabe.core.clock import utc_now
from astrolabe.factory import ProcessContext
from astrolabe.identity.access import Access, AccessRule, Resource
from astrolabe.identity.authority import OPERATOR
from astrolabe_api.main import create_app

from .conftest import serving
from .rights_support import TABLES, guarded_settings, make_tables, token_of

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(60)]

SYNC = "/api/tap/sync"
VISIBLE = {
    "anonymous": {"free.stars"},
    "ada": {"free.stars", "secret.stars", "secret.notes", "user_ada.mine"},
    "bob": {"free.stars"},
}
DOCUMENTS = ("/api/tap/tables", "/api/tap/tables?detail=min", "/api/tap/examples",
             "/api/scs/capabilities", "/.well-known/astrolabe", "/")  # fmt: skip
CALLERS = tuple(VISIBLE)

Tokens = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("guarded")
    with ProcessContext.open(guarded_settings(home)) as context:
        make_tables(context)
    return home


@pytest.fixture(scope="module")
def app(guarded: Path) -> FastAPI:
    return create_app(guarded_settings(guarded))


@pytest_asyncio.fixture(scope="module")
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(app) as client:
        yield client


@pytest.fixture(scope="module")
def tokens(guarded: Path) -> Tokens:
    with ProcessContext.open(guarded_settings(guarded)) as context:
        return {"anonymous": {}} | {name: token_of(context, name) for name in ("ada", "bob")}


async def ask(client: httpx.AsyncClient, query: str, headers: dict[str, str]) -> httpx.Response:
    form = {"LANG": "ADQL", "QUERY": query, "RESPONSEFORMAT": "csv"}
    return await client.post(SYNC, data=form, headers=headers)


@pytest.mark.parametrize("caller", CALLERS)
async def test_tap_schema_holds_what_the_caller_may_read(
    client: httpx.AsyncClient, tokens: Tokens, caller: str
) -> None:
    for table, column in (("tables", "table_name"), ("columns", "DISTINCT table_name")):
        query = f"SELECT {column} FROM tap_schema.{table} WHERE table_name NOT LIKE 'tap_schema.%'"
        answer = await ask(client, query, tokens[caller])
        assert answer.status_code == 200, answer.text
        names = {line.strip('"\r') for line in answer.text.splitlines()[1:]}
        assert names == VISIBLE[caller]
    answer = await ask(client, "SELECT schema_name FROM tap_schema.schemas", tokens[caller])
    schemas = set(answer.text.replace('"', "").split()[1:]) - {"tap_schema"}
    assert schemas == {name.split(".")[0] for name in VISIBLE[caller]}


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("path", DOCUMENTS)
async def test_documents_name_what_the_caller_may_read_and_nothing_else(
    client: httpx.AsyncClient, tokens: Tokens, caller: str, path: str
) -> None:
    answer = await client.get(path, headers=tokens[caller])
    assert answer.status_code == 200
    named = {name for name in TABLES if name in answer.text}
    assert named == VISIBLE[caller]


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("table", [*TABLES, "secret.nothing", "nowhere.stars"])
async def test_what_is_hidden_answers_as_what_is_not_there(
    client: httpx.AsyncClient, tokens: Tokens, caller: str, table: str
) -> None:
    visible = table in VISIBLE[caller]
    headers = tokens[caller]
    answer = await ask(client, f"SELECT COUNT(*) AS n FROM {table}", headers)
    if visible:
        assert answer.status_code == 200
        assert "4000" in answer.text
    else:
        assert answer.status_code == 400
        assert "unknown-table" in answer.text
        hidden = [name for name in TABLES if name not in VISIBLE[caller] and name != table]
        assert not any(name in answer.text for name in hidden)
    missing = 401 if caller == "anonymous" else 404
    cone = {"RA": "10", "DEC": "0", "SR": "0.1"}
    for path, given in (
        (f"/api/tap/tables/{table}", {}),
        (f"/api/scs/{table}", cone),
        (f"/api/scs/{table}/capabilities", {}),
        (f"/api/scs/{table}/availability", {}),
    ):
        answer = await client.get(path, params=given, headers=headers)
        assert answer.status_code == (200 if visible else missing), (path, answer.text)
        assert answer.status_code != 401 or "Bearer" in answer.headers["www-authenticate"]


async def test_the_answers_about_a_hidden_table_and_none_differ_in_nothing_but_the_name(
    client: httpx.AsyncClient, tokens: Tokens
) -> None:
    for caller in ("anonymous", "bob"):
        texts = []
        for table in ("secret.stars", "secret.starz"):
            told = await client.get(
                f"/api/tap/tables/{table}",
                headers={**tokens[caller], "Accept": "application/json", "X-Request-Id": "x"},
            )
            texts.append(told.text.replace(table, "NAME"))
        assert texts[0] == texts[1]


async def test_no_suggestion_names_what_the_caller_may_not_read(
    client: httpx.AsyncClient, tokens: Tokens
) -> None:
    query = "SELECT TOP 1 * FROM secret.note"
    told = await ask(client, query, tokens["ada"])
    assert "secret.notes" in told.text
    for caller in ("anonymous", "bob"):
        told = await ask(client, query, tokens[caller])
        assert told.status_code == 400
        assert "secret.notes" not in told.text


async def test_a_table_by_its_bare_name_is_the_one_that_may_be_read(
    client: httpx.AsyncClient, tokens: Tokens
) -> None:
    query = "SELECT COUNT(*) AS n FROM stars"
    assert (await ask(client, query, tokens["bob"])).status_code == 200
    assert (await ask(client, query, tokens["ada"])).status_code == 400


async def test_a_change_is_seen_without_a_restart_and_not_found_becomes_true_again(
    client: httpx.AsyncClient, guarded: Path
) -> None:
    resources = [Resource.of_schema(name) for name in ("secret", "user_ada")]
    with ProcessContext.open(guarded_settings(guarded)) as context:
        before = {r.name: context.rights.find(r) for r in resources}
        for resource in resources:
            context.rights.set_rule(resource, AccessRule(access=Access.PUBLIC), by=OPERATOR)
        await asyncio.sleep(1.3)
        answer = await ask(client, "SELECT COUNT(*) AS n FROM secret.stars", {})
        nothing = await client.get("/api/tap/tables/secret.nothing")
        for resource in resources:
            stored = before[resource.name]
            if stored is None:
                context.rights.remove_rule(resource, by=OPERATOR)
            else:
                context.rights.set_rule(resource, stored.rule, by=OPERATOR)
        await asyncio.sleep(1.3)
        later = await ask(client, "SELECT COUNT(*) AS n FROM secret.stars", {})
    assert answer.status_code == 200
    assert nothing.status_code == 404
    assert later.status_code == 400


async def test_health_tells_nobody_how_many_tables_there_are(client: httpx.AsyncClient) -> None:
    answer = await client.get("/health")
    assert answer.status_code == 200
    assert not any(name in answer.text for name in TABLES)
    assert answer.json()["parts"]["tap"] == {"state": "ok", "detail": None}


@pytest.mark.parametrize("caller", ["ada", "bob"])
async def test_a_job_runs_with_its_owners_rights(
    client: httpx.AsyncClient, guarded: Path, tokens: Tokens, caller: str
) -> None:
    form = {"LANG": "ADQL", "QUERY": "SELECT COUNT(*) AS n FROM secret.stars", "PHASE": "RUN"}
    headers = tokens[caller]
    created = await client.post("/api/tap/async", data=form, headers=headers)
    assert created.status_code == 303
    job = created.headers["Location"]
    with ProcessContext.open(guarded_settings(guarded)) as context, context.worker():
        began = utc_now()
        while (await client.get(f"{job}/phase", headers=headers)).text not in (
            "COMPLETED",
            "ERROR",
        ):
            assert (utc_now() - began).total_seconds() < 30
    phase = (await client.get(f"{job}/phase", headers=headers)).text
    assert phase == ("COMPLETED" if caller == "ada" else "ERROR")
    if caller == "bob":
        assert "secret.notes" not in (await client.get(job, headers=headers)).text
