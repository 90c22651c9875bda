"""Uploads that are far too large: refused before they have come, with nothing kept."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.platform import RunningPlatform, running_platform

from .support import connect, resident_bytes, wait_for

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]

TEN_GB = 10_000_000_000
UPLOAD_MB = 20
BOUNDARY = "b0undary"
PART = (
    f"--{BOUNDARY}\r\n"
    'Content-Disposition: form-data; name="QUERY"\r\n\r\nSELECT * FROM TAP_UPLOAD.mine\r\n'
    f"--{BOUNDARY}\r\n"
    'Content-Disposition: form-data; name="table"; filename="t.vot"\r\n\r\n'
).encode()
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def platform(table_home: Path) -> Iterator[RunningPlatform]:
    with running_platform(table_home, extra={"ASTROLABE_TAP__UPLOAD_MB": str(UPLOAD_MB)}) as made:
        made.sync("SELECT TOP 1 id FROM s.t")
        yield made


def headers(path: str, content_type: str, *more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: here", f"Content-Type: {content_type}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def answer(connection: socket.socket) -> str:
    """Read all that comes until the server closes the connection."""
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received.decode()


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("path", ["/api/tap/sync", "/api/tap/async"])
@pytest.mark.parametrize("content_type", [MULTIPART, FORM])
def test_ten_announced_gigabytes_are_refused_before_they_come(
    platform: RunningPlatform, path: str, content_type: str
) -> None:
    with connect(platform) as connection:
        began = time.monotonic()
        connection.sendall(headers(path, content_type, f"Content-Length: {TEN_GB}"))
        received = answer(connection)
        assert time.monotonic() - began < 5
    assert received.startswith("HTTP/1.1 413")
    assert "limits.request_mb" in received


@pytest.mark.parametrize("path", ["/api/tap/sync", "/api/tap/async"])
@pytest.mark.parametrize("content_type", [MULTIPART, FORM])
def test_ten_gigabytes_in_chunks_are_refused_on_the_way(
    platform: RunningPlatform, path: str, content_type: str
) -> None:
    (pid,) = platform.child_pids("serve")
    before = resident_bytes(pid)
    most, sent = before, 0
    block = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    with connect(platform) as connection:
        connection.sendall(headers(path, content_type, "Transfer-Encoding: chunked"))
        beginning = PART if content_type == MULTIPART else b"LANG=ADQL&QUERY="
        connection.sendall(f"{len(beginning):x}\r\n".encode() + beginning + b"\r\n")
        try:
            while sent < TEN_GB:
                connection.sendall(block)
                sent += 0x100000
                most = max(most, resident_bytes(pid))
        except ConnectionError:
            pass
        received = answer(connection)
    # What was on its way when it was refused counts too.
    assert sent < (UPLOAD_MB + 20) * 1_000_000
    assert most - before < 150_000_000
    if received:  # a reset can overtake the answer
        assert received.startswith("HTTP/1.1 413")
    wait_for(lambda: files_in(platform.home / "uploads") == [], 10)
    assert platform.sync("SELECT TOP 1 id FROM s.t").status_code == 200


def test_who_reads_the_answer_is_told_the_limit(platform: RunningPlatform) -> None:
    """One byte too much, so that the whole request has been sent when the answer comes."""
    table = b"a,b\n" + b"1,2\n" * (UPLOAD_MB * 250_000)
    response = httpx.post(
        f"{platform.tap}/sync",
        data={"LANG": "ADQL", "QUERY": "SELECT * FROM TAP_UPLOAD.mine", "UPLOAD": "mine,param:p"},
        files={"p": ("p.csv", table)},
        timeout=60,
    )
    assert response.status_code == 413
    assert "tap.upload_mb" in response.text
    assert "20 MB" in response.text


def test_a_client_that_goes_away_in_the_middle_of_an_upload_leaves_nothing(
    platform: RunningPlatform,
) -> None:
    for path in ("/api/tap/sync", "/api/tap/async"):
        with connect(platform) as connection:
            connection.sendall(headers(path, MULTIPART, "Content-Length: 10000000"))
            connection.sendall(PART + bytes(5_000_000))
            wait_for(lambda: files_in(platform.home / "uploads") != [], 10)
        wait_for(lambda: files_in(platform.home / "uploads") == [], 10)
