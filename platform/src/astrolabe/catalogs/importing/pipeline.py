"""The import: from a source's rows to a published version.

Rows are read once, checked, brought into order in bounded memory (see
:mod:`astrolabe.catalogs.importing.runs`), divided into partitions of about equal size and written
with all that belongs to them into the version's folder.  Only then does the store make the version
visible; until that moment, and whatever ends the import before it, the table is as it was.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace

import pyarrow as pa

from astrolabe.catalogs.felis import read_felis
from astrolabe.catalogs.importing.append import Existing
from astrolabe.catalogs.importing.columns import ColumnPlan, plan_columns
from astrolabe.catalogs.importing.indexing import VersionIndexer
from astrolabe.catalogs.importing.options import (
    ImportOptions,
    ImportProgress,
    ImportReport,
    ImportStep,
    ProgressListener,
)
from astrolabe.catalogs.importing.rejects import RejectsFile
from astrolabe.catalogs.importing.runs import Run, RunBuilder
from astrolabe.catalogs.importing.staging import Budget, RunSizes, VersionFolder, VersionWriter
from astrolabe.catalogs.importing.transform import RowTransform
from astrolabe.catalogs.publishing import StagedVersion, TablePublisher, WriteLease
from astrolabe.core.errors import BadParameterError, ImportRefusedError
from astrolabe.core.machine import processors
from astrolabe.core.storage import full_disk_is_storage_full
from astrolabe.tables.model import Column, Datatype, TableMeta, arrow_type
from astrolabe.tables.source import TableSource

__all__ = ["run_import"]

_MAX_MARGIN_ARCSEC = 36_000.0
_LEASE_CHECK_SECONDS = 2.0
_BATCH_BYTES = 32 << 20
_LEAST_BATCH_ROWS = 256
_MOST_BATCH_ROWS = 65_536


def run_import(
    source: TableSource,
    options: ImportOptions,
    store: TablePublisher,
    *,
    progress: ProgressListener | None = None,
) -> ImportReport:
    """Import a table and publish it.

    Parameters
    ----------
    source
        Its columns and rows.
    options
        What is asked for.
    store
        Where it goes.
    progress
        Is told how far the import is.

    Returns
    -------
    ImportReport
        What was done.

    Raises
    ------
    ImportRefusedError
        Raised if the source cannot be imported as it stands.
    BadParameterError
        Raised if an option is out of its range, or the names of schema or table are malformed.
    ConflictError
        Raised if another import of the table runs, or the table exists and the mode is ``create``.
    NotFoundError
        Raised if the mode needs a table that does not exist.
    StorageFullError
        Raised if there is no room; nothing is left behind.
    """
    started = time.monotonic()
    _check_options(options)
    described = _described(options)
    if options.mode == "create":
        # What the metadata alone can refuse is refused before anything is touched.
        plan_columns(source.meta, options, described=described, existing=options.declared)
    with (
        full_disk_is_storage_full(f"the table {options.schema}.{options.table}"),
        store.begin_write(
            options.schema,
            options.table,
            mode=options.mode,
            owner=options.owner,
            reserved=options.declared is not None,
        ) as lease,
    ):
        return _Import(source, options, lease, described, progress, store).run(started)


class _Import:
    """One import under its lease."""

    def __init__(
        self,
        source: TableSource,
        options: ImportOptions,
        lease: WriteLease,
        described: TableMeta | None,
        progress: ProgressListener | None,
        store: TablePublisher,
    ) -> None:
        self._source = source
        self._store = store
        self._options = options
        self._lease = lease
        self._told = _Told(lease, progress)
        self._folder = VersionFolder(lease.staging_root, lease.table)
        self._budget = Budget(options.memory_mb << 20, options.threads or processors())
        self._existing: Existing | None = None
        if options.mode == "append" and lease.current is not None:
            self._existing = Existing(lease.current)
        if described is None and lease.current is not None and not lease.current.index.paths:
            # A table that was only described so far is filled: its description stays.
            described = lease.current.meta
        self._plan: ColumnPlan = plan_columns(
            source.meta,
            options,
            described=described,
            existing=options.declared if self._existing is None else self._existing.version.meta,
        )

        self._non_ascii: frozenset[str] = frozenset()

    def run(self, started: float) -> ImportReport:
        """Do all of it."""
        rejects_path = self._options.rejects or self._folder.root / "rejects.parquet"
        with ExitStack() as stack:
            rejects = stack.enter_context(RejectsFile(rejects_path, strict=self._options.strict))
            stack.callback(shutil.rmtree, self._folder.spill, ignore_errors=True)
            runs, sizes = self._read(stack, rejects)
            staged, unlinked = self._indexed(self._write(runs, sizes))
            staged = replace(staged, meta=_with_unicode(staged.meta, self._non_ascii))
            rejects_file = rejects.keep()
        if self._options.properties is not None:
            kept = {**staged.properties, **self._options.properties()}
            staged = replace(staged, properties=kept)
        self._told("publish", sizes.rows, sizes.rows)
        version = self._lease.publish(staged)
        margin_rows = staged.properties.get("margin_rows", 0)
        return ImportReport(
            schema=version.meta.schema,
            table=version.meta.name,
            version=version.version,
            rows=sizes.rows,
            total_rows=int(staged.index.rows.sum()),
            rejected=rejects.count,
            reasons=dict(rejects.reasons),
            rejects=rejects_file,
            partitions=len(staged.index.paths),
            margin_rows=margin_rows if isinstance(margin_rows, int) else 0,
            bytes=int(staged.index.size_bytes.sum()),
            seconds=time.monotonic() - started,
            path=self._folder.root,
            warnings=(*self._warnings(sizes, rejects), *unlinked),
        )

    def _read(self, stack: ExitStack, rejects: RejectsFile) -> tuple[list[Run], RunSizes]:
        """Read every row once; return them as sorted runs."""
        transform = RowTransform(
            self._plan,
            wrap=self._options.wrap,
            keep_unplaced=self._options.keep_unplaced,
            rejects=rejects,
        )
        builder = stack.enter_context(
            RunBuilder(transform.schema, folder=self._folder.spill, run_bytes=self._budget.run)
        )
        total, seen, size = self._source.meta.row_count, 0, 0
        with closing(
            _ClosingIterator(self._source.batches(max_rows=_batch_rows(self._source)))
        ) as batches:
            for batch in batches:
                rows, keys = transform(batch)
                builder.add(rows, keys)
                size += rows.nbytes
                seen += batch.num_rows
                self._told("read", seen, total)
        if builder.rows == 0 and rejects.count:
            raise ImportRefusedError(
                f"None of the {rejects.count} rows of the source has a valid position: "
                f"{rejects.explain()}."
            )
        self._told("read", seen, seen)
        self._non_ascii = frozenset(transform.non_ascii)
        return builder.finish(), RunSizes(builder.rows, size / max(builder.rows, 1))

    def _write(self, runs: list[Run], sizes: RunSizes) -> StagedVersion:
        before = 0 if self._existing is None else int(self._existing.partitions.rows.sum())
        writer = VersionWriter(
            folder=self._folder,
            meta=self._plan.meta,
            options=self._options,
            budget=self._budget,
            existing=self._existing,
            tell_written=_Counter(self._told, "write", None if before else sizes.rows),
            tell_margin=_Counter(self._told, "margin", None),
        )
        if self._plan.meta.ra_column is None:
            return writer.write_sequence(runs, sizes)
        return writer.write_partitions(runs, sizes)

    def _indexed(self, staged: StagedVersion) -> tuple[StagedVersion, list[str]]:
        """Add the indexes of keys and the links to directors."""
        indexer = VersionIndexer(
            root=self._folder.root,
            spill=self._folder.spill / "index",
            options=self._options,
            run_bytes=self._budget.run,
            view=self._store.view(fresh=True),
            before=self._lease.current,
            tell=_Counter(self._told, "index", None),
        )
        return indexer.add_to(staged)

    def _warnings(self, sizes: RunSizes, rejects: RejectsFile) -> tuple[str, ...]:
        warnings = [*self._source.meta.notes, *self._plan.warnings]
        warnings += [
            f"The column {name!r} holds more than ASCII text; it is declared unicodeChar."
            for name in sorted(self._non_ascii)
        ]
        if sizes.rows == 0:
            warnings.append("The source has no rows; the table is empty.")
        if rejects.count:
            warnings.append(f"Rows were left out: {rejects.explain()}.")
        return tuple(warnings)


def _with_unicode(meta: TableMeta, names: frozenset[str]) -> TableMeta:
    """Declare `names` as ``unicodeChar``: readers decode ``char`` as ASCII (VOTable 1.5, 6)."""
    columns = (
        replace(column, datatype=Datatype.UNICODE_CHAR) if column.name in names else column
        for column in meta.columns
    )
    return replace(meta, columns=tuple(columns))


class _Told:
    """Passes progress on, and makes sure from time to time that the lease is still ours."""

    def __init__(self, lease: WriteLease, progress: ProgressListener | None) -> None:
        self._lease = lease
        self._progress = progress
        self._lock = threading.Lock()
        self._checked = time.monotonic()

    def __call__(self, step: ImportStep, rows: int, total: int | None) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._checked >= _LEASE_CHECK_SECONDS:
                self._lease.check()
                self._checked = now
            if self._progress is not None:
                self._progress(ImportProgress(step=step, rows=rows, total=total))


class _Counter:
    """Adds up the rows of one step."""

    def __init__(self, told: _Told, step: ImportStep, total: int | None) -> None:
        self._told = told
        self._step = step
        self._total = total
        self._rows = 0
        self._lock = threading.Lock()

    def __call__(self, rows: int) -> None:
        with self._lock:
            self._rows += rows
            done = self._rows
        self._told(self._step, done, self._total)


class _ClosingIterator:
    """Iterates over batches; closes a generator, so that the source's files are closed, too."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self._batches

    def close(self) -> None:
        """Close the source's generator, if it is one."""
        close = getattr(self._batches, "close", None)
        if close is not None:
            close()


