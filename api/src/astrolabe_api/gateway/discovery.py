"""The discovery document ``/.well-known/astrolabe``: every service and data set.

Its JSON schema is a promise to clients: fields may be added, never removed or changed.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from astrolabe.catalogs.model import CatalogView
from astrolabe.config import Settings
from astrolabe.core.version import SERVER_SOFTWARE, VERSION
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
    url: str = Field(description="Address of the collection.")


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


def discovery_document(settings: Settings, view: CatalogView) -> Discovery:
    """Return the document for the platform that `settings` describe."""
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
        collections=[],
    )


def _services(base: str) -> list[Service]:
    return [
        Service(
            name="tap",
            title="Queries in ADQL (Table Access Protocol)",
            standard_id="ivo://ivoa.net/std/TAP",
            version="1.1",
            url=f"{base}/api/tap",
            capabilities=f"{base}/api/tap/capabilities",
        ),
        Service(
            name="scs",
            title="Rows by position (Simple Cone Search), one service for each table",
            standard_id="ivo://ivoa.net/std/ConeSearch",
            version="1.03",
            url=f"{base}/api/scs",
            capabilities=f"{base}/api/scs/capabilities",
        ),
        Service(
            name="jobs",
            title="All jobs of the caller, of every service",
            standard_id=None,
            version=None,
            url=f"{base}/api/jobs",
        ),
        Service(
            name="health",
            title="State of the platform's parts",
            standard_id=None,
            version=None,
            url=f"{base}/health",
        ),
        Service(
            name="api",
            title="Description of the HTTP API (OpenAPI)",
            standard_id=None,
            version=None,
            url=f"{base}/api/openapi.json",
        ),
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
