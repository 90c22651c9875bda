"""``WWW-Authenticate``: how a client may say who it is (RFC 9110, RFC 6750, RFC 7617, AuthVO)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import Response

from astrolabe_api.common.requests import notes_of

__all__ = ["LOGIN_PATH", "LOGOUT_PATH", "Challenges"]

LOGIN_PATH = "/api/login"
"""Where programs log in for a cookie: AuthVO's ``ivoa_cookie``, and TapPlus."""

LOGOUT_PATH = "/api/logout"

_COOKIE_STANDARD = "ivo://ivoa.net/sso#tls-with-password"
_INVALID = "the token is unknown, has expired or was revoked"


@dataclass(frozen=True, slots=True)
class Challenges:
    """The challenges of one platform.

    Parameters
    ----------
    public_url
        The platform's public address, without a slash at its end.
    realm
        What is shown where somebody is asked for a token.
    """

    public_url: str
    realm: str = "astrolabe"

    def of(self, connection: HTTPConnection) -> list[str]:
        """Return the values of ``WWW-Authenticate`` for a caller who has to, or may, log in.

        Browsers open a dialog of their own for Basic, which could take nothing but a token; they
        tell who they are by ``Sec-Fetch-Mode`` and get no such challenge.
        """
        bearer = f'Bearer realm="{self.realm}"'
        if notes_of(connection).credential_failed:
            bearer += f', error="invalid_token", error_description="{_INVALID}"'
        found = [bearer]
        if _is_safe_for_passwords(self.public_url):
            found.append(
                f'ivoa_cookie standard_id="{_COOKIE_STANDARD}", '
                f'access_url="{self.public_url}{LOGIN_PATH}"'
            )
        if "sec-fetch-mode" not in connection.headers:
            found.append(f'Basic realm="{self.realm}", charset="UTF-8"')
        return found

    def add_to(self, response: Response, connection: HTTPConnection) -> None:
        """Add the challenges to an answer."""
        for challenge in self.of(connection):
            response.headers.append("WWW-Authenticate", challenge)


def _is_safe_for_passwords(public_url: str) -> bool:
    """Whether a password may travel to this address: over TLS, or without leaving the machine."""
    parts = urlsplit(public_url)
    if parts.scheme == "https":
        return True
    host = parts.hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
