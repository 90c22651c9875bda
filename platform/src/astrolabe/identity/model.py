"""What the parts of identity hand to each other and to the edge."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

__all__ = [
    "AccountEnd",
    "AuditEntry",
    "AuditPage",
    "Group",
    "Invitation",
    "Member",
    "NewToken",
    "OpenIDClaims",
    "PendingState",
    "PendingUser",
    "Role",
    "TokenChange",
    "TokenHistory",
    "TokenInfo",
    "TokenKind",
    "User",
    "UserPage",
    "UserStatus",
]


class UserStatus(StrEnum):
    """Whether an account may be used."""

    ACTIVE = "active"
    DISABLED = "disabled"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An account.

    Parameters
    ----------
    username, uid
        Name and number; neither ever changes.
    status
        Whether it may be used.
    full_name, email
        As the user or a provider gave them; may be empty.
    created, last_login
        When it was made and when its owner last logged in.
    has_password
        Whether a password was set: accounts of a provider have none.
    """

    username: str
    uid: int
    status: UserStatus
    full_name: str
    email: str
    created: datetime
    last_login: datetime | None
    has_password: bool


@dataclass(frozen=True, slots=True)
class UserPage:
    """A page of accounts in the order of their names.

    Parameters
    ----------
    users
        The accounts of this page.
    next_cursor
        Asks for the next page; `None` on the last one.
    """

    users: tuple[User, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIDClaims:
    """What a provider says about its user, read out of the claims.

    Parameters
    ----------
    full_name, email
        May be empty; the address is shown, never trusted.
    suggested_name
        What the provider calls the user; offered when he chooses his name here.
    uid
        His number, where the provider manages numbers.
    groups
        Names of his groups; `None` if the provider says nothing about groups.
    """

    full_name: str = ""
    email: str = ""
    suggested_name: str | None = None
    uid: int | None = None
    groups: tuple[str, ...] | None = None


class PendingState(StrEnum):
    """What a first login from a provider waits for."""

    NAMING = "naming"
    """The user has to choose a name."""
    WAITING = "waiting"
    """An administrator has to approve of the account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingUser:
    """Somebody whom a provider knows and who has no account yet.

    Parameters
    ----------
    pending_id
        Cannot be guessed: whoever knows it may choose the name.
    issuer, subject
        Who it is at which provider.
    state
        What is missing.
    requested_name
        The name that was chosen, once it was.
    suggested_name
        A free name to offer, if one could be made out of the provider's.
    full_name, email, created
        As in the account to come.
    """

    pending_id: str
    issuer: str
    subject: str
    state: PendingState
    requested_name: str | None
    suggested_name: str | None
    full_name: str
    email: str
    created: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountEnd:
    """An account was disabled or deleted.

    Parameters
    ----------
    username
        Whose.
    deleted
        Whether for ever.
    hand_over_to
        Who gets what the account had; `None`: it is kept as it is.
    """

    username: str
    deleted: bool
    hand_over_to: str | None


class TokenKind(StrEnum):
    """What a token was made for."""

    SESSION = "session"
    USER = "user"
    LAB = "lab"
    SERVICE = "service"
    OIDC = "oidc"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenInfo:
    """A token without its secret.

    Parameters
    ----------
    key
        The public half; may be logged.
    kind, username, name, scopes, parent
        What it is and may do; `parent` is the key of the token that it dies with.
    created, created_address, expires, revoked
        Its life (UTC).
    authenticated
        When its holder had logged in; `None` for all but sessions.
    last_used, last_address
        The last request that it came with; the time is up to a minute late.
    """

    key: str
    kind: TokenKind
    username: str
    name: str | None
    scopes: frozenset[str]
    parent: str | None
    created: datetime
    created_address: str | None
    expires: datetime
    authenticated: datetime | None
    revoked: datetime | None
    last_used: datetime | None
    last_address: str | None


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made: the only time that its secret is known.

    Parameters
    ----------
    text
        What the client sends.
    info
        All else.
    """

    text: str = field(repr=False)
    info: TokenInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenChange:
    """One line of a token's history.

    Parameters
    ----------
    change_id
        Counts up.
    key, username
        Which token, and whose.
    time, actor, address
        When, who and from where.
    action
        ``create``, ``rename`` or ``revoke``.
    detail
        What else there is to say: kind, scopes, names, the reason.
    """

    change_id: int
    key: str
    username: str
    time: datetime
    actor: str
    action: str
    address: str | None
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TokenHistory:
    """A page of token history, the newest first; `next_cursor` asks for the next page."""

    changes: tuple[TokenChange, ...]
    next_cursor: str | None


class Role(StrEnum):
    """What a member may do with a group."""

    OWNER = "owner"
    """Everything, and delete it."""
    ADMIN = "admin"
    """Invite and remove members."""
    MEMBER = "member"
    """See who else is in it, and leave."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A group.

    Parameters
    ----------
    name, gid
        Name and number; neither ever changes.
    description
        What it is for.
    created, created_by
        When and by whom; `created_by` is `None` for groups that the platform made.
    from_claims
        Whether a provider's claims decide who is in it.
    """

    name: str
    gid: int
    description: str
    created: datetime
    created_by: str | None
    from_claims: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member of a group: a user or a nested group.

    Parameters
    ----------
    name
        Of the user or the nested group.
    is_group
        Which of the two.
    role
        What it may do; a nested group is always a plain member.
    from_claims
        Whether the membership comes and goes with a provider's claims.
    added
        When.
    """

    name: str
    is_group: bool
    role: Role
    from_claims: bool
    added: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """An invitation to a group that waits for its answer; `expires` is the last day for it."""

    invitation_id: str
    group: str
    username: str
    role: Role
    invited_by: str
    created: datetime
    expires: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One line of the audit log.

    Parameters
    ----------
    entry_id
        Counts up.
    time
        When (UTC).
    actor
        The user, ``operator`` for the command line, ``platform`` for what happens by itself.
    action
        Such as ``user.disable``.
    target
        What it was done to.
    detail
        What else there is to say; never a secret.
    address
        Where the actor's request came from; `None` for commands.
    """

    entry_id: int
    time: datetime
    actor: str
    action: str
    target: str
    detail: dict[str, Any]
    address: str | None


@dataclass(frozen=True, slots=True)
class AuditPage:
    """A page of the audit log, the newest first; `next_cursor` asks for the next page."""

    entries: tuple[AuditEntry, ...]
    next_cursor: str | None
