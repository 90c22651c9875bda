"""Light curves and cones: each request becomes one query, run and streamed as TAP runs it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import unquote

from astrolabe.catalogs.cancel import QueryCancel
from astrolabe.catalogs.light_curves import LightCurveTable, find_columns, light_curve_tables
from astrolabe.catalogs.query import PreparedQuery, QueryRequest
from astrolabe.catalogs.view import StoredView
from astrolabe.core.errors import BadParameterError, NotFoundError
from astrolabe.identity import Principal
from astrolabe.images.links.of_rows import RowAsker, find_id_table, find_table, id_literal
from astrolabe.tables.formats import OutputFormat
from astrolabe.tables.model import Column, TableMeta, quote_name
from astrolabe_api.common.query_stream import Presentation, query_response
from astrolabe_api.common.state import ApiState
from astrolabe_api.common.streaming import StreamedResponse
from astrolabe_api.datalink.requests import ConeRequest, Detail, LightCurveRequest

__all__ = ["cone_response", "light_curve_response", "split_row_did"]

_POSITION_SECONDS: Final = 20.0


def split_row_did(did: str, *, authority: str) -> tuple[str, str] | None:
    """Return (table, id) of ``ivo://{authority}/{schema}.{table}?{id}``; `None` for other texts."""
    prefix = f"ivo://{authority}/"
    if did[: len(prefix)].lower() != prefix.lower():
        return None
    table, question_mark, row_id = did[len(prefix) :].partition("?")
    if not question_mark or "." not in table:
        return None
    return unquote(table), unquote(row_id)


def light_curve_response(
    state: ApiState,
    caller: Principal,
    asked: LightCurveRequest,
    *,
    address: str | None,
    compress: bool,
    headers_only: bool,
) -> StreamedResponse:
    """Return light curves; the query runs when the answer is sent.

    Parameters
    ----------
    address
        The client's.
    compress
        Whether the client accepts gzip.
    headers_only
        Whether to check the request without running it (HEAD).
    """

    def prepare() -> PreparedQuery:
        authority = state.context.images.authority
        query = state.context.readable.find(
            caller, lambda view: _light_curve_query(view, asked, authority=authority)
        )
        request = QueryRequest(query=query, maxrec=asked.maxrec, address=address)
        return state.context.queries.prepare(request, principal=caller)

    return _response(
        state,
        caller,
        prepare,
        output=asked.output,
        name="lightcurve",
        address=address,
        compress=compress,
        headers_only=headers_only,
    )


def cone_response(
    state: ApiState,
    caller: Principal,
    asked: ConeRequest,
    *,
    address: str | None,
    compress: bool,
    headers_only: bool,
) -> StreamedResponse:
    """Return the rows around a row or a position; see `light_curve_response`."""

    def prepare() -> PreparedQuery:
        authority = state.context.images.authority
        table, row_id = state.context.readable.find(
            caller, lambda view: _cone_table(view, asked, authority=authority)
        )
        centre = asked.centre_deg
        if row_id is not None:
            asker = RowAsker(
                principal=caller, address=address, cancel=QueryCancel(seconds=_POSITION_SECONDS)
            )
            centre = state.context.linked_rows.position(asker, table, row_id)
        if centre is None:
            raise BadParameterError("Give the row to search around by ID, or RA and DEC.")
        query = _cone_query(table, asked, centre)
        request = QueryRequest(query=query, maxrec=asked.maxrec, address=address)
        return state.context.queries.prepare(request, principal=caller)

    return _response(
        state,
        caller,
        prepare,
        output=asked.output,
        name="cone",
        address=address,
        compress=compress,
        headers_only=headers_only,
        # The position of a row is read from its table.
        is_heavy=asked.row_id is not None,
    )


def _response(
    state: ApiState,
    caller: Principal,
    prepare: Callable[[], PreparedQuery],
    *,
    output: OutputFormat,
    name: str,
    address: str | None,
    compress: bool,
    headers_only: bool,
    is_heavy: bool = False,
) -> StreamedResponse:
    return query_response(
        state,
        prepare,
        Presentation(output=output, name=name, compress=compress),
        gate=state.gate(caller, address),
        advice=f"Run a query as an async job at {state.url('/api/tap/async')}.",
        headers_only=headers_only,
        is_heavy=is_heavy,
    )


def _light_curve_query(view: StoredView, asked: LightCurveRequest, *, authority: str) -> str:
    """Return the query for light curves: all values were checked, all names are the catalog's."""
    split = [split_row_did(text, authority=authority) for text in asked.ids]
    director_names = {name for name, _ in filter(None, split)}
    if len(director_names) > 1:
        raise BadParameterError("Light curves of the rows of one table can be asked for at a time.")
    director = find_id_table(view, next(iter(director_names))) if director_names else None
    curve = _curve_table(view, asked, director)
    key = curve.meta.column(curve.key)
    if key is None:
        raise BadParameterError(f"{curve.meta.adql_name} has no column {curve.key!r}.")
    row_ids = [
        text if found is None else found[1] for text, found in zip(asked.ids, split, strict=True)
    ]
    literals = dict.fromkeys(id_literal(curve.meta, row_id, column=key) for row_id in row_ids)
    conditions = [f"{quote_name(key.name)} IN ({', '.join(literals)})"]
    if asked.bands:
        conditions.append(_band_condition(curve, asked.bands))
    if asked.time_mjd is not None:
        conditions += _time_conditions(curve, asked.time_mjd)
    columns = _columns(curve.meta, asked.detail, (key, curve.time, curve.band))
    order = [key] if len(literals) > 1 else []
    order += [] if curve.time is None else [curve.time]
    ordering = ", ".join(quote_name(column.name) for column in order)
    return (
        f"SELECT {columns} FROM {curve.meta.adql_name} "  # noqa: S608 - see above
        f"WHERE {' AND '.join(conditions)}{f' ORDER BY {ordering}' if ordering else ''}"
    )


