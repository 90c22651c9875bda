"""Accounts of people who log in at an OpenID Connect provider.

Such an account is a pair (issuer, subject); e-mail addresses and names are shown but never decide
who somebody is (OpenID Connect Core 1.0, section 5.7).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import BadParameterError, ConflictError, NotFoundError
from astrolabe.core.ids import new_job_id
from astrolabe.core.logging import get_logger
from astrolabe.identity import accounts, membership
from astrolabe.identity.audit import AuditLog
from astrolabe.identity.authority import (
    PLATFORM,
    actor_name,
    require_recent_login,
    require_scope,
)
from astrolabe.identity.model import OpenIDClaims, PendingState, PendingUser, Role, User
from astrolabe.identity.names import RESERVED_NAMES, NameRegistry, check_name, is_name
from astrolabe.identity.principal import Principal
from astrolabe.identity.schema import GROUP, MEMBER, NAME, OPENID_ACCOUNT, PENDING, USER
from astrolabe.identity.users import UserService

__all__ = ["OpenIDAccounts"]

_log = get_logger(__name__)

_GROUPS_AT_MOST = 500


class OpenIDAccounts:
    """From a provider's claims to an account.

    Parameters
    ----------
    database
        The control database.
    users
        Admits who has an account.
    names
        Gives names and numbers.
    audit
        Where changes are written down.
    on_change
        Called after each change of memberships.
    """

    def __init__(
        self,
        database: Database,
        *,
        users: UserService,
        names: NameRegistry,
        audit: AuditLog,
        on_change: Callable[[], None],
    ) -> None:
        self._database = database
        self._users = users
        self._names = names
        self._audit = audit
        self._on_change = on_change

    def from_openid(self, issuer: str, subject: str, claims: OpenIDClaims) -> User | PendingUser:
        """Return the account of somebody who has just logged in at a provider.

        At each login his name, address and groups are taken over anew.  Groups that the claims
        name and that do not exist are made; one that was made here is left alone, so that no
        claim puts anybody into a group that only looks the same.

        Parameters
        ----------
        issuer, subject
            Who he is; the caller has checked the provider's signature.
        claims
            What the provider says about him.

        Returns
        -------
        User or PendingUser
            The account, or what is still to be done before there is one: `choose_name`, or an
            administrator's `approve`.

        Raises
        ------
        UnauthenticatedError
            Raised if the account is disabled.
        BadParameterError
            Raised if issuer or subject is longer than a provider may make it.
        """
        if not (0 < len(issuer) <= 512 and 0 < len(subject) <= 256):
            raise BadParameterError(
                "The provider's issuer or subject has not 1 to 512 or 1 to 256 characters."
            )
        with self._database.write() as connection:
            username = _account_of(connection, issuer, subject)
            if username is None:
                return self._pend(connection, issuer, subject, claims)
            self._refresh(connection, username, claims)
        self._on_change()
        return self._users.admit(username)

    def choose_name(
        self, pending_id: str, name: str, *, approval: bool, address: str | None = None
    ) -> User | PendingUser:
        """Take the name that somebody chose at his first login.

        Parameters
        ----------
        pending_id
            Of `PendingUser`; the caller has bound it to the browser that logged in.
        name
            The chosen name, which never changes.
        approval
            Whether an administrator has to approve of the account.
        address
            Where the request came from.

        Returns
        -------
        User or PendingUser
            The new account, or the same first login, now waiting for approval.

        Raises
        ------
        NotFoundError
            Raised if there is no such first login.
        BadParameterError, ConflictError
            Raised if the name is not allowed, or is or was taken.
        """
        check_name(name)
        with self._database.write() as connection:
            row = _lock_pending(connection, pending_id)
            self._names.lock(connection)
            _check_free(connection, name, pending_id)
            if approval:
                connection.execute(
                    update(PENDING)
                    .where(PENDING.c.pending_id == pending_id)
                    .values(state=PendingState.WAITING, requested_name=name)
                )
                self._audit.record(
                    name,
                    "user.request",
                    name,
                    {"issuer": row.issuer},
                    address,
                    connection=connection,
                )
                return _pending_of(_lock_pending(connection, pending_id))
            self._open(connection, row, name, actor=name, address=address)
        self._on_change()
        return self._users.admit(name)

    def pending(self) -> tuple[PendingUser, ...]:
        """Return the first logins that wait for approval, the oldest first."""
        query = (
            select(PENDING)
            .where(PENDING.c.state == PendingState.WAITING)
            .order_by(PENDING.c.created)
        )
        with self._database.read() as connection:
            return tuple(_pending_of(row) for row in connection.execute(query))

    def get_pending(self, pending_id: str) -> PendingUser:
        """Return a first login.

        Raises
        ------
        NotFoundError
            Raised if there is none.
        """
        with self._database.read() as connection:
            row = connection.execute(
                select(PENDING).where(PENDING.c.pending_id == pending_id)
            ).one_or_none()
        if row is None:
            raise NotFoundError("There is no such first login; log in again.")
        return _pending_of(row)

    def approve(self, name: str, *, by: Principal, address: str | None = None) -> User:
        """Make the account that somebody asked for under this name.

        Raises
        ------
        NotFoundError
            Raised if nobody has.
        ForbiddenError
            Raised if the caller is no administrator with a recent login.
        ConflictError
            Raised if the name was taken meanwhile.
        """
        require_scope(by, "admin:user")
        require_recent_login(by)
        with self._database.write() as connection:
            row = _lock_requested(connection, name)
            self._open(connection, row, name, actor=actor_name(by), address=address)
        self._on_change()
        return self._users.get(name)

    def refuse(self, name: str, *, by: Principal, address: str | None = None) -> None:
        """Forget the request for an account under this name; the name stays free.

        Raises
        ------
        NotFoundError, ForbiddenError
            Raised as by `approve`.
        """
        require_scope(by, "admin:user")
        require_recent_login(by)
        with self._database.write() as connection:
            row = _lock_requested(connection, name)
            connection.execute(delete(PENDING).where(PENDING.c.pending_id == row.pending_id))
            self._audit.record(
                actor_name(by),
                "user.refuse",
                name,
                {"issuer": row.issuer},
                address,
                connection=connection,
            )

    def identities(self, username: str) -> tuple[tuple[str, str], ...]:
        """Return the pairs (issuer, subject) that log in as a user."""
        query = select(OPENID_ACCOUNT).where(OPENID_ACCOUNT.c.username == username)
        with self._database.read() as connection:
            return tuple((row.issuer, row.subject) for row in connection.execute(query))

    def _pend(
        self, connection: Connection, issuer: str, subject: str, claims: OpenIDClaims
    ) -> PendingUser:
        """Note a first login, or what the provider says anew about one that waits."""
        where = (PENDING.c.issuer == issuer, PENDING.c.subject == subject)
        row = connection.execute(select(PENDING).where(*where).with_for_update()).one_or_none()
        full_name, email = _person(claims)
        values: dict[str, Any] = {
            "full_name": full_name,
            "email": email,
            "uid": claims.uid,
            "claim_groups": list(_usable(claims.groups)),
            "suggested_name": _suggestion(connection, claims.suggested_name),
        }
        if row is None:
            connection.execute(
                insert(PENDING).values(
                    pending_id=new_job_id(),
                    issuer=issuer,
                    subject=subject,
                    state=PendingState.NAMING,
                    created=utc_now(),
                    **values,
                )
            )
        else:
            if row.requested_name is not None and _is_taken(connection, row.requested_name):
                # An administrator gave the name away: choose another one.
                values |= {"state": PendingState.NAMING, "requested_name": None}
            connection.execute(update(PENDING).where(*where).values(values))
        return _pending_of(connection.execute(select(PENDING).where(*where)).one())

    def _open(
        self,
        connection: Connection,
        row: Row[*tuple[Any, ...]],
        name: str,
        *,
        actor: str,
        address: str | None,
    ) -> None:
        """Make the account of a first login."""
        accounts.insert_account(
            connection,
            self._names,
            name,
            full_name=row.full_name,
            email=row.email,
            uid=row.uid,
        )
        connection.execute(
            insert(OPENID_ACCOUNT).values(issuer=row.issuer, subject=row.subject, username=name)
        )
        connection.execute(delete(PENDING).where(PENDING.c.pending_id == row.pending_id))
        self._take_over_groups(connection, name, tuple(row.claim_groups))
        self._audit.record(
            actor, "user.create", name, {"issuer": row.issuer}, address, connection=connection
        )

    def _refresh(self, connection: Connection, username: str, claims: OpenIDClaims) -> None:
        full_name, email = _person(claims)
        # What the provider does not say is not erased.
        changes = {k: v for k, v in (("full_name", full_name), ("email", email)) if v}
        if changes:
            connection.execute(update(USER).where(USER.c.username == username).values(changes))
        if claims.groups is not None:
            self._take_over_groups(connection, username, _usable(claims.groups))

    def _take_over_groups(
        self, connection: Connection, username: str, wanted: tuple[str, ...]
    ) -> None:
        """Make the memberships that come from claims just those in `wanted`."""
        present = frozenset(
            connection.execute(
                select(MEMBER.c.group_name).where(
                    MEMBER.c.member == username, MEMBER.c.from_claims.is_(True)
                )
            ).scalars()
        )
        gone = present.difference(wanted)
        for group in sorted(gone):
            membership.take_member(connection, group, username)
        joined: list[str] = []
        for group in sorted(set(wanted) - present):
            if not self._is_claimed(connection, group):
                continue
            if membership.role_of(connection, group, username) is None:
                membership.put_member(
                    connection, group, username, role=Role.MEMBER, added_by=None, from_claims=True
                )
                joined.append(group)
        if joined or gone:
            detail = {"joined": joined, "left": sorted(gone)}
            self._audit.record(
                PLATFORM.username or "platform",
                "user.groups",
                username,
                detail,
                connection=connection,
            )

    def _is_claimed(self, connection: Connection, group: str) -> bool:
        """Whether claims decide about a group; makes it if nobody ever had the name."""
        query = select(GROUP.c.from_claims).where(GROUP.c.group_name == group)
        found = connection.execute(query).scalar()
        if found is None:
            # Two who log in at once may both bring a new group.
            self._names.lock(connection)
            found = connection.execute(query).scalar()
        if found is None and not _is_taken(connection, group):
            membership.make_group(
                connection,
                self._names,
                group,
                description="Its members come from the login provider.",
                created_by=None,
                from_claims=True,
            )
            return True
        if not found:
            _log.warning("a group of the login provider has a name that is taken", group=group)
        return bool(found)


def _account_of(connection: Connection, issuer: str, subject: str) -> str | None:
    name: str | None = connection.execute(
        select(OPENID_ACCOUNT.c.username).where(
            OPENID_ACCOUNT.c.issuer == issuer, OPENID_ACCOUNT.c.subject == subject
        )
    ).scalar()
    return name


def _is_taken(connection: Connection, name: str) -> bool:
    return connection.execute(select(NAME.c.name).where(NAME.c.name == name)).first() is not None


def _check_free(connection: Connection, name: str, pending_id: str) -> None:
    requested = select(PENDING.c.pending_id).where(
        PENDING.c.requested_name == name, PENDING.c.pending_id != pending_id
    )
    if _is_taken(connection, name) or connection.execute(requested).first() is not None:
        raise ConflictError(f"The name {name!r} is taken or was once; choose another one.")


def _lock_pending(connection: Connection, pending_id: str) -> Row[*tuple[Any, ...]]:
    row = connection.execute(
        select(PENDING).where(PENDING.c.pending_id == pending_id).with_for_update()
    ).one_or_none()
    if row is None:
        raise NotFoundError("There is no such first login; log in again.")
    return row


def _lock_requested(connection: Connection, name: str) -> Row[*tuple[Any, ...]]:
    row = connection.execute(
        select(PENDING).where(PENDING.c.requested_name == name).with_for_update()
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"Nobody waits for an account named {name[:64]}.")
    return row


def _person(claims: OpenIDClaims) -> tuple[str, str]:
    """Return what can be shown; a provider's odd values are no reason to refuse a login."""
    name = " ".join(claims.full_name.split())[:200]
    try:
        return accounts.checked_person(name, claims.email)
    except BadParameterError:
        return (name if name.isprintable() else ""), ""


def _usable(groups: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the groups whose names may stand here, once each."""
    named = dict.fromkeys(groups or ())
    return tuple(g for g in named if is_name(g) and g not in RESERVED_NAMES)[:_GROUPS_AT_MOST]


def _suggestion(connection: Connection, wanted: str | None) -> str | None:
    """Make a free name out of what the provider calls somebody."""
    text = re.sub(r"[^a-z0-9_]+", "_", (wanted or "").split("@")[0].lower()).strip("_")
    base = re.sub(r"^[^a-z]+", "", text)[:28]
    for candidate in (base, *(f"{base}{number}" for number in range(2, 100))):
        if is_name(candidate) and candidate not in RESERVED_NAMES:
            requested = select(PENDING.c.pending_id).where(PENDING.c.requested_name == candidate)
            if not _is_taken(connection, candidate) and not connection.execute(requested).first():
                return candidate
    return None


def _pending_of(row: Row[*tuple[Any, ...]]) -> PendingUser:
    return PendingUser(
        pending_id=row.pending_id,
        issuer=row.issuer,
        subject=row.subject,
        state=PendingState(row.state),
        requested_name=row.requested_name,
        suggested_name=row.suggested_name,
        full_name=row.full_name,
        email=row.email,
        created=row.created,
    )
