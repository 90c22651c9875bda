"""What an import is asked to do, what it says on its way, and what it reports at its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from astrolabe.catalogs.publishing import WriteMode
from astrolabe.tables.model import TableMeta

__all__ = ["ImportOptions", "ImportProgress", "ImportReport", "ImportStep", "ProgressListener"]

ImportStep = Literal["read", "write", "margin", "index", "publish"]
"""Rows are read and sorted, written as partitions, copied into margins; their keys are indexed and
joined with the director's; then all is published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """Everything that may be asked of an import.

    Parameters
    ----------
    schema, table
        Raw names of where the rows go.
    mode
        ``create`` needs that the table does not exist, ``replace`` puts these rows in the place
        of what is there, ``append`` adds them to it.
    felis
        Felis file that describes the table; what it says wins over what the source says.
    id_column, ra_column, dec_column
        Names (after `rename`) of the main identifier and of the position columns.
    frame
        Frame of the position columns (``icrs``, ``fk5``, ``galactic``); `None` for what the source
        declares, ICRS where it declares nothing.
    epoch
        Epoch of the positions (Julian years); `None` for what the source declares.
    no_position
        Allow a table without position columns.
    keep_unplaced
        Keep rows whose position is null, which no region ever holds, instead of rejecting them.
    declared
        The table exactly as it is to be declared: nothing is found out from the source, and its
        schema may be one that standards reserve.  Not with `felis` and the names of columns.
    properties
        Asked, when all rows are read, for what is to be kept with the version (JSON values).
    director, director_key
        Qualified name of the table whose children these rows are, and the column (the same in
        both unless written ``child=parent``) that names the parent.
    rename
        New names of columns by their names in the source.
    as_string
        Columns (after `rename`) to keep as text.
    margin_arcsec
        Width of the margin catalog (arcsec); 0 writes none.
    rejects
        Where rows without a valid position go: ``.parquet`` or ``.csv``; by default
        ``rejects.parquet`` beside the catalog in the version's folder.
    wrap
        Bring right ascensions outside [0, 360) into it instead of rejecting their rows.
    strict
        Refuse the import if a single row would be rejected.
    rows_per_file, rows_per_group
        A partition is divided when it has more rows; rows of a row group.
    compression_level
        Of zstd.
    memory_mb
        Memory for rows in flight (MB).
    threads
        Partitions written at once; `None` for one a processor.
    owner
        Who imports, named to another writer of the same table.
    """

    schema: str
    table: str
    mode: WriteMode = "create"
    felis: Path | None = None
    id_column: str | None = None
    ra_column: str | None = None
    dec_column: str | None = None
    frame: str | None = None
    epoch: float | None = None
    no_position: bool = False
    keep_unplaced: bool = False
    declared: TableMeta | None = None
    properties: Callable[[], Mapping[str, object]] | None = None
    director: str | None = None
    director_key: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    as_string: tuple[str, ...] = ()
    margin_arcsec: float = 10.0
    rejects: Path | None = None
    wrap: bool = False
    strict: bool = False
    rows_per_file: int = 1_000_000
    rows_per_group: int = 20_000
    compression_level: int = 3
    memory_mb: int = 2048
    threads: int | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportProgress:
    """How far an import is.

    Parameters
    ----------
    step
        What is being done.
    rows
        Rows done in this step.
    total
        Rows to do in this step, `None` while unknown.
    """

    step: ImportStep
    rows: int
    total: int | None


ProgressListener = Callable[[ImportProgress], None]
"""Told of progress from any thread, one call at a time; must return quickly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did.

    Parameters
    ----------
    schema, table, version
        What was published.
    rows
        Rows of this import that are now in the table.
    total_rows
        Rows of the whole table.
    rejected
        Rows that were left out.
    reasons
        How many rows were left out for each reason.
    rejects
        File that holds them, `None` where there are none.
    partitions
        Partitions of the table.
    margin_rows
        Rows of the margin catalog.
    bytes
        Size of the table's files without its margin.
    seconds
        Wall time.
    path
        Absolute path of the version's folder.
    warnings
        What the importer should know, one sentence each.
    """

    schema: str
    table: str
    version: int
    rows: int
    total_rows: int
    rejected: int
    reasons: Mapping[str, int]
    rejects: Path | None
    partitions: int
    margin_rows: int
    bytes: int
    seconds: float
    path: Path
    warnings: tuple[str, ...] = ()
