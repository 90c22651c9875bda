"""What the parts of the OpenID provider share: its errors, scopes, and limits.

Errors here are those of the protocol, which clients read by their own names; they are rendered as
RFC 6749 says (sections 4.1.2.1 and 5.2), not as the platform's other errors.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from astrolabe.identity.scopes import ADMIN_SCOPES, SCOPES

__all__ = [
    "CLIENT_SCOPES",
    "CODE_LIFETIME",
    "IDENTITY_SCOPES",
    "ProtocolError",
    "space_separated",
]

IDENTITY_SCOPES: Final = {
    "openid": "know who you are: your user name here",
    "profile": "see your full name and your user number",
    "email": "see your e-mail address",
    "groups": "see which groups you are in",
}
"""What a client may be told, with the words in which the user is asked."""

CLIENT_SCOPES: Final = frozenset(SCOPES) - ADMIN_SCOPES - {"user:token"}
"""Scopes of the platform that a client may be given: none with which it could give itself more."""

CODE_LIFETIME: Final = timedelta(seconds=60)
"""Life of an authorization code; the client redeems it at once."""


class ProtocolError(Exception):
    """An error as OAuth 2.0 names it.

    Parameters
    ----------
    error
        Its name: ``invalid_request``, ``invalid_grant``, ...
    description
        What was wrong and what would be right, in ASCII without quotation marks (RFC 6749).
    status
        Status of the answer, where it is not a redirect.
    """

    def __init__(self, error: str, description: str, *, status: int = 400) -> None:
        super().__init__(f"{error}: {description}")
        self.error = error
        self.description = description
        self.status = status


def space_separated(text: str) -> tuple[str, ...]:
    """Return the words of a list such as ``scope``, each once, in order."""
    return tuple(dict.fromkeys(text.split()))
