"""The caller of a request, as every service sees it."""

from __future__ import annotations

from dataclasses import dataclass, field

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
    """

    username: str | None = None
    groups: frozenset[str] = field(default_factory=frozenset)
    scopes: frozenset[str] = field(default_factory=frozenset)

    @property
    def is_anonymous(self) -> bool:
        """Whether nobody has logged in."""
        return self.username is None


ANONYMOUS = Principal()
