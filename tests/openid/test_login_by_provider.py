"""Login with the accounts of a certified OpenID provider (the npm package oidc-provider)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.support.platform import RunningPlatform, run_astrolabe

from .support import Browser, free_port, platform_with, running_oidc_provider

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]

SECRETS = {
    "ASTROLABE_AUTH__OPENID__NPM__CLIENT_SECRET": "secret with spaces: + and %",
    "ASTROLABE_AUTH__OPENID__NPM_ES256__CLIENT_SECRET": "another-secret-for-tests",
    "ASTROLABE_AUTH__OPENID__STRICT__CLIENT_SECRET": "secret with spaces: + and %",
    "ASTROLABE_AUTH__OPENID__MISTAKEN__CLIENT_SECRET": "not the secret",
}


@dataclass(frozen=True)
class Setting:
    """A platform and the provider that it trusts."""

    platform: RunningPlatform
    issuer: str

    def log_in(
        self, browser: Browser, user: str, *, provider: str = "npm", **parameters: str
    ) -> httpx.Response:
        """Go to the provider and log in there, if it asks; return the page at the end."""
        query = httpx.QueryParams({"provider": provider} | parameters)
        page = browser.go(f"{self.platform.address}/auth/login?{query}")
        if "/login/" in str(page.url):
            page = browser.submit(page, username=user, password=f"{user}-pw")
        return page

    def me(self, browser: Browser) -> dict[str, Any]:
        answer = browser.client.get(f"{self.platform.address}/api/me")
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def say_groups(self, user: str, *groups: str) -> None:
        query = httpx.QueryParams({"user": user, "groups": ",".join(groups)})
        httpx.post(f"{self.issuer}/test/groups?{query}").raise_for_status()


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    providers: dict[str, dict[str, object]] = {
        "npm": {"client_id": "astrolabe", "title": "University of Example"},
        "npm_public": {"client_id": "astrolabe-public"},
        "npm_es256": {"client_id": "astrolabe-es256"},
        "strict": {"client_id": "astrolabe", "approval": True},
        "mistaken": {"client_id": "astrolabe"},
    }
    auth = {"openid": {name: given | {"issuer": issuer} for name, given in providers.items()}}
    folder = tmp_path_factory.mktemp("openid")
    with (
        platform_with(folder, auth, extra=SECRETS) as platform,
        running_oidc_provider(f"{platform.address}/auth/callback", port=port),
    ):
        yield Setting(platform, issuer)


def names(me: dict[str, Any]) -> set[str]:
    return {group["name"] for group in me["groups"]}


@pytest.fixture
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


def test_the_first_login_chooses_a_name_and_the_next_follows_the_groups(
    setting: Setting, browser: Browser
) -> None:
    page = browser.go(f"{setting.platform.address}/auth/login?return_url=/api/jobs")
    assert "University of Example" in page.text
    link = re.search(r"href=\"([^\"]*provider=npm&[^\"]*)\"", page.text.replace("&amp;", "&"))
    assert link is not None
    form = browser.go(f"{setting.platform.address}{link[1]}")
    assert str(form.url).startswith(f"{setting.issuer}/login/")
    again = browser.submit(form, username="alice", password="wrong")
    assert "Invalid user name or password" in again.text

    naming = browser.submit(again, username="alice", password="alice-pw")
    assert "Choose your user name" in naming.text
    assert "alice of the provider" in naming.text
    assert 'value="alice"' in naming.text
    refused = browser.submit(naming, name="No Name")
    assert refused.status_code == 400
    assert "No Name" in refused.text
    arrived = browser.submit(refused, name="alice_a")
    assert arrived.url.path == "/api/jobs"
    assert arrived.status_code == 200
    me = setting.me(browser)
    assert me["username"] == "alice_a"
    assert {"g_survey", "astronomers"} <= names(me)

    setting.say_groups("alice", "astronomers", "observers", "Not A Name")
    with Browser() as other:
        arrived = setting.log_in(other, "alice", return_url="/api/me")
        assert arrived.json()["username"] == "alice_a"
        groups = names(arrived.json())
    assert groups & {"g_survey", "astronomers", "observers"} == {"astronomers", "observers"}


@pytest.mark.parametrize("provider", ["npm_public", "npm_es256"])
def test_clients_of_other_sorts(setting: Setting, browser: Browser, provider: str) -> None:
    page = setting.log_in(browser, "bob", provider=provider, return_url="/api/me")
    if "Choose your user name" in page.text:
        page = browser.submit(page, name="bob")
    # The account is the issuer's subject, by whichever client of ours it came.
    assert page.json()["username"] == "bob"


def test_an_account_waits_for_approval(setting: Setting, browser: Browser) -> None:
    naming = setting.log_in(browser, "carol", provider="strict")
    waiting = browser.submit(naming, name="carol")
    assert "Waiting for approval" in waiting.text
    assert browser.client.get(f"{setting.platform.address}/api/me").status_code == 401
    again = setting.log_in(browser, "carol", provider="strict")
    assert "Waiting for approval" in again.text
    home = ("--home", str(setting.platform.home))
    assert "carol" in run_astrolabe("user", "list", "--status", "waiting", *home).stdout
    run_astrolabe("user", "approve", "carol", *home)
    assert setting.log_in(browser, "carol", return_url="/api/me").json()["username"] == "carol"


def test_a_login_belongs_to_the_browser_that_began_it(setting: Setting, browser: Browser) -> None:
    callback = f"{setting.platform.address}/auth/callback"
    begun = f"{setting.platform.address}/auth/login?provider=npm_public"
    form = browser.go(begun)
    last = browser.submit(form, until=callback, username="bob", password="bob-pw")
    address = browser.target(last)
    # Who is sent somebody else's answer is not logged in as him.
    with Browser() as victim:
        victim.go(begun)
        answer = victim.go(address)
        assert answer.status_code == 400
        assert "did not begin this login" in answer.text
        assert "astrolabe" not in victim.client.cookies
    browser.go(address)
    assert browser.client.cookies["astrolabe"].startswith("al-")
    # Neither does it work twice.
    assert browser.go(address).status_code == 400


def test_answers_that_were_tampered_with(setting: Setting, browser: Browser) -> None:
    callback = f"{setting.platform.address}/auth/callback"
    form = browser.go(f"{setting.platform.address}/auth/login?provider=npm_public")
    last = browser.submit(form, until=callback, username="bob", password="bob-pw")
    address = httpx.URL(browser.target(last))
    assert address.params["iss"] == setting.issuer
    for changes, status in (
        ({"state": "x" * 43}, 400),
        ({"iss": "https://evil.example"}, 401),
        ({"code": "x" * 43}, 401),
    ):
        answer = browser.client.get(address.copy_merge_params(changes))
        assert answer.status_code == status, answer.text
        assert "astrolabe" not in browser.client.cookies
    without = address.copy_remove_param("iss")
    assert browser.client.get(without).status_code == 401


def test_who_refuses_at_the_provider_is_not_logged_in(setting: Setting, browser: Browser) -> None:
    form = browser.go(f"{setting.platform.address}/auth/login?provider=npm")
    answer = browser.submit(form, cancel="1")
    assert answer.status_code == 403
    assert "did not log you in" in answer.text


def test_a_login_can_be_demanded_anew(setting: Setting, browser: Browser) -> None:
    setting.log_in(browser, "bob", provider="npm_public", return_url="/api/me")
    login = f"{setting.platform.address}/auth/login?provider=npm_public&return_url=/api/me"
    # The provider knows him still and asks nothing, but for `again`.
    assert browser.go(login).url.path == "/api/me"
    form = browser.go(f"{login}&again=true")
    assert str(form.url).startswith(f"{setting.issuer}/login/")
    answer = browser.submit(form, username="bob", password="bob-pw")
    assert answer.json()["username"] == "bob"


def test_a_wrong_secret_of_ours_is_no_login(setting: Setting, browser: Browser) -> None:
    answer = setting.log_in(browser, "bob", provider="mistaken")
    assert answer.status_code == 401
    assert "did not accept the login" in answer.text
    log = (setting.platform.home.parent / "home-up.log").read_text()
    assert "not the secret" not in log
    assert "invalid_client" in log


def test_nobody_is_sent_elsewhere_afterwards(setting: Setting, browser: Browser) -> None:
    for place in ("https://evil.example/", "//evil.example/", "/\\evil.example"):
        answer = setting.log_in(browser, "bob", provider="npm_public", return_url=place)
        assert answer.status_code == 400, answer.text
    assert browser.go(f"{setting.platform.address}/auth/login?provider=nobody").status_code == 404


def test_no_code_or_token_is_in_the_logs(setting: Setting, browser: Browser) -> None:
    callback = f"{setting.platform.address}/auth/callback"
    form = browser.go(f"{setting.platform.address}/auth/login?provider=npm_public")
    last = browser.submit(form, until=callback, username="bob", password="bob-pw")
    address = httpx.URL(browser.target(last))
    browser.go(str(address))
    log = (setting.platform.home.parent / "home-up.log").read_text()
    logs = [path.read_text() for path in (setting.platform.home / "logs").rglob("*.*")]
    for text in (log, *logs):
        assert address.params["code"] not in text
        assert address.params["state"] not in text
        assert browser.client.cookies["astrolabe"] not in text
    assert "/auth/callback" in log + "".join(logs)
