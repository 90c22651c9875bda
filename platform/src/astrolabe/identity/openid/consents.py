"""What users have agreed to tell which client."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, insert, select, update

from astrolabe.core.clock import utc_now
from astrolabe.core.database import Database
from astrolabe.core.errors import NotFoundError
from astrolabe.identity.authority import require_user
from astrolabe.identity.openid.codes import GrantStore
from astrolabe.identity.openid.schema import CONSENT
from astrolabe.identity.principal import Principal

__all__ = ["Consents", "GivenConsent"]


@dataclass(frozen=True, slots=True)
class GivenConsent:
    """What a user has agreed to.

    Parameters
    ----------
    client_id
        With whom.
    scopes
        What the client may know and do.
    granted
        When he last agreed.
    """

    client_id: str
    scopes: frozenset[str]
    granted: datetime


class Consents:
    """Remembers consents.

    Parameters
    ----------
    database
        The control database.
    grants
        Ended when a consent is withdrawn.
    """

    def __init__(self, database: Database, *, grants: GrantStore) -> None:
        self._database = database
        self._grants = grants

    def covers(self, username: str, client_id: str, scopes: Iterable[str]) -> bool:
        """Whether the user has agreed to all of `scopes` before."""
        with self._database.read() as connection:
            known = connection.execute(
                select(CONSENT.c.scopes).where(
                    CONSENT.c.username == username, CONSENT.c.client_id == client_id
                )
            ).scalar()
        return known is not None and frozenset(scopes) <= frozenset(known)

    def remember(self, username: str, client_id: str, scopes: Iterable[str]) -> None:
        """Add what the user has just agreed to."""
        where = (CONSENT.c.username == username, CONSENT.c.client_id == client_id)
        with self._database.write() as connection:
            known = connection.execute(
                select(CONSENT.c.scopes).where(*where).with_for_update()
            ).scalar()
            values = {"scopes": sorted({*(known or ()), *scopes}), "granted": utc_now()}
            if known is None:
                connection.execute(
                    insert(CONSENT).values(username=username, client_id=client_id, **values)
                )
            else:
                connection.execute(update(CONSENT).where(*where).values(values))

    def list(self, principal: Principal) -> tuple[GivenConsent, ...]:
        """Return what the caller has agreed to, by client.

        Raises
        ------
        UnauthenticatedError
            Raised if nobody has logged in.
        """
        query = (
            select(CONSENT)
            .where(CONSENT.c.username == require_user(principal))
            .order_by(CONSENT.c.client_id)
        )
        with self._database.read() as connection:
            return tuple(
                GivenConsent(row.client_id, frozenset(row.scopes), row.granted)
                for row in connection.execute(query)
            )

    def withdraw(self, principal: Principal, client_id: str) -> None:
        """Forget a consent and end every login of the caller at that client.

        Raises
        ------
        UnauthenticatedError
            Raised if nobody has logged in.
        NotFoundError
            Raised if there is no such consent.
        """
        username = require_user(principal)
        with self._database.write() as connection:
            gone = connection.execute(
                delete(CONSENT).where(
                    CONSENT.c.username == username, CONSENT.c.client_id == client_id
                )
            ).rowcount
        if not gone:
            raise NotFoundError(f"You have agreed to nothing with the client {client_id[:64]!r}.")
        self._grants.end_of(username, client_id, reason="its user withdrew his consent")
