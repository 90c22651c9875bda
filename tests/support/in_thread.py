"""A gateway in a thread of the test's own process, on a real socket."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

__all__ = ["serving_in_thread"]

_START_SECONDS = 60.0


@contextmanager
def serving_in_thread(app: FastAPI, port: int) -> Iterator[None]:
    """Serve `app` on a port of 127.0.0.1."""
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="gateway")
    thread.start()
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not server.started:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise AssertionError("the gateway did not start")
            time.sleep(0.05)
        yield
    finally:
        server.should_exit = True
        thread.join(30)
