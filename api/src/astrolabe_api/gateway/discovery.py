"""The discovery document ``/.well-known/astrolabe``: every service and data set.

Its JSON schema is a promise to clients: fields may be added, never removed or changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from astrolabe.catalogs.model import CatalogView
from astrolabe.config import Settings
from astrolabe.core.version import SERVER_SOFTWARE, VERSION
from astrolabe.images.model import ImageCollection
from astrolabe.tables.model import SchemaMeta, TableMeta, quote_name
from astrolabe_api.common.state import public_base

__all__ = ["DISCOVERY_PATH", "Discovery", "discovery_document"]

DISCOVERY_PATH = "/.well-known/astrolabe"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, populate_by_name=True)


class Service(_Part):
    """One service."""

    name: str = Field(description="Short name, unique in the document.")
    title: str = Field(description="What the service is, for people.")
    standard_id: str | None = Field(
        alias="standardID",
        description="IVOA identifier of the standard that the service follows; null for our own.",
    )
    version: str | None = Field(description="Version of that standard.")
    url: str = Field(description="Address of the service: of TAP the base URL.")
    capabilities: str | None = Field(
        None, description="Address of its VOSI capabilities, if it has any."
    )


class TableEntry(_Part):
    """One table."""

    name: str = Field(description="Qualified name, as a query must write it.")
    description: str | None = Field(description="What the table holds.")
    rows: int | None = Field(description="Number of rows; null if it is not known.")
    columns: int = Field(description="Number of columns.")
    has_positions: bool = Field(description="Whether the rows have a place on the sky.")
    url: str = Field(description="Address of its VOSI description.")
    cone_search: str | None = Field(
        None, description="Address of its Simple Cone Search; null without positions."
    )


class SchemaEntry(_Part):
    """One schema and its tables."""

    name: str = Field(description="Name, as a query must write it.")
    description: str | None = Field(description="What the schema holds.")
    tables: list[TableEntry] = Field(description="Its tables, in display order.")


class Collection(_Part):
    """One collection of images."""

    name: str = Field(description="Name of the collection.")
    description: str | None = Field(description="What the collection holds.")
    url: str = Field(description="Address of the list of its images (SIA 2.0).")


class Discovery(_Part):
    """Every service and data set of an Astrolabe platform."""

    format: Literal["astrolabe-discovery/1"] = Field(
        "astrolabe-discovery/1", description="Name and version of this form."
    )
    title: str = Field(description="Name of this installation.")
    publisher: str = Field(description="Who publishes the data.")
    authority: str = Field(description="Authority of the identifiers made here (ivo://).")
    software: str = Field(description="Software and its version.")
    version: str = Field(description="Version of the software.")
    url: str = Field(description="Public address of the platform.")
    generation: int = Field(description="Grows with every published change of the tables.")
    services: list[Service] = Field(description="All services.")
    schemas: list[SchemaEntry] = Field(description="All schemas but TAP_SCHEMA.")
    collections: list[Collection] = Field(description="All image collections.")


def discovery_document(
    settings: Settings, view: CatalogView, collections: Iterable[ImageCollection]
) -> Discovery:
    """Return the document for the platform that `settings` describe.

    Parameters
    ----------
    view, collections
        The tables and the collections of images that the caller may see.
    """
    base = public_base(settings)
    return Discovery(
        title=settings.server.title,
        publisher=settings.server.publisher,
        authority=settings.server.authority,
        software=SERVER_SOFTWARE,
        version=VERSION,
        url=f"{base}/",
        generation=view.generation,
        services=_services(base),
        schemas=[_schema(base, schema) for schema in view.schemas],
        collections=[
            Collection(
                name=collection.name,
                description=collection.description or collection.title or None,
                url=f"{base}/api/sia/query?COLLECTION={quote(collection.name)}",
            )
            for collection in collections
        ],
    )


_SERVICES: Final = (
    ("tap", "Queries in ADQL (Table Access Protocol)", "ivo://ivoa.net/std/TAP", "1.1"),
    (
        "scs",
        "Rows by position (Simple Cone Search), one service for each table",
        "ivo://ivoa.net/std/ConeSearch",
        "1.03",
    ),
    (
        "sia",
        "Images by position, band and time (Simple Image Access)",
        "ivo://ivoa.net/std/SIA",
        "2.0",
    ),
    ("cutout", "Cutouts of images (SODA)", "ivo://ivoa.net/std/SODA", "1.0"),
    ("datalink", "What belongs to an image or an object", "ivo://ivoa.net/std/DataLink", "1.1"),
)
"""Services with capabilities: name below ``/api``, title, standard and its version."""

_OTHERS: Final = (
    ("mosaic", "Mosaics and coadds on demand, as jobs", None, None, "/api/mosaic"),
    (
        "hips",
        "Images of the sky to zoom into (HiPS)",
        "ivo://ivoa.net/std/hips#hipslist-1.0",
        "1.0",
        "/api/hips/hipslist",
    ),
    ("jobs", "All jobs of the caller, of every service", None, None, "/api/jobs"),
    ("health", "State of the platform's parts", None, None, "/health"),
    ("api", "Description of the HTTP API (OpenAPI)", None, None, "/api/openapi.json"),
)


def _services(base: str) -> list[Service]:
    with_capabilities = [
        Service(
            name=name,
            title=title,
            standard_id=standard,
            version=version,
            url=f"{base}/api/{name}",
            capabilities=f"{base}/api/{name}/capabilities",
        )
        for name, title, standard, version in _SERVICES
    ]
    return with_capabilities + [
        Service(name=name, title=title, standard_id=standard, version=version, url=f"{base}{path}")
        for name, title, standard, version, path in _OTHERS
    ]


def _schema(base: str, schema: SchemaMeta) -> SchemaEntry:
    return SchemaEntry(
        name=quote_name(schema.name),
        description=schema.description,
        tables=[_table(base, table) for table in schema.tables],
    )


def _table(base: str, table: TableMeta) -> TableEntry:
    has_positions = table.ra_column is not None and table.dec_column is not None
    return TableEntry(
        name=table.adql_name,
        description=table.description,
        rows=table.row_count,
        columns=len(table.columns),
        has_positions=has_positions,
        url=f"{base}/api/tap/tables/{quote(table.adql_name)}",
        cone_search=f"{base}/api/scs/{quote(table.adql_name)}" if has_positions else None,
    )
