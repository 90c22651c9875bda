"""All services of people on one database, as the factory puts them together, but cheap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import update

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.identity.audit import AuditLog
from astrolabe.identity.authenticator import Authenticator
from astrolabe.identity.authority import OPERATOR
from astrolabe.identity.groups import GroupService
from astrolabe.identity.names import NameRegistry
from astrolabe.identity.openid_accounts import OpenIDAccounts
from astrolabe.identity.passwords import Passwords
from astrolabe.identity.principal import Principal
from astrolabe.identity.schema import TOKEN
from astrolabe.identity.scopes import ScopePolicy
from astrolabe.identity.throttle import LoginThrottle
from astrolabe.identity.tokens import TokenService
from astrolabe.identity.users import UserService

__all__ = ["PASSWORD", "People", "later", "old_login"]

PASSWORD = "correct horse battery"
USER_SCOPES = ("read:tap", "read:workspace", "user:token", "user:group", "exec:notebook")


class People:
    """One process's services; two of them on one database are two processes."""

    def __init__(
        self,
        database: Database,
        *,
        group_scopes: Mapping[str, Iterable[str]] | None = None,
        cache_seconds: float = 2.0,
        clock: Callable[[], float] | None = None,
        numbers: tuple[int, int] = (5000, 5999),
        groups_per_user: int = 3,
        tokens_per_user: int = 4,
    ) -> None:
        self.database = database
        self.policy = ScopePolicy(user_scopes=USER_SCOPES, group_scopes=group_scopes or {})
        self.names = NameRegistry(first_number=numbers[0], last_number=numbers[1])
        self.audit = AuditLog(database)
        self.tokens = TokenService(
            database,
            policy=self.policy,
            session_lifetime=timedelta(hours=2),
            user_lifetime=timedelta(days=30),
            user_limit=tokens_per_user,
        )
        self.groups = GroupService(
            database,
            names=self.names,
            policy=self.policy,
            audit=self.audit,
            groups_per_user=groups_per_user,
        )
        self.authenticator = Authenticator(
            database,
            policy=self.policy,
            cache_seconds=cache_seconds,
            # Tests write the times of last use themselves.
            flush_seconds=3600,
            **({} if clock is None else {"clock": clock}),
        )
        self.tokens.subscribe(self.authenticator.forget)
        self.groups.subscribe(self.authenticator.forget)
        self.throttle = LoginThrottle(database, account_attempts=3, address_attempts=6)
        self.users = UserService(
            database,
            names=self.names,
            policy=self.policy,
            passwords=Passwords(memory_mb=0.1, passes=1, lanes=1, shortest=10),
            throttle=self.throttle,
            tokens=self.tokens,
            audit=self.audit,
            link_lifetime=timedelta(hours=1),
        )
        self.openid = OpenIDAccounts(
            database,
            users=self.users,
            names=self.names,
            audit=self.audit,
            on_change=self.authenticator.forget,
        )

    def user(self, name: str, *groups: str, password: str | None = None) -> str:
        """Make an account and return its name."""
        self.users.create(name, password=password, groups=groups, by=OPERATOR)
        return name

    def session(self, name: str, **changes: Any) -> Principal:
        """Log somebody in, just now."""
        return self.authenticator.authenticate(self.session_token(name, **changes), address=None)

    def session_token(self, name: str, **changes: Any) -> str:
        """Log somebody in and return the token."""
        options: dict[str, Any] = {"address": "192.0.2.1", "authenticated": utc_now()}
        return self.tokens.create_session(name, **(options | changes)).text

    def expire(self, key: str) -> None:
        """Let a token's time be over."""
        with self.database.write() as connection:
            connection.execute(
                update(TOKEN)
                .where(TOKEN.c.token_key == key)
                .values(expires=utc_now() - timedelta(seconds=1))
            )
        self.authenticator.forget([key])


def old_login(principal: Principal) -> Principal:
    """Return the same caller with a login of sixteen minutes ago."""
    return replace(principal, authenticated=utc_now() - timedelta(minutes=16))


def later(**delta: float) -> Any:
    """Return a time from now on."""
    return utc_now() + timedelta(**delta)
