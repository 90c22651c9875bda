"""Which HiPS a caller may see and read: those of the collections that he may."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from astrolabe.core.errors import ForbiddenError, NotFoundError, UnauthenticatedError
from astrolabe.identity import ANONYMOUS, Principal
from astrolabe.identity.access import Resource
from astrolabe.identity.rights import Rights
from astrolabe.images.hips.trees import HipsTree, HipsTrees
from astrolabe.images.model import ImageCollection

__all__ = ["HipsAccess"]


class HipsAccess:
    """Finds trees for callers: what one may not see is not there.

    Parameters
    ----------
    trees
        All trees.
    rights
        Says who may do what.
    collections
        Gives all collections of images.
    """

    def __init__(
        self,
        trees: HipsTrees,
        rights: Rights,
        collections: Callable[[], Iterable[ImageCollection]],
    ) -> None:
        self._trees = trees
        self._rights = rights
        self._collections = collections

    def readable(self, principal: Principal) -> tuple[HipsTree, ...]:
        """Return the trees that a caller may read, by id."""
        resources = self._resources()
        return tuple(
            tree
            for tree in self._trees.all()
            if tree.info.collection.lower() in resources
            and self._rights.may(principal, "read", resources[tree.info.collection.lower()])
        )

    def get(self, principal: Principal, hips_id: str) -> HipsTree:
        """Return a tree that a caller may read.

        Raises
        ------
        NotFoundError
            Raised if there is none that he may see.
        UnauthenticatedError, ForbiddenError
            Raised if he may see but not read it.
        """
        tree = self._trees.get(hips_id)
        resource = self._resources().get(tree.info.collection.lower())
        if resource is not None and self._rights.may(principal, "read", resource):
            return tree
        if resource is None or not self._rights.may(principal, "list", resource):
            raise NotFoundError(
                f"There is no HiPS {hips_id[:100]!r}; /api/hips/hipslist lists those there are."
            )
        if principal.is_anonymous:
            raise UnauthenticatedError(f"Log in to read the HiPS {hips_id}.")
        raise ForbiddenError(f"You may not read the HiPS {hips_id}.")

    def is_public(self, tree: HipsTree) -> bool:
        """Whether everybody may read a tree."""
        resource = self._resources().get(tree.info.collection.lower())
        return resource is not None and self._rights.may(ANONYMOUS, "read", resource)

    def _resources(self) -> dict[str, Resource]:
        return {
            collection.name.lower(): Resource.of_collection(
                collection.name, release=collection.release
            )
            for collection in self._collections()
        }
