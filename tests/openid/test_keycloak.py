"""Login with the accounts of a real Keycloak, for `make test-interop`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.platform import RunningPlatform

from .support import Browser, free_port, platform_with, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.server, pytest.mark.timeout(900)]

VERSION = "26.7.3"
ROOT = Path(__file__).parents[2]
CACHE = ROOT / "build" / "keycloak"


def fetch() -> Path:
    """Return the folder of Keycloak, which is downloaded and unpacked once."""
    folder = CACHE / f"keycloak-{VERSION}"
    if (folder / "bin" / "kc.sh").exists():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        pytest.skip("needs Maven and Java 17 or newer")
    archive = CACHE / f"keycloak-quarkus-dist-{VERSION}.tar.gz"
    if not archive.exists():
        artifact = f"org.keycloak:keycloak-quarkus-dist:{VERSION}:tar.gz"
        command = [maven, "-B", "-q", "dependency:copy", f"-Dartifact={artifact}"]
        subprocess.run([*command, f"-DoutputDirectory={CACHE}"], check=True)
    with tarfile.open(archive) as packed:
        packed.extractall(CACHE, filter="data")
    return folder


@contextmanager
def running_keycloak(folder: Path, redirect_uri: str, *, port: int) -> Iterator[str]:
    """Start it with the realm `sky`; yields the issuer.  The first start takes minutes."""
    home = fetch()
    realm = Path(__file__).with_name("keycloak_realm.json").read_text()
    imported = home / "data" / "import"
    imported.mkdir(parents=True, exist_ok=True)
    (imported / "sky-realm.json").write_text(realm.replace("@REDIRECT_URI@", redirect_uri))
    variables = {
        "JAVA_OPTS_GC": "-XX:+UseSerialGC",
        "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx400m",
        "JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1",
    }
    options = ["--db=dev-mem", "--import-realm", "--http-enabled=true", "--http-host=127.0.0.1"]
    options += [f"--http-port={port}", "--hostname-strict=false", "--cache=local"]
    log = (folder / "keycloak.log").open("w")
    process = subprocess.Popen(
        [home / "bin" / "kc.sh", "start-dev", *options],
        env=os.environ | variables,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    issuer = f"http://127.0.0.1:{port}/realms/sky"

    def answers() -> bool:
        assert process.poll() is None, (folder / "keycloak.log").read_text()[-2000:]
        try:
            return httpx.get(f"{issuer}/.well-known/openid-configuration").status_code == 200
        except httpx.HTTPError:
            return False

    try:
        wait_until(answers, "Keycloak answers", seconds=600)
        yield issuer
    finally:
        process.terminate()
        process.wait(timeout=60)
        log.close()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    folder = tmp_path_factory.mktemp("keycloak")
    port = free_port()
    given = {"issuer": f"http://127.0.0.1:{port}/realms/sky", "client_id": "astrolabe"}
    extra = {"ASTROLABE_AUTH__OPENID__KEYCLOAK__CLIENT_SECRET": "a-secret-for-tests-only"}
    with (
        platform_with(folder, {"openid": {"keycloak": given}}, extra=extra) as platform,
        running_keycloak(folder, f"{platform.address}/auth/callback", port=port),
    ):
        yield platform


@pytest.fixture
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


def log_in(platform: RunningPlatform, browser: Browser, user: str, **query: str) -> httpx.Response:
    parameters = httpx.QueryParams({"provider": "keycloak", "return_url": "/api/me"} | query)
    page = browser.go(f"{platform.address}/auth/login?{parameters}")
    if "/realms/" in str(page.url):
        page = browser.submit(page, username=user, password=f"{user}-pw")
    return page


def test_the_first_login_and_the_next(platform: RunningPlatform, browser: Browser) -> None:
    naming = log_in(platform, browser, "alice")
    assert "Choose your user name" in naming.text
    assert "Alice Able" in naming.text
    me: dict[str, Any] = browser.submit(naming, name="alice").json()
    assert me["username"] == "alice"
    # Written as paths and with capitals there.
    assert {"g_survey", "visitors"} <= {group["name"] for group in me["groups"]}
    with Browser() as other:
        assert log_in(platform, other, "alice").json()["username"] == "alice"


def test_a_wrong_password_is_the_providers_business(
    platform: RunningPlatform, browser: Browser
) -> None:
    page = browser.go(f"{platform.address}/auth/login?provider=keycloak")
    refused = browser.submit(page, username="bob", password="wrong")
    assert "Invalid username or password" in refused.text
    assert "astrolabe" not in browser.client.cookies


def test_a_login_can_be_demanded_anew(platform: RunningPlatform, browser: Browser) -> None:
    naming = log_in(platform, browser, "bob")
    if "Choose your user name" in naming.text:
        browser.submit(naming, name="bob")
    # Keycloak knows him still.
    login = f"{platform.address}/auth/login?provider=keycloak&return_url=/api/me"
    assert browser.go(login).json()["username"] == "bob"
    asked = browser.go(f"{login}&again=true")
    assert "/realms/sky/" in str(asked.url)
    assert browser.submit(asked, password="bob-pw").json()["username"] == "bob"