def _curve_table(
    view: StoredView, asked: LightCurveRequest, director: TableMeta | None
) -> LightCurveTable:
    """Return the table of measurements that is meant."""
    table = director if asked.table is None else find_table(view, asked.table)
    if table is None:
        raise BadParameterError(
            "Name the table of the light curves by TABLE, or give the whole identifier of the row "
            "(ivo://...) as ID."
        )
    curves = light_curve_tables(view, table)
    if asked.table is not None and (not curves or asked.id_column is not None):
        return _named_curve_table(view, asked, table, director)
    if not curves:
        raise NotFoundError(f"The rows of {table.adql_name} have no light curves.")
    return _with_band(curves[0], asked)


def _named_curve_table(
    view: StoredView,
    asked: LightCurveRequest,
    table: TableMeta,
    director: TableMeta | None,
) -> LightCurveTable:
    time, band = find_columns(table)
    if asked.id_column is not None:
        key = _column(table, asked.id_column, "ID_COLUMN")
        return _with_band(LightCurveTable(meta=table, key=key.name, time=time, band=band), asked)
    entry = view.entries[table.schema, table.name]
    keys = {
        link.key
        for link in entry.links
        if director is None or link.table == director.qualified_name
    }
    if len(keys) != 1:
        raise BadParameterError(
            f"Which rows have their light curves in {table.adql_name} is not known; name the "
            "column of their ids by ID_COLUMN."
        )
    return _with_band(
        LightCurveTable(meta=table, key=next(iter(keys)), time=time, band=band), asked
    )


def _with_band(curve: LightCurveTable, asked: LightCurveRequest) -> LightCurveTable:
    if asked.band_column is None:
        return curve
    band = _column(curve.meta, asked.band_column, "BAND_COLUMN")
    return LightCurveTable(meta=curve.meta, key=curve.key, time=curve.time, band=band)


def _band_condition(curve: LightCurveTable, bands: Iterable[str]) -> str:
    if curve.band is None or not curve.band.is_string:
        raise BadParameterError(
            f"{curve.meta.adql_name} has no column with names of bands; leave BAND out."
        )
    quoted = ", ".join("'" + band.replace("'", "''") + "'" for band in bands)
    return f"{quote_name(curve.band.name)} IN ({quoted})"


def _time_conditions(curve: LightCurveTable, interval: tuple[float, float]) -> list[str]:
    if curve.time is None or curve.time.is_string:
        raise BadParameterError(
            f"{curve.meta.adql_name} has no column with times in MJD; leave TIME out."
        )
    name = quote_name(curve.time.name)
    ends = zip((">=", "<="), interval, strict=True)
    return [f"{name} {sign} {end!r}" for sign, end in ends if math.isfinite(end)]


def _cone_table(
    view: StoredView, asked: ConeRequest, *, authority: str
) -> tuple[TableMeta, str | None]:
    """Return the table to search, and the id of the row to search around."""
    split = None if asked.row_id is None else split_row_did(asked.row_id, authority=authority)
    if split is not None:
        table = find_id_table(view, split[0])
        named = table if asked.table is None else find_table(view, asked.table)
        if named.qualified_name != table.qualified_name:
            raise BadParameterError(
                f"ID names a row of {table.adql_name}, TABLE another table; leave TABLE out."
            )
        return table, split[1]
    if asked.table is None:
        raise BadParameterError("The parameter TABLE is missing: the table to search.")
    return find_table(view, asked.table), asked.row_id


def _cone_query(table: TableMeta, asked: ConeRequest, centre_deg: tuple[float, float]) -> str:
    """Return the query for a cone: all numbers were checked, all names are the catalog's."""
    ra, dec = table.ra_column, table.dec_column
    if asked.ra_column is not None and asked.dec_column is not None:
        ra = _column(table, asked.ra_column, "RA_COL").name
        dec = _column(table, asked.dec_column, "DEC_COL").name
    if ra is None or dec is None:
        raise NotFoundError(f"The table {table.adql_name} has no positions to search.")
    position = [column for name in (ra, dec) if (column := table.column(name)) is not None]
    identifier = None if table.id_column is None else table.column(table.id_column)
    columns = _columns(table, asked.detail, (identifier, *position))
    circle = f"CIRCLE({centre_deg[0]!r}, {centre_deg[1]!r}, {asked.radius_deg!r})"
    return (
        f"SELECT {columns} FROM {table.adql_name} "  # noqa: S608 - see above
        f"WHERE CONTAINS(POINT({quote_name(ra)}, {quote_name(dec)}), {circle}) = 1"
    )


def _column(table: TableMeta, name: str, parameter: str) -> Column:
    found = table.column(name) or next(
        (column for column in table.columns if column.name.lower() == name.lower()), None
    )
    if found is None:
        raise BadParameterError(
            f"{parameter} names {name[:100]!r}, which {table.adql_name} does not have."
        )
    return found


def _columns(table: TableMeta, detail: Detail, always: Iterable[Column | None]) -> str:
    """Return the columns to select, in the table's order; all where nobody said which matter."""
    kept = {column.name for column in always if column is not None}
    if detail is not Detail.FULL:
        principal = [column for column in table.columns if column.principal]
        if detail is Detail.MINIMAL:
            principal = [column for column in principal if "phot." in (column.ucd or "")]
        kept |= {column.name for column in principal}
    if detail is Detail.FULL or (detail is Detail.PRINCIPAL and not principal):
        return "*"
    return ", ".join(quote_name(c.name) for c in table.columns if c.name in kept)
