"""Rows of catalogs and what belongs to them, as one caller may see it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrolabe.catalogs.engine import CancelToken
from astrolabe.catalogs.identifying import OBSCORE_TABLE
from astrolabe.catalogs.light_curves import LightCurveTable, light_curve_tables
from astrolabe.catalogs.permissions import ReadableCatalog
from astrolabe.catalogs.query import QueryRequest, QueryService
from astrolabe.catalogs.view import StoredView
from astrolabe.core.errors import AstrolabeError, BadParameterError, NotFoundError
from astrolabe.identity import Principal
from astrolabe.images.access import ImageAccess
from astrolabe.images.links.of_images import LinkedImage, LinkedImages
from astrolabe.images.model import parse_image_did
from astrolabe.sky.healpix import healpix_29, parent, valid_positions
from astrolabe.sky.polygons import Polygon
from astrolabe.sky.vectors import normalized, separation_deg, unit_vectors
from astrolabe.tables.model import Column, Datatype, TableMeta, quote_name

__all__ = ["LinkedRows", "RowAsker", "RowLinks", "find_id_table", "find_table", "id_literal"]

_IDS_AT_ONCE = 200
_COADD_LEVEL = 3
_INTEGERS = {Datatype.UNSIGNED_BYTE, Datatype.SHORT, Datatype.INT, Datatype.LONG}
_MOST = 2**63
_MOST_DIGITS = 19
_CELL_ORDER = 6
"""Rows in one HEALPix cell of this order, about a degree wide, are searched for images together."""
_MOST_SEARCHES = 200
"""Searches for images in one answer: rows all over the sky would need one each."""
_OBSCORE_COLUMNS = "o.obs_publisher_did, o.obs_collection, o.band, o.s_ra, o.s_dec, o.s_region"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowAsker:
    """Who asks for rows.

    Parameters
    ----------
    principal, address
        The caller.
    cancel
        Told when nobody waits any more.
    """

    principal: Principal
    address: str | None
    cancel: CancelToken


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowLinks:
    """A row with what belongs to it.

    Parameters
    ----------
    table
        Its table.
    literal
        Its id as ADQL writes it.
    row_id
        Its id as text.
    ra_deg, dec_deg
        ICRS; `None` where the table or the row has no position.
    light_curves
        The tables with its light curves.
    images
        Images at its position: the best centred of each collection and band.
    """

    table: TableMeta
    literal: str
    row_id: str
    ra_deg: float | None
    dec_deg: float | None
    light_curves: tuple[LightCurveTable, ...]
    images: tuple[LinkedImage, ...] = ()


def find_table(view: StoredView, name: str) -> TableMeta:
    """Return the table `name` (``schema.table``, in any case of letters).

    Raises
    ------
    NotFoundError
        Raised if there is none.
    """
    tables = [entry.meta for entry in view.entries.values()]
    exact = [t for t in tables if name in (t.qualified_name, t.adql_name)]
    folded = [t for t in tables if name.lower() == t.qualified_name.lower()]
    for table in (*exact, *folded):
        return table
    raise NotFoundError(f"There is no table {name[:200]!r}.")


def find_id_table(view: StoredView, name: str) -> TableMeta:
    """Return a table whose rows have ids; see `find_table`.

    Raises
    ------
    NotFoundError
        Raised if there is none, or its rows have no ids.
    """
    table = find_table(view, name)
    if table.id_column is None:
        raise NotFoundError(f"The rows of {table.adql_name} have no main identifier to ask by.")
    return table


def id_literal(table: TableMeta, row_id: str, *, column: Column | None = None) -> str:
    """Return the id of a row as ADQL writes it.

    Parameters
    ----------
    column
        The column that holds it, if that is not the table's main identifier.

    Raises
    ------
    BadParameterError
        Raised if no row of the table can have that id.
    """
    found = column
    if found is None and table.id_column is not None:
        found = table.column(table.id_column)
    if found is None:
        raise BadParameterError(f"The rows of {table.adql_name} have no main identifier.")
    text = row_id.strip()
    if found.datatype in _INTEGERS and not found.is_array:
        digits = text.removeprefix("-")
        # Python takes far longer over the digits of a huge number than over these.
        is_number = digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS
        if not is_number or not -_MOST <= int(text) < _MOST:
            raise BadParameterError(
                f"{row_id[:100]!r} is not an id of {table.adql_name}: {found.name} is a whole "
                "number."
            )
        return str(int(text))
    if found.is_string and not found.is_timestamp:
        return "'" + row_id.replace("'", "''") + "'"
    raise BadParameterError(f"Rows of {table.adql_name} cannot be asked for by their id.")


@dataclass(slots=True)
class _Budget:
    """How many searches for images one answer may still make."""

    searches: int


class LinkedRows:
    """Finds rows with what belongs to them.

    Parameters
    ----------
    queries
        Runs queries with the caller's rights.
    readable
        The catalog as a caller may see it.
    access, images
        Find images.
    authority
        Of the identifiers.
    """

    def __init__(
        self,
        *,
        queries: QueryService,
        readable: ReadableCatalog,
        access: ImageAccess,
        images: LinkedImages,
        authority: str,
    ) -> None:
        self._queries = queries
        self._readable = readable
        self._access = access
        self._images = images
        self._authority = authority

    def table(self, principal: Principal, name: str) -> TableMeta:
        """Return a table that a caller may read; see `find_id_table`."""
        return self._readable.find(principal, lambda view: find_id_table(view, name))

    def links(
        self, asker: RowAsker, table: TableMeta, row_ids: Sequence[str]
    ) -> Iterator[tuple[str, RowLinks | AstrolabeError]]:
        """Yield each id, in the order given, with what belongs to its row or what is wrong.

        Parameters
        ----------
        asker
            Who asks.
        table
            As `table` returned it.
        row_ids
            Ids as text.
        """
        curves = light_curve_tables(self._readable.view(asker.principal), table)
        budget = _Budget(_MOST_SEARCHES)
        for start in range(0, len(row_ids), _IDS_AT_ONCE):
            some = row_ids[start : start + _IDS_AT_ONCE]
            literals: dict[str, str | AstrolabeError] = {}
            for row_id in some:
                try:
                    literals[row_id] = id_literal(table, row_id)
                except BadParameterError as exc:
                    literals[row_id] = exc
            found = self._rows(asker, table, literals, curves)
            self._add_images(asker, found, budget)
            for row_id in some:
                literal = literals[row_id]
                if isinstance(literal, AstrolabeError):
                    yield row_id, literal
                elif literal in found:
                    yield row_id, found[literal]
                else:
                    yield row_id, NotFoundError(f"{table.adql_name} has no row {row_id[:300]}.")

    def position(self, asker: RowAsker, table: TableMeta, row_id: str) -> tuple[float, float]:
        """Return the ICRS position (deg) of a row.

        Raises
        ------
        NotFoundError
            Raised if there is no such row, or it has no position.
        BadParameterError
            Raised if no row can have that id.
        """
        literal = id_literal(table, row_id)
        row = self._rows(asker, table, {row_id: literal}, ()).get(literal)
        if row is None or row.ra_deg is None or row.dec_deg is None:
            raise NotFoundError(f"{table.adql_name} has no row {row_id[:300]} with a position.")
        return row.ra_deg, row.dec_deg

    def _rows(
        self,
        asker: RowAsker,
        table: TableMeta,
        literals: dict[str, str | AstrolabeError] | dict[str, str],
        curves: tuple[LightCurveTable, ...],
    ) -> dict[str, RowLinks]:
        wanted = sorted({text for text in literals.values() if isinstance(text, str)})
        if not wanted or table.id_column is None:
            return {}
        names = [table.id_column]
        if table.ra_column is not None and table.dec_column is not None:
            names += [table.ra_column, table.dec_column]
        selected = ", ".join(quote_name(name) for name in names)
        # The names are the catalog's own, the values were made by `id_literal`.
        query = (
            f"SELECT {selected} FROM {table.adql_name} "  # noqa: S608 - see above
            f"WHERE {quote_name(table.id_column)} IN ({', '.join(wanted)})"
        )
        found = {}
        for row in self._run(asker, QueryRequest(query=query, maxrec=2 * len(wanted))):
            value, *place = row
            ra, dec = _finite(place)
            literal = id_literal(table, str(value))
            found[literal] = RowLinks(
                table=table,
                literal=literal,
                row_id=str(value),
                ra_deg=ra,
                dec_deg=dec,
                light_curves=curves,
            )
        return found

    def _add_images(self, asker: RowAsker, rows: dict[str, RowLinks], budget: _Budget) -> None:
        """Find the images at the rows' positions: combined ones, or else single ones."""
        view = self._readable.view(asker.principal)
        if not any(meta.qualified_name.lower() == OBSCORE_TABLE for meta in _metas(view)):
            return
        placed = [literal for literal, row in rows.items() if row.ra_deg is not None]
        for condition in (f"o.calib_level >= {_COADD_LEVEL}", f"o.calib_level < {_COADD_LEVEL}"):
            found = self._images_at(asker, rows, placed, condition, budget)
            for literal, images in found.items():
                rows[literal] = replace(rows[literal], images=images)
            placed = [literal for literal in placed if not rows[literal].images]

    def _images_at(
        self,
        asker: RowAsker,
        rows: dict[str, RowLinks],
        literals: Sequence[str],
        condition: str,
        budget: _Budget,
    ) -> dict[str, tuple[LinkedImage, ...]]:
        best: dict[tuple[int, str, str], tuple[float, str]] = {}
        placed = [rows[literal] for literal in literals]
        for place, did, collection, band, ra, dec in self._covering(
            asker, placed, condition, budget
        ):
            row = placed[place]
            away = float(separation_deg(row.ra_deg or 0.0, row.dec_deg or 0.0, ra, dec))
            key = (place, collection, band or "")
            if key not in best or (away, did) < best[key]:
                best[key] = (away, did)
        keys = {did: parse_image_did(did, authority=self._authority) for _, did in best.values()}
        records = self._access.find(asker.principal, keys.values())
        found: dict[str, list[LinkedImage]] = {}
        for (place, _, _), (_, did) in sorted(best.items()):
            record = records.get(keys[did].folded)
            if record is not None:
                found.setdefault(literals[place], []).append(
                    self._images.image(asker.principal, record)
                )
        return {literal: tuple(images) for literal, images in found.items()}

    def _covering(
        self, asker: RowAsker, rows: Sequence[RowLinks], condition: str, budget: _Budget
    ) -> Iterator[tuple[Any, ...]]:
        """Yield the number of a row from 0, and what is asked of each image that covers it."""
        if not rows:
            return
        ra, dec = (
            np.array([getattr(row, f"{axis}_deg") for row in rows]) for axis in ("ra", "dec")
        )
        cells = parent(healpix_29(ra, dec), _CELL_ORDER)
        for cell in np.unique(cells):
            if budget.searches == 0:
                return
            budget.searches -= 1
            places = np.flatnonzero(cells == cell)
            query = (
                f"SELECT {_OBSCORE_COLUMNS} FROM ivoa.ObsCore AS o "  # noqa: S608 - constants, numbers
                f"WHERE {_footprint_condition(ra[places], dec[places])} AND {condition}"
            )
            for *values, region in self._run(asker, QueryRequest(query=query)):
                # One position was searched for exactly, of several this is only one nearby.
                inside = places
                if len(places) > 1:
                    inside = places[_inside(region, ra[places], dec[places])]
                for place in inside:
                    yield int(place), *values

    def _run(self, asker: RowAsker, request: QueryRequest) -> Iterator[tuple[Any, ...]]:
        asked = replace(request, address=asker.address)
        prepared = self._queries.prepare(asked, principal=asker.principal)
        with closing(prepared.start(asker.cancel)) as running:
            for batch in running:
                yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _finite(place: Sequence[Any]) -> tuple[float, float] | tuple[None, None]:
    """Return a position as it is, or nothing where the row has none."""
    values = [math.nan if value is None else float(value) for value in place]
    if len(values) == 2 and valid_positions(*values).all():
        return values[0], values[1]
    return None, None


