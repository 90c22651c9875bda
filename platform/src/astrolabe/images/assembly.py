"""Puts the services of images together; each is made when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from astrolabe.catalogs.store import CatalogStore
from astrolabe.core.database import Database
from astrolabe.identity.rights import Rights
from astrolabe.images.access import ImageAccess
from astrolabe.images.files import ImageFiles, S3Options
from astrolabe.images.hips.services import HipsServices
from astrolabe.images.links.of_images import LinkedImages
from astrolabe.images.obscore.publish import ObsCorePublisher
from astrolabe.images.obscore.row_rules import ObsCoreRowRules
from astrolabe.images.reader import ImageReader
from astrolabe.images.store import ImageStore

__all__ = ["ImageOptions", "ImageServices"]

# ruff: noqa: D102 - each option is described where the settings are


class ImageOptions(Protocol):
    """What the services need of the settings section ``images``."""

    @property
    def s3_endpoint(self) -> str | None: ...
    @property
    def s3_region(self) -> str | None: ...
    @property
    def s3_access_key(self) -> SecretStr | None: ...
    @property
    def s3_secret_key(self) -> SecretStr | None: ...
    @property
    def tile_cache_mb(self) -> int: ...
    @property
    def open_images(self) -> int: ...
    @property
    def sync_mpix(self) -> float: ...
    @property
    def job_mpix(self) -> float: ...
    @property
    def job_cutouts(self) -> int: ...
    @property
    def job_stamps(self) -> int: ...
    @property
    def mosaic_mpix(self) -> float: ...
    @property
    def mosaic_images(self) -> int: ...
    @property
    def links_ids(self) -> int: ...


class ImageServices:
    """One process's services of images.

    Parameters
    ----------
    database
        The control database.
    folder
        Where indexes, HiPS and images made here are kept.
    rights
        Says who may do what.
    options
        The settings section ``images``.
    authority
        Of the identifiers that we make.
    catalog
        The tables: where ``ivoa.ObsCore`` is published.
    public_url
        Of the platform, for links.
    on_close
        Takes what is to be called when the process ends.
    """

    def __init__(
        self,
        *,
        database: Database,
        folder: Path,
        rights: Rights,
        options: ImageOptions,
        authority: str,
        catalog: CatalogStore,
        public_url: str,
        on_close: Callable[[Callable[[], None]], object],
    ) -> None:
        self.folder = folder
        self.options = options
        self.authority = authority
        self.public_url = public_url
        self._catalog = catalog
        self._database = database
        self._rights = rights
        self._on_close = on_close

    @cached_property
    def store(self) -> ImageStore:
        """All images; asks nobody for rights."""
        return ImageStore(self._database, folder=self.folder)

    @cached_property
    def files(self) -> ImageFiles:
        """Opens image files, local ones and those of the object store."""
        files = ImageFiles(s3=self.s3_options)
        self._on_close(files.close)
        return files

    @cached_property
    def s3_options(self) -> S3Options:
        """How to reach the object store; other processes that read files are told."""
        options = self.options
        access, secret = options.s3_access_key, options.s3_secret_key
        return S3Options(
            endpoint=options.s3_endpoint,
            region=options.s3_region,
            access_key=None if access is None else access.get_secret_value(),
            secret_key=None if secret is None else secret.get_secret_value(),
        )

    @cached_property
    def reader(self) -> ImageReader:
        """Reads the pixels of images."""
        return ImageReader(
            self.files,
            self.folder,
            cache_bytes=self.options.tile_cache_mb << 20,
            open_images=self.options.open_images,
        )

    @cached_property
    def access(self) -> ImageAccess:
        """The images that callers may see and read."""
        return ImageAccess(self.store, self._rights)

    @cached_property
    def linked(self) -> LinkedImages:
        """Images with what belongs to them."""
        return LinkedImages(self.access, authority=self.authority)

    @cached_property
    def row_rules(self) -> ObsCoreRowRules:
        """Say whose rows of ``ivoa.ObsCore`` are whose."""
        return ObsCoreRowRules(self.access)

    @cached_property
    def obscore(self) -> ObsCorePublisher:
        """Publishes ``ivoa.ObsCore``."""
        return ObsCorePublisher(
            self.store,
            catalog=self._catalog,
            database=self._database,
            rights=self._rights,
            authority=self.authority,
            public_url=self.public_url,
        )

    @cached_property
    def hips(self) -> HipsServices:
        """HiPS of collections and tables, and coverage."""
        return HipsServices(
            folder=self.folder / "hips",
            rights=self._rights,
            store=self.store,
            access=self.access,
            open_reader=lambda: self.reader,
            authority=self.authority,
        )
