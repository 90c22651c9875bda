"""A view of all tables at one generation: immutable, looked up by dictionaries.

Beside `CatalogView` it answers the questions of the ADQL checker: names that are not quoted are
found in any case, quoted ones exactly (ADQL 2.1, section 2.1.3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol

import pyarrow.parquet as pq
from sqlalchemy import select

from astrolabe.catalogs.index_file import INDEX_FILE_NAME, IndexCache, empty_index
from astrolabe.catalogs.model import (
    STRAY_BOUND,
    STRAY_KEY,
    DirectorLink,
    FootprintIndex,
    KeyIndex,
    PartitionIndex,
    RowFilter,
    StrayFootprints,
    TableVersion,
)
from astrolabe.catalogs.schema import SCHEMAS
from astrolabe.catalogs.versions import (
    VersionRow,
    current_versions,
    hold_still,
    read_generation,
    read_metas,
)
from astrolabe.core.database import Database
from astrolabe.sky.healpix import MAX_ORDER, cell_centers
from astrolabe.tables.model import SchemaMeta, TableMeta

__all__ = ["NameLike", "StoredView", "TableEntry", "load_view"]


class NameLike(Protocol):
    """An identifier as a query has it."""

    @property
    def name(self) -> str:
        """The name without quotes."""

    @property
    def quoted(self) -> bool:
        """Whether it was written in double quotes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TableEntry:
    """What a view holds of one table; its partition index is loaded when it is asked for.

    Parameters
    ----------
    meta
        Columns and description.
    row
        What the control database says of the current version.
    root
        Absolute path of the HATS catalog folder; of the version's own folder, which does not
        exist, for an empty table.
    load_index
        Gives the partition index.
    key_indexes, links, footprints, row_filter
        As in `TableVersion`.
    """

    meta: TableMeta
    row: VersionRow
    root: str
    load_index: Callable[[], PartitionIndex]
    key_indexes: Mapping[str, KeyIndex] = field(default_factory=dict)
    links: tuple[DirectorLink, ...] = ()
    footprints: Mapping[str, FootprintIndex] = field(default_factory=dict)
    row_filter: RowFilter | None = None

    def open(self) -> TableVersion:
        """Return the version with its partition index."""
        return TableVersion(
            meta=self.meta,
            version=self.row.version,
            snapshot_id=self.row.snapshot_id,
            root=self.root,
            index=self.load_index(),
            release=self.row.release,
            positions_sorted=self.row.positions_sorted,
            key_indexes=self.key_indexes,
            links=self.links,
            footprints=self.footprints,
            row_filter=self.row_filter,
        )


class StoredView:
    """All tables as they were at one generation.

    Parameters
    ----------
    generation
        The catalog's generation.
    schemas
        Every schema but TAP_SCHEMA with its tables, in display order.
    entries
        One for each table of `schemas`, by (schema, table).
    """

    def __init__(
        self,
        generation: int,
        schemas: tuple[SchemaMeta, ...],
        entries: Mapping[tuple[str, str], TableEntry],
    ) -> None:
        self._generation = generation
        self._schemas = schemas
        self._entries = dict(entries)
        # No two names differ only in case, so each folded name means one table.
        self._by_folded_name = {
            (s.name.casefold(), t.name.casefold()): t for s in schemas for t in s.tables
        }
        self._by_table: dict[str, list[TableMeta]] = {}
        for schema in schemas:
            for table in schema.tables:
                self._by_table.setdefault(table.name.casefold(), []).append(table)
        self._names = tuple(t.adql_name for s in schemas for t in s.tables)

    @property
    def generation(self) -> int:
        """The catalog's generation; grows with every published change."""
        return self._generation

    @property
    def schemas(self) -> tuple[SchemaMeta, ...]:
        """Every schema but TAP_SCHEMA, in display order."""
        return self._schemas

    @property
    def entries(self) -> Mapping[tuple[str, str], TableEntry]:
        """What is known of each table, by its raw (schema, table) names."""
        return self._entries

    def table(self, schema: str, name: str) -> TableVersion | None:
        """Return the current version of the table of exactly these raw names.

        Raises
        ------
        InternalError
            Raised if its partition index cannot be read.
        """
        entry = self._entries.get((schema, name))
        return None if entry is None else entry.open()

    def find_table(self, schema: NameLike | None, table: NameLike) -> TableMeta | None:
        """Return the table that a query means; TAP_SCHEMA's own tables are not among them.

        A table name alone means the only table of that name in all schemas; where several have
        it, `None` is returned.
        """
        if schema is not None:
            found = self._by_folded_name.get((schema.name.casefold(), table.name.casefold()))
            candidates = [] if found is None else [found]
        else:
            candidates = self._by_table.get(table.name.casefold(), [])
        fitting = [
            meta
            for meta in candidates
            if _fits(table, meta.name) and (schema is None or _fits(schema, meta.schema))
        ]
        return fitting[0] if len(fitting) == 1 else None

    def table_names(self) -> tuple[str, ...]:
        """Return the qualified ADQL name of every table but TAP_SCHEMA's own."""
        return self._names


