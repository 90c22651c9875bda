"""A small catalog and a DuckDB that holds it."""

from __future__ import annotations

from typing import Any

import duckdb
from sqlglot import exp

from astrolabe.adql import CheckedQuery, Identifier, check_query
from astrolabe.adql.emit_duckdb import to_duckdb
from astrolabe.tables.model import Column, Datatype, TableMeta

__all__ = ["LOOKUP", "Lookup", "Sky", "column", "emit"]


def column(name: str, datatype: str, **rest: Any) -> Column:
    return Column(name=name, datatype=Datatype(datatype), **rest)


OBJECT = TableMeta(
    schema="dr1",
    name="object",
    columns=(
        column("objectId", "long", ucd="meta.id;meta.main", description="Identifier"),
        column(
            "ra", "double", unit="deg", ucd="pos.eq.ra;meta.main", description="Right ascension"
        ),
        column("dec", "double", unit="deg", ucd="pos.eq.dec;meta.main"),
        column("g_mag", "float", unit="mag", ucd="phot.mag;em.opt.B"),
        column("r_mag", "float", unit="mag", ucd="phot.mag;em.opt.R"),
        column("n_obs", "int"),
        column("band", "short"),
        column("kind", "char", arraysize="*"),
        column("first_seen", "char", arraysize="*", xtype="timestamp"),
        column("is_good", "boolean"),
        column("size", "double", unit="arcsec"),
        column("_RAJ2000", "double", unit="deg"),
    ),
)
SOURCE = TableMeta(
    schema="dr1",
    name="source",
    columns=(
        column("sourceId", "long"),
        column("objectId", "long"),
        column("ra", "double", unit="deg"),
        column("dec", "double", unit="deg"),
        column("flux", "double", unit="nJy"),
    ),
)
FIELD = TableMeta(
    schema="obs",
    name="Field",
    columns=(
        column("name", "char", arraysize="*"),
        column("s_region", "double", arraysize="*", xtype="polygon"),
        column("center", "double", arraysize="2", xtype="point"),
        column("disc", "double", arraysize="3", xtype="circle"),
        column("spectrum", "float", arraysize="*"),
    ),
)


class Lookup:
    """Finds the tables above, as a catalog would."""

    def __init__(self, *tables: TableMeta) -> None:
        self._tables = tables

    def find_table(self, schema: Identifier | None, table: Identifier) -> TableMeta | None:
        for meta in self._tables:
            if table.matches(meta.name) and schema is not None and schema.matches(meta.schema):
                return meta
        return None

    def table_names(self) -> tuple[str, ...]:
        return tuple(meta.adql_name for meta in self._tables)


LOOKUP = Lookup(OBJECT, SOURCE, FIELD)

_ROWS = """
CREATE TABLE "object" (
  "objectId" BIGINT, ra DOUBLE, "dec" DOUBLE, g_mag FLOAT, r_mag FLOAT, n_obs INTEGER,
  band INTEGER, kind VARCHAR, first_seen TIMESTAMP, is_good BOOLEAN, size DOUBLE, "_RAJ2000" DOUBLE
);
INSERT INTO "object" VALUES
  (1, 10.0, 20.0, 18.5, 18.0, 3, 1, 'star', '2025-01-01 00:00:00', true, 1.5, 10.1),
  (2, 10.5, 20.5, 19.5, 'nan', 4, 2, 'galaxy', '2025-06-01 12:00:00', false, 2.5, 10.6),
  (3, 350.0, -5.0, NULL, 20.0, 0, 1, 'Star', NULL, true, 'nan', 350.1),
  (4, 0.5, 89.5, 21.0, 21.5, -7, 3, NULL, '2026-02-03 04:05:06.789', NULL, 0.0, 0.6),
  (5, 180.0, -90.0, 22.25, 22.0, 12, 2, 'it''s', '2024-12-31 23:59:59', false, 4.0, 180.1);
CREATE TABLE "source" AS SELECT * FROM (VALUES
  (100::BIGINT, 1::BIGINT, 10.0001::DOUBLE, 20.0001::DOUBLE, 100.0::DOUBLE),
  (101, 1, 10.0, 20.0, 110.0), (102, 2, 10.5, 20.5, 50.0), (103, 9, 200.0, 1.0, 7.0)
) t("sourceId", "objectId", ra, "dec", flux);
CREATE TABLE "Field" AS SELECT * FROM (VALUES
  ('one', [9.0, 19.0, 9.0, 21.0, 11.0, 21.0, 11.0, 19.0]::DOUBLE[], [10.0, 20.0]::DOUBLE[],
    [10.0, 20.0, 1.0]::DOUBLE[], [1.0]::FLOAT[]),
  ('none', NULL, NULL, NULL, NULL)
) t(name, s_region, center, disc, spectrum);
"""


def emit(query: CheckedQuery) -> str:
    """Emit a query; each table is a DuckDB table of its own name."""
    return to_duckdb(
        query,
        {
            source.key: exp.Table(this=exp.Identifier(this=source.table.name, quoted=True))
            for source in query.tables
        },
    )


class Sky:
    """A DuckDB with the tables above."""

    def __init__(self) -> None:
        self.connection = duckdb.connect(":memory:", config={"threads": 1})
        self.connection.execute(_ROWS)

    def relation(self, text: str) -> duckdb.DuckDBPyRelation:
        return self.connection.sql(emit(check_query(text, LOOKUP)))

    def rows(self, text: str) -> list[tuple[Any, ...]]:
        # Planned once; a relation would be planned again to be read.
        return self.connection.execute(emit(check_query(text, LOOKUP))).fetchall()

    def value(self, expression: str, where: str = "objectId = 1") -> Any:
        """Return an expression's value for one row of the objects."""
        ((value,),) = self.rows(f"SELECT {expression} AS v FROM dr1.object WHERE {where}")
        return value
