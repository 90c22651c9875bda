"""Service descriptors: what can be done with the rows of a table and with images (DataLink 1.1).

The parameters of cutouts are declared here once: DataLink, SIA, TAP and the capabilities of the
cutout service all show the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from astrolabe.catalogs.identifying import OBSCORE_TABLE
from astrolabe.images.model import ImageRecord, PlaneKind
from astrolabe.images.soda.formats import SODA_FORMATS
from astrolabe.images.writers.color_maps import COLOR_MAPS
from astrolabe.images.writers.pictures import Stretch
from astrolabe.sky.vectors import separation_deg
from astrolabe.tables.model import (
    Datatype,
    IdentifierColumn,
    ResultHeader,
    ServiceDescriptor,
    ServiceParam,
)

__all__ = [
    "CUTOUT_PATH",
    "DATALINK_MIME",
    "DATALINK_PATH",
    "LINKS_STANDARD_ID",
    "SODA_ASYNC_ID",
    "SODA_SYNC_ID",
    "ImageBounds",
    "has_axes",
    "links_descriptor",
    "row_links_descriptor",
    "soda_descriptor",
    "soda_params",
    "with_services",
]

DATALINK_PATH = "/api/datalink"
CUTOUT_PATH = "/api/cutout"

DATALINK_MIME = "application/x-votable+xml;content=datalink"
"""Exactly so, without a blank: clients compare it as text."""

LINKS_STANDARD_ID = "ivo://ivoa.net/std/DataLink#links-1.1"
SODA_SYNC_ID = "ivo://ivoa.net/std/SODA#sync-1.0"
SODA_ASYNC_ID = "ivo://ivoa.net/std/SODA#async-1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBounds:
    """The extent of an image, which bounds what can be cut out of it.

    Parameters
    ----------
    circle
        ICRS centre and radius (deg) of a circle around all of it.
    polygon
        ICRS vertices (deg), longitude and latitude in turn.
    band
        Wavelengths (m).
    time
        MJD (UTC).
    pol
        Polarisation states.
    planes
        The planes that there are.
    """

    circle: tuple[float, float, float] | None = None
    polygon: tuple[float, ...] = ()
    band: tuple[float, float] | None = None
    time: tuple[float, float] | None = None
    pol: tuple[str, ...] = ()
    planes: tuple[PlaneKind, ...] = tuple(PlaneKind)

    @classmethod
    def of(cls, record: ImageRecord) -> ImageBounds:
        """Return the bounds that an image's ObsCore row tells."""
        row = record.obscore
        polygon = tuple(float(x) for x in row.get("s_region") or ())
        states = str(row.get("pol_states") or "").strip("/").split("/")
        return cls(
            circle=_circle_around(row.get("s_ra"), row.get("s_dec"), polygon),
            polygon=polygon,
            band=_interval(row.get("em_min"), row.get("em_max")),
            time=_interval(row.get("t_min"), row.get("t_max")),
            pol=tuple(state for state in states if state),
            planes=tuple(kind for kind in PlaneKind if kind in record.planes),
        )


def has_axes(record: ImageRecord) -> bool:
    """Whether an image has an axis that a part could be cut out along."""
    row = record.obscore
    known = any(row.get(name) is not None for name in ("s_region", "pol_states"))
    return known or any(
        _interval(row.get(f"{axis}_min"), row.get(f"{axis}_max")) for axis in ("em", "t")
    )


