"""Images and what belongs to them, as one caller may see it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from astrolabe.core.errors import AstrolabeError, BadParameterError, NotFoundError
from astrolabe.identity import ANONYMOUS, Principal
from astrolabe.images.access import ImageAccess
from astrolabe.images.model import ImageCollection, ImageKey, ImageRecord, parse_image_did

__all__ = ["ImageLinks", "LinkedImage", "LinkedImages"]

_IDS_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinkedImage:
    """An image that a caller may see.

    Parameters
    ----------
    record
        The image.
    did
        Its identifier.
    may_read, anyone_may_read
        Whether the caller, and whether everybody, may have its pixels.
    """

    record: ImageRecord
    did: str
    may_read: bool
    anyone_may_read: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageLinks:
    """An image with what belongs to it.

    Parameters
    ----------
    image
        The image.
    progenitors
        The images that it was made of and that the caller may see.
    collection
        Its collection, if the caller may see that.
    """

    image: LinkedImage
    progenitors: tuple[LinkedImage, ...]
    collection: ImageCollection | None


class LinkedImages:
    """Finds images with what belongs to them.

    Parameters
    ----------
    access
        Knows who may see what.
    authority
        Of the identifiers.
    """

    def __init__(self, access: ImageAccess, *, authority: str) -> None:
        self._access = access
        self._authority = authority

    def links(
        self, principal: Principal, dids: Sequence[str]
    ) -> Iterator[tuple[str, ImageLinks | AstrolabeError]]:
        """Yield each identifier, in the order given, with what belongs to it or what is wrong.

        Memory does not grow with the number of identifiers.
        """
        collections = {c.name.lower(): c for c in self._access.collections(principal)}
        for start in range(0, len(dids), _IDS_AT_ONCE):
            some = dids[start : start + _IDS_AT_ONCE]
            keys = {did: self._parsed(did) for did in some}
            found = self._access.find(
                principal, [key for key in keys.values() if isinstance(key, ImageKey)]
            )
            progenitors = self._access.find(principal, _progenitors(found.values()))
            for did in some:
                yield did, self._one(principal, did, keys[did], found, progenitors, collections)

    def image(self, principal: Principal, record: ImageRecord) -> LinkedImage:
        """Return an image that a caller may see."""
        return LinkedImage(
            record=record,
            did=record.key.did(self._authority),
            may_read=self._access.may_read(principal, record),
            anyone_may_read=self._access.may_read(ANONYMOUS, record),
        )

    def _parsed(self, did: str) -> ImageKey | BadParameterError:
        try:
            return parse_image_did(did, authority=self._authority)
        except BadParameterError as exc:
            return exc

    def _one(
        self,
        principal: Principal,
        did: str,
        key: ImageKey | BadParameterError,
        found: dict[tuple[str, str], ImageRecord],
        progenitors: dict[tuple[str, str], ImageRecord],
        collections: dict[str, ImageCollection],
    ) -> ImageLinks | AstrolabeError:
        if isinstance(key, BadParameterError):
            return key
        record = found.get(key.folded)
        if record is None:
            return NotFoundError(f"There is no image {did[:300]}.")
        made_of = (progenitors.get(k.folded) for k in _progenitors([record]))
        return ImageLinks(
            image=self.image(principal, record),
            progenitors=tuple(self.image(principal, p) for p in made_of if p is not None),
            collection=collections.get(record.key.collection.lower()),
        )


def _progenitors(records: Iterable[ImageRecord]) -> Iterator[ImageKey]:
    for record in records:
        for path in record.progenitors:
            try:
                yield ImageKey.parse_path(path)
            except BadParameterError:
                # Whatever stood in a header as an origin need not be an image here.
                continue
