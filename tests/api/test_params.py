"""Parameters as real clients send them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI, Request

from astrolabe_api.common.errors import install_error_handlers
from astrolabe_api.common.middleware import RequestMiddleware
from astrolabe_api.common.multipart import MultipartLimits
from astrolabe_api.common.params import Parameters, read_parameters

from .support import RawClient

LIMITS = MultipartLimits(field_bytes=2000, file_bytes=5000, parts=20)


def app_of(folder: Path) -> FastAPI:
    app = FastAPI(openapi_url=None)
    install_error_handlers(app, docs_url="https://docs.example/errors")

    @app.api_route("/echo", methods=["GET", "POST"])
    async def echo(request: Request) -> dict[str, Any]:
        given = await read_parameters(
            request, limits=LIMITS, new_file=lambda name: folder / f"part-{name}"
        )
        return {
            "pairs": given.pairs(),
            "files": {name: path.read_bytes().decode() for name, path in given.files.items()},
        }

    @app.api_route("/plain", methods=["GET", "POST"])
    async def plain(request: Request) -> dict[str, Any]:
        given = await read_parameters(request, limits=LIMITS)
        return {"wait": given.integer("WAIT"), "format": given.response_format()}

    app.add_middleware(RequestMiddleware, software="astrolabe/test")
    return app


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app_of(tmp_path))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.mark.asyncio
@pytest.mark.parametrize("way", ["url", "form", "multipart"])
async def test_every_way_to_send_parameters_gives_the_same(
    client: httpx.AsyncClient, way: str
) -> None:
    fields = {"lang": "ADQL", "Query": "SELECT 'é' + 1 & 2", "MAXREC": "5"}
    if way == "url":
        response = await client.get("/echo", params=fields)
    elif way == "form":
        response = await client.post("/echo", data=fields)
    else:
        parts = {name: (None, value) for name, value in fields.items()}
        response = await client.post("/echo", files=parts)
    assert response.json()["pairs"] == [
        ["LANG", "ADQL"],
        ["QUERY", "SELECT 'é' + 1 & 2"],
        ["MAXREC", "5"],
    ]


@pytest.mark.asyncio
async def test_the_body_wins_over_the_url(client: httpx.AsyncClient) -> None:
    response = await client.post("/echo?query=old&extra=1", data={"QUERY": "new"})
    assert response.json()["pairs"] == [["QUERY", "new"], ["EXTRA", "1"]]


@pytest.mark.asyncio
async def test_the_form_of_a_get_is_read(client: httpx.AsyncClient) -> None:
    response = await client.request("GET", "/plain", data={"wait": "1"})
    assert response.json()["wait"] == 1


@pytest.mark.asyncio
async def test_a_header_left_from_a_form_is_no_form(client: httpx.AsyncClient) -> None:
    # httpx follows the 303 of a new job with the Content-Type of the POST, and without a body.
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    response = await client.get("/plain?WAIT=1", headers=headers)
    assert (response.status_code, response.json()["wait"]) == (200, 1)


@pytest.mark.asyncio
async def test_stilts_chunked_multipart_with_its_odd_boundary(tmp_path: Path) -> None:
    boundary = "<<<--------------MULTIPART-BOUNDARY------->>>"
    body = (
        f"\r\n--{boundary}\r\n"
        'Content-Disposition: form-data; name="QUERY"\r\n\r\n'
        "SELECT * FROM TAP_UPLOAD.t1\r\n"
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="upload_t1"; filename="upload_t1"\r\n'
        "Content-Type: application/x-votable+xml\r\n\r\n"
        "<VOTABLE/>\r\n"
        f"--{boundary}--\r\n"
    ).encode()
    client = RawClient(
        app_of(tmp_path),
        method="POST",
        path="/echo",
        headers=[("Content-Type", f'multipart/form-data; boundary="{boundary}"')],
        body=[body[i : i + 7] for i in range(0, len(body), 7)],
    ).start()
    answer = httpx.Response(200, content=await client.finish()).json()
    assert answer["pairs"] == [["QUERY", "SELECT * FROM TAP_UPLOAD.t1"]]
    assert answer["files"] == {"upload_t1": "<VOTABLE/>"}


@pytest.mark.asyncio
async def test_tapplus_multipart_with_type_none(client: httpx.AsyncClient) -> None:
    boundary = "===1795327283956==="
    body = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="UPLOAD"\r\n\r\n'
        "t1,param:t1\r\n"
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="t1"; filename="my table.vot"\r\n'
        "Content-Type: None\r\n\r\n"
        "data\r\nwith\r\nlines\r\n"
        f"--{boundary}--\r\n"
    )
    response = await client.post(
        "/echo",
        content=body,
        headers={"Content-Type": f"multipart/form-data; boundary={boundary}"},
    )
    assert response.json()["files"] == {"t1": "data\r\nwith\r\nlines"}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("request_of", "status", "words"),
    [
        (lambda c: c.post("/echo", files={"f": b"x" * 6000}), 413, "over the limit"),
        (lambda c: c.post("/echo", files={"f": (None, "x" * 3000)}), 413, "over the limit"),
        (lambda c: c.post("/echo", data={"f": "x" * 3000}), 413, "over the limit"),
        (
            lambda c: c.post("/echo", files=[("f", (None, str(n))) for n in range(30)]),
            413,
            "more than 20 parts",
        ),
        (lambda c: c.post("/plain", files={"f": b"x"}), 400, "takes no files"),
        (lambda c: c.post("/echo", json={"a": 1}), 400, "application/json cannot be read"),
        (lambda c: c.get("/echo?QUERY=%ff"), 400, "not UTF-8"),
        (lambda c: c.get("/plain?WAIT=soon"), 400, "WAIT must be a whole number, not 'soon'"),
        (lambda c: c.get("/plain?WAIT=1&wait=2"), 400, "WAIT was given more than once"),
        (
            lambda c: c.post(
                "/echo", content=b"--x\r\n", headers={"Content-Type": "multipart/form-data"}
            ),
            400,
            "no boundary",
        ),
        (
            lambda c: c.post(
                "/echo",
                content=b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nhalf',
                headers={"Content-Type": "multipart/form-data; boundary=x"},
            ),
            400,
            "ends before its last boundary",
        ),
    ],
)
async def test_bad_bodies_are_refused_with_a_reason(
    client: httpx.AsyncClient, request_of: Any, status: int, words: str
) -> None:
    response = await request_of(client)
    assert response.status_code == status
    assert words in response.json()["detail"]


@pytest.mark.asyncio
async def test_what_was_read_before_a_limit_is_not_left_open(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    response = await client.post("/echo", files={"f": b"x" * 3_000_000})
    assert response.status_code == 413
    assert (tmp_path / "part-f").stat().st_size <= 5000


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], None),
        ([("FORMAT", "votable")], "votable"),
        ([("FORMAT", "votable"), ("format", "votable")], "votable"),
        ([("FORMAT", "VOTable"), ("format", "votable")], "votable"),
        ([("FORMAT", "votable"), ("RESPONSEFORMAT", "csv")], "csv"),
        ([("RESPONSEFORMAT", ""), ("FORMAT", "tsv")], "tsv"),
    ],
)
def test_responseformat_wins_over_format(
    pairs: list[tuple[str, str]], expected: str | None
) -> None:
    assert Parameters(url=pairs).response_format() == expected


def test_the_same_value_twice_is_fine_and_empty_is_missing() -> None:
    given = Parameters(url=[("A", "1"), ("a", "1"), ("B", " "), ("C", "x"), ("C", "y")])
    assert given.single("a") == "1"
    assert given.single("b") is None
    assert given.values("c") == ("x", "y")
    assert given.integer("A") == 1
