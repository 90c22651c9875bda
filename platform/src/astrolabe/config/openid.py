"""Settings of login by OpenID Connect: providers that we ask, and clients that ask us."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from astrolabe.config.sections import Section, Strings

__all__ = ["OpenIDClientSettings", "OpenIDName", "OpenIDProviderSettings"]

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_LEAST_SECRET: Final = 32


def _check_name(name: str) -> str:
    # Secrets come from the environment, whose names have no hyphens.
    if re.fullmatch(r"[a-z][a-z0-9_]{1,30}[a-z0-9]", name) is None or "__" in name:
        raise ValueError(
            "a name here is 3 to 32 lower-case letters, digits and single underscores, the first "
            "of them a letter"
        )
    return name


def _check_issuer(issuer: str) -> str:
    parts = urlsplit(issuer)
    safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not safe or not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(
            "an issuer is an https address without query, exactly as the provider writes it "
            "(http only on 127.0.0.1)"
        )
    return issuer


OpenIDName = Annotated[str, AfterValidator(_check_name)]
"""Name of a provider or client in the settings."""


class OpenIDProviderSettings(Section):
    """A provider by whose accounts people log in here."""

    issuer: Annotated[str, AfterValidator(_check_issuer)] = Field(
        description="Its address, exactly as it calls itself; all else is discovered there."
    )
    client_id: str = Field(description="How the provider calls this platform.")
    client_secret: SecretStr | None = Field(
        None,
        description="What it gave us to prove that; only from the environment "
        "(`ASTROLABE_AUTH__OPENID__<NAME>__CLIENT_SECRET`). None for a public client.",
    )
    title: str | None = Field(
        None, description="What stands on the login page; default the provider's name."
    )
    scopes: Strings = Field(
        ("openid", "profile", "email"), description="What we ask it to tell us."
    )
    username_claim: str = Field(
        "preferred_username",
        description="Claim from which a name is suggested to a new user, who may choose another.",
    )
    groups_claim: str | None = Field(
        "groups",
        description="Claim with the names of the user's groups, taken over at each login; dots "
        "lead into a claim (`realm_access.roles`). None: groups are managed here only.",
    )
    uid_claim: str | None = Field(
        None, description="Claim with the user's number; default: numbers are given here."
    )
    approval: bool = Field(
        False, description="Whether new accounts wait until an administrator approves of them."
    )

    @model_validator(mode="after")
    def _asks_for_an_id_token(self) -> Self:
        if "openid" not in self.scopes:
            raise ValueError("scopes must have openid: without it there is no ID token")
        return self


class OpenIDClientSettings(Section):
    """A site or program that logs people in through this platform."""

    name: str | None = Field(None, description="How users know it; default its name here.")
    secret: SecretStr | None = Field(
        None,
        description="Its secret of at least 32 characters; only from the environment "
        "(`ASTROLABE_AUTH__CLIENTS__<NAME>__SECRET`). Needed unless it is public.",
    )
    public: bool = Field(
        False, description="Whether it is a program on users' machines that keeps no secret."
    )
    redirect_uris: Strings = Field(
        description="Addresses to which people may be sent back, compared character by character."
    )
    scopes: Strings = Field(
        (), description="Scopes of the platform that its access tokens may hold."
    )
    consent: Literal["implicit", "remember", "always"] = Field(
        "remember",
        description="Whether users are asked before it learns who they are: implicit (never: for "
        "parts of the platform), remember (once) or always.",
    )
    algorithm: Literal["RS256", "ES256"] = Field(
        "RS256", description="How its ID tokens are signed: RS256 or ES256."
    )
    pkce_required: bool = Field(
        True, description="Whether each login needs a PKCE challenge; always so if it is public."
    )

    @model_validator(mode="after")
    def _has_its_secret(self) -> Self:
        # That a secret is there is looked at when it is needed: commands that have nothing to do
        # with clients run without it.
        if self.secret is None:
            return self
        if self.public:
            raise ValueError("a client that is public has no secret")
        if len(self.secret.get_secret_value()) < _LEAST_SECRET:
            raise ValueError(f"the secret must have at least {_LEAST_SECRET} characters")
        return self
