"""What a login provider says about itself, and the keys that it signs with.

Requests go to the issuer of the settings and to the addresses that it names, nowhere else; answers
are bounded in size and time, redirects are not followed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet, import_key

from astrolabe.core.errors import OverloadError

__all__ = ["Discovered", "Metadata", "ProviderRefusedError", "fetch_json", "new_client"]

_MOST_BYTES: Final = 1_000_000
_TIMEOUT: Final = httpx.Timeout(10.0)
_TRUST_SECONDS: Final = 3600.0
_RETRY_SECONDS: Final = 10.0
_ALGORITHMS: Final = frozenset(
    ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
)
# Those with a public half: a secret that is published is none.
_KEY_TYPES: Final = frozenset({"RSA", "EC", "OKP"})

_log = structlog.get_logger(__name__)


class ProviderRefusedError(OverloadError):
    """A provider says that our request is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """A provider's metadata, as far as it is used (OpenID Connect Discovery 1.0, section 3).

    Parameters
    ----------
    authorization_endpoint, token_endpoint, jwks_uri, userinfo_endpoint
        Addresses.
    algorithms
        Signatures of ID tokens that we accept: never ``none``, never one with a shared secret.
    posts_secret
        Whether the client's secret goes into the form, not into the header.
    names_issuer
        Whether answers carry the parameter ``iss`` (RFC 9207).
    """

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    algorithms: tuple[str, ...]
    posts_secret: bool
    names_issuer: bool


class Discovered:
    """The metadata and keys of one provider, fetched when needed and kept for an hour.

    Parameters
    ----------
    issuer
        The provider.
    title
        How people know it, for messages.
    client
        Sends the requests.
    """

    def __init__(self, issuer: str, *, title: str, client: httpx.Client) -> None:
        self.issuer = issuer
        self._title = title
        self._client = client
        self._lock = threading.Lock()
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, KeySet] | None = None

    def metadata(self) -> Metadata:
        """Return the metadata.

        Raises
        ------
        OverloadError
            Raised if the provider does not answer as it should.
        """
        with self._lock:
            known = self._metadata
            if known is None or time.monotonic() - known[0] > _TRUST_SECONDS:
                known = self._metadata = (time.monotonic(), self._fetch_metadata())
            return known[1]

    def keys(self, *, known_unfit: bool = False) -> KeySet:
        """Return the provider's keys.

        Parameters
        ----------
        known_unfit
            A token came with a key that is not among those known: the provider may have changed
            its keys, so they are fetched again, though not more often than each ten seconds.

        Raises
        ------
        OverloadError
            Raised if the provider does not answer as it should.
        """
        address = self.metadata().jwks_uri
        with self._lock:
            known = self._keys
            age = None if known is None else time.monotonic() - known[0]
            trusted = _RETRY_SECONDS if known_unfit else _TRUST_SECONDS
            if known is None or age is None or age > trusted:
                known = self._keys = (time.monotonic(), self._fetch_keys(address))
            return known[1]

    def _fetch_metadata(self) -> Metadata:
        address = self.issuer.rstrip("/") + "/.well-known/openid-configuration"
        document = fetch_json(self._client, self._title, "GET", address)
        if document.get("issuer") != self.issuer:
            raise self._unfit(f"it calls itself {document.get('issuer')!r}, not {self.issuer!r}")
        addresses = {
            name: self._address(document, name)
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")
        }
        offered = document.get("id_token_signing_alg_values_supported") or ["RS256"]
        algorithms = tuple(sorted(_ALGORITHMS.intersection(_texts(offered))))
        if not algorithms:
            raise self._unfit("it signs ID tokens with none of the algorithms that are accepted")
        methods = _texts(document.get("token_endpoint_auth_methods_supported"))
        has_userinfo = document.get("userinfo_endpoint") is not None
        return Metadata(
            **addresses,
            userinfo_endpoint=self._address(document, "userinfo_endpoint")
            if has_userinfo
            else None,
            algorithms=algorithms,
            posts_secret="client_secret_post" in methods and "client_secret_basic" not in methods,
            names_issuer=document.get("authorization_response_iss_parameter_supported") is True,
        )

    def _fetch_keys(self, address: str) -> KeySet:
        document = fetch_json(self._client, self._title, "GET", address)
        found = document.get("keys")
        usable = [
            key
            for entry in (found if isinstance(found, list) else [])
            if (key := _public_key(entry)) is not None
        ]
        if not usable:
            raise self._unfit("its keys cannot be read")
        return KeySet(usable)

    def _address(self, document: Mapping[str, Any], name: str) -> str:
        value = document.get(name)
        # As safe as the issuer itself: no https provider is asked over http.
        if not isinstance(value, str) or (
            urlsplit(value).scheme not in {"https", urlsplit(self.issuer).scheme}
        ):
            raise self._unfit(f"its {name} is missing or not an https address")
        return value

    def _unfit(self, reason: str) -> OverloadError:
        _log.error("login provider unusable", issuer=self.issuer, reason=reason)
        return OverloadError(
            f"Login by {self._title} is not possible now; tell the administrators that {reason}."
        )


def fetch_json(
    client: httpx.Client,
    title: str,
    method: str,
    address: str,
    *,
    form: Mapping[str, str] | None = None,
    auth: httpx.Auth | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the JSON object that a provider answers with.

    Parameters
    ----------
    client
        Of `new_client`.
    title
        How people know the provider, for messages.
    method, address, form, auth, headers
        The request.

    Raises
    ------
    ProviderRefusedError
        Raised if the provider says that the request is wrong (status 4xx).
    OverloadError
        Raised if there is no such answer.
    """
    try:
        request = client.build_request(method, address, data=form, headers=headers)
        response = client.send(request, auth=auth, stream=True)
        try:
            content = _bounded(response)
        finally:
            response.close()
        if 400 <= response.status_code < 500:
            text = content[:300].decode(errors="replace")
            _log.warning(
                "login provider refuses", provider=title, status=response.status_code, answer=text
            )
            raise ProviderRefusedError(f"{title} refused a request; tell the administrators.")
        response.raise_for_status()
        document = json.loads(content)
    except (httpx.HTTPError, ValueError) as exc:
        _log.warning("login provider does not answer", provider=title, reason=str(exc))
        raise OverloadError(f"{title} does not answer now; try again in a moment.") from exc
    if not isinstance(document, dict):
        _log.warning("login provider answered no JSON object", provider=title)
        raise OverloadError(f"{title} does not answer as it should; tell the administrators.")
    return document


def new_client() -> httpx.Client:
    """Return a client for the requests to providers."""
    return httpx.Client(
        timeout=_TIMEOUT, follow_redirects=False, headers={"Accept": "application/json"}
    )


def _bounded(response: httpx.Response) -> bytes:
    """Read an answer, but no more of it than any provider needs."""
    content = bytearray()
    for chunk in response.iter_bytes():
        content += chunk
        if len(content) > _MOST_BYTES:
            raise ValueError(f"its answer has more than {_MOST_BYTES} bytes")
    return bytes(content)


def _public_key(entry: object) -> Key | None:
    """Return a key of a set; `None` for what we cannot use, which is no fault of the others."""
    if not isinstance(entry, dict) or entry.get("kty") not in _KEY_TYPES:
        return None
    try:
        return import_key(entry)
    except (JoseError, ValueError, KeyError, TypeError):
        return None


def _texts(value: object) -> list[str]:
    return [v for v in value if isinstance(v, str)] if isinstance(value, list) else []
