"""The caller of a request, as every service sees it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

__all__ = ["ANONYMOUS", "Principal"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks.

    Parameters
    ----------
    username
        The platform's user name, `None` for an anonymous caller.
    groups
        Names of the groups that the caller belongs to.
    scopes
        What the credential may be used for.
    uid
        The user's number, for file systems.
    token_key
        The public half of the token that the caller came with.
    kind
        That token's kind: session, user, lab, service or oidc.
    authenticated
        When the caller last proved who he is by a login; `None` for tokens that no login made.
    """

    username: str | None = None
    groups: frozenset[str] = field(default_factory=frozenset)
    scopes: frozenset[str] = field(default_factory=frozenset)
    uid: int | None = None
    token_key: str | None = None
    kind: str | None = None
    authenticated: datetime | None = None

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody has logged in."""
        return self.username is None


ANONYMOUS = Principal()
