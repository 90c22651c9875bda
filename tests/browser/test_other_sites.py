"""What pages of other sites, and pages that users made, can do with a user's browser: nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from playwright.sync_api import BrowserContext
from typing_extensions import override

from astrolabe_api.common.middleware import SANDBOX_POLICY

from .conftest import Platform

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

# Asks for the CSRF token with the user's cookie, and makes a token with it.
MINT = """<!DOCTYPE html><title>A page</title><p id=done>no</p><script>
(async () => {
  try {
    const session = await fetch("%(address)s/auth/api/v1/session", {credentials: "include"});
    const csrf = (await session.json()).csrf_token;
    await fetch("%(address)s/auth/api/v1/tokens", {
      method: "POST", credentials: "include",
      headers: {"Content-Type": "application/json", "X-CSRF-Token": csrf},
      body: JSON.stringify({name: "minted", scopes: ["read:tap"]}),
    });
  } catch (error) { document.title = String(error); }
  document.getElementById("done").textContent = "tried";
})();
</script>"""

# Sends a form by itself, to an address that takes no CSRF token.
FORM = """<!DOCTYPE html><title>A page</title>
<form id=f method=post action="%(address)s/api/tap/async">
<input name=LANG value=ADQL><input name=QUERY value="SELECT 1 AS one FROM tap_schema.tables">
<input name=RUNID value=forged></form><script>document.getElementById("f").submit()</script>"""


@contextmanager
def site(page: str) -> Iterator[str]:
    """Serve one page from another site."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

        @override
        def log_message(self, format: str, *args: object) -> None:
            del format, args

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        # Another host than 127.0.0.1, so another site.
        yield f"http://localhost:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def minted(platform: Platform) -> list[str]:
    tokens = platform.context.tokens.list("alice")
    return [token.key for token in tokens if token.name == "minted"]


def forged(platform: Platform) -> list[str]:
    page = platform.context.jobs.page(principal_name="alice", limit=1000)
    return [job.job_id for job in page.jobs if job.run_id == "forged"]


def try_it(browser: BrowserContext, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    page.wait_for_function("document.getElementById('done').textContent === 'tried'")
    page.close()


def test_the_attack_works_where_nothing_stops_it(
    platform: Platform, browser: BrowserContext, enter: Callable[[str], None]
) -> None:
    """A page of the platform's own origin could do it: so no user's page may be one."""
    enter("alice")
    address = platform.serve("/user-made/plain", MINT % {"address": platform.address}, None)
    try_it(browser, address)
    found = minted(platform)
    assert len(found) == 1
    for key in found:
        session = platform.people.sessions["alice"]
        by = platform.context.authenticator.authenticate(session, address=None)
        platform.context.tokens.revoke(key, by=by)


@pytest.mark.parametrize("allowed", ["", " allow-scripts", " allow-scripts allow-forms"])
def test_a_sandboxed_page_mints_no_token(
    platform: Platform, browser: BrowserContext, enter: Callable[[str], None], allowed: str
) -> None:
    """Even where such pages may run scripts, as those of notebooks must."""
    enter("alice")
    path = f"/user-made/sandbox{len(allowed)}"
    address = platform.serve(
        path, MINT % {"address": platform.address}, f"{SANDBOX_POLICY}{allowed}"
    )
    if allowed:
        try_it(browser, address)
    else:
        page = browser.new_page()
        page.goto(address)
        page.wait_for_load_state("networkidle")
        assert page.locator("#done").inner_text() == "no", "no script ran at all"
        page.close()
    assert minted(platform) == []


def test_a_sandboxed_page_sends_no_form(
    platform: Platform, browser: BrowserContext, enter: Callable[[str], None]
) -> None:
    enter("alice")
    address = platform.serve(
        "/user-made/form",
        FORM % {"address": platform.address},
        f"{SANDBOX_POLICY} allow-scripts allow-forms",
    )
    page = browser.new_page()
    with page.expect_response("**/api/tap/async") as answer:
        page.goto(address, wait_until="commit")
    # The browser keeps the cookie back, or tells that the form comes from elsewhere.
    assert answer.value.status in {303, 403}
    page.wait_for_load_state("networkidle")
    page.close()
    assert forged(platform) == []


def test_another_site_mints_no_token(
    platform: Platform, browser: BrowserContext, enter: Callable[[str], None]
) -> None:
    enter("alice")
    with site(MINT % {"address": platform.address}) as address:
        try_it(browser, address)
    assert minted(platform) == []


def test_another_site_sends_no_form(
    platform: Platform, browser: BrowserContext, enter: Callable[[str], None]
) -> None:
    enter("alice")
    page = browser.new_page()
    with site(FORM % {"address": platform.address}) as address:
        with page.expect_response("**/api/tap/async") as answer:
            page.goto(address, wait_until="commit")
        assert answer.value.status in {303, 403}
        page.wait_for_load_state("networkidle")
    page.close()
    assert forged(platform) == []


def test_no_other_page_frames_ours(
    platform: Platform, browser: BrowserContext, enter: Callable[[str], None]
) -> None:
    """Or it could lay its own buttons over ours."""
    enter("alice")
    frame = f'<!DOCTYPE html><title>x</title><iframe src="{platform.address}/account"></iframe>'
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    with site(frame) as address:
        page.goto(address)
        page.wait_for_load_state("networkidle")
    assert any("frame-ancestors" in text for text in complaints)
    page.close()


def test_what_users_made_is_sandboxed(
    platform: Platform, browser: BrowserContext, enter: Callable[[str], None]
) -> None:
    """A result with a script in it, opened in the browser, is text of nobody's."""
    enter("alice")
    query = "SELECT TOP 1 '<script>x</script>' AS s FROM tap_schema.tables"
    answer = browser.request.get(
        f"{platform.address}/api/tap/sync",
        params={"LANG": "ADQL", "QUERY": query, "RESPONSEFORMAT": "votable/td"},
    )
    assert answer.status == 200, answer.text()
    assert answer.headers["content-security-policy"] == "sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "<script>" not in answer.text()
