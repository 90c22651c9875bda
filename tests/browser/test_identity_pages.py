"""The pages of login, account, groups and administration in Chromium, with axe-core."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page

from astrolabe.identity.authority import OPERATOR
from astrolabe.identity.limits import QuotaRule, SubjectKind
from astrolabe.identity.login_links import login_link_address
from astrolabe.identity.model import OpenIDClaims, PendingUser
from tests.login.support import PASSWORD

from .conftest import Platform

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

ANYBODYS = ("/", "/api/docs", "/auth/login", "/auth/link", "/auth/logout")
USERS = ("/account", "/groups", "/groups/astronomers", "/groups/nothing", "/admin")
ADMINISTRATORS = (
    "/admin",
    "/admin/users/carol",
    "/admin/groups",
    "/admin/quotas",
    "/admin/audit",
    "/groups/astronomers",
)


def check(page: Page) -> None:
    """Check that anybody can use the page, with axe-core."""
    results = Axe().run(page)
    found = results.response["violations"]
    assert not found, results.generate_report()
    # It did look at something.
    assert len(results.response["passes"]) > 10


@pytest.mark.parametrize("path", ANYBODYS)
def test_a_page_for_everybody(platform: Platform, page: Page, path: str) -> None:
    page.goto(platform.address + path)
    check(page)


@pytest.mark.parametrize("path", USERS)
def test_a_page_for_users(
    platform: Platform, page: Page, enter: Callable[[str], None], path: str
) -> None:
    enter("alice")
    invitations = platform.context.groups.invitations(username="bob")
    if not invitations:
        platform.context.groups.invite("astronomers", "bob", by=OPERATOR)
    page.goto(platform.address + path)
    check(page)


@pytest.mark.parametrize("path", ADMINISTRATORS)
def test_a_page_for_administrators(
    platform: Platform, page: Page, enter: Callable[[str], None], path: str
) -> None:
    enter("dora")
    context = platform.context
    if not context.openid_accounts.pending():
        pending = context.openid_accounts.from_openid("https://idp.example", "1", OpenIDClaims())
        assert isinstance(pending, PendingUser)
        context.openid_accounts.choose_name(pending.pending_id, "nina", approval=True)
    rule = QuotaRule(kind=SubjectKind.USER, subject="bob", quota="rows", value=5.0)
    context.quotas.set_rule(rule, by=OPERATOR)
    page.goto(platform.address + path)
    check(page)


def test_logging_in_making_a_token_and_logging_out(platform: Platform, page: Page) -> None:
    page.goto(f"{platform.address}/account")
    page.get_by_label("User name").fill("bob")
    page.get_by_label("Password").fill("not the one")
    page.get_by_role("button", name="Log in").click()
    assert page.get_by_role("alert").inner_text() == "The user name or the password is wrong."
    check(page)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{platform.address}/account")
    page.get_by_label("Name").fill("from the browser")
    page.get_by_label("read:image").check()
    page.get_by_role("button", name="Make the token").click()
    token = page.locator("#token").inner_text()
    check(page)
    answer = page.request.get(
        f"{platform.address}/api/me", headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.json()["scopes"] == ["read:image", "read:tap"]
    page.get_by_role("button", name="Revoke from the browser").click()
    assert page.get_by_role("status").inner_text() == "The token was revoked."
    page.get_by_role("button", name="Log out bob").click()
    assert "You are logged out." in page.get_by_role("main").inner_text()
    page.goto(f"{platform.address}/account")
    assert page.url.startswith(f"{platform.address}/auth/login")


def test_a_login_link(platform: Platform, page: Page, browser: BrowserContext) -> None:
    text = platform.context.users.create_login_link("carol", by=OPERATOR)
    page.goto(login_link_address(platform.address, text))
    assert page.get_by_label("Login code").input_value() == text
    # Nobody who looks at the screen, the history or a bookmark gets the code.
    assert page.url == f"{platform.address}/auth/link"
    check(page)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{platform.address}/account")
    assert "carol" in page.get_by_role("main").inner_text()
    cookies = {c["name"]: c for c in browser.cookies()}
    assert cookies["astrolabe"]["httpOnly"]
    assert cookies["astrolabe"]["sameSite"] == "Lax"
    assert "astrolabe" not in page.evaluate("document.cookie")


def test_the_keyboard_is_enough(platform: Platform, page: Page) -> None:
    page.goto(f"{platform.address}/auth/login")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.locator("#username").focus()
    page.keyboard.type("carol")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(f"{platform.address}/account")
