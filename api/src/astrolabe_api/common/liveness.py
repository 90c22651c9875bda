"""Connections that stay open end with the token that they were opened with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketState

from astrolabe.identity import Principal
from astrolabe_api.common.state import ApiState

__all__ = ["POLICY_VIOLATION", "ending_with_token"]

POLICY_VIOLATION: Final = 1008
"""The websocket's close code (RFC 6455, section 7.4.1) that says: you may not (any more)."""

_LOOK_SECONDS: Final = 30.0


@asynccontextmanager
async def ending_with_token(
    websocket: WebSocket,
    state: ApiState,
    caller: Principal,
    *,
    every_seconds: float = _LOOK_SECONDS,
) -> AsyncIterator[None]:
    """Close an open websocket soon after its caller's token has ended, at most 60 s later.

    Parameters
    ----------
    websocket
        Accepted.
    state
        Of the application.
    caller
        Who opened it; a connection that nobody logged in for stays open.
    every_seconds
        How often to look.

    Examples
    --------
    ::

        async with ending_with_token(websocket, state, caller):
            async for message in websocket.iter_text(): ...
    """
    if caller.token_key is None:
        yield
        return
    watcher = asyncio.create_task(_watch(websocket, state, caller.token_key, every_seconds))
    try:
        yield
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher


async def _watch(websocket: WebSocket, state: ApiState, key: str, every_seconds: float) -> None:
    authenticator = state.context.authenticator
    # Another process may have ended it: there is nobody here to tell us.
    while await run_in_threadpool(authenticator.is_alive, key):  # noqa: ASYNC110 - see above
        await asyncio.sleep(every_seconds)
    if websocket.application_state is WebSocketState.CONNECTED:
        reason = f"{HTTPStatus.UNAUTHORIZED.value} the token has ended"
        await websocket.close(POLICY_VIOLATION, reason)
