"""Against requests that another site makes a browser send with its user's cookie.

Two walls.  Everywhere, a change that comes with a cookie is refused when the browser says that
another site asked for it (``Sec-Fetch-Site``, else ``Origin``); clients that are no browsers send
neither and pass.  Our own pages' forms and the API of the account also need a token, which no
other site can read.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from astrolabe.core.errors import ForbiddenError
from astrolabe.identity.signing import Signer

__all__ = ["CSRF_FIELD", "CSRF_HEADER", "SAFE_METHODS", "CsrfTokens", "check_origin", "origin_of"]

CSRF_HEADER: Final = "X-CSRF-Token"
CSRF_FIELD: Final = "csrf_token"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class CsrfTokens:
    """Makes and checks the tokens of forms; nothing is stored of them.

    Parameters
    ----------
    signer
        Signs nothing but these.
    """

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def of(self, session: str) -> str:
        """Return the token for one session (its token's key), or one form before the login."""
        return self._signer.sign(session)

    def check(self, given: str | None, session: str | None) -> None:
        """Check what came with a request.

        Raises
        ------
        ForbiddenError
            Raised if it is missing or belongs to another session.
        """
        if given is None or session is None or not self._signer.is_signature(given, session):
            raise ForbiddenError(
                f"The CSRF token is missing or belongs to another session. Programs that use a "
                f"cookie get it at /auth/api/v1/session and send it as {CSRF_HEADER}; in a "
                "browser, load the page again."
            )

    @staticmethod
    def new_session() -> str:
        """Return a random name for a form before the login."""
        return secrets.token_urlsafe(16)


def check_origin(
    connection: HTTPConnection, *, public_url: str, trusted_origins: Collection[str] = ()
) -> None:
    """Check that no other site made a browser send this request.

    Parameters
    ----------
    public_url
        The platform's public address.
    trusted_origins
        Other origins whose pages may act for their users.

    Raises
    ------
    ForbiddenError
        Raised if it was another site.
    """
    site = connection.headers.get("sec-fetch-site", "").strip().lower()
    origin = connection.headers.get("origin", "").strip().lower()
    allowed = {origin_of(public_url), *(trusted.rstrip("/").lower() for trusted in trusted_origins)}
    if site in {"same-origin", "none"}:
        return
    if origin in allowed:
        return
    if site or origin:
        raise ForbiddenError(
            "Another site made your browser send this request; it was refused. If you meant it, do "
            "it on this platform's own pages."
        )


def origin_of(address: str) -> str:
    """Return the origin of an absolute address (``https://host``), default port left out."""
    parts = urlsplit(address)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    port = "" if parts.port in (None, default) else f":{parts.port}"
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}{port}"
