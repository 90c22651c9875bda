"""The links of rows of catalogs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote, urlencode

from astrolabe.catalogs.light_curves import LightCurveTable
from astrolabe.core.errors import AstrolabeError
from astrolabe.images.links.of_images import LinkedImage
from astrolabe.images.links.of_rows import RowLinks
from astrolabe.images.model import FITS_MEDIA_TYPE
from astrolabe.tables.model import Datatype, ServiceDescriptor, ServiceParam, TableMeta, quote_name
from astrolabe_api.common.descriptors import DATALINK_PATH, soda_descriptor
from astrolabe_api.datalink.gate import LinkGate
from astrolabe_api.datalink.links import ID_COLUMN, IMAGE_COLUMN, Link, LinkGroup
from astrolabe_api.datalink.of_images import ImageLinkMaker

__all__ = ["NEIGHBOURS_DEG", "RowLinkMaker"]

NEIGHBOURS_DEG: Final = 10.0 / 3600.0
_STAMP_DEG: Final = 15.0 / 3600.0
"""Radius of a cutout around a row."""

_VOTABLE: Final = "application/x-votable+xml"


class RowLinkMaker:
    """Makes the links of rows of one table for one answer.

    Parameters
    ----------
    base
        The platform's public address without a slash at its end.
    table
        The table.
    gate
        What the caller may do.
    anyone_may_read
        Whether everybody may read the table.
    images
        Makes the links of images.
    number
        Tells this table's services from those of others in the same answer.
    """

    def __init__(
        self,
        base: str,
        table: TableMeta,
        gate: LinkGate,
        *,
        anyone_may_read: bool,
        images: ImageLinkMaker,
        number: int = 1,
    ) -> None:
        self._base = base
        self._table = table
        self._images = images
        self._cone_id = f"cone-{number}"
        self._rights = {
            service: _columns(gate, service, anyone_may_read=anyone_may_read)
            for service in ("tap", "datalink")
        }

    def group(self, given: str, found: RowLinks | AstrolabeError) -> LinkGroup:
        """Return the links of what an identifier means."""
        if isinstance(found, AstrolabeError):
            return LinkGroup(given=given, links=(Link.of_error(found),))
        services = list(self._services(found))
        links = (
            self._this(found),
            *(self._light_curve(found, curve) for curve in found.light_curves),
            *self._neighbours(found),
            *(link for image in found.images for link in self._cutouts(found, image)),
            *self._preview(found),
        )
        return LinkGroup(given=given, links=links, services=services)

    def _this(self, row: RowLinks) -> Link:
        name = quote_name(self._table.id_column or "")
        # The names are the catalog's own, and the value was checked.
        query = f"SELECT * FROM {self._table.adql_name} WHERE {name} = {row.literal}"  # noqa: S608
        address = urlencode({"LANG": "ADQL", "QUERY": query}, quote_via=quote)
        return Link(
            access_url=f"{self._base}/api/tap/sync?{address}",
            description=f"The row of {self._table.adql_name}",
            content_type=_VOTABLE,
            local_semantics="row",
            **self._rights["tap"],
        )

    def _light_curve(self, row: RowLinks, curve: LightCurveTable) -> Link:
        return Link(
            access_url=self._service_address(
                "lightcurve", ID=row.row_id, TABLE=curve.meta.adql_name
            ),
            description=f"Light curve: {curve.meta.description or curve.meta.adql_name}",
            semantics="#derivation",
            content_type=_VOTABLE,
            content_qualifier="#light-curve",
            local_semantics=f"light-curve-{curve.meta.qualified_name}",
            **self._rights["datalink"],
        )

    def _neighbours(self, row: RowLinks) -> Iterator[Link]:
        if row.ra_deg is None:
            return
        yield Link(
            access_url=self._service_address(
                "cone", TABLE=self._table.adql_name, ID=row.row_id, SR=f"{NEIGHBOURS_DEG:.6f}"
            ),
            description=f"Rows of {self._table.adql_name} within 10 arcsec",
            semantics="#auxiliary",
            content_type=_VOTABLE,
            local_semantics="neighbours",
            **self._rights["datalink"],
        )
        yield Link(
            service_def=self._cone_id,
            description=f"Rows of {self._table.adql_name} around it",
            semantics="#proc",
            content_type=_VOTABLE,
            local_semantics="cone",
            **self._rights["datalink"],
        )

    def _cutouts(self, row: RowLinks, image: LinkedImage) -> Iterator[Link]:
        record = image.record
        band = record.obscore.get("band")
        where = f"the {band} band of {record.key.collection}" if band else record.key.collection
        name = f"cutout-{record.key.collection}" + (f"-{band}" if band else "")
        rights = self._images.rights(image, "soda")
        yield Link(
            access_url=self._images.cutout_address(image.did, POS=_circle(row)),
            description=f"Cutout in {where}",
            semantics="#cutout",
            content_type=FITS_MEDIA_TYPE,
            content_qualifier="#image",
            local_semantics=name,
            image_did=image.did,
            **rights,
        )
        yield Link(
            service_def="cutout-image",
            description=f"Cut another part out in {where}",
            semantics="#cutout",
            content_type=FITS_MEDIA_TYPE,
            local_semantics=f"{name}-service",
            image_did=image.did,
            **rights,
        )

    def _preview(self, row: RowLinks) -> Iterator[Link]:
        """Show the row in the image of the middle band."""
        if not row.images:
            return
        by_wavelength = sorted(row.images, key=lambda i: i.record.obscore.get("em_min") or 0.0)
        image = by_wavelength[len(by_wavelength) // 2]
        yield Link(
            access_url=self._images.cutout_address(
                image.did, POS=_circle(row), RESPONSEFORMAT="png"
            ),
            description="Picture of its surroundings",
            semantics="#preview",
            content_type="image/png",
            local_semantics="picture",
            image_did=image.did,
            **self._images.rights(image, "soda"),
        )

    def _services(self, row: RowLinks) -> Iterator[ServiceDescriptor]:
        if row.ra_deg is not None:
            yield self._cone()
        if row.images:
            yield soda_descriptor(self._base, column=IMAGE_COLUMN, service_id="cutout-image")

    def _cone(self) -> ServiceDescriptor:
        return ServiceDescriptor(
            name=f"Cone in {self._table.qualified_name}",
            description=f"Rows of {self._table.adql_name} around a row",
            access_url=f"{self._base}{DATALINK_PATH}/cone",
            content_type=_VOTABLE,
            service_id=self._cone_id,
            params=(
                ServiceParam(name="TABLE", value=self._table.adql_name),
                ServiceParam(name="ID", ucd="meta.id;meta.main", column=ID_COLUMN),
                ServiceParam(
                    name="SR",
                    datatype=Datatype.DOUBLE,
                    arraysize=None,
                    unit="deg",
                    ucd="phys.size.radius",
                    description="Radius; 10 arcsec without it",
                    minimum="0",
                    maximum="180",
                ),
            ),
        )

    def _service_address(self, service: str, **parameters: str) -> str:
        return f"{self._base}{DATALINK_PATH}/{service}?{urlencode(parameters, quote_via=quote)}"


def _columns(gate: LinkGate, service: str, *, anyone_may_read: bool) -> dict[str, Any]:
    found = gate.rights(service, "read:tap", may_read=True, anyone_may_read=anyone_may_read)
    return {"link_auth": found.link_auth, "link_authorized": found.link_authorized}


def _circle(row: RowLinks) -> str:
    return f"CIRCLE {row.ra_deg!r} {row.dec_deg!r} {_STAMP_DEG:.6f}"