def _fits(wanted: NameLike, name: str) -> bool:
    return wanted.name == name or not wanted.quoted


def load_view(
    database: Database, tables_root: Path, *, indexes: IndexCache, previous: StoredView | None
) -> StoredView:
    """Read the catalog as it is now.

    Parameters
    ----------
    database
        The control database.
    tables_root
        Folder of all tables, absolute.
    indexes
        Where partition indexes are read and kept.
    previous
        The last view; what has not changed since is taken from it.
    """
    known = {} if previous is None else {_row_id(e.row): e for e in previous.entries.values()}
    with database.read() as connection:
        hold_still(connection)
        generation = read_generation(connection)
        described = list(connection.execute(select(SCHEMAS)))
        rows = current_versions(connection)
        metas = read_metas(connection, [row for row in rows if _row_id(row) not in known])
    entries = []
    for row in rows:
        entry = known.get(_row_id(row))
        if entry is None or entry.row != row:
            meta = entry.meta if entry is not None else metas[_row_id(row)]
            entry = _entry(row, meta, tables_root, indexes)
        entries.append(entry)
    tables: dict[str, list[TableMeta]] = {}
    for entry in entries:
        tables.setdefault(entry.meta.schema, []).append(entry.meta)
    schemas = [
        SchemaMeta(
            name=row.name,
            tables=tuple(sorted(tables[row.name], key=lambda t: _place(t.table_index, t.name))),
            description=row.description,
            utype=row.utype,
            schema_index=row.schema_index,
        )
        for row in described
        if row.name in tables
    ]
    schemas.sort(key=lambda s: _place(s.schema_index, s.name))
    return StoredView(
        generation, tuple(schemas), {(e.meta.schema, e.meta.name): e for e in entries}
    )


def _entry(row: VersionRow, meta: TableMeta, root: Path, indexes: IndexCache) -> TableEntry:
    index_path = row.index_path
    return TableEntry(
        meta=meta,
        row=row,
        root=str(root / (row.catalog_path or row.folder)),
        load_index=empty_index if index_path is None else (lambda: indexes.get(root / index_path)),
        key_indexes={
            column: _key_index(column, root / row.folder / path, indexes)
            for column, path in (row.details.get("id_indexes") or {}).items()
        },
        links=_links(row, root, indexes),
        footprints=_footprints(row, root),
    )


def _key_index(column: str, root: Path, indexes: IndexCache) -> KeyIndex:
    return KeyIndex(column=column, root=str(root), load=lambda: indexes.get(root / INDEX_FILE_NAME))


def _links(row: VersionRow, root: Path, indexes: IndexCache) -> tuple[DirectorLink, ...]:
    """Return what the importer found of the table's directors."""
    properties = row.details.get("properties") or {}

    def cells(path: str | None) -> KeyIndex | None:
        return None if path is None else _key_index(STRAY_KEY, root / row.folder / path, indexes)

    return tuple(
        DirectorLink(
            table=link["table"],
            version=link["version"],
            key=link["key"],
            director_key=link["director_key"],
            bound_deg=link["bound_deg"],
            strays=cells(link.get("stray_cells")),
            stray_directors=cells(link.get("stray_director_cells")),
        )
        for link in properties.get("directors", ())
    )


def _footprints(row: VersionRow, root: Path) -> Mapping[str, FootprintIndex]:
    """Return what the importer found of the table's columns of shapes."""
    properties = row.details.get("properties") or {}

    def strays(path: str | None) -> Callable[[], StrayFootprints | None]:
        if path is None:
            return lambda: None
        return cache(lambda: _read_strays(root / row.folder / path))

    return {
        found["column"]: FootprintIndex(
            bound_deg=found["bound_deg"], load_strays=strays(found.get("path"))
        )
        for found in properties.get("footprints", ())
    }


def _read_strays(folder: Path) -> StrayFootprints:
    table = pq.read_table(folder / "strays.parquet", use_threads=False)
    cells = table.column(STRAY_KEY).to_numpy()
    return StrayFootprints(
        cells=cells,
        centers=cell_centers(MAX_ORDER, cells),
        bound_deg=table.column(STRAY_BOUND).to_numpy(),
    )


def _row_id(row: VersionRow) -> tuple[str, int]:
    return row.table_key, row.version


def _place(index: int | None, name: str) -> tuple[bool, int, str]:
    """Sort by index where there is one, then by name."""
    return index is None, index or 0, name.lower()
