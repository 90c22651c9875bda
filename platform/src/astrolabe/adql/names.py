"""Identifiers and how they find tables (ADQL 2.1, section 2.1.2)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from astrolabe.tables.model import TableMeta

__all__ = ["Identifier", "SchemaLookup", "nearest"]


@dataclass(frozen=True, slots=True)
class Identifier:
    """A name as it stands in a query.

    Parameters
    ----------
    name
        Without quotes.
    quoted
        Whether it was in double quotes: then it means exactly this name, otherwise letters match
        in any case.
    """

    name: str
    quoted: bool = False

    def matches(self, name: str) -> bool:
        """Whether this identifier means the raw `name`."""
        if self.quoted:
            return self.name == name
        return self.name.lower() == name.lower()


class SchemaLookup(Protocol):
    """What the checker must know of the catalog.

    Tables that the user may not read are not in it.
    """

    def find_table(self, schema: Identifier | None, table: Identifier) -> TableMeta | None:
        """Return the table, `None` if there is none.

        `schema` is `None` for an unqualified name.
        """

    def table_names(self) -> tuple[str, ...]:
        """Return the names of all tables as they are written in ADQL, for suggestions."""


def nearest(name: str, candidates: Iterable[str], limit: int = 3) -> tuple[str, ...]:
    """Return those of `candidates` that look most like `name`, best first.

    Examples
    --------
    >>> nearest("objectid", ["ra", "objectId", "dec"])
    ('objectId',)
    """
    by_folded: dict[str, str] = {}
    for candidate in candidates:
        by_folded.setdefault(candidate.lower().replace('"', ""), candidate)
    found = difflib.get_close_matches(
        name.lower().replace('"', ""), list(by_folded), n=limit, cutoff=0.6
    )
    return tuple(by_folded[key] for key in found)
