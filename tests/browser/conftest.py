"""Chromium, and a platform on an address of its own for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from pydantic import HttpUrl
from starlette.responses import HTMLResponse

from astrolabe.factory import ProcessContext
from astrolabe_api.main import create_app
from tests.login.support import People, make_people, settings_of
from tests.support.gateways import free_port
from tests.support.in_thread import serving_in_thread

_FLAGS = [
    "--no-sandbox",  # tests run as root in containers
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # The map is drawn by WebGL, here without a graphics card.
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
]


@dataclass(frozen=True)
class Platform:
    """A platform that a browser reaches at `address`."""

    address: str
    app: FastAPI
    people: People

    @property
    def context(self) -> ProcessContext:
        context = self.app.state.api.context
        assert isinstance(context, ProcessContext)
        return context

    def serve(self, path: str, page: str, policy: str | None) -> str:
        """Serve a page that a user made on the platform's own origin; returns its address."""

        async def user_made() -> HTMLResponse:
            return HTMLResponse(page, headers={"Content-Security-Policy": policy or ""})

        self.app.add_api_route(path, user_made, include_in_schema=False)
        return f"{self.address}{path}"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    home: Path = tmp_path_factory.mktemp("browser") / "home"
    people = make_people(home)
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    settings = settings_of(home, cache_seconds=2)
    server = settings.server.model_copy(update={"public_url": HttpUrl(address)})
    app = create_app(settings.model_copy(update={"server": server}))
    with serving_in_thread(app, port):
        yield Platform(address=address, app=app, people=people)


# Not for the whole session: as long as it runs, its event loop is that of the main thread, and no
# other test could run one there.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("needs Chromium (`make debian-packages`)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[BrowserContext]:
    """A browser that nobody has used before."""
    context = chromium.new_context()
    context.set_default_timeout(60_000)
    yield context
    context.close()


@pytest.fixture
def page(browser: BrowserContext) -> Iterator[Page]:
    """A page that must not complain of anything."""
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    # What the server refuses is told by the browser too, and is no fault of the page.
    assert [text for text in complaints if "Failed to load resource" not in text] == []


@pytest.fixture
def enter(browser: BrowserContext, platform: Platform) -> Callable[[str], None]:
    """Give the browser the session of a user."""

    def enter(name: str) -> None:
        browser.add_cookies(
            [
                {
                    "name": "astrolabe",
                    "value": platform.people.sessions[name],
                    "url": platform.address,
                    "httpOnly": True,
                    "sameSite": "Lax",
                }
            ]
        )

    return enter
