"""Names of users and groups: one name space, each name given once and for ever."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, insert, select, text, update

from astrolabe.core.clock import utc_now
from astrolabe.core.errors import BadParameterError, ConflictError
from astrolabe.identity.schema import NAME

__all__ = ["NAME_PATTERN", "RESERVED_NAMES", "NameRegistry", "check_name", "is_name"]

NAME_PATTERN: Final = r"[a-z][a-z0-9_]{1,30}"
"""What the names of users and groups look like."""

RESERVED_NAMES: Final = frozenset(
    """
    admin admins administrator administrators all anonymous anyone api astrolabe auth bin cloud
    config daemon data default demo everybody everyone false gms group groups guest home hub ivoa
    jupyter lab localhost login logout lost_found mail me nb nobody none null operator owner
    platform portal postgres private prompt public release root scratch service shared survey sys
    system tap tap_schema tap_upload temp tmp token trash true trusted user users vospace workspace
    www
    """.split()  # noqa: SIM905 - a hundred quoted words would hide the words
)
"""Names that would be taken for something else; only the platform itself makes some of them."""


def is_name(name: str) -> bool:
    """Whether `name` looks like the name of a user or a group."""
    return re.fullmatch(NAME_PATTERN, name) is not None


def check_name(name: str, *, what: str = "user") -> str:
    """Return `name` if somebody new may have it.

    Parameters
    ----------
    name
        The wanted name.
    what
        ``user`` or ``group``, for the message.

    Raises
    ------
    BadParameterError
        Raised if the name has not the right form or is reserved.
    """
    if not is_name(name):
        raise BadParameterError(
            f"{name[:64]!r} cannot be the name of a {what}: it is 2 to 31 characters long, begins "
            "with a lower-case letter and holds lower-case letters, digits and underscores only."
        )
    if name in RESERVED_NAMES:
        raise BadParameterError(f"The name {name!r} is reserved; choose another one.")
    return name


@dataclass(frozen=True, slots=True, kw_only=True)
class NameRegistry:
    """Gives names and numbers.

    Parameters
    ----------
    first_number, last_number
        The range that uids and gids come from, both included.
    """

    first_number: int
    last_number: int

    def take(
        self, connection: Connection, name: str, kind: str, *, number: int | None = None
    ) -> int:
        """Register `name` for a new user or group and return its number.

        Parameters
        ----------
        connection
            A writing transaction.
        name
            The name; its form has been checked.
        kind
            ``user`` or ``group``.
        number
            The uid, where a provider's claim says it; may lie outside the range.

        Raises
        ------
        ConflictError
            Raised if the name or the number is or was somebody else's, or the range is used up.
        """
        self.lock(connection)
        if connection.execute(select(NAME.c.name).where(NAME.c.name == name)).first():
            raise ConflictError(
                f"The name {name!r} is taken or was once; names are never used again."
            )
        chosen = self._next(connection) if number is None else number
        if connection.execute(select(NAME.c.name).where(NAME.c.number == chosen)).first():
            raise ConflictError(f"The number {chosen} belongs to somebody else already.")
        connection.execute(
            insert(NAME).values(name=name, kind=kind, number=chosen, created=utc_now())
        )
        return chosen

    def lock(self, connection: Connection) -> None:
        """Let nobody else take a name before the transaction ends: numbers are given once."""
        if connection.dialect.name == "postgresql":
            # SQLite has one writer anyway.
            connection.execute(text("LOCK TABLE identity_name IN SHARE ROW EXCLUSIVE MODE"))

    def retire(self, connection: Connection, name: str) -> None:
        """Say that nobody has `name` any more; it stays taken."""
        connection.execute(update(NAME).where(NAME.c.name == name).values(retired=utc_now()))

    def _next(self, connection: Connection) -> int:
        last = connection.execute(
            select(func.max(NAME.c.number)).where(
                NAME.c.number.between(self.first_number, self.last_number)
            )
        ).scalar()
        number = self.first_number if last is None else int(last) + 1
        if number > self.last_number:
            raise ConflictError(
                f"All numbers from {self.first_number} to {self.last_number} are given; widen "
                "the setting auth.last_number."
            )
        return number
