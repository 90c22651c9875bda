"""Accounts: made, logged in to, changed and ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Connection, delete, update

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import (
    ConflictError,
    ForbiddenError,
    UnauthenticatedError,
)
from astrolabe.core.logging import get_logger
from astrolabe.identity import accounts, login_links, membership
from astrolabe.identity.audit import AuditLog
from astrolabe.identity.authority import (
    PLATFORM,
    actor_name,
    require_recent_login,
    require_scope,
)
from astrolabe.identity.model import AccountEnd, Role, User, UserStatus
from astrolabe.identity.names import NameRegistry, check_name, is_name
from astrolabe.identity.passwords import Passwords
from astrolabe.identity.principal import Principal
from astrolabe.identity.schema import INVITATION, MEMBER, USER
from astrolabe.identity.scopes import ADMIN_GROUP, ScopePolicy
from astrolabe.identity.throttle import LoginThrottle
from astrolabe.identity.token_rows import groups_of
from astrolabe.identity.tokens import TokenService
from astrolabe.identity.user_reader import UserReader

__all__ = ["OWNER", "UserService"]

_log = get_logger(__name__)

OWNER: Final = "owner"
"""The first account of a platform, an administrator."""


class UserService(UserReader):
    """Everything about accounts but their tokens and groups.

    Parameters
    ----------
    database
        The control database.
    names
        Gives names and uids.
    policy
        What groups allow.
    passwords
        Hashes and checks passwords.
    throttle
        Slows down who guesses them.
    tokens
        Ends the tokens of an account that ends.
    audit
        Where changes are written down.
    link_lifetime
        How long a login link works.
    """

    def __init__(
        self,
        database: Database,
        *,
        names: NameRegistry,
        policy: ScopePolicy,
        passwords: Passwords,
        throttle: LoginThrottle,
        tokens: TokenService,
        audit: AuditLog,
        link_lifetime: timedelta,
    ) -> None:
        super().__init__(database)
        self._names = names
        self._policy = policy
        self._passwords = passwords
        self._throttle = throttle
        self._tokens = tokens
        self._audit = audit
        self._link_lifetime = link_lifetime
        self._on_end: list[Callable[[AccountEnd], None]] = []

    def on_end(self, callback: Callable[[AccountEnd], None]) -> None:
        """Call `callback` after an account was disabled or deleted, its tokens being dead."""
        self._on_end.append(callback)

    def ensure_owner(self) -> bool:
        """Make the account `owner` and the administrators' group where neither ever was.

        Returns
        -------
        bool
            Whether they were made: this is the platform's first start.
        """
        with self._database.read() as connection:
            if membership.is_group(connection, ADMIN_GROUP):
                return False
        with self._database.write() as connection:
            # The name registry is locked by the first of several who start at once.
            self._names.lock(connection)
            if membership.is_group(connection, ADMIN_GROUP):
                return False
            accounts.insert_account(connection, self._names, OWNER, full_name="Owner")
            membership.make_group(
                connection,
                self._names,
                ADMIN_GROUP,
                description="Administrators of the platform: they have every scope.",
                created_by=None,
            )
            membership.put_member(connection, ADMIN_GROUP, OWNER, role=Role.OWNER, added_by=None)
            self._record(connection, PLATFORM, "user.create", OWNER, {"groups": [ADMIN_GROUP]})
        return True

    def create(
        self,
        name: str,
        *,
        password: str | None = None,
        full_name: str = "",
        email: str = "",
        groups: Iterable[str] = (),
        by: Principal,
        address: str | None = None,
    ) -> User:
        """Make a local account.

        Parameters
        ----------
        name
            Its name, which nobody may have had before.
        password
            Without one the user comes in by a login link.
        full_name, email
            May be empty.
        groups
            Groups to put it into at once.
        by
            An administrator with a recent login.
        address
            Where the request came from.

        Raises
        ------
        BadParameterError
            Raised if the name, the password or another value is not allowed.
        ConflictError
            Raised if the name is or was taken.
        ForbiddenError
            Raised if the caller may not, or a group gives a scope that he has not.
        NotFoundError
            Raised if there is no such group.
        """
        require_scope(by, "admin:user")
        require_recent_login(by)
        check_name(name)
        person = accounts.checked_person(full_name, email)
        into = tuple(dict.fromkeys(groups))
        stored = None
        if password is not None:
            self._passwords.check_form(password, username=name)
            stored = self._passwords.hash(password)
        with self._database.write() as connection:
            user = accounts.insert_account(
                connection,
                self._names,
                name,
                full_name=person[0],
                email=person[1],
                password_hash=stored,
            )
            for group in into:
                membership.lock_groups(connection, group)
                membership.put_member(
                    connection, group, name, role=Role.MEMBER, added_by=actor_name(by)
                )
            if not by.scopes >= self._policy.allowed(groups_of(connection, name)):
                raise ForbiddenError("A group gives scopes that you do not have yourself.")
            self._record(connection, by, "user.create", name, {"groups": list(into)}, address)
        return user

    def update(
        self,
        name: str,
        *,
        full_name: str | None = None,
        email: str | None = None,
        by: Principal,
        address: str | None = None,
    ) -> User:
        """Change how a user is called or reached; `None` leaves it.

        Raises
        ------
        NotFoundError, ForbiddenError
            Raised if there is no such account, or the caller may not change it.
        BadParameterError
            Raised if a value is not allowed.
        """
        with self._database.write() as connection:
            row = accounts.lock_account(connection, name)
            if by.username == name:
                require_recent_login(by)
            else:
                self._require_power(connection, by, name)
            person = accounts.checked_person(
                row.full_name if full_name is None else full_name,
                row.email if email is None else email,
            )
            connection.execute(
                update(USER)
                .where(USER.c.username == name)
                .values(full_name=person[0], email=person[1])
            )
            self._record(connection, by, "user.update", name, {}, address)
        return self.get(name)

    def login(self, name: str, password: str, *, address: str | None) -> User:
        """Check a password.

        Takes the time of one hash whether there is such an account or not.

        Parameters
        ----------
        name, password
            As they were typed.
        address
            Where the attempt comes from; `None` for commands.

        Raises
        ------
        UnauthenticatedError
            Raised if the two do not belong together, or the account is disabled.
        QuotaExceededError
            Raised if one has to wait, after too many failures, before the next attempt.
        """
        wanted = name.strip()
        self._throttle.begin(wanted if is_name(wanted) else "", address)
        with self._database.read() as connection:
            row = connection.execute(
                accounts.accounts().where(USER.c.username == wanted)
            ).one_or_none()
        if not self._passwords.verify(password, None if row is None else row.password_hash):
            # A name that nobody has may be a password in the wrong field.
            known = None if row is None else wanted
            _log.info("login refused", username=known, address=address)
            raise UnauthenticatedError("The user name or the password is wrong.")
        assert row is not None  # noqa: S101 - a password was right, so there is an account
        self._throttle.succeeded(wanted, address)
        if self._passwords.is_outdated(row.password_hash):
            renewed = self._passwords.hash(password)
            with self._database.write() as connection:
                accounts.renew_hash(connection, wanted, row.password_hash, renewed)
        return self.admit(wanted)

    def admit(self, name: str) -> User:
        """Note that somebody has proved to be this user; the last step of every kind of login.

        Raises
        ------
        UnauthenticatedError
            Raised if the account is disabled or was deleted.
        """
        with self._database.write() as connection:
            done = connection.execute(
                update(USER)
                .where(USER.c.username == name, USER.c.status == UserStatus.ACTIVE)
                .values(last_login=utc_now())
            )
        if done.rowcount == 0:
            raise UnauthenticatedError("This account is disabled; ask an administrator.")
        return self.get(name)

    def set_password(
        self,
        name: str,
        password: str,
        *,
        by: Principal,
        address: str | None = None,
    ) -> None:
        """Give an account another password; its other sessions end.

        Parameters
        ----------
        name
            Whose.
        password
            The new one.
        by
            The user himself or an administrator, with a recent login.
        address
            Where the request came from.

        Raises
        ------
        NotFoundError, ForbiddenError
            Raised if there is no such account, or the caller may not change it.
        BadParameterError
            Raised if the password is not fit for use.
        """
        own = by.username == name
        require_recent_login(by)
        self._passwords.check_form(password, username=name)
        stored = self._passwords.hash(password)
        with self._database.write() as connection:
            accounts.lock_account(connection, name)
            if not own:
                self._require_power(connection, by, name)
            elif not by.scopes >= self._policy.allowed(groups_of(connection, name)):
                raise ForbiddenError(
                    "This session was made for less than you may do, so it cannot change what "
                    "opens a whole one."
                )
            connection.execute(
                update(USER).where(USER.c.username == name).values(password_hash=stored)
            )
            login_links.end_links(connection, name)
            ended = self._tokens.revoke_all(
                name,
                actor=actor_name(by),
                reason="password changed",
                address=address,
                kinds=("session",),
                keep=by.token_key if own else None,
                connection=connection,
            )
            self._record(connection, by, "user.password", name, {}, address)
        self._tokens.tell(ended)

    def create_login_link(self, name: str, *, by: Principal, address: str | None = None) -> str:
        """Make a link that logs in as `name` once, and return its text; earlier ones end.

        `astrolabe.identity.login_links.login_link_address` makes the address of it.

        Raises
        ------
        NotFoundError, ForbiddenError
            Raised if there is no such account, or the caller may not act for it.
        ConflictError
            Raised if the account is disabled.
        """
        with self._database.write() as connection:
            row = accounts.lock_account(connection, name)
            self._require_power(connection, by, name)
            if row.status != UserStatus.ACTIVE:
                raise ConflictError(f"The account {name} is disabled; enable it first.")
            text = login_links.make_link(connection, name, lifetime=self._link_lifetime)
            self._record(connection, by, "user.login-link", name, {}, address)
        return text

    def redeem_login_link(self, text: str, *, address: str | None) -> User:
        """Log in by a link, which is used up.

        Raises
        ------
        UnauthenticatedError
            Raised if the link was used, has expired or never was one, or the account is disabled.
        """
        with self._database.write() as connection:
            name = login_links.redeem_link(connection, text)
            if name is not None:
                self._audit.record(
                    name, "user.link-used", name, None, address, connection=connection
                )
        if name is None:
            raise UnauthenticatedError(
                "This login link was used already or has expired; ask for a new one."
            )
        return self.admit(name)

    def disable(self, name: str, *, by: Principal, address: str | None = None) -> None:
        """Take an account out of use: its tokens die, its jobs end, its data is kept.

        Raises
        ------
        NotFoundError, ForbiddenError
            Raised if there is no such account, or the caller may not change it.
        ConflictError
            Raised if it is the last administrator's.
        """
        with self._database.write() as connection:
            accounts.lock_account(connection, name)
            self._require_power(connection, by, name)
            membership.check_not_last_administrator(connection, name)
            connection.execute(
                update(USER).where(USER.c.username == name).values(status=UserStatus.DISABLED)
            )
            ended = self._end_access(connection, name, by, "account disabled", address)
            self._record(connection, by, "user.disable", name, {}, address)
        self._ended(ended, AccountEnd(username=name, deleted=False, hand_over_to=None))

    def enable(self, name: str, *, by: Principal, address: str | None = None) -> None:
        """Put an account into use again; its tokens stay dead.

        Raises
        ------
        NotFoundError, ForbiddenError
            Raised if there is no such account, or the caller may not change it.
        """
        with self._database.write() as connection:
            accounts.lock_account(connection, name)
            self._require_power(connection, by, name)
            connection.execute(
                update(USER).where(USER.c.username == name).values(status=UserStatus.ACTIVE)
            )
            self._record(connection, by, "user.enable", name, {}, address)

    def delete(
        self,
        name: str,
        *,
        hand_over_to: str | None = None,
        by: Principal,
        address: str | None = None,
    ) -> None:
        """End an account for ever: tokens die, jobs end, who it was is forgotten.

        The name is never given again.

        Parameters
        ----------
        name
            Whose.
        hand_over_to
            Who gets its groups and data; without anybody data is kept as it is, and its groups
            are left to the administrators.
        by, address
            Who deletes it, and from where.

        Raises
        ------
        NotFoundError, ForbiddenError
            Raised if there is no such account, or the caller may not change it.
        ConflictError
            Raised if it is the last administrator's, or is to be handed over to itself.
        """
        if hand_over_to == name:
            raise ConflictError("An account cannot be handed over to itself.")
        with self._database.write() as connection:
            accounts.lock_account(connection, name)
            self._require_power(connection, by, name)
            membership.check_not_last_administrator(connection, name)
            if hand_over_to is not None:
                # What gives scopes is not inherited: an administrator says who gets it.
                given = self._policy.groups
                membership.hand_over_groups(
                    connection, name, hand_over_to, added_by=actor_name(by), but=given
                )
            connection.execute(delete(MEMBER).where(MEMBER.c.member == name))
            connection.execute(delete(INVITATION).where(INVITATION.c.username == name))
            ended = self._end_access(connection, name, by, "account deleted", address)
            accounts.erase(connection, self._names, name)
            detail = {"hand_over_to": hand_over_to}
            self._record(connection, by, "user.delete", name, detail, address)
        self._ended(ended, AccountEnd(username=name, deleted=True, hand_over_to=hand_over_to))

    def _require_power(self, connection: Connection, by: Principal, name: str) -> None:
        """Check that the caller administers users, and this one is not above him."""
        require_scope(by, "admin:user")
        require_recent_login(by)
        if not by.scopes >= self._policy.allowed(groups_of(connection, name)):
            raise ForbiddenError(
                f"{name} may do what you may not, so only an administrator who may do it all "
                "can change that account."
            )

    def _end_access(
        self, connection: Connection, name: str, by: Principal, reason: str, address: str | None
    ) -> tuple[str, ...]:
        login_links.end_links(connection, name)
        membership.end_invitations(connection, invited_by=name)
        return self._tokens.revoke_all(
            name, actor=actor_name(by), reason=reason, address=address, connection=connection
        )

    def _ended(self, keys: tuple[str, ...], end: AccountEnd) -> None:
        self._tokens.tell(keys)
        for callback in tuple(self._on_end):
            callback(end)

    def _record(
        self,
        connection: Connection,
        by: Principal,
        action: str,
        name: str,
        detail: dict[str, Any],
        address: str | None = None,
    ) -> None:
        self._audit.record(actor_name(by), action, name, detail, address, connection=connection)