def soda_params(
    bounds: ImageBounds | None = None,
    *,
    column: str | None = None,
    did: str = "",
    is_async: bool = False,
) -> tuple[ServiceParam, ...]:
    """Return the parameters of a cutout (SODA 1.0, section 3) and our own.

    Parameters
    ----------
    bounds
        Of the image; without them the parameters have none.
    column
        Name of the column that ID comes from.
    did
        The identifier, where it is always the same.
    is_async
        Whether to tell those of jobs, too.
    """
    known = bounds or ImageBounds()
    shapes = (
        ServiceParam(
            name="ID",
            ucd="meta.ref.url;meta.curation",
            description="Identifier of the image, obs_publisher_did in ObsCore",
            value=did,
            column=column,
        ),
        ServiceParam(
            name="CIRCLE",
            datatype=Datatype.DOUBLE,
            arraysize="3",
            unit="deg",
            ucd="pos.outline;obs",
            xtype="circle",
            description="A circle to be covered: centre and radius, ICRS",
            maximum=_numbers(known.circle),
        ),
        ServiceParam(
            name="POLYGON",
            datatype=Datatype.DOUBLE,
            unit="deg",
            ucd="pos.outline;obs",
            xtype="polygon",
            description="A polygon to be covered: longitude and latitude of each vertex, ICRS",
            maximum=_numbers(known.polygon),
        ),
        ServiceParam(
            name="POS",
            ucd="pos.outline;obs",
            description="A region to be covered: CIRCLE, RANGE or POLYGON and numbers (deg, ICRS)",
        ),
    )
    own = (*_own_params(known), *_JOB_PARAMS) if is_async else _own_params(known)
    return (*shapes, *_axis_params(known), *own)


def soda_descriptor(
    base: str,
    *,
    bounds: ImageBounds | None = None,
    column: str | None = None,
    did: str = "",
    service_id: str | None = None,
    of: str | None = None,
    is_async: bool = False,
) -> ServiceDescriptor:
    """Return the descriptor of the cutout service; see `soda_params`.

    Parameters
    ----------
    base
        The platform's public address without a slash at its end.
    service_id
        XML ID by which rows refer to it.
    of
        What is cut, where a document describes the service more than once.
    is_async
        Whether to describe the jobs instead.
    """
    name = "Cutouts as jobs" if is_async else "Cutouts"
    return ServiceDescriptor(
        name=name if of is None else f"{name} of {of}",
        description="Cuts a part out of an image",
        access_url=f"{base}{CUTOUT_PATH}/{'async' if is_async else 'sync'}",
        standard_id=SODA_ASYNC_ID if is_async else SODA_SYNC_ID,
        content_type=None if is_async else "application/fits",
        params=soda_params(bounds, column=column, did=did, is_async=is_async),
        service_id=service_id,
    )


def links_descriptor(
    base: str, *, column: str | None = None, is_self: bool = False
) -> ServiceDescriptor:
    """Return the descriptor of the links of everything that has an ``ivo://`` identifier."""
    return _links(f"{base}{DATALINK_PATH}/links", column=column, is_self=is_self)


def row_links_descriptor(
    base: str, table: str, *, column: str | None = None, is_self: bool = False
) -> ServiceDescriptor:
    """Return the descriptor of the links of a table's rows by their bare ids.

    Parameters
    ----------
    table
        Qualified name of the table.
    """
    address = f"{base}{DATALINK_PATH}/{quote(table)}/links"
    return _links(address, of=table, column=column, is_self=is_self)


def with_services(header: ResultHeader, base: str) -> ResultHeader:
    """Return the header of a result with the services that its rows can be given to.

    Parameters
    ----------
    header
        Of the result; its `identifiers` say which columns name rows of which tables.
    base
        The platform's public address without a slash at its end.
    """
    names = {column.name for column in header.columns}
    services = [
        service
        for found in header.identifiers
        if found.column in names
        for service in _services_of(found, base)
    ]
    new = tuple(service for service in services if service not in header.services)
    return replace(header, services=(*header.services, *new)) if new else header


def _services_of(found: IdentifierColumn, base: str) -> tuple[ServiceDescriptor, ...]:
    if found.table.lower() == OBSCORE_TABLE:
        return (
            links_descriptor(base, column=found.column),
            soda_descriptor(base, column=found.column),
        )
    curves = (_light_curve(base, table, found.column) for table in found.light_curves)
    return (row_links_descriptor(base, found.table, column=found.column), *curves)


def _light_curve(base: str, table: str, column: str) -> ServiceDescriptor:
    return ServiceDescriptor(
        name=f"Light curve from {table}",
        description=f"Rows of {table} that belong to a row, in the order of time",
        access_url=f"{base}{DATALINK_PATH}/lightcurve",
        content_type="application/x-votable+xml",
        params=(
            ServiceParam(name="ID", ucd="meta.id", column=column, description="Id of the row"),
            ServiceParam(name="TABLE", value=table, description="The table of measurements"),
            ServiceParam(name="BAND", description="Names of filter bands; all without it"),
        ),
    )


