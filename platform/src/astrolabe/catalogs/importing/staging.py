"""Writing a version's folder from sorted runs: partitions, margin, and the files of HATS."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from astrolabe.catalogs.count_map import CountMap
from astrolabe.catalogs.importing.append import Existing
from astrolabe.catalogs.importing.files import (
    FileSettings,
    WrittenFile,
    build_index,
    file_schema,
    repetitive_columns,
    row_schema,
)
from astrolabe.catalogs.importing.hats import (
    Skymap,
    catalog_properties,
    margin_name,
    margin_properties,
    write_catalog,
)
from astrolabe.catalogs.importing.margin import MarginCatalog
from astrolabe.catalogs.importing.options import ImportOptions
from astrolabe.catalogs.importing.partitions import Partitions, count_in_runs, divide
from astrolabe.catalogs.importing.runs import Run
from astrolabe.catalogs.importing.writing import PartitionWriter, Tell, write_sequence
from astrolabe.catalogs.publishing import StagedVersion
from astrolabe.tables.model import TableMeta

__all__ = ["Budget", "RunSizes", "VersionFolder", "VersionWriter"]

# Text of one column must stay below the 2 GB that Arrow's offsets can address.
_MOST_BYTES_AT_ONCE = 1 << 30
# Rows of a file are at most so many bytes in memory, which become about 256 MB on disk.
_FILE_BYTES = 384 << 20
_DICTIONARY_SAMPLE_ROWS = 20_000

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Budget:
    """How the memory for rows in flight is shared out (bytes).

    Parameters
    ----------
    total
        All that may be used.
    threads
        Partitions written at once.
    """

    total: int
    threads: int

    @property
    def run(self) -> int:
        """Size of a run: one fills while another is sorted, which holds most of it twice."""
        return min(self.total // 4, _MOST_BYTES_AT_ONCE)

    @property
    def piece(self) -> int:
        """Size of a piece of a partition: it is gathered, joined and reordered."""
        return min(self.total // (4 * self.threads), _MOST_BYTES_AT_ONCE)

    @property
    def margin(self) -> int:
        """Size of the margin's rows before they are spilled."""
        return self.total // 16


@dataclass(frozen=True, slots=True)
class RunSizes:
    """What was read: how many rows, and bytes a row in memory."""

    rows: int
    row_bytes: float


