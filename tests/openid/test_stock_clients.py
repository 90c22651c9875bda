"""Sites that log people in through the platform with the libraries that sites use."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import sync_playwright

from tests.support.platform import RunningPlatform, run_astrolabe

from .support import PASSWORD, Browser, add_user, free_port, platform_with, query_of, wait_until

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[2]
SECRET = secrets.token_hex(24)


@dataclass(frozen=True)
class Setting:
    """A platform with clients that are about to run on these ports."""

    platform: RunningPlatform
    site_port: int
    program_port: int
    hub_port: int

    def log_in(self, browser: Browser, page: httpx.Response, user: str) -> httpx.Response:
        """Fill in the platform's form of name and password."""
        assert page.url.path == "/auth/login", page.text
        return browser.submit(page, username=user, password=PASSWORD)


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    site, program, hub = free_port(), free_port(), free_port()
    auth = {
        "clients": {
            "partner": {
                "name": "Partner site",
                "redirect_uris": [f"http://127.0.0.1:{site}/callback"],
                "scopes": ["read:tap"],
                "algorithm": "ES256",
            },
            "program": {
                "public": True,
                "redirect_uris": [f"http://127.0.0.1:{program}/callback"],
                "consent": "implicit",
            },
            "jupyterhub": {
                "redirect_uris": [f"http://127.0.0.1:{hub}/hub/oauth_callback"],
                "scopes": ["exec:notebook"],
                "consent": "implicit",
            },
        }
    }
    extra = {
        "ASTROLABE_AUTH__CLIENTS__PARTNER__SECRET": SECRET,
        "ASTROLABE_AUTH__CLIENTS__JUPYTERHUB__SECRET": SECRET,
    }
    with platform_with(tmp_path_factory.mktemp("clients"), auth, extra=extra) as platform:
        home = ("--home", str(platform.home))
        for user in ("alice", "bob"):
            add_user(platform, user)
        run_astrolabe("group", "create", "astronomers", "--owner", "alice", *home)
        yield Setting(platform, site, program, hub)


@pytest.fixture
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@contextmanager
def running(
    command: list[str], ready: str, *, cwd: Path, variables: Mapping[str, str]
) -> Iterator[None]:
    """Run a server until its address answers."""
    log = (cwd / "server.log").open("w+")
    process = subprocess.Popen(
        command, cwd=cwd, env=os.environ | variables, stdout=log, stderr=subprocess.STDOUT
    )

    def answers() -> bool:
        assert process.poll() is None, (cwd / "server.log").read_text()
        try:
            return httpx.get(ready).status_code == 200
        except httpx.HTTPError:
            return False

    try:
        wait_until(answers, f"{command[0]} answers")
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


@contextmanager
def authlib_site(
    setting: Setting, folder: Path, *, port: int, client_id: str, secret: str | None
) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.openid.authlib_site", str(port)]
    command += [setting.platform.address, client_id]
    variables = {"PYTHONPATH": str(ROOT)} | ({} if secret is None else {"SITE_SECRET": secret})
    address = f"http://127.0.0.1:{port}"
    with running(command, f"{address}/health", cwd=folder, variables=variables):
        yield address


