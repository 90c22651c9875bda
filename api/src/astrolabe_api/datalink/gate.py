"""Whether links can be used: the columns ``link_auth`` and ``link_authorized``."""

from __future__ import annotations

from dataclasses import dataclass

from astrolabe.identity import Principal
from astrolabe_api.common.state import ApiState, takes_anonymous

__all__ = ["LinkGate", "LinkRights"]


@dataclass(frozen=True, slots=True)
class LinkRights:
    """The two columns of one link."""

    link_auth: str
    link_authorized: bool


class LinkGate:
    """Knows what a caller may do with the links of services.

    Parameters
    ----------
    state
        The platform.
    caller
        Who asks.
    """

    def __init__(self, state: ApiState, caller: Principal) -> None:
        self._state = state
        self._caller = caller

    def rights(
        self, service: str, scope: str, *, may_read: bool, anyone_may_read: bool
    ) -> LinkRights:
        """Return the rights to a link.

        Parameters
        ----------
        service
            The name of the service that the link leads to.
        scope
            What it asks of a token.
        may_read, anyone_may_read
            Whether the caller, and whether everybody, may read the data.
        """
        is_open = takes_anonymous(self._state.settings, service)
        holds = is_open if self._caller.is_anonymous else scope in self._caller.scopes
        return LinkRights(
            link_auth="optional" if is_open and anyone_may_read else "true",
            link_authorized=may_read and holds,
        )
