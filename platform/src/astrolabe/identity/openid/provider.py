"""The platform as OpenID Connect provider: its hub and partner sites log people in through it.

OpenID Connect Core 1.0 with the code flow, Discovery 1.0, PKCE (RFC 7636), refresh tokens that are
used once, revocation (RFC 7009), and the issuer in answers (RFC 9207).
"""

from __future__ import annotations

from typing import Any, Final

from astrolabe.core.errors import ForbiddenError
from astrolabe.identity.openid.authorize import Authorization
from astrolabe.identity.openid.clients import ClientRegistry
from astrolabe.identity.openid.codes import GrantStore
from astrolabe.identity.openid.consents import Consents
from astrolabe.identity.openid.exchange import Claims, Exchange
from astrolabe.identity.openid.keys import ALGORITHMS, SigningKeys
from astrolabe.identity.openid.protocol import CLIENT_SCOPES, IDENTITY_SCOPES
from astrolabe.identity.principal import Principal

__all__ = ["OPENID_PATH", "OpenIDProvider"]

OPENID_PATH: Final = "/auth/openid"
"""Where the endpoints are, below the platform's public address."""


class OpenIDProvider:
    """All that the endpoints need.

    Parameters
    ----------
    issuer
        The platform's public address, without a slash at its end.
    authorization
        Answers the authorization endpoint.
    exchange
        Answers the token endpoint.
    clients, consents, grants, keys, claims
        The parts that those share.
    """

    def __init__(
        self,
        *,
        issuer: str,
        authorization: Authorization,
        exchange: Exchange,
        clients: ClientRegistry,
        consents: Consents,
        grants: GrantStore,
        keys: SigningKeys,
        claims: Claims,
    ) -> None:
        self.issuer = issuer
        self.authorization = authorization
        self.exchange = exchange
        self.clients = clients
        self.consents = consents
        self.keys = keys
        self._grants = grants
        self._claims = claims

    def discovery(self) -> dict[str, Any]:
        """Return the metadata document (OpenID Connect Discovery 1.0, section 3)."""
        base = f"{self.issuer}{OPENID_PATH}"
        methods = ["client_secret_basic", "client_secret_post", "none"]
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{base}/authorize",
            "token_endpoint": f"{base}/token",
            "userinfo_endpoint": f"{base}/userinfo",
            "jwks_uri": f"{base}/jwks.json",
            "revocation_endpoint": f"{base}/revoke",
            "scopes_supported": [*IDENTITY_SCOPES, *sorted(CLIENT_SCOPES)],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": list(ALGORITHMS),
            "token_endpoint_auth_methods_supported": methods,
            "revocation_endpoint_auth_methods_supported": methods,
            "code_challenge_methods_supported": ["S256"],
            "prompt_values_supported": ["none", "login", "consent"],
            "claims_supported": [
                *("iss", "sub", "aud", "azp", "exp", "iat", "auth_time", "nonce", "at_hash"),
                *("preferred_username", "name", "uid", "email", "email_verified"),
                *("groups", "scopes"),
            ],
            "claims_parameter_supported": False,
            "request_parameter_supported": False,
            "request_uri_parameter_supported": False,
            "authorization_response_iss_parameter_supported": True,
        }

    def userinfo(self, principal: Principal) -> dict[str, Any]:
        """Return what an access token's client may know about its user.

        Parameters
        ----------
        principal
            Who the access token stands for.

        Raises
        ------
        ForbiddenError
            Raised if the token is none that a client got through us.
        """
        key, username = principal.token_key, principal.username
        grant = None if key is None else self._grants.of_token(key)
        if principal.kind != "oidc" or grant is None or username is None:
            raise ForbiddenError(
                "This answers clients with the access token of a login; see "
                f"{self.issuer}/.well-known/openid-configuration."
            )
        return self._claims.of(username, grant.scopes, token_scopes=principal.scopes)
