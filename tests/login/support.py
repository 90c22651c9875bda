"""Some people with tokens of every sort, and clients that come as one of them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import update

from astrolabe.config import ServerSettings, Settings
from astrolabe.config.auth import AuthSettings
from astrolabe.core.clock import utc_now
from astrolabe.factory import ProcessContext
from astrolabe.identity.authority import OPERATOR
from astrolabe.identity.model import Role
from astrolabe.identity.schema import TOKEN

ADDRESS = "https://astrolabe.example"
PASSWORD = "a long and quiet walk"
COOKIE = "__Host-astrolabe"

ALL_USER_SCOPES = (
    "exec:notebook",
    "read:alert",
    "read:image",
    "read:tap",
    "read:workspace",
    "user:group",
    "user:token",
    "write:table",
    "write:workspace",
)


def settings_of(home: Path, **auth: Any) -> Settings:
    """Return settings with passwords that cost little to check."""
    return Settings(
        home=home,
        server=ServerSettings(public_url=ADDRESS, title="Test & Trial"),
        auth=AuthSettings(**{"argon2_memory_mb": 1, "argon2_passes": 1, "cache_seconds": 0} | auth),
    )


@dataclass(frozen=True)
class People:
    """The text of one token of each sort.

    alice and bob are users, carol is in alice's group astronomers, dora is an administrator.
    """

    sessions: dict[str, str]
    tokens: dict[str, str]
    expired: str
    unfit: str
    old_session: str

    def bearer(self, name: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens[name]}"}


def make_people(home: Path) -> People:
    """Make the people of a home."""
    with ProcessContext.open(settings_of(home)) as context:
        context.users.ensure_owner()
        for name in ("alice", "bob", "carol"):
            context.users.create(name, password=PASSWORD, by=OPERATOR)
        context.users.create("dora", password=PASSWORD, groups=["admins"], by=OPERATOR)
        context.groups.create("astronomers", owner="alice", by=OPERATOR)
        context.groups.add("astronomers", "carol", role=Role.MEMBER, by=OPERATOR)

        def session(name: str, age: timedelta = timedelta(0)) -> str:
            made = context.tokens.create_session(name, address=None, authenticated=utc_now() - age)
            return made.text

        def token(name: str, label: str, scopes: Iterable[str]) -> str:
            made = context.tokens.create_for(name, name=label, scopes=scopes, by=OPERATOR)
            return made.text

        names = ("alice", "bob", "carol", "dora")
        every = (*ALL_USER_SCOPES, "admin:user", "admin:platform", "write:alert")
        people = People(
            sessions={name: session(name) for name in names},
            tokens={
                name: token(name, "all", every if name == "dora" else ALL_USER_SCOPES)
                for name in names
            },
            expired=token("alice", "expired", ["read:tap"]),
            unfit=token("alice", "unfit", ["write:workspace"]),
            old_session=session("alice", timedelta(minutes=16)),
        )
        with context.database.write() as connection:
            connection.execute(
                update(TOKEN)
                .where(TOKEN.c.token_key == key_of(people.expired))
                .values(expires=utc_now() - timedelta(seconds=1))
            )
        return people


def key_of(token: str) -> str:
    """Return the public half of a token."""
    return token.removeprefix("al-").partition(".")[0]


@asynccontextmanager
async def client_of(app: FastAPI, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of an application that runs already."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url=ADDRESS, timeout=30, **options
    ) as client:
        yield client


async def csrf_of(client: httpx.AsyncClient) -> dict[str, str]:
    """Return the header that changes by this client's cookie need."""
    document = (await client.get("/auth/api/v1/session")).json()
    return {"X-CSRF-Token": document["csrf_token"]}


def form_token(page: str) -> str:
    """Return the token of a page's form."""
    found = re.search(r'name="csrf_token" value="([0-9a-f]{64})"', page)
    assert found is not None, page
    return found[1]
