"""The token endpoint: codes and refresh tokens for access tokens and ID tokens (RFC 6749)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import unquote_plus

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import NotFoundError, UnauthenticatedError
from astrolabe.identity.groups import GroupService
from astrolabe.identity.model import NewToken, TokenKind
from astrolabe.identity.openid.clients import Client, ClientRegistry
from astrolabe.identity.openid.codes import Grant, GrantStore
from astrolabe.identity.openid.keys import SigningKeys
from astrolabe.identity.openid.protocol import IDENTITY_SCOPES, ProtocolError, space_separated
from astrolabe.identity.scopes import SCOPES
from astrolabe.identity.tokens import TokenService
from astrolabe.identity.users import UserService

__all__ = ["Claims", "Exchange"]

_GRANT_TYPES: Final = ("authorization_code", "refresh_token")


class Claims:
    """What clients are told about users.

    Parameters
    ----------
    users, groups
        Who there is, and who is in what.
    """

    def __init__(self, *, users: UserService, groups: GroupService) -> None:
        self._users = users
        self._groups = groups

    def of(
        self, username: str, scopes: Iterable[str], *, token_scopes: Iterable[str]
    ) -> dict[str, Any]:
        """Return the claims that `scopes` allow.

        Parameters
        ----------
        username
            The user.
        scopes
            What the client may know.
        token_scopes
            Scopes of the platform that its access token holds: the claim ``scopes``.

        Raises
        ------
        NotFoundError
            Raised if there is no such user.
        """
        known = frozenset(scopes)
        user = self._users.get(username)
        # Names are never changed and never given again, so the name is the subject.
        claims: dict[str, Any] = {"sub": username}
        if "profile" in known:
            claims |= {"preferred_username": username, "uid": user.uid}
            if user.full_name:
                claims["name"] = user.full_name
        if "email" in known and user.email:
            # Nobody here has checked that the address is the user's.
            claims |= {"email": user.email, "email_verified": False}
        if "groups" in known:
            claims["groups"] = sorted(self._groups.of(username))
        platform_scopes = sorted(frozenset(token_scopes) & SCOPES.keys())
        if known & SCOPES.keys():
            claims["scopes"] = platform_scopes
        return claims


class Exchange:
    """Answers the token endpoint.

    Parameters
    ----------
    issuer
        The platform's public address.
    clients, grants, keys, claims, tokens
        The registry, the codes, the keys of ID tokens, what they say, and access tokens.
    lifetime
        Life of access and ID tokens.
    """

    def __init__(
        self,
        *,
        issuer: str,
        clients: ClientRegistry,
        grants: GrantStore,
        keys: SigningKeys,
        claims: Claims,
        tokens: TokenService,
        lifetime: timedelta,
    ) -> None:
        self._issuer = issuer
        self._clients = clients
        self._grants = grants
        self._keys = keys
        self._claims = claims
        self._tokens = tokens
        self._lifetime = lifetime

    def answer(
        self,
        parameters: Iterable[tuple[str, str]],
        *,
        authorization: str | None,
        address: str | None,
    ) -> dict[str, Any]:
        """Answer a request.

        Parameters
        ----------
        parameters
            (name, value) pairs of the form.
        authorization
            The header of this name.
        address
            Where the request came from.

        Returns
        -------
        dict
            The JSON document of RFC 6749, section 5.1, with an ID token.

        Raises
        ------
        ProtocolError
            Raised if the client or what it brings is no good.
        """
        form = self._form(parameters)
        grant_type = form.get("grant_type")
        if grant_type not in _GRANT_TYPES:
            known = " or ".join(_GRANT_TYPES)
            raise ProtocolError("unsupported_grant_type", f"The grant_type must be {known}.")
        client = self.client_of(form, authorization)
        if grant_type == "refresh_token":
            grant = self._grants.refresh(_needed(form, "refresh_token"), client=client)
            scopes, nonce = _narrowed(grant, form.get("scope")), None
        else:
            redeemed = self._grants.redeem(
                _needed(form, "code"),
                client=client,
                redirect_uri=form.get("redirect_uri"),
                verifier=form.get("code_verifier"),
            )
            grant, nonce = redeemed.grant, redeemed.nonce
            scopes = grant.scopes
        return self._issue(client, grant, scopes, nonce=nonce, address=address)

    def revoke(self, parameters: Iterable[tuple[str, str]], *, authorization: str | None) -> None:
        """End what a client gives back (RFC 7009).

        Raises
        ------
        ProtocolError
            Raised if the client is not who it says, or sent no token.
        """
        form = self._form(parameters)
        token = _needed(form, "token")
        self._grants.revoke_text(token, client=self.client_of(form, authorization))

    def client_of(self, form: Mapping[str, str], authorization: str | None) -> Client:
        """Return the client that sent the request (RFC 6749, section 2.3).

        Raises
        ------
        ProtocolError
            Raised if it is unknown, its secret is wrong, or it proves itself in two ways at once.
        """
        client_id, secret = form.get("client_id"), form.get("client_secret")
        if authorization is not None:
            header_id, header_secret = _basic(authorization)
            if secret is not None or client_id not in {None, header_id}:
                raise ProtocolError(
                    "invalid_request", "Send the credentials of the client once, not in two ways."
                )
            # A client without a secret may send an empty one.
            client_id, secret = header_id, header_secret or None
        if client_id is None:
            raise ProtocolError("invalid_client", "The client_id is missing.")
        return self._clients.authenticate(client_id, secret)

    def _issue(
        self,
        client: Client,
        grant: Grant,
        scopes: frozenset[str],
        *,
        nonce: str | None,
        address: str | None,
    ) -> dict[str, Any]:
        access = self._access_token(client, grant, scopes, address)
        refresh = self._grants.issue(grant, access.info.key)
        given = (scopes & IDENTITY_SCOPES.keys()) | access.info.scopes
        return {
            "access_token": access.text,
            "token_type": "Bearer",
            "expires_in": int((access.info.expires - access.info.created).total_seconds()),
            "refresh_token": refresh,
            "id_token": self._id_token(client, grant, scopes, access, nonce),
            "scope": " ".join(sorted(given)),
        }

    def _access_token(
        self, client: Client, grant: Grant, scopes: frozenset[str], address: str | None
    ) -> NewToken:
        try:
            return self._tokens.create_child(
                grant.session_key,
                kind=TokenKind.OIDC,
                # The client's rights may have been cut since the login.
                scopes=scopes & client.scopes,
                expires=utc_now() + self._lifetime,
                name=client.name,
                address=address,
            )
        except UnauthenticatedError as exc:
            self._grants.end([grant.grant_id], reason="its session has ended")
            raise ProtocolError(
                "invalid_grant", "The session has ended; let the user log in again."
            ) from exc

    def _id_token(
        self,
        client: Client,
        grant: Grant,
        scopes: frozenset[str],
        access: NewToken,
        nonce: str | None,
    ) -> str:
        try:
            told = self._claims.of(grant.username, scopes, token_scopes=access.info.scopes)
        except NotFoundError as exc:
            raise ProtocolError("invalid_grant", "The account is not there any more.") from exc
        now = utc_now()
        claims = told | {
            "iss": self._issuer,
            "aud": client.client_id,
            "azp": client.client_id,
            "iat": int(now.timestamp()),
            "exp": int((now + self._lifetime).timestamp()),
            "auth_time": int(grant.authenticated.timestamp()),
            "at_hash": _half_hash(access.text),
        }
        if nonce is not None:
            claims["nonce"] = nonce
        return self._keys.sign(claims, algorithm=client.algorithm)

    @staticmethod
    def _form(parameters: Iterable[tuple[str, str]]) -> dict[str, str]:
        form: dict[str, str] = {}
        for name, value in parameters:
            if name in form:
                raise ProtocolError("invalid_request", "Give each parameter once.")
            if value:
                form[name] = value
        return form


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.strip().partition(" ")
    wrong = ProtocolError(
        "invalid_client", "The Authorization header must be Basic with id and secret.", status=401
    )
    if scheme.lower() != "basic":
        raise wrong
    try:
        name, colon, secret = (
            base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        )
    except (binascii.Error, UnicodeDecodeError) as exc:
        raise wrong from exc
    if not colon:
        raise wrong
    # Both are form-encoded before they are joined (RFC 6749, section 2.3.1).
    return unquote_plus(name), unquote_plus(secret)


def _needed(form: Mapping[str, str], name: str) -> str:
    value = form.get(name)
    if value is None:
        raise ProtocolError("invalid_request", f"The parameter {name} is missing.")
    return value


def _narrowed(grant: Grant, wanted: str | None) -> frozenset[str]:
    if wanted is None:
        return grant.scopes
    asked = frozenset(space_separated(wanted))
    # What the login left out already is not asked for anew.
    known = asked & (IDENTITY_SCOPES.keys() | SCOPES.keys())
    if not known <= grant.scopes:
        raise ProtocolError("invalid_scope", "The scope exceeds that of the login.")
    return asked & grant.scopes


def _half_hash(text: str) -> str:
    """Return ``at_hash`` (OpenID Connect Core 1.0, section 3.1.3.6) for RS256 and ES256."""
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()
