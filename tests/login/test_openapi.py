"""Whatever an address is sent that its description allows, or does not, it never breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import DataObject, data
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation

from astrolabe_api.main import create_app
from tests.support.gateways import free_port
from tests.support.in_thread import serving_in_thread

from .support import ADDRESS, make_people, settings_of

pytestmark = [pytest.mark.server, pytest.mark.timeout(900)]

# These end the session with which all the others are called.
ENDS_THE_SESSION = ("/api/logout", "/auth/logout")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """A gateway in a thread: its address, an administrator's session and its OpenAPI document."""
    home: Path = tmp_path_factory.mktemp("openapi") / "home"
    people = make_people(home)
    app = create_app(settings_of(home, cache_seconds=2))
    port = free_port()
    with serving_in_thread(app, port):
        yield f"http://127.0.0.1:{port}", people.sessions["dora"], app.openapi()


EXAMPLES = {"administrator": 10, "anonymous": 4}
"""Calls of each address; most refuse who is not logged in before they read what was sent."""

Call = Callable[["APIOperation[Any, Any, Any, Any]", str, dict[str, str]], None]


def caller(examples: int) -> Call:
    """Return what calls an address that many times with what its description allows."""

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=data())
    def call(
        operation: APIOperation[Any, Any, Any, Any],
        address: str,
        headers: dict[str, str],
        data: DataObject,
    ) -> None:
        case = data.draw(operation.as_strategy())
        answer = case.call(base_url=address, headers=headers, timeout=60)
        # Health is 503 while a part of the platform is not ready.
        assert answer.status_code < 500 or operation.path == "/health", case.as_curl_command()

    return call


@pytest.mark.parametrize("who", ["administrator", "anonymous"])
def test_no_address_breaks(gateway: tuple[str, str, dict[str, Any]], who: str) -> None:
    address, session, document = gateway
    # A program with the session of an administrator, who may do everything.
    headers = {"Authorization": f"Bearer {session}"} if who == "administrator" else {}
    schema = schemathesis.openapi.from_dict(document).exclude(path=list(ENDS_THE_SESSION))
    call = caller(EXAMPLES[who])
    called = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        call(found.ok(), address, headers)
        called += 1
    assert called > 100


def test_the_session_is_still_good(gateway: tuple[str, str, dict[str, Any]]) -> None:
    """Or all of the above would have been refused at the door."""
    address, session, _ = gateway
    me = httpx.get(f"{address}/api/me", headers={"Authorization": f"Bearer {session}"}, timeout=60)
    assert me.json()["username"] == "dora"
    assert ADDRESS not in address
