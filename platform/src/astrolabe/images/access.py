"""Which images a caller may see and read: the way to an image for every service."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Final

from astrolabe.core.errors import ForbiddenError, NotFoundError, UnauthenticatedError
from astrolabe.identity import ANONYMOUS, Principal
from astrolabe.identity.access import Resource
from astrolabe.identity.rights import Rights
from astrolabe.images.model import ImageCollection, ImageKey, ImageRecord
from astrolabe.images.store import ImageStore

__all__ = ["ImageAccess", "resource_of"]

_KEPT_SECONDS: Final = 1.0
_KEPT_IMAGES: Final = 4096


class ImageAccess:
    """Finds images for callers: what one may not see is not there.

    To *see* an image (its row in ObsCore, that it has links) its collection must be readable or
    listed; to *read* it (bytes, cutouts, previews) one needs the right to read the collection, or
    the image must have become public.

    Parameters
    ----------
    store
        The images.
    rights
        Says who may do what.
    """

    def __init__(self, store: ImageStore, rights: Rights) -> None:
        self._store = store
        self._rights = rights
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], tuple[float, ImageRecord]] = {}
        self._collections: tuple[float, tuple[ImageCollection, ...]] | None = None

    def collections(self, principal: Principal) -> tuple[ImageCollection, ...]:
        """Return the collections that a caller may see, by name; a second old at most."""
        return tuple(
            c
            for c in self.all_collections()
            if self._rights.may(
                principal, "list", Resource.of_collection(c.name, release=c.release)
            )
        )

    def hides_something(self) -> bool:
        """Whether a login could show collections that an anonymous caller does not see."""
        seen = len(self.collections(ANONYMOUS))
        return self._rights.anonymous_may_miss or seen < len(self.all_collections())

    def may_read(self, principal: Principal, record: ImageRecord) -> bool:
        """Whether a caller may have the pixels of an image."""
        return self._rights.may(principal, "read", resource_of(record))

    def may_see(self, principal: Principal, record: ImageRecord) -> bool:
        """Whether a caller may know of an image."""
        return self._rights.may(principal, "list", resource_of(record))

    def find(
        self, principal: Principal, keys: Iterable[ImageKey]
    ) -> dict[tuple[str, str], ImageRecord]:
        """Return the images among `keys` that a caller may see, by `ImageKey.folded`.

        What is said of an image may be a second old: cutouts of the same one come in crowds.
        """
        found = self._records(keys)
        return {key: record for key, record in found.items() if self.may_see(principal, record)}

    def get(self, principal: Principal, key: ImageKey) -> ImageRecord:
        """Return an image that a caller may read.

        Raises
        ------
        NotFoundError
            Raised if there is none that he may see.
        UnauthenticatedError, ForbiddenError
            Raised if he may see but not read it.
        """
        record = self.find(principal, [key]).get(key.folded)
        if record is None:
            raise NotFoundError(
                f"There is no image {key.image_id!r} in the collection {key.collection!r}."
            )
        self.require_read(principal, record)
        return record

    def require_read(self, principal: Principal, record: ImageRecord) -> None:
        """Make sure that a caller may have the pixels of an image that he may see.

        Raises
        ------
        UnauthenticatedError
            Raised if an anonymous caller may not.
        ForbiddenError
            Raised if another caller may not.
        """
        if self.may_read(principal, record):
            return
        if principal.is_anonymous:
            raise UnauthenticatedError(f"Log in to read the image {record.key.path}.")
        raise ForbiddenError(f"You may not read the image {record.key.path}.")

    def _records(self, keys: Iterable[ImageKey]) -> dict[tuple[str, str], ImageRecord]:
        now = time.monotonic()
        wanted = {key.folded: key for key in keys}
        found = {}
        with self._lock:
            for folded in wanted:
                known = self._known.get(folded)
                if known is not None and now - known[0] < _KEPT_SECONDS:
                    found[folded] = known[1]
        missing = [key for folded, key in wanted.items() if folded not in found]
        if missing:
            read = self._store.find(missing)
            found |= read
            with self._lock:
                self._known.update((folded, (now, record)) for folded, record in read.items())
                while len(self._known) > _KEPT_IMAGES:
                    # The oldest ones: a dictionary keeps its entries in the order of their coming.
                    del self._known[next(iter(self._known))]
        return found

    def all_collections(self) -> tuple[ImageCollection, ...]:
        """Return every collection by name, a second old at most; asks nobody for rights."""
        now = time.monotonic()
        with self._lock:
            known = self._collections
        if known is not None and now - known[0] < _KEPT_SECONDS:
            return known[1]
        found = self._store.collections()
        with self._lock:
            self._collections = (now, found)
        return found


def resource_of(record: ImageRecord) -> Resource:
    """Return what rights speak of for an image."""
    return Resource.of_collection(
        record.key.collection, release=record.release, released=record.released
    )
