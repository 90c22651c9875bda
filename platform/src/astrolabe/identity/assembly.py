"""Puts the services of people together, from the settings alone.

The factory uses it for every process; the supervisor, which must start fast and stay small, uses
it without the factory and its engines.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from typing import Protocol

from astrolabe.core.database import Database
from astrolabe.identity.audit import AuditLog
from astrolabe.identity.authenticator import Authenticator
from astrolabe.identity.groups import GroupService
from astrolabe.identity.names import NameRegistry
from astrolabe.identity.openid_accounts import OpenIDAccounts
from astrolabe.identity.passwords import Passwords
from astrolabe.identity.scopes import ScopePolicy
from astrolabe.identity.throttle import LoginThrottle
from astrolabe.identity.tokens import TokenService
from astrolabe.identity.users import UserService

__all__ = ["PeopleOptions", "PeopleServices"]


# ruff: noqa: D102 - each option is described where the settings are


class PeopleOptions(Protocol):
    """What the services need of the settings section ``auth``."""

    @property
    def user_scopes(self) -> tuple[str, ...]: ...
    @property
    def group_scopes(self) -> Mapping[str, tuple[str, ...]]: ...
    @property
    def groups_per_user(self) -> int: ...
    @property
    def tokens_per_user(self) -> int: ...
    @property
    def session_hours(self) -> float: ...
    @property
    def token_days(self) -> float: ...
    @property
    def login_link_hours(self) -> float: ...
    @property
    def cache_seconds(self) -> float: ...
    @property
    def account_attempts(self) -> int: ...
    @property
    def address_attempts(self) -> int: ...
    @property
    def password_characters(self) -> int: ...
    @property
    def argon2_memory_mb(self) -> float: ...
    @property
    def argon2_passes(self) -> int: ...
    @property
    def argon2_lanes(self) -> int: ...
    @property
    def first_number(self) -> int: ...
    @property
    def last_number(self) -> int: ...


class PeopleServices:
    """One process's services of people; each is made when it is first asked for.

    Parameters
    ----------
    database
        The control database.
    options
        The settings section ``auth``.
    """

    def __init__(self, database: Database, options: PeopleOptions) -> None:
        self._database = database
        self._options = options

    def close(self) -> None:
        """Write what is not written yet."""
        if "authenticator" in vars(self):
            self.authenticator.close()

    @cached_property
    def scope_policy(self) -> ScopePolicy:
        """What groups allow."""
        options = self._options
        return ScopePolicy(user_scopes=options.user_scopes, group_scopes=options.group_scopes)

    @cached_property
    def names(self) -> NameRegistry:
        """Gives names and numbers to users and groups."""
        options = self._options
        return NameRegistry(first_number=options.first_number, last_number=options.last_number)

    @cached_property
    def audit(self) -> AuditLog:
        """What was done to people, groups, rights and quotas."""
        return AuditLog(self._database)

    @cached_property
    def tokens(self) -> TokenService:
        """Makes and ends tokens."""
        options = self._options
        return TokenService(
            self._database,
            policy=self.scope_policy,
            session_lifetime=timedelta(hours=options.session_hours),
            user_lifetime=timedelta(days=options.token_days),
            user_limit=options.tokens_per_user,
        )

    @cached_property
    def groups(self) -> GroupService:
        """Makes, changes and ends groups."""
        return GroupService(
            self._database,
            names=self.names,
            policy=self.scope_policy,
            audit=self.audit,
            groups_per_user=self._options.groups_per_user,
        )

    @cached_property
    def authenticator(self) -> Authenticator:
        """From a token to a principal."""
        authenticator = Authenticator(
            self._database,
            policy=self.scope_policy,
            cache_seconds=self._options.cache_seconds,
        )
        self.tokens.subscribe(authenticator.forget)
        self.groups.subscribe(authenticator.forget)
        return authenticator

    @cached_property
    def throttle(self) -> LoginThrottle:
        """Slows down who guesses passwords."""
        options = self._options
        return LoginThrottle(
            self._database,
            account_attempts=options.account_attempts,
            address_attempts=options.address_attempts,
        )

    @cached_property
    def users(self) -> UserService:
        """Accounts: made, logged in to, changed and ended."""
        options = self._options
        return UserService(
            self._database,
            names=self.names,
            policy=self.scope_policy,
            passwords=Passwords(
                memory_mb=options.argon2_memory_mb,
                passes=options.argon2_passes,
                lanes=options.argon2_lanes,
                shortest=options.password_characters,
            ),
            throttle=self.throttle,
            tokens=self.tokens,
            audit=self.audit,
            link_lifetime=timedelta(hours=options.login_link_hours),
        )

    @cached_property
    def openid_accounts(self) -> OpenIDAccounts:
        """Accounts of people who log in at an OpenID Connect provider."""
        return OpenIDAccounts(
            self._database,
            users=self.users,
            names=self.names,
            audit=self.audit,
            on_change=self.authenticator.forget,
        )
