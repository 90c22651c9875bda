"""What of the catalog a caller may see: to him, the rest does not exist.

Every service takes its view from here, so that TAP_SCHEMA, ``/tables``, examples, suggestions of
names and queries all agree.  Callers who may read the same tables share one view, and with it
everything that is made of it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from astrolabe.catalogs.view import StoredView
from astrolabe.identity import ANONYMOUS, Principal
from astrolabe.identity.access import Grant, Resource
from astrolabe.identity.authority import PLATFORM
from astrolabe.identity.rights import Policy, Rights

__all__ = ["ReadableCatalog"]

_KEPT_VIEWS: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class _Shares:
    """How one view is divided by the rules of one policy.

    Parameters
    ----------
    readers
        For each table the grants of which one is needed.
    that_matter
        All grants that a table needs: what else a caller holds makes no difference.
    """

    view: StoredView
    policy: Policy
    readers: dict[tuple[str, str], frozenset[Grant]]
    that_matter: frozenset[Grant]

    @classmethod
    def of(cls, view: StoredView, policy: Policy) -> _Shares:
        readers = {
            key: policy.readers(Resource.of_table(*key, release=entry.row.release))
            for key, entry in view.entries.items()
        }
        return cls(view, policy, readers, frozenset().union(*readers.values()))


class ReadableCatalog:
    """Views of the catalog as callers may see it.  Safe to use from many threads.

    Parameters
    ----------
    view
        Gives the view of all tables.
    rights
        Says who may read.
    """

    def __init__(self, view: Callable[[], StoredView], rights: Rights) -> None:
        self._view = view
        self._rights = rights
        self._lock = threading.Lock()
        self._shares: _Shares | None = None
        self._views: OrderedDict[frozenset[Grant], StoredView] = OrderedDict()

    def view(self, principal: Principal) -> StoredView:
        """Return the tables that a caller may read, as they are now or were a second ago."""
        if principal is PLATFORM:
            return self._view()
        shares = self._present_shares()
        key = shares.policy.grants_of(principal) & shares.that_matter
        with self._lock:
            if self._shares is shares:
                found = self._views.get(key)
                if found is not None:
                    self._views.move_to_end(key)
                    return found
        made = _restricted(shares, key)
        with self._lock:
            if self._shares is shares:
                self._views[key] = made
                while len(self._views) > _KEPT_VIEWS:
                    self._views.popitem(last=False)
        return made

    def hides_something(self) -> bool:
        """Whether a login could show more than an anonymous caller sees."""
        return self._rights.anonymous_may_miss or self.view(ANONYMOUS) is not self._view()

    def _present_shares(self) -> _Shares:
        view, policy = self._view(), self._rights.policy()
        shares = self._shares
        if shares is not None and shares.view is view and shares.policy is policy:
            return shares
        made = _Shares.of(view, policy)
        with self._lock:
            self._shares = made
            self._views.clear()
        return made


def _restricted(shares: _Shares, held: frozenset[Grant]) -> StoredView:
    """Return the view of whoever holds these grants; the whole one if that is all of it."""
    readable = {key for key, readers in shares.readers.items() if not readers.isdisjoint(held)}
    view = shares.view
    if len(readable) == len(shares.readers):
        return view
    schemas = (
        replace(schema, tables=tuple(t for t in schema.tables if (t.schema, t.name) in readable))
        for schema in view.schemas
    )
    return StoredView(
        view.generation,
        tuple(schema for schema in schemas if schema.tables),
        {key: entry for key, entry in view.entries.items() if key in readable},
    )