def _links(
    address: str, *, of: str = "images", column: str | None, is_self: bool
) -> ServiceDescriptor:
    return ServiceDescriptor(
        name="this" if is_self else f"Links of {of}",
        description="Data and services that belong to an identifier",
        access_url=address,
        standard_id=LINKS_STANDARD_ID,
        content_type=DATALINK_MIME,
        is_self=is_self,
        params=(
            ServiceParam(
                name="ID",
                ucd="meta.id;meta.main",
                column=column,
                description="Identifier of what the links belong to; may be repeated",
            ),
        ),
    )


def _axis_params(bounds: ImageBounds) -> tuple[ServiceParam, ...]:
    return (
        ServiceParam(
            name="BAND",
            datatype=Datatype.DOUBLE,
            arraysize="2",
            unit="m",
            ucd="em.wl;stat.interval",
            xtype="interval",
            description="Wavelengths to be kept of a cube",
            maximum=_numbers(bounds.band),
        ),
        ServiceParam(
            name="TIME",
            datatype=Datatype.DOUBLE,
            arraysize="2",
            unit="d",
            ucd="time.interval;obs.exposure",
            xtype="interval",
            description="Times to be kept (MJD, UTC)",
            maximum=_numbers(bounds.time),
        ),
        ServiceParam(
            name="POL",
            ucd="meta.code;phys.polarization",
            description="Polarisation states to be kept; may be repeated",
            options=bounds.pol,
        ),
    )


def _own_params(bounds: ImageBounds) -> tuple[ServiceParam, ...]:
    """Return the parameters that no standard has."""
    return (
        ServiceParam(
            name="PLANES",
            description="Planes to be given, joined by commas; the image alone without it",
            options=_plane_choices(bounds.planes),
        ),
        ServiceParam(
            name="RESPONSEFORMAT",
            description="Form of the cutout by its media type, or as one of "
            f"{', '.join(form.kind.value for form in SODA_FORMATS)}; FITS without it",
            options=tuple(form.mime for form in SODA_FORMATS),
        ),
        ServiceParam(
            name="STRETCH",
            description="How a picture's values become brightness",
            options=tuple(Stretch),
        ),
        ServiceParam(
            name="LIMITS",
            description="Values that are black and white in a picture: 'low high', 'zscale', "
            "'minmax', or the share of the pixels between them such as '99.5%'",
        ),
        ServiceParam(name="CMAP", description="Colour map of a picture", options=COLOR_MAPS),
        ServiceParam(
            name="RGB",
            description="Identifiers of the images for red, green and blue, joined by commas, ID "
            "among them: a picture in colours",
        ),
    )


_JOB_PARAMS = (
    ServiceParam(
        name="UPLOAD",
        description="A table of positions to cut stamps around: 'positions,param:part', or "
        "'positions,ADDRESS' of the result of a job; its columns ra and dec, and as one likes "
        "size and id. Beside it 'images,...', a table whose column obs_publisher_did names the "
        "images in the place of ID. BAND and TIME then choose among the images",
    ),
    ServiceParam(
        name="SIZE",
        datatype=Datatype.DOUBLE,
        arraysize=None,
        unit="deg",
        ucd="phys.angSize",
        description="Width of stamps around positions that have no size of their own",
    ),
    ServiceParam(
        name="FILTER",
        ucd="instr.bandpass",
        description="Names of bands, joined by commas: stamps around positions are cut from images "
        "of these only",
    ),
)


def _plane_choices(planes: Sequence[PlaneKind]) -> tuple[str, ...]:
    single = tuple(kind.value for kind in planes)
    return (*single, ",".join(single)) if len(single) > 1 else single


def _circle_around(
    ra_deg: float | None, dec_deg: float | None, polygon: Sequence[float]
) -> tuple[float, float, float] | None:
    if ra_deg is None or dec_deg is None or not polygon:
        return None
    radius = separation_deg(ra_deg, dec_deg, polygon[0::2], polygon[1::2]).max()
    return float(ra_deg), float(dec_deg), float(radius)


def _interval(low: float | None, high: float | None) -> tuple[float, float] | None:
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return None
    return float(low), float(high)


def _numbers(values: Sequence[float] | None) -> str | None:
    return " ".join(f"{value:.10g}" for value in values) if values else None
