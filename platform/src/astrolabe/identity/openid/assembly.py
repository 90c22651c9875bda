"""Puts the parts of OpenID Connect together, from the settings alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal, Protocol

from pydantic import SecretStr

from astrolabe.core.database import Database
from astrolabe.core.errors import BadParameterError
from astrolabe.identity.audit import AuditLog
from astrolabe.identity.groups import GroupService
from astrolabe.identity.openid.authorize import Authorization
from astrolabe.identity.openid.client import LoginProvider, OpenIDLogin
from astrolabe.identity.openid.clients import Client, ClientRegistry, Consent, hash_client_secret
from astrolabe.identity.openid.codes import GrantStore
from astrolabe.identity.openid.consents import Consents
from astrolabe.identity.openid.exchange import Claims, Exchange
from astrolabe.identity.openid.keys import SigningKeys
from astrolabe.identity.openid.provider import OpenIDProvider
from astrolabe.identity.root_key import RootKey
from astrolabe.identity.tokens import TokenService
from astrolabe.identity.users import UserService

__all__ = ["CALLBACK_PATH", "OpenIDOptions", "make_login", "make_provider"]

CALLBACK_PATH = "/auth/callback"
"""Where login providers send people back."""


# ruff: noqa: D102 - each option is described where the settings are


class ProviderOptions(Protocol):
    @property
    def issuer(self) -> str: ...
    @property
    def client_id(self) -> str: ...
    @property
    def client_secret(self) -> SecretStr | None: ...
    @property
    def title(self) -> str | None: ...
    @property
    def scopes(self) -> tuple[str, ...]: ...
    @property
    def username_claim(self) -> str: ...
    @property
    def groups_claim(self) -> str | None: ...
    @property
    def uid_claim(self) -> str | None: ...
    @property
    def approval(self) -> bool: ...


class ClientOptions(Protocol):
    @property
    def name(self) -> str | None: ...
    @property
    def secret(self) -> SecretStr | None: ...
    @property
    def public(self) -> bool: ...
    @property
    def redirect_uris(self) -> tuple[str, ...]: ...
    @property
    def scopes(self) -> tuple[str, ...]: ...
    @property
    def consent(self) -> Literal["implicit", "remember", "always"]: ...
    @property
    def algorithm(self) -> Literal["RS256", "ES256"]: ...
    @property
    def pkce_required(self) -> bool: ...


class OpenIDOptions(Protocol):
    """What is needed of the settings section ``auth``."""

    @property
    def openid(self) -> Mapping[str, ProviderOptions]: ...
    @property
    def clients(self) -> Mapping[str, ClientOptions]: ...
    @property
    def session_hours(self) -> float: ...
    @property
    def client_token_minutes(self) -> float: ...
    @property
    def signing_key_days(self) -> float: ...


def make_login(options: OpenIDOptions, *, root_key: RootKey, public_url: str) -> OpenIDLogin:
    """Make what logs people in by the accounts of other providers.

    Parameters
    ----------
    public_url
        The platform's public address, without a slash at its end.
    """
    providers = (
        LoginProvider(
            name=name,
            title=given.title or name,
            issuer=given.issuer,
            client_id=given.client_id,
            client_secret=_text(given.client_secret),
            scopes=given.scopes,
            username_claim=given.username_claim,
            groups_claim=given.groups_claim,
            uid_claim=given.uid_claim,
            approval=given.approval,
        )
        for name, given in options.openid.items()
    )
    return OpenIDLogin(providers, redirect_uri=public_url + CALLBACK_PATH, root_key=root_key)


def make_provider(
    database: Database,
    options: OpenIDOptions,
    *,
    root_key: RootKey,
    public_url: str,
    users: UserService,
    groups: GroupService,
    tokens: TokenService,
    audit: AuditLog,
) -> OpenIDProvider:
    """Make what logs people in at other sites.

    Parameters
    ----------
    public_url
        The platform's public address, without a slash at its end: the issuer.

    Raises
    ------
    BadParameterError
        Raised if a client of the settings is not allowed as it stands, or has no secret.
    """
    lifetime = timedelta(minutes=options.client_token_minutes)
    clients = ClientRegistry(
        database,
        audit=audit,
        configured=[_client(name, given) for name, given in options.clients.items()],
    )
    grants = GrantStore(database, tokens=tokens, lifetime=timedelta(hours=options.session_hours))
    consents = Consents(database, grants=grants)
    keys = SigningKeys(
        database,
        root_key=root_key,
        rotation=timedelta(days=options.signing_key_days),
        lifetime=lifetime,
    )
    claims = Claims(users=users, groups=groups)
    return OpenIDProvider(
        issuer=public_url,
        authorization=Authorization(
            issuer=public_url,
            clients=clients,
            grants=grants,
            consents=consents,
            keys=keys,
            root_key=root_key,
        ),
        exchange=Exchange(
            issuer=public_url,
            clients=clients,
            grants=grants,
            keys=keys,
            claims=claims,
            tokens=tokens,
            lifetime=lifetime,
        ),
        clients=clients,
        consents=consents,
        grants=grants,
        keys=keys,
        claims=claims,
    )


def _client(name: str, given: ClientOptions) -> Client:
    secret = _text(given.secret)
    if secret is None and not given.public:
        raise BadParameterError(
            f"The client auth.clients.{name} has no secret: set "
            f"ASTROLABE_AUTH__CLIENTS__{name.upper()}__SECRET, or public: true."
        )
    return Client(
        client_id=name,
        name=given.name or name,
        redirect_uris=given.redirect_uris,
        scopes=frozenset(given.scopes),
        consent=Consent(given.consent),
        algorithm=given.algorithm,
        pkce_required=given.pkce_required or secret is None,
        secret_hash=None if secret is None else hash_client_secret(secret),
    )


def _text(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
