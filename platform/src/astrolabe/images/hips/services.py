"""Puts together what there is of HiPS."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from astrolabe.identity.authority import PLATFORM
from astrolabe.identity.rights import Rights
from astrolabe.images.access import ImageAccess
from astrolabe.images.hips.access import HipsAccess
from astrolabe.images.hips.allsky import AllskyFiles
from astrolabe.images.hips.making import HipsMaker
from astrolabe.images.hips.tables import TableCoverages
from astrolabe.images.hips.trees import HipsTrees
from astrolabe.images.reader import ImageReader
from astrolabe.images.store import ImageStore

__all__ = ["HipsServices"]


class HipsServices:
    """One process's services of HiPS.

    Parameters
    ----------
    folder
        Where trees are kept.
    rights
        Says who may do what.
    store, access
        Know the images and their collections.
    open_reader
        Gives what reads images.
    authority
        Of the identifiers that we make.
    """

    def __init__(
        self,
        *,
        folder: Path,
        rights: Rights,
        store: ImageStore,
        access: ImageAccess,
        open_reader: Callable[[], ImageReader],
        authority: str,
    ) -> None:
        self.authority = authority
        self._store = store
        self._open_reader = open_reader
        self._folder = folder
        self._rights = rights
        self._images = access

    @cached_property
    def trees(self) -> HipsTrees:
        """All trees of images; asks nobody for rights."""
        return HipsTrees(self._folder, authority=self.authority)

    @cached_property
    def access(self) -> HipsAccess:
        """The trees that callers may see and read."""
        return HipsAccess(self.trees, self._rights, lambda: self._images.collections(PLATFORM))

    @cached_property
    def tables(self) -> TableCoverages:
        """Density and coverage of tables; asks nobody for rights."""
        return TableCoverages()

    @cached_property
    def allsky(self) -> AllskyFiles:
        """Files of all tiles of a low order, as they were last asked for."""
        return AllskyFiles()

    @cached_property
    def maker(self) -> HipsMaker:
        """Makes trees of collections."""
        return HipsMaker(self.trees, self._store, self._open_reader())
