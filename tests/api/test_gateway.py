"""Health, discovery, metrics, and the gateway's own pages."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from astrolabe.config import Settings
from astrolabe.core.errors import BadParameterError
from astrolabe.jobs.service import JobPage
from astrolabe_api.gateway.discovery import Discovery
from astrolabe_api.gateway.jobs import JOB_PATHS, job_list
from astrolabe_api.main import SERVICES, create_app

from .conftest import ADDRESS, ROWS, serving, small_settings

pytestmark = pytest.mark.timeout(90)

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.mark.asyncio
async def test_health_asks_every_table(client: httpx.AsyncClient) -> None:
    response = await client.get("/health")
    assert response.status_code == 200, response.text
    document = response.json()
    assert document["ready"] is True
    assert document["parts"]["database"] == {"state": "ok", "detail": None}
    assert document["parts"]["tap"] == {"state": "ok", "detail": None}
    assert (await client.head("/health")).status_code == 200


@pytest.mark.asyncio
async def test_health_is_503_with_the_same_document_until_all_is_there(tmp_path: Path) -> None:
    settings = small_settings(tmp_path / "home")
    state_file = settings.home / "demo.json"
    async with serving(create_app(settings)) as client:
        empty = await client.get("/health")
        assert (empty.status_code, empty.json()["ready"]) == (200, True)
        state_file.write_text('{"state": "making"}')
        making = await client.get("/health")
        assert (making.status_code, making.json()["ready"]) == (503, False)
        assert making.json()["parts"]["demo"]["state"] == "starting"
        assert making.json()["parts"]["tap"]["state"] == "ok"
        state_file.write_text('{"state": "ready"}')
        assert (await client.get("/health")).status_code == 200
        # Images come later, and nothing waits for them.
        (settings.home / "demo-images.json").write_text('{"state": "making"}')
        later = await client.get("/health")
        assert (later.status_code, later.json()["ready"]) == (200, True)
        assert later.json()["parts"]["images"]["state"] == "starting"
        assert later.json()["parts"]["demo"]["state"] == "ok"


@pytest.mark.slow
@pytest.mark.asyncio
async def test_health_tells_of_a_table_that_does_not_answer(home: Path, tmp_path: Path) -> None:
    import shutil  # noqa: PLC0415 - only here

    copy = tmp_path / "home"
    shutil.copytree(home, copy)
    victim = next((copy / "tables").rglob("Npix=*.parquet"))
    victim.write_bytes(b"this is no Parquet file")
    for other in (copy / "tables").rglob("Npix=*.parquet"):
        other.write_bytes(b"this is no Parquet file")
    async with serving(create_app(small_settings(copy))) as client:
        response = await client.get("/health")
        assert response.status_code == 503
        assert response.json()["parts"]["tap"]["state"] == "failed"


@pytest.mark.asyncio
async def test_discovery_lists_services_and_tables(client: httpx.AsyncClient) -> None:
    response = await client.get("/.well-known/astrolabe")
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    Discovery.model_validate(document)
    tap = next(s for s in document["services"] if s["name"] == "tap")
    assert tap["standardID"] == "ivo://ivoa.net/std/TAP"
    assert tap["url"] == f"{ADDRESS}/api/tap"
    (schema,) = document["schemas"]
    tables = {table["name"]: table for table in schema["tables"]}
    assert set(tables) == {"dr1.object", "dr1.source"}
    assert tables["dr1.object"]["rows"] == ROWS
    assert tables["dr1.object"]["has_positions"] is True
    assert document["collections"] == []
    services = [s["capabilities"] or s["url"] for s in document["services"]]
    for address in services + [t["url"] for t in tables.values()]:
        path = address.removeprefix(ADDRESS)
        assert (await client.get(path)).status_code == 200, address


def test_the_schema_of_discovery_is_the_documented_one(request: pytest.FixtureRequest) -> None:
    made = Discovery.model_json_schema(by_alias=True, mode="serialization")
    kept = REFERENCE / "discovery.schema.json"
    if not kept.exists():
        kept.write_text(json.dumps(made, indent=2) + "\n")
    assert json.loads(kept.read_text()) == made, (
        f"{request.node.name}: clients rely on this schema; if fields were only added, "
        f"write the new one to {kept}"
    )


@pytest.mark.asyncio
async def test_metrics(client: httpx.AsyncClient) -> None:
    await client.get("/api/tap/sync", params={"LANG": "ADQL", "QUERY": "SELECT 1 FROM dr1.object"})
    text = (await client.get("/metrics")).text
    assert re.search(
        r'astrolabe_http_requests_total\{method="GET",route="/api/tap/sync",status="200"\} [1-9]',
        text,
    )
    assert 'astrolabe_sync_queries_total{outcome="ok",pool="query"}' in text
    assert "astrolabe_http_request_seconds_bucket" in text


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/", "/api/docs"])
async def test_pages_load_nothing_from_elsewhere(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "Test &amp; Trial" in response.text
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "<script" not in response.text
    assert set(re.findall(r"https?://[^/\"'<]+", response.text)) <= {ADDRESS}


@pytest.mark.asyncio
async def test_openapi_names_every_address(client: httpx.AsyncClient) -> None:
    document = (await client.get("/api/openapi.json")).json()
    assert {
        "/health",
        "/metrics",
        "/.well-known/astrolabe",
        "/api/jobs",
        "/api/tap/sync",
        "/api/tap/async/{job_id}/results/{result_id}",
    } <= set(document["paths"])
    page = (await client.get("/api/docs")).text
    for path, operations in document["paths"].items():
        assert path in page
        for operation in operations.values():
            assert operation["summary"]


@pytest.mark.asyncio
async def test_bad_paging_of_jobs(client: httpx.AsyncClient) -> None:
    for query in ("limit=0", "limit=many", "cursor=%C3%A4", "phase=NEVER"):
        response = await client.get(f"/api/jobs?{query}")
        assert response.status_code == 400, query
        assert response.json()["code"] == "bad-parameter"


@pytest.mark.asyncio
async def test_a_process_may_serve_a_chosen_few(home: Path) -> None:
    app = create_app(small_settings(home), services=["gateway"])
    async with serving(app) as client:
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/api/tap/capabilities")).status_code == 404
    assert {"gateway", "tap"} <= set(SERVICES)
    with pytest.raises(BadParameterError, match="no service 'tea'"):
        create_app(small_settings(home), services=["tea"])


@pytest.mark.asyncio
async def test_without_settings_the_environment_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"home: {tmp_path / 'home'}\nserver:\n  title: From a file\n")
    monkeypatch.setenv("ASTROLABE_CONFIG_FILE", str(config))
    app: FastAPI = create_app()
    assert app.title == "From a file"
    async with serving(app) as client:
        assert (await client.get("/health")).status_code == 200


def test_settings_are_taken_as_they_are(home: Path) -> None:
    settings: Settings = small_settings(home)
    state: Any = create_app(settings).state
    assert state.error_forms.docs_url == f"{ADDRESS}/docs/reference/errors.html"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/tap/async/none", {"GET", "HEAD", "POST", "DELETE"}),
        ("/api/tap/async/none/phase", {"GET", "HEAD", "POST"}),
        ("/api/tap/tables", {"GET", "HEAD"}),
        ("/health", {"GET", "HEAD"}),
    ],
)
async def test_allow_names_every_method_of_a_path(
    client: httpx.AsyncClient, path: str, allowed: set[str]
) -> None:
    response = await client.put(path)
    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) == allowed


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "kind"),
    [("/api/tap/async", "tap"), ("/api/cutout/async", "soda"), ("/api/mosaic", "mosaic")],
)
async def test_each_kind_of_job_has_its_address(
    app: FastAPI, client: httpx.AsyncClient, path: str, kind: str
) -> None:
    created = await client.post(path, data={"RUNID": kind})
    assert created.status_code == 303
    context = app.state.api.context
    job = context.jobs.get(created.headers["location"].rpartition("/")[2], kind=kind)
    # Anonymous jobs are in no list: shown as one of the caller's would be.
    (entry,) = job_list(JobPage((job,), None), base=ADDRESS).jobs
    assert entry.url == created.headers["location"]
    assert (await client.get(entry.url)).status_code == 200
    assert context.worker().kinds == set(JOB_PATHS)
