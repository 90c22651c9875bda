"""The section `auth` of the settings tree."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from astrolabe.config.openid import OpenIDClientSettings, OpenIDName, OpenIDProviderSettings
from astrolabe.config.sections import Section, Strings
from astrolabe.identity.scopes import SCOPES

__all__ = ["AuthSettings"]

_USER_SCOPES = tuple(
    scope for scope in SCOPES if not scope.startswith("admin:") and scope != "write:alert"
)


class AuthSettings(Section):
    """Who may log in, and what may be read by whom."""

    default_access: Literal["public", "users", "private"] = Field(
        "public",
        description="Who may read a schema that has no rule of its own: public, users or private.",
    )
    data_rights_group: str | None = Field(
        None,
        description="Group whose members are meant where access is for users; default every user.",
    )
    anonymous: Strings = Field(
        ("*",),
        description="Services that may be used without a login (tap, scs, sia, soda, datalink, "
        "images, hips); `*` for all.",
    )
    secret_key: SecretStr | None = Field(
        None,
        description="Secret of at least 32 characters that signs and encrypts what only the "
        "platform may make; the same in all processes, only from the environment. Default: made "
        "once in HOME/secrets.",
    )
    user_scopes: Strings = Field(_USER_SCOPES, description="Scopes of every user.")
    group_scopes: dict[str, tuple[str, ...]] = Field(
        {},
        description="Further scopes of a group's members, by the group's name; only "
        "administrators change such a group. Members of `admins` have every scope.",
    )
    groups_per_user: Annotated[int, Field(ge=0)] = Field(
        50, description="Groups that one user may own."
    )
    tokens_per_user: Annotated[int, Field(ge=1)] = Field(
        100, description="Tokens that one user may have made for himself."
    )
    session_hours: Annotated[float, Field(gt=0)] = Field(
        168.0, description="How long a session lasts after its login (h)."
    )
    token_days: Annotated[float, Field(gt=0)] = Field(
        366.0, description="Longest, and default, life of a token that a user makes (days)."
    )
    login_link_hours: Annotated[float, Field(gt=0)] = Field(
        24.0, description="How long a one-time login link works (h)."
    )
    cache_seconds: Annotated[float, Field(ge=0, le=3)] = Field(
        2.0, description="How long a process believes what it read about a token (s)."
    )
    account_attempts: Annotated[int, Field(ge=1)] = Field(
        5, description="Failed logins to one account before each further one has to wait."
    )
    address_attempts: Annotated[int, Field(ge=1)] = Field(
        30, description="Failed logins from one address before each further one has to wait."
    )
    password_characters: Annotated[int, Field(ge=8, le=128)] = Field(
        10, description="Fewest characters of a password."
    )
    argon2_memory_mb: Annotated[float, Field(gt=0, le=4096)] = Field(
        64.0, description="Memory that hashing one password takes (MB)."
    )
    argon2_passes: Annotated[int, Field(ge=1, le=100)] = Field(
        3, description="Passes over that memory."
    )
    argon2_lanes: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="Threads that hash one password."
    )
    first_number: Annotated[int, Field(ge=1000, lt=2**31)] = Field(
        200_000, description="Lowest uid or gid that is given to users and groups."
    )
    last_number: Annotated[int, Field(ge=1000, lt=2**31)] = Field(
        1_999_999, description="Highest uid or gid that is given to users and groups."
    )
    history_days: Annotated[int, Field(ge=1)] = Field(
        366, description="How long the audit log and the history of tokens are kept (days)."
    )

    openid: dict[OpenIDName, OpenIDProviderSettings] = Field(
        {}, description="Providers by whose accounts people log in here, by name."
    )
    clients: dict[OpenIDName, OpenIDClientSettings] = Field(
        {},
        description="Sites and programs that log people in through this platform, by their client "
        "id; administrators register others at run time.",
    )
    client_token_minutes: Annotated[float, Field(gt=0, le=1440)] = Field(
        60.0, description="Life of the access and ID tokens that clients get (min)."
    )
    signing_key_days: Annotated[float, Field(ge=2, le=366)] = Field(
        30.0, description="How long one key signs ID tokens before another follows (days)."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for scopes in (self.user_scopes, *self.group_scopes.values()):
            unknown = sorted(set(scopes) - SCOPES.keys())
            if unknown:
                raise ValueError(f"there is no scope {unknown[0]}; scopes are {', '.join(SCOPES)}")
        if self.last_number < self.first_number:
            raise ValueError("last_number is below first_number")
        return self
