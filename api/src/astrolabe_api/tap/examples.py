"""``/examples``: queries that run on what is installed (DALI 1.1, section 2.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from astrolabe.catalogs.model import CatalogView
from astrolabe.catalogs.per_view import PerView
from astrolabe.catalogs.tap_schema import visible_keys
from astrolabe.factory import ProcessContext
from astrolabe.identity import Principal
from astrolabe.sky.healpix import cell_centers
from astrolabe.tables.model import Column, ForeignKey, TableMeta, quote_name
from astrolabe_api.common.documents import Document
from astrolabe_api.common.xml import XML_DECLARATION, attribute, text

__all__ = ["Example", "ExamplesCache", "example_queries"]

_EXAMPLES_OF_A_KIND = 5
_SHOWN_COLUMNS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One query and what it shows."""

    name: str
    explanation: str
    query: str
    table: str


class ExamplesCache:
    """Makes the page once for each view of the catalog."""

    def __init__(self) -> None:
        self._pages = PerView(_document)

    def page(self, context: ProcessContext, caller: Principal) -> Document:
        """Return the page for the tables that a caller may read now."""
        return self._pages.of(context.readable.view(caller))


def _document(view: CatalogView) -> Document:
    return Document(_page(tuple(example_queries(view))), media_type="application/xhtml+xml")


def example_queries(view: CatalogView) -> Iterator[Example]:
    """Yield queries that run on the tables of `view`, the most telling first."""
    tables = [table for schema in view.schemas for table in schema.tables]
    by_name = {table.qualified_name: table for table in tables}
    with_positions = [table for table in tables if table.ra_column and table.dec_column]
    for table in with_positions[:_EXAMPLES_OF_A_KIND]:
        yield _cone(view, table)
    for table in tables:
        outline = next((column for column in table.columns if column.xtype == "polygon"), None)
        if outline is not None:
            yield _footprints(view, table, outline)
    keys = [key for key in visible_keys(view.schemas) if key.target_table in by_name]
    for key in keys[:_EXAMPLES_OF_A_KIND]:
        yield _join(by_name[key.from_table], by_name[key.target_table], key)
    for table in tables[:_EXAMPLES_OF_A_KIND]:
        yield Example(
            name=f"Number of rows of {table.adql_name}",
            explanation="Counting all rows of a table costs nothing: the number is known.",
            query=f"SELECT COUNT(*) AS n FROM {table.adql_name}",  # noqa: S608 - ADQL, a quoted name
            table=table.adql_name,
        )
    yield Example(
        name="All tables",
        explanation="TAP_SCHEMA describes every table and column of this service.",
        query="SELECT table_name, description FROM tap_schema.tables ORDER BY table_name",
        table="tap_schema.tables",
    )


def _cone(view: CatalogView, table: TableMeta) -> Example:
    ra, dec = quote_name(table.ra_column or ""), quote_name(table.dec_column or "")
    ra_deg, dec_deg = _some_position(view, table)
    columns = ", ".join(quote_name(column.name) for column in _telling_columns(table))
    return Example(
        name=f"Cone search on {table.adql_name}",
        explanation=(
            "All rows within 3 arcminutes of a position. DISTANCE(ra, dec, lon, lat) < 0.05 asks "
            "for the same rows in fewer words and is as fast."
        ),
        # This form is understood by every version of ADQL, and so by validators of the first one.
        query=(
            f"SELECT TOP 100 {columns}\nFROM {table.adql_name}\n"
            f"WHERE 1 = CONTAINS(POINT('ICRS', {ra}, {dec}), "
            f"CIRCLE('ICRS', {ra_deg:.4f}, {dec_deg:.4f}, 0.05))"
        ),
        table=table.adql_name,
    )


def _footprints(view: CatalogView, table: TableMeta, outline: Column) -> Example:
    ra_deg, dec_deg = _some_position(view, table)
    columns = ", ".join(quote_name(column.name) for column in _telling_columns(table))
    return Example(
        name=f"Footprints in {table.adql_name}",
        explanation="All rows whose footprint has a part within 6 arcminutes of a position.",
        query=(
            f"SELECT TOP 100 {columns}\nFROM {table.adql_name}\n"
            f"WHERE 1 = INTERSECTS({quote_name(outline.name)}, "
            f"CIRCLE('ICRS', {ra_deg:.4f}, {dec_deg:.4f}, 0.1))"
        ),
        table=table.adql_name,
    )


def _join(child: TableMeta, parent: TableMeta, key: ForeignKey) -> Example:
    on = " AND ".join(
        f"c.{quote_name(source)} = p.{quote_name(target)}" for source, target in key.columns
    )
    shown = [f"p.{quote_name(column.name)}" for column in _telling_columns(parent)[:3]]
    of_child = (c for c in _telling_columns(child) if parent.column(c.name) is None)
    shown += [f"c.{quote_name(column.name)}" for column in of_child][:3]
    return Example(
        name=f"Rows of {child.adql_name} with their {parent.adql_name}",
        explanation="Tables that belong together are joined by the keys that TAP_SCHEMA lists.",
        query=(
            f"SELECT TOP 100 {', '.join(shown)}\nFROM {child.adql_name} AS c\n"
            f"JOIN {parent.adql_name} AS p ON {on}"
        ),
        table=child.adql_name,
    )


def _telling_columns(table: TableMeta) -> list[Column]:
    """Return a few columns that a reader wants to see: id and position, then principal ones."""
    main = (table.id_column, table.ra_column, table.dec_column)
    first = [c for name in main if name is not None and (c := table.column(name)) is not None]
    rest = [c for c in table.columns if c not in first]
    rest.sort(key=lambda column: not column.principal)
    return (first + rest)[:_SHOWN_COLUMNS]


def _some_position(view: CatalogView, table: TableMeta) -> tuple[float, float]:
    """Return right ascension and declination (deg, ICRS) of some row of the table."""
    version = view.table(table.schema, table.name)
    if version is None or version.index.group_rows.size == 0:
        return 180.0, 0.0
    index = version.index
    middle = int(index.group_rows.size // 2)
    # A row is there: it is the first of its row group.
    cell = int(index.group_healpix_min[middle])
    x, y, z = cell_centers(29, np.array([cell]))[0]
    return float(np.degrees(np.arctan2(y, x)) % 360.0), float(np.degrees(np.arcsin(z)))


def _page(examples: tuple[Example, ...]) -> str:
    body = "".join(_block(number, example) for number, example in enumerate(examples, start=1))
    return (
        f"{XML_DECLARATION}"
        '<html xmlns="http://www.w3.org/1999/xhtml" lang="en" xml:lang="en">\n'
        "<head><title>TAP examples</title></head>\n"
        '<body vocab="http://www.ivoa.net/rdf/examples#">\n'
        "<h1>Examples</h1>\n"
        "<p>Queries that run on the tables which are installed here.</p>\n"
        f"{body}</body>\n</html>\n"
    )


def _block(number: int, example: Example) -> str:
    identifier = f"example-{number}"
    return (
        f'<div id="{identifier}" resource={attribute("#" + identifier)} typeof="example">\n'
        f'<h2 property="name">{text(example.name)}</h2>\n'
        f"<p>{text(example.explanation)}</p>\n"
        f'<p>Table: <span property="table">{text(example.table)}</span></p>\n'
        f'<pre property="query">{text(example.query)}</pre>\n'
        "</div>\n"
    )
