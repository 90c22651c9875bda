"""What of the catalog a caller may see: to him, the rest does not exist.

Every service takes its view from here, so that TAP_SCHEMA, ``/tables``, examples, suggestions of
names and queries all agree.  Callers who may read the same tables share one view, and with it
everything that is made of it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, TypeVar

from astrolabe.catalogs.model import RowFilter
from astrolabe.catalogs.view import StoredView, TableEntry
from astrolabe.core.errors import NotFoundError, UnknownColumnError, UnknownTableError
from astrolabe.identity import ANONYMOUS, Principal
from astrolabe.identity.access import PUBLIC, Grant, Resource
from astrolabe.identity.authority import PLATFORM
from astrolabe.identity.rights import Policy, Rights

__all__ = ["ReadableCatalog", "RowRule", "RowRules"]

_KEPT_VIEWS: Final = 64

_Name = tuple[str, str]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class RowRule:
    """Says that each row of a table belongs to something that has rights of its own.

    Who may know of that may see the row.  The table itself is there for everybody, unless it or
    its schema has a rule.

    Parameters
    ----------
    table
        Raw names of its schema and itself.
    column
        Text column that names what a row belongs to.
    resources
        What each value in it means; `None` for what is there no more, which nobody sees.
    """

    table: _Name
    column: str
    resources: Mapping[str, Resource | None]


RowRules = Callable[[StoredView], tuple[RowRule, ...]]
"""Gives the rules of a view; the same objects as long as nothing changes."""


def _no_rules(_view: StoredView) -> tuple[RowRule, ...]:
    return ()


@dataclass(frozen=True, slots=True, eq=False)
class _Shares:
    """How one view is divided by the rules of one policy.

    Parameters
    ----------
    readers
        For each table the grants of which one is needed.
    rules
        Of single rows.
    that_matter
        All grants that a table or a row needs: what else a caller holds makes no difference.
    """

    view: StoredView
    policy: Policy
    readers: Mapping[_Name, frozenset[Grant]]
    rules: tuple[RowRule, ...]
    that_matter: frozenset[Grant]
    row_readers: Mapping[_Name, Mapping[str, frozenset[Grant]]] = field(default_factory=dict)

    @classmethod
    def of(cls, view: StoredView, policy: Policy, rules: tuple[RowRule, ...]) -> _Shares:
        readers: dict[_Name, frozenset[Grant]] = {}
        by_row = {rule.table for rule in rules}
        for key, entry in view.entries.items():
            resource = Resource.of_table(*key, release=entry.row.release)
            open_to_all = key in by_row and not policy.has_rule(resource)
            readers[key] = frozenset({PUBLIC}) if open_to_all else policy.readers(resource)
        row_readers = {
            rule.table: {
                value: frozenset() if resource is None else policy.listers(resource)
                for value, resource in rule.resources.items()
            }
            for rule in rules
        }
        of_rows = (grants for values in row_readers.values() for grants in values.values())
        matter = frozenset[Grant]().union(*readers.values(), *of_rows)
        return cls(view, policy, readers, rules, matter, row_readers)


class _Catalog(Protocol):
    def view(self, *, fresh: bool = False) -> StoredView:
        """Return all tables as they are now or, unless `fresh`, were a second ago."""


class ReadableCatalog:
    """Views of the catalog as callers may see it.  Safe to use from many threads.

    Parameters
    ----------
    catalog
        Gives the view of all tables.
    rights
        Says who may read.
    row_rules
        Gives the rules of tables whose rows have rights of their own.
    """

    def __init__(
        self, catalog: _Catalog, rights: Rights, *, row_rules: RowRules = _no_rules
    ) -> None:
        self._catalog = catalog
        self._rights = rights
        self._row_rules = row_rules
        self._lock = threading.Lock()
        self._shares: _Shares | None = None
        self._views: OrderedDict[frozenset[Grant], StoredView] = OrderedDict()

    def find(self, principal: Principal, search: Callable[[StoredView], _T]) -> _T:
        """Return what `search` finds in the tables that a caller may read.

        A view may be a second old.  If `search` misses something in it, it gets the present one:
        whoever has just published a table can use it at once, in every process.

        Raises
        ------
        NotFoundError, UnknownTableError, UnknownColumnError
            Raised if `search` raised it, of the present view too.
        """
        view = self.view(principal)
        try:
            return search(view)
        except (NotFoundError, UnknownTableError, UnknownColumnError):
            self._catalog.view(fresh=True)
            present = self.view(principal)
            if present is view:
                raise
        return search(present)

    def view(self, principal: Principal) -> StoredView:
        """Return the tables that a caller may read, as they are now or were a second ago."""
        if principal is PLATFORM:
            return self._catalog.view()
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
        return self._rights.anonymous_may_miss or self.view(ANONYMOUS) is not self._catalog.view()

    def _present_shares(self) -> _Shares:
        view, policy = self._catalog.view(), self._rights.policy()
        rules = self._row_rules(view)
        shares = self._shares
        if (
            shares is not None
            and shares.view is view
            and shares.policy is policy
            and shares.rules == rules
        ):
            return shares
        made = _Shares.of(view, policy, rules)
        with self._lock:
            self._shares = made
            self._views.clear()
        return made


def _restricted(shares: _Shares, held: frozenset[Grant]) -> StoredView:
    """Return the view of whoever holds these grants; the whole one if that is all of it."""
    view = shares.view
    entries = {
        key: entry
        for key, entry in view.entries.items()
        if not shares.readers[key].isdisjoint(held)
    }
    whole = len(entries) == len(view.entries)
    for rule in shares.rules:
        entry = entries.get(rule.table)
        if entry is None:
            continue
        readers = shares.row_readers[rule.table]
        allowed = frozenset(v for v, grants in readers.items() if not grants.isdisjoint(held))
        if len(allowed) < len(readers):
            entries[rule.table] = _filtered(entry, RowFilter(rule.column, allowed))
            whole = False
    if whole:
        return view
    schemas = (
        replace(
            schema,
            tables=tuple(
                entries[t.schema, t.name].meta
                for t in schema.tables
                if (t.schema, t.name) in entries
            ),
        )
        for schema in view.schemas
    )
    return StoredView(view.generation, tuple(s for s in schemas if s.tables), entries)


def _filtered(entry: TableEntry, row_filter: RowFilter) -> TableEntry:
    """Return a table of which only some rows may be seen, nor how many there are of the others."""
    meta = replace(entry.meta, row_count=None)
    row = replace(entry.row, row_count=0, size_bytes=0)
    return replace(entry, meta=meta, row=row, row_filter=row_filter)
