"""A platform with people."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI

from astrolabe.factory import ProcessContext
from astrolabe_api.main import create_app

from .support import ADDRESS, COOKIE, People, client_of, make_people, settings_of

Login = Callable[[str], "httpx.AsyncClient"]


@pytest.fixture(scope="module")
def people_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("people") / "home"


@pytest.fixture(scope="module")
def people(people_home: Path) -> People:
    return make_people(people_home)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def app(people: People, people_home: Path) -> AsyncIterator[FastAPI]:
    """The whole application, running, with its people."""
    assert people.sessions
    app = create_app(settings_of(people_home))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
def context(app: FastAPI) -> ProcessContext:
    context = app.state.api.context
    assert isinstance(context, ProcessContext)
    return context


@pytest_asyncio.fixture(loop_scope="module")
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client without any credential."""
    async with client_of(app) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def by_cookie(
    app: FastAPI, people: People
) -> AsyncIterator[Callable[[str], AbstractAsyncContextManager[httpx.AsyncClient]]]:
    """Give clients that hold the session of a user, or any other token, as a cookie."""

    def open_client(who: str) -> AbstractAsyncContextManager[httpx.AsyncClient]:
        value = people.sessions.get(who, who)
        cookies = httpx.Cookies()
        cookies.set(COOKIE, value, domain=ADDRESS.removeprefix("https://"))
        return client_of(app, cookies=cookies)

    async with AsyncExitStack():
        yield open_client
