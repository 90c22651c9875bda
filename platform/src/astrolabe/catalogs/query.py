"""Running queries: check, plan, execute, limit and describe.

This is the one way in which any service runs ADQL; it knows no protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from astrolabe.adql import check_query
from astrolabe.adql.names import Identifier
from astrolabe.adql.tree import CheckedQuery
from astrolabe.catalogs.engine import (
    CancelToken,
    Engine,
    FileScan,
    PairScan,
    QueryPlan,
    ResultStream,
)
from astrolabe.catalogs.identifying import find_identifiers
from astrolabe.catalogs.model import CatalogView
from astrolabe.catalogs.pair_joins import with_pairs
from astrolabe.catalogs.permissions import ReadableCatalog
from astrolabe.catalogs.planning import RowGroups, metadata_answer, plan_query
from astrolabe.catalogs.planning.pairing import PlannedPair
from astrolabe.catalogs.uploads import UPLOAD_SCHEMA, UploadedTable
from astrolabe.catalogs.view import StoredView
from astrolabe.core.clock import format_utc, utc_now
from astrolabe.core.errors import BadParameterError, TooLargeError
from astrolabe.identity import Principal
from astrolabe.identity.quotas import Quotas
from astrolabe.tables.conform import conform
from astrolabe.tables.model import (
    CoordinateSystem,
    Info,
    ResultHeader,
    SchemaMeta,
    TableMeta,
)

__all__ = [
    "LANGUAGES",
    "MetadataTables",
    "PreparedQuery",
    "QueryRequest",
    "QueryService",
    "RunningQuery",
]

LANGUAGES = ("ADQL", "ADQL-2.0", "ADQL-2.1")
"""Values of LANG, without regard to case."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QueryRequest:
    """One query as asked.

    Parameters
    ----------
    query, lang
        The text and its language.
    maxrec
        Rows to give at most; `None` for the service's default.
    uploads
        Tables that come with it.
    address
        Of the client, on whose account an anonymous query is put.
    """

    query: str
    lang: str = "ADQL"
    maxrec: int | None = None
    uploads: tuple[UploadedTable, ...] = ()
    address: str | None = None


class MetadataTables(Protocol):
    """TAP_SCHEMA of one generation of the catalog."""

    @property
    def schema(self) -> SchemaMeta:
        """TAP_SCHEMA's own description."""

    @property
    def data(self) -> dict[str, pa.Table]:
        """The rows of each of its tables by raw table name."""


class RunningQuery:
    """A query whose rows are coming; iterate once, then read `overflow`.

    Parameters
    ----------
    header
        Description of the result.
    stream
        The engine's rows, `None` when there are none to come.
    maxrec
        Rows to give at most; the stream was asked for one row more.
    """

    def __init__(self, *, header: ResultHeader, stream: ResultStream | None, maxrec: int) -> None:
        self.header = header
        self.overflow = maxrec == 0
        self.row_count = 0
        self._stream = stream
        self._maxrec = maxrec

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        if self._stream is None:
            return
        for raw in self._stream:
            room = self._maxrec - self.row_count
            if raw.num_rows > room:
                self.overflow = True
            batch = conform(raw.slice(0, room), self.header.columns)
            self.row_count += batch.num_rows
            if batch.num_rows:
                yield batch
            if self.overflow:
                break
        self.close()

    def close(self) -> None:
        """Stop the query if it runs and free what it holds."""
        if self._stream is not None:
            self._stream.close()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedQuery:
    """A checked query, ready to run once.

    Parameters
    ----------
    checked
        The query.
    metadata_only
        Whether it reads nothing but TAP_SCHEMA and uploads: such queries never wait behind
        science queries.
    maxrec
        Rows to give at most.
    header
        Description of the result.
    """

    checked: CheckedQuery
    metadata_only: bool
    maxrec: int
    header: ResultHeader
    run: Callable[[CancelToken], ResultStream]

    def start(self, cancel: CancelToken) -> RunningQuery:
        """Run the query; returns when the first rows or an error can be told."""
        stream = self.run(cancel) if self.maxrec > 0 else None
        return RunningQuery(header=self.header, stream=stream, maxrec=self.maxrec)