@pytest.fixture(scope="module")
def partner(setting: Setting, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The site of a partner, which uses Authlib."""
    folder = tmp_path_factory.mktemp("partner")
    with authlib_site(
        setting, folder, port=setting.site_port, client_id="partner", secret=SECRET
    ) as address:
        yield address


def test_authlib_logs_in_with_consent_once(
    setting: Setting, partner: str, browser: Browser
) -> None:
    question = setting.log_in(browser, browser.go(f"{partner}/login"), "alice")
    assert "Log in to Partner site" in question.text
    assert "query catalogs in your name" in question.text
    assert question.headers["content-security-policy"].count("form-action 'self'") == 1
    arrived = browser.submit(question, answer="allow")
    # The library has checked signature, issuer, audience, nonce and at_hash.
    document: dict[str, Any] = arrived.json()
    told = document["token"]["userinfo"]
    assert told["sub"] == told["preferred_username"] == "alice"
    assert told["groups"] == ["astronomers"]
    assert told["scopes"] == ["read:tap"]
    assert told["aud"] == "partner"
    assert document["userinfo"] == {
        name: told[name] for name in ("sub", "preferred_username", "uid", "groups", "scopes")
    }
    # The access token is good for what the user allowed, and for nothing else.
    header = {"Authorization": f"Bearer {document['token']['access_token']}"}
    address = setting.platform.address
    query = {"LANG": "ADQL", "QUERY": "SELECT TOP 1 table_name FROM tap_schema.tables"}
    answer = httpx.get(f"{address}/api/tap/sync", params=query, headers=header)
    assert answer.headers["x-vo-authenticated"] == "alice"
    assert httpx.get(f"{address}/auth/api/v1/tokens", headers=header).status_code == 403
    # Once is enough.
    again = browser.go(f"{partner}/login")
    assert again.json()["userinfo"]["sub"] == "alice"


def test_authlib_is_told_of_a_refusal(setting: Setting, partner: str, browser: Browser) -> None:
    question = setting.log_in(browser, browser.go(f"{partner}/login"), "bob")
    answer = browser.submit(question, answer="refuse")
    assert answer.status_code == 400
    assert answer.json() == {"error": "access_denied"}


def test_prompt_none_and_login(setting: Setting, partner: str, browser: Browser) -> None:
    assert browser.go(f"{partner}/login?prompt=none").json() == {"error": "login_required"}
    setting.log_in(browser, browser.go(f"{partner}/login"), "alice")
    again = browser.go(f"{partner}/login?prompt=login")
    assert setting.log_in(browser, again, "alice").json()["userinfo"]["sub"] == "alice"


def test_a_consent_form_of_another_site_is_refused(
    setting: Setting, partner: str, browser: Browser
) -> None:
    question = setting.log_in(browser, browser.go(f"{partner}/login"), "bob")
    fields = dict(re.findall(r'name="(form|csrf_token)" value="([^"]*)"', question.text))
    address = f"{setting.platform.address}/auth/openid/consent"
    for form, header in (
        (fields, {"Sec-Fetch-Site": "cross-site"}),
        (fields, {"Origin": "https://evil.example"}),
        (fields | {"csrf_token": "0" * 64}, {}),
        ({"form": fields["form"]}, {}),
    ):
        answer = browser.client.post(address, data=form | {"answer": "allow"}, headers=header)
        assert answer.status_code == 403, answer.text


def test_a_public_client(setting: Setting, browser: Browser, tmp_path: Path) -> None:
    with authlib_site(
        setting, tmp_path, port=setting.program_port, client_id="program", secret=None
    ) as address:
        arrived = setting.log_in(browser, browser.go(f"{address}/login"), "alice")
        assert arrived.json()["userinfo"]["sub"] == "alice"


def test_authlib_refreshes_and_revokes(setting: Setting, browser: Browser, tmp_path: Path) -> None:
    # Deprecated for httpx alone; the successor is installed for tests.
    from authlib.integrations.httpx_client import OAuth2Client  # noqa: PLC0415 - slow to import

    with authlib_site(
        setting, tmp_path, port=setting.program_port, client_id="program", secret=None
    ) as address:
        document = setting.log_in(browser, browser.go(f"{address}/login"), "alice").json()
    base = f"{setting.platform.address}/auth/openid"
    with OAuth2Client("program", token=document["token"], token_endpoint_auth_method="none") as c:
        userinfo = f"{base}/userinfo"
        assert c.get(userinfo).json()["sub"] == "alice"
        first = dict(c.token)
        second = c.refresh_token(f"{base}/token")
        assert second["access_token"] != first["access_token"]
        assert c.get(userinfo).json()["sub"] == "alice"
        c.revoke_token(f"{base}/revoke", token=second["refresh_token"], auth=("program", ""))
    header = {"Authorization": f"Bearer {second['access_token']}"}
    wait_until(lambda: httpx.get(userinfo, headers=header).status_code == 401, "revoked", seconds=5)


def test_jupyterhub_with_its_stock_authenticator(
    setting: Setting, browser: Browser, tmp_path: Path
) -> None:
    api_token = secrets.token_hex(16)
    variables = {
        "ISSUER": setting.platform.address,
        "HUB_PORT": str(setting.hub_port),
        "HUB_INNER_PORT": str(free_port()),
        "HUB_PROXY_PORT": str(free_port()),
        "HUB_SECRET": SECRET,
        "HUB_API_TOKEN": api_token,
        "JUPYTERHUB_CRYPT_KEY": secrets.token_hex(32),
        # The proxy is a command beside this Python.
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    config = Path(__file__).with_name("jupyterhub_config.py")
    command = [shutil.which("jupyterhub", path=variables["PATH"]) or "jupyterhub"]
    command += ["--config", str(config)]
    hub = f"http://127.0.0.1:{setting.hub_port}/hub"
    with running(command, f"{hub}/health", cwd=tmp_path, variables=variables):
        arrived = setting.log_in(browser, browser.go(f"{hub}/oauth_login?next=/hub/home"), "alice")
        assert str(arrived.url).startswith(hub), browser.visited
        assert arrived.status_code == 200
        header = {"Authorization": f"token {api_token}"}
        alice = httpx.get(f"{hub}/api/users/alice", headers=header).json()
        assert alice["name"] == "alice"
        assert alice["groups"] == ["astronomers"]
        assert alice["auth_state"]["oauth_user"]["scopes"] == ["exec:notebook"]
        assert alice["auth_state"]["refresh_token"].startswith("ar-")
        # Who is not in the group that the hub asks for is turned away by it.
        with Browser() as other:
            answer = setting.log_in(other, other.go(f"{hub}/oauth_login"), "bob")
            assert answer.status_code == 403
            assert "code" in query_of(str(answer.url))


def test_chromium_gets_through_forms_that_lead_to_another_site(partner: str) -> None:
    # Chromium applies a form's `form-action 'self'` to every redirect behind it: both forms here,
    # of the login and of the question, lead to another origin in the end.
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("needs chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        try:
            page = browser.new_page()
            page.goto(f"{partner}/login?prompt=consent")
            page.get_by_label("User name").fill("alice")
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Log in", exact=True).click()
            page.get_by_role("button", name="Allow").click()
            page.wait_for_url(f"{partner}/callback?*")
            assert '"sub":"alice"' in page.inner_text("body").replace(" ", "")
            # Logged in and asked already: without any form between.
            page.goto(f"{partner}/login")
            page.wait_for_url(f"{partner}/callback?*")
        finally:
            browser.close()
