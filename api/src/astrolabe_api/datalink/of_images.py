"""The links of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Final
from urllib.parse import quote, urlencode

from astrolabe.core.errors import AstrolabeError
from astrolabe.images.hips.trees import HipsInfo
from astrolabe.images.links.of_images import ImageLinks, LinkedImage
from astrolabe.images.model import FITS_MEDIA_TYPE, ImageRecord, PlaneKind
from astrolabe.tables.model import ServiceDescriptor
from astrolabe_api.common.descriptors import CUTOUT_PATH, ImageBounds, has_axes, soda_descriptor
from astrolabe_api.datalink.gate import LinkGate
from astrolabe_api.datalink.links import ID_COLUMN, Link, LinkGroup

__all__ = ["ImageLinkMaker"]

_BOUNDED: Final = 100
"""Images of one document whose cutouts are described each for itself, with its bounds."""

_PLANES: Final = {
    PlaneKind.MASK: ("#auxiliary", "Mask of the image"),
    PlaneKind.VARIANCE: ("#error", "Variances of the image's pixels"),
}


class ImageLinkMaker:
    """Makes the links of images for one answer.

    Parameters
    ----------
    base
        The platform's public address without a slash at its end.
    gate
        What the caller may do.
    hips
        The HiPS that the caller may read, and whether everybody may.
    """

    def __init__(
        self, base: str, gate: LinkGate, *, hips: Sequence[tuple[HipsInfo, bool]] = ()
    ) -> None:
        self._base = base
        self._gate = gate
        self._hips = hips
        self._described = 0
        self._rights: dict[tuple[str, bool, bool], dict[str, Any]] = {}

    def group(self, given: str, found: ImageLinks | AstrolabeError) -> LinkGroup:
        """Return the links of what an identifier means."""
        if isinstance(found, AstrolabeError):
            return LinkGroup(given=given, links=(Link.of_error(found),))
        services = self._cutouts(found.image.record)
        links = (
            self._this(found.image),
            self._preview(found.image),
            *(self._service(found.image, service) for service in services),
            *self._planes(found.image),
            *(self._progenitor(image) for image in found.progenitors),
            *self._hips_of(found.image.record),
            *_documentation(found),
        )
        return LinkGroup(given=given, links=links, services=services)

    def cutout_address(self, did: str, **parameters: str) -> str:
        """Return the address of a cutout."""
        query = urlencode({"ID": did, **parameters}, quote_via=quote)
        return f"{self._base}{CUTOUT_PATH}/sync?{query}"

    def rights(self, image: LinkedImage, service: str) -> dict[str, Any]:
        """Return the columns that say who may use a link to the pixels of an image."""
        key = (service, image.may_read, image.anyone_may_read)
        known = self._rights.get(key)
        if known is None:
            found = self._gate.rights(
                service,
                "read:image",
                may_read=image.may_read,
                anyone_may_read=image.anyone_may_read,
            )
            known = self._rights[key] = {
                "link_auth": found.link_auth,
                "link_authorized": found.link_authorized,
            }
        return known

    def _this(self, image: LinkedImage) -> Link:
        record = image.record
        return Link(
            access_url=self._file_address(record),
            description=f"The file of {_title(record)}",
            content_type=record.media_type,
            content_length=record.size_bytes,
            content_qualifier=_qualifier(record),
            local_semantics="file",
            **self.rights(image, "images"),
        )

    def _preview(self, image: LinkedImage) -> Link:
        return Link(
            access_url=self.cutout_address(image.did, RESPONSEFORMAT="png"),
            description=f"Picture of {_title(image.record)}",
            semantics="#preview",
            content_type="image/png",
            local_semantics="picture",
            **self.rights(image, "soda"),
        )

    def _service(self, image: LinkedImage, service: ServiceDescriptor) -> Link:
        is_sync = service.content_type is not None
        return Link(
            service_def=service.service_id,
            description="Cut a part out" if is_sync else "Cut many parts out, as a job",
            semantics="#cutout",
            content_type=service.content_type,
            local_semantics="cutout" if is_sync else "cutout-job",
            image_did=image.did,
            **self.rights(image, "soda"),
        )

    def _planes(self, image: LinkedImage) -> Iterator[Link]:
        for kind, (semantics, what) in _PLANES.items():
            if kind in image.record.planes:
                yield Link(
                    access_url=self.cutout_address(image.did, PLANES=kind.value),
                    description=what,
                    semantics=semantics,
                    content_type=FITS_MEDIA_TYPE,
                    local_semantics=kind.value,
                    **self.rights(image, "soda"),
                )

    def _progenitor(self, image: LinkedImage) -> Link:
        return Link(
            access_url=self._file_address(image.record),
            description=f"Made of {_title(image.record)}",
            semantics="#progenitor",
            content_type=image.record.media_type,
            content_length=image.record.size_bytes,
            content_qualifier=_qualifier(image.record),
            local_semantics="progenitor",
            image_did=image.did,
            **self.rights(image, "images"),
        )

    def _hips_of(self, record: ImageRecord) -> Iterator[Link]:
        for info, is_public in self._hips:
            if info.collection.lower() == record.key.collection.lower():
                rights = self._gate.rights(
                    "hips", "read:image", may_read=True, anyone_may_read=is_public
                )
                yield Link(
                    access_url=f"{self._base}/api/hips/{quote(info.hips_id)}",
                    description=f"The whole collection as a HiPS: {info.title}",
                    semantics="#derivation",
                    content_type="application/hips",
                    local_semantics=f"hips-{info.hips_id}",
                    link_auth=rights.link_auth,
                    link_authorized=rights.link_authorized,
                )

    def _cutouts(self, record: ImageRecord) -> tuple[ServiceDescriptor, ...]:
        """Describe the cutout services for an image; when there are many, for all of them at once.

        ID comes from the row in every case: some clients take the first description that they
        find, and would cut out of the wrong image.
        """
        if not has_axes(record):
            return ()
        if self._described >= _BOUNDED:
            return (self._of_all, self._jobs)
        self._described += 1
        own = soda_descriptor(
            self._base,
            bounds=ImageBounds.of(record),
            of=record.key.path,
            column=ID_COLUMN,
            service_id=f"cutout-{self._described}",
        )
        return (own, self._jobs)

    @cached_property
    def _of_all(self) -> ServiceDescriptor:
        return soda_descriptor(self._base, column=ID_COLUMN, service_id="cutout")

    @cached_property
    def _jobs(self) -> ServiceDescriptor:
        return soda_descriptor(
            self._base, column=ID_COLUMN, service_id="cutout-jobs", is_async=True
        )

    def _file_address(self, record: ImageRecord) -> str:
        collection, image = quote(record.key.collection), quote(record.key.image_id)
        return f"{self._base}/api/images/{collection}/{image}"


def _documentation(found: ImageLinks) -> Iterator[Link]:
    collection = found.collection
    if collection is not None and collection.documentation is not None:
        # The vocabulary has #documentation; validators that carry its first version do not, and
        # #auxiliary is right by both.
        yield Link(
            access_url=collection.documentation,
            description=f"About the collection {collection.name}",
            semantics="#auxiliary",
            content_type="text/html",
            local_semantics="documentation",
        )


def _title(record: ImageRecord) -> str:
    title = record.obscore.get("obs_title")
    return str(title) if title else f"the image {record.key.path}"


def _qualifier(record: ImageRecord) -> str:
    """Return the term of the vocabulary of product types."""
    return "#cube" if record.obscore.get("dataproduct_type") == "cube" else "#image"
