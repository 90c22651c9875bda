"""What is made once for each view of the catalog and kept as long as the view."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from astrolabe.catalogs.model import CatalogView

__all__ = ["PerView"]

_Made = TypeVar("_Made")


class PerView(Generic[_Made]):
    """A cache whose keys are views: a generation has one for each set of readable tables.

    Parameters
    ----------
    make
        Makes what is kept; two threads that ask at once may both make it, and one is kept.
    """

    def __init__(self, make: Callable[[CatalogView], _Made]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: WeakKeyDictionary[CatalogView, _Made] = WeakKeyDictionary()

    def of(self, view: CatalogView) -> _Made:
        """Return what belongs to `view`."""
        with self._lock:
            found = self._made.get(view)
        if found is not None:
            return found
        made = self._make(view)
        with self._lock:
            return self._made.setdefault(view, made)
