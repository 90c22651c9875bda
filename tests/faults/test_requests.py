"""Clients that leave, dawdle, crowd or mean harm."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import httpx
import pytest

from tests.support.platform import RunningPlatform, running_platform

from .support import ENDLESS, HUGE, connect, metric, resident_bytes, wait_for

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]

HOSTILE = (
    "o'brien",
    'say "hi"',
    "a;b--c/*d*/",
    "../../../etc/passwd",
    "..",
    "/etc/passwd",
    "nul\0byte",
    "line\r\nSet-Cookie: a=b",
    "\N{GRINNING FACE}\N{LATIN SMALL LETTER E WITH ACUTE}\u202e\ufeff",
    "%00%2e%2e%2f",
    "{0}%s$(id)`id`",
    "<script>alert(1)</script>&amp;]]>",
    "x" * 10_000,
)
QUICK = "SELECT TOP 1 id FROM s.t"


@pytest.fixture(scope="module")
def platform(table_home: Path) -> Iterator[RunningPlatform]:
    """A platform that runs one query at a time, so that one left behind would show at once."""
    with running_platform(table_home, extra={"ASTROLABE_ENGINE__WORKERS": "1"}) as made:
        made.sync(QUICK)
        yield made


def post(query: str, **parameters: str) -> bytes:
    """Return the bytes of a request for a query."""
    body = urlencode({"LANG": "ADQL", "QUERY": query, **parameters}).encode()
    head = (
        "POST /api/tap/sync HTTP/1.1\r\nHost: here\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def leave(connection: socket.socket) -> None:
    """Close as a killed process does."""
    connection.close()


def stopped(platform: RunningPlatform) -> float:
    """Return how many queries have been stopped since their client had left."""
    return metric(platform, "astrolabe_sync_queries_total", pool="query", outcome="cancelled")


# --- clients that leave ---------------------------------------------------------------------------


def test_a_client_killed_before_the_first_byte_stops_its_query(platform: RunningPlatform) -> None:
    before = stopped(platform)
    code = (
        "import sys, httpx\n"
        "httpx.post(sys.argv[1], data={'LANG': 'ADQL', 'QUERY': sys.argv[2]}, timeout=None)\n"
    )
    command = [sys.executable, "-c", code, f"{platform.tap}/sync", ENDLESS]
    with subprocess.Popen(command) as client, connect(platform) as second:
        # The only thread is taken when a second query has to wait.
        time.sleep(2.5)
        second.sendall(post(QUICK))
        wait_for(lambda: metric(platform, "astrolabe_waiting_queries", pool="query") == 1)
        client.kill()
        began = time.monotonic()
        assert second.recv(100).startswith(b"HTTP/1.1 200")
        assert time.monotonic() - began < 15
    assert stopped(platform) > before


def test_a_client_killed_after_the_first_byte_stops_its_query(platform: RunningPlatform) -> None:
    before = stopped(platform)
    connection = connect(platform)
    connection.sendall(post(HUGE, RESPONSEFORMAT="csv", MAXREC="100000000"))
    received = b""
    while b"id,other,y,z" not in received:
        received += connection.recv(65536)
    assert received.startswith(b"HTTP/1.1 200")
    leave(connection)
    wait_for(lambda: stopped(platform) == before + 1, 15)
    assert platform.sync(QUICK).status_code == 200


def test_a_client_that_leaves_while_it_waits_is_forgotten(platform: RunningPlatform) -> None:
    with connect(platform) as running:
        running.sendall(post(ENDLESS))
        time.sleep(0.5)
        waiting = [connect(platform) for _ in range(20)]
        for connection in waiting:
            connection.sendall(post(ENDLESS))
        wait_for(lambda: metric(platform, "astrolabe_waiting_queries", pool="query") == 20)
        for connection in waiting:
            leave(connection)
        wait_for(lambda: metric(platform, "astrolabe_waiting_queries", pool="query") == 0, 15)
    assert platform.sync(QUICK).status_code == 200


# --- clients that dawdle --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["csv", "votable", "votable/td", "parquet"])
def test_a_slow_reader_costs_no_memory_and_no_thread(platform: RunningPlatform, name: str) -> None:
    (pid,) = platform.child_pids("serve")
    before = most = resident_bytes(pid)
    with connect(platform) as connection:
        connection.sendall(post(HUGE, RESPONSEFORMAT=name, MAXREC="100000000"))
        deadline = time.monotonic() + 6
        received = 0
        while time.monotonic() < deadline:
            received += len(connection.recv(20_000))
            most = max(most, resident_bytes(pid))
            time.sleep(0.05)
        assert received > 500_000
        # The reader has its answer still open, and the only thread serves others.
        assert platform.sync(QUICK).status_code == 200
    assert most - before < 300_000_000


def test_idle_connections_keep_nobody_out(platform: RunningPlatform) -> None:
    (pid,) = platform.child_pids("serve")
    before = resident_bytes(pid)
    held = [connect(platform) for _ in range(200)]
    try:
        for number, connection in enumerate(held):
            # Some have said nothing, some half a request, some half a body, some have had answers.
            begun = (b"", b"POST /api/tap/sync HT", post(QUICK)[:-5], post(QUICK))[number % 4]
            connection.sendall(begun)
        for connection in held[3::4]:
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        seconds = []
        for _ in range(20):
            began = time.monotonic()
            assert platform.sync(QUICK).status_code == 200
            seconds.append(time.monotonic() - began)
        assert sorted(seconds)[10] < 3
        assert httpx.get(f"{platform.address}/health", timeout=5).status_code == 200
        assert resident_bytes(pid) - before < 100_000_000
    finally:
        for connection in held:
            connection.close()


def test_two_hundred_queries_at_once_are_all_answered(platform: RunningPlatform) -> None:
    held = [connect(platform) for _ in range(200)]
    for connection in held:
        connection.sendall(post("SELECT TOP 5 id, x FROM s.t ORDER BY x"))
    for connection in held:
        with connection:
            assert connection.recv(100).startswith(b"HTTP/1.1 200")


# --- hostile names --------------------------------------------------------------------------------


def refused(response: httpx.Response) -> None:
    """A mistake of the client, told in a document of ordinary size and without our paths."""
    assert 400 <= response.status_code < 500, (response.status_code, response.text[:500])
    assert "Set-Cookie" not in response.headers
    assert len(response.content) < 50_000
    assert "Traceback" not in response.text
    assert "root:" not in response.text


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_in_queries(platform: RunningPlatform, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    for query in (
        f"SELECT * FROM {quoted}",
        f"SELECT * FROM s.{quoted}",
        f"SELECT * FROM {quoted}.t",
        f"SELECT {quoted} FROM s.t",
        f"SELECT t.{quoted} FROM s.t AS t",
    ):
        for form in ("votable", "json"):
            refused(platform.sync(query, RESPONSEFORMAT=form))
    # What stands in quotes may be any text, and is one: the rows are found or not.
    text = name.replace("'", "''")
    answer = platform.sync(f"SELECT COUNT(*) AS n FROM s.t WHERE '{text}' = '{text}' AND id < 3")
    assert answer.status_code in (200, 400), answer.text[:500]
    # An alias is the client's own choice.
    answer = platform.sync(f"SELECT TOP 1 id AS {quoted} FROM s.t", RESPONSEFORMAT="json")
    assert answer.status_code in (200, 400), answer.text[:500]
    if answer.status_code == 200:
        assert json.loads(answer.text)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_of_uploads(platform: RunningPlatform, name: str) -> None:
    form = {"LANG": "ADQL", "QUERY": "SELECT * FROM TAP_UPLOAD.mine"}
    files = {"part": (name[:200], b"a,b\n1,2\n")}
    # As the name of a table.
    refused(
        httpx.post(
            f"{platform.tap}/sync", data=form | {"UPLOAD": f"{name},param:part"}, files=files
        )
    )
    # As an address.
    refused(httpx.post(f"{platform.tap}/sync", data=form | {"UPLOAD": f"mine,{name}"}, files=files))
    refused(
        httpx.post(
            f"{platform.tap}/sync", data=form | {"UPLOAD": f"mine,file://{name}"}, files=files
        )
    )
    # As the name of a part: it is the client's own choice, and never a path of ours.
    answer = httpx.post(
        f"{platform.tap}/sync",
        data=form | {"UPLOAD": f"mine,param:{name}", "RESPONSEFORMAT": "csv"},
        files={name: ("t.csv", b"a,b\n1,2\n")},
    )
    assert answer.status_code in (200, 400), answer.text[:500]
    # As the name of a column.
    quoted = '"' + name.replace('"', '""') + '"'
    answer = httpx.post(
        f"{platform.tap}/sync",
        data=form | {"UPLOAD": "mine,param:p", "RESPONSEFORMAT": "csv"},
        files={"p": ("t.csv", f"{quoted},b\n1,2\n".encode())},
    )
    assert answer.status_code in (200, 400), answer.text[:500]
    wait_for(lambda: not [p for p in (platform.home / "uploads").rglob("*") if p.is_file()], 5)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_in_addresses(platform: RunningPlatform, name: str) -> None:
    for template in (
        "/api/tap/tables/{}",
        "/api/tap/async/{}",
        "/api/tap/async/{}/results/result",
        "/api/scs/{}",
        "/api/{}",
    ):
        # Dots too, or the client itself would go up a level.
        encoded = quote(name, safe="").replace(".", "%2E")
        parameters = {"RA": "1", "DEC": "2", "SR": "1"}
        refused(httpx.get(platform.address + template.format(encoded), params=parameters))
    for parameter in ("LANG", "MAXREC", "RESPONSEFORMAT"):
        form = {"LANG": "ADQL", "QUERY": QUICK} | {parameter: name}
        refused(httpx.post(f"{platform.tap}/sync", data=form))
    answer = httpx.post(f"{platform.tap}/async", data={"QUERY": QUICK, "RUNID": name})
    assert answer.status_code in (303, 400)
    if answer.status_code == 303:
        assert httpx.get(answer.headers["Location"]).status_code == 200
