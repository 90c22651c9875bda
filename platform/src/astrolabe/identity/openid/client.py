"""Login by the accounts of OpenID Connect providers (the code flow, with PKCE).

A login is bound to the browser that began it: state, nonce and the PKCE verifier travel sealed in a
cookie, so a code that was slipped to somebody is worth nothing (OpenID Connect Core 1.0, sections
3.1.2 and 3.1.3; RFC 7636; RFC 9207; RFC 9700).
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote_plus

import httpx
import structlog
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import (
    BadParameterError,
    ForbiddenError,
    NotFoundError,
    UnauthenticatedError,
)
from astrolabe.identity.model import OpenIDClaims
from astrolabe.identity.openid.discovery import (
    Discovered,
    Metadata,
    ProviderRefusedError,
    fetch_json,
    new_client,
)
from astrolabe.identity.root_key import RootKey, SealError

__all__ = ["LoginProvider", "LoginStart", "OpenIDLogin", "VerifiedLogin"]

LOGIN_SECONDS: Final = 600.0
"""How long a login at a provider may take (s)."""

_PURPOSE: Final = "openid-login"
_LEEWAY_SECONDS: Final = 60
_LONGEST: Final = 4096
_MOST_GROUPS: Final = 500

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginProvider:
    """A provider, as the settings describe it.

    Parameters
    ----------
    name
        In the settings and addresses.
    title
        On the login page.
    issuer, client_id, client_secret
        Where it is, and who we are to it.
    scopes
        What we ask for.
    username_claim, groups_claim, uid_claim
        Where it says what.
    approval
        Whether new accounts wait for an administrator.
    """

    name: str
    title: str
    issuer: str
    client_id: str
    client_secret: str | None = field(default=None, repr=False)
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    username_claim: str = "preferred_username"
    groups_claim: str | None = "groups"
    uid_claim: str | None = None
    approval: bool = False


@dataclass(frozen=True, slots=True)
class LoginStart:
    """A login that begins.

    Parameters
    ----------
    url
        Where the browser goes.
    state
        Comes back with it; names the cookie.
    sealed
        The cookie's value.
    """

    url: str = field(repr=False)
    state: str
    sealed: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedLogin:
    """Somebody whom a provider knows.

    Parameters
    ----------
    provider
        Which.
    issuer, subject
        Who it is.
    claims
        What else the provider says.
    authenticated
        When he proved who he is (UTC).
    return_url
        Where he wanted to go, as `OpenIDLogin.begin` got it.
    """

    provider: LoginProvider
    issuer: str
    subject: str
    claims: OpenIDClaims
    authenticated: datetime
    return_url: str | None


class OpenIDLogin:
    """Logs people in by the accounts of other providers.

    Parameters
    ----------
    providers
        Those of the settings.
    redirect_uri
        Where providers send people back: our ``/auth/callback``.
    root_key
        Seals what the browser keeps.
    client
        Makes the HTTP client; `None` for the usual one.
    """

    def __init__(
        self,
        providers: Iterable[LoginProvider],
        *,
        redirect_uri: str,
        root_key: RootKey,
        client: Callable[[], httpx.Client] | None = None,
    ) -> None:
        self.providers = tuple(providers)
        self._by_name = {provider.name: provider for provider in self.providers}
        self._redirect_uri = redirect_uri
        self._root_key = root_key
        self._client = (client or new_client)()
        self._discovered = {
            p.name: Discovered(p.issuer, title=p.title, client=self._client) for p in self.providers
        }

    def close(self) -> None:
        """Close connections to providers."""
        self._client.close()

    def begin(self, name: str, *, return_url: str | None, again: bool = False) -> LoginStart:
        """Begin a login.

        Parameters
        ----------
        name
            The provider's name.
        return_url
            Where to go afterwards; the caller has checked that it is ours.
        again
            Have the provider ask its user anew, even if it knows him still.

        Raises
        ------
        NotFoundError
            Raised if there is no such provider.
        OverloadError
            Raised if the provider does not answer.
        """
        provider = self._by_name.get(name)
        if provider is None:
            known = ", ".join(self._by_name) or "none"
            raise NotFoundError(f"There is no login provider {name[:64]!r}; there is {known}.")
        metadata = self._discovered[name].metadata()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        asked = {"prompt": "login", "max_age": "0"} if again else {}
        url = prepare_grant_uri(
            metadata.authorization_endpoint,
            client_id=provider.client_id,
            response_type="code",
            redirect_uri=self._redirect_uri,
            scope=" ".join(provider.scopes),
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
            **asked,
        )
        document = {
            "provider": name,
            "state": state,
            "nonce": nonce,
            "verifier": verifier,
            "return_url": return_url,
            "again": again,
            "began": utc_now().timestamp(),
        }
        sealed = self._root_key.seal(_PURPOSE, document, seconds=LOGIN_SECONDS)
        return LoginStart(str(url), state, sealed)

    def finish(self, parameters: Mapping[str, str], *, sealed: str | None) -> VerifiedLogin:
        """Take the provider's answer.

        Parameters
        ----------
        parameters
            Of the address that the browser came back to.
        sealed
            The cookie of `LoginStart`.

        Raises
        ------
        BadParameterError
            Raised if this browser did not begin this login.
        UnauthenticatedError
            Raised if what the provider says cannot be trusted.
        ForbiddenError
            Raised if the provider, or its user, refused.
        OverloadError
            Raised if the provider does not answer.
        """
        began = self._began(parameters, sealed)
        provider = self._by_name.get(began["provider"])
        if provider is None:
            raise UnauthenticatedError("This login provider is not there any more; begin again.")
        metadata = self._discovered[provider.name].metadata()
        issuer = parameters.get("iss")
        if (issuer is not None or metadata.names_issuer) and issuer != provider.issuer:
            raise UnauthenticatedError("The answer is from another login provider; begin again.")
        if "error" in parameters:
            _log.info(
                "login refused by provider", provider=provider.name, error=parameters["error"][:64]
            )
            raise ForbiddenError(f"{provider.title} did not log you in; try again.")
        code = parameters.get("code", "")
        if not 0 < len(code) <= _LONGEST:
            raise UnauthenticatedError(f"{provider.title} sent no code; begin again.")
        answer = self._redeem(provider, metadata, code, verifier=began["verifier"])
        claims = self._verified(provider, metadata, answer, began)
        claims |= self._userinfo(provider, metadata, answer, claims)
        login = VerifiedLogin(
            provider=provider,
            issuer=provider.issuer,
            subject=claims["sub"],
            claims=_read(provider, claims),
            authenticated=_authenticated(claims),
            return_url=began["return_url"],
        )
        _log.info("login by provider", provider=provider.name, issuer=provider.issuer)
        return login

    def _began(self, parameters: Mapping[str, str], sealed: str | None) -> dict[str, Any]:
        try:
            began = self._root_key.unseal(_PURPOSE, sealed or "")
        except SealError as exc:
            raise BadParameterError(
                "This browser did not begin this login, or it took more than ten minutes; "
                "begin again, with cookies allowed."
            ) from exc
        if not hmac.compare_digest(began["state"].encode(), parameters.get("state", "").encode()):
            raise BadParameterError("The answer belongs to another login; begin again.")
        return began

    def _redeem(
        self, provider: LoginProvider, metadata: Metadata, code: str, *, verifier: str
    ) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": verifier,
        }
        auth: httpx.Auth | None = None
        if provider.client_secret is None or metadata.posts_secret:
            form["client_id"] = provider.client_id
            if provider.client_secret is not None:
                form["client_secret"] = provider.client_secret
        else:
            # Form-encoded before they are joined (RFC 6749, section 2.3.1).
            auth = httpx.BasicAuth(
                quote_plus(provider.client_id), quote_plus(provider.client_secret)
            )
        try:
            return fetch_json(
                self._client, provider.title, "POST", metadata.token_endpoint, form=form, auth=auth
            )
        except ProviderRefusedError as exc:
            raise UnauthenticatedError(
                f"{provider.title} did not accept the login; begin again."
            ) from exc

    def _verified(
        self,
        provider: LoginProvider,
        metadata: Metadata,
        answer: Mapping[str, Any],
        began: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return the claims of the ID token, whose signature and contents were checked."""
        text, access = answer.get("id_token"), answer.get("access_token")
        if not isinstance(text, str) or not isinstance(access, str):
            raise self._distrusted(provider, "no ID token")
        registry = JWSRegistry(algorithms=list(metadata.algorithms), strict_check_header=False)
        discovered = self._discovered[provider.name]
        try:
            try:
                token = _decoded(text, discovered.keys(), registry)
            except InvalidKeyIdError:
                token = _decoded(text, discovered.keys(known_unfit=True), registry)
            options = {
                "iss": {"essential": True, "value": provider.issuer},
                "aud": {"essential": True, "value": provider.client_id},
                "sub": {"essential": True},
                "nonce": {"essential": True, "value": began["nonce"]},
            }
            checks = {
                "nonce": began["nonce"],
                "client_id": provider.client_id,
                "access_token": access,
            }
            claims = CodeIDToken(token.claims, token.header, options, checks)
            claims.validate(leeway=_LEEWAY_SECONDS)
        except (JoseError, ValueError, TypeError) as exc:
            raise self._distrusted(provider, str(exc)) from exc
        if not isinstance(claims["sub"], str):
            raise self._distrusted(provider, "sub is no text")
        login_time = claims.get("auth_time")
        if began["again"] and (
            not isinstance(login_time, int) or login_time < began["began"] - _LEEWAY_SECONDS
        ):
            raise self._distrusted(provider, "the user was not asked anew")
        return dict(claims)

    def _userinfo(
        self,
        provider: LoginProvider,
        metadata: Metadata,
        answer: Mapping[str, Any],
        claims: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Ask for what the ID token does not say; many providers keep it short."""
        wanted = [provider.username_claim, provider.groups_claim, provider.uid_claim]
        wanted += ["name", "email"]
        missing = [name for name in wanted if name is not None and _at(claims, name) is None]
        if not missing or metadata.userinfo_endpoint is None:
            return {}
        address = metadata.userinfo_endpoint
        header = {"Authorization": f"Bearer {answer['access_token']}"}
        told = fetch_json(self._client, provider.title, "GET", address, headers=header)
        # The ID token alone says who it is (OpenID Connect Core 1.0, section 5.3.2).
        if told.get("sub") != claims["sub"]:
            raise self._distrusted(provider, "userinfo is about somebody else")
        return {name: value for name, value in told.items() if name not in claims}

    def _distrusted(self, provider: LoginProvider, reason: str) -> UnauthenticatedError:
        _log.warning("login provider's answer not trusted", provider=provider.name, reason=reason)
        return UnauthenticatedError(
            f"What {provider.title} says cannot be trusted; begin again, and tell the "
            "administrators if it happens once more."
        )


def _decoded(text: str, keys: KeySet, registry: JWSRegistry) -> jwt.Token:
    return jwt.decode(text, keys, registry=registry)


def _authenticated(claims: Mapping[str, Any]) -> datetime:
    """Return when the user logged in: what the provider says, else the token's time."""
    moments = [claims.get("auth_time"), claims.get("iat")]
    told = next((m for m in moments if isinstance(m, int | float) and m > 0), None)
    now = utc_now()
    return now if told is None else min(now, datetime.fromtimestamp(told, UTC))


def _read(provider: LoginProvider, claims: Mapping[str, Any]) -> OpenIDClaims:
    uid = None if provider.uid_claim is None else _at(claims, provider.uid_claim)
    return OpenIDClaims(
        full_name=_text(claims.get("name")) or "",
        email=_text(claims.get("email")) or "",
        suggested_name=_text(_at(claims, provider.username_claim)),
        uid=int(str(uid)) if str(uid).isascii() and str(uid).isdecimal() else None,
        groups=_groups(provider, claims),
    )


def _groups(provider: LoginProvider, claims: Mapping[str, Any]) -> tuple[str, ...] | None:
    if provider.groups_claim is None:
        return None
    value = _at(claims, provider.groups_claim)
    if value is None:
        # Some leave the claim out for who is in no group.
        return ()
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list):
        return ()
    # Keycloak may write groups as paths.
    names = (name.removeprefix("/").lower() for name in found if isinstance(name, str))
    return tuple(dict.fromkeys(names))[:_MOST_GROUPS]


def _at(claims: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401 - a claim may be anything
    """Return the claim at a path such as ``realm_access.roles``, `None` if there is none."""
    if path in claims:
        return claims[path]
    here: Any = claims
    for part in path.split("."):
        here = here.get(part) if isinstance(here, Mapping) else None
    return here


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None
