"""Who may act: scopes, recent logins, and the operator of the command line."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import ForbiddenError, UnauthenticatedError
from astrolabe.identity.principal import Principal
from astrolabe.identity.scopes import SCOPES

__all__ = [
    "OPERATOR",
    "PLATFORM",
    "RECENT_LOGIN",
    "actor_name",
    "may_administer_users",
    "require_recent_login",
    "require_scope",
    "require_user",
]

OPERATOR: Final = Principal(username="operator", scopes=frozenset(SCOPES), kind="operator")
"""Whoever runs commands on the home or with the deployment's settings: he has the database."""

PLATFORM: Final = Principal(username="platform", scopes=frozenset(SCOPES), kind="operator")
"""The platform itself: what happens without anybody's request."""

RECENT_LOGIN: Final = timedelta(minutes=15)
"""How old a login may be for making tokens, passwords and administrators' changes."""


def require_user(principal: Principal) -> str:
    """Return the user's name.

    Raises
    ------
    UnauthenticatedError
        Raised if nobody has logged in.
    """
    if principal.username is None:
        raise UnauthenticatedError("Log in first.")
    return principal.username


def require_scope(principal: Principal, scope: str) -> None:
    """Check that a credential may be used for something.

    Raises
    ------
    UnauthenticatedError
        Raised if nobody has logged in.
    ForbiddenError
        Raised if the credential lacks `scope`.
    """
    require_user(principal)
    if scope not in principal.scopes:
        raise ForbiddenError(
            f"This needs the scope {scope} ({SCOPES[scope]}), which your token does not have."
        )


def require_recent_login(principal: Principal) -> None:
    """Check that the caller has proved lately who he is.

    Raises
    ------
    UnauthenticatedError
        Raised if nobody has logged in.
    ForbiddenError
        Raised if the login is more than 15 minutes old, or the credential was made by no login.
    """
    require_user(principal)
    if principal.kind == OPERATOR.kind:
        return
    since = principal.authenticated
    now = utc_now()
    # A session is the only credential that stands for a login.
    if principal.kind != "session" or since is None:
        raise ForbiddenError("This needs a session: log in with a browser, not with a token.")
    if now - since > RECENT_LOGIN:
        raise ForbiddenError(
            "This needs a login less than 15 minutes old; log in again and repeat it."
        )


def may_administer_users(principal: Principal, *, holding: Iterable[str] = ()) -> bool:
    """Whether the caller administers users, and holds all scopes that he would get hold of.

    Parameters
    ----------
    principal
        The caller.
    holding
        Scopes of the account or group that is to be changed: nobody may give, or take over,
        what he does not have himself.
    """
    return "admin:user" in principal.scopes and principal.scopes.issuperset(holding)


def actor_name(principal: Principal) -> str:
    """Return how the caller is called in the audit log."""
    return principal.username or "anonymous"