class QueryService:
    """Runs ADQL on the catalog.

    Parameters
    ----------
    readable
        Gives the catalog's view as a caller may see it.
    metadata_tables
        Gives TAP_SCHEMA of a view.
    engine
        Runs the plans.
    maxrec_default, maxrec_hard
        Rows given without MAXREC, and at most.
    query_characters
        Longest text of a query.
    server_software, publisher
        Named in every result.
    row_groups
        Reads the indexes of keys for the planner; without it they are not used.
    quotas
        Say how many rows and bytes a caller may have; without them there is no limit.
    """

    def __init__(
        self,
        *,
        readable: ReadableCatalog,
        metadata_tables: Callable[[CatalogView], MetadataTables],
        engine: Engine,
        maxrec_default: int,
        maxrec_hard: int,
        query_characters: int,
        server_software: str,
        publisher: str,
        row_groups: RowGroups | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        self._row_groups = row_groups
        self._quotas = quotas
        self._readable = readable
        self._metadata_tables = metadata_tables
        self._engine = engine
        self._maxrec_default = maxrec_default
        self._maxrec_hard = maxrec_hard
        self._query_characters = query_characters
        self._server_software = server_software
        self._publisher = publisher

    def prepare(self, request: QueryRequest, *, principal: Principal) -> PreparedQuery:
        """Check and plan a query.

        Raises
        ------
        BadParameterError
            Raised if LANG is unknown or MAXREC negative.
        TooLargeError
            Raised if the text is too long.
        QueryError
            Raised if the query is wrong; says where.
        QuotaExceededError
            Raised if the caller may have no rows at all.
        """
        maxrec = self._within_quota(self._checked_limits(request), principal)

        def prepared(view: StoredView) -> PreparedQuery:
            return self._prepared(request, principal, view, maxrec)

        return self._readable.find(principal, prepared)

    def _prepared(
        self, request: QueryRequest, principal: Principal, view: StoredView, maxrec: int
    ) -> PreparedQuery:
        lookup = _Lookup(view, self._metadata_tables(view), request.uploads, principal)
        checked = check_query(request.query, lookup)
        memory = {
            source.key: data
            for source in checked.tables
            if (data := lookup.rows(source.table)) is not None
        }

        def charge(plan: QueryPlan) -> None:
            self._charge(plan, request, principal)

        def run(cancel: CancelToken) -> ResultStream:
            answer = metadata_answer(checked, view)
            if answer is not None:
                return _TableStream(answer)
            planned = _Run(self._engine, view, self._row_groups, cancel, charge)
            return planned.stream(checked, memory, row_limit=maxrec + 1)

        return PreparedQuery(
            checked=checked,
            metadata_only=len(memory) == len(checked.tables),
            maxrec=maxrec,
            header=self._header(request, checked, view),
            run=run,
        )

    def start(
        self, request: QueryRequest, *, principal: Principal, cancel: CancelToken
    ) -> RunningQuery:
        """Check, plan and run a query."""
        return self.prepare(request, principal=principal).start(cancel)

    def _checked_limits(self, request: QueryRequest) -> int:
        if request.lang.upper() not in LANGUAGES:
            raise BadParameterError(
                f"Unknown query language {request.lang!r}: LANG must be one of "
                f"{', '.join(LANGUAGES)}."
            )
        if len(request.query) > self._query_characters:
            raise TooLargeError(
                f"The query has {len(request.query)} characters; the limit is "
                f"{self._query_characters} (setting limits.query_characters). "
                "Upload long lists as a table instead."
            )
        if request.maxrec is None:
            return self._maxrec_default
        if request.maxrec < 0:
            raise BadParameterError(f"MAXREC must be 0 or more, not {request.maxrec}.")
        return min(request.maxrec, self._maxrec_hard)

    def _within_quota(self, maxrec: int, principal: Principal) -> int:
        most = None if self._quotas is None else self._quotas.max_rows(principal)
        return maxrec if most is None else min(maxrec, most)

    def _charge(self, plan: QueryPlan, request: QueryRequest, principal: Principal) -> None:
        """Put what the plan reads of tables on the caller's account."""
        if self._quotas is not None:
            scans = plan.scans.values()
            rows = [scan.rows if isinstance(scan, PairScan) else scan for scan in scans]
            size = sum(s.estimated_bytes or 0 for s in rows if isinstance(s, FileScan))
            self._quotas.charge_bytes(principal, size, address=request.address)

    def _header(
        self, request: QueryRequest, checked: CheckedQuery, view: CatalogView
    ) -> ResultHeader:
        infos = [
            Info("standardID", "ivo://ivoa.net/std/TAP"),
            Info("query", request.query),
            Info("request_date", format_utc(utc_now())),
            Info("server_software", self._server_software),
            Info("publisher", self._publisher),
        ]
        seen: set[str] = set()
        systems: set[CoordinateSystem] = set()
        for source in checked.tables:
            table = source.table
            if table.coordinate_system is not None:
                systems.add(table.coordinate_system)
            version = view.table(table.schema, table.name)
            if version is None or table.adql_name in seen:
                continue
            seen.add(table.adql_name)
            snapshot = "none" if version.snapshot_id is None else str(version.snapshot_id)
            infos.append(
                Info(
                    "table",
                    table.adql_name,
                    f"release {version.release or 'none'}, version {version.version}, "
                    f"snapshot {snapshot}",
                )
            )
            citation = f"{self._publisher}, {table.adql_name}, version {version.version}"
            infos.append(Info("citation", citation))
        return ResultHeader(
            columns=checked.columns,
            infos=tuple(infos),
            # Two tables of different epochs: no single COOSYS would be true.
            coordinate_system=systems.pop() if len(systems) == 1 else None,
            identifiers=find_identifiers(checked, view),
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """One run of a query, and of what is read first for it."""

    engine: Engine
    view: CatalogView
    row_groups: RowGroups | None
    cancel: CancelToken
    charge: Callable[[QueryPlan], None]

    def stream(
        self, checked: CheckedQuery, memory: Mapping[str, pa.Table], *, row_limit: int
    ) -> ResultStream:
        """Plan and start the query."""
        paired = with_pairs(checked, memory, size_of=self._size, read=self._rows)
        if paired is None:
            return self._started(checked, memory, row_limit)
        return self._started(paired.checked, paired.memory_tables, row_limit, paired.pairs)

    def _started(
        self,
        checked: CheckedQuery,
        memory: Mapping[str, pa.Table],
        row_limit: int,
        pairs: Mapping[str, PlannedPair] | None = None,
    ) -> ResultStream:
        plan = plan_query(
            checked,
            self.view,
            memory,
            row_limit=row_limit,
            row_groups=self.row_groups,
            pairs=pairs,
        )
        self.charge(plan)
        return self.engine.execute(plan, self.cancel)

    def _size(self, checked: CheckedQuery) -> int:
        plan = plan_query(checked, self.view, {}, row_limit=None, row_groups=self.row_groups)
        scans = plan.scans.values()
        return sum(scan.estimated_rows or 0 for scan in scans if isinstance(scan, FileScan))

    def _rows(self, checked: CheckedQuery, most: int) -> pa.Table | None:
        stream = self._started(checked, {}, most + 1)
        try:
            batches, count = [], 0
            for batch in stream:
                batches.append(batch)
                count += batch.num_rows
                if count > most:
                    return None
            return pa.Table.from_batches(batches, schema=stream.schema)
        finally:
            stream.close()


class _Lookup:
    """Every table that one query may see: uploads, TAP_SCHEMA and the catalog's."""

    def __init__(
        self,
        view: StoredView,
        metadata: MetadataTables,
        uploads: tuple[UploadedTable, ...],
        principal: Principal,
    ) -> None:
        self._view = view
        self._metadata = metadata
        self._uploads = {upload.meta.name.upper(): upload for upload in uploads}
        self._principal = principal

    def find_table(self, schema: Identifier | None, table: Identifier) -> TableMeta | None:
        if schema is not None and _matches(schema, UPLOAD_SCHEMA):
            upload = self._uploads.get(table.name.upper())
            return upload.meta if upload is not None and _matches(table, upload.meta.name) else None
        if schema is not None and _matches(schema, self._metadata.schema.name):
            return next((t for t in self._metadata.schema.tables if _matches(table, t.name)), None)
        return self._view.find_table(schema, table)

    def table_names(self) -> tuple[str, ...]:
        return (
            *self._view.table_names(),
            *(table.adql_name for table in self._metadata.schema.tables),
            *(f"{UPLOAD_SCHEMA}.{upload.meta.name}" for upload in self._uploads.values()),
        )

    def rows(self, table: TableMeta) -> pa.Table | None:
        """Return the rows of a table that is in memory, `None` for one of the catalog's."""
        if table.schema == UPLOAD_SCHEMA:
            return self._uploads[table.name.upper()].data
        if table.schema == self._metadata.schema.name:
            return self._metadata.data[table.name]
        return None


class _TableStream:
    """A result that is already in memory."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    @property
    def schema(self) -> pa.Schema:
        return self._table.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        yield from self._table.to_batches()

    def close(self) -> None:
        """Nothing to free."""


def _matches(identifier: Identifier, name: str) -> bool:
    if identifier.quoted:
        return identifier.name == name
    return identifier.name.upper() == name.upper()
