"""Links as DataLink tells them: their columns, and the document they are in (DataLink 1.1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Final

import pyarrow as pa

from astrolabe.core.errors import AstrolabeError
from astrolabe.tables.model import (
    Column,
    Datatype,
    Info,
    ResultHeader,
    ServiceDescriptor,
    ServiceParam,
    arrow_type,
)
from astrolabe.tables.writers.votable import VOTableWriter
from astrolabe.tables.writers.votable_document import Serialization
from astrolabe_api.common.descriptors import LINKS_STANDARD_ID
from astrolabe_api.common.errors import Failure, fault_name

__all__ = ["ID_COLUMN", "IMAGE_COLUMN", "Link", "LinkGroup", "links_document"]

ID_COLUMN: Final = "ID"
IMAGE_COLUMN: Final = "image_did"
"""Our own column: the image that a service is to be asked for, where ID is a row's."""

_ROWS_AT_ONCE: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One link (DataLink 1.1, section 3.2); exactly one of the first three is given.

    Parameters
    ----------
    access_url
        Address of the data.
    service_def
        XML ID of a service's description.
    error_message
        What is wrong, with the kind of fault before it.
    description
        For people.
    semantics
        A term of the core vocabulary.
    content_type, content_length
        Media type, and size in bytes, of what comes.
    content_qualifier
        A term of the vocabulary of product types.
    local_semantics
        Tells apart links of the same semantics, in all documents of ours alike.
    link_auth
        ``true`` where one has to log in, ``optional`` where one need not.
    link_authorized
        Whether the caller may use it.
    image_did
        See `IMAGE_COLUMN`.
    """

    access_url: str | None = None
    service_def: str | None = None
    error_message: str | None = None
    description: str | None = None
    semantics: str = "#this"
    content_type: str | None = None
    content_length: int | None = None
    content_qualifier: str | None = None
    local_semantics: str | None = None
    link_auth: str | None = None
    link_authorized: bool | None = None
    image_did: str | None = None

    @classmethod
    def of_error(cls, error: AstrolabeError) -> Link:
        """Return the row that tells what is wrong with an identifier."""
        failure = Failure.of(error)
        return cls(error_message=f"{fault_name(failure)}: {failure.detail}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkGroup:
    """All links of one identifier.

    Parameters
    ----------
    given
        The identifier as it was sent.
    links
        At least one.
    services
        What the links refer to and is not described yet.
    """

    given: str
    links: Sequence[Link]
    services: Sequence[ServiceDescriptor] = field(default=())


def _text(name: str, ucd: str | None, description: str) -> Column:
    return Column(
        name=name, datatype=Datatype.CHAR, arraysize="*", ucd=ucd, description=description
    )


_COLUMNS: Final = (
    _text(ID_COLUMN, "meta.id;meta.main", "Identifier as it was asked for"),
    _text("access_url", "meta.ref.url", "Address of the data"),
    _text("service_def", "meta.ref", "Description of the service, by its XML ID"),
    _text("error_message", "meta.code.error", "Why there is no link"),
    _text("description", "meta.note", "What it is"),
    _text("semantics", "meta.code", "What it is to the identifier: a term of the core vocabulary"),
    _text("content_type", "meta.code.mime", "Media type of what comes"),
    Column(
        name="content_length",
        datatype=Datatype.LONG,
        unit="byte",
        ucd="phys.size;meta.file",
        description="Size of what comes",
    ),
    _text("content_qualifier", None, "Type of the data product"),
    _text("local_semantics", "meta.id.assoc", "Name of this link, the same for every identifier"),
    _text("link_auth", "meta.code", "Whether one has to log in: true or optional"),
    Column(
        name="link_authorized",
        datatype=Datatype.BOOLEAN,
        ucd="meta.code",
        description="Whether you may use it",
    ),
    _text(IMAGE_COLUMN, "meta.ref.ivoid", "Image to ask a cutout service for"),
)
_LINK_COLUMNS: Final = tuple(column.name for column in _COLUMNS[1:])
_SCHEMA: Final = pa.schema([(column.name, arrow_type(column)) for column in _COLUMNS])

# The columns that services refer to need an XML ID from the start; which services there are is
# known when all rows are written.
_REFERRING: Final = ServiceDescriptor(
    name="",
    access_url="",
    params=tuple(ServiceParam(name=name, column=name) for name in (ID_COLUMN, IMAGE_COLUMN)),
)


def links_document(
    groups: Iterable[LinkGroup], *, itself: ServiceDescriptor, overflow: bool
) -> Iterator[bytes]:
    """Yield a VOTable of links in TABLEDATA; memory does not grow with the identifiers.

    Parameters
    ----------
    groups
        The links of each identifier.
    itself
        The service that answers.
    overflow
        Whether there were more identifiers than are answered.
    """
    infos = (Info("standardID", LINKS_STANDARD_ID),)
    header = ResultHeader(columns=_COLUMNS, infos=infos, table_name="links", services=(_REFERRING,))
    services = {"": itself}
    with closing(VOTableWriter(header, Serialization.TABLEDATA)) as writer:
        yield from writer.start()
        rows: list[dict[str, object]] = []
        for group in groups:
            services |= {str(service.service_id): service for service in group.services}
            rows += [_row(group.given, link) for link in group.links]
            if len(rows) >= _ROWS_AT_ONCE:
                yield from writer.write(pa.RecordBatch.from_pylist(rows, schema=_SCHEMA))
                rows.clear()
        if rows:
            yield from writer.write(pa.RecordBatch.from_pylist(rows, schema=_SCHEMA))
        writer.header = replace(header, services=tuple(services.values()))
        yield from writer.finish(overflow=overflow)


def _row(given: str, link: Link) -> dict[str, object]:
    return {ID_COLUMN: given, **{name: getattr(link, name) for name in _LINK_COLUMNS}}
