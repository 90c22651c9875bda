"""Request ids, headers, CORS, HEAD, limits and the forms of errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
import structlog
from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from astrolabe.core.errors import OverloadError, Position, UnknownColumnError
from astrolabe_api.common.errors import ErrorForm, declare_error_form, install_error_handlers
from astrolabe_api.common.metrics import render_metrics
from astrolabe_api.common.middleware import add_middleware

from .support import RawClient


def make_app() -> FastAPI:
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    install_error_handlers(app, docs_url="https://docs.example/errors")
    declare_error_form(app, "/vo", ErrorForm.VOTABLE)
    declare_error_form(app, "/text", ErrorForm.TEXT)

    @app.get("/{form}/unknown", response_model=None)
    async def unknown(form: str) -> Response:
        raise UnknownColumnError(
            f"no column {form}", position=Position(2, 7), suggestions=("ra", "dec")
        )

    @app.get("/{form}/broken", response_model=None)
    async def broken(form: str) -> Response:
        raise ZeroDivisionError(f"a secret of {form}")

    @app.get("/{form}/busy", response_model=None)
    async def busy(form: str) -> Response:
        raise OverloadError(f"{form} is busy")

    @app.get("/{form}/number", response_model=None)
    async def number(form: str, n: int) -> Response:
        return PlainTextResponse(f"{form} {n}")

    @app.post("/{form}/body", response_model=None)
    async def body(request: Request, form: str) -> Response:
        return PlainTextResponse(f"{form} {len(await request.body())}")

    @app.get("/page", response_model=None)
    async def page() -> Response:
        return HTMLResponse("<p>page</p>")

    add_middleware(
        app,
        software="astrolabe/test",
        max_bytes=1000,
        cors_origins=["https://portal.example"],
        trusted_proxies=["127.0.0.1", "10.0.0.1"],
    )
    return app


@pytest_asyncio.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(make_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.mark.asyncio
async def test_an_error_in_the_form_of_its_service(client: httpx.AsyncClient) -> None:
    votable = await client.get("/vo/unknown")
    assert votable.status_code == 400
    assert votable.headers["content-type"] == "application/x-votable+xml"
    resource = votable.text.partition('<RESOURCE type="results">')[2].partition("</RESOURCE>")[0]
    assert resource.strip() == (
        '<INFO name="QUERY_STATUS" value="ERROR">no column vo (line 2, column 7); '
        "did you mean ra or dec?</INFO>"
    )
    assert '<INFO name="error_code" value="unknown-column"/>' in votable.text
    text = await client.get("/text/unknown")
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert text.text.startswith("no column text")


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("/other/unknown", "*/*"),
        ("/vo/unknown", "application/json"),
        ("/vo/unknown", "text/html, application/problem+json;q=0.5"),
        ("/text/unknown", "application/vnd.thing+json"),
    ],
)
async def test_problem_details(client: httpx.AsyncClient, path: str, accept: str) -> None:
    response = await client.get(path, headers={"Accept": accept, "X-Request-Id": "abc-1"})
    assert response.headers["content-type"] == "application/problem+json"
    form = path.split("/")[1]
    assert response.json() == {
        "type": "https://docs.example/errors#unknown-column",
        "title": "Unknown column",
        "status": 400,
        "detail": f"no column {form} (line 2, column 7); did you mean ra or dec?",
        "instance": "urn:astrolabe:request:abc-1",
        "code": "unknown-column",
        "position": {"line": 2, "column": 7},
        "suggestions": ["ra", "dec"],
    }


@pytest.mark.asyncio
@pytest.mark.parametrize("accept", ["*/*", "application/*", "application/json;q=0", "text/html"])
async def test_wildcards_and_refusals_do_not_ask_for_json(
    client: httpx.AsyncClient, accept: str
) -> None:
    response = await client.get("/vo/unknown", headers={"Accept": accept})
    assert response.headers["content-type"] == "application/x-votable+xml"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not-found"),
        ("POST", "/other/number", 405, "method-not-allowed"),
        ("GET", "/other/number?n=many", 400, "bad-parameter"),
        ("GET", "/other/broken", 500, "internal"),
        ("GET", "/other/busy", 503, "overload"),
    ],
)
async def test_the_frameworks_own_errors_have_the_same_shape(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    response = await client.request(method, path)
    assert response.status_code == status
    problem = response.json()
    assert problem["code"] == code
    assert problem["status"] == status
    assert set(problem) == {"type", "title", "status", "detail", "instance", "code"}
    if status == 405:
        assert response.headers["allow"] == "GET, HEAD"
    assert ("retry-after" in response.headers) == (status == 503)


@pytest.mark.asyncio
async def test_a_mistake_of_ours_tells_the_request_id_and_nothing_else(
    client: httpx.AsyncClient,
) -> None:
    response = await client.get("/vo/broken", headers={"X-Request-Id": "find-me"})
    assert response.status_code == 500
    assert "find-me" in response.text
    assert "secret" not in response.text
    assert "Traceback" not in response.text


@pytest.mark.asyncio
@pytest.mark.parametrize("given", ["", "x" * 65, "two words", "<b>"])
async def test_every_answer_has_an_id_and_only_plain_ones_are_taken_over(
    client: httpx.AsyncClient, given: str
) -> None:
    response = await client.get("/page", headers={"X-Request-Id": given})
    assert len(response.headers["x-request-id"]) == 16
    again = await client.get("/page", headers={"X-Request-Id": "mine_1.2-3"})
    assert again.headers["x-request-id"] == "mine_1.2-3"


@pytest.mark.asyncio
async def test_headers_of_every_answer(client: httpx.AsyncClient) -> None:
    for path in ("/page", "/nowhere", "/vo/broken"):
        headers = (await client.get(path)).headers
        assert headers["server"] == "astrolabe/test"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in headers
        assert headers["access-control-expose-headers"] == (
            "Accept-Ranges, Content-Range, ETag, Location, WWW-Authenticate, X-VO-Authenticated"
        )
    page = (await client.get("/page")).headers
    assert "default-src 'none'" in page["content-security-policy"]
    table = (await client.get("/vo/unknown")).headers
    assert table["content-security-policy"] == "sandbox"


@pytest.mark.asyncio
async def test_only_origins_of_the_settings_may_send_credentials(client: httpx.AsyncClient) -> None:
    ours = (await client.get("/page", headers={"Origin": "https://portal.example"})).headers
    assert ours["access-control-allow-origin"] == "https://portal.example"
    assert ours["access-control-allow-credentials"] == "true"
    other = (await client.get("/page", headers={"Origin": "https://evil.example"})).headers
    assert other["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in other
    assert "Origin" in ours["vary"]
    assert "Origin" in other["vary"]


@pytest.mark.asyncio
async def test_preflight(client: httpx.AsyncClient) -> None:
    response = await client.options(
        "/vo/body",
        headers={
            "Origin": "https://aladin.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, content-type",
        },
    )
    assert response.status_code == 204
    assert response.headers["access-control-allow-headers"] == "authorization, content-type"
    assert "POST" in response.headers["access-control-allow-methods"]
    assert (await client.options("/nowhere")).headers["allow"].startswith("GET")


@pytest.mark.asyncio
async def test_head_is_get_without_the_body(client: httpx.AsyncClient) -> None:
    get, head = await client.get("/page"), await client.head("/page")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == get.headers["content-length"]
    assert (await client.head("/nowhere")).status_code == 404
    assert (await client.head("/other/body")).status_code == 405


@pytest.mark.asyncio
async def test_an_announced_body_over_the_limit_is_refused_before_it_comes() -> None:
    client = RawClient(
        make_app(),
        method="POST",
        path="/vo/body",
        headers=[("Content-Length", "10000000000")],
        body=[b"x" * 1_000_000] * 50,
    ).start()
    assert b"too-large" in await client.finish()
    assert client.status == 413
    assert dict(client.received[0]["headers"])[b"connection"] == b"close"
    # A little more is taken, so that a client that is still sending comes to read the answer.
    assert client.read_chunks == 8


@pytest.mark.asyncio
async def test_a_body_that_never_comes_holds_a_refusal_up_for_a_moment_only() -> None:
    headers = [("Content-Length", "10000000000")]
    client = RawClient(make_app(), method="POST", path="/vo/body", headers=headers)
    client._requests.clear()  # a body that does not come
    client.start()
    assert (await client.first_message())["status"] == 413
    async with asyncio.timeout(4):
        await client.finish()
    assert client.is_complete


@pytest.mark.asyncio
async def test_a_chunked_body_is_refused_at_the_limit() -> None:
    client = RawClient(
        make_app(),
        method="POST",
        path="/vo/body",
        headers=[("Transfer-Encoding", "chunked")],
        body=[b"x" * 100] * 11 + [b"x" * 1_000_000] * 50,
    ).start()
    body = await client.finish()
    assert client.status == 413
    assert b"too-large" in body
    assert dict(client.received[0]["headers"])[b"connection"] == b"close"
    assert client.read_chunks == 11 + 8


@pytest.mark.asyncio
async def test_metrics_know_routes_not_paths(client: httpx.AsyncClient) -> None:
    await client.get("/metricstest/number?n=1")
    await client.get("/made/up/path")
    text = render_metrics().decode()
    assert 'route="/{form}/number"' in text
    assert "made" not in text
    assert "metricstest" not in text
    assert 'route="other"' in text


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("peer", "forwarded", "logged"),
    [
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "6.6.6.6, 192.0.2.7, 10.0.0.1", "192.0.2.7"),
        ("198.51.100.1", "192.0.2.7", "198.51.100.1"),
    ],
)
async def test_only_trusted_proxies_say_who_the_client_is(
    peer: str, forwarded: str, logged: str
) -> None:
    transport = httpx.ASGITransport(make_app(), client=(peer, 1))
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        with structlog.testing.capture_logs() as logs:
            await client.get("/page", headers=headers)
    (entry,) = [event for event in logs if event["event"] == "request"]
    assert entry["client"] == logged
