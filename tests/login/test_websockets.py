"""Websockets: who may open one, and that it ends with the token."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import pytest_asyncio
from fastapi import FastAPI, WebSocket

from astrolabe.factory import ProcessContext
from astrolabe.identity.authority import OPERATOR
from astrolabe_api.common.auth import requires
from astrolabe_api.common.liveness import POLICY_VIOLATION, ending_with_token
from astrolabe_api.common.requests import notes_of
from astrolabe_api.common.state import state_of

from .support import ADDRESS, COOKIE, People, key_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Socket:
    """A client's end of a websocket, message by message."""

    def __init__(self, app: FastAPI, headers: dict[str, str], path: str = "/echo") -> None:
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.given: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.given.put_nowait({"type": "websocket.connect"})
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "wss",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(n.lower().encode(), v.encode()) for n, v in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("astrolabe.example", 443),
            "subprotocols": [],
            "extensions": {"websocket.http.response": {}},
        }
        self.task = asyncio.create_task(app(scope, self.given.get, self.sent.put))  # type: ignore[arg-type]  # ASGI's own types are wider

    async def say(self, text: str) -> dict[str, Any]:
        await self.given.put({"type": "websocket.receive", "text": text})
        return await asyncio.wait_for(self.sent.get(), 5)

    async def next(self) -> dict[str, Any]:
        return await asyncio.wait_for(self.sent.get(), 5)

    async def leave(self) -> None:
        await self.given.put({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait_for(self.task, 5)


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def echo(app: FastAPI) -> None:
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        caller = notes_of(websocket).principal
        async with ending_with_token(websocket, state_of(websocket), caller, every_seconds=0.01):
            async for text in websocket.iter_text():
                await websocket.send_text(f"{caller.username}: {text}")

    app.add_api_websocket_route("/echo", echo, dependencies=[requires("exec:notebook")])


async def test_it_is_open_as_long_as_the_token_lives(app: FastAPI, context: ProcessContext) -> None:
    made = context.tokens.create_for("bob", name="socket", scopes=["exec:notebook"], by=OPERATOR)
    socket = Socket(app, {"Authorization": f"Bearer {made.text}"})
    assert (await socket.next())["type"] == "websocket.accept"
    assert (await socket.say("hello"))["text"] == "bob: hello"
    await asyncio.sleep(0.05)
    assert (await socket.say("still"))["text"] == "bob: still"
    context.tokens.revoke(made.info.key, by=OPERATOR)
    closed = await socket.next()
    assert (closed["type"], closed["code"]) == ("websocket.close", POLICY_VIOLATION)
    await socket.leave()


async def test_leaving_ends_it(app: FastAPI, people: People) -> None:
    socket = Socket(app, people.bearer("alice"))
    await socket.next()
    await socket.leave()
    assert socket.task.done()


@pytest.mark.parametrize(
    ("who", "headers", "status"),
    [
        (None, {}, 401),
        ("expired", {}, 401),
        ("unfit", {}, 403),
        ("cookie", {"Origin": "https://evil.example"}, 403),
        ("cookie", {"Origin": "https://hub.astrolabe.example"}, 403),
        ("cookie", {"Sec-Fetch-Site": "cross-site", "Origin": "null"}, 403),
        ("cookie", {"Origin": ADDRESS}, 101),
    ],
)
async def test_who_may_open_one(
    app: FastAPI, people: People, who: str | None, headers: dict[str, str], status: int
) -> None:
    """Browsers let every page open a websocket to anywhere, with the cookies of there."""
    credentials = {
        None: {},
        "expired": {"Authorization": f"Bearer {people.expired}"},
        "unfit": {"Authorization": f"Bearer {people.unfit}"},
        "cookie": {"Cookie": f"{COOKIE}={people.sessions['alice']}"},
    }[who]
    socket = Socket(app, credentials | headers)
    first = await socket.next()
    if status == 101:
        assert first["type"] == "websocket.accept"
        await socket.leave()
        return
    assert first["type"] == "websocket.http.response.start"
    assert first["status"] == status
    await asyncio.wait_for(socket.task, 5)
    assert key_of(people.sessions["alice"]) not in str(first)