def _metas(view: StoredView) -> Iterator[TableMeta]:
    return (entry.meta for entry in view.entries.values())


def _inside(
    region: Sequence[float], ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which positions a footprint covers; one that is no polygon covers none."""
    try:
        return Polygon(region[0::2], region[1::2]).contains(ra_deg, dec_deg)
    except BadParameterError:
        return np.zeros(len(ra_deg), dtype=np.bool_)


def _footprint_condition(ra_deg: NDArray[np.float64], dec_deg: NDArray[np.float64]) -> str:
    """Return the condition on footprints that holds for all that cover one of some positions."""
    if len(ra_deg) == 1:
        return f"CONTAINS(POINT({float(ra_deg[0])!r}, {float(dec_deg[0])!r}), o.s_region) = 1"
    x, y, z = normalized(unit_vectors(ra_deg, dec_deg).mean(axis=0))
    ra = math.degrees(math.atan2(y, x)) % 360.0
    dec = math.degrees(math.atan2(z, math.hypot(x, y)))
    # A little more than the farthest, so that rounding leaves none outside.
    radius = float(separation_deg(ra, dec, ra_deg, dec_deg).max()) + 1e-6
    return f"INTERSECTS(CIRCLE({ra!r}, {dec!r}, {radius!r}), o.s_region) = 1"
