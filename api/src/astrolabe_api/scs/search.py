"""Cone searches: the tables that have them, the query that each becomes, its streamed answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from typing_extensions import override

from astrolabe.catalogs.model import CatalogView
from astrolabe.catalogs.query import PreparedQuery, QueryRequest
from astrolabe.core.errors import NotFoundError
from astrolabe.identity import Principal
from astrolabe.tables.formats import OutputFormat
from astrolabe.tables.model import Info, ResultHeader, TableMeta, quote_name
from astrolabe.tables.writers import TableWriter, open_writer
from astrolabe.tables.writers.votable import VOTableWriter
from astrolabe.tables.writers.votable_document import Serialization, info_element, query_error
from astrolabe_api.common.query_stream import Presentation, query_response
from astrolabe_api.common.state import ApiState
from astrolabe_api.common.streaming import StreamedResponse
from astrolabe_api.scs.columns import ConeColumns
from astrolabe_api.scs.requests import ConeRequest

__all__ = ["ConeTable", "cone_query", "cone_response", "cone_tables", "find_cone_table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConeTable:
    """A table that can be searched by position.

    Parameters
    ----------
    meta
        The table.
    ra, dec
        Raw names of its main position columns (degrees, ICRS).
    """

    meta: TableMeta
    ra: str
    dec: str


def cone_tables(view: CatalogView) -> tuple[ConeTable, ...]:
    """Return every table with positions, in display order."""
    tables = (table for schema in view.schemas for table in schema.tables)
    return tuple(found for table in tables if (found := _with_positions(table)) is not None)


def find_cone_table(view: CatalogView, name: str) -> ConeTable:
    """Return the table `name`, written as in a query; without quotes in any case of letters.

    Raises
    ------
    NotFoundError
        Raised if there is no such table, or if it has no positions.
    """
    tables = [table for schema in view.schemas for table in schema.tables]
    exact = [t for t in tables if name in (t.adql_name, t.qualified_name)]
    folded = [t for t in tables if name.lower() == t.qualified_name.lower()]
    for table in (*exact, *folded):
        found = _with_positions(table)
        if found is not None:
            return found
        raise NotFoundError(
            f"The table {table.adql_name} has no positions to search; /api/scs/capabilities "
            "lists the tables that have."
        )
    raise NotFoundError(
        f"There is no table {name[:200]!r} to search; /api/scs/capabilities lists those there are."
    )


def cone_query(table: ConeTable, columns: ConeColumns, asked: ConeRequest) -> str:
    """Return the search as ADQL."""
    # No text of the user's can get in here: the three numbers are floats that were checked to be
    # finite, which repr() writes with all their digits, and the names are the catalog's own.
    selected = ", ".join(quote_name(column.name) for column in columns.selected)
    point = f"POINT({quote_name(table.ra)}, {quote_name(table.dec)})"
    circle = f"CIRCLE({asked.ra_deg!r}, {asked.dec_deg!r}, {asked.radius_deg!r})"
    return (
        f"SELECT {selected} FROM {table.meta.adql_name} "  # noqa: S608 - see above
        f"WHERE CONTAINS({point}, {circle}) = 1"
    )


def cone_response(
    state: ApiState,
    caller: Principal,
    table: ConeTable,
    asked: ConeRequest,
    *,
    address: str | None,
    compress: bool,
    headers_only: bool,
) -> StreamedResponse:
    """Return the answer to a cone search; it runs when the response is sent.

    Parameters
    ----------
    address
        The client's.
    compress
        Whether the client accepts gzip.
    headers_only
        Whether to check the search without running it (HEAD).
    """
    columns = ConeColumns(table.meta, table.ra, table.dec, asked.verbosity)
    request = QueryRequest(
        query=cone_query(table, columns, asked),
        maxrec=0 if asked.radius_deg == 0.0 else asked.maxrec,
        address=address,
    )

    def prepare() -> PreparedQuery:
        return state.context.queries.prepare(request, principal=caller)

    return query_response(
        state,
        prepare,
        Presentation(
            output=asked.output,
            name=table.meta.qualified_name,
            compress=compress,
            reshape_header=columns.header,
            reshape_batch=columns.batch,
            open_writer=_open_writer,
        ),
        gate=state.gate(caller, address),
        advice="Search a smaller cone, or run the query that the answer to MAXREC=0 names as an "
        f"async job at {state.url('/api/tap/async')}.",
        headers_only=headers_only,
    )


def _with_positions(table: TableMeta) -> ConeTable | None:
    if table.ra_column is None or table.dec_column is None:
        return None
    return ConeTable(meta=table, ra=table.ra_column, dec=table.dec_column)


_SERIALIZATIONS = {
    "votable/td": Serialization.TABLEDATA,
    "votable/b": Serialization.BINARY,
    "votable/b2": Serialization.BINARY2,
}


def _open_writer(output: OutputFormat, header: ResultHeader) -> TableWriter:
    serialization = _SERIALIZATIONS.get(output.name)
    if serialization is None:
        return open_writer(output, header)
    return _ConeVOTableWriter(header, serialization)


class _ConeVOTableWriter(VOTableWriter):
    """Tells of an error after the first rows in the way of cone search and in that of DALI.

    A client that knows only the first would take a search that broke off for a whole one.
    """

    @override
    def fail(self, message: str) -> Iterator[bytes]:
        yield self._ending(info_element(Info("Error", message)) + query_error(message))
