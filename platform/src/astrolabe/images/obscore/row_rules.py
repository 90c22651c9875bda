"""Whose rows of ``ivoa.ObsCore`` are whose: a row belongs to its collection."""

from __future__ import annotations

import threading
from typing import Final

from astrolabe.catalogs.permissions import RowRule
from astrolabe.catalogs.view import StoredView, TableEntry
from astrolabe.identity.access import Resource
from astrolabe.images.access import ImageAccess
from astrolabe.images.model import ImageCollection
from astrolabe.images.obscore.columns import OBSCORE_NAME, OBSCORE_SCHEMA

__all__ = ["PUBLISHED", "ObsCoreRowRules"]

PUBLISHED: Final = "obscore"
"""Where, among the properties of a version, is kept what was published."""

_COLUMN: Final = "obs_collection"


class ObsCoreRowRules:
    """Gives the rule of the rows of ``ivoa.ObsCore``.  Safe to use from many threads.

    Parameters
    ----------
    access
        Knows the collections.
    """

    def __init__(self, access: ImageAccess) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._made: tuple[TableEntry, tuple[ImageCollection, ...], tuple[RowRule, ...]] | None
        self._made = None

    def __call__(self, view: StoredView) -> tuple[RowRule, ...]:
        """Return the rule, none where there is no such table."""
        entry = view.entries.get((OBSCORE_SCHEMA, OBSCORE_NAME))
        if entry is None:
            return ()
        collections = self._access.all_collections()
        with self._lock:
            made = self._made
            if made is None or made[0] is not entry or made[1] != collections:
                made = (entry, collections, (_rule(entry, collections),))
                self._made = made
        return made[2]


def _rule(entry: TableEntry, collections: tuple[ImageCollection, ...]) -> RowRule:
    """Return the rule of the published rows, of which some may be of collections that are gone."""
    known = {c.name: Resource.of_collection(c.name, release=c.release) for c in collections}
    properties = entry.row.details.get("properties") or {}
    names = (properties.get(PUBLISHED) or {}).get("collections")
    if names is None:
        # Written by something else than the publication: what is in it is not known.
        names = [*known, ""]
    return RowRule(
        (OBSCORE_SCHEMA, OBSCORE_NAME), _COLUMN, {name: known.get(name) for name in names}
    )