@dataclass(frozen=True, slots=True)
class VersionFolder:
    """Where a version is written.

    Parameters
    ----------
    root
        The version's folder.
    table
        Name of the table: the catalog's folder below `root`.
    """

    root: Path
    table: str

    @property
    def catalog(self) -> Path:
        """The HATS catalog."""
        return self.root / self.table

    @property
    def dataset(self) -> Path:
        """The folder of its data files."""
        return self.catalog / "dataset"

    @property
    def spill(self) -> Path:
        """Files that must be gone before the version is published."""
        return self.root / "spill"


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionWriter:
    """Writes all files of a version.

    Parameters
    ----------
    folder
        Where.
    meta
        Of the table.
    options
        Of the import.
    budget
        Memory and threads.
    existing
        The rows that others are appended to.
    tell_written, tell_margin
        Called with the number of rows just done; may raise to stop everything.
    """

    folder: VersionFolder
    meta: TableMeta
    options: ImportOptions
    budget: Budget
    existing: Existing | None
    tell_written: Tell
    tell_margin: Tell

    def write_sequence(self, runs: Sequence[Run], sizes: RunSizes) -> StagedVersion:
        """Write a table without positions, in the order of its rows."""
        dataset = self.folder.dataset
        dataset.mkdir(parents=True)
        files = [] if self.existing is None else self.existing.link_all(dataset)
        files += write_sequence(
            dataset,
            runs,
            rows=row_schema(self.meta.columns),
            settings=self._settings(runs),
            rows_per_file=self._rows_per_file(sizes),
            piece_rows=self._piece_rows(sizes),
            tell=self.tell_written,
            first_part=len(files),
        )
        return self._staged(files, margin_rows=None)

    def write_partitions(self, runs: Sequence[Run], sizes: RunSizes) -> StagedVersion:
        """Write a table with positions: a file for each adaptive HEALPix pixel."""
        rows_per_file = self._rows_per_file(sizes)
        partitions, unchanged = self._divide(runs, rows_per_file)
        schema = row_schema(self.meta.columns)
        with ExitStack() as stack:
            margin = self._open_margin(stack, partitions, schema)
            wanted, sources = self._choose_margins(margin, unchanged)
            files = self._write_changed(runs, partitions, unchanged, margin, sizes)
            if self.existing is not None:
                files += self._link_unchanged(self.existing, partitions, unchanged)
                self._read_sources(self.existing, partitions, unchanged & sources, margin)
            self._finish_catalog(files, runs, schema, rows_per_file)
            margin_rows = None
            if margin is not None:
                margin_rows = self._write_margin(margin, partitions, wanted, rows_per_file)
        return self._staged(files, margin_rows=margin_rows)

    def _divide(self, runs: Sequence[Run], rows_per_file: int) -> tuple[Partitions, Mask]:
        """Return the partitions, and which of them are files that need no new rows (p,)."""
        count_new = count_in_runs(runs)
        existing = self.existing
        if existing is None:
            partitions = divide(count_new, max_rows=rows_per_file)
            return partitions, np.zeros(len(partitions), dtype=np.bool_)
        partitions = divide(
            lambda starts, stops: count_new(starts, stops) + existing.count(starts, stops),
            max_rows=rows_per_file,
            keep=existing.partitions,
        )
        old = existing.partitions
        at = np.searchsorted(old.start, partitions.start)
        at = np.minimum(at, max(len(old) - 1, 0))
        same = np.zeros(len(partitions), dtype=np.bool_)
        if len(old):
            same = (old.order[at] == partitions.order) & (old.pixel[at] == partitions.pixel)
        return partitions, same & (count_new(partitions.start, partitions.stop) == 0)

    def _open_margin(
        self, stack: ExitStack, partitions: Partitions, schema: pa.Schema
    ) -> MarginCatalog | None:
        if self.options.margin_arcsec == 0 or not len(partitions):
            return None
        return stack.enter_context(
            MarginCatalog(
                partitions,
                arcsec=self.options.margin_arcsec,
                rows=schema,
                ra_column=str(self.meta.ra_column),
                dec_column=str(self.meta.dec_column),
                folder=self.folder.spill / "margin",
                run_bytes=self.budget.margin,
            )
        )

    def _choose_margins(self, margin: MarginCatalog | None, unchanged: Mask) -> tuple[Mask, Mask]:
        """Return which partitions' margins are made, and which partitions' rows they may need."""
        everything = np.ones(len(unchanged), dtype=np.bool_)
        if margin is None or self.existing is None or not self.existing.has_margin(self._margin):
            return everything, everything
        wanted = margin.near(~unchanged)
        margin.restrict(wanted)
        return wanted, margin.near(wanted)

    def _write_changed(
        self,
        runs: Sequence[Run],
        partitions: Partitions,
        unchanged: Mask,
        margin: MarginCatalog | None,
        sizes: RunSizes,
    ) -> list[WrittenFile]:
        existing = self.existing

        def runs_of(start: int, stop: int) -> Sequence[Run]:
            return runs if existing is None else [*existing.runs(start, stop), *runs]

        writer = PartitionWriter(
            dataset=self.folder.dataset,
            rows=row_schema(self.meta.columns),
            settings=self._settings(runs),
            piece_rows=self._piece_rows(sizes),
            threads=self.budget.threads,
            margin=margin,
            tell=self.tell_written,
        )
        return writer.write(partitions, np.flatnonzero(~unchanged), runs_of)

    def _link_unchanged(
        self, existing: Existing, partitions: Partitions, unchanged: Mask
    ) -> list[WrittenFile]:
        pixels = zip(
            partitions.order[unchanged].tolist(), partitions.pixel[unchanged].tolist(), strict=True
        )
        return [existing.link(self.folder.dataset, order, pixel) for order, pixel in pixels]

    def _read_sources(
        self,
        existing: Existing,
        partitions: Partitions,
        sources: Mask,
        margin: MarginCatalog | None,
    ) -> None:
        """Tell the margin of the rows of partitions that were not written anew."""
        if margin is None:
            return
        step = 50 * self.options.rows_per_group
        for own in np.flatnonzero(sources).tolist():
            start = int(partitions.start[own])
            (run,) = existing.runs(start, start + 1)
            for first in range(0, len(run.keys), step):
                last = min(first + step, len(run.keys))
                margin.add(own, run.keys[first:last], run.rows(first, last))
                self.tell_margin(last - first)

    def _finish_catalog(
        self,
        files: Sequence[WrittenFile],
        runs: Sequence[Run],
        schema: pa.Schema,
        rows_per_file: int,
    ) -> None:
        counts = self._count(runs)
        skymap = Skymap.of(counts)
        write_catalog(
            self.folder.catalog,
            schema=file_schema(schema),
            files=files,
            properties=catalog_properties(
                table=self.folder.table,
                ra_column=str(self.meta.ra_column),
                dec_column=str(self.meta.dec_column),
                is_source=bool(self.meta.keys),
                files=files,
                skymap=skymap,
                rows_per_file=rows_per_file,
            ),
            skymap=skymap,
            counts=counts,
        )

    def _count(self, runs: Sequence[Run]) -> CountMap:
        """Count all rows by place, those that were there before too."""
        counts = CountMap()
        existing = self.existing
        if existing is not None and existing.root is not None:
            stored = CountMap.read(existing.root)
            if stored is None:
                for start in existing.partitions.start.tolist():
                    for run in existing.runs(start, start + 1):
                        counts.add(run.keys)
            else:
                counts = stored
        for run in runs:
            counts.add(run.keys)
        return counts

    def _write_margin(
        self, margin: MarginCatalog, partitions: Partitions, wanted: Mask, rows_per_file: int
    ) -> int:
        """Write the margin catalog; return its rows."""
        root = self.folder.root / self._margin
        dataset = root / "dataset"
        dataset.mkdir(parents=True)
        settings = FileSettings(
            rows_per_group=self.options.rows_per_group,
            compression_level=self.options.compression_level,
        )
        files = margin.write(dataset, settings)
        if self.existing is not None:
            files += self.existing.link_margins(self._margin, dataset, partitions, ~wanted)
        write_catalog(
            root,
            schema=file_schema(row_schema(self.meta.columns)),
            files=files,
            properties=margin_properties(
                table=self.folder.table,
                arcsec=self.options.margin_arcsec,
                ra_column=str(self.meta.ra_column),
                dec_column=str(self.meta.dec_column),
                files=files,
                rows_per_file=rows_per_file,
            ),
        )
        return sum(file.footer.num_rows for file in files)

    def _staged(self, files: Sequence[WrittenFile], *, margin_rows: int | None) -> StagedVersion:
        positioned = self.meta.ra_column is not None
        has_margin = margin_rows is not None
        return StagedVersion(
            meta=self.meta,
            catalog_root=self.folder.catalog,
            index=build_index(
                files, id_column=self.meta.id_column, positioned=positioned, prefix="dataset/"
            ),
            positions_sorted=positioned,
            margin_root=self.folder.root / self._margin if has_margin else None,
            margin_arcsec=self.options.margin_arcsec if has_margin else None,
            properties={"margin_rows": margin_rows} if has_margin else {},
        )

    @property
    def _margin(self) -> str:
        return margin_name(self.folder.table, self.options.margin_arcsec)

    def _settings(self, runs: Sequence[Run]) -> FileSettings:
        repetitive: list[str] = []
        if runs:
            sample = runs[0].rows(0, min(len(runs[0].keys), _DICTIONARY_SAMPLE_ROWS))
            repetitive = repetitive_columns(sample)
        return FileSettings(
            rows_per_group=self.options.rows_per_group,
            compression_level=self.options.compression_level,
            dictionary_columns=tuple(repetitive),
        )

    def _rows_per_file(self, sizes: RunSizes) -> int:
        fitting = int(_FILE_BYTES / max(sizes.row_bytes, 1.0))
        return max(1, min(self.options.rows_per_file, fitting))

    def _piece_rows(self, sizes: RunSizes) -> int:
        group = self.options.rows_per_group
        return max(group, int(self.budget.piece / max(sizes.row_bytes, 1.0)) // group * group)
