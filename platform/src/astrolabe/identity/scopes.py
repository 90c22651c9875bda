"""Scopes: what a credential may be used for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from astrolabe.core.errors import BadParameterError

__all__ = [
    "ADMIN_GROUP",
    "ADMIN_SCOPES",
    "LAB_FORBIDDEN",
    "SCOPES",
    "ScopePolicy",
    "check_scopes",
]

SCOPES: Final[Mapping[str, str]] = {
    "read:tap": "query catalogs",
    "read:image": "find and fetch images and cutouts",
    "read:alert": "read alerts",
    "write:alert": "make alert filters and streams",
    "read:workspace": "read workspace files",
    "write:workspace": "write workspace files",
    "write:table": "make and change tables of one's own",
    "exec:notebook": "run notebooks",
    "user:token": "list, make and revoke one's own tokens",
    "user:group": "make groups and manage one's own",
    "admin:user": "manage users, groups and their tokens",
    "admin:platform": "manage the platform: quotas, rights, clients",
}
"""Every scope, with what it allows."""

ADMIN_SCOPES: Final = frozenset({"admin:user", "admin:platform"})
"""The scopes of administrators."""

LAB_FORBIDDEN: Final = ADMIN_SCOPES | {"user:token"}
"""Scopes that no lab token holds: code in a lab may be anybody's."""

ADMIN_GROUP: Final = "admins"
"""The group whose members hold every scope."""


def check_scopes(scopes: Iterable[str]) -> frozenset[str]:
    """Return `scopes` as a set.

    Raises
    ------
    BadParameterError
        Raised if one of them does not exist.
    """
    found = frozenset(scopes)
    unknown = sorted(found - SCOPES.keys())
    if unknown:
        raise BadParameterError(
            f"There is no scope {unknown[0]!r}; scopes are {', '.join(SCOPES)}."
        )
    return found


class ScopePolicy:
    """What a user's groups allow.

    Parameters
    ----------
    user_scopes
        Scopes of every user.
    group_scopes
        Further scopes of the members of a group, by its name.
    """

    def __init__(
        self, *, user_scopes: Iterable[str], group_scopes: Mapping[str, Iterable[str]]
    ) -> None:
        self._user_scopes = check_scopes(user_scopes)
        self._group_scopes = {
            **{name: check_scopes(scopes) for name, scopes in group_scopes.items()},
            ADMIN_GROUP: frozenset(SCOPES),
        }

    def allowed(self, groups: Iterable[str]) -> frozenset[str]:
        """Return every scope that a member of `groups` may have."""
        return self._user_scopes.union(*(self.given_by(group) for group in groups))

    def given_by(self, group: str) -> frozenset[str]:
        """Return the scopes that membership of one group gives; none for most groups."""
        return self._group_scopes.get(group, frozenset())

    @property
    def groups(self) -> frozenset[str]:
        """Names of the groups that give scopes; only administrators may make these."""
        return frozenset(self._group_scopes)
