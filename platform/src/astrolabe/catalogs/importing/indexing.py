"""What a version gets beside its rows: indexes of keys, and the link to its director.

All is made from the files that were just written (and those that were taken over), read column by
column: it holds for every row of the version, whatever the mode of the import was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from astrolabe.catalogs.importing.directors import (
    BOUND_SLACK_DEG,
    ChildDistances,
    NoLinkError,
    measure,
    stray_runs,
)
from astrolabe.catalogs.importing.footprints import footprint_columns, write_footprints
from astrolabe.catalogs.importing.hats import write_index_catalog
from astrolabe.catalogs.importing.key_index import (
    CELL,
    cell_schema,
    has_largest,
    index_schema,
    write_key_index,
)
from astrolabe.catalogs.importing.options import ImportOptions
from astrolabe.catalogs.importing.partitions import Partitions
from astrolabe.catalogs.importing.runs import Run, RunBuilder
from astrolabe.catalogs.model import STRAY_KEY, CatalogView, PartitionIndex, TableVersion
from astrolabe.catalogs.publishing import StagedVersion
from astrolabe.core.errors import ImportRefusedError
from astrolabe.tables.model import HEALPIX_COLUMN, TableMeta

__all__ = ["VersionIndexer", "groups_of_an_id"]

_BATCH_ROWS = 1 << 18
_MOST_GROUPS_OF_AN_ID = 4.0
_LONGEST_NAME = 64
_STRAYS = ("stray_cells", "stray_director_cells")
_HATS_NAMES = frozenset(index_schema("").names)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionIndexer:
    """Writes the indexes of a version.

    Parameters
    ----------
    root, spill
        The version's folder, and where temporary files go.
    options
        Of the import.
    run_bytes
        Memory for rows that are being sorted (bytes).
    view
        The catalog, where directors are found.
    before
        The version that is appended to or replaced, `None` for a new table.
    tell
        Called with rows just read; may raise to stop.
    """

    root: Path
    spill: Path
    options: ImportOptions
    run_bytes: int
    view: CatalogView
    before: TableVersion | None
    tell: Callable[[int], None]

    def add_to(self, staged: StagedVersion) -> tuple[StagedVersion, list[str]]:
        """Write the indexes of a version that is written otherwise.

        Returns
        -------
        staged
            With its indexes and links.
        warnings
            Why there is no link to a director that was asked for.
        """
        meta = staged.meta
        if not staged.positions_sorted or not staged.index.paths:
            return staged, []
        indexes: dict[str, Path] = {}
        links: list[dict[str, object]] = []
        warnings: list[str] = []
        for table, key, director_key in self._directors():
            with ExitStack() as stack:
                children = self._sorted(
                    stack, f"child-{key}", staged.catalog_root, staged.index, key
                )
                if children is None:
                    warnings.append(f"Column {key} is no integer, so rows are not found by it.")
                    continue
                if key not in indexes and _may_index(key, children):
                    indexes[key] = self._write_index(staged, key, children)
                try:
                    links.append(self._link(stack, staged, children, table, key, director_key))
                except NoLinkError as exc:
                    warnings.append(
                        f"Regions of the sky do not pass between this table and {table}: {exc}."
                    )
        if meta.id_column and groups_of_an_id(staged.index) > _MOST_GROUPS_OF_AN_ID:
            self._index_ids(staged, meta.id_column, indexes)
        properties = {**staged.properties, **({"directors": links} if links else {})}
        sidecars = tuple(
            self.root / str(link[name]) for link in links for name in _STRAYS if name in link
        )
        footprints = self._footprints(staged)
        if footprints:
            properties["footprints"] = footprints
            sidecars += tuple(self.root / str(f["path"]) for f in footprints if "path" in f)
        made = replace(staged, id_indexes=indexes, sidecars=sidecars, properties=properties)
        return made, warnings

    def _directors(self) -> list[tuple[str, str, str]]:
        """Return (table, key, director's key): what was asked for, or what the rows before had."""
        if self.options.director is not None and self.options.director_key is not None:
            key, _, director_key = self.options.director_key.partition("=")
            return [(self.options.director, key, director_key or key)]
        if self.options.mode == "append" and self.before is not None:
            return [
                (pair.target_table, *pair.columns[0])
                for pair in self.before.meta.keys
                if len(pair.columns) == 1 and pair.columns[0][0] in self.before.key_indexes
            ]
        return []

    def _footprints(self, staged: StagedVersion) -> list[dict[str, object]]:
        """Find how far the shapes of the table reach from its positions."""
        found = []
        for column in footprint_columns(staged.meta):
            folder = self.root / f"footprints_{_position(staged.meta, column)}"
            one = write_footprints(
                folder, staged.catalog_root, staged.index, staged.meta, column, tell=self.tell
            )
            if one["strays"]:
                one["path"] = folder.relative_to(self.root).as_posix()
            found.append(one)
        return found

    def _index_ids(self, staged: StagedVersion, column: str, indexes: dict[str, Path]) -> None:
        if column in indexes:
            return
        with ExitStack() as stack:
            runs = self._sorted(stack, "ids", staged.catalog_root, staged.index, column)
            if runs is not None and _may_index(column, runs):
                indexes[column] = self._write_index(staged, column, runs)

    def _sorted(
        self, stack: ExitStack, name: str, root: Path, index: PartitionIndex, column: str
    ) -> list[Run] | None:
        """Return the cells of a table's rows sorted by an integer column without its nulls."""
        builder = stack.enter_context(
            RunBuilder(cell_schema(), folder=self.spill / name, run_bytes=self.run_bytes)
        )
        for path in index.paths:
            with pq.ParquetFile(root / path) as file:
                if not pa.types.is_integer(file.schema_arrow.field(column).type):
                    return None
                names = [column, HEALPIX_COLUMN]
                for batch in file.iter_batches(_BATCH_ROWS, columns=names, use_threads=False):
                    keys, cells = batch.column(column), batch.column(HEALPIX_COLUMN)
                    if keys.null_count:
                        valid = pc.is_valid(keys)
                        keys, cells = keys.filter(valid), cells.filter(valid)
                    rows = pa.RecordBatch.from_arrays([cells], names=[CELL])
                    builder.add(rows, np.asarray(keys.to_numpy(zero_copy_only=False), np.int64))
                    self.tell(batch.num_rows)
        return builder.finish()

    def _write_index(self, staged: StagedVersion, column: str, runs: Sequence[Run]) -> Path:
        plain = column.isascii() and column.isidentifier() and len(column) <= _LONGEST_NAME
        suffix = column if plain else _position(staged.meta, column)
        root = self.root / f"{staged.meta.name}_index_{suffix}"
        index = staged.index
        partitions = Partitions(index.order.astype(np.int64), index.pixel, index.rows)
        files = write_key_index(root, column, runs, partitions=partitions)
        write_index_catalog(
            root,
            schema=index_schema(column),
            files=files,
            table=staged.catalog_root.name,
            column=column,
        )
        return root

    # --- directors -------------------------------------------------------------------------------

    def _link(
        self,
        stack: ExitStack,
        staged: StagedVersion,
        children: Sequence[Run],
        table: str,
        key: str,
        director_key: str,
    ) -> dict[str, object]:
        director = self._director(table, director_key)
        directors = self._sorted(
            stack, f"director-{key}", Path(director.root), director.index, director_key
        )
        if directors is None:
            raise NoLinkError(f"its column {director_key} is no integer")
        found = measure(children, directors, tell=self.tell)
        link: dict[str, object] = {
            "table": table,
            "version": director.version,
            "key": key,
            "director_key": director_key,
            "bound_deg": found.bound_arcsec / 3600.0 + BOUND_SLACK_DEG,
            "joined": found.joined,
            "orphans": found.orphans,
            "strays": found.strays,
        }
        if found.strays:
            link |= self._write_strays(staged, children, directors, key, director, found)
        return link

    def _director(self, table: str, key: str) -> TableVersion:
        schema, _, name = table.partition(".")
        director = self.view.table(schema, name)
        if director is None:
            raise NoLinkError("it does not exist yet; import it first and then this table again")
        if director.meta.column(key) is None:
            raise ImportRefusedError(f"--key: the table {table} has no column {key!r}.")
        if not director.positions_sorted:
            raise NoLinkError("it has no rows with positions")
        return director

    def _write_strays(
        self,
        staged: StagedVersion,
        children: Sequence[Run],
        directors: Sequence[Run],
        key: str,
        director: TableVersion,
        found: ChildDistances,
    ) -> dict[str, object]:
        strays, stray_directors = stray_runs(
            children,
            directors,
            bound_arcsec=found.bound_arcsec,
            folder=self.spill / f"strays-{key}",
            run_bytes=self.run_bytes,
        )
        written: dict[str, object] = {}
        for name, runs, index in (
            (_STRAYS[0], strays, staged.index),
            (_STRAYS[1], stray_directors, director.index),
        ):
            root = self.root / f"{name}_{_position(staged.meta, key)}"
            partitions = Partitions(index.order.astype(np.int64), index.pixel, index.rows)
            write_key_index(root, STRAY_KEY, runs, partitions=partitions)
            written[name] = root.relative_to(self.root).as_posix()
        return written


def groups_of_an_id(index: PartitionIndex) -> float:
    """Return in how many row groups an id may be, by their limits, on the average.

    It is 1 where ids follow position, and the number of row groups where they do not at all.
    """
    low, high = index.group_id_min, index.group_id_max
    if low is None or high is None or not len(low):
        return 0.0
    middle = low + (high - low) // 2
    began = np.searchsorted(np.sort(low), middle, side="right")
    ended = np.searchsorted(np.sort(high), middle, side="left")
    spread: npt.NDArray[np.int64] = began - ended
    return float(np.average(spread, weights=index.group_rows))


def _may_index(column: str, runs: Sequence[Run]) -> bool:
    return column not in _HATS_NAMES and not has_largest(runs)


def _position(meta: TableMeta, column: str) -> int:
    return next(i for i, c in enumerate(meta.columns) if c.name == column)
