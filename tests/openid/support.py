"""Browsers, ports and servers for logins between real providers and real clients."""

from __future__ import annotations

import html
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
import yaml

from tests.support.platform import RunningPlatform, run_astrolabe, running_platform

__all__ = [
    "PASSWORD",
    "Browser",
    "add_user",
    "free_port",
    "platform_with",
    "query_of",
    "running_oidc_provider",
    "wait_until",
]

PASSWORD = "a long and quiet walk"

_FORM = re.compile(r"<form[^>]*\baction=\"([^\"]+)\"", re.IGNORECASE)
_FIELD = re.compile(r"<input[^>]*>", re.IGNORECASE)
_REFRESH = re.compile(r"http-equiv=\"refresh\" content=\"0; url=([^\"]+)\"")


def free_port() -> int:
    """Return a port that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} within {seconds:g} s"
        time.sleep(0.1)


class Browser:
    """What a browser does with redirects, cookies and forms, and no more.

    Ports share cookies, as in a browser.  Keycloak marks its cookies Secure, which browsers send
    to 127.0.0.1 all the same and the library does not.
    """

    def __init__(self) -> None:
        def relax(response: httpx.Response) -> None:
            for cookie in self.client.cookies.jar:
                cookie.secure = False
            assert response is not None

        self.client = httpx.Client(timeout=120, event_hooks={"response": [relax]})
        self.visited: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.client.close()

    def go(self, url: str, *, until: str | None = None) -> httpx.Response:
        """Visit an address and follow it, up to the first address that begins with `until`."""
        return self.follow(self.client.get(url), until=until)

    def follow(self, response: httpx.Response, *, until: str | None = None) -> httpx.Response:
        for _ in range(20):
            self.visited.append(str(response.url))
            target = self._next(response)
            if target is None or (until is not None and target.startswith(until)):
                return response
            response = self.client.get(target)
        raise AssertionError(f"redirected too often: {self.visited[-5:]}")

    def target(self, response: httpx.Response) -> str:
        """Return where a response sends the browser."""
        target = self._next(response)
        assert target is not None, response.text
        return target

    def submit(
        self, page: httpx.Response, *, until: str | None = None, **fields: str
    ) -> httpx.Response:
        """Fill in the last form of a page and send it."""
        action = html.unescape(_FORM.findall(page.text)[-1])
        form = dict(self._fields(page.text.rpartition("<form")[2])) | fields
        address = str(page.url.join(action))
        origin = str(page.url.copy_with(raw_path=b"/")).rstrip("/")
        sent = self.client.post(address, data=form, headers={"Origin": origin})
        return self.follow(sent, until=until)

    def _next(self, response: httpx.Response) -> str | None:
        if response.has_redirect_location:
            return str(response.url.join(response.headers["location"]))
        refresh = _REFRESH.search(response.text)
        return None if refresh is None else html.unescape(refresh[1])

    @staticmethod
    def _fields(text: str) -> Iterator[tuple[str, str]]:
        for field in _FIELD.findall(text):
            found = dict(re.findall(r"\b(name|value)=\"([^\"]*)\"", field))
            if "name" in found:
                yield found["name"], html.unescape(found.get("value", ""))


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


@contextmanager
def platform_with(
    folder: Path, auth: Mapping[str, Any], *, extra: Mapping[str, str] | None = None
) -> Iterator[RunningPlatform]:
    """Start a platform with settings of its own."""
    home = folder / "home"
    home.mkdir()
    cheap = {"argon2_memory_mb": 1, "argon2_passes": 1}
    (home / "config.yaml").write_text(yaml.safe_dump({"auth": {**cheap, **auth}}))
    with running_platform(home, extra=extra) as platform:
        yield platform


def add_user(platform: RunningPlatform, name: str, *groups: str) -> None:
    """Make an account with a password, as an administrator does."""
    arguments = [part for group in groups for part in ("--group", group)]
    run_astrolabe(
        *("user", "create", name, "--password-stdin", "--home", str(platform.home)),
        *arguments,
        stdin=PASSWORD,
    )


@contextmanager
def running_oidc_provider(redirect_uri: str, *, port: int) -> Iterator[str]:
    """Start the provider from npm; yields its issuer."""
    node = shutil.which("node")
    folder = Path(__file__).parent / "oidc_provider"
    if node is None or not (folder / "node_modules" / "oidc-provider").is_dir():
        pytest.skip("needs node and `make node-packages`")
    process = subprocess.Popen(
        [node, "server.mjs", str(port), redirect_uri],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline().strip()
        assert first == "ready", process.stderr.read()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=30)
