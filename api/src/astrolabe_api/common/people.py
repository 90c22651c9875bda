"""Accounts, tokens and groups as JSON: what the account's API and the administration share.

Wire models only; nothing here asks the domain for anything.
"""

from __future__ import annotations

from datetime import datetime
from typing import Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from astrolabe.identity.limits import QuotaUse
from astrolabe.identity.model import (
    Group,
    Invitation,
    Member,
    NewToken,
    Role,
    TokenChange,
    TokenHistory,
    TokenInfo,
    TokenKind,
    User,
    UserStatus,
)

__all__ = [
    "GroupEntry",
    "HistoryEntry",
    "HistoryPage",
    "InvitationEntry",
    "MemberEntry",
    "NewTokenEntry",
    "PasswordChange",
    "QuotaEntry",
    "Sent",
    "TokenEntry",
    "TokenList",
    "TokenRequest",
    "UserEntry",
]


class Sent(BaseModel):
    """What a client sends: unknown fields are a mistake that it must hear of."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Shown(BaseModel):
    """What the domain has under the same names; only the fields that are declared are sent."""

    model_config = ConfigDict(from_attributes=True)


class TokenEntry(BaseModel):
    """A token; its secret is shown once, when it is made, and never again."""

    key: str = Field(description="The public half of the token, by which it is named.")
    kind: TokenKind
    username: str
    name: str | None = Field(description="What its user calls it.")
    scopes: list[str] = Field(description="What it may be used for.")
    parent: str | None = Field(description="Key of the token that it ends with.")
    created: datetime
    created_address: str | None
    expires: datetime
    revoked: datetime | None
    last_used: datetime | None = Field(description="A little late: uses are written in batches.")
    last_address: str | None
    current: bool = Field(description="Whether this request came with it.")

    @classmethod
    def of(cls, info: TokenInfo, *, current_key: str | None = None) -> Self:
        """Return `info` as it is sent."""
        return cls(
            key=info.key,
            kind=info.kind,
            username=info.username,
            name=info.name,
            scopes=sorted(info.scopes),
            parent=info.parent,
            created=info.created,
            created_address=info.created_address,
            expires=info.expires,
            revoked=info.revoked,
            last_used=info.last_used,
            last_address=info.last_address,
            current=info.key == current_key,
        )


class TokenList(BaseModel):
    """Tokens, the newest first."""

    tokens: list[TokenEntry]


class NewTokenEntry(BaseModel):
    """A token that was just made."""

    token: str = Field(description="The whole token; it is not shown again.")
    info: TokenEntry

    @classmethod
    def of(cls, made: NewToken) -> Self:
        """Return `made` as it is sent."""
        return cls(token=made.text, info=TokenEntry.of(made.info))


class TokenRequest(Sent):
    """A token to be made."""

    name: str = Field(description="What to call it; unique among the user's.")
    scopes: list[str] = Field(description="What it may be used for; none that you lack.")
    expires: AwareDatetime | None = Field(
        None, description="When it ends; default and longest: the setting auth.token_days."
    )


class HistoryEntry(BaseModel):
    """One change of a token."""

    key: str
    username: str
    time: datetime
    actor: str
    action: str = Field(description="create, rename or revoke.")
    address: str | None
    detail: dict[str, object]

    @classmethod
    def of(cls, change: TokenChange) -> Self:
        """Return `change` as it is sent."""
        return cls(
            key=change.key,
            username=change.username,
            time=change.time,
            actor=change.actor,
            action=change.action,
            address=change.address,
            detail=dict(change.detail),
        )


class HistoryPage(BaseModel):
    """Changes of tokens, the newest first."""

    changes: list[HistoryEntry]
    next_cursor: str | None = Field(description="Send as `cursor` for the next page.")

    @classmethod
    def of(cls, history: TokenHistory) -> Self:
        """Return `history` as it is sent."""
        return cls(
            changes=[HistoryEntry.of(change) for change in history.changes],
            next_cursor=history.next_cursor,
        )


class PasswordChange(Sent):
    """A new password."""

    password: str = Field(min_length=1, max_length=1000)


class QuotaEntry(_Shown):
    """A quota and what is used of it."""

    quota: str
    about: str = Field(description="What it counts.")
    limit: float | None = Field(description="null for no limit; 0 blocks.")
    used: float | None = Field(description="null where that is not counted.")

    @classmethod
    def of(cls, use: QuotaUse) -> Self:
        """Return `use` as it is sent."""
        return cls.model_validate(use)


class UserEntry(_Shown):
    """An account."""

    username: str
    uid: int
    status: UserStatus
    full_name: str
    email: str
    created: datetime
    last_login: datetime | None
    has_password: bool

    @classmethod
    def of(cls, user: User) -> Self:
        """Return `user` as it is sent."""
        return cls.model_validate(user)


class GroupEntry(BaseModel):
    """A group."""

    name: str
    gid: int
    description: str
    created: datetime
    created_by: str | None
    from_claims: bool = Field(description="Whether a login provider decides who is in it.")
    role: Role | None = Field(None, description="The caller's role, where the list is his own.")

    @classmethod
    def of(cls, group: Group, *, role: Role | None = None) -> Self:
        """Return `group` as it is sent."""
        return cls(
            name=group.name,
            gid=group.gid,
            description=group.description,
            created=group.created,
            created_by=group.created_by,
            from_claims=group.from_claims,
            role=role,
        )


class MemberEntry(_Shown):
    """A member of a group."""

    name: str
    is_group: bool = Field(description="Whether it is a nested group.")
    role: Role
    from_claims: bool
    added: datetime

    @classmethod
    def of(cls, member: Member) -> Self:
        """Return `member` as it is sent."""
        return cls.model_validate(member)


class InvitationEntry(_Shown):
    """An invitation to a group."""

    invitation_id: str
    group: str
    username: str
    role: Role
    invited_by: str
    created: datetime
    expires: datetime

    @classmethod
    def of(cls, invitation: Invitation) -> Self:
        """Return `invitation` as it is sent."""
        return cls.model_validate(invitation)
