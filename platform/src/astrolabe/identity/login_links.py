"""One-time login links: how the owner of a new platform, or of a lost password, comes in."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection, delete, insert

from astrolabe.core.clock import utc_now
from astrolabe.identity.schema import LOGIN_LINK
from astrolabe.identity.token_text import hash_secret

__all__ = ["LOGIN_LINK_PATH", "end_links", "login_link_address", "make_link", "redeem_link"]

LOGIN_LINK_PATH: Final = "/auth/link"
"""Where links lead: a page whose button redeems the link, so that no preview uses it up."""


def login_link_address(public_url: str, text: str) -> str:
    """Return the address to open for a login link.

    The text stands behind ``#``, which browsers send to no server and so to no log.
    """
    return f"{public_url.rstrip('/')}{LOGIN_LINK_PATH}#{text}"


def make_link(connection: Connection, username: str, *, lifetime: timedelta) -> str:
    """Make a link for `username` and return its text; earlier ones of his end."""
    text = secrets.token_urlsafe(32)
    end_links(connection, username)
    now = utc_now()
    connection.execute(
        insert(LOGIN_LINK).values(
            link_hash=hash_secret(text), username=username, created=now, expires=now + lifetime
        )
    )
    return text


def redeem_link(connection: Connection, text: str) -> str | None:
    """Use a link up and return whose it was; `None` if it does not work (any more)."""
    row = connection.execute(
        # One statement: of two who redeem at once, one gets the row.
        delete(LOGIN_LINK)
        .where(LOGIN_LINK.c.link_hash == hash_secret(text))
        .returning(LOGIN_LINK.c.username, LOGIN_LINK.c.expires)
    ).one_or_none()
    return None if row is None or row.expires <= utc_now() else row.username


def end_links(connection: Connection, username: str) -> None:
    """End the links of a user."""
    connection.execute(delete(LOGIN_LINK).where(LOGIN_LINK.c.username == username))