def _batch_rows(source: TableSource) -> int:
    """Return how many rows to read at once, so that wide tables do not fill the memory."""
    width = sum(_cell_bytes(column) for column in source.meta.columns)
    return max(_LEAST_BATCH_ROWS, min(_MOST_BATCH_ROWS, _BATCH_BYTES // max(width, 1)))


def _cell_bytes(column: Column) -> int:
    kind = arrow_type(column)
    if pa.types.is_fixed_size_list(kind):
        return 8 * int(kind.list_size)
    return 512 if column.is_array else 32 if column.is_string else 8


def _check_options(options: ImportOptions) -> None:
    if not 0 <= options.margin_arcsec <= _MAX_MARGIN_ARCSEC:
        raise BadParameterError(
            f"A margin of {options.margin_arcsec:g} arcsec is not possible; it must be from 0 (no "
            f"margin) to {_MAX_MARGIN_ARCSEC:g}."
        )
    for name in ("rows_per_file", "rows_per_group", "memory_mb", "compression_level"):
        if getattr(options, name) < 1:
            raise BadParameterError(f"{name} must be at least 1.")


def _described(options: ImportOptions) -> TableMeta | None:
    """Return what the Felis file says of the table."""
    if options.felis is None:
        return None
    schema = read_felis(options.felis)
    for fold in (str, str.lower):
        for table in schema.tables:
            if fold(table.name) == fold(options.table):
                return table
    names = ", ".join(table.name for table in schema.tables)
    raise ImportRefusedError(
        f"{options.felis} describes no table {options.table!r}; it has {names or 'none'}."
    )
