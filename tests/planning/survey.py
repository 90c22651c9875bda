"""A small survey in memory: tables, their partition index, and queries run with and without it."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sqlglot import exp

from astrolabe.adql import check_query
from astrolabe.adql.emit_duckdb import to_duckdb
from astrolabe.adql.names import Identifier
from astrolabe.adql.tree import CheckedQuery
from astrolabe.catalogs.engine import FileScan
from astrolabe.catalogs.model import PartitionIndex, TableVersion
from astrolabe.catalogs.planning import plan_query
from astrolabe.sky.healpix import cell_range, healpix_29, parent
from astrolabe.sky.ranges import in_ranges
from astrolabe.tables.model import Column, Datatype, SchemaMeta, TableMeta

Int64s = npt.NDArray[np.int64]

GROUP_ROWS = 25


def table_meta(name: str, *columns: Column, positions: bool = True) -> TableMeta:
    return TableMeta(
        schema="sky",
        name=name,
        columns=columns,
        ra_column="ra" if positions else None,
        dec_column="dec" if positions else None,
        id_column="id",
    )


def column(name: str, datatype: Datatype = Datatype.DOUBLE) -> Column:
    return Column(name=name, datatype=datatype)


def make_index(
    cells: Int64s, ids: Int64s, *, order: int = 1, group_rows: int = GROUP_ROWS
) -> PartitionIndex:
    """Index of rows that are sorted by cell: one file a pixel, row groups of a fixed size."""
    pixels, starts = np.unique(parent(cells, order), return_index=True)
    ends = np.append(starts[1:], len(cells))[: len(starts)]
    first_group, groups = [0], []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        groups += [slice(at, min(at + group_rows, end)) for at in range(start, end, group_rows)]
        first_group.append(len(groups))
    sizes = np.array([group.stop - group.start for group in groups], dtype=np.int64)
    return PartitionIndex(
        paths=tuple(f"dataset/Norder={order}/Dir=0/Npix={pixel}.parquet" for pixel in pixels),
        order=np.full(len(pixels), order, dtype=np.uint8),
        pixel=pixels,
        rows=(ends - starts).astype(np.int64),
        size_bytes=(ends - starts).astype(np.int64) * 100,
        healpix_min=cells[starts],
        healpix_max=cells[ends - 1],
        first_group=np.array(first_group, dtype=np.int64),
        group_rows=sizes,
        group_bytes=sizes * 100,
        group_healpix_min=np.array([cells[g].min() for g in groups], dtype=np.int64),
        group_healpix_max=np.array([cells[g].max() for g in groups], dtype=np.int64),
        group_id_min=np.array([ids[g].min() for g in groups], dtype=np.int64),
        group_id_max=np.array([ids[g].max() for g in groups], dtype=np.int64),
    )


@functools.cache
def _engine() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


@dataclass(frozen=True)
class Survey:
    """The catalog view of the survey, and its rows in the order of the files."""

    versions: dict[str, TableVersion]
    data: dict[str, pa.Table]
    cells: dict[str, Int64s]
    generation: int = 1

    @property
    def schemas(self) -> tuple[SchemaMeta, ...]:
        tables = tuple(version.meta for version in self.versions.values())
        return (SchemaMeta(name="sky", tables=tables),)

    def table(self, schema: str, name: str) -> TableVersion | None:
        return self.versions.get(name) if schema == "sky" else None

    def find_table(self, schema: Identifier | None, table: Identifier) -> TableMeta | None:
        if schema is not None and not schema.matches("sky"):
            return None
        found = (v.meta for v in self.versions.values() if table.matches(v.meta.name))
        return next(found, None)

    def table_names(self) -> tuple[str, ...]:
        return tuple(version.meta.adql_name for version in self.versions.values())

    def check(self, query: str) -> CheckedQuery:
        return check_query(query, self)

    def scan(self, query: str, key: str = "t0") -> FileScan:
        scan = plan_query(self.check(query), self, {}, row_limit=None).scans[key]
        assert isinstance(scan, FileScan)
        return scan

    def rows_of(self, name: str, scan: FileScan, *, by_ranges: bool = False) -> pa.Table:
        """Rows of a table that a scan leaves; by its row groups, or by its files and ranges."""
        index = self.versions[name].index
        numbers = [index.paths.index(path.removeprefix(f"/survey/{name}/")) for path in scan.paths]
        keep = np.zeros(len(self.data[name]), dtype=bool)
        at = np.concatenate(([0], np.cumsum(index.group_rows)))
        assert scan.groups is not None
        for number, groups in zip(numbers, scan.groups, strict=True):
            first, end = index.first_group[number], index.first_group[number + 1]
            wanted = range(end - first) if by_ranges else groups
            for group in wanted:
                assert group < end - first
                keep[at[first + group] : at[first + group + 1]] = True
        if by_ranges and scan.healpix_ranges is not None:
            keep &= in_ranges(self.cells[name], scan.healpix_ranges)
        return self.data[name].filter(pa.array(keep))

    def answers(self, query: str) -> tuple[list[tuple[object, ...]], ...]:
        """Rows of the query on all of the data, on the planned row groups, and by ranges."""
        checked = self.check(query)
        plan = plan_query(checked, self, {}, row_limit=None)
        results = []
        cursor = _engine().cursor()
        for way in ("all", "groups", "ranges"):
            relations = {}
            for source in checked.tables:
                scan, name = plan.scans[source.key], source.table.name
                assert isinstance(scan, FileScan)
                rows = self.data[name]
                if way != "all":
                    rows = self.rows_of(name, scan, by_ranges=way == "ranges")
                cursor.register(f"r_{source.key}", rows)
                relations[source.key] = exp.to_table(f"r_{source.key}")
            found = cursor.sql(to_duckdb(checked, relations)).fetchall()
            results.append(sorted(found, key=repr))
        return tuple(results)


@functools.cache
def make_survey(n: int = 3000, seed: int = 5) -> Survey:
    """Objects all over the sky (crowded at 0/360, on the equator and at a pole), and sources."""
    rng = np.random.default_rng(seed)
    crowd = n // 4
    ra = np.concatenate(
        (rng.uniform(0, 360, n), np.mod(rng.normal(0, 2, crowd), 360), rng.uniform(0, 360, crowd))
    )
    dec = np.concatenate(
        (
            np.rad2deg(np.arcsin(rng.uniform(-1, 1, n))),
            rng.normal(0, 2, crowd),
            90 - np.abs(rng.normal(0, 3, crowd)),
        )
    )
    versions, data, cells = {}, {}, {}
    for name, ra_type in (("object", np.float64), ("source", np.float32)):
        lon, lat = ra.astype(ra_type), dec.astype(ra_type)
        lon = np.where(lon >= np.float32(360), 0, lon).astype(ra_type)
        cell = healpix_29(lon, lat)
        order = np.argsort(cell, kind="stable")
        ids = rng.permutation(len(ra)).astype(np.int64) + (10**15 if name == "object" else 0)
        short = Datatype.FLOAT if ra_type is np.float32 else Datatype.DOUBLE
        meta = table_meta(
            name,
            column("id", Datatype.LONG),
            column("ra", short),
            column("dec", short),
            column("mag", Datatype.FLOAT),
            column("parent", Datatype.LONG),
        )
        cells[name] = cell[order]
        data[name] = pa.table(
            {
                "id": ids[order],
                "ra": lon[order],
                "dec": lat[order],
                "mag": rng.uniform(15, 25, len(ra)).astype(np.float32),
                "parent": rng.integers(0, len(ra), len(ra)) + 10**15,
            }
        )
        versions[name] = TableVersion(
            meta=meta,
            version=1,
            snapshot_id=1,
            root=f"/survey/{name}",
            index=make_index(cells[name], ids[order], order=1 if name == "object" else 2),
        )
    return Survey(versions, data, cells)


def large_version(files: int = 200_000, groups: int = 4) -> TableVersion:
    """Index of a table over the whole sky, with pixels of order 7 and finer ones in between."""
    pixels = np.sort(np.random.default_rng(1).choice(12 * 4**8, files, replace=False))
    bounds = cell_range(np.full(files, 8), pixels)
    step = (bounds[:, 1] - bounds[:, 0]) // groups
    starts = (bounds[:, :1] + np.arange(groups) * step[:, np.newaxis]).ravel()
    total = files * groups
    ids = np.random.default_rng(2).permutation(total).astype(np.int64) * 1000
    index = PartitionIndex(
        paths=tuple(f"dataset/Norder=8/Dir=0/Npix={pixel}.parquet" for pixel in pixels.tolist()),
        order=np.full(files, 8, dtype=np.uint8),
        pixel=pixels.astype(np.int64),
        rows=np.full(files, groups * 20_000),
        size_bytes=np.full(files, groups * 2_000_000),
        healpix_min=bounds[:, 0],
        healpix_max=bounds[:, 1] - 1,
        first_group=np.arange(files + 1) * groups,
        group_rows=np.full(total, 20_000),
        group_bytes=np.full(total, 2_000_000),
        group_healpix_min=starts,
        group_healpix_max=starts + step[0] - 1,
        group_id_min=ids,
        group_id_max=ids + 900,
    )
    meta = table_meta("large", column("ra"), column("dec"))
    return TableVersion(meta=meta, version=1, snapshot_id=1, root="/large", index=index)
